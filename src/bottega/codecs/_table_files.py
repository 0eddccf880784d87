"""Tables as their files have them: CSV, TSV, Parquet and JSON Lines, and the kinds that the texts of a column show."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from bottega.codecs._files import json_rows
from bottega.core import DataError

__all__ = ["read_columns"]

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".jsonl", ".jsonl.gz")
DATES = {"date": ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y"), "datetime": ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")}
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,14})")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PADDED = re.compile(r"-?0\d+")


def read_columns(
    path: Path, *, separator: str, missing: Collection[str], kinds: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """The values of each column, and how the dates or booleans of some were written.

    Args:
        path: a table, or a folder of tables with one header, which are read one after the other.
        separator: between fields; empty means a comma in .csv and a tab in .tsv.
        missing: how a gap is written.
        kinds: kind and format of columns that are not to be guessed from their texts; "" is no format.

    Raises:
        DataError: names the file, the line or the column, and the mend.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.lower().endswith(ENDINGS) and not p.name.startswith("."))
        if not files:
            raise DataError(f"{path} holds no table; give a file or folder with {', '.join(ENDINGS)}")
    else:
        files = [path]
    written: dict[str, str] = {}

    def parse(name: str, texts: list[Any], file: Path, dates_only: bool = False) -> list[Any]:
        values, pattern = _parsed(name, texts, file, missing, *kinds.get(name, ("", "")), dates_only)
        if pattern:
            written[name] = pattern
        return values

    names: list[str] = []
    columns: list[list[Any]] = []
    for file in files:
        found, parts, typed = _load(file, separator, parse)
        if names and found != names:
            raise DataError(f"{file} has other columns than {files[0].name}; give tables with one header")
        if not typed:
            parts = [parse(name, part, file) for name, part in zip(found, parts, strict=True)]
        columns = [[*a, *b] for a, b in zip(columns, parts, strict=True)] if names else parts
        names = found
    return dict(zip(names, columns, strict=True)), written


def _load(path: Path, separator: str, parse: Callable[..., list[Any]]) -> tuple[list[str], list[list[Any]], bool]:
    """Header, columns, and whether they are values already; the texts of JSON may still be dates."""
    name = path.name.lower()
    if not name.endswith(ENDINGS):
        raise DataError(f"{path} is no table Bottega knows; give {', '.join(ENDINGS)}")
    try:
        if name.endswith(".parquet"):
            names, columns = _read_parquet(path)
        elif name.endswith((".jsonl", ".jsonl.gz")):
            names, columns = _read_jsonl(path)
            columns = [parse(n, c, path, dates_only=True) for n, c in zip(names, columns, strict=True)]
        else:
            return (*_read_csv(path, separator or ("\t" if ".tsv" in name else ",")), False)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is truncated or no gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path and the file") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8: iconv -f latin1 -t utf8"
        ) from error
    return names, columns, True


def _parsed(
    name: str, texts: list[Any], path: Path, missing: Collection[str], kind: str, pattern: str, dates_only: bool
) -> tuple[list[Any], str]:
    """Texts of one column as values of ``kind``, or of the one that all of them show, and the format they have.

    ``dates_only`` leaves texts that show another kind as they are.
    """
    distinct = {t for t in set(texts) if isinstance(t, str)} if dates_only else set(texts)
    if dates_only and any(t is not None and not isinstance(t, str) for t in texts):
        return texts, ""
    gaps = {t for t in distinct if t.strip() in missing}
    known = distinct - gaps
    if dates_only and not kind:
        kind, pattern = _looks(known, name) if known else ("", "")
        if kind not in {"date", "datetime"}:
            return texts, ""
    elif not kind and known:
        kind, pattern = _looks(known, name)
    if kind in {"date", "datetime"} and not pattern and known:
        patterns = [p for p in DATES[kind] if _all_dates(known, p)]
        pattern = patterns[0] if patterns else ""
    convert = _reader(kind, pattern)
    values: dict[Any, Any] = dict.fromkeys(gaps)
    values[None] = None
    for t in known:
        try:
            values[t] = convert(t)
        except ValueError:
            row = texts.index(t) + 1
            raise DataError(
                f"{path}, row {row}: column {name!r} holds {t!r}, which is not a {kind}"
                f"{' written ' + pattern if pattern else ''}; mend the value, or leave it empty"
            ) from None
    return [values[t] for t in texts], pattern


