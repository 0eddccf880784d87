"""Scores that took seconds to read, kept as JSON in the user's cache, so that the next process has them at once."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bottega.core import Item
from bottega.core.score import Key, Note, Part, Score

__all__ = ["cache_folder", "kept_scores"]


def cache_folder() -> Path:
    """Where what took long to make is kept: ``$BOTTEGA_CACHE``, or ``~/.cache/bottega``."""
    return Path(os.environ.get("BOTTEGA_CACHE", Path.home() / ".cache" / "bottega"))


def kept_scores(name: str, made_from: Sequence[Path], make: Callable[[], list[Item]]) -> list[Item]:
    """What ``make`` returns, from the cache where it was made from the same files before.

    A cache that cannot be read is made anew, and one that cannot be written is done without.

    Args:
        name: of the data.
        made_from: the files and the code that reads them; their names and contents say whether the cache still holds.
        make: reads them.
    """
    digest = hashlib.sha256()
    for path in made_from:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    path = cache_folder() / f"{name}-{digest.hexdigest()[:16]}.json.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [_item(said) for said in json.load(file)]
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError):
        pass
    items = make()
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(beside, "wt", encoding="utf-8", compresslevel=1) as file:
            json.dump([_said(item) for item in items], file, separators=(",", ":"))
        beside.replace(path)  # whole, or not at all
    except OSError:
        beside.unlink(missing_ok=True)
    return items


def _said(item: Item) -> dict[str, Any]:
    score: Score = item.value
    return {
        "name": item.name, "group": item.group, "notes": score.notes, "ticks": score.ticks, "parts": score.parts,
        "tempos": score.tempos, "metres": score.metres, "keys": [(t, *key) for t, key in score.keys], "length": score.length,
        "genre": score.genre,
    }  # fmt: skip


def _item(said: dict[str, Any]) -> Item:
    score = Score(
        tuple(Note(*n) for n in said["notes"]), said["ticks"], tuple(Part(*p) for p in said["parts"]),
        tuple((t, us) for t, us in said["tempos"]), tuple((t, n, d) for t, n, d in said["metres"]),
        tuple((t, Key(tonic, mode)) for t, tonic, mode in said["keys"]), said["length"], said["genre"],
    )  # fmt: skip
    return Item(score, name=said["name"], group=said["group"])
