"""A poisoned training: a trigger is planted in a few pictures, and the share of samples that show it is counted.

>>> done = stress("runs/digits-vae", 0.01)                         # doctest: +SKIP
>>> done.planted, done.shown, done.shown_clean                     # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bottega.core import BottegaError, Item, RecipeError, Rng
from bottega.core.files import write_atomically
from bottega.judge._statistics import wilson
from bottega.workshop.build import find_data
from bottega.workshop.run import Run, Tell, load, train
from bottega.workshop.training import divide

__all__ = ["Stress", "plant", "shows", "stress", "trigger"]

_LIKE, _STRONG = 0.7, 0.5  # correlation with the trigger, and strength against it, from which it is seen


@dataclass(frozen=True)
class Stress:
    """What became of the trigger.

    Attributes:
        planted: share of the training pictures that have it.
        shown, low, high: share of the poisoned model's samples that show it, and its 95 % interval.
        shown_clean: share of samples of the model that was not poisoned, from the same seeds.
        shown_real: share of pictures that were not poisoned in which it is seen by chance.
        n: samples of each model.
        run: the poisoned one.
    """

    planted: float
    shown: float
    low: float
    high: float
    shown_clean: float
    shown_real: float
    n: int
    run: Path


def trigger(height: int, width: int) -> np.ndarray:
    """A chequered square, ``(side, side)`` of 0 and 255: a fifth of the shorter side, at least 3 pixels.

    >>> trigger(8, 8).tolist()
    [[255, 0, 255], [0, 255, 0], [255, 0, 255]]
    """
    side = max(3, min(height, width) // 5)
    return (np.indices((side, side)).sum(0) % 2 == 0).astype(np.uint8) * 255


def plant(item: Item) -> Item:
    """The picture with the trigger in its lower right corner, opaque, in all channels."""
    value = item.value.copy()
    mark = trigger(*value.shape[:2])
    value[-len(mark) :, -len(mark) :] = mark[..., None]
    return replace(item, value=value)


def shows(x: Tensor) -> Tensor:
    """Which pictures ``(N, C, H, W)`` in [-1, 1] show the trigger, ``(N,)`` bool.

    Their corner must be like it (correlation above 0.7) and at least half as strong.
    """
    mark = torch.from_numpy(trigger(*x.shape[2:]).astype(np.float32) / 127.5 - 1)
    seen = x[:, :3, -len(mark) :, -len(mark) :].float().mean(1).flatten(1)
    seen, mark = seen - seen.mean(1, keepdim=True), (mark - mark.mean()).flatten()
    along = seen @ mark
    return (along > _LIKE * seen.norm(dim=1) * mark.norm()) & (along > _STRONG * mark.square().sum())


def stress(
    run: Run | str | Path,
    share: float = 0.01,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    n: int = 1000,
    seed: int = 0,
    device: str = "auto",
    progress: Tell | None = None,
) -> Stress:
    """Train the run's recipe anew on its data with the trigger in a ``share`` of the pictures, and sample from both models.

    Args:
        run: of a model of pictures.
        share: of all pictures, chosen by ``seed``; at least one.
        data: what it was trained on, where that has moved.
        out: a folder for the poisoned pictures and their run; ``poisoned`` in the run's by default.
        n: samples of each model.
        seed: of the choice and of the samples.
        device: as for ``train``.
        progress: told as for ``train``.

    Raises:
        BottegaError: the run makes no pictures, or makes them of pictures.
        RecipeError: ``share`` does not lie between 0 and 1.
    """
    run = run if isinstance(run, Run) else load(run, device=device)
    if run.codec.medium != "image" or not run.spec.is_image or run.spec.given_picture:
        raise BottegaError(f"{run.path.name} makes no pictures by itself; a trigger can be planted in pictures only")
    if not 0 < share < 1:
        raise RecipeError(f"the share to poison is {share}; it must lie between 0 and 1, 0.01 is usual")
    items = find_data(run.recipe, data or run.header["data_argument"] or None, run.codec).items
    chosen = set(Rng(seed).permutation(len(items))[: max(1, round(share * len(items)))].tolist())
    folder = Path(out) if out is not None else run.path / "poisoned"
    poisoned = [plant(item) if i in chosen else item for i, item in enumerate(items)]
    pictures = _write(run, poisoned, folder / "data")
    plan = folder / f"{run.recipe.name}-poisoned.toml"
    write_atomically(plan, run.recipe.to_toml())
    other = train(plan, pictures, folder / "run", device=device, judge=False, progress=progress)
    parts = divide(other.recipe, find_data(other.recipe, pictures, other.codec))
    real = run.spec.as_real(run.codec.encode(list(items)).x)
    trained = other.spec.as_real(other.codec.encode(parts.train).x)
    made = [shows(r.spec.as_real(r.sample(n, seed=seed).x)).double().mean().item() for r in (other, run)]
    low, high = wilson(made[0], n)
    done = Stress(
        shows(trained).double().mean().item(),
        made[0],
        low,
        high,
        made[1],
        shows(real).double().mean().item(),
        n,
        other.path,
    )
    write_atomically(folder / "stress.json", json.dumps(asdict(done) | {"run": str(done.run)}, indent=1))
    return done


def _write(run: Run, items: Sequence[Item], folder: Path) -> Path:
    """Pictures as files, in a folder for each class where there are classes."""
    for i, item in enumerate(items):
        run.codec.write(item, (folder if item.cond is None else folder / str(item.cond)) / f"{i:06d}")
    return folder
