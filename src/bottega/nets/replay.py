"""A replay buffer: the chains of an energy's training, which live on from step to step and in the weights file."""

from __future__ import annotations

import torch
from torch import Tensor

from bottega.core import RecipeError, Rng, Spec

__all__ = ["Replay"]


class Replay:
    """For a family whose training chains go on where they were (Tieleman 2008; Du & Mordatch 2019, arXiv:1903.08689).

    The buffer is part of the weights file, so a run resumes exactly. A loss only reads it and notes the ends of its
    chains in ``_walked``; ``settle`` writes them back. Each row draws its own place, so rows do not see each other. Every
    label has its own part of the buffer, and so have rows without one.
    """

    chains: Tensor

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.parts = 1
        self._walked: list[tuple[Tensor, Tensor]] = []

    def keep_chains(self, start: Tensor, cond: Spec | None) -> None:
        """Register ``start`` ``(buffer, *shape)``; RecipeError where a label would get no chain."""
        self.parts = cond.vocab + 1 if cond is not None and cond.is_tokens and not cond.shape else 1
        if len(start) < self.parts:
            raise RecipeError(f"family.buffer is {len(start)}; keep at least one chain for each label, {self.parts}")
        self.register_buffer("chains", start)  # type: ignore[attr-defined]

    def _slots(self, cond: Tensor | None, drop: Tensor | None, n: int, rng: Rng) -> Tensor:
        """A place in the buffer for each row, ``(n,)``: anywhere, or in its label's part (the last: no label)."""
        size = len(self.chains) // self.parts
        if self.parts == 1:
            return rng.integers(size, n)
        last = self.parts - 1
        label = torch.full((n,), last, device=self.chains.device) if cond is None else cond.where(cond >= 0, last)
        if drop is not None:
            label = label.where(~drop, last)
        return label * size + rng.integers(size, n)

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Write the ends of this step's chains back; where two rows had the same place the later row wins."""
        if not self._walked:
            return
        slots, ends = (torch.cat(part) for part in zip(*self._walked, strict=True))
        self._walked = []
        rows = torch.arange(len(slots), device=slots.device)
        winner = rows.new_full((len(self.chains),), -1).scatter_reduce_(0, slots, rows, "amax")
        keep = winner[slots] == rows
        self.chains[slots[keep]] = ends[keep].to(self.chains.dtype)
