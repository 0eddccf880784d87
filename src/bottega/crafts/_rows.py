"""What crafts look at: pieces that a run kept back, and files of one's own, as rows of its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bottega.core import Batch, BottegaError, DataError, Encodes, Item, Rng, has
from bottega.workshop.build import find_data
from bottega.workshop.run import Run
from bottega.workshop.training import divide

__all__ = ["codes_of", "decoded", "held_items", "need_codes"]

CHUNK = 250


def need_codes(run: Run) -> None:
    """Raise BottegaError unless the run's model has codes of real numbers."""
    model = run.model
    if not has(model, Encodes) or model.latent.is_tokens:
        raise BottegaError(
            f"family {run.recipe.family['name']} has no codes of real numbers to move in; use a run of autoencoder, vae, hvae, flow or musicvae"
        )


def held_items(run: Run, data: str | Path | None, most: int, seed: int = 0) -> Sequence[Item]:
    """Up to ``most`` pieces that training never saw, in a seeded order.

    Args:
        run: whose recipe divides the data.
        data: other data than it was trained on; None for its own.
        most: how many.
        seed: of the order.

    Raises:
        DataError: the data is gone, or nothing was kept back.
    """
    own = run.header["data_argument"] or None
    try:
        found = find_data(run.recipe, data if data is not None else own, run.codec)
    except DataError as error:
        raise DataError(f"{error}; name the data of {run.path} with --data") from error
    held = divide(run.recipe, found).held
    if not held:
        raise DataError(f"{run.path} kept no pieces back (data.held is 0); train with data.held above 0")
    return [held[i] for i in Rng(seed).permutation(len(held))[:most].tolist()]


@torch.no_grad()
def codes_of(run: Run, batch: Batch) -> Tensor:
    """Codes of all rows, ``(N, *latent)`` on the CPU."""
    model = run.model.eval()
    parts = batch.split(-(-len(batch) // CHUNK))
    return torch.cat([model.encode(part.to(run.device)).cpu() for part in parts])  # type: ignore[operator]


@torch.no_grad()
def decoded(run: Run, z: Tensor, cond: Tensor | None = None) -> Tensor:
    """Examples of all codes, ``(N, *spec.shape)`` on the CPU."""
    model = run.model.eval()
    conds = [None] * len(z) if cond is None else cond.split(CHUNK)
    parts = zip(z.split(CHUNK), conds, strict=False)
    return torch.cat([model.decode(c.to(run.device), None if k is None else k.to(run.device)).cpu() for c, k in parts])  # type: ignore[operator]
