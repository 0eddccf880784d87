"""Rows of dicts as columns of numbers and names, for the judges of tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bottega.core import Batch, DataError
from bottega.judge._case import Case

__all__ = ["Features", "Rows", "made_rows", "some_rows", "target_of", "truth"]

Rows = list[Mapping[str, Any]]


def some_rows(case: Case, batch: Batch, label: str, most: int) -> Rows:
    """At most ``most`` rows of ``batch``, chosen by the case's seed, as the codec decodes them."""
    assert case.decode is not None
    rows = case.rng(label).permutation(len(batch)).cpu()[:most].to(batch.x.device)
    part = batch.take(rows)
    items = case.decode(part.x) if part.cond is None else case.decode(part.x, part.cond)  # type: ignore[call-arg]
    return [item.value for item in items]


def made_rows(case: Case, most: int) -> Rows:
    """The first ``most`` generated rows (a sample is in random order already)."""
    batch = Batch(case.samples, case.sample_cond).take(torch.arange(min(most, len(case.samples))))
    assert case.decode is not None
    items = case.decode(batch.x) if batch.cond is None else case.decode(batch.x, batch.cond)  # type: ignore[call-arg]
    return [item.value for item in items]


def _number(value: Any) -> float:
    if value is None:
        return np.nan
    if isinstance(value, dt.datetime):
        return (value - dt.datetime(1970, 1, 1)).total_seconds()
    return float(value.toordinal()) if isinstance(value, dt.date) else float(value)


@dataclass
class Features:
    """How the columns of some reference rows become a matrix of float64, the same for all rows compared.

    Attributes:
        names: the columns that vary.
        levels: the values of each categorical column; None for a numeric one.
    """

    names: list[str]
    levels: dict[str, dict[Any, int] | None]

    @classmethod
    def of(cls, *tables: Rows) -> Features:
        """Columns, and the categories that occur in any of the tables; raises DataError when nothing varies."""
        levels: dict[str, dict[Any, int] | None] = {}
        for name in tables[0][0]:
            values = {row[name] for table in tables for row in table}
            known = values - {None}
            if len(values) < 2:
                continue
            words = any(isinstance(v, str | bool) for v in known)
            levels[name] = {v: i for i, v in enumerate(sorted(known, key=str))} if words else None
        if not levels:
            raise DataError("no column of the rows varies, so there is nothing to compare")
        return cls(list(levels), levels)

    def matrix(self, rows: Rows, leave_out: str = "") -> np.ndarray:
        """``(n, columns)`` float64; categories by number, gaps NaN."""
        columns = []
        for name in self.names:
            if name == leave_out:
                continue
            levels = self.levels[name]
            if levels is None:
                columns.append([_number(row[name]) for row in rows])
            else:
                columns.append([levels[row[name]] if row[name] is not None else np.nan for row in rows])
        return np.array(columns, np.float64).T

    def categorical(self, leave_out: str = "") -> list[bool]:
        """Which columns of the matrix are categories (of at most 255 levels, what the boosted trees take as such)."""
        kept = [self.levels[name] for name in self.names if name != leave_out]
        return [levels is not None and len(levels) <= 255 for levels in kept]


def target_of(case: Case, features: Features, held: Rows) -> tuple[str, str]:
    """The column to predict and why not, if not: ``(name, "")`` or ``("", reason)``."""
    name = case.facts.get("target", "")
    if not name:
        return "", "no target column was named (codec.target)"
    if name not in features.names:
        return "", f"target column {name!r} never varies"
    if all(row[name] is None for row in held):
        return "", f"target column {name!r} is missing in all held-out rows"
    return name, ""


def truth(rows: Rows, name: str) -> np.ndarray:
    """The values of one column, as objects."""
    return np.array([row[name] for row in rows], dtype=object)
