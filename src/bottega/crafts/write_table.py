"""A table as people speak of it: rows with names or dates, columns with units, numbers as they are written."""

from __future__ import annotations

import csv
import datetime
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bottega.core import DataError, nearest

__all__ = [
    "Column",
    "Moment",
    "Table",
    "moment",
    "numbers_of",
    "parse_table",
    "plural",
    "read_table",
    "read_text",
    "said_number",
    "split_rows",
    "spoken",
]

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = {"eur": "€", "usd": "$", "gbp": "£", "pct": "%", "percent": "%", "kg": "kg", "km": "km", "cm": "cm", "mm": "mm",
          "ms": "ms", "kwh": "kWh", "celsius": "°C", "km2": "km²", "m2": "m²"}  # fmt: skip
_NUMBER = re.compile(r"[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


@dataclass(frozen=True)
class Moment:
    """A date, month, quarter, year or weekday that names a row.

    Attributes:
        grain: ``"day"``, ``"month"``, ``"quarter"``, ``"year"``, ``"weekday"``; ``"month name"`` where no year is given.
        order: sorts rows of one grain.
        said: ``"January 2024"``.
        also: other ways to say it.
    """

    grain: str
    order: tuple[int, ...]
    said: str
    also: tuple[str, ...] = ()

    @property
    def noun(self) -> str:
        """What such a row is: ``"month"``."""
        return "day" if self.grain == "weekday" else self.grain.removesuffix(" name")


@dataclass(frozen=True)
class Column:
    """Numbers of one kind.

    Attributes:
        name: as in the file.
        said: in words, ``"units sold"``.
        values: one for each row; None where the cell is empty.
        unit: ``"%"``, ``"€"``, ``"km"`` ...; empty for none.
        decimals: the most that any cell has.
    """

    name: str
    said: str
    values: tuple[float | None, ...]
    unit: str = ""
    decimals: int = 0

    def write(self, value: float, decimals: int | None = None) -> str:
        """A number with the unit, rounded half up as people do.

        >>> Column("p", "price", (), "€", 2).write(1234.565), Column("s", "share", (), "%", 1).write(-4)
        ('€1,234.57', '-4.0 %')
        """
        text = said_number(value, self.decimals if decimals is None else decimals)
        if self.unit in {"€", "$", "£"}:
            return f"-{self.unit}{text[1:]}" if text.startswith("-") else f"{self.unit}{text}"
        return f"{text} {self.unit}" if self.unit else text

    @property
    def known(self) -> list[tuple[int, float]]:
        """Rows that have a number, with it."""
        return [(i, v) for i, v in enumerate(self.values) if v is not None]


@dataclass
class Table:
    """Rows with a name each and columns of numbers.

    Attributes:
        title: of the file.
        key: the column that names the rows.
        names: of the rows, as they are said; in order of time where they are moments.
        aliases: for each row, all ways to say it, the longest first.
        columns: those with numbers.
        labels: other columns, their text for each row.
        grain: what a row is: ``"month"``, or the key column's own word.
        timed: whether rows are moments, in order.
    """

    title: str
    key: str
    names: list[str]
    aliases: list[tuple[str, ...]]
    columns: list[Column]
    labels: dict[str, list[str]] = field(default_factory=dict)
    grain: str = "row"
    timed: bool = False

    def column(self, name: str) -> Column:
        """The column of that name; DataError names the nearest."""
        for column in self.columns:
            if name in (column.name, column.said):
                return column
        raise DataError(f"{self.title} has no column of numbers called {name!r}{nearest(name, [c.name for c in self.columns])}")  # fmt: skip


def said_number(value: float, decimals: int = 0) -> str:
    """A number with commas, rounded half away from zero; the sign is a hyphen.

    >>> said_number(1234567.5), said_number(0.125, 2), said_number(-0.04, 1)
    ('1,234,568', '0.13', '0.0')
    """
    scaled = abs(value) * 10**decimals
    whole = math.floor(scaled + 0.5 + 1e-9 * max(1.0, scaled))
    text = f"{whole / 10**decimals:,.{decimals}f}"
    return f"-{text}" if value < 0 and whole else text


def plural(noun: str) -> str:
    """More than one of it.

    >>> plural("city"), plural("day"), plural("match")
    ('cities', 'days', 'matches')
    """
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search(r"(s|x|ch|sh)$", noun) else f"{noun}s"


def moment(text: str) -> Moment | None:
    """What a cell says of time, or None.

    >>> moment("2024-03").said, moment("Q2 2023").order, moment("3 May 2021").said, moment("Berlin")
    ('March 2024', (2023, 2), '3 May 2021', None)
    """
    text = text.strip()
    months = {m.lower(): i + 1 for i, m in enumerate(MONTHS)} | {m[:3].lower(): i + 1 for i, m in enumerate(MONTHS)}
    months["sept"] = 9
    month = "|".join(sorted(months, key=len, reverse=True))
    if found := re.fullmatch(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ]00:00(?::00(?:\.0+)?)?Z?)?", text):
        return _day(*map(int, found.groups()))
    if found := re.fullmatch(rf"(\d{{1,2}})\.? ({month})\.?,? (\d{{4}})", text, re.I):
        return _day(int(found[3]), months[found[2].lower()], int(found[1]))
    if found := re.fullmatch(rf"({month})\.? (\d{{1,2}}),? (\d{{4}})", text, re.I):
        return _day(int(found[3]), months[found[1].lower()], int(found[2]))
    named = re.fullmatch(rf"({month})\.?[ -](\d{{4}})", text, re.I)
    if named or (found := re.fullmatch(r"(\d{4})[-/](0?[1-9]|1[0-2])", text)):
        number, year = (months[named[1].lower()], int(named[2])) if named else (int(found[2]), int(found[1]))
        name = MONTHS[number - 1]
        short = (f"{name[:3]} {year}", f"{name} of {year}", f"{year}-{number:02d}")
        return Moment("month", (year, number), f"{name} {year}", short)
    if found := re.fullmatch(r"Q([1-4])[ -]?(\d{4})", text, re.I):
        return _quarter(int(found[2]), int(found[1]))
    if found := re.fullmatch(r"(\d{4})[ -]?Q([1-4])", text, re.I):
        return _quarter(int(found[1]), int(found[2]))
    if re.fullmatch(r"[12]\d{3}", text):
        return Moment("year", (int(text),), text)
    if text.lower() in months:
        name = MONTHS[months[text.lower()] - 1]
        return Moment("month name", (months[text.lower()],), name, (name[:3],) if name != "May" else ())
    days = [d for d in DAYS if text.lower() in (d.lower(), d[:3].lower())]
    return Moment("weekday", (DAYS.index(days[0]),), days[0]) if days else None


