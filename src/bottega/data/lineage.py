"""Lineage: which bytes a run was made from, for the evidence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from bottega.core import DataError
from bottega.data.dataset import Dataset, fingerprint

__all__ = ["of_dataset", "of_files"]

LISTED = 100  # files named one by one; the hash covers all of them


def of_files(path: str | Path) -> dict[str, Any]:
    """Fingerprint of a file, or of every file in a folder: JSON-ready.

    ``sha256`` covers each file's relative path, size and own SHA-256, in order of path: it changes when any byte, name or
    place changes. ``files`` lists up to 100 of them as ``{"path", "bytes", "sha256"}``.

    Raises:
        DataError: nothing there, or a file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"there is no {path}; give a file or folder")
    root = path if path.is_dir() else path.parent
    found = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    whole = hashlib.sha256()
    listed: list[dict[str, Any]] = []
    total = 0
    for name, file in sorted((p.relative_to(root).as_posix(), p) for p in found):
        try:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
                size = opened.tell()
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}; check that you may read it") from error
        whole.update(f"{name}\x00{size}\x00{digest}\n".encode("utf-8", "surrogateescape"))
        total += size
        if len(listed) < LISTED:
            listed.append({"path": name, "bytes": size, "sha256": digest})
    return {"root": path.name, "count": len(found), "bytes": total, "sha256": whole.hexdigest(), "files": listed}


def of_dataset(dataset: Dataset) -> dict[str, Any]:
    """What a data set says of itself, its number of pieces and their fingerprint: JSON-ready."""
    return {
        "name": dataset.name,
        "medium": dataset.medium,
        "licence": dataset.licence,
        "source": dataset.source,
        "count": len(dataset.items),
        "sha256": fingerprint(dataset.items),
    }
