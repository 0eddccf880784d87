"""The English of claims on a table: patterns of what claims something, and which rows and columns a sentence is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bottega.crafts.write_table import Table

__all__ = [
    "DOWN",
    "EVERY",
    "EXTREME",
    "FLAT",
    "FRACTION",
    "GAP",
    "HEDGE",
    "LESS",
    "MAX",
    "MEAN",
    "MEASURES",
    "MEDIAN",
    "MIN",
    "MORE",
    "MOVE",
    "NOT",
    "NUMBER",
    "ORDINAL",
    "SCALE",
    "SHARE",
    "SMALL",
    "STEEP",
    "SUM",
    "THAN",
    "TIMES",
    "UP",
    "WHOLE",
    "YEAR_AGO",
    "Sentence",
    "Verdict",
    "read",
    "sentences",
]

Verdict = Literal["proved", "refuted", "open"]

_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
)
_PLACES = "first second third fourth fifth sixth seventh eighth ninth tenth"
SMALL = {word: i for i, word in enumerate(_COUNTED.split())}
ORDINAL = {word: i + 1 for i, word in enumerate(_PLACES.split())}
SCALE = {"thousand": 1e3, "k": 1e3, "million": 1e6, "m": 1e6, "mn": 1e6, "billion": 1e9, "bn": 1e9}
NUMBER = re.compile(
    r"(?<![\w.,])(?P<money>[€$£]\s?)?(?P<sign>[-\u2212])?(?P<money2>[€$£]\s?)?(?P<digits>\d{1,3}(?:,\d{3})+|\d+)"
    r"(?P<rest>\.\d+)?(?:\s?(?P<scale>thousand|million|billion|bn|mn)\b|(?P<short>[kmKM])(?![\w°]))?"
    r"(?P<unit>\s?%|\s(?:per ?cent)\b)?(?P<points>[\s-]?(?:percentage\s)?points?\b)?(?P<nth>st|nd|rd|th)?(?!\w)"
)
UP = r"rose|risen|rises?|rising|grew|grown|grows?|growth|growing|increas(?:e|ed|es|ing)|climb(?:ed|s|ing)?|up|gain(?:ed|s)?|jump(?:ed|s)?|surg(?:e|ed|es)|advanc(?:e|ed|es)|added|upward"
DOWN = r"fell|fallen|falls?|falling|drop(?:ped|s|ping)?|declin(?:e|ed|es|ing)|decreas(?:e|ed|es|ing)|down|slip(?:ped|s)?|shrank|shrunk|shrinks?|sank|slid|slides?|dip(?:ped|s)?|los(?:t|es)|eas(?:ed|es)|downward"
MOVE = re.compile(rf"\b(?:(?P<up>{UP})|(?P<down>{DOWN}))\b", re.I)
FLAT = re.compile(r"\b(unchanged|flat|level with)\b", re.I)
MAX = r"highest|largest|biggest|greatest|most|best|peak(?:ed|s)?|top(?:s|ped)?|maximum|record high|leads|led|leader|busiest|strongest|heads|ahead of (?:all|every)|tallest|longest|highs?"
MIN = r"lowest|smallest|least|fewest|worst|bottom(?:ed)?|minimum|trough|weakest|record low|brings up the rear|quietest|shortest|lows?"
EXTREME = re.compile(rf"\b(?:(?P<max>{MAX})|(?P<min>{MIN}))\b", re.I)
STEEP = re.compile(
    rf"\b(?:sharpest|steepest|biggest|largest|greatest|strongest|smallest)\s(?:single\s)?(?:(?:monthly|daily|quarterly|yearly|annual|weekly)\s)?(?:(?P<up>{UP})|(?P<down>{DOWN}))\b",
    re.I,
)
SUM = re.compile(r"\b(total(?:s|led|ling|ed|ing)?|in all|altogether|sum|combined|together)\b", re.I)
MEAN = re.compile(r"\b(averag(?:e|ed|es|ing)|mean)\b", re.I)
MEDIAN = re.compile(r"\b(median|half\b.*\bmore\b.*\bhalf\b.*\bless)\b", re.I)
SHARE = re.compile(r"\b(shares?|accounts? for|accounted for|makes? up|made up|of (?:the|all)(?: \w+)? (?:total|whole)|of the total|of all)\b", re.I)  # fmt: skip
TIMES = re.compile(r"\b(times|twice|double[ds]?|tripled?|halved)\b", re.I)
GAP = re.compile(r"\b(difference|gap|range|spread|lead|margin|separates?|apart|clear of)\b", re.I)
MORE = (
    r"more|higher|larger|bigger|greater|better|above|ahead of|over|outranks|exceeds?|beats?|tops|longer|taller|stronger"
)
LESS = r"less|lower|smaller|fewer|worse|below|behind|under|shorter|weaker"
THAN = re.compile(rf"\b(?:(?P<more>{MORE})|(?P<less>{LESS}))\b", re.I)
WHOLE = re.compile(r"\b(over the (?:whole |entire )?(?:period|table|series|stretch)|over the (?:\S+ )?(?:years|months|quarters|days|weeks)|from first to last|from start to finish|start to end|whole period|overall|in the end|by the end)\b", re.I)  # fmt: skip
NOT = re.compile(r"\b(not|never|no|neither|nor|without)\b|n't\b", re.I)
EVERY = re.compile(r"\b(every|each|all)\b", re.I)
HEDGE = re.compile(r"\b(about|around|roughly|some|nearly|almost|approximately|just over|just under|over|more than|less than|under)\s+$", re.I)  # fmt: skip
_CUT = re.compile(
    r"[;:\u2014()]|,(?!\d)|\s\u2013\s|\b(?:and|while|but|whereas|with|against|compared with|after|before|than|ahead of|followed by)\b|"
    r"\b(?:to|from)\b(?=\s(?:about\s|nearly\s|over\s)?[-\u2212€$£]?\d)"
)
FRACTION = re.compile(r"\b(?:(?P<n>two|three)[ -](?P<many>thirds|quarters)|an? (?P<one>half|third|quarter)|(?P<half>half))\s+of\b", re.I)  # fmt: skip
MEASURES = {"km", "km²", "m²", "kg", "cm", "mm", "ms", "kWh", "°C", "°F"}
YEAR_AGO = re.compile(r"\b(a year (?:earlier|before|ago)|year[ -]on[ -]year|same (?:month|quarter) (?:of|a|the))", re.I)


@dataclass(frozen=True)
class _Mention:
    start: int
    end: int
    what: int


@dataclass
class Sentence:
    """A sentence with its mentions masked, so that words in names are no cues."""

    text: str
    masked: str
    rows: list[_Mention]
    columns: list[_Mention]
    cuts: list[int]
    context_rows: list[int]
    context_column: int | None
    out: list[tuple[int, int, str, Verdict, str]] = field(default_factory=list)

    def segment(self, at: int) -> tuple[int, int]:
        """The part between two cuts that holds a place."""
        first = max((c for c in self.cuts if c <= at), default=0)
        last = min((c for c in self.cuts if c > at), default=len(self.text))
        return first, last

    def near(self, mentions: Sequence[_Mention], at: int) -> list[int]:
        """What is spoken of at a place: mentions in its segment, else the nearest before, else the nearest after."""
        first, last = self.segment(at)
        inside = [m.what for m in mentions if first <= m.start < last]
        if inside:
            return inside
        before = [m for m in mentions if m.end <= first]
        if before:
            begins, ends = self.segment(before[-1].start)
            return [m.what for m in before if begins <= m.start < ends]
        after = [m for m in mentions if m.start >= last]
        return [after[0].what] if after else []

    def say(self, start: int, end: int, kind: str, verdict: Verdict, why: str) -> None:
        """Enter a claim, from ``start`` to ``end`` of the sentence."""
        self.out.append((start, end, kind, verdict, why))


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Sentences with where they begin; headings, list items and what a semicolon ends are sentences too.

    >>> [s for _, s in sentences("It rose by 3.5 %. Dr. Low agreed; May did not! So?")]
    ['It rose by 3.5 %.', 'Dr. Low agreed;', 'May did not!', 'So?']
    """
    ends = re.compile(r"(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bSt)(?<!\bvs)(?<!\bNo)(?<!\be\.g)(?<!\bi\.e)(?<!\b[A-Z])[.!?][\"'\u201d)]*(?=\s|$)|;(?=\s)")  # fmt: skip
    for line in re.finditer(r"[^\n]+(?:\n(?!\s*\n|\s*[#*\-\d|])[^\n]+)*", text):
        first = line.start()
        for end in ends.finditer(line.group()):
            piece = text[first : line.start() + end.end()]
            if piece.strip():
                yield first + len(piece) - len(piece.lstrip()), piece.strip()
            first = line.start() + end.end()
        rest = text[first : line.end()]
        if rest.strip():
            yield first + len(rest) - len(rest.lstrip()), rest.strip()


