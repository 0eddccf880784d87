"""What the studio looks at that no other part of the server makes: real columns of a table, a plane through three codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bottega.core import BottegaError
from bottega.crafts._rows import codes_of, decoded, held_items, need_codes
from bottega.workshop.run import WEIGHTS, Run, load

__all__ = ["columns_of", "plane_codes"]

ROWS = 500  # real rows that made ones are laid beside


def columns_of(folder: Path) -> dict[str, list[Any]]:
    """Values of each column of up to 500 held-out rows, as JSON says them; None where a cell is empty.

    Raises:
        BottegaError: the run makes no tables, or its data is gone.
    """
    return _columns(folder, (folder / WEIGHTS).stat().st_mtime if (folder / WEIGHTS).exists() else 0.0)


@lru_cache(maxsize=4)
def _columns(folder: Path, changed: float) -> dict[str, list[Any]]:
    run = load(folder, device="cpu")
    if run.codec.medium != "table":
        raise BottegaError(f"{folder.name} makes {run.codec.medium}, which has no columns")
    rows = [item.value for item in held_items(run, None, ROWS)]
    return {str(name): [_cell(row.get(name)) for row in rows] for name in rows[0]}


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def plane_codes(run: Run, x: Tensor, cond: Tensor | None, at: Sequence[tuple[float, float]]) -> Tensor:
    """Examples in the plane through the codes of three, ``(len(at), *spec.shape)``.

    ``z = a + u (b - a) + v (c - a)``, then moved to the length that the corners' lengths mix to: codes of many numbers lie
    near a sphere, and a straight line between two leaves it (White 2016, arXiv:1609.04468, section 2.1).

    Args:
        run: whose model has codes of real numbers.
        x: the three corners, ``(3, *spec.shape)``.
        cond: what is known of the first, ``(1, *spec.cond.shape)``, or None.
        at: coordinates ``(u, v)``; (0, 0), (1, 0) and (0, 1) are the corners.

    Raises:
        BottegaError: the model has no such codes.
    """
    from bottega.core import Batch

    need_codes(run)
    z = codes_of(run, Batch(x, None if cond is None else cond.expand(3, *cond.shape[1:])))
    return decoded(run, mixed(z, at), None if cond is None else cond.expand(len(at), *cond.shape[1:]))


def mixed(z: Tensor, at: Sequence[tuple[float, float]]) -> Tensor:
    """Codes ``(len(at), ...)`` in the plane through three, ``(3, ...)``; see ``plane_codes``."""
    weights = torch.tensor([[1 - u - v, u, v] for u, v in at], dtype=z.dtype)
    flat = z.flatten(1)
    points = weights @ flat
    if flat.shape[1] > 2:  # in a plane there is no sphere to leave
        wanted = (weights.abs() @ flat.norm(dim=1, keepdim=True)) / weights.abs().sum(1, keepdim=True)
        points = points * wanted / points.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return points.view(len(at), *z.shape[1:])