def _day(year: int, month: int, day: int) -> Moment | None:
    try:
        at = datetime.date(year, month, day)
    except ValueError:
        return None
    name = MONTHS[month - 1]
    also = (f"{name} {day}, {year}", f"{name} {day}", f"{day} {name}", f"{day} {name[:3]} {year}", at.isoformat())
    return Moment("day", (year, month, day), f"{day} {name} {year}", also)


def _quarter(year: int, number: int) -> Moment:
    word = ("first", "second", "third", "fourth")[number - 1]
    also = (f"{word} quarter of {year}", f"{year} Q{number}", f"{year}-Q{number}")
    return Moment("quarter", (year, number), f"Q{number} {year}", also)


def read_text(path: Path) -> str:
    """A UTF-8 file; DataError names the byte that is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {(error.strerror or str(error)).lower()}; check the path") from error
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; "
            "convert it, for example: iconv -f latin1 -t utf-8"
        ) from error


def read_table(
    path: str | Path,
    *,
    key: str = "",
    columns: Sequence[str] = (),
    group: Literal["", "sum", "mean"] = "",
) -> Table:
    """A CSV or TSV file (its first line names the columns) as a table with one row for each name.

    Args:
        path: the file.
        key: the column that names rows; by default the first that holds dates, else the first whose values are words
            and all differ.
        columns: those to speak of; by default all that hold numbers.
        group: how rows of the same name become one.

    Raises:
        DataError: no such file or column, cells missing, names that come twice, no numbers.
    """
    return parse_table(read_text(Path(path)), path, key=key, columns=columns, group=group)


def parse_table(
    text: str,
    name: str | Path,
    *,
    key: str = "",
    columns: Sequence[str] = (),
    group: Literal["", "sum", "mean"] = "",
) -> Table:
    """The same of the text of such a file; ``name`` is for messages and says by its ending whether tabs part the cells."""
    path = Path(name)
    head, rows, lines = split_rows(text, path)
    if key and key not in head:
        raise DataError(f"{path} has no column {key!r}{nearest(key, head)}")
    for name in columns:
        if name not in head:
            raise DataError(f"{path} has no column {name!r}{nearest(name, head)}")
    cells = {name: [row[i].strip() for row in rows] for i, name in enumerate(head)}
    key = key or _key(head, cells, path)
    numbers = {name: parsed for name in head if name != key and (parsed := numbers_of(name, cells[name])) is not None}
    for name in columns:
        if name not in numbers:
            wrong = next((c for c in cells[name] if c and not _NUMBER.search(c)), cells[name][0])
            raise DataError(f"{path}: column {name!r} holds {wrong!r}, which is no number; name another column")
    if columns:
        numbers = {name: numbers[name] for name in columns}
    if not numbers:
        raise DataError(f"{path} has no column of numbers beside {key!r}; there is nothing to report")
    moments = [moment(name) for name in cells[key]]
    grains = {m.grain for m in moments if m is not None}
    timed = None not in moments and len(grains) == 1
    names = [m.said if timed and m else cell for m, cell in zip(moments, cells[key], strict=True)]
    if "" in names:
        raise DataError(f"{path}, line {lines[names.index('')]}: the cell of {key!r} that names the row is empty")
    if len(set(names)) < len(names):
        if not group:
            twice = next(n for n in names if names.count(n) > 1)
            raise DataError(
                f"{path}: {key!r} names {twice!r} {names.count(twice)} times; name another key, or group rows by sum or mean"
            )
        names, moments, numbers = _grouped(names, moments, numbers, group)
        cells = {}
    order = sorted(range(len(names)), key=lambda i: moments[i].order) if timed else list(range(len(names)))  # type: ignore[union-attr]
    own = [moments[i] for i in order]
    aliases = [
        tuple(sorted({names[i], *(m.also if timed and m else ())}, key=len, reverse=True))
        for i, m in zip(order, own, strict=True)
    ]
    made = [Column(c.name, c.said, tuple(c.values[i] for i in order), c.unit, c.decimals) for c in numbers.values()]
    labels = {n: [v[i] for i in order] for n, v in cells.items() if n != key and n not in numbers}
    grain = own[0].noun if timed and own[0] else spoken(key)
    return Table(path.stem, key, [names[i] for i in order], aliases, made, labels, grain, timed)


def split_rows(text: str, path: Path, *, lenient: bool = False) -> tuple[list[str], list[list[str]], list[int]]:
    """The head of a table, its rows, and the line that each row begins on. Blank lines are skipped, above the head too.

    Args:
        text: of the file. Tabs part the cells of a ``.tsv``, else whichever of comma, semicolon, tab and bar parts most rows
            into as many cells as the head (in quotes they part nothing); of several, that which makes most cells.
        path: for messages.
        lenient: last columns that have neither name nor cells are dropped and a column without a name is called by its
            number, as spreadsheets leave both; and a head that holds numbers is refused, since it is a row.

    Raises:
        DataError: nothing in it, rows of other lengths than the head, a column named twice.
    """
    if not text.strip():
        raise DataError(f"{path} is empty; its first line should name the columns")
    cut = list(_cut(text, "\t" if path.suffix.lower() == ".tsv" else _mark(text, lenient), path))
    if not cut:
        raise DataError(f"{path} is empty; its first line should name the columns")
    head = [name.strip() for name in cut[0][1]]
    body = [(line, row) for line, row in cut[1:] if any(cell.strip() for cell in row)]
    while (
        lenient and len(head) > 1 and not head[-1] and not any("".join(row[len(head) - 1 :]).strip() for _, row in body)
    ):
        head.pop()
    for line, row in body:
        while lenient and len(row) > len(head) and not row[-1].strip():
            row.pop()
        if len(row) != len(head):
            raise DataError(f"{path}, line {line} has {len(row)} cells and the head {len(head)}; mend the row")
    if lenient:
        head = [name or f"column {i}" for i, name in enumerate(head, 1)]
        if wrong := next(
            (c for c in head if re.fullmatch(r"[-+]?[\d.,]+", c) and not re.fullmatch(r"[12]\d{3}", c)), ""
        ):
            raise DataError(
                f"{path} has no head: its first line holds {wrong!r}; put a line above that names the columns"
            )
    if len(set(head)) < len(head):
        raise DataError(f"{path} names the column {next(n for n in head if head.count(n) > 1)!r} twice; rename one")
    if not body:
        raise DataError(f"{path} has a head and no rows; put at least one below it")
    return head, [row for _, row in body], [line for line, _ in body]


def _cut(text: str, mark: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each line's cells with the line that they begin on; blank lines are none, but a line of marks alone is one."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    begun = 1
    try:
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                yield begun, row
            begun = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; check that it is a CSV file") from error


def _mark(text: str, lenient: bool) -> str:
    """What parts the cells. Where nothing gives any row the head's length, what the first line has most of."""

    def fits(mark: str) -> tuple[int, int]:
        rows = (row for _, row in _cut(text, mark, Path()))
        try:
            head = next(rows, [])
            if len(head) < 2:
                return 0, 0
            least = max((i for i, c in enumerate(head, 1) if c.strip()), default=len(head)) if lenient else len(head)
            return sum(
                len(row) == len(head) or (lenient and len(row) >= least and not "".join(row[least:]).strip())
                for row in rows
            ), len(head)
        except DataError:
            return 0, 0

    found = {mark: fits(mark) for mark in ",;\t|"}
    first = next(line for line in text.splitlines() if line.strip())
    return max(found, key=found.__getitem__) if any(n for n, _ in found.values()) else max(",;\t|", key=first.count)


