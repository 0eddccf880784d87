"""Folders: what a file or folder of one's own holds, so that a recipe can be chosen for it."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from bottega.core import DataError
from bottega.data.dataset import Medium

__all__ = ["guess"]

_SUFFIXES: dict[str, Medium] = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"), "image"),
    **dict.fromkeys((".txt", ".md", ".rst", ".py", ".tex", ".abc", ".jsonl"), "text"),
    **dict.fromkeys(
        (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf"), "audio"
    ),
    **dict.fromkeys((".csv", ".tsv", ".parquet"), "table"),
    **dict.fromkeys((".mid", ".midi", ".mxl", ".musicxml"), "music"),
}
Kind = Literal[Medium, "chat"]
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_PROSE_ABOUT = ("readme", "license", "licence", "copying", "changelog", "notice", "authors")


def guess(path: str | Path) -> Kind:
    """What a file, folder or archive holds, by the names in it, ``"image"`` or ``"chat"`` for example.

    README and licence files count for nothing; tables beside pictures or sounds are taken for their labels. An ``.npz`` is looked
    into: ``(N, 2)`` real numbers are points, arrays of bytes with three or four axes are pictures. JSON lines with messages
    are conversations, and those without a text are a table.

    Raises:
        DataError: nothing there, nothing that is known, or several media, with their counts.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"there is no {path}; give a file or folder of pictures, text or a table")
    if path.is_file():
        medium = _of_file(path)
        if medium is None:
            raise DataError(f"{path} is of no kind that is known; give pictures, UTF-8 text, CSV or Parquet")
        return medium
    files = [p for p in sorted(path.rglob("*")) if p.is_file() and not _hidden(p.relative_to(path).as_posix())]
    counts = Counter(m for p in files if (m := _of_file(p)) is not None)
    return _decide(path, counts, [p.name for p in files])


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _decide(path: Path, counts: Counter[Kind], names: list[str]) -> Kind:
    if not names:
        raise DataError(f"{path} is empty; put pictures, text files or a table into it")
    if not counts:
        endings = Counter(PurePosixPath(n).suffix or n for n in names).most_common(3)
        seen = ", ".join(f"{many} {ending}" for ending, many in endings)
        raise DataError(f"{path} holds nothing that is known, only {seen}; give pictures, UTF-8 text, CSV or Parquet")
    if (counts["image"] or counts["audio"]) and counts["table"]:
        counts = counts.copy()
        del counts["table"]
    if len(counts) > 1:
        seen = ", ".join(f"{many} {medium}" for medium, many in counts.most_common())
        raise DataError(f"{path} is mixed ({seen}); give a folder of one kind, or name a recipe")
    return next(iter(counts))


def _of_name(name: str) -> Kind | None:
    path = PurePosixPath(name.lower().removesuffix(".gz"))
    if path.name.startswith(_PROSE_ABOUT):
        return None
    if path.name.endswith(("idx3-ubyte", "idx1-ubyte")) or (path.suffix == ".bin" and "_batch" in path.name):
        return "image"
    return _SUFFIXES.get(path.suffix)


def _of_file(path: Path) -> Kind | None:
    name = path.name.lower()
    if name.endswith(_ARCHIVES):
        return _of_archive(path)
    if name.endswith((".npz", ".npy")):
        return _of_arrays(path)
    if name.endswith(".jsonl"):
        head = _head(path)
        if '"messages"' in head:
            return "chat"
        if '"text"' not in head:
            return "table"
    return _of_name(path.name)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(1 << 16).decode("utf-8", "replace")


def _of_archive(path: Path) -> Kind | None:
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                inside = [n for n in archive.namelist() if not n.endswith("/")]
        else:
            with tarfile.open(path) as packed:
                inside = [m.name.removeprefix("./") for m in packed if m.isfile()]
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        why = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise DataError(f"cannot read {path}: {why}; check that the archive is whole") from error
    inside = [n for n in inside if not _hidden(n)]
    counts = Counter(m for n in inside if (m := _of_name(n)) is not None)
    return _decide(path, counts, inside) if counts else None


def _of_arrays(path: Path) -> Kind | None:
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = [loaded] if isinstance(loaded, np.ndarray) else [loaded[k] for k in loaded.files]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}; give plain arrays, without pickles") from error
    for array in arrays:
        if array.dtype == np.uint8 and array.ndim in (3, 4):
            return "image"
        if array.dtype.kind == "f" and array.ndim == 2:
            return "points"
    return None
