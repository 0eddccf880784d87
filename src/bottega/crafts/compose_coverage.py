"""Which styles a collection of music has, and which it has too little of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bottega.core import DataError, Item
from bottega.core.measure import wilson
from bottega.core.score import Key, Score, key_name

__all__ = ["AXES", "Cell", "coverage", "style_of"]

AXES = ("style", "mode", "metre", "tempo", "density", "key")
FEW = 0.5  # of an even share
_KEYS = [Key(t, m) for m in ("major", "minor") for t in range(12)]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Cell:
    """One value of one axis.

    Attributes:
        axis: ``"style"``, ``"mode"``, ``"metre"``, ``"tempo"``, ``"density"`` or ``"key"``.
        value: such as ``"minor"``.
        pieces: that have it.
        share: of all pieces, 0 to 1.
        low, high: its 95 % interval, were the pieces a draw from a larger collection.
        wanted: the share that it is held against: an even one, or that of another collection.
        few: whether even ``high`` is below half of ``wanted``.
    """

    axis: str
    value: str
    pieces: int
    share: float
    low: float
    high: float
    wanted: float
    few: bool


def style_of(item: Item) -> str:
    """A piece's style: what it says, else the folder that it lies in, else "unknown"."""
    score: Score = item.value
    folder = item.name.rpartition("/")[0].rpartition("/")[2]
    return score.genre or (item.cond if isinstance(item.cond, str) else "") or folder or "unknown"


def _values(item: Item) -> dict[str, str]:
    score: Score = item.value
    key = score.key()
    bpm = 60e6 / score.tempos[0][1]
    dense, (beats, unit) = score.density, score.usual_metre()
    return {
        "style": style_of(item),
        "mode": key.mode,
        "metre": f"{beats}/{unit}",
        "tempo": "slow, below 80" if bpm < 80 else "moderate, 80 to 120" if bpm <= 120 else "fast, above 120",
        "density": "sparse, below 2" if dense < 2 else "medium, 2 to 6" if dense <= 6 else "dense, above 6",
        "key": key_name(key),
    }


def coverage(items: Sequence[Item], against: Sequence[Item] = (), wanted: Sequence[str] = ()) -> list[Cell]:
    """A row for each style, mode, metre, tempo, density (notes in a quarter) and key.

    A value is too rare when, with 95 % confidence, its share is below half of what it is held against: an even share among
    the values of its axis, or its share in ``against``. Values that only ``against`` has, and styles that are ``wanted``,
    have a row too.

    Args:
        items: the pieces.
        against: another collection: what a model was trained on, when ``items`` are its own.
        wanted: styles that should be there.

    Raises:
        DataError: no pieces.
    """
    if not items:
        raise DataError("there is no piece to look at; give at least one")
    mine, theirs = ([_values(item) for item in some] for some in (items, against))
    out = []
    for axis in AXES:
        have = Counter(row[axis] for row in mine)
        norm = Counter(row[axis] for row in theirs)
        every = set(have) | set(norm) | (set(wanted) if axis == "style" else set())
        if axis == "key":
            every |= {key_name(k) for k in _KEYS}
        for value in sorted(every, key=lambda v: (-have[v], v)):
            share = have[value] / len(items)
            low, high = wilson(share, len(items))
            fair = norm[value] / len(theirs) if theirs else 1 / len(every)
            out.append(Cell(axis, value, have[value], share, low, high, fair, high < FEW * fair))
    return out
