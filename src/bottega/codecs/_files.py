"""Files by name and bytes, from folders and from archives, which are never unpacked to disk; lines of JSON by number."""

from __future__ import annotations

import gzip
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bottega.core import DataError

__all__ = ["ARCHIVES", "contents", "is_archive", "json_rows", "many", "read_bytes"]

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_BYTES = 1 << 30  # of one member: what a decompression bomb would exceed


def is_archive(path: Path) -> bool:
    """Whether the name ends like an archive that ``contents`` opens."""
    return path.name.lower().endswith(ARCHIVES)


def many(source: Path) -> bool:
    """Whether a place holds many files: a folder or an archive."""
    return source.is_dir() or is_archive(source)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, unpacked when its name ends in ``.gz``; raises DataError naming it."""
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot read {path}: {why}; check that it is whole and that you may read it") from error


def json_rows(
    lines: Iterable[str], where: Path | str, *, broken: str, other: str, first: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line of JSON Lines that is not blank.

    Args:
        lines: with or without their ends.
        where: the file, as errors name it before the line's number.
        broken: what follows the number where a line is not JSON; ``{}`` stands for what the parser says.
        other: what follows it where a line holds no object; ``{}`` stands for the type of what it holds.
        first: the number of the first line.

    Raises:
        DataError: names the line; raised when that line is reached.
    """
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            why = getattr(error, "msg", "brackets without end")
            raise DataError(f"{where}, line {number}{broken.format(why)}") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}, line {number}{other.format(type(row).__name__)}")
        yield number, row


def contents(source: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """``(name, bytes)`` of the files in a folder (sorted) or archive (in its order) whose name is wanted.

    Names are relative, with ``/`` between parts. Hidden files, what macOS adds to archives and the sheet beside the
    pieces of a run (where ``pieces.json`` lies) are left out; links in archives are not followed.

    Raises:
        DataError: a file cannot be read, or an archive is damaged, locked or larger inside than it may be.
    """

    def ours(name: str) -> bool:
        parts = PurePosixPath(name).parts
        return bool(parts) and not any(p.startswith((".", "__MACOSX")) for p in parts) and wanted(name)

    if source.is_dir():
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source).as_posix()
            sheet = path.name == "sheet.png" and (path.parent / "pieces.json").exists()
            if ours(name) and path.is_file() and not sheet:
                yield name, read_bytes(path)
        return
    try:
        yield from (_zipped if source.name.lower().endswith(".zip") else _tarred)(source, ours)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError) as error:
        why = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise DataError(f"cannot read {source}: {why}; check that the archive is whole and has no password") from error


def _zipped(source: Path, ours: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if not member.is_dir() and ours(member.filename):
                _check_size(source, member.filename, member.file_size)
                yield member.filename, archive.read(member)


def _tarred(source: Path, ours: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(source) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if member.isfile() and ours(name):
                _check_size(source, name, member.size)
                file = archive.extractfile(member)
                assert file is not None  # only links and folders have none
                yield name, file.read()


def _check_size(source: Path, name: str, size: int) -> None:
    if size > MOST_BYTES:
        raise DataError(f"{source}: {name} would unpack to {size} bytes; the most for one file is {MOST_BYTES}")
