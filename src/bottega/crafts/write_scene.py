"""Scenes and short stories: a writer that returns only what ``write_scene_check`` passes."""

from __future__ import annotations

import functools
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bottega.core import BottegaError, RecipeError, nearest
from bottega.crafts.endpoint import Endpoint
from bottega.crafts.write import go_on
from bottega.crafts.write_scene_check import Check, check_scene, check_story, names_a_number, near
from bottega.workshop.run import Run

__all__ = ["FORMS", "Plot", "Scene", "scene", "topics"]

FORMS = {
    "screenplay": "headings, action, cues with what is said, transitions",
    "story": "an opening, a complication, a turn and an end",
}


@dataclass(frozen=True)
class Plot:
    """What a piece is about.

    Attributes:
        topic: which quarrel.
        people: the two, as ``(name, age, who that is)``.
        aims: what each of them wants, in the same order.
        turn: what changes it.
        end: what is seen or told last.
    """

    topic: str
    people: tuple[tuple[str, int, str], tuple[str, int, str]]
    aims: tuple[str, str]
    turn: str
    end: str


@dataclass(frozen=True)
class Scene:
    """A scene or story that passed, and what it took.

    Attributes:
        text: the whole.
        form: one of ``FORMS``.
        plot: what it is about.
        check: by ``check_scene`` or ``check_story``.
        lines_tried: lines of dialogue that a model made; ``lines_kept`` of them are used. 0 without a model.
        lines_kept: see there.
        source: ``"grammar"``, or ``"model"`` where a model wrote what is said.
    """

    text: str
    form: str
    plot: Plot
    check: Check
    lines_tried: int
    lines_kept: int
    source: str


@functools.lru_cache(maxsize=1)
def _book() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("_scenes.toml").read_text(encoding="utf-8"))


def topics() -> list[str]:
    """What a scene or story can be about.

    >>> topics()
    ['boat', 'bread', 'letter', 'train', 'pass', 'piano', 'report']
    """
    return [quarrel["name"] for quarrel in _book()["quarrel"]]


def scene(
    form: str = "screenplay",
    *,
    topic: str = "",
    run: Run | Endpoint | None = None,
    prompt: str = "",
    choose: Callable[[str, Sequence[str]], list[int]] | None = None,
    tries: int = 200,
    seed: int = 0,
) -> Scene:
    """A scene for two, or a short story of two, which ``check_scene`` or ``check_story`` passes.

    Two people want two things that cannot both be had; something turns up, and it ends in one of several ways. People, place,
    words and end are drawn. With ``run`` a language model writes what is said, each speech bound to the form of a sentence or
    two by a regular expression (of an endpoint, which takes none, what stands first in that form) and checked in its place; who speaks when, and what happens, stay the plot's.

    Args:
        form: ``"screenplay"`` or ``"story"``.
        topic: one of ``topics()``; empty draws one.
        run: a language model that writes what is said; a run, or at an endpoint.
        prompt: what stands before the piece when the model reads it, such as a scene of one's own.
        choose: orders ways to say a thing by how well they follow (see ``write_report.chooser``).
        tries: at most so many speeches are asked of the model.
        seed: of all that is drawn; the same seed, the same piece.

    Raises:
        RecipeError: no such form or topic.
        BottegaError: so many tries gave no scene.
    """
    if form not in FORMS:
        raise RecipeError(f"form is {form!r}{nearest(form, FORMS)}")
    if topic and topic not in topics():
        raise RecipeError(f"topic is {topic!r}{nearest(topic, topics())}")
    if tries < 1:
        raise RecipeError(f"tries is {tries}; it must be at least 1")
    made = _Draft(seed, topic, choose)
    speak = None if run is None else _Speaker(run, prompt, made.names, tries, seed)
    text, turn, end = made.screenplay(speak) if form == "screenplay" else made.story(speak)
    check = check_scene(text, made.names) if form == "screenplay" else check_story(text, made.names)
    if not check.ok:
        raise BottegaError(f"a {form} that was put together does not pass: {check.faults[0]}; this is a fault of ours")
    plot = Plot(made.quarrel["name"], made.people, tuple(made.quarrel["aims"]), turn, end)
    counted = (0, 0) if speak is None else (speak.tried, speak.kept)
    return Scene(text, form, plot, check, *counted, "grammar" if run is None else "model")


