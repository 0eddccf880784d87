"""A table told in words: what is worth saying, several ways to say it, and no sentence that the table does not prove."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import torch

from bottega.core import BottegaError, DataError, Item, Rng, Scores, has
from bottega.crafts.write import need_text
from bottega.crafts.write_check import Claim, check, passes
from bottega.crafts.write_table import Column, Table, plural
from bottega.workshop.run import Run

__all__ = ["Report", "chooser", "report", "selftest"]

Choose = Callable[[str, Sequence[str]], list[int]]
"""``choose(before, options)``: the options from the best to the worst, as what may follow ``before``."""

_FLOWS = re.compile(
    r"\b(sales|sold|revenues?|turnover|orders?|visits?|visitors?|passengers?|goals?|points|costs?|births?|deaths?|production|output|"
    r"deliveries|downloads|tickets|units|emissions|calls|trips|profit|income|spend(ing)?|exports?|imports?|rainfall|wins|losses)\b",
    re.I,
)
_PLAIN = re.compile(
    r"\b(revenue|income|profit|turnover|traffic|population|rainfall|gdp|output|production|demand|employment|unemployment|inflation|"
    r"growth|consumption|debt|attendance|spending|weight|length|height|area|distance|mass)$",
    re.I,
)


@dataclass(frozen=True)
class Report:
    """A text with the proof of what it says.

    Attributes:
        title: one line.
        text: Markdown; a heading and a paragraph for each column.
        claims: every claim of the text, all proved.
        dropped: sentences that were left out because they could not be proved as they stood.
    """

    title: str
    text: str
    claims: list[Claim]
    dropped: list[str]


def report(
    table: Table, *, seed: int = 0, facts: int = 6, totals: Sequence[str] = (), choose: Choose | None = None
) -> Report:
    """A table in words.

    What is worth saying of a column (its span, its extremes, the sharpest change, the mean, a total; of named rows the
    leader, the last, gaps and shares) is found first; each of it can be said in several ways. A way is taken only where
    ``check``, which knows nothing of how sentences are made, proves every claim of it in its place.

    Args:
        table: the numbers.
        seed: which way each thing is said.
        facts: at most so many sentences for a column.
        totals: columns whose sum means something; by default those whose names say that they count something.
        choose: orders the ways by how well they go on from what stands before (see ``chooser``); the seed alone by default.

    Raises:
        DataError: fewer than two rows.
    """
    if len(table.names) < 2:
        raise DataError(f"{table.title} has one row; a report compares at least two")
    draw = random.Random(seed)
    named = {table.column(name).name for name in totals}
    title, dropped = "", []
    parts: list[str] = []
    used: set[str] = set()  # beginnings, so that no two paragraphs open alike
    for column in table.columns:
        if len(column.known) < 2:
            continue
        sums = column.name in named if totals else bool(_FLOWS.search(column.said)) and column.unit != "%"
        plan = (_timed if table.timed else _named)(table, column, sums)
        if not plan:
            continue
        if not title:
            title = _first_proved(table, "", plan[0])
        heading = f"## {_capital(column.said)}"
        paragraph = ""
        for ways in plan[1 : facts + 1]:
            order = draw.sample(range(len(ways)), len(ways))
            order.sort(key=lambda i: _opening(ways[i]) in used)
            if choose is not None:
                ways = [ways[i] for i in order]
                order = choose(f"{heading}\n\n{paragraph}", ways)
            for i in order:
                sentence = _capital(ways[i])
                longer = f"{paragraph} {sentence}".strip()
                if passes(check(f"{heading}\n\n{longer}", table)):
                    paragraph = longer
                    used.add(_opening(ways[i]))
                    break
                dropped.append(sentence)
        if paragraph:
            parts.append(f"{heading}\n\n{paragraph}")
    title = title or _capital(table.title.replace("_", " ").replace("-", " "))
    text = "\n\n".join([f"# {title}", *parts]) + "\n"
    claims = check(text, table)
    if not parts or not passes(claims):
        wrong = next((c for c in claims if c.verdict != "proved"), None)
        raise BottegaError(
            f"the report of {table.title} could not be proved{'' if wrong is None else f' at {wrong.text!r}: {wrong.why}'}; "
            "name its columns in words, or choose some with --columns"
        )
    return Report(title, text, claims, dropped)


def chooser(run: Run) -> Choose:
    """Orders sentences by the log-probability that a language model gives each of their characters behind what stands before.

    Raises:
        BottegaError: the run writes no text, or gives no probabilities.
    """
    need_text(run)
    if not has(run.model, Scores):
        raise BottegaError(
            f"a {run.recipe.family['name']} gives no likelihood, so it cannot choose; use a run such as english"
        )
    model: Any = run.model.eval()
    codec: Any = run.codec

    def score(text: str) -> float:
        rows = codec.encode([Item(text)]).to(run.device)
        with torch.no_grad():
            return float(model.log_prob(rows, Rng(0, device=run.device)).sum())

    def order(before: str, options: Sequence[str]) -> list[int]:
        tail = before[-300:]
        known = score(tail) if tail.strip() else 0.0
        gain = [(score(f"{tail} {way}") - known) / len(way) for way in options]
        return sorted(range(len(options)), key=lambda i: -gain[i])

    return order


def _first_proved(table: Table, before: str, ways: Sequence[str]) -> str:
    for way in ways:
        if passes(check(f"{before}# {_capital(way)}", table)):
            return _capital(way)
    return ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _opening(sentence: str) -> str:
    """The first word and what follows a name: what makes two sentences begin alike."""
    return " ".join(sentence.split()[:1])


def _the(column: Column) -> str:
    """The column as a subject: ``"the price"``, ``"units sold"``, ``"revenue"``."""
    return column.said if _is_plural(column) or _PLAIN.search(column.said) else f"the {column.said}"


def _is_plural(column: Column) -> bool:
    first, last = column.said.split()[0], column.said.split()[-1]
    return any(re.search(r"[^su]s$", word) is not None for word in (first, last))


def _percent(a: float, b: float) -> str:
    """A change in per cent to one decimal, whole from ten on; without its sign."""
    change = 100 * abs(b / a - 1)
    digits = 0 if change >= 10 else 1
    text = f"{math.floor(change * 10**digits + 0.5) / 10**digits:.{digits}f}"
    return text.removesuffix(".0")


# ---- rows in time -------------------------------------------------------------------------------------------------------


def _timed(table: Table, column: Column, sums: bool) -> list[list[str]]:
    """Ways to say each thing of a column whose rows are moments; the first are titles."""
    known = column.known
    names, s, w = table.names, _the(column), column.write
    at = "on" if table.grain == "day" else "in"
    (first, a), (last, b) = known[0], known[-1]
    x, y = names[first], names[last]
    up = b > a
    rose = ["rose", "climbed", "grew"] if up else ["fell", "dropped", "declined"]
    change = f"{_percent(a, b)} %" if a > 0 else ""
    if column.unit == "%":
        change = f"{column.write(abs(b - a)).removesuffix(' %')} percentage points"
    plan: list[list[str]] = []
    if a == b:
        plan.append([f"{column.said} unchanged from {x} to {y}"])
        plan.append([f"{s} began and ended the period at the same level: {w(a)} {at} {x} and {w(b)} {at} {y}."])
    elif change:
        way = "up" if up else "down"
        plan.append([f"{column.said} {way} {change} from {x} to {y}", f"{column.said} {'rise' if up else 'fall'} {change} from {x} to {y}"])  # fmt: skip
        noun = "a rise" if up else "a fall"
        plan.append([
            f"{s} {rose[0]} from {w(a)} {at} {x} to {w(b)} {at} {y}, {noun} of {change}.",
            f"between {x} and {y}, {s} {rose[2]} by {change}, from {w(a)} to {w(b)}.",
            f"from {w(a)} {at} {x}, {s} {rose[1]} to {w(b)} {at} {y}, {noun} of {change}.",
            f"{s} stood at {w(b)} {at} {y}, {way} {change} from {w(a)} {at} {x}.",
        ])  # fmt: skip
    else:
        plan.append([f"{column.said} from {x} to {y}"])
        plan.append([f"{s} {rose[0]} from {w(a)} {at} {x} to {w(b)} {at} {y}."])
    high, low = max(v for _, v in known), min(v for _, v in known)
    tops = [names[i] for i, v in known if v == high]
    lows = [names[i] for i, v in known if v == low]
    if high > low and len(tops) == 1 and len(lows) == 1:
        plan.append([
            f"the highest figure was {w(high)}, {at} {tops[0]}, and the lowest {w(low)}, {at} {lows[0]}.",
            f"{s} peaked at {w(high)} {at} {tops[0]}; the low point, {w(low)}, came {at} {lows[0]}.",
            f"the peak, {w(high)}, came {at} {tops[0]}, and the lowest reading, {w(low)}, {at} {lows[0]}.",
        ])  # fmt: skip
    elif high > low:
        plan.append([f"the highest figure was {w(high)}, first reached {at} {tops[0]}, and the lowest {w(low)}, first seen {at} {lows[0]}."])  # fmt: skip
    steps = [(i, p, v) for (h, p), (i, v) in zip(known, known[1:], strict=False) if i == h + 1]
    for sign, words in ((1, ("rise", "rose", "jumped", "up")), (-1, ("fall", "fell", "dropped", "down"))):
        some = [(sign * (v - p), i, p, v) for i, p, v in steps if sign * (v - p) > 0]
        if len(some) > 1 and (change or a > 0):
            _, i, p, v = max(some)
            if p > 0 and column.unit != "%":
                plan.append([
                    f"the sharpest {words[0]} came {at} {names[i]}, when {s} {words[2]} {_percent(p, v)} % to {w(v)}.",
                    f"the steepest {words[0]}, of {_percent(p, v)} %, came {at} {names[i]} and left {s} at {w(v)}.",
                    f"no {table.grain} saw a larger {words[0]} than {names[i]}, when {s} {words[1]} {_percent(p, v)} % to {w(v)}.",
                ])  # fmt: skip
    (before, p), (now, v) = known[-2], known[-1]
    if p != v and p > 0 and column.unit != "%" and len(known) > 2:
        went = ["rose", "gained", "up"] if v > p else ["fell", "lost", "down"]
        plan.append([
            f"{at} {names[now]}, the latest {table.grain}, {s} {went[0]} {_percent(p, v)} % to {w(v)}, from {w(p)} {at} {names[before]}.",
            f"most recently {s} {went[0]} from {w(p)} {at} {names[before]} to {w(v)} {at} {names[now]}, {'a gain' if v > p else 'a drop'} of {_percent(p, v)} %.",
            f"{names[now]} closed the series at {w(v)}, {went[2]} {_percent(p, v)} % from {w(p)} {at} {names[before]}.",
        ])  # fmt: skip
    rises, falls = sum(v > p for _, p, v in steps), sum(v < p for _, p, v in steps)
    if len(steps) == len(known) - 1 and len(steps) > 3:
        k, word, times = (rises, "rose", f"{len(steps)}") if rises >= falls else (falls, "fell", f"{len(steps)}")
        if k == len(steps):
            plan.append(
                [f"{s} {word} every single {table.grain}.", f"{s} {word} in each {table.grain} after the first."]
            )
        else:
            plan.append([
                f"{s} {word} {at} {k} of the {times} {plural(table.grain)} after {x}.",
                f"of the {times} {plural(table.grain)} after {x}, {s} {word} in {k} of {times}.",
            ])  # fmt: skip
    values = [v for _, v in known]
    digits = column.decimals + (column.decimals < 2)
    mean = w(fmean(values), digits)
    plan.append([
        f"on average, {s} came to {mean} a {table.grain}.",
        f"{s} averaged {mean} a {table.grain}.",
        f"the average over the {len(table.names)} {plural(table.grain)} was {mean}.",
    ])  # fmt: skip
    if sums:
        total = w(math.fsum(values))
        plan.insert(2, [
            f"in all, {s} came to {total} over the {len(table.names)} {plural(table.grain)}.",
            f"the total over the {len(table.names)} {plural(table.grain)} was {total}.",
            f"the {len(table.names)} {plural(table.grain)} together brought a total of {total}.",
        ])  # fmt: skip
    return plan


# ---- rows with names ----------------------------------------------------------------------------------------------------


def _named(table: Table, column: Column, sums: bool) -> list[list[str]]:
    """Ways to say each thing of a column whose rows are named; the first are titles."""
    ranked = sorted(column.known, key=lambda pair: -pair[1])
    names, w = table.names, column.write
    s, many = column.said, _is_plural(column)
    top = "most" if many and not column.unit else "highest"
    low = "fewest" if many and not column.unit else "lowest"
    (i, a), (j, b) = ranked[0], ranked[1]
    z, v = ranked[-1]
    lead, second, last = names[i], names[j], names[z]
    noun = plural(table.grain)
    if a == v:
        return [[f"{s}: all {noun} level"], [f"every {table.grain} has the same {s}, {w(a)}."]]
    plan: list[list[str]] = []
    if a == b:
        level = [names[k] for k, value in ranked if value == a]
        plan.append([f"{level[0]} and {level[1]} level by {s}"])
        plan.append([f"{level[0]} and {level[1]} share the {top} {s}, {w(a)} each."])
    else:
        plan.append([f"{lead} has the {top} {s}", f"{lead} leads by {s}"])
        third = f" and {names[ranked[2][0]]} with {w(ranked[2][1])}" if len(ranked) > 2 else ""
        plan.append([
            f"{lead} has the {top} {s}, {w(a)}, followed by {second} with {w(b)}{third}.",
            f"with {w(a)}, {lead} has the {top} {s}; {second} comes second with {w(b)}.",
            f"by {s}, {lead} is first with {w(a)}, ahead of {second} with {w(b)}{third}.",
        ])  # fmt: skip
        if b > 0:
            plan.append([
                f"the gap between {lead} and {second} is {w(a - b)}.",
                f"{lead} is {w(a - b)} ahead of {second}.",
                f"that puts {lead} {_percent(b, a)} % above {second}.",
            ])  # fmt: skip
    if sum(value == v for _, value in ranked) == 1 and len(ranked) > 2:
        plan.append([
            f"the {low} {s}, {w(v)}, {'belong' if many else 'belongs'} to {last}.",
            f"{last} has the {low} {s}, {w(v)}.",
            f"at the other end stands {last} with {w(v)}, the {low} of all.",
        ])  # fmt: skip
        if v > 0 and a / v >= 1.5:
            plan.append([
                f"{lead} has {a / v:.1f} times as {'many' if many else 'much'} as {last}.",
                f"that is one end of a wide field: {lead} has {a / v:.1f} times what {last} has.",
            ])  # fmt: skip
    values = [value for _, value in ranked]
    total = math.fsum(values)
    if sums and total > 0 and min(values) >= 0:
        share = f"{100 * a / total:.1f} %"
        plan.append([
            f"{lead} accounts for {share} of the total, which is {w(total)}.",
            f"of the total of {w(total)}, {lead} accounts for {share}.",
        ])  # fmt: skip
    mean = fmean(values)
    digits = column.decimals + (column.decimals < 2 and max(map(abs, values)) < 1000)
    above = sum(value > mean for value in values)
    plan.append([
        f"the average is {w(mean, digits)}, and {above} of the {len(names)} {noun} {'lies' if above == 1 else 'lie'} above the average.",
        f"on average, it is {w(mean, digits)} for each {table.grain}; {above} of {len(names)} {'is' if above == 1 else 'are'} above the average.",
        f"half of the {noun} have more than the median, {w(median(values), digits)}, and half less.",
    ])  # fmt: skip
    if len(ranked) > 4:
        k = len(ranked) // 2
        at, value = ranked[k]
        if sum(x == value for x in values) == 1:
            rank = k + 1
            nth = f"{rank}{'th' if 10 < rank % 100 < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th')}"
            plan.append([f"in the middle of the field, {names[at]} ranks {nth} with {w(value)}.", f"{names[at]} ranks {nth} with {w(value)}."])  # fmt: skip
    return plan


# ---- planted errors -----------------------------------------------------------------------------------------------------


def selftest(table: Table, text: str, *, seed: int = 0, n: int = 200) -> dict[str, tuple[int, int]]:
    """Plant errors in a proved text and count how many ``check`` catches: kind -> (caught, planted).

    Numbers get another digit, names of rows are exchanged, directions and extremes turned round.

    Args:
        table: what the text was proved against.
        text: proved.
        seed: of the errors.
        n: at most so many of each kind.
    """
    draw = random.Random(seed)
    out: dict[str, tuple[int, int]] = {}
    for kind, wrong in (("number", _wrong_number), ("row", _wrong_row), ("direction", _wrong_word)):
        made = {wrong(text, table, draw) for _ in range(n)} - {"", text}
        caught = sum(not passes(check(one, table)) for one in sorted(made))
        out[kind] = (caught, len(made))
    return out


def _wrong_number(text: str, table: Table, draw: random.Random) -> str:
    taken = [f.span() for names in table.aliases for name in names for f in re.finditer(re.escape(name), text)]
    places = [f for f in re.finditer(r"\d", text) if all(f.start() < a or f.start() >= b for a, b in taken)]
    if not places:
        return ""
    at = draw.choice(places).start()
    digit = draw.choice([d for d in "123456789" if d != text[at]])
    return text[:at] + digit + text[at + 1 :]


def _wrong_row(text: str, table: Table, draw: random.Random) -> str:
    places = [f for name in table.names for f in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
    if not places:
        return ""
    at = draw.choice(places)
    other = draw.choice([name for name in table.names if name != at.group()])
    return text[: at.start()] + other + text[at.end() :]


_TURNED = {"rose": "fell", "fell": "rose", "climbed": "dropped", "dropped": "climbed", "grew": "declined", "declined": "grew",
           "up": "down", "down": "up", "highest": "lowest", "lowest": "highest", "most": "fewest", "fewest": "most", "above": "below",
           "rise": "fall", "fall": "rise", "jumped": "dropped", "ahead of": "behind"}  # fmt: skip


def _wrong_word(text: str, table: Table, draw: random.Random) -> str:
    places = list(re.finditer(rf"\b({'|'.join(sorted(_TURNED, key=len, reverse=True))})\b", text))
    if not places:
        return ""
    at = draw.choice(places)
    return text[: at.start()] + _TURNED[at.group()] + text[at.end() :]
