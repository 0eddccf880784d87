"""What is known of pictures and recordings: their class folders, a CSV beside them; names and captions as numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from bottega.codecs._files import read_bytes
from bottega.core import DataError, Item, RecipeError, nearest

__all__ = ["class_numbers", "labelled", "no_empty_class", "numbers_first", "word_numbers"]


def labelled(
    root: Path, items: list[Item], labels: str, skipped: list[str] | None, what: str, one: bool = False
) -> list[Item]:
    """The items with their classes, as ``labels`` says.

    Args:
        root: where a CSV of labels lies.
        items: with names relative to it.
        labels: ``"none"``, ``"auto"``, ``"folder"``, or a CSV and its column, ``"labels.csv:category"``.
        skipped: takes a message for each item without a label; None stops at the first.
        what: what an item is, for messages (``"picture"``).
        one: there is one item only, which needs no class folder.

    Raises:
        DataError: an item without a label, no such file or column.
    """
    if labels == "none":
        return items
    if labels not in {"auto", "folder"}:
        return _labelled_by_csv(root, items, labels, skipped)
    folders = [PurePosixPath(item.name).parts[:-1] for item in items]
    shared = 0
    while folders and all(len(f) > shared for f in folders) and len({f[shared] for f in folders}) == 1:
        shared += 1
    bare = next((i for i, f in zip(items, folders, strict=True) if len(f) <= shared), None)
    if bare is None:
        return [Item(i.value, f[shared], i.name) for i, f in zip(items, folders, strict=True)]
    if labels == "folder" and not one:
        raise DataError(f"{bare.name} stands in no class folder; sort all {what}s into folders, or set codec.labels")
    return items


def _labelled_by_csv(root: Path, items: list[Item], labels: str, skipped: list[str] | None) -> list[Item]:
    file, _, column = labels.partition(":")
    path, column = root / file, column or "label"
    text = read_bytes(path).decode("utf-8-sig", "replace")
    rows = csv.DictReader(io.StringIO(text))
    for needed in ("file", column):
        if needed not in (rows.fieldnames or []):
            raise DataError(f"{path} has no column {needed!r}{nearest(needed, rows.fieldnames or [])}")
    label = {row["file"]: row[column] for row in rows}
    out = []
    for item in items:
        if not label.get(item.name):
            message = f"{path} has no {column} for {item.name}; add a row, or set codec.on_error = 'skip'"
            if skipped is None:
                raise DataError(message)
            skipped.append(message)
            continue
        out.append(Item(item.value, label[item.name], item.name))
    return out


def no_empty_class(source: Path, items: list[Item], skipped: list[str] | None, what: str) -> None:
    """Refuse (or note) a class folder of which nothing came: a model would be told of a class it never sees."""
    named = [(PurePosixPath(item.name).parts[:-1], item.cond) for item in items if isinstance(item.cond, str)]
    filled = {parts[: parts.index(cond) + 1] for parts, cond in named if cond in parts}
    for above in {parts[:-1] for parts in filled}:
        for folder in sorted(
            p for p in source.joinpath(*above).iterdir() if p.is_dir() and not p.name.startswith((".", "__"))
        ):
            if (*above, folder.name) in filled:
                continue
            message = f"the class folder {folder} holds no {what} that can be read; fill it, or remove it"
            if skipped is None:
                raise DataError(message)
            skipped.append(message)


def class_numbers(values: Sequence[Any], classes: Sequence[str]) -> Tensor:
    """Class names as int64 ``(B,)``, None as -1 (unknown).

    Raises:
        RecipeError: a class that was never seen, with the nearest that was.
    """
    number = {name: k for k, name in enumerate(classes)} | {None: -1}
    for value in values:
        if value is not None and str(value) not in number:
            raise RecipeError(f"unknown class {str(value)!r}{nearest(str(value), classes)}")
    return torch.tensor([number[None if v is None else str(v)] for v in values], dtype=torch.long)


def word_numbers(values: Sequence[Any], words: Sequence[str], longest: int) -> Tensor:
    """Captions as ``(B, longest)`` word numbers from 1, in lower case; 0 is silence.

    Raises:
        RecipeError: a word that was never seen, or more of them than were.
    """
    place = {word: k + 1 for k, word in enumerate(words)}
    rows = []
    for value in values:
        said = [] if value is None else str(value).lower().split()
        for word in said:
            if word not in place:
                raise RecipeError(f"unknown word {word!r} in the caption {str(value)!r}{nearest(word, words)}")
        if len(said) > longest:
            raise RecipeError(
                f"the caption {str(value)!r} has {len(said)} words; the most that was learned is {longest}"
            )
        rows.append([place[w] for w in said] + [0] * (longest - len(said)))
    return torch.tensor(rows, dtype=torch.long).reshape(len(values), longest)


def numbers_first(name: str) -> tuple[bool, int, str]:
    """What sorts class names: whole numbers by value, then all else by name."""
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
