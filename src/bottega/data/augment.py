"""Augment: the same example seen a little differently, drawn for each row by itself.

Whether a change keeps the label is the data's to say: a mirrored cat is a cat, a mirrored 2 is no digit. Nothing is
applied unless a recipe asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bottega.core import Batch, RecipeError, Rng, Spec, nearest
from bottega.nets.ada import mirrored

__all__ = ["Augment", "known", "make"]

Augment = Callable[[Batch, Rng], Batch]


def known(spec: Spec) -> dict[str, str]:
    """The names that suit such examples, each with what it does and which labels survive it.

    >>> sorted(known(Spec((3, 32, 32))))
    ['brightness', 'crop', 'flip', 'rotate', 'shift']
    >>> known(Spec((64,), vocab=256))
    {}
    """
    return {name: (made.__doc__ or "").split("\n")[0] for name, made in _PICTURES.items()} if spec.is_image else {}


def make(names: str, spec: Spec) -> Augment:
    """A change of batches from names with commas between, applied in that order; ``""`` and ``"none"`` change nothing.

    Examples keep their shape, kind and range; every row draws for itself, so rows stay independent. ``cond`` stays,
    unless it is a picture, which moves with its example. Texts (whose windows already begin anywhere), tables and
    points have none.

    Raises:
        RecipeError: an unknown name, or one that does not suit such examples.

    >>> change = make("flip,shift", Spec((1, 8, 8)))
    >>> change(Batch(torch.zeros(4, 1, 8, 8)), Rng(0)).x.shape
    torch.Size([4, 1, 8, 8])
    """
    wanted = [name.strip() for name in names.split(",") if name.strip() not in {"", "none"}]
    for name in wanted:
        if name not in _PICTURES:
            raise RecipeError(f"train.augment names {name!r}{nearest(name, [*_PICTURES, 'none'])}")
        if not spec.is_image:
            raise RecipeError(f"train.augment is {name!r}, which suits pictures only; for {spec} leave it empty")
        if (
            spec.cond is not None
            and spec.given_picture
            and name not in _suit_pairs(spec.cond.shape[1:] == spec.shape[1:])
        ):
            raise RecipeError(
                f"train.augment is {name!r}, which would not change the given picture with the other; use 'flip'"
            )
    changes = [_PICTURES[name] for name in wanted]

    def change(batch: Batch, rng: Rng) -> Batch:
        for one in changes:
            batch = one(batch, rng, spec)
        return batch

    return change


def _flip(batch: Batch, rng: Rng, spec: Spec) -> Batch:
    """Mirrored left to right in every second row; not for letters, digits or anything with a handedness."""
    turned = rng.uniform(len(batch)) < 0.5

    def mirrored(t: Tensor) -> Tensor:
        return torch.where(turned.view(-1, *[1] * (t.ndim - 1)), t.flip(-1), t)

    mask = None if batch.mask is None else mirrored(batch.mask.expand_as(batch.x))
    cond = mirrored(batch.cond) if spec.given_picture and batch.cond is not None else batch.cond
    return Batch(mirrored(batch.x), cond, mask)


def _shift(batch: Batch, rng: Rng, spec: Spec) -> Batch:
    """Moved by up to an eighth of each side, the edge repeated; keeps labels."""
    rows, columns = _offsets(batch, rng, spec)
    return _moved(batch, spec, rows.clamp(0, spec.shape[1] - 1), columns.clamp(0, spec.shape[2] - 1))


def _crop(batch: Batch, rng: Rng, spec: Spec) -> Batch:
    """Mirror-padded by an eighth of each side and cropped anywhere; keeps labels (He et al. 2016, arXiv:1512.03385, 4.2)."""
    rows, columns = _offsets(batch, rng, spec)
    return _moved(batch, spec, mirrored(rows, spec.shape[1]), mirrored(columns, spec.shape[2]))


def _rotate(batch: Batch, rng: Rng, spec: Spec) -> Batch:
    """Turned by up to 10 degrees about the middle, the edge repeated; keeps labels."""
    angle = (rng.uniform(len(batch)) * 2 - 1) * math.radians(10)
    cos, sin = angle.cos(), angle.sin()
    ratio = spec.shape[1] / spec.shape[2]  # grids run from -1 to 1 along both sides, however long they are
    zero = torch.zeros_like(cos)
    turn = torch.stack([cos, -sin * ratio, zero, sin / ratio, cos, zero], -1).reshape(-1, 2, 3)

    def turned(t: Tensor, mode: str) -> Tensor:
        grid = functional.affine_grid(turn, [len(t), *t.shape[1:]], align_corners=False)
        return functional.grid_sample(t.float(), grid, mode, "border", align_corners=False)

    x = turned(batch.x, "nearest").long() if spec.is_tokens else turned(batch.x, "bilinear").to(batch.x.dtype)
    whole = None if batch.mask is None else turned(batch.mask.expand_as(batch.x), "nearest") > 0.5
    cond = turned(batch.cond, "bilinear") if spec.given_picture and batch.cond is not None else batch.cond
    return Batch(x, cond, whole)


def _brightness(batch: Batch, rng: Rng, spec: Spec) -> Batch:
    """Light and dark stretched by up to a tenth, black stays black; keeps labels unless they name a brightness."""
    factor = 0.9 + 0.2 * rng.uniform(len(batch))
    x = ((spec.as_real(batch.x) + 1) * factor.reshape(-1, 1, 1, 1) - 1).clamp(-1, 1)
    return Batch(spec.as_tokens(x), batch.cond, batch.mask)


def _offsets(batch: Batch, rng: Rng, spec: Spec) -> tuple[Tensor, Tensor]:
    """Where each row and column of pixels comes from: ``(B, H)`` and ``(B, W)``, beyond the edges too."""
    out = []
    for side in spec.shape[1:]:
        reach = max(1, side // 8)
        by = rng.integers(2 * reach + 1, len(batch)) - reach
        out.append(torch.arange(side, device=batch.x.device) + by[:, None])
    return out[0], out[1]


def _moved(batch: Batch, spec: Spec, rows: Tensor, columns: Tensor) -> Batch:
    """Pixels taken from ``rows (B, H)`` and ``columns (B, W)``; exact, so levels stay levels."""

    def move(t: Tensor) -> Tensor:
        t = t.gather(2, rows[:, None, :, None].expand_as(t))
        return t.gather(3, columns[:, None, None, :].expand_as(t))

    mask = None if batch.mask is None else move(batch.mask.expand_as(batch.x))
    cond = move(batch.cond) if spec.given_picture and batch.cond is not None else batch.cond
    return Batch(move(batch.x), cond, mask)


_PICTURES: dict[str, Callable[[Batch, Rng, Spec], Batch]] = {
    "flip": _flip,
    "shift": _shift,
    "crop": _crop,
    "rotate": _rotate,
    "brightness": _brightness,
}


def _suit_pairs(same_size: bool) -> set[str]:
    """What a picture and the one that is known of it can both go through."""
    return {"flip", "shift", "crop", "rotate"} if same_size else {"flip"}