def _open(path: Path) -> TextIO:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_csv(path: Path, separator: str) -> tuple[list[str], list[list[Any]]]:
    with _open(path) as file:
        lines = csv.reader(file, delimiter=separator)
        rows: list[list[str]] = []
        header: list[str] = []
        try:
            for row in lines:
                if not row:
                    continue
                if not header:
                    header = [name.strip() for name in row]
                    _check_header(path, header, separator)
                elif len(row) != len(header):
                    raise DataError(
                        f"{path}, line {lines.line_num}: {len(row)} fields where the header has {len(header)}; mend the "
                        f"line (a text that holds {separator!r} needs quotes)"
                    )
                else:
                    rows.append(row)
        except csv.Error as error:
            raise DataError(f"{path}, line {lines.line_num}: {error}; is it a text table?") from error
    if not header:
        raise DataError(f"{path} is empty; give a table with a header and rows")
    if not rows:
        raise DataError(f"{path} has a header but no rows; give a table with rows")
    return header, [list(column) for column in zip(*rows, strict=True)]


def _check_header(path: Path, header: list[str], separator: str) -> None:
    if len(header) == 1:
        for other in ";\t|,":
            if other != separator and other in header[0]:
                raise DataError(
                    f"{path} has one column {header[0][:40]!r}; if {other!r} parts its fields, say --set "
                    f"codec.separator={other!r}"
                )
    for i, name in enumerate(header, 1):
        if not name:
            raise DataError(f"{path}: column {i} has no name; name it in the first line of the file")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path}: two columns are called {twice[0]!r}; rename one in the first line of the file")


def _read_jsonl(path: Path) -> tuple[list[str], list[list[Any]]]:
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    with _open(path) as file:
        broken = ": not JSON ({}); every line must be one object"
        other = ": a {}, not an object; write {{column: value}}"
        for number, row in json_rows(file, path, broken=broken, other=other):
            for name, value in row.items():
                if isinstance(value, list | dict):
                    raise DataError(
                        f"{path}, line {number}: {name!r} holds a {type(value).__name__}; flatten it to columns"
                    )
            names |= dict.fromkeys(row)
            rows.append(row)
    if not rows:
        raise DataError(f"{path} is empty; give one JSON object for each row")
    return list(names), [[row.get(name) for row in rows] for name in names]


def _read_parquet(path: Path) -> tuple[list[str], list[list[Any]]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise DataError(f"reading {path} needs pyarrow; install it: pip install 'bottega[table]'") from None
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise DataError(
            f"{path} is truncated or no Parquet file ({str(error).splitlines()[0]}); fetch it again"
        ) from error
    if not table.num_rows:
        raise DataError(f"{path} has no rows; give a table with rows")
    names = list(table.column_names)
    _check_header(path, names, ",")
    for name, column in zip(names, table.columns, strict=True):
        if pa.types.is_nested(column.type):
            raise DataError(f"{path}: column {name!r} holds {column.type}; flatten it to columns of single values")
    return names, [column.to_pylist() for column in table.columns]


def _looks(texts: Iterable[str], name: str) -> tuple[str, str]:
    """The kind that all distinct texts of a column show, and how dates or booleans are written."""
    texts = {t.strip() for t in texts}
    if {t.lower() for t in texts} <= {"true", "false"}:
        false = next((t for t in texts if t.lower() == "false"), "")
        true = next((t for t in texts if t.lower() == "true"), "")
        style = str.upper if (true or false).isupper() else str.lower if (true or false).islower() else str.title
        return "boolean", f"{false or style('false')}|{true or style('true')}"
    if all(_INTEGER.fullmatch(t) for t in texts):
        return "integer", ""
    if all(_NUMBER.fullmatch(t) for t in texts) and not any(_PADDED.fullmatch(t) for t in texts):
        return "number", ""
    for kind, patterns in DATES.items():
        for pattern in patterns:
            if _all_dates(texts, pattern):
                return kind, pattern
    slashed = [p for p in ("%d/%m/%Y", "%m/%d/%Y") if _all_dates(texts, p)]
    if len(slashed) == 2:
        raise DataError(
            f"column {name!r} holds dates whose day and month cannot be told apart; say --set "
            f"codec.kinds='[\"{name}:date %d/%m/%Y\"]' (or %m/%d/%Y)"
        )
    return ("date", slashed[0]) if slashed else ("category", "")


def _all_dates(texts: Iterable[str], pattern: str) -> bool:
    try:
        return all(bool(dt.datetime.strptime(t.strip(), pattern)) for t in texts)
    except ValueError:
        return False


def _reader(kind: str, pattern: str) -> Callable[[str], Any]:
    """Text to value for one kind; raises ValueError."""
    if kind == "integer":
        return lambda t: int(float(t)) if float(t).is_integer() else float("not whole")
    if kind == "number":
        return float
    if kind == "boolean":
        words = {"false": False, "true": True, "no": False, "yes": True, "0": False, "1": True}
        words |= dict(zip((w.lower() for w in pattern.split("|")), (False, True), strict=False))
        return lambda t: words[t.strip().lower()] if t.strip().lower() in words else float("no boolean")
    if kind == "date":
        return lambda t: dt.datetime.strptime(t.strip(), pattern).date()
    if kind == "datetime":
        return lambda t: dt.datetime.strptime(t.strip(), pattern)
    return str
