"""A CSV file to be asked: the cells, counts, sums and extremes that a question means, with their rows and column."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise, product
from pathlib import Path
from statistics import fmean

from bottega.crafts._question_words import IDLE, SAME, stem
from bottega.crafts.write_table import Column, moment, numbers_of, read_text, split_rows, spoken

__all__ = ["Field", "Found", "Sheet", "parse_sheet", "read_sheet"]

SHOWN = 12  # so many different cells are told; of more, how many there are
LONGEST = 8  # words of a cell that a question may quote; longer cells are prose
_WORD = re.compile(r"[^\W_]+")
_MOST = re.compile(r"most|largest|biggest|highest|greatest|longest|maximum|tallest|oldest|dearest|heaviest", re.I)
_LEAST = re.compile(r"fewest|least|smallest|lowest|shortest|minimum|youngest|cheapest|lightest", re.I)
_SUM, _MEAN = re.compile(r"total|altogether|sum", re.I), re.compile(r"average|mean", re.I)
_DENIED = re.compile(r"\b(?:not|no|never|neither|nor|none|except|without|other|else)\b|n['’]t\b", re.I)
_BOUND = re.compile(
    r"\bat\s+(?:the\s+)?(?:very\s+)?(?:most|least|minimum|maximum)\b|\bthan\b|\bup\s+to\b"
    r"|\b(?:over|under|above|below|beyond|exceed\w*|minimum\s+of|maximum\s+of)\s+(?:an?\s+)?\W?\d|\bor\s+(?:more|less|fewer)\b", re.I)  # fmt: skip
_TWICE = re.compile(r"\b(?:and|or)\s+(?:\w+\s+)?(?:who|whom|whose|what|which|where|when|how|why)\b", re.I)
_FROM = frozenset(("from", "origin", "departure", "start", "source", "sender"))
_TO = frozenset(("to", "destination", "arrival", "end", "target", "recipient", "receiver"))
_FILLER = frozenset(stem(w) for w in ["please", "tell", "give", "show", "find", "say", "know", "list", "listed", "entry", "record", "recorded", "currently", "now", "today", "work", "works", "belong", "place", "placed", "stand", "mr", "mrs", "ms", "dr", "there", "there's", "me", "us", "about", "according", "table", "file", "row", "value", "cell"])  # fmt: skip
_VAGUE = frozenset(
    ("number", "no", "nr", "id", "name", "address", "code", "date")
)  # "order id" is asked for as "order"
_CODES = frozenset(("id", "number", "no", "nr", "code", "year", "zip", "postcode", "phone", "telephone", "key", "ref"))
_PEOPLE = frozenset([
    "name", "person", "employee", "customer", "client", "member", "student", "pupil", "teacher", "patient",
    "contact", "player", "author", "staff", "guest",
])  # fmt: skip
_PLACES = frozenset(["place", "city", "town", "village", "country", "location", "address", "street", "site"])
_ALSO = [{"old", "age"}, {"oldest", "youngest", "age"}, {"heavy", "weigh", "weight"}, {"dearest", "cheapest", "price"},
         {"heaviest", "lightest", "weight"}, {"phone", "telephone"}, {"salary", "earn"}, {"boss", "manager"}, {"born", "birth", "birthday"},
         {"cost", "price", "amount", "pay"}, {"live", "city", "town", "home", "residence"}]  # fmt: skip


def _root(word: str) -> str:
    """A stem without what makes a person or a thing of a verb: who manages is the manager.

    >>> _root("manages"), _root("manager"), _root("located"), _root("location")
    ('manag', 'manag', 'locat', 'locat')
    """
    word = stem(word)
    for ending in ("ion", "er", "or", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word.removesuffix("e")


def _near(groups: Iterable[set[str]]) -> dict[str, frozenset[str]]:
    out: dict[str, set[str]] = {}
    for group in groups:
        roots = {_root(w) for w in group}
        for root in roots:
            out.setdefault(root, set()).update(roots)
    return {root: frozenset(others) for root, others in out.items()}


_NEAR = _near([*SAME, *_ALSO])


def _alike(word: str) -> frozenset[str]:
    """Roots that may stand for a word."""
    root = _root(word)
    return _NEAR.get(root, frozenset()) | {root}


def _tokens(text: str) -> list[str]:
    """Words and numbers; commas between thousands are none."""
    return _WORD.findall(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text))


def _same(cell: str, said: str) -> bool:
    """Whether a word of a cell is that of a question: in any case, in plural too where it is no name.

    >>> _same("Berg", "berg"), _same("lamp", "lamps"), _same("IT", "it"), _same("Hans", "Han")
    (True, True, False, False)
    """
    if len(cell) <= 3 and cell.isupper() or cell.lower() in IDLE:
        return cell == said and not cell.islower()
    return cell.casefold() == said.casefold() or (cell[0].islower() and cell.isalpha() and stem(cell) == stem(said))


@dataclass(frozen=True)
class Field:
    """A column.

    Attributes:
        said: its name in words.
        cells: as they are written, one for each row.
        numbers: the same as numbers, with their unit; None where they are words, dates, or numbers that name things.
        code: whether its numbers name things, as those of orders do.
    """

    said: str
    cells: tuple[str, ...]
    numbers: Column | None = None
    code: bool = False

    def write(self, row: int) -> str:
        """A cell as it is said: a number with its unit, else as it is written."""
        value = self.numbers.values[row] if self.numbers is not None else None
        return self.numbers.write(value) if self.numbers is not None and value is not None else self.cells[row]


@dataclass(frozen=True)
class Found:
    """What a table says to a question.

    Attributes:
        text: the answer; empty where the table speaks of what is asked and yet has none.
        lines: of the file, on which it stands.
        column: in which.
        passage: the cells, each with its row's name.
        why: how it was found, or why there is none.
    """

    text: str
    lines: tuple[int, ...] = ()
    column: str = ""
    passage: str = ""
    why: str = ""


@dataclass
class _Asked:
    """A question, read against one table."""

    words: list[str]
    commas: set[int] = field(default_factory=set)  # places of words that a comma follows
    clear: set[int] = field(default_factory=set)  # places of words whose meaning is known
    named: dict[int, set[int]] = field(default_factory=dict)  # columns, with the places of words that name them
    quoted: dict[tuple[int, int], dict[int, set[int]]] = field(default_factory=dict)  # place: column: rows
    lists: list[list[tuple[int, int]]] = field(
        default_factory=list
    )  # places joined by "and" that are cells of one column

    def has(self, pattern: re.Pattern[str]) -> list[int]:
        """Places of a word."""
        return [i for i, word in enumerate(self.words) if pattern.fullmatch(word)]

    def fits(self, place: tuple[int, int]) -> dict[int, set[int]]:
        """Columns and rows of a quoted cell: of those that are named, else of all that have it."""
        columns = self.quoted[place]
        return {c: r for c, r in columns.items() if c in self.named} or columns

    def say(self, place: tuple[int, int]) -> str:
        """What stands there."""
        return " ".join(self.words[slice(*place)])

    @property
    def joint(self) -> bool:
        """Whether an "and" or "or" joins something else than cells of one column, and is in none."""
        inside = _inside(self.quoted) | _inside((run[0][0], run[-1][1]) for run in self.lists)
        return any(w.lower() in ("and", "or") and i not in inside for i, w in enumerate(self.words))


class Sheet:
    """Rows and columns as they are written. Nothing need be a number, and rows may have the same name.

    A question is answered only if all its words are accounted for: by names of columns, by cells that it quotes, by the
    table's own name, or by what it wants done (most, total, average, how many). So what is not in the table is not answered,
    nor are bounds ("at least 40"), and of two questions in one not the half. Where rows may be read in several ways (a town
    that is in two columns, the most of a city that has several rows) it is said that they may.

    Args:
        title: what the table is called.
        head: the names of its columns.
        rows: the cells of each row.
        lines: of the file, on which each row begins.
    """

    def __init__(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
        self.title, self.lines = title, tuple(lines)
        self.fields = [_field(name, [row[i].strip() for row in rows]) for i, name in enumerate(head)]
        self.key = self._naming()
        self._first: list[dict[str, list[tuple[list[str], set[int], bool]]]] = [self._index(f) for f in self.fields]
        self._parts = [self._names(f) if f.numbers is None else {} for f in self.fields]
        self._own = {_root(w) for w in _tokens(f"{spoken(title)} {self.fields[self.key].said}")}

    def _naming(self) -> int:
        """The column that names rows: the first that differs in all, words before codes; else the first of words."""
        whole = [len({*f.cells}) == len(f.cells) and "" not in f.cells for f in self.fields]
        for fits in (lambda f: f.numbers is None and not f.code, lambda f: f.code):
            for i, column in enumerate(self.fields):
                if whole[i] and fits(column) and (column.code or not all(map(moment, column.cells))):
                    return i
        words = [i for i, f in enumerate(self.fields) if f.numbers is None]
        return next((i for i, ok in enumerate(whole) if ok and i in words), words[0] if words else 0)

    def _index(self, column: Field) -> dict[str, list[tuple[list[str], set[int], bool]]]:
        """Cells by the stem of their first word, and whether only a part is said; dates in every way that they are said."""
        where: dict[str, set[int]] = {}
        for row, cell in enumerate(column.cells):
            if cell:
                where.setdefault(cell, set()).add(row)
        out: dict[str, list[tuple[list[str], set[int], bool]]] = {}
        for cell, rows in where.items():
            at = moment(cell) if column.numbers is None else None
            parts = {f"{at.said.split(' ', 1)[1]}", str(at.order[0])} if at and at.grain == "day" else set()
            for said in {cell, *((at.said, *at.also) if at else ()), *parts}:
                words = _tokens(said)
                if words and len(words) <= LONGEST:
                    out.setdefault(stem(words[0]), []).append((words, rows, said in parts))
        return out

    def _names(self, column: Field) -> dict[str, set[int]]:
        """Single words of cells that are names of several words: "Berg" of "Anna Berg"."""
        out: dict[str, set[int]] = {}
        for row, cell in enumerate(column.cells):
            words = _tokens(cell)
            if 2 <= len(words) <= 4 and all(w[0].isupper() for w in words):
                for word in words:
                    if len(word) > 2:
                        out.setdefault(word.casefold(), set()).add(row)
        return out

    # ---- a question ------------------------------------------------------------------------------------------------

    def ask(self, question: str) -> Found | None:
        """What the table says to a question; None where it does not speak of what is asked."""
        if _DENIED.search(question) or _BOUND.search(question) or _TWICE.search(question):
            return None
        asked = _Asked(_tokens(question))
        asked.commas = {len(_tokens(question[: m.start()])) - 1 for m in re.finditer(r",(?!\d)", question)}
        self._name(asked)
        self._quote(asked)
        asked.clear |= {i for i, w in enumerate(asked.words) if w.lower() in IDLE or stem(w) in _FILLER or (len(w) == 1 and w.islower())}  # fmt: skip
        self._quote_parts(asked)
        unsure = self._bind(asked)
        quoted = {c for columns in asked.quoted.values() for c in columns}
        if asked.quoted:  # "order 12", "employee Anna": the column says only what the cell is
            for i, word in enumerate(asked.words):
                if any(_root(word) in {_root(w) for w in _tokens(self.fields[c].said)} for c in quoted):
                    asked.clear.add(i)
        if not unsure:
            rows, unsure = self._rows(asked)
        return self._say(asked, [] if unsure else rows, quoted, unsure)

    def _name(self, asked: _Asked) -> None:
        """Find the columns that are named: wholly, or but for words such as "number"; else by a part that is only theirs."""
        some: dict[int, set[int]] = {}
        for c, column in enumerate(self.fields):
            words, need = _spelt(column)
            places = {w: {i for i, said in enumerate(asked.words) if _alike(said) & _alike(w)} for w in words}
            hit = set().union(*places.values()) if words else set()
            if words and all(places[w] for w in need):
                asked.named[c] = hit
            elif any(places[w] for w in need):
                some[c] = hit
        if not asked.named:
            asked.named = some
        for c, mine in list(asked.named.items()):  # "delivery date" is not "date"
            if any(mine < others for others in asked.named.values()):
                del asked.named[c]
        asked.clear |= set().union(*asked.named.values()) if asked.named else set()
        asked.clear |= {i for i, w in enumerate(asked.words) if _root(w) in self._own}
        asked.clear |= {
            i for i, (a, b) in enumerate(pairwise(asked.words)) if (a.lower(), b.lower()) == ("number", "of")
        }
        if any(all(moment(x) for x in self.fields[c].cells if x) for c in asked.named):
            asked.clear |= {i for i, w in enumerate(asked.words) if w.lower() in ("date", "day", "month", "year")}

    def _quote(self, asked: _Asked) -> None:
        """Find the cells that are quoted; of those that overlap, the longest."""
        found: dict[tuple[int, int], dict[int, set[int]]] = {}
        for start, word in enumerate(asked.words):
            for c, index in enumerate(self._first):
                if self.fields[c].numbers is not None and c not in asked.named:
                    continue  # an amount is quoted only by name
                for cell, rows, part in index.get(stem(word), ()):
                    if part and c not in asked.named and self.fields[c].said != "date":
                        continue  # a year is quoted of a date that is spoken of
                    said = asked.words[start : start + len(cell)]
                    if len(said) == len(cell) and all(map(_same, cell, said)):
                        found.setdefault((start, start + len(cell)), {}).setdefault(c, set()).update(rows)
        taken: set[int] = set()
        whole = [places for places in asked.named.values() if len(places) > 0]
        for place in sorted(found, key=lambda p: (p[0] - p[1], p[0])):
            span = set(range(*place))
            if not span & taken and not any(span <= places for places in whole):
                asked.quoted[place] = found[place]
                taken |= span
        asked.clear |= taken

    def _quote_parts(self, asked: _Asked) -> None:
        """Find words that are a part of a name, where nothing else explains them."""
        for i, word in enumerate(asked.words):
            if i not in asked.clear and word[0].isupper():
                rows = {c: parts[word.casefold()] for c, parts in enumerate(self._parts) if word.casefold() in parts}
                if rows:
                    asked.quoted[(i, i + 1)] = rows
                    asked.clear.add(i)

    def _bind(self, asked: _Asked) -> str:
        """Give quoted cells that several columns have a column each, by "from" and "to" first; why, where that is not clear."""
        sides = [{c for c, f in enumerate(self.fields) if {*f.said.lower().split()} & own} for own in (_FROM, _TO)]
        said: dict[str, list[tuple[int, int]]] = {"from": [], "to": []}
        bound: set[tuple[int, int]] = set()
        may = {place: asked.fits(place) for place in asked.quoted}
        choice = {place: set(columns) for place, columns in may.items()}
        for place in asked.quoted:
            before = [w.lower() for w in asked.words[: place[0]] if w.lower() != "the"][-1:]
            for side, word in enumerate(said):
                if before == [word]:
                    said[word].append(place)
                    mine = set(asked.quoted[place]) & sides[side]
                    if mine:
                        choice[place], may[place] = mine, asked.quoted[place]
                        bound.add(place)
                    elif set(asked.quoted[place]) <= sides[1 - side]:
                        return f"no row of {self.title} is {word} {asked.say(place)}"
        if said["from"] and said["to"] and not bound:
            return f"which columns of {self.title} are from and to is not said, so {asked.say(said['from'][0])} and {asked.say(said['to'][0])} cannot be told apart"
        apart = [(a, b) for a, b in combinations(may, 2) if len(set(may[a]) & set(may[b])) > 1]
        torn = sorted({place for pair in apart for place in pair})
        if torn:
            if math.prod(len(choice[p]) for p in torn) > 10_000:
                return f"{', '.join(map(asked.say, torn))} may be in too many columns of {self.title}"
            ways = [dict(zip(torn, way, strict=True)) for way in product(*(sorted(choice[p]) for p in torn))]
            ways = [way for way in ways if all(way[a] != way[b] for a, b in apart)]
            if len(ways) != 1:
                names = ", ".join(self.fields[c].said for c in sorted(set().union(*(choice[p] for p in torn))))
                return f"which of {', '.join(map(asked.say, torn))} is in which column of {self.title} ({names}) is not clear"
            choice |= {place: {c} for place, c in ways[0].items()}
        for place in {*torn, *bound}:
            asked.quoted[place] = {c: asked.quoted[place][c] for c in choice[place]}
        return ""

    def _rows(self, asked: _Asked) -> tuple[list[int], str]:
        """Rows that have all that is quoted, or any of cells of one column that "and" joins; all rows where nothing is quoted.

        Also why there are none, where it is not clear which are meant or one of those joined has none.
        """
        runs: list[list[tuple[int, int]]] = []
        for place in sorted(asked.quoted):
            end = runs[-1][-1][1] if runs else 0
            between = {w.lower() for w in asked.words[end : place[0]]} - {"the"} if runs else {"?"}
            if not between and end - 1 not in asked.commas:
                between = {"?"}  # "Anna Roth" is one name
            alike = between <= {"and", "or"} and set.intersection(*(set(asked.fits(p)) for p in (*runs[-1], place)))
            if alike:
                runs[-1].append(place)
            else:
                runs.append([place])
        listed = [{w.lower() for w in asked.words[run[0][1] : run[-1][0]]} & {"and", "or"} for run in runs]
        runs = [
            part for run, found in zip(runs, listed, strict=True) for part in ([run] if found else [[p] for p in run])
        ]
        rows, every = set(range(len(self.lines))), set(range(len(self.lines)))
        for run in runs:
            one = {p: set().union(*asked.fits(p).values()) for p in run}
            every = every.intersection(*one.values())
            if len(run) > 1:
                asked.lists.append(run)
                (column, *_) = set.intersection(*(set(asked.fits(p)) for p in run))
                for place in run:
                    asked.quoted[place] = {column: asked.quoted[place][column]}
                one = {p: asked.quoted[p][column] for p in run}
            rows &= set().union(*one.values())
        if asked.lists and every:
            names = " and ".join(asked.say(p) for p in asked.lists[0])
            return [], f"{self.title} has rows of {names} together and rows of either"
        for place in (p for run in asked.lists for p in run):
            if not rows & set().union(*asked.quoted[place].values()):
                others = [asked.say(p) for p in asked.quoted if not any(p in run for run in asked.lists)]
                return [], f"no row of {self.title} has {', '.join([*others, asked.say(place)])}"
        return sorted(rows), ""

    def _say(self, asked: _Asked, rows: list[int], quoted: set[int], unsure: str) -> Found | None:
        most, least = asked.has(_MOST), asked.has(_LEAST)
        total, mean = asked.has(_SUM), asked.has(_MEAN)
        if (asks := [self._said_apart(asked, places) for places in (most, least)]) != [[], []]:
            most, least = asks  # "lowest maximum speed"
        if (asks := [self._said_apart(asked, places) for places in (total, mean)]) != [[], []]:
            total, mean = asks
        total += [i for i, w in enumerate(asked.words) if w.lower() == "all" and asked.words[i - 1].lower() == "in"]
        many = any(
            pair in (("how", "many"), ("number", "of")) and not any(i in places for places in asked.named.values())
            for i, pair in enumerate(pairwise(w.lower() for w in asked.words))
        )  # "number of", but not "phone number of"
        if (most and least) or (total and mean):
            return None
        open_ = set(range(len(asked.words))) - asked.clear
        if unsure:
            return None if open_ - {*most, *least, *total, *mean} else Found("", why=unsure)
        wanted = sorted((min(places - _inside(asked.quoted), default=10**6), c) for c, places in asked.named.items() if c not in quoted)  # fmt: skip
        targets = [c for _, c in wanted]
        sums = [c for c in targets if self.fields[c].numbers is not None]
        said = ", ".join(dict.fromkeys(" ".join(asked.words[a:b]) for a, b in sorted(asked.quoted)))
        if (most or least) and sums and not open_ - {*most, *least}:
            own = [c for c in sums if {i + d for i in (*most, *least) for d in (0, 1)} & asked.named[c]]
            if asked.joint or (len(sums) > 1 and len(own) != 1):
                return None  # one of two that are asked for
            of = own[0] if own else sums[0]
            return self._edge(asked, rows, of, [c for c in targets if c != of], bool(most), said)
        if (total or mean) and sums and not open_ - {*total, *mean}:
            return self._sum(rows, sums[0], bool(mean), said) if len(sums) == 1 and not asked.joint else None
        if open_:
            return None
        if not rows:
            return Found("", why=f"no row of {self.title} has all of {said}")
        if many and not sums and (counted := self._counted(asked, rows, targets, said)):
            return counted
        if not asked.quoted:
            return None
        meant = self._meant(asked, quoted)
        if meant is not None and not (targets and targets[0] in meant):
            if len(meant) != 1:  # "when" of a table without dates, or with several
                return None
            targets = meant
        elif len(targets) > 1 and not all(self._wholly(asked, c) for c in targets):
            which = ", ".join(self.fields[c].said for c in targets)
            return Found("", why=f"{self.title} has several columns that may be meant: {which}")
        columns = self._joined(asked, targets)
        if not targets or (asked.joint and len(columns) < len(targets)):
            return None  # nothing is asked for, or one half of it would be told
        return self._lists(asked, rows, columns, said) if asked.lists else self._cells(rows, columns, quoted, said)

    def _said_apart(self, asked: _Asked, places: list[int]) -> list[int]:
        """Places of words that are no part of a column's own name."""
        own = {i: {_root(w) for w in _tokens(self.fields[c].said)} for c, at in asked.named.items() for i in at}
        return [i for i in places if _root(asked.words[i]) not in own.get(i, ())]

    def _wholly(self, asked: _Asked, c: int) -> bool:
        return all(any(_alike(w) & _alike(asked.words[i]) for i in asked.named[c]) for w in _spelt(self.fields[c])[1])

    def _joined(self, asked: _Asked, targets: list[int]) -> list[int]:
        """The column that is asked for first, and those joined to it by "and"."""
        out = targets[:1]
        for c in targets[1:]:
            a, b = max(asked.named.get(out[-1], {0})), min(asked.named.get(c, {0}))
            between = [w.lower() for w in asked.words[a + 1 : b]]
            if "and" not in between or not set(between) <= {"and", "the"}:
                break
            out.append(c)
        return out

    def _meant(self, asked: _Asked, quoted: set[int]) -> list[int] | None:
        """Columns that may answer "who", "when" and "where"; None where the question asks for something else."""
        first = next((w.lower() for w in asked.words if w.lower() in ("who", "whom", "when", "where")), "")
        if not first:
            return None
        left = [(c, f) for c, f in enumerate(self.fields) if c not in quoted]
        if first == "when":
            coded = _CODES - {"year"}  # 1001 may be a year, and is an order
            return [c for c, f in left if any(f.cells) and all(moment(x) for x in f.cells if x) and not {*f.said.split()} & coded]  # fmt: skip
        words = [(c, f) for c, f in left if f.numbers is None and not f.code]
        named = [c for c, _ in words if c in asked.named]
        if named:  # "who is the manager", "where is the office": the column is said
            return named
        own = _PEOPLE if first in ("who", "whom") else _PLACES
        fits = [c for c, f in words if {*f.said.split()} & own]
        return fits[:1] if first in ("who", "whom") else fits

    # ---- answers ---------------------------------------------------------------------------------------------------

    def name(self, row: int) -> str:
        """What a row is called: its cell in the column that names rows."""
        return self.fields[self.key].cells[row] or f"line {self.lines[row]}"

    def _passage(self, rows: Sequence[int], columns: Sequence[int]) -> str:
        told = [f"{self.name(i)}: " + ", ".join(f"{self.fields[c].said} {self.fields[c].write(i) or '(empty)'}" for c in columns) for i in rows]  # fmt: skip
        if len(rows) == 1:
            return told[0]
        more = f"; and {len(rows) - SHOWN} more rows" if len(rows) > SHOWN else ""
        return "; ".join(f"line {self.lines[i]}, {t}" for i, t in zip(rows[:SHOWN], told, strict=False)) + more

    def _at(self, text: str, rows: Sequence[int], columns: Sequence[int], why: str) -> Found:
        said = ", ".join(self.fields[c].said for c in columns)
        return Found(text, tuple(self.lines[i] for i in rows), said, self._passage(rows, columns), why)

    def _cells(self, rows: list[int], columns: list[int], quoted: set[int], said: str) -> Found:
        column = ", ".join(self.fields[c].said for c in columns)
        full = [i for i in rows if any(self.fields[c].cells[i] for c in columns)]
        if not full:
            return Found("", why=f"the cell of {said} and {column} in {self.title} is empty")
        each: dict[str, None] = {}
        for i in full:
            parts = [(self.fields[c].said, self.fields[c].write(i)) for c in columns]
            each[parts[0][1] if len(columns) == 1 else ", ".join(f"{n} {v or '(empty)'}" for n, v in parts)] = None
        text = "; ".join(list(each)[:SHOWN]) + (f"; and {len(each) - SHOWN} more" if len(each) > SHOWN else "")
        why = f"the cell of {said} and {column}"
        if len(full) > 1:
            same = "all say the same" if len(each) == 1 else f"they say {len(each)} different things"
            why = f"{len(full)} rows have {said}, and {same} of {column}"
        shown = [c for c in (*sorted(quoted), *columns) if c != self.key] if self.key in columns else columns
        return replace(self._at(text, full, columns, why), passage=self._passage(full, shown or columns))

    def _lists(self, asked: _Asked, rows: list[int], columns: list[int], said: str) -> Found:
        """The cells of each of those that "and" joins, with what each is called."""
        run, of = asked.lists[0], self._cells(rows, columns, set(), said)
        if len(asked.lists) > 1 or not of.text:
            return of if not of.text else Found("", why=f"{said} may be paired in several ways")
        told = []
        for place in run:
            (mine,) = asked.quoted[place].values()
            one = self._cells([i for i in rows if i in mine], columns, set(), asked.say(place))
            told.append(f"{asked.say(place)}: {one.text or '(empty)'}")
        named = [c for c in asked.quoted[run[0]] if c != self.key]
        return replace(of, text="; ".join(told), passage=self._passage(rows, [*named, *columns]))

    def _known(self, column: Column, rows: Iterable[int]) -> list[tuple[int, float]]:
        """The numbers of these rows, each with its row."""
        chosen = set(rows)
        return [(i, v) for i, v in column.known if i in chosen]

    def _edge(self, asked: _Asked, rows: list[int], of: int, others: list[int], most: bool, said: str) -> Found | None:
        column = self.fields[of]
        assert column.numbers is not None
        known = self._known(column.numbers, rows)
        if not known:
            return Found("", why=f"no row of {self.title} has {said or 'a number'} and {column.said}")
        edge = (max if most else min)(v for _, v in known)
        at = [i for i, v in known if v == edge]
        own = any(_root(w) in self._own and i not in asked.named[of] for i, w in enumerate(asked.words))
        who = any(w.lower() in ("who", "which", "where") for w in asked.words)
        if who and not others and any(w.lower() in ("what", "how") for w in asked.words):
            return None  # the value and whose it is
        if not others and not own and not who:
            text = column.write(at[0])
        else:
            by = next((c for c in others if c != self.key), self.key)
            if len({*others} - {self.key, by}):
                return None
            cells = [self.fields[by].cells[i] for i, _ in known]
            if len({*cells}) < len(cells) and not self._of_rows(asked, of, by):
                which = f"the {'most' if most else 'least'} may be that of one row or of all rows together"
                return Found("", why=f"several rows of {self.title} have the same {self.fields[by].said}, and {which}")
            text = "; ".join(dict.fromkeys(self.fields[by].write(i) for i in at))
        return self._at(text, at, [of], f"the {'most' if most else 'least'} by {column.said}" + (f" of {said}" if said else ""))  # fmt: skip

    def _of_rows(self, asked: _Asked, of: int, by: int) -> bool:
        """Whether the question speaks of single rows, by the table's name or the column that names rows."""
        names = {_root(w) for w in _tokens(spoken(self.title))} | (self._own if by != self.key else set())
        taken = asked.named.get(of, set()) | asked.named.get(by, set())
        return any(_root(w) in names and i not in taken for i, w in enumerate(asked.words))

    def _sum(self, rows: list[int], of: int, mean: bool, said: str) -> Found | None:
        column = self.fields[of]
        assert column.numbers is not None
        known = self._known(column.numbers, rows)
        if not known:
            return Found("", why=f"no row of {self.title} has {said or 'a number'} and {column.said}")
        values = [v for _, v in known]
        text = column.numbers.write(fmean(values), column.numbers.decimals + 1) if mean else column.numbers.write(math.fsum(values))  # fmt: skip
        what = f"the {'mean' if mean else 'sum'} of {column.said}"
        rows_ = "the row" if len(known) == 1 else f"the {len(known)} rows"
        every = f"{column.said} of {f'{rows_} of {said}' if said else 'all rows'}"
        return Found(text, tuple(self.lines[i] for i, _ in known), column.said, every, what)

    def _counted(self, asked: _Asked, rows: list[int], targets: list[int], said: str) -> Found | None:
        of = f" of {said}" if said else ""
        if targets and targets[0] != self.key:
            column = self.fields[targets[0]]
            full = [i for i in rows if column.cells[i]]
            if not full:
                return Found("", why=f"the cell of {said} and {column.said} in {self.title} is empty")
            return Found(str(len({column.cells[i] for i in full})), tuple(self.lines[i] for i in full), column.said, f"different cells of {column.said}{of}", f"counted: {column.said}{of}")  # fmt: skip
        if not any(_root(w) in self._own for w in asked.words):
            return None
        column = self.fields[self.key]
        return Found(str(len(rows)), tuple(self.lines[i] for i in rows), column.said, f"rows{of}", f"counted: rows{of}")

    def claims(self) -> list[tuple[int, str]]:
        """Every cell as a sentence, with its line: ``"Nordhof: manager Anna Berg."``."""
        return [
            (self.lines[i], f"{self.name(i)}: {f.said} {f.write(i)}.")
            for i in range(len(self.lines))
            for c, f in enumerate(self.fields)
            if f.cells[i] and (c != self.key or len(self.fields) == 1)
        ]


