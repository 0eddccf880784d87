"""Sampling, streaming and editing of models that write one token after another, given only how the next is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, RecipeError, Rng, Spec, passes_on
from bottega.samplers.tokens import Step, generate

__all__ = ["LeftToRight", "guided"]


def guided(known: Step, blank: Step, guidance: float) -> Step:
    """A step whose logits are those of ``blank``, moved ``guidance`` times as far as ``known`` moves them."""

    def step(fresh: Tensor) -> Tensor:
        free = blank(fresh)
        return free + guidance * (known(fresh) - free)

    return step


class LeftToRight:
    """Makes a family of texts sample, stream and edit: it says ``begin`` and how far it sees.

    A family's ``begin(n, cond)`` returns a ``Step``: logits of the next token given those before it.
    """

    spec: Spec

    def begin(self, n: int, cond: Tensor | None) -> Step:
        """A step for ``n`` new texts, ``cond`` being ``(n, *spec.cond.shape)`` or None."""
        raise NotImplementedError

    def _written(
        self, x: Tensor, keep: Tensor, rng: Rng, cond: Tensor | None, guidance: float, knobs: dict[str, Any]
    ) -> Iterator[Tensor]:
        step = self.begin(len(x), cond)
        if guidance != 1 and cond is not None and self.spec.cond is not None:
            step = guided(step, self.begin(len(x), None), guidance)
        yield from generate(step, x, keep, rng, **knobs)

    @passes_on(generate)
    @torch.no_grad()
    def stream(
        self,
        n: int,
        rng: Rng,
        cond: Tensor | None = None,
        *,
        max_new: int | None = None,
        guidance: float = 1.0,
        **knobs: Any,
    ) -> Iterator[Tensor]:
        """Yields ``(n, t)`` tokens in reading order as they are made; joined they are what ``sample`` returns.

        Args:
            n: how many rows.
            rng: one stream, or one for each row.
            cond: ``(n, *spec.cond.shape)`` or None.
            max_new: how many tokens to make; by default ``spec.shape[0]``.
            guidance: 1 is conditional, 0 unconditional, above 1 follows ``cond`` harder (logits are extrapolated).
            knobs: those of ``samplers.tokens.generate``.
        """
        if max_new is not None and max_new < 1:
            raise RecipeError(f"max_new is {max_new}; it must be at least 1")
        x = torch.zeros(n, max_new or self.spec.dims, dtype=torch.long, device=rng.device)
        yield from self._written(x, torch.zeros_like(x, dtype=torch.bool), rng, cond, guidance, knobs)

    @passes_on(generate)
    @torch.no_grad()
    def sample(
        self,
        n: int,
        rng: Rng,
        cond: Tensor | None = None,
        *,
        max_new: int | None = None,
        guidance: float = 1.0,
        **knobs: Any,
    ) -> Tensor:
        """``(n, L)`` tokens, int64, or ``(n, max_new)``. Knobs are those of ``stream``."""
        return torch.cat(list(self.stream(n, rng, cond, max_new=max_new, guidance=guidance, **knobs)), 1)

    @passes_on(generate)
    @torch.no_grad()
    def edit(
        self,
        batch: Batch,
        keep: Tensor,
        rng: Rng,
        *,
        max_new: int | None = None,
        guidance: float = 1.0,
        **knobs: Any,
    ) -> Tensor:
        """Kept tokens stay; the others are made from left to right, each given all before it (not those after it).

        Args:
            batch: the pieces, of any length, with ``cond`` where known.
            keep: bool, broadcastable to ``batch.x``.
            rng: one stream, or one for each row.
            max_new: how many tokens to add at the end; none by default.
            guidance: as in ``stream``.
            knobs: as in ``stream``.

        Returns:
            ``(B, L)``, or ``(B, L + max_new)``.
        """
        x, more = batch.x, max_new or 0
        kept = F.pad(keep.expand(x.shape), (0, more), value=False)
        return torch.cat(list(self._written(F.pad(x, (0, more)), kept, rng, batch.cond, guidance, knobs)), 1)