def _row_patterns(table: Table) -> list[tuple[str, int]]:
    out = [(re.escape(alias), i) for i, names in enumerate(table.aliases) for alias in names]
    if table.timed and table.grain == "month":
        short: dict[str, list[int]] = {}
        for i, name in enumerate(table.names):
            short.setdefault(name.split()[0], []).append(i)
        out += [(re.escape(name), where[0]) for name, where in short.items() if len(where) == 1]
    if not table.timed:  # a name may begin a sentence, or not
        out = [(f"[{name[0].upper()}{name[0].lower()}]{re.escape(name[1:])}" if (name := re.sub(r"\\(.)", r"\1", p))[:1].isalpha() else p, i) for p, i in out]  # fmt: skip
    return sorted(out, key=lambda pair: -len(pair[0]))


def _find(
    text: str, patterns: Sequence[tuple[str, int]], taken: list[tuple[int, int]], flags: int = 0
) -> list[_Mention]:
    out = []
    for pattern, what in patterns:
        for found in re.finditer(rf"(?<!\w){pattern}(?!\w)", text, flags):
            if all(found.end() <= a or found.start() >= b for a, b in taken):
                taken.append(found.span())
                out.append(_Mention(found.start(), found.end(), what))
    return sorted(out, key=lambda m: m.start)


def read(sentence: str, table: Table, rows: list[int], column: int | None) -> Sentence:
    """A sentence with what it names.

    Args:
        sentence: in English.
        table: whose rows and columns may be named.
        rows: those that the sentence before spoke of, for one that names none.
        column: that one's column.
    """
    taken: list[tuple[int, int]] = []
    named = _find(sentence, _row_patterns(table), taken)
    patterns = []
    for i, c in enumerate(table.columns):
        for way in {c.said, c.name, c.said.removesuffix("s")}:
            plural = "" if way.endswith("s") else "(?:s|es)?"
            patterns.append((r"\s+".join(map(re.escape, way.split())) + plural, i))
    patterns.sort(key=lambda pair: -len(pair[0]))
    of = _find(sentence, patterns, taken, re.I)
    masked = list(sentence)
    for m in (*named, *of):
        masked[m.start : m.end] = "\x01" * (m.end - m.start)
    hidden = "".join(masked)
    cuts = sorted({f.start() for f in _CUT.finditer(hidden)})
    return Sentence(sentence, hidden, named, of, cuts, rows, column)