def _key(head: list[str], cells: dict[str, list[str]], path: Path) -> str:
    def dated(name: str) -> bool:
        found = [moment(cell) for cell in cells[name]]
        grains = {m.grain for m in found if m is not None}
        if None in found or len(grains) != 1:
            return False
        return grains != {"year"} or len(set(cells[name])) == len(cells[name])

    for name in head:
        if dated(name):
            return name
    for name in head:
        if (
            len(set(cells[name])) == len(cells[name])
            and "" not in cells[name]
            and numbers_of(name, cells[name]) is None
        ):
            return name
    for name in head:
        if numbers_of(name, cells[name]) is None:
            return name
    raise DataError(f"{path} has only numbers, so nothing names its rows; say with --key which column does")


def numbers_of(name: str, cells: Sequence[str]) -> Column | None:
    """The column as numbers, when every cell that is not empty is one, with one unit for all."""
    values: list[float | None] = []
    units, decimals = set(), 0
    for cell in cells:
        if cell in ("", "-", "NA", "N/A", "n/a", "nan", "NaN"):
            values.append(None)
            continue
        found = _NUMBER.search(cell)
        if found is None:
            return None
        before, after = cell[: found.start()].strip(), cell[found.end() :].strip()
        if len(before) > 3 or len(after) > 4 or re.search(r"\d", before + after):
            return None
        units.add(before or after)
        written = found.group().replace(",", "").replace("\u2212", "-")
        values.append(float(written))
        decimals = max(decimals, len(written.partition(".")[2]))
    if len(units) != 1 or all(v is None for v in values):
        return None
    said, unit = spoken(name), units.pop()
    if found := re.search(r"\s*[(\[]([^)\]]+)[)\]]\s*$", name):
        said, unit = spoken(name[: found.start()]), unit or _UNITS.get(found[1].lower(), found[1])
    elif (last := name.rpartition("_")[2].lower()) in _UNITS and "_" in name:
        said, unit = spoken(name.rpartition("_")[0]), unit or _UNITS[last]
    return Column(name, said, tuple(values), unit, decimals)


def spoken(name: str) -> str:
    """A column's name in words.

    >>> spoken("units_sold"), spoken("openRate"), spoken("GDP")
    ('units sold', 'open rate', 'GDP')
    """
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("_", " ").replace("-", " ")).strip()
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in name.split())


def _grouped(
    names: list[str], moments: list[Moment | None], numbers: dict[str, Column], how: str
) -> tuple[list[str], list[Moment | None], dict[str, Column]]:
    places: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(name, []).append(i)
    out = {}
    for name, column in numbers.items():
        values: list[float | None] = []
        for where in places.values():
            some = [v for i in where if (v := column.values[i]) is not None]
            total = math.fsum(some)
            values.append(None if not some else total if how == "sum" else total / len(some))
        decimals = column.decimals + (how == "mean")
        out[name] = Column(column.name, column.said, tuple(values), column.unit, decimals)
    return list(places), [moments[where[0]] for where in places.values()], out
