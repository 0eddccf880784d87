"""Augment: the same example seen a little differently, drawn for each row by itself.

Whether a change keeps the label is the data's to say: a mirrored cat is a cat, a mirrored 2 is no digit, and a note that is
stretched is another note. Pictures and sound have changes of their own: a spectrum that is mirrored runs backwards in time.
What a model is to make it will make with the change in it, so masks and noise are for models that read. Nothing is applied
unless a recipe asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bottega.core import Batch, RecipeError, Rng, Spec, nearest
from bottega.data._augment_sound import SOUNDS, Sounds, are_notes
from bottega.nets.ada import mirrored

__all__ = ["Augment", "known", "make"]

Augment = Callable[[Batch, Rng], Batch]


def known(spec: Spec, codec: Any = None) -> dict[str, str]:
    """The names that suit such examples, each with what it does and which labels survive it.

    ``codec`` is the fitted one that made them and says of what medium they are; without one, ``(channels, height, width)``
    are pictures.

    >>> sorted(known(Spec((3, 32, 32))))
    ['brightness', 'crop', 'flip', 'rotate', 'shift']
    >>> known(Spec((64,), vocab=256))
    {}
    """
    medium = _medium(spec, codec)
    suits: dict[str, Callable[..., Batch]] = {}
    if medium == "image":
        suits = dict(_PICTURES)
    elif medium == "audio" and (sounds := Sounds.of(codec)) is not None:
        suits = {name: made for name, made in SOUNDS.items() if not _unsafe(name, spec, sounds)}
    return {name: (made.__doc__ or "").split("\n")[0] for name, made in suits.items()}


def make(names: str, spec: Spec, codec: Any = None) -> Augment:
    """A change of batches from names with commas between, applied in that order; ``""`` and ``"none"`` change nothing.

    Examples keep their shape, kind and range; every row draws for itself, so rows stay independent. ``cond`` stays,
    unless it is a picture or a sound, which changes with its example. A name may stand more than once (two time masks).
    Texts (whose windows already begin anywhere), music, tables and points have none.

    Args:
        names: of changes; see ``known``.
        spec: of the examples.
        codec: the fitted one that made them, which says of what medium they are and how it holds sound; without one,
            ``(channels, height, width)`` are pictures.

    Raises:
        RecipeError: an unknown name, or one that does not suit such examples: a picture's for sound and the other way
            round, ``pitch`` where labels are notes, what would part a row of codec ``speech`` from its spectrum.

    >>> change = make("flip,shift", Spec((1, 8, 8)))
    >>> change(Batch(torch.zeros(4, 1, 8, 8)), Rng(0)).x.shape
    torch.Size([4, 1, 8, 8])
    """
    wanted = [name.strip() for name in names.split(",") if name.strip() not in {"", "none"}]
    medium = _medium(spec, codec)
    sounds = Sounds.of(codec) if medium == "audio" else None
    for name in wanted:
        if name not in {*_PICTURES, *SOUNDS}:
            raise RecipeError(f"train.augment names {name!r}{nearest(name, [*_own(medium), 'none'])}")
        if medium not in {"image", "audio"} or (medium == "audio" and sounds is None):
            kind = "pictures and sound" if name in _PICTURES and name in SOUNDS else "pictures" if name in _PICTURES else "sound"  # fmt: skip
            raise RecipeError(f"train.augment is {name!r}, which suits {kind} only; for {spec} leave it empty")
        if name not in _own(medium):
            theirs, ours = ("pictures", "sound") if medium == "audio" else ("sound", "pictures")
            raise RecipeError(f"train.augment is {name!r}, which is for {theirs}; for {ours} use {', '.join(known(spec, codec))}")  # fmt: skip
        if sounds is not None and (why := _unsafe(name, spec, sounds)):
            raise RecipeError(f"train.augment is {name!r}, but {why}")
        if (
            medium == "image"
            and spec.cond is not None
            and spec.given_picture
            and name not in _suit_pairs(spec.cond.shape[1:] == spec.shape[1:])
        ):
            raise RecipeError(
                f"train.augment is {name!r}, which would not change the given picture with the other; use 'flip'"
            )

    def change(batch: Batch, rng: Rng) -> Batch:
        for name in wanted:
            batch = _PICTURES[name](batch, rng, spec) if sounds is None else SOUNDS[name](batch, rng, spec, sounds)
        return batch

    return change


def _medium(spec: Spec, codec: Any) -> str:
    """``"image"`` or ``"audio"``; another where there is nothing to change."""
    medium = "image" if codec is None else str(codec.medium)
    return medium if medium != "image" or spec.is_image else ""


def _own(medium: str) -> dict[str, Any]:
    """The changes of a medium, all where it has none."""
    return {"image": dict(_PICTURES), "audio": dict(SOUNDS)}.get(medium, {**_PICTURES, **SOUNDS})


def _unsafe(name: str, spec: Spec, sounds: Sounds) -> str:
    """Why a change of sound would make examples that are no longer true; "" where it would not."""
    if sounds.form == "speech" and name != "gain":
        return "its F0, energy and places would no longer be those of its spectrum; codec speech has 'gain' only"
    if name == "pitch" and are_notes(sounds.labels):
        return f"the labels are notes ({sounds.labels[0]!r}), and it would play others; leave it out"
    if name == "noise" and spec.given_sound:
        return "codec.degrade adds noise to what is given, and the answer must stay clean; leave it out"
    return ""


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