class _Draft:
    """What is drawn for one piece, and how it is put together."""

    def __init__(self, seed: int, topic: str, choose: Callable[[str, Sequence[str]], list[int]] | None) -> None:
        book = _book()
        self.draw, self.choose, self.book = random.Random(seed), choose, book
        named = [q for q in book["quarrel"] if q["name"] == topic]
        self.quarrel: dict[str, Any] = self.draw.choice(named or book["quarrel"])
        a, b = self._two()
        self.names = (a[0], b[0])
        slots = {"A": a[0], "B": b[0], "years": self.draw.choice(book["years"]), "day": self.draw.choice(book["days"])}
        for letter, (_, woman) in (("a", a), ("b", b)):
            slots |= {letter: "she" if woman else "he", f"{letter}_his": "her" if woman else "his",
                      f"{letter}_him": "her" if woman else "him"}  # fmt: skip
        roles = [self.draw.choice(some) for some in self.quarrel["roles"]]
        self.slots = slots | dict(zip(("aim_a", "aim_b"), self.quarrel["aims"], strict=True))
        self.slots |= {"role_a": self._filled(roles[0]), "role_b": self._filled(roles[1])}
        ages = [self.draw.randint(24, 66) for _ in range(2)]
        self.people = ((a[0], ages[0], self.slots["role_a"]), (b[0], ages[1], self.slots["role_b"]))

    def _two(self) -> tuple[tuple[str, bool], tuple[str, bool]]:
        everyone = [(name, True) for name in self.book["women"]] + [(name, False) for name in self.book["men"]]
        while True:
            a, b = self.draw.sample(everyone, 2)
            if a[0][0] != b[0][0]:  # names that begin alike are mixed up by readers
                return a, b

    def _filled(self, text: str) -> str:
        return text.format_map(self.slots)

    def _one(self, ways: Sequence[str], before: str = "") -> str:
        some = [self._filled(way) for way in ways]
        if self.choose is None or len(some) == 1:
            return self.draw.choice(some)
        return some[self.choose(before, some)[0]]

    # ---- the scene

    def screenplay(self, speak: _Speaker | None) -> tuple[str, str, str]:
        """The text, what turned, and what is seen last."""
        q, draw = self.quarrel, self.draw
        (a, age_a, role_a), (b, age_b, role_b) = self.people
        time = draw.choice(("DAY", "NIGHT", "MORNING", "EVENING", "DAWN", "DUSK", "AFTERNOON"))
        self.parts: list[str] = []
        self._speak = speak
        self._moods = draw.sample(self.book["moods"], len(self.book["moods"]))
        self._last = ""
        if draw.random() < 0.4:
            self.parts.append("FADE IN:")
        self.parts.append(f"{draw.choice(q['places'])} - {time}")
        self.parts.append(
            f"{self._one(q['see'])} {a.upper()}, {age_a}, {role_a}, {self._filled(draw.choice(q['does']))}."
        )
        self.parts.append(f"{b.upper()}, {age_b}, {role_b}, {self._filled(draw.choice(self.book['enter']))}.")
        self._says(a, q["open"])
        self._says(b, q["answer"])
        beats = draw.sample(self.book["beats"], 3)
        for round_, at in enumerate(draw.sample(range(len(q["push"])), draw.randint(1, 3))):
            self._says(a, q["push"][at : at + 1])
            self._says(b, q["hold"][at : at + 1])
            if draw.random() < 0.6:
                self.parts.append(self._filled(beats[round_]))
        which = draw.randrange(len(q["turn"]))
        turn = self._filled(q["turn"][which])
        self.parts.append(turn)
        self._says(a, q["see_it"][which : which + 1])
        self._says(b, q["because"][which : which + 1])
        first, second, end = draw.choice(q["ends"])
        self._says(a, [first])
        self._says(b, [second])
        end = self._filled(end)
        self.parts.append(end)
        if draw.random() < 0.5:
            end = self._one(self.book["codas"])
            self.parts += ["CUT TO:", f"{draw.choice(q['later'])} - LATER", end]
        self.parts.append(draw.choice(("FADE OUT.", "CUT TO BLACK.", "FADE TO BLACK.")))
        return "\n\n".join(self.parts) + "\n", turn, end

    def _says(self, who: str, ways: Sequence[str]) -> None:
        cue = who.upper()
        if self._last == who:
            cue += " (CONT'D)"
        self._last = who
        bracket = f"\n({self._moods.pop()})" if self._moods and self.draw.random() < 0.3 else ""
        head = f"{cue}{bracket}"
        said = self._one(
            ways, "\n\n".join(self.parts)
        )  # drawn with a model too, so that the plot stays that of the seed
        if self._speak is not None:
            said = self._speak("\n\n".join([*self.parts, head]) + "\n")
        self.parts.append(f"{head}\n{said}")

    # ---- the story

    def story(self, speak: _Speaker | None) -> tuple[str, str, str]:
        """The text, the paragraph that turns, and the last one."""
        q, draw = self.quarrel, self.draw
        opening = self._one(q["story_open"])
        at = draw.randrange(len(q["push"]))
        lines = {"push_": q["push"][at], "hold_": q["hold"][at], "see_it_": q["see_it"][0], "because_": q["because"][0]}
        paragraphs = [opening]
        for ways in ([*q["story_but"], *self.book["story_but"]], q["story_turn"]):
            told = draw.choice(ways)
            for slot in re.findall(r"\{(\w+_)\}", told):
                before, _, _ = told.partition(f"{{{slot}}}")
                so_far = "\n\n".join([*paragraphs, self._filled(before)])
                said = self._filled(lines[slot]) if speak is None else speak(f'{so_far}"')
                told = told.replace(f"{{{slot}}}", f'"{_quoted(said)}"')
            paragraphs.append(self._filled(told))
        end = self._one(q["story_end"], "\n\n".join(paragraphs))
        paragraphs.append(end)
        return "\n\n".join(paragraphs) + "\n", paragraphs[2], end


