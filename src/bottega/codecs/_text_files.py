"""Bytes as text: UTF-8 with plain line ends, and rows of tables by the number of their line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path, PurePosixPath
from typing import Any

from bottega.core import DataError

__all__ = ["csv_rows", "suffix_of", "unzipped", "utf8"]


def utf8(where: str, data: bytes) -> str:
    """UTF-8 with plain line ends; raises DataError naming the byte."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; "
            "convert it, for example: iconv -f latin1 -t utf-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def suffix_of(name: str) -> str:
    """The ending that says what a file holds: in small letters, without ``.gz``."""
    return PurePosixPath(name.lower().removesuffix(".gz")).suffix


def unzipped(source: Path, name: str, data: bytes) -> bytes:
    """Archive members may be gzipped themselves; files of folders were already opened by name."""
    if source.is_dir() or not name.lower().endswith(".gz"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {source}/{name}: {error}; check that it is whole") from error


def csv_rows(text: str, where: str, between: str = ",") -> list[tuple[int, dict[str, Any]]]:
    """Line number and cells of each row of a table with a head; raises DataError naming the line."""
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=between)
    out = []
    try:
        for row in rows:
            if None in row or None in row.values():
                raise DataError(f"{where}, line {rows.line_num} has not as many cells as the head; mend the row")
            out.append((rows.line_num, dict(row)))
    except csv.Error as error:
        raise DataError(f"{where}, line {rows.line_num}: {error}; save texts this long as JSON lines") from error
    return out
