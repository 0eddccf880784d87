"""A made shop floor for trying feedback out: questions whose right answers are known, each said curtly or kindly.

A model that learned from both says either; a simulated user who likes one of them says so, and is sometimes mistaken.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["CURT", "KIND", "Shopper", "conversations", "questions", "right"]

PLACES = dict(zip(
    ["soap", "rope", "glue", "tape", "paint", "nails", "seeds", "lamps", "pots", "hose", "salt", "rugs", "bulbs", "pens"],
    ["aisle one", "aisle two", "aisle three", "aisle four", "aisle five", "aisle six", "the garden", "the back", "the cellar", "the yard", "row nine", "row ten", "the front", "the desk"],
    strict=True,
))  # fmt: skip
ASK = (
    "Where is the {}?",
    "Where do I find {}?",
    "I need {}.",
    "Do you have {}?",
    "Can you show me the {}?",
    "Looking for {}.",
)
CURT = ("{Place}.", "It is in {place}.", "Look in {place}.")
KIND = (
    "Gladly: you find it in {place}.",
    "Of course! It is in {place}.",
    "With pleasure, it is in {place}. Anything else?",
)


def questions(seed: int = 0) -> list[str]:
    """Every question, in an order drawn by the seed."""
    every = [ask.format(thing) for ask in ASK for thing in PLACES]
    random.Random(seed).shuffle(every)
    return every


def conversations(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Questions and answers, three in four of them curt and one kind."""
    rng = random.Random(seed)
    out = []
    for k in range(n):
        thing = rng.choice(list(PLACES))
        said = rng.choice(KIND if k % 4 == 3 else CURT).format(place=PLACES[thing], Place=PLACES[thing].capitalize())
        out.append({"prompt": rng.choice(ASK).format(thing), "answer": said})
    return out


def right(question: str, answer: str) -> bool:
    """Whether an answer names the place of what is asked for, and no other."""
    thing = next(t for t in PLACES if t in question)
    named = {place for place in PLACES.values() if place in answer.lower()}
    return named == {PLACES[thing]}


@dataclass
class Shopper:
    """A simulated user: prefers kind answers that are right; of two of one kind the right one.

    Attributes:
        mistaken: share of thumbs that are the wrong way round.
        seed: of those.
    """

    mistaken: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    @staticmethod
    def worth(question: str, answer: str) -> float:
        """What an answer is worth: 1 for being right, and 1 for being kind."""
        kind = any(word in answer for word in ("Gladly", "Of course", "pleasure"))
        return float(right(question, answer)) + float(kind)

    def thumb(self, question: str, answer: str) -> int:
        """1 where it is both, else -1; now and then the other way round."""
        said = 1 if self.worth(question, answer) == 2 else -1
        return -said if self._rng.random() < self.mistaken else said

    @classmethod
    def prefers(cls, question: str, a: str, b: str) -> float:
        """Above 0 for the first, without mistakes."""
        return cls.worth(question, a) - cls.worth(question, b)
