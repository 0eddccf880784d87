"""What a text says of a table, claim by claim, proved or refuted: numbers, percentages, dates, directions, ranks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bottega.crafts import _claim_words as words
from bottega.crafts._claim_words import Verdict, sentences
from bottega.crafts.write_table import DAYS, MONTHS, Column, Table, moment, plural

__all__ = ["Claim", "check", "passes"]


@dataclass(frozen=True)
class Claim:
    """One thing that a text says.

    Attributes:
        text: the words.
        at: where they begin in the whole text.
        kind: ``"number"``, ``"direction"``, ``"extreme"``, ``"rank"``, ``"comparison"`` or ``"name"``.
        verdict: ``"proved"``; ``"refuted"``; ``"open"`` where the table does not say what the claim is about.
        why: what the table says.
        sentence: in which it stands.
    """

    text: str
    at: int
    kind: str
    verdict: Verdict
    why: str
    sentence: str


def passes(claims: Sequence[Claim]) -> bool:
    """Whether every claim is proved."""
    return all(claim.verdict == "proved" for claim in claims)


def check(text: str, table: Table) -> list[Claim]:
    """Every claim of an English text that a table can speak to, in reading order.

    A number must follow from the cells that its sentence is about, to the digits that are written: a cell, a sum, a
    mean, a median, an extreme, a difference, a change, a share, a ratio, a count or a rank. What it is about are the rows
    and columns named nearest, or else those of the sentence before. Directions (rose, fell), extremes (the largest),
    ranks (third) and comparisons (ahead of) are looked at too. A number that follows from nothing is refuted, and one
    whose sentence names neither row nor column is open.

    Args:
        text: what is to be checked; English, with decimal points.
        table: what it should agree with.
    """
    claims: list[Claim] = []
    rows: list[int] = []
    column: int | None = 0 if len(table.columns) == 1 else None
    for at, sentence in sentences(text):
        said = words.read(sentence, table, rows, column)
        _Judge(table, said).run()
        claims += [Claim(sentence[a:b], at + a, kind, verdict, why, sentence) for a, b, kind, verdict, why in sorted(said.out)]  # fmt: skip
        if said.rows:
            rows = [m.what for m in said.rows]
        if said.columns:
            column = said.columns[0].what
    return claims


class _Judge:
    """Goes through one sentence."""

    def __init__(self, table: Table, said: words.Sentence) -> None:
        self.table, self.said = table, said
        self.used: set[int] = set()  # places of numbers that another claim has answered

    def run(self) -> None:
        self._strange_moments()
        self._steepest()
        self._extremes()
        self._ranks()
        self._comparisons()
        self._level()
        self._moves()
        self._fractions()
        self._numbers()

    # ---- what is spoken of -----------------------------------------------------------------------------------------

    def _column(self, at: int, unit: str = "") -> Column | None:
        said = self.said
        found = said.near(said.columns, at)
        near = [c.what for c in said.columns if c.end <= at]
        if len(set(found)) > 1 and near and near[-1] in found:
            found = [near[-1]]
        which = found[-1] if found else said.context_column
        columns = self.table.columns
        if which is None:
            same = [c for c in columns if unit and c.unit == unit]
            return same[0] if len(same) == 1 else columns[0] if len(columns) == 1 else None
        if unit and unit != "%" and columns[which].unit != unit:
            named = [columns[m.what] for m in said.columns if columns[m.what].unit == unit]
            return named[0] if named else columns[which]
        return columns[which]

    def _rows(self, at: int) -> list[int]:
        said = self.said
        return list(dict.fromkeys(said.near(said.rows, at) or said.context_rows))

    def _own_rows(self) -> list[int]:
        return list(dict.fromkeys(m.what for m in self.said.rows))

    def _pairs(self, at: int) -> list[tuple[int, int]]:
        """Between which two rows a change at a place may be meant."""
        table, said = self.table, self.said
        if not table.timed or len(table.names) < 2:
            return []
        last = len(table.names) - 1
        own, here = self._own_rows(), said.near(said.rows, at)
        if words.YEAR_AGO.search(said.masked):
            ends = here or said.context_rows
            return [(b, e) for e in ends if (b := self._year_before(e)) is not None]
        if len(own) >= 2:
            pairs = [(min(own), max(own))]
            if len(own) > 2 or not re.search(r"\b(from|since|between|against|compared)\b", said.masked, re.I):
                pairs = [(i - 1, i) for i in here if i] or pairs
            return pairs
        whole = bool(words.WHOLE.search(said.masked))
        if len(said.rows) >= 2 and re.search(r"\b(from|between)\b", said.masked, re.I):
            return [(own[0], own[0])]  # from a row to itself
        if own:
            first = said.rows[0].start
            if re.search(r"\b(since|from|after)\s$", said.masked[:first], re.I):
                return [(own[0], last)]
            return [(0, own[0])] if whole else [(own[0] - 1, own[0])] if own[0] else []
        if whole or not said.context_rows:
            return [(0, last)]
        return [(i - 1, i) for i in said.context_rows[-1:] if i]

    def _year_before(self, row: int) -> int | None:
        now = moment(self.table.names[row])
        if now is None:
            return None
        order = (now.order[0] - 1, *now.order[1:])
        for i, name in enumerate(self.table.names):
            if (other := moment(name)) is not None and other.order == order:
                return i
        return None

    def _heard_not(self, at: int) -> bool:
        first, _ = self.said.segment(at)
        return bool(words.NOT.search(self.said.masked[first:at]))

    # ---- claims without numbers ------------------------------------------------------------------------------------

    def _strange_moments(self) -> None:
        """Dates that no row has."""
        if not self.table.timed:
            return
        months = "|".join(MONTHS)
        kinds = {"month": rf"(?:{months}) (?:of )?[12]\d{{3}}", "day": rf"\d{{1,2}} (?:{months})(?: [12]\d{{3}})?",
                 "quarter": r"Q[1-4](?: [12]\d{3})?", "year": r"[12]\d{3}(?![\d,.]\d)", "weekday": "|".join(DAYS)}  # fmt: skip
        pattern = kinds.get(self.table.grain, rf"(?:{months})")
        for found in re.finditer(rf"(?<![\w.,]){pattern}(?![\w%])", self.said.masked):
            if self.table.grain == "year" and not re.search(
                r"\b(in|since|from|to|by|of|until|and|between|for|after|before)\s$", self.said.masked[: found.start()]
            ):
                continue
            self.said.say(*found.span(), "name", "refuted", f"no row is called {found.group()}")
            self.used |= set(range(*found.span()))
        if self.table.grain in ("month", "quarter", "day"):
            years = {str(m.order[0]) for n in self.table.names if (m := moment(n)) is not None}
            for found in re.finditer(
                r"\b(?:in|of|since|by|during|throughout)\s([12]\d{3})\b(?![,.]\d|\s?%)", self.said.masked
            ):
                ok = found[1] in years
                self.said.say(*found.span(1), "name", "proved" if ok else "refuted", "a year of the table" if ok else "no row is of that year")  # fmt: skip
                self.used |= set(range(*found.span(1)))

    def _steepest(self) -> None:
        for found in words.STEEP.finditer(self.said.masked):
            column = self._column(found.start())
            rows = self.said.near(self.said.rows, found.end() - 1) or self._own_rows()
            self.used |= set(range(*found.span()))
            if column is None or not rows or not self.table.timed:
                self.said.say(*found.span(), "extreme", "open", "the sentence does not say which row or column")
                continue
            v = column.values
            steps = {i: (b - a, b / a - 1 if a else math.nan) for i in range(1, len(v)) if (a := v[i - 1]) is not None and (b := v[i]) is not None}  # fmt: skip
            sign = 1 if found["up"] else -1
            small = found.group().lower().startswith("smallest")
            best = set()
            for k in (0, 1):
                some = {i: sign * s[k] for i, s in steps.items() if sign * s[k] > 0}
                if some:
                    edge = (min if small else max)(some.values())
                    best |= {i for i, s in some.items() if s == edge}
            ok = bool(best & set(rows))
            names = ", ".join(self.table.names[i] for i in sorted(best)) or "none"
            self.said.say(*found.span(), "extreme", "proved" if ok else "refuted", f"it was in {names}")

    def _extremes(self) -> None:
        for found in words.EXTREME.finditer(self.said.masked):
            if found.start() in self.used or self._rank_before(found.start()) is not None:
                continue
            word = found.group().lower()
            if re.match(r"\s(?:of(?!\sall)|other|recent(?:ly)?)\b", self.said.masked[found.end() :]) and word == "most":
                continue
            if word in {"led", "leads", "top", "tops", "topped", "heads"} and self._than_row(found.end()):
                continue
            if re.search(
                r"\bat\s$", self.said.masked[: found.start()]
            ):  # "at most", "at least" bound, they do not rank
                continue
            column = self._column(found.start())
            if column is None:
                self.said.say(*found.span(), "extreme", "open", "the sentence does not say which column")
                continue
            known = column.known
            edge = (max if found["max"] else min)(v for _, v in known)
            rows = self._rows_of_extreme(found.start(), found.end())
            where = ", ".join(self.table.names[i] for i, v in known if v == edge)
            if rows:
                shared = re.search(r"\b(share|both|alike)\b", self.said.masked)
                ok = all(column.values[i] == edge for i in (self._own_rows() if shared else rows))
                verdict: Verdict = "proved" if ok != self._heard_not(found.start()) else "refuted"
                self.said.say(*found.span(), "extreme", verdict, f"{column.said}: {where} ({column.write(edge)})")

    def _than_row(self, end: int) -> bool:
        return any(m.start - end < 12 for m in self.said.rows if m.start >= end)

    def _rows_of_extreme(self, start: int, end: int) -> list[int]:
        """The row nearest to an extreme, before others: in its segment, else by distance."""
        first, last = self.said.segment(start)
        inside = [m for m in self.said.rows if first <= m.start < last]
        if inside:
            return [min(inside, key=lambda m: min(abs(m.start - end), abs(start - m.end))).what]
        after = [m for m in self.said.rows if m.start >= end]
        if after and not re.search(
            r"\b(and|than|ahead of|followed|but|while|with)\b", self.said.masked[end : after[0].start]
        ):
            return [after[0].what]
        before = [m for m in self.said.rows if m.end <= start]
        if before or after:
            return [before[-1].what if before else after[0].what]
        only = self.said.context_rows if len(set(self.said.context_rows)) == 1 else []  # "it has the most"
        return only[:1] if re.search(r"\b(it|he|she|this|which)\b", self.said.masked[first:start], re.I) else []

    def _rank_before(self, at: int) -> int | None:
        found = re.search(r"\b(" + "|".join(words.ORDINAL) + r"|\d+(?:st|nd|rd|th))[ -]$", self.said.masked[:at], re.I)
        if found is None:
            return None
        word = found[1].lower()
        return words.ORDINAL.get(word) or int(re.sub(r"\D", "", word))

    def _ranks(self) -> None:
        spelt = "|".join(words.ORDINAL)
        pattern = rf"\b(?P<nth>{spelt}|\d+(?:st|nd|rd|th))(?P<of>[ -](?:{words.MAX}|{words.MIN}))?\b(?!\s(?:of|quarter|half|time))"
        for found in re.finditer(pattern, self.said.masked, re.I):
            before = self.said.masked[: found.start()]
            ranked = re.search(
                r"\b(rank(?:s|ed)?|com(?:es|ing)|came|plac(?:es|ed)|finish(?:es|ed)|is|are|was|in|lies|stands)\s(?:in )?$",
                before,
            )
            if not found["of"] and not (ranked or re.match(r"\s(?:place|rank)\b", self.said.masked[found.end() :])):
                continue
            nth = words.ORDINAL.get(found["nth"].lower()) or int(re.sub(r"\D", "", found["nth"]))
            self.used |= set(range(*found.span()))
            column, rows = self._column(found.start()), self._rows_of_extreme(found.start(), found.end())
            rows = rows or self.said.context_rows[-1:]
            if column is None or not rows:
                self.said.say(*found.span(), "rank", "open", "the sentence does not say which row or column")
                continue
            value = column.values[rows[0]]
            down = not (found["of"] and re.fullmatch(words.MIN, found["of"][1:], re.I))
            if value is None:
                self.said.say(*found.span(), "rank", "refuted", "the cell is empty")
                continue
            ahead = sum((v > value) if down else (v < value) for _, v in column.known)
            same = sum(v == value for _, v in column.known)
            ok = ahead < nth <= ahead + same
            self.said.say(*found.span(), "rank", "proved" if ok else "refuted", f"{self.table.names[rows[0]]} is number {ahead + 1} by {column.said}")  # fmt: skip

    def _comparisons(self) -> None:
        """``A is larger than B``, ``A is ahead of B``."""
        rows = self.said.rows
        for a, b in zip(rows, rows[1:], strict=False):
            between = self.said.masked[a.end : b.start]
            found = words.THAN.search(between)
            if found is None or not re.search(
                r"\b(than|ahead of|behind|above|below|over|under|outranks|exceeds?|beats?)\b", between
            ):
                continue
            column = self._column(a.end + found.start())
            start = a.end + found.start()
            if column is None:
                self.said.say(
                    start, a.end + found.end(), "comparison", "open", "the sentence does not say which column"
                )
                continue
            x, y = column.values[a.what], column.values[b.what]
            if x is None or y is None:
                self.said.say(start, a.end + found.end(), "comparison", "refuted", "a cell is empty")
                continue
            ok = (x > y) if found["more"] else (x < y)
            why = f"{column.said}: {column.write(x)} and {column.write(y)}"
            verdict: Verdict = "proved" if ok != self._heard_not(start) else "refuted"
            self.said.say(start, a.end + found.end(), "comparison", verdict, why)

    def _level(self) -> None:
        """``A and B are level``."""
        rows = self._own_rows()
        for found in re.finditer(r"\b(level|tied|equal)\b", self.said.masked):
            column = self._column(found.start())
            if column is None or len(rows) < 2 or self.table.timed:
                continue
            same = len({column.values[i] for i in rows}) == 1
            why = f"{column.said}: " + ", ".join(
                "-" if (v := column.values[i]) is None else column.write(v) for i in rows
            )
            self.said.say(*found.span(), "comparison", "proved" if same else "refuted", why)

    def _moves(self) -> None:
        """Rose, fell, unchanged."""
        masked = self.said.masked
        for found in (*words.MOVE.finditer(masked), *words.FLAT.finditer(masked)):
            if found.start() in self.used or not self.table.timed:
                continue
            flat = "up" not in found.re.groupindex
            word, after = found.group().lower(), masked[found.end() :]
            if (
                word in ("up", "down")
                and re.match(r"\s(?:to|the|of)\b", after)
                and not re.match(r"\sto\s[€$£]?\d", after)
            ):
                continue
            if re.match(r"\s(?:\w+\s)?(?:in|on)\s[\w,]+\s(?:out )?of\b", after) or re.match(
                r"s?\s+(?:outnumbered|and falls)", after
            ):
                continue  # a count: see _numbers
            if re.search(rf"\b(?:\d+|{'|'.join(words.SMALL)})\s$", masked[: found.start()]):
                continue
            column, pairs = self._column(found.start()), self._pairs(found.start())
            if column is None or not pairs:
                self.said.say(*found.span(), "direction", "open", "the sentence does not say which rows or column")
                continue
            if words.EVERY.search(after[:40]) and re.search(
                rf"\b(?:every|each)\s(?:single\s)?(?:{self.table.grain}|time)", after[:40]
            ):
                known = column.known
                pairs = [(a, b) for (a, _), (b, _) in zip(known, known[1:], strict=False)]
                want_all = True
            else:
                want_all = False
            signs = []
            for a, b in pairs:
                x, y = column.values[a], column.values[b]
                signs.append(0 if x is None or y is None else (y > x) - (y < x))
            want = 0 if flat else 1 if found["up"] else -1
            good = [s == want for s in signs]
            ok = all(good) if want_all else any(good)
            if self._heard_not(found.start()):
                ok = not ok
            a, b = pairs[0]
            x, y = column.values[a], column.values[b]
            why = f"{column.said}: {'-' if x is None else column.write(x)} in {self.table.names[a]}, {'-' if y is None else column.write(y)} in {self.table.names[b]}"  # fmt: skip
            self.said.say(*found.span(), "direction", "proved" if ok else "refuted", why)

    # ---- numbers ---------------------------------------------------------------------------------------------------

    def _fractions(self) -> None:
        for found in words.FRACTION.finditer(self.said.masked):
            self.used |= set(range(*found.span()))
            column, rows = self._column(found.start()), self._rows(found.start())
            value = {"half": 1 / 2, "third": 1 / 3, "quarter": 1 / 4}.get((found["one"] or found["half"] or "").lower())
            if value is None:
                value = {"two": 2, "three": 3}[found["n"].lower()] / {"thirds": 3, "quarters": 4}[found["many"].lower()]
            if column is None or not rows:
                self.said.say(*found.span(), "number", "open", "the sentence does not say which row or column")
                continue
            share = self._sum(column, rows) / self._sum(column)
            rest = self.said.masked[max(0, found.start() - 12) : found.start()].lower()
            ok = share > value if re.search(r"\b(over|more than)\s$", rest) else share < value if re.search(r"\b(under|less than)\s$", rest) else abs(share - value) <= 0.025  # fmt: skip
            self.said.say(*found.span(), "number", "proved" if ok else "refuted", f"the share is {100 * share:.1f} %")

    def _sum(self, column: Column, rows: Sequence[int] | None = None) -> float:
        return math.fsum(v for i, v in column.known if rows is None or i in rows)

    def _numbers(self) -> None:
        said = self.said
        for found in words.NUMBER.finditer(said.masked):
            if found.start() in self.used or found.end() - 1 in self.used or found["nth"]:
                continue
            digits = found["digits"].replace(",", "") + (found["rest"] or "")
            scale = (
                words.SCALE[(found["scale"] or found["short"] or "").lower()]
                if found["scale"] or found["short"]
                else 1.0
            )
            value = float(digits) * scale * (-1 if found["sign"] else 1)
            step = scale * 10.0 ** -len((found["rest"] or ".")[1:])
            unit = "%" if found["unit"] else (found["money"] or found["money2"] or "").strip()
            if not unit:
                after = said.masked[found.end() :]
                units = sorted({c.unit for c in self.table.columns if c.unit} | words.MEASURES, key=len, reverse=True)
                unit = next((u for u in units if re.match(rf"\s?{re.escape(u)}(?!\w)", after)), "")
            self._number(found.start(), found.end(), value, step, unit, bool(found["points"]))
        counted = "|".join(w for w in words.SMALL if w != "one")
        nouns = rf"of\b|out of|{re.escape(self.table.grain)}|{re.escape(plural(self.table.grain))}|times|row|percent"
        for found in re.finditer(rf"\b({counted})(?=\s(?:\w+\s)?(?:{nouns}))", said.masked, re.I):
            if found.start() not in self.used:
                self._number(found.start(), found.end(), float(words.SMALL[found[1].lower()]), 1.0, "", False)
        for found in re.finditer(r"\b(twice|doubled?|tripled?|halved)\b", said.masked, re.I):
            ratio = {"t": 2.0, "d": 2.0, "h": 0.5}[found[1][0].lower()] if "trip" not in found[1].lower() else 3.0
            self._number(found.start(), found.end(), ratio, 0.2 if ratio > 1 else 0.1, "", False)

    def _number(self, start: int, end: int, value: float, step: float, unit: str, points: bool) -> None:
        column = self._column(start, unit)
        found = list(self._candidates(start, end, value, column, unit, points))
        before = self.said.masked[:start]
        hedge = words.HEDGE.search(before)
        word = hedge[1].lower() if hedge else ""

        def same(true: float) -> bool:
            if word in ("over", "more than", "just over"):
                return value < true <= value + max(0.1 * abs(value), step)
            if word in ("nearly", "almost", "less than", "under", "just under"):
                return value - max(0.1 * abs(value), step) <= true < value
            slack = 0.5 * step * (1 + 1e-6) + 1e-9 * abs(true)
            return abs(true - value) <= (max(slack, 0.05 * abs(true)) if word else slack)

        if not found:
            self.said.say(start, end, "number", "open", "the table does not say what it is about")
            return
        good = [why for true, why in found if same(true)]
        if good:
            self.said.say(start, end, "number", "proved", good[0])
        else:
            self.said.say(
                start, end, "number", "refuted", "; ".join(f"{why} is {true:.10g}" for true, why in found[:3])
            )

    def _candidates(
        self, start: int, end: int, value: float, column: Column | None, unit: str, points: bool
    ) -> Iterator[tuple[float, str]]:
        """What a number may be, given the words around it: value and name of each."""
        said, table = self.said, self.table
        first, last = said.segment(start)
        before, after = said.masked[first:start], said.masked[end:last]
        here, up_to = said.masked[first:last], said.masked[:start]
        rows = self._rows(start)
        whole_after = said.masked[end:]
        # counts: 8 of 11 months, the 11 months, 5 cities
        grain = f"(?:{re.escape(table.grain)}|{re.escape(plural(table.grain))})"
        some = rf"(?:{'|'.join(words.SMALL)}|\d+)"
        whole = bool(re.search(rf"\b{some}\s(?:of|out of)\s(?:the\s|all\s)?$", up_to, re.I))
        if not unit and (whole or re.match(rf"\s(?:of|out of)\s(?:the\s|all\s)?{some}\b", whole_after, re.I)):
            yield from self._counts(start, value, column, whole)
            return
        if not unit and re.match(rf"\s(?:\w+\s)?(?:{grain}|(?:row|change)s?)\b", whole_after) and not said.near(said.rows, start) and value == int(value):  # fmt: skip
            yield from self._counts(start, value, column, True)
            return
        if column is None:
            return
        values = column.values
        name = column.said
        if column.unit == "%" and unit == "%" or points:
            percent = False
        else:
            percent = unit == "%"
            if unit and not percent and column.unit != unit:
                yield math.nan, f"{name} is not in {unit}"
                return
        total = self._sum(column)
        mean = fmean(v for _, v in column.known)
        heard = here if re.search(r"\w", before.strip()) else up_to[-80:] + here
        heard = up_to + here if not self._own_rows() else heard
        move = None
        for move in words.MOVE.finditer(up_to):  # noqa: B007
            pass
        later = words.MOVE.search(after)
        sign = 0
        if move is not None and first - 40 <= move.start():
            sign = 1 if move["up"] else -1
        elif later is not None and re.match(r"\s(?:%?\s?)?(?:higher|lower)?\s*\w*$", after[: later.start()]):
            sign = 1 if later["up"] else -1
        direct = bool(re.search(r"\b(to|from|at|was|were|is|stood|reached|of|with|had|has)\s(?:about\s|nearly\s|over\s|only\s|just\s|some\s)?$", up_to))  # fmt: skip
        if percent:
            if words.SHARE.search(here) or re.match(r"\s+of\b", after):
                if rows and total:
                    yield 100 * self._sum(column, rows) / total, f"the share of {self._list(rows)} in {name}"
                return
            if words.MEAN.search(here) and words.THAN.search(here) and rows:
                for r in rows:
                    if (v := values[r]) is not None and mean:
                        yield 100 * abs(v / mean - 1), f"{self.table.names[r]} against the mean of {name}"
                return
            own = self._own_rows()
            if not table.timed and len(own) >= 2 and words.THAN.search(said.masked):
                x, y = values[own[0]], values[own[1]]
                if x is not None and y:
                    yield 100 * abs(x / y - 1), f"{self._list(own[:2])} compared by {name}"
                return
            if words.MEAN.search(here) and not sign:
                steps = [100 * (b / a - 1) for a, b in self._steps(column) if a]
                if steps:
                    yield fmean(steps), f"the mean change of {name}"
                return
            for a, b in self._pairs(start):
                x, y = values[a], values[b]
                if x and y is not None:
                    change = 100 * (y / x - 1) * (1 if x > 0 else -1)
                    told = f"the change of {name} from {table.names[a]} to {table.names[b]}"
                    yield (change * sign if sign else abs(change)), told
            return
        times = words.TIMES.search(said.masked[start : end + 10])
        if times:
            own = self._own_rows()
            pairs = (
                [(a, b) for b, a in self._pairs(start)] if table.timed else [(own[0], own[1])] if len(own) > 1 else []
            )
            for a, b in pairs:
                x, y = values[a], values[b]
                if x is not None and y:
                    yield x / y, f"{name} of {table.names[a]} over {table.names[b]}"
            if len(own) < 2 and words.MEAN.search(here) and rows and mean:
                yield (values[rows[0]] or math.nan) / mean, f"{table.names[rows[0]]} over the mean"
            return
        if words.MEDIAN.search(heard):
            yield median(v for _, v in column.known), f"the median of {name}"
            return
        if words.MEAN.search(heard) and not (words.THAN.search(heard) and rows):
            yield mean, f"the mean of {name}"
            return
        if words.SUM.search(heard):
            own = [m.what for m in said.rows]
            if len(own) > 1:
                yield self._sum(column, own), f"the sum of {name} over {self._list(own)}"
            yield total, f"the sum of {name}"
            return
        if re.search(r"\b(range|spread|gap)\b", heard, re.I) and not self._own_rows():
            yield max(v for _, v in column.known) - min(v for _, v in column.known), f"the range of {name}"
            return
        own = self._own_rows()
        gap = words.GAP.search(said.masked if len(own) > 1 else heard)
        compared = gap or re.match(rf"\s?[^\s,]*\s?\w*\s?(?:{words.MORE}|{words.LESS})\b", whole_after, re.I) or re.search(r"\b(?:by)\s$", up_to)  # fmt: skip
        if compared and not table.timed:
            if words.MEAN.search(here) and rows:
                yield abs((values[rows[0]] or math.nan) - mean), f"{table.names[rows[0]]} against the mean"
            for a, b in zip(own, own[1:], strict=False):
                x, y = values[a], values[b]
                if x is not None and y is not None:
                    yield abs(x - y), f"the difference of {self._list([a, b])} by {name}"
            if own:
                return
        if table.timed and sign and (not direct or re.search(rf"\b(?:{words.UP}|{words.DOWN})\sof\s$", up_to, re.I)) or points or (table.timed and compared):  # fmt: skip
            for a, b in self._pairs(start):
                x, y = values[a], values[b]
                if x is not None and y is not None:
                    yield ((y - x) * sign if sign else abs(y - x)), f"the difference of {name} between {table.names[a]} and {table.names[b]}"  # fmt: skip
            return
        cues = [*words.EXTREME.finditer(heard[: len(heard) - len(after)]), *words.EXTREME.finditer(after)]
        behind = [c for c in cues if c.string is not after]
        extreme = behind[-1] if behind else cues[0] if cues else None
        inside = [m for m in said.rows if first <= m.start < last]
        if extreme and not inside and self._rank_before(up_to.rfind(extreme.group())) is None:
            edge = (max if extreme["max"] else min)(v for _, v in column.known)
            yield edge, f"the {extreme.group().lower()} of {name}"
            return
        chosen = self._cell_rows(start, rows)
        for r in chosen:
            if (v := values[r]) is not None:
                yield v, f"{name} of {table.names[r]}"
            else:
                yield math.nan, f"{name} of {table.names[r]} is empty, so it"

    def _cell_rows(self, start: int, rows: list[int]) -> list[int]:
        """Whose cell is meant: after "from", the first of the two rows of a change that names one only."""
        said = self.said
        up_to = said.masked[:start]
        own = self._own_rows()
        if self.table.timed and re.search(r"\bfrom\s(?:about\s)?[-€$£]*$", up_to):
            first, last = said.segment(start)
            if not any(first <= m.start < last for m in said.rows):
                return [a for a, _ in self._pairs(start)]
        if self.table.timed and not own and words.WHOLE.search(said.masked):
            return [b for _, b in self._pairs(start)]
        if self.table.timed and not own and not rows and re.search(r"\bto\s[-€$£]*$", up_to):
            return [b for _, b in self._pairs(start)]
        return rows

    def _steps(self, column: Column, since: int = 0) -> list[tuple[float, float]]:
        known = [v for i, v in column.known if i >= since]
        return list(zip(known, known[1:], strict=False))

    def _counts(self, start: int, value: float, column: Column | None, whole: bool) -> Iterator[tuple[float, str]]:
        masked, since, after = self.said.masked, 0, False
        own = self._own_rows()
        if len(own) == 1 and re.search(r"\b(after|since)\s$", masked[: self.said.rows[0].start], re.I):
            since, after = own[0], True
        n = len(self.table.names) - since
        if column is not None and not whole:
            mean = fmean(v for _, v in column.known)
            steps = self._steps(column, since)
            near = masked[max(0, start - 60) : start + 80]
            move = None
            for move in words.MOVE.finditer(masked[:start]):  # noqa: B007
                pass
            move = move or words.MOVE.search(masked[start:])
            than = words.THAN.search(near)
            if than and words.MEAN.search(near):
                more = bool(than["more"])
                count = sum((v > mean) if more else (v < mean) for _, v in column.known)
                yield float(count), f"how many are {'above' if more else 'below'} the mean of {column.said}"
                return
            if move is not None and self.table.timed:
                count = sum((b > a) if move["up"] else (b < a) for a, b in steps)
                yield float(count), f"how often {column.said} {'rose' if move['up'] else 'fell'}"
                return
        moved = bool(words.MOVE.search(masked)) and self.table.timed
        if whole or column is None:
            if not after:
                yield float(n), f"the number of {plural(self.table.grain)}"
            if moved or after:
                yield float(n - 1), "the number of changes"
            if column is not None and not after:
                yield float(len(column.known)), f"the rows that have {column.said}"

    def _list(self, rows: Sequence[int]) -> str:
        return " and ".join(self.table.names[i] for i in rows[:4])
