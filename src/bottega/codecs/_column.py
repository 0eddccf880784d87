"""What is learned of one column of a table, and its values as numbers, as Python values and as text."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bottega.core import DataError

__all__ = ["FEW", "KINDS", "Column", "Kind", "kind_of"]

Kind = Literal["number", "integer", "category", "boolean", "date", "datetime"]
KINDS = ("number", "integer", "category", "boolean", "date", "datetime")
FEW = 16  # a numeric column with no more distinct values than this is one-hot in the mixed form
EPOCH = dt.datetime(1970, 1, 1)


@dataclass
class Column:
    """What was learned of one column.

    Attributes:
        name: the header.
        kind: of its values.
        format: how dates are written (``strptime``), or the two words of a boolean as ``"false|true"``.
        decimals: digits after the point of a ``"number"``; -1 when there are more than 12.
        missing: whether some row had no value.
        code: ``"constant"`` takes no coordinate; ``"names"`` is a list; ``"levels"`` are numbers in bins;
            ``"modes"`` are numbers around the means of a mixture.
        values: the constant, the names, or the number that each level stands for (ascending).
        edges: the numbers that part neighbouring levels.
        first: the first level of each bin; every bin is one level when there are as many.
        means, scales, weights, spreads: of the modes; a scale of 0 is a single value.
        low, high: smallest and largest value seen.
        usual: what stands for a gap where none was seen: index of the commonest level, or the median.
        rare: the index of the rarest name.
    """

    name: str
    kind: Kind
    format: str = ""
    decimals: int = -1
    missing: bool = False
    code: Literal["constant", "names", "levels", "modes"] = "names"
    values: list[Any] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    low: float = 0.0
    high: float = 0.0
    usual: float = 0.0
    rare: int = 0

    @property
    def numeric(self) -> bool:
        """Whether values have an order and a distance: numbers, integers, dates."""
        return self.kind not in {"category", "boolean"}

    @property
    def fine(self) -> int:
        """How many levels the largest bin holds; 1 when a bin is a value."""
        return int(max(np.diff([*self.first, len(self.values)]))) if self.first else 1

    def to_numbers(self, values: Sequence[Any]) -> np.ndarray:
        """Python values as float64, gaps as NaN; raises DataError naming the first that is not of this kind."""
        try:
            if self.kind == "date":
                return np.array([math.nan if v is None else v.toordinal() for v in values], np.float64)
            if self.kind == "datetime":
                return np.array([math.nan if v is None else (v - EPOCH).total_seconds() for v in values], np.float64)
            out = np.array([math.nan if v is None else v for v in values], np.float64)
        except (TypeError, ValueError, AttributeError):
            bad = next(v for v in values if v is not None and (isinstance(v, str) or not _is_kind(v, self.kind)))
            raise DataError(f"column {self.name!r} holds {bad!r}, which is not a {self.kind}; mend the value") from None
        except OverflowError:
            raise DataError(
                f"column {self.name!r} holds a number too large to reckon with; leave the column out with codec.drop"
            ) from None
        if np.isinf(out).any():
            raise DataError(f"column {self.name!r} holds an infinite number; replace it, or leave the field empty")
        return out

    def to_values(self, numbers: np.ndarray) -> list[Any]:
        """The inverse of ``to_numbers``: on the column's grid and in its range; NaN becomes None."""
        held = np.clip(numbers, self.low, self.high)
        if self.kind == "number":
            if self.decimals >= 0:
                held = held.round(self.decimals)
            return [None if v != v else v for v in held.tolist()]
        if self.kind == "datetime":
            held = held.round(self.decimals)
            return [None if v != v else EPOCH + dt.timedelta(seconds=v) for v in held.tolist()]
        whole = [None if v != v else round(v) for v in held.tolist()]
        return whole if self.kind == "integer" else [None if v is None else dt.date.fromordinal(v) for v in whole]

    def text(self, value: Any) -> str:
        """One value as a CSV field; a gap is empty."""
        if value is None:
            return ""
        if self.kind == "number":
            return repr(float(value)) if self.decimals < 0 else f"{value:.{self.decimals}f}"
        if self.kind == "boolean" and self.format:
            return self.format.split("|")[bool(value)]
        if self.kind in {"date", "datetime"}:
            return value.strftime(self.format) if self.format else value.isoformat()
        return str(value)


def kind_of(name: str, known: list[Any]) -> Kind:
    """The one kind that Python values of a column have."""
    types = set(map(type, known))
    if types == {bool}:
        return "boolean"
    if types == {int}:
        return "integer"
    if types <= {int, float}:
        return "number"
    if types == {str}:
        return "category"
    if types == {dt.datetime}:
        if any(v.tzinfo is not None for v in known):
            raise DataError(f"column {name!r} holds times with a time zone; write them in UTC without one")
        return "datetime"
    if types == {dt.date}:
        return "date"
    shown = ", ".join(sorted(t.__name__ for t in types))
    raise DataError(f"column {name!r} holds values of kinds {shown}; make them one kind, or drop the column")


def _is_kind(value: Any, kind: str) -> bool:
    if kind == "date":
        return isinstance(value, dt.date) and not isinstance(value, dt.datetime)
    if kind == "datetime":
        return isinstance(value, dt.datetime) and value.tzinfo is None
    return isinstance(value, int | float)
