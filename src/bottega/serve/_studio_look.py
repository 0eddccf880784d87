"""What the studio looks at that no other part of the server makes: real columns of a table, a plane through three codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bottega.core import Batch, BottegaError, Item
from bottega.crafts._rows import codes_of, decoded, held_items, need_codes
from bottega.workshop.run import WEIGHTS, Run, load

__all__ = ["columns_of", "mixed", "plane_of"]

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


def plane_of(run: Run, seeds: Sequence[int], at: Sequence[Sequence[float]], condition: Any = None) -> list[Item]:
    """Pieces in the plane through the codes of three seeds' pieces.

    Args:
        run: whose model has codes of real numbers.
        seeds: three, of the corners (0, 0), (1, 0) and (0, 1).
        at: coordinates ``(u, v)`` in the plane.
        condition: what to ask for; what the first seed says by default.

    Raises:
        BottegaError: the model has no such codes, or does not know the condition.
    """
    need_codes(run)
    if condition is None and run.spec.cond is not None:
        known = run.header["conditions"]
        condition = known[seeds[0] % len(known)]
    corners = run.sample(seeds=seeds, cond=condition)
    code = None if run.spec.cond is None else run.codec.encode_cond([condition])
    z = codes_of(run, Batch(corners.x, None if code is None else code.expand(3, *code.shape[1:])))
    some = None if code is None else code.expand(len(at), *code.shape[1:])
    x = decoded(run, mixed(z, at), some)
    return run.codec.decode(x, some)


def mixed(z: Tensor, at: Sequence[Sequence[float]]) -> Tensor:
    """Codes ``(len(at), ...)`` in the plane through three codes ``(3, ...)``.

    ``z = a + u (b - a) + v (c - a)``, then moved to the length that the corners' lengths mix to: codes of many numbers lie
    near a sphere, and a straight line between two leaves it (White 2016, arXiv:1609.04468, section 2.1).
    """
    weights = torch.tensor([[1 - u - v, u, v] for u, v in at], dtype=z.dtype)
    flat = z.flatten(1)
    points = weights @ flat
    if flat.shape[1] > 2:  # in a plane there is no sphere to leave
        wanted = (weights.abs() @ flat.norm(dim=1, keepdim=True)) / weights.abs().sum(1, keepdim=True)
        points = points * wanted / points.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return points.view(len(at), *z.shape[1:])