def _quoted(said: str) -> str:
    """What is said, as it stands before ``said Mara``.

    >>> _quoted("It rains."), _quoted("Does it?")
    ('It rains,', 'Does it?')
    """
    return f"{said[:-1]}," if said.endswith(".") else said


class _Speaker:
    """Speeches by a language model: each is written in the form of a sentence or two, and kept when it passes."""

    def __init__(self, run: Run | Endpoint, prompt: str, names: Sequence[str], tries: int, seed: int) -> None:
        self.run, self.prompt, self.tries, self.seed = run, prompt, tries, seed
        self.tried = self.kept = 0
        self.said: set[str] = set()
        word = r"([a-z]{1,12}('[a-z]{1,2})?|I|" + "|".join(names) + ")"
        sentence = rf"[A-Z][a-z]{{0,11}}(,? {word}){{1,11}}[.?!]"
        self.form = rf"{sentence}( {sentence})?"
        self.names = set(names)

    def __call__(self, before: str) -> str:
        """The next speech behind what stands before it."""
        told = f"{self.prompt}\n\n{before}" if self.prompt else before
        for line in self._drafts(told):
            self.tried += 1
            if line not in self.said and self._passes(line):
                self.said.add(line)
                self.kept += 1
                return line
        raise BottegaError(
            f"in {self.tried} tries the model wrote {self.kept} speeches that stand, and more are needed; give more tries, "
            "another seed or prompt"
        )

    def _drafts(self, told: str) -> Iterator[str]:
        while self.tried < self.tries:
            asked = {} if isinstance(self.run, Endpoint) else {"regex": self.form}
            made = go_on(
                self.run, told, n=1, seed=self.seed + self.tried, max_new=160, long="slide", temperature=0.8, **asked
            )  # fmt: skip
            found = re.match(self.form, made[0].text.lstrip(' \n"')) if isinstance(self.run, Endpoint) else None
            yield made[0].text if found is None else found.group()

    def _passes(self, line: str) -> bool:
        """Whether it is whole, and a name in it is one of the two and not a twin of one."""
        if not re.fullmatch(self.form, line):
            return False
        words = re.findall(r"[A-Za-z]+", line)
        twin = any(near(word.upper(), name.upper()) for word in words for name in self.names)
        return not twin and not names_a_number(line)
