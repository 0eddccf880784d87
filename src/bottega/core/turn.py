"""Turn: one player minimises its own loss while the others hold still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bottega.core.batch import Batch
from bottega.core.rng import Rng
from bottega.core.terms import Terms


@dataclass(frozen=True)
class Turn:
    """One move of one player.

    Attributes:
        player: a submodule by its dotted name; ``""`` is the whole model.
        loss: ``(batch, rng) -> Terms``.
        every: play only on every so-manieth step (lazy regularisers, Karras et al. 2020, arXiv:1912.04958, app. B).
        repeat: play so many times a step, each on a fresh batch (``n_critic`` of a Wasserstein GAN).
        after: called after each of these plays: what the player's weights must keep (clipping, a spectral norm).
    """

    player: str
    loss: Callable[[Batch, Rng], Terms]
    every: int = 1
    repeat: int = 1
    after: Callable[[], None] | None = None
