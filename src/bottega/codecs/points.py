"""Points: vectors of numbers, scaled into [-1, 1] and back."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from bottega.codecs._csvw import write_csv
from bottega.core import Batch, DataError, Item, RecipeError, Source, Spec, nearest

__all__ = ["PointsCodec"]

MARGIN = 1.1  # fitted points reach 1 / 1.1 of the way to the ends, so that a model's tails fit in as well


class PointsCodec:
    """Vectors of d numbers; ``Item.value`` is a float array ``(d,)``, ``Item.cond`` a class name or None.

    ``z = (x - center) / half`` coordinate by coordinate, so a density found for ``z`` becomes one for ``x`` by
    ``log p(x) = log p(z) + log_det``.

    Args:
        scale: what all coordinates are divided by, around 0; 0 fits center and half range of each coordinate.

    Raises:
        RecipeError: ``scale`` is negative.

    >>> codec = PointsCodec().fit([Item((0.0, 10.0)), Item((4.0, 30.0))])
    >>> [round(v, 4) for v in codec.encode([Item((4.0, 10.0))]).x[0].tolist()], round(codec.log_det, 4)
    ([0.9091, -0.9091], -3.1864)
    """

    medium = "points"
    spec: Spec

    def __init__(self, *, scale: float = 0.0) -> None:
        if scale < 0:
            raise RecipeError(f"codec.scale is {scale}; it must be above 0, or 0 to fit it")
        self.scale = scale
        self.classes: list[str] = []

    @property
    def log_det(self) -> float:
        """``log |det dz/dx|`` in nats: added to a log density of encoded points it gives that of the data."""
        return float(-np.log(self.half).sum())

    def read(self, source: str | Path) -> list[Item]:
        """Rows of a CSV of numbers (a header is allowed) or of a NumPy ``.npy`` array ``(N, d)``.

        Raises:
            DataError: names the file, the line and the mend.
        """
        path = Path(source)
        try:
            if path.suffix.lower() == ".npy":
                rows = _read_npy(path)
            elif path.suffix.lower() == ".csv":
                rows = _read_csv(path)
            else:
                raise DataError(f"{path} holds no points; give a .csv of numbers or a .npy array of shape (N, d)")
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}; check the path") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not a UTF-8 text (byte {error.start}); give a CSV of numbers") from error
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if len(bad):
            raise DataError(f"{path}, point {bad[0] + 1} is not finite; leave it out (for gaps use the table codec)")
        return [Item(row, name=f"{path.name} point {i}") for i, row in enumerate(rows, 1)]

    def fit(self, items: Sequence[Item]) -> Self:
        """Learn center and half range of each coordinate, and the classes where every point has one.

        Raises:
            DataError: no points, points of different lengths, or a coordinate that is not finite.
        """
        points = self._stack(items)
        if not np.isfinite(points).all():
            raise DataError("a point has a coordinate that is not finite; leave the point out")
        low, high = points.min(0), points.max(0)
        if self.scale:
            self.center, self.half = np.zeros(points.shape[1]), np.full(points.shape[1], float(self.scale))
        else:
            self.center = (low + high) / 2
            self.half = np.where(high > low, (high - low) / 2 * MARGIN, 1.0)  # a constant coordinate is just shifted
        known = [item.cond for item in items]
        self.classes = sorted(map(str, set(known))) if None not in known else []
        self._set_spec()
        return self

    def _set_spec(self) -> None:
        given = Spec((), vocab=len(self.classes)) if self.classes else None
        self.spec = Spec((len(self.center),), cond=given)

    @staticmethod
    def _stack(items: Sequence[Item]) -> np.ndarray:
        if not items:
            raise DataError("there are no points; give a file with at least one")
        length = len(items[0].value)
        odd = next((item for item in items if len(item.value) != length), None)
        if odd is not None:
            raise DataError(
                f"{odd.name or 'a point'} has {len(odd.value)} coordinates, others {length}; make them equal"
            )
        return np.array([item.value for item in items], np.float64)

    def encode(self, items: Sequence[Item]) -> Batch:
        """``x`` is float32 ``(B, d)``, in [-1, 1] for fitted points; ``cond`` int64 ``(B,)`` where there are classes."""
        points = self._stack(items)
        if points.shape[1] != len(self.center):
            raise DataError(
                f"points have {points.shape[1]} coordinates, the model {len(self.center)}; give such points"
            )
        x = torch.from_numpy((points - self.center) / self.half).float()
        return Batch(x, self.encode_cond([item.cond for item in items]) if self.classes else None)

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """The encoded points."""
        return self.encode(items)

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """Class names as int64 ``(B,)``; None is unknown (-1); RecipeError when there is no such class."""
        if not self.classes:
            raise RecipeError("these points have no classes; leave --cond out")
        for value in values:
            if value is not None and str(value) not in self.classes:
                raise RecipeError(f"there is no class {value!r}{nearest(str(value), self.classes)}")
        return torch.tensor([-1 if v is None else self.classes.index(str(v)) for v in values], dtype=torch.int64)

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """``(B, d)`` to points in the units of the data, float64 arrays."""
        points = x.detach().to("cpu", torch.float64).numpy() * self.half + self.center
        known = [None] * len(points) if cond is None else [self.classes[i] if i >= 0 else None for i in cond.tolist()]
        return [Item(point, cond=c) for point, c in zip(points, known, strict=True)]

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One point as a CSV file; see ``write_all``."""
        return self.write_all([item], path, mark)

    def write_all(self, items: Sequence[Item], path: Path, mark: dict[str, str] | None = None) -> Path:
        """All points as one CSV file with columns ``x1 ..``, its metadata (CSVW) and ``mark`` beside it."""
        kinds = {f"x{i}": "double" for i in range(1, len(self.center) + 1)}
        return write_csv(path, kinds, ([repr(float(v)) for v in item.value] for item in items), mark)

    def show(self, items: Sequence[Item], path: Path, *, against: Sequence[Item] = ()) -> Path:
        """A PNG scatter of the first two coordinates (one: a histogram); ``against`` draws real points behind."""
        from matplotlib.figure import Figure

        path = path.with_suffix(".png")
        figure = Figure(figsize=(4.5, 4.5), layout="constrained")
        axis = figure.subplots()
        size = float(np.clip(2000 / math.sqrt(max(1, len(items))) / 40, 2, 20))
        for part, colour, label in ((against, "#b9c0c8", "real"), (items, "#1f77b4", "generated")):
            if not part:
                continue
            points = self._stack(part)
            if points.shape[1] == 1:
                axis.hist(points[:, 0], 60, density=True, color=colour, alpha=0.7, label=label)
            else:
                axis.scatter(points[:, 0], points[:, 1], s=size, color=colour, alpha=0.6, linewidths=0, label=label)
        if len(self.center) > 1:
            axis.set_xlim(self.center[0] - self.half[0], self.center[0] + self.half[0])
            axis.set_ylim(self.center[1] - self.half[1], self.center[1] + self.half[1])
            axis.set_aspect("equal", adjustable="box")
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        if against:
            axis.legend(frameon=False, fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
        return path

    def state(self) -> dict[str, Any]:
        """What ``fit`` learned, JSON-ready."""
        return {"center": self.center.tolist(), "half": self.half.tolist(), "classes": self.classes}

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``; returns self."""
        self.center, self.half = np.array(state["center"]), np.array(state["half"])
        self.classes = list(state["classes"])
        self._set_spec()
        return self


def _read_npy(path: Path) -> np.ndarray:
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        why = (
            "holds Python objects, which would need pickle"
            if "pickle" in str(error)
            else f"is no NumPy array ({error})"
        )
        raise DataError(f"{path} {why}; save a float array of shape (N, d)") from error
    if rows.ndim != 2 or not len(rows) or rows.dtype.kind not in "fiu":
        raise DataError(f"{path} has shape {rows.shape} of {rows.dtype}; save a float array of shape (N, d)")
    return rows.astype(np.float64)


def _read_csv(path: Path) -> np.ndarray:
    rows: list[list[float]] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        for fields in lines:
            if not fields:
                continue
            try:
                row = [float(field) for field in fields]
            except ValueError:
                if lines.line_num == 1:  # the header
                    continue
                raise DataError(
                    f"{path}, line {lines.line_num}: {','.join(fields)[:40]!r} is not numbers; mend it"
                ) from None
            if rows and len(row) != len(rows[0]):
                raise DataError(
                    f"{path}, line {lines.line_num}: {len(row)} numbers, the lines before have {len(rows[0])}"
                )
            rows.append(row)
    if not rows:
        raise DataError(f"{path} is empty; give one point in each line")
    return np.array(rows)
