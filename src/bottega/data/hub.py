"""Hub: Hugging Face data sets by name, for users with a network, and copies of them on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bottega.core import DataError, Item, nearest
from bottega.data.dataset import Dataset, Medium

__all__ = ["load"]

PREFIX = "hub:"


def load(name: str) -> Dataset:
    """A data set by ``hub:owner/name`` or ``hub:owner/name:split``, or ``hub:folder`` that ``save_to_disk`` wrote.

    With a picture column it is pictures; with a text column (``text``, or the only one) and nothing else but class
    labels it is text; otherwise a table. Class labels are the condition of pictures and texts. Only data is fetched:
    no code of the data set's owner is run.

    Raises:
        DataError: the library ``datasets`` is absent, no such data set or split, or no network.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError("hub data needs the library datasets; pip install 'bottega[hub]'") from error
    where = name.removeprefix(PREFIX)
    try:
        if Path(where).is_dir():
            found, part = datasets.load_from_disk(where), ""
        else:
            where, _, part = where.partition(":")
            found = datasets.load_dataset(where)
    except Exception as error:  # the library raises many kinds, its own, the network's and the file formats'
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"cannot load {name}: {why}; check the name and the network, or give a folder") from error
    if isinstance(found, dict):
        part = part or ("train" if "train" in found else next(iter(found)))
        if part not in found:
            raise DataError(f"{name} has no split {part!r}{nearest(part, found)}")
        found = found[part]
    return _convert(found, where)


def _convert(rows: Any, name: str) -> Dataset:
    import datasets

    features = rows.features
    pictures = [c for c, f in features.items() if isinstance(f, datasets.Image)]
    classes = [c for c, f in features.items() if isinstance(f, datasets.ClassLabel)]
    texts = [c for c, f in features.items() if getattr(f, "dtype", "") in {"string", "large_string"}]
    others = set(features) - set(classes) - set(texts)
    medium: Medium
    if pictures:
        medium, items = "image", _labelled(rows, pictures[0], classes, _pixels)
    elif "text" in texts or (len(texts) == 1 and not others):
        medium, items = "text", _labelled(rows, "text" if "text" in texts else texts[0], classes, str)
    else:
        medium, items = "table", (Item(_row(row, features, classes)) for row in rows)
    info = rows.info
    short = Path(name).name if Path(name).is_dir() else name
    about = (info.description or "").strip().splitlines()
    return Dataset(
        name=short,
        medium=medium,
        items=list(items),
        licence=info.license or "not stated by its owner",
        source=info.homepage or short,
        about=about[0] if about else f"{len(rows):,} rows",
        target=classes[0] if medium == "table" and classes else "",
    )


def _labelled(rows: Iterable[dict[str, Any]], column: str, classes: list[str], change: Any) -> Iterator[Item]:
    label = rows.features[classes[0]] if classes else None  # type: ignore[attr-defined]
    for i, row in enumerate(rows):
        value = row[column]
        if value is None:
            raise DataError(f"row {i} has no {column!r}; filter the data set first")
        cond = None if label is None or row[classes[0]] in (None, -1) else label.int2str(row[classes[0]])
        yield Item(change(value), cond, f"#{i}")


def _pixels(picture: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture of Pillow's as uint8 ``(H, W, C)``."""
    see_through = "transparency" in picture.info or picture.mode in {"LA", "PA", "RGBA"}
    mode = "RGBA" if see_through else "L" if picture.mode in {"1", "L"} else "RGB"
    value = np.asarray(picture.convert(mode))
    return value if value.ndim == 3 else value[..., None]


def _row(row: dict[str, Any], features: Any, classes: list[str]) -> dict[str, Any]:
    named = {c: features[c].int2str(row[c]) for c in classes if row[c] not in (None, -1)}
    for column, value in row.items():
        if isinstance(value, list | dict):
            raise DataError(
                f"column {column!r} holds {type(value).__name__}s, not single values; flatten the data set first"
            )
    return row | named
