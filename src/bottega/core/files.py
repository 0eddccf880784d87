"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bottega.core.errors import OutputError

__all__ = ["check_place", "write_atomically"]


def check_place(path: Path, *, folder: bool = False, option: str = "--out") -> None:
    """Raise OutputError where a file (or ``folder``) cannot be written, before anything is made for it; makes nothing itself.

    Folders that are missing are made in the writing, so what is asked is whether the nearest that is there takes one.
    ``option`` is where the command line takes the place from.
    """
    why = ""
    if os.path.exists(path) and not (os.path.isdir(path) if folder else os.path.isfile(path)):
        why = "it is no folder" if folder else "it is no file"  # nor may a device be moved away
    else:
        there = path if os.path.isdir(path) else path.absolute().parent
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        if not os.path.isdir(there):
            why = f"{there} is no folder"
        elif not os.access(there, os.W_OK | os.X_OK):
            why = f"{there} cannot be written into"
    if why:
        raise OutputError(f"cannot write {'into ' if folder else ''}{path}: {why}; choose another place with {option}")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and move it there in one step; raises OutputError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another folder with --out") from error
    finally:
        with suppress(OSError):  # where there is no such folder there is nothing to clear away
            part.unlink()
