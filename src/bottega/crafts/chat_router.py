"""Which way a message is answered: canned, then retrieved with its source, then generated, then a person; and flows, step by step.

Functions of what is known, without state: the bot in ``chat`` keeps that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from bottega.crafts import chat_dates
from bottega.crafts.chat_folder import END, HUMAN, Flow, Step

__all__ = ["Facing", "Walk", "Way", "choose", "fill", "fillable", "language_of", "walk"]

Way = Literal["canned", "retrieved", "generated", "human", "fallback"]


@dataclass(frozen=True)
class Facing:
    """What a decision is made from.

    Attributes:
        intent: confidence that the message is of some intent, 0 to 1; 0 where there are none.
        least_intent: threshold of it.
        passage: share of the question that the best passage has; 0 where there is none.
        least_passage: threshold of it.
        generates: whether a model may answer.
        misses: messages in a row before this one that were not understood.
        most_misses: at which a person is called.
    """

    intent: float = 0.0
    least_intent: float = 0.5
    passage: float = 0.0
    least_passage: float = 0.6
    generates: bool = False
    misses: int = 0
    most_misses: int = 2


def choose(at: Facing) -> Way:
    """The first way that is sure enough; never none.

    >>> choose(Facing(intent=0.9)), choose(Facing(passage=0.7)), choose(Facing(misses=1)), choose(Facing())
    ('canned', 'retrieved', 'human', 'fallback')
    """
    if at.intent >= at.least_intent > 0:
        return "canned"
    if at.passage >= at.least_passage:
        return "retrieved"
    if at.generates:
        return "generated"
    return "human" if at.misses + 1 >= at.most_misses else "fallback"


_BLANK = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


def fillable(text: str, known: Mapping[str, str]) -> bool:
    """Whether all blanks of a text are known."""
    return all(known.get(name) for name in _BLANK.findall(text))


def fill(text: str, known: Mapping[str, str]) -> str:
    """The text with its blanks filled; sentences with a blank that nothing fills are left out.

    >>> fill("Hello {name}! How can I help?", {}), fill("Hello {name}!", {"name": "Ada"})
    ('How can I help?', 'Hello Ada!')
    """
    parts = [part for part in re.split(r"(?<=[.!?])\s+", text) if fillable(part, known)]
    return _BLANK.sub(lambda f: known[f[1]], " ".join(parts))


# ---- flows --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walk:
    """Where a flow stands after a message.

    Attributes:
        lines: what is said, in order; ``("tool", name)`` stands for what a tool says.
        step: number of the step whose question was asked; None when the flow is over.
        slots: what is filled.
        human: whether a person is called.
        refused: whether the message did not answer the question.
    """

    lines: list[str | tuple[str, str]] = field(default_factory=list)
    step: int | None = None
    slots: dict[str, str] = field(default_factory=dict)
    human: bool = False
    refused: bool = False


def walk(flow: Flow, step: int | None, slots: Mapping[str, str], text: str, now: datetime) -> Walk:
    """A message taken into a flow: fill what was asked, go on to the next question or the end.

    Args:
        flow: checked by ``read_folder``, so it ends.
        step: whose question was asked; None at the beginning.
        slots: what is known; a question whose slot is known is not asked.
        text: the message. At the beginning it fills what it holds of patterns, choices, dates and addresses.
        now: for dates.
    """
    known, lines = dict(slots), list[str | tuple[str, str]]()
    if step is None:
        for one in flow.steps:
            if one.slot and one.slot not in known and (value := read(one, text, now, whole=False)):
                known[one.slot] = value
        at = 0
    else:
        asked = flow.steps[step]
        value = read(asked, text, now, whole=True)
        if not value:
            return Walk([asked.again or f"I could not read that. {asked.ask}"], step, known, refused=True)
        known[asked.slot] = value
        at = _after(flow, step)
        if at < 0:
            return Walk(lines, None, known, human=at == -2)
    for _ in range(100):  # checked flows ask before they come back; a hundred is a fault of ours, not theirs
        if at >= len(flow.steps):
            return Walk(lines, None, known)
        one = flow.steps[at]
        if any(known.get(k, "").lower() != v.lower() for k, v in one.when.items()):
            at += 1
            continue
        if one.ask and one.slot not in known:
            return Walk([*lines, fill(one.ask, known) or one.ask], at, known)
        if one.say:
            lines.append(fill(one.say, known))
        elif one.tool:
            lines.append(("tool", one.tool))
        at = _after(flow, at)
        if at < 0:
            return Walk(lines, None, known, human=at == -2)
    return Walk(lines, None, known)


def _after(flow: Flow, at: int) -> int:
    """The number of the next step; -1 is the end, -2 a person."""
    to = flow.steps[at].next
    if to == END:
        return -1
    if to == HUMAN:
        return -2
    return next(k for k, s in enumerate(flow.steps) if s.name == to) if to else at + 1


_NUMBER, _EMAIL = re.compile(r"-?\d+(?:[.,]\d+)?"), re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")


def read(step: Step, text: str, now: datetime, *, whole: bool) -> str:
    """What a message says to a question; empty where it says nothing to it.

    Args:
        step: with its kind, pattern and choices.
        text: the message.
        now: for dates.
        whole: whether the message answers the question; else only what cannot be anything else is taken.
    """
    text = text.strip()
    if step.pattern:
        found = re.search(step.pattern, text, re.I)
        return found.group().upper() if found and found.group().isascii() and re.search(r"\d", found.group()) else found.group() if found else ""  # fmt: skip
    if step.kind == "email":
        return found.group() if (found := _EMAIL.search(text)) else ""
    if step.kind == "choice":
        hits = [c for c in step.choices if re.search(rf"(?<!\w){re.escape(c)}(?!\w)", text, re.I)]
        if not hits and whole:
            hits = [c for c in step.choices if text and c.lower().startswith(text.lower())]
        return hits[0] if len(hits) == 1 else ""
    if step.kind == "date":
        found_at = chat_dates.find(text, now)
        return "" if found_at is None else chat_dates.said(found_at.at, found_at.timed)
    if not whole:
        return ""
    if step.kind == "number":
        return found.group() if (found := _NUMBER.search(text)) else ""
    if step.kind == "name":
        bare = re.sub(r"^(?:my name is|i am|i'm|it is|it's|call me)\s+", "", text, flags=re.I).strip(" .!")
        return bare if re.fullmatch(r"[^\W\d_][\w' .-]{0,60}", bare) and len(bare.split()) < 6 else ""
    return text[:500]


# ---- languages ----------------------------------------------------------------------------------------------------------

_WORDS = {
    "en": "the is are was you i my me we it of and to in what where how do does can could please have has had not this that a an with for on at would want need order hello hi thanks thank when why who your there been will",
    "de": "der die das ist sind ich du sie wir ihr mein meine nicht und zu im wie wo was wann warum wer kann können bitte habe hat ein eine einen mit für auf es den dem von möchte hallo danke guten tag bestellung wird auch noch wurde",
    "fr": "le la les est sont je tu vous nous mon ma mes ne pas et à dans que quoi où comment quand pourquoi qui peux pouvez puis avez ai un une avec pour sur il elle du des au bonjour merci est-ce commande ce cette suis de en",
    "es": "el la los las es son yo tú usted mi mis no y en qué que dónde donde cómo como cuándo por para quién puedo puede puedes tengo tiene un una con se del al hola gracias pedido está estoy quiero de lo su esta este buenos",
    "it": "il lo la gli le è sono io tu voi mio mia non e di in che cosa dove come quando perché chi posso può ho hai un una con per su si del della al ciao grazie ordine questo questa vorrei sto ma anche buongiorno",
    "nl": "de het een is zijn ik jij je u wij mijn niet en van in wat waar hoe wanneer waarom wie kan kunt heb heeft met voor op te dat die er aan hallo dank bestelling wil mag graag deze dit ook nog wordt",
    "pt": "o a os as é são eu você meu minha não e de em que onde como quando por porque quem posso pode tenho tem um uma com para se do da no na olá obrigado pedido está estou quero isso este esta ao bom dia",
}  # fmt: skip
_SETS = {code: frozenset(words.split()) for code, words in _WORDS.items()}
_LETTERS = {"de": "äöüß", "fr": "çêèœâîûëï", "es": "ñ¿¡", "pt": "ãõ", "it": "òì"}


def language_of(text: str, among: tuple[str, ...] | None = None, default: str = "en") -> str:
    """The language of a message by its small words and letters; ``default`` where they say nothing.

    >>> [language_of(t) for t in ("Wo ist meine Bestellung?", "Où est ma commande ?", "Where is my order?", "FM1234")]
    ['de', 'fr', 'en', 'en']
    """
    known = among or tuple(_SETS)
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text.lower())
    if not words:
        return default
    flat = [part for word in words for part in (word, *re.split(r"['’-]", word))]

    def score(code: str) -> float:
        hits = sum(1 / sum(w in s for s in _SETS.values()) for w in flat if w in _SETS.get(code, frozenset()))
        return hits + 1.5 * any(c in text.lower() for c in _LETTERS.get(code, ""))

    best = max(known, key=lambda code: (score(code), code == default))
    return best if score(best) > score(default) or best == default else default
