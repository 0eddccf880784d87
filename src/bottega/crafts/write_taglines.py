"""Advertising lines in quantity: all different, each for its audience, none with a claim that must not be made."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bottega.core import BottegaError, DataError, RecipeError
from bottega.crafts.endpoint import Endpoint
from bottega.crafts.write import go_on
from bottega.crafts.write_summary import words
from bottega.workshop.run import Run

__all__ = ["BANNED", "Brief", "Line", "Refusal", "overlap", "taglines", "why_banned"]

BANNED: tuple[tuple[str, str], ...] = (
    (
        "superlative",
        r"\b(?:the\s)?(?:best|cheapest|fastest|safest|healthiest|number one|no\.?\s?1|#1|leading|unbeatable|unrivalled)\b",
    ),
    ("guarantee", r"\b(?:guarantee[ds]?|guaranteed|risk[- ]free|no risk|never fails|always works|100\s?%)(?!\w)"),
    (
        "health",
        r"\b(?:cures?|heals?|treats?\s(?!you|them|her|him)\w+|prevents?|anti[- ]?ageing|detox\w*|boosts? (?:your )?immun\w+|clinically proven|miracle|lose weight)\b",
    ),
    ("proof", r"\b(?:scientifically proven|proven to|doctors recommend|experts agree|studies show)\b"),
    ("free", r"\b(?:for free|free of charge|completely free|absolutely free)\b"),
    (
        "green",
        r"\b(?:carbon[- ]neutral|climate[- ]neutral|zero[- ]emissions?|100\s?% natural|eco[- ]?friendly|chemical[- ]free)\b",
    ),
    ("urgency", r"\b(?:last chance|act now|only today|hurry|while stocks last|limited time)\b"),
    ("finance", r"\b(?:get rich|double your money|guaranteed returns?|easy money)\b"),
)
"""Claims that advertising law or self-regulation asks proof for; each rule has an identifier and a pattern."""


@dataclass(frozen=True)
class Brief:
    """What is advertised, and to whom.

    Attributes:
        product: the name.
        kind: what it is, one thing of it with no article: ``"rucksack"``.
        benefits: what it does for one, as phrases that follow "to": ``"carry a tent and a stove"``.
        features: what it has, as nouns: ``"a frame of bamboo"``.
        audiences: to whom, in the plural: ``"hikers"``, with what they do if ``"hikers: cross the hills"``.
    """

    product: str
    kind: str
    benefits: Sequence[str]
    features: Sequence[str]
    audiences: Sequence[str]

    def __post_init__(self) -> None:
        for name in ("product", "kind"):
            if not getattr(self, name).strip():
                raise DataError(f"the brief has no {name}; name it")
        for name in ("benefits", "features", "audiences"):
            if not [x for x in getattr(self, name) if x.strip()]:
                raise DataError(f"the brief has no {name}; give at least one")


@dataclass(frozen=True)
class Line:
    """A line, to whom it speaks, and where it came from (``"grammar"`` or ``"model"``)."""

    text: str
    audience: str
    source: str = "grammar"


@dataclass(frozen=True)
class Refusal:
    """A line that was not given out, by which rule, at which words."""

    text: str
    rule: str
    words: str


@dataclass
class Lines:
    """What was made.

    Attributes:
        lines: all different.
        refused: those that a rule held back; ``close`` counts those too like another one.
        overlap: the largest that two lines have.
    """

    lines: list[Line]
    refused: list[Refusal] = field(default_factory=list)
    close: int = 0
    overlap: float = 0.0


def why_banned(text: str, extra: Sequence[str] = ()) -> Refusal | None:
    """The first rule that a line breaks, or None; ``extra`` are words and phrases of one's own.

    >>> why_banned("The BEST rucksack").rule, why_banned("A rucksack for best friends of hills")
    ('superlative', Refusal(text='A rucksack for best friends of hills', rule='superlative', words='best'))
    """
    own = [("own", rf"(?<!\w){re.escape(word)}(?!\w)") for word in extra if word.strip()]
    for rule, pattern in (*BANNED, *own):
        if found := re.search(pattern, text, re.IGNORECASE):
            return Refusal(text, rule, found.group())
    return None


def overlap(a: str, b: str, fixed: frozenset[str] = frozenset()) -> float:
    """Words that two lines share over all their words (Jaccard), without those in ``fixed``.

    >>> overlap("light on your back", "light on your feet")
    0.6
    """
    x = {w.lower() for w in words(a)} - fixed
    y = {w.lower() for w in words(b)} - fixed
    return len(x & y) / len(x | y) if x | y else 0.0


# {A} audience, {a} the same in lower case, {do} what they do, {P} product, {k} kind, {b} benefit, {B} benefit begins the line,
# {f} feature, {F} feature begins the line. A line is one of these; every slot is filled from the brief.
_FORMS = (
    "{P}: made for {a} who {do}.",
    "{A} {do}. {P} helps them {b}.",
    "{B}. {P} is on your side, {a}.",
    "For {a}: {f}, and nothing to slow you down.",
    "{F}. {A}, this one is yours.",
    "Ask {a} what they rely on: {P}.",
    "Some {k}s look good. {P} lets {a} {b}.",
    "Less fuss, more time to {b}: {P} for {a}.",
    "You {do}. We thought of {f}. {P}, for {a}.",
    "{P} — because {a} would rather {b}.",
    "What do {a} want from a {k}? To {b}.",
    "{A}! Meet the {k} with {f}.",
    "Built around {f}, with {a} in mind.",
    "Tomorrow you {do}. Tonight, reach for {P}, dear {a}.",
    "Between {a} and a good day stands one {k}: {P}.",
    "{P}. {F} for {a}.",
    "It takes {f} to {b}; {a} know that.",
    "Where {a} go, {P} goes.",
    "Give {a} {f} and watch them {b}.",
    "{B}, then {do}: {P} is with you, {a}.",
    "Plain words for {a}: with {P} you {b}.",
    "{A} should {b}. {P} sees to it.",
    "Why would {a} settle? {P} has {f}.",
    "{A} asked for {f}. Here is {P}.",
    "Quietly useful: {P}, for {a} who like to {b}.",
    "Every {k} says hello. {P} stays with {a}.",
    "Wherever {a} {do}, {f} comes along.",
    "From the first day to the last: {P} and {a}.",
    "{F} today, {a}; stories tomorrow.",
    "Hand on heart, {a}: when did you last {b}?",
    "One {k}, many mornings. {P} for {a}.",
    "{A} {do}; {P} does the rest.",
    "Start simple, {a}. {B} with {P}.",
    "There is room in {P} for {a} and their plans to {b}.",
    "No speeches, {a}. Just {f}.",
    "Old habits, new {k}: {a} now {b}.",
    "{P}: {f} where {a} need it.",
    "Think of {f}. Think of {a}. Think of {P}.",
    "Weekdays end. Then {a} {do} with {P}.",
    "One {k}, a wide world: go on, {a}, {b}.",
)


def taglines(
    brief: Brief,
    *,
    n: int = 100,
    cap: float = 0.5,
    banned: Sequence[str] = (),
    run: Run | Endpoint | None = None,
    seed: int = 0,
) -> Lines:
    """``n`` lines, all different, in turn for each audience, no two sharing more than ``cap`` of their words.

    Lines come from a grammar of forty forms, or from a language model that goes on from the beginning of one; both
    pass the same filter. A form is used again only when all have been, and two lines of one form differ in what fills
    them. The words of the product's name do not count as shared.

    Args:
        brief: what is advertised.
        n: how many.
        cap: the largest overlap (Jaccard, of words) of any two.
        banned: words and phrases that must not occur, beside ``BANNED``.
        run: a language model that writes what follows the first words of a line; a run, or at an endpoint.
        seed: of the choices.

    Raises:
        RecipeError: a number out of range.
        BottegaError: the brief has not enough to say for so many lines under this cap.
    """
    if n < 1 or not 0 < cap <= 1:
        raise RecipeError(f"n is {n} and cap {cap}; ask for at least one line, and a cap above 0 and at most 1")
    draw = random.Random(seed)
    fixed = frozenset(w.lower() for w in words(brief.product))
    out = Lines([])
    bags: list[set[str]] = []
    tried: set[str] = set()
    for ways in _offers(brief, run, draw, seed, most=max(4000, 80 * n)):
        for line in ways:
            if line.text in tried:
                continue
            tried.add(line.text)
            if refusal := why_banned(line.text, banned):
                out.refused.append(refusal)
                continue
            bag = {w.lower() for w in words(line.text)} - fixed
            shared = max((len(bag & other) / len(bag | other) for other in bags if bag | other), default=0.0)
            if shared > cap:
                out.close += 1
                continue
            out.overlap = max(out.overlap, shared)
            out.lines.append(line)
            bags.append(bag)
            break  # the next line is for the next audience
        if len(out.lines) == n:
            return out
    raise BottegaError(
        f"the brief gives {len(out.lines)} lines of which no two share more than {100 * cap:.0f} % of their words, not {n}; "
        "add benefits, features or audiences, or raise the cap"
    )


def _offers(
    brief: Brief, run: Run | Endpoint | None, draw: random.Random, seed: int, most: int
) -> Iterator[list[Line]]:
    """Ways to write a line for each audience in turn, each form as often as every other."""
    audiences = [a for a in brief.audiences if a.strip()]
    forms: dict[str, list[str]] = {a: [] for a in audiences}
    for k in range(most):
        audience = audiences[k % len(audiences)]
        if not forms[audience]:
            forms[audience] = draw.sample(_FORMS, len(_FORMS))
        form = forms[audience].pop()
        text = _fill(form, brief, audience, draw)
        who = audience.partition(":")[0].strip()
        if run is None:
            yield [Line(text, who)]
            continue
        start = " ".join(text.split()[: max(2, len(text.split()) // 2)])
        told = go_on(
            run, start, n=4, seed=seed + 4 * k, max_new=30, stop=["\n"], temperature=0.9, top_p=0.9, long="slide"
        )
        ways = []
        for more in told:
            line = re.split(r"(?<=[.!?])\s", f"{start}{more.text}".strip())[0]
            if who.lower() in line.lower() and len(words(line)) >= 4 and re.search(r"[.!?]$", line):
                ways.append(Line(line, who, "model"))
        yield ways


def _fill(form: str, brief: Brief, audience: str, draw: random.Random) -> str:
    who, _, do = (part.strip() for part in audience.partition(":"))
    benefit, feature = draw.choice(list(brief.benefits)).strip(), draw.choice(list(brief.features)).strip()
    do = do or draw.choice(["know their way", "want it simple", "like it well made", "have better things to do"])
    if "you {do}" in form.lower() or "then {do}: {P} is with you" in form:
        do = do.replace("their", "your")
    slots = {"a": who, "A": _big(who), "do": do, "P": brief.product, "k": brief.kind, "b": benefit, "B": _big(benefit),
             "f": feature, "F": _big(feature)}  # fmt: skip
    text = form.format(**slots)
    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)
    return re.sub(r"(^|[.!?]\s)([a-z])", lambda m: m[1] + m[2].upper(), text)


def _big(text: str) -> str:
    return text[:1].upper() + text[1:]