def _spelt(column: Field) -> tuple[list[str], list[str]]:
    """The words of a column's name, and those without which it is not named."""
    words = _tokens(column.said)
    words = [w for w in words if w.lower() not in IDLE] or words
    return words, [w for w in words if w.lower() not in _VAGUE] or words


def _inside(places: Iterable[tuple[int, int]]) -> set[int]:
    return {i for a, b in places for i in range(a, b)}


def _field(name: str, cells: list[str]) -> Field:
    numbers = numbers_of(name, cells)
    last = spoken(name).lower().split()[-1:]
    code = bool({*last} & _CODES) or (last != [] and last[0].endswith(("id", "nr")) and len(last[0]) <= 8)
    if numbers is not None and any(cell[:1].isalpha() for cell in cells):
        numbers, code = None, True  # "A-17"
    elif numbers is not None and (code or all(re.fullmatch(r"[12]\d{3}|", c) for c in cells) or any(re.match(r"0\d", c) for c in cells)):  # fmt: skip
        numbers, code = None, True
    return Field(numbers.said if numbers is not None else spoken(name), tuple(cells), numbers, code and numbers is None)


def parse_sheet(text: str, name: str | Path) -> Sheet:
    """A table from the text of a CSV file; ``name`` is for messages, and its ending says whether tabs part the cells.

    Raises:
        DataError: it is no table: empty, rows of several lengths, no head, a column named twice.
    """
    path = Path(name)
    return Sheet(path.stem, *split_rows(text, path, lenient=True))


def read_sheet(path: str | Path) -> Sheet:
    """The same of a file.

    Raises:
        DataError: it cannot be read, is not UTF-8, or is no table.
    """
    return parse_sheet(read_text(Path(path)), path)
