"""Families that write one token after another: sampling, streaming and editing, given only how the next is said."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, RecipeError, Rng, Spec, passes_on
from bottega.samplers.decode import decode
from bottega.samplers.speculative import Draft
from bottega.samplers.steps import Step
from bottega.samplers.tokens import Guide, Notes

__all__ = ["LeftToRight"]

_DRAFTED = 64  # tokens of drafts that are read before it is known that they are too many


class LeftToRight:
    """Makes a family sample, stream and edit: it only says ``step``, and ``longest`` where its rows have an end.

    Tokens of any shape are made in reading order. Texts may become longer than those of the training; rows of a table,
    pictures and grids have their one size.

    Attributes:
        longest: how many tokens a row can have, what is given included; None where there is no end.
    """

    spec: Spec
    longest: int | None = None

    @abstractmethod
    def step(
        self, n: int, cond: Tensor | None = None, guidance: float = 1.0, *, prompted: bool = False, most: int = 0
    ) -> Step:
        """The model as the samplers want it, for ``n`` rows; see ``samplers.steps``.

        Args:
            n: how many rows.
            cond: ``(n, *spec.cond.shape)`` or None.
            guidance: as in ``stream``.
            prompted: whether every row has a beginning.
            most: how many tokens a row will have at most, so that no more room is made; 0 if nobody knows.
        """

    @passes_on(decode)
    @torch.no_grad()
    def stream(
        self,
        n: int,
        rng: Rng,
        cond: Tensor | None = None,
        batch: Batch | None = None,
        keep: Tensor | None = None,
        guides: Sequence[Guide] = (),
        notes: Notes | None = None,
        draft: Draft | None = None,
        *,
        max_new: int | None = None,
        guidance: float = 1.0,
        **knobs: Any,
    ) -> Iterator[Tensor]:
        """Yields ``(n, t)`` tokens in reading order as they are made; joined they are what ``sample`` (``edit``) returns.

        Args:
            n: how many rows.
            rng: one stream, or one for each row.
            cond: ``(n, *spec.cond.shape)`` or None.
            batch: a piece to go on from or to fill, with ``keep``; see ``edit``.
            keep: bool, broadcastable to ``batch.x``: what stays.
            guides: what watches over the rows (stop strings, grammars); see ``samplers.tokens.generate``.
            notes: takes log-probabilities, and why rows ended.
            draft: guesses tokens; see ``samplers.speculative``.
            max_new: texts only: how many tokens to make; by default ``spec.shape[0]`` (behind a given piece: none).
            guidance: 1 is conditional, 0 unconditional, above 1 follows ``cond`` harder (logits are extrapolated).
            knobs: ``temperature``, ``top_k``, ``top_p``, ``min_p``, penalties, ``beams``, ``lookup`` and others; see
                ``samplers.decode.decode`` and ``samplers.tokens.generate``.

        Raises:
            RecipeError: a knob is out of range.
        """
        if max_new is not None and (self.spec.blocks or not self.spec.is_sequence):
            raise RecipeError(f"max_new is {max_new}, but only texts have it; rows and pictures have a fixed size")
        if batch is None:
            more = self.spec.dims if max_new is None else max_new
            x = torch.zeros(n, 0, dtype=torch.long, device=rng.device)
        else:
            more, x = max_new or 0, batch.x.flatten(1)
        most = None if self.longest is None else self.longest - x.shape[1]
        if max_new is not None and (max_new < 1 or (most is not None and max_new > most)):
            end = (
                ""
                if most is None
                else f", and behind the {x.shape[1]} tokens given not more than {self.longest} in all"
            )
            raise RecipeError(f"max_new is {max_new}; it must be at least 1{end}")
        kept = torch.ones_like(x, dtype=torch.bool)
        if batch is not None and keep is not None:
            kept = keep.expand(batch.x.shape).flatten(1)
        lengths = None
        if batch is not None and more and batch.mask is not None and bool(kept.all()):
            lengths = batch.mask.expand(batch.x.shape).sum(1)
        prompted = bool(kept.shape[1] and kept[:, 0].all())
        step = self.step(n, cond, guidance, prompted=prompted, most=x.shape[1] + more + _DRAFTED)
        given, kept = F.pad(x, (0, more)), F.pad(kept, (0, more), value=False)
        yield from decode(step, given, kept, rng, lengths, guides, notes, draft, **knobs)

    @passes_on(decode)
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
        """``(n, *spec.shape)`` tokens, int64; with ``max_new``, ``(n, max_new)``. Knobs are those of ``stream``."""
        made = torch.cat(list(self.stream(n, rng, cond, max_new=max_new, guidance=guidance, **knobs)), 1)
        return made if max_new else made.reshape(n, *self.spec.shape)

    @passes_on(decode)
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

        A text ``batch.x`` may be shorter or longer than the Spec's length; ``max_new`` adds so many tokens at its end, so a
        prompt is ``edit(Batch(prompt), torch.ones_like(prompt, dtype=torch.bool), rng, max_new=100)``. Prompts of unequal
        length are padded at their ends, with a ``mask``: each row goes on behind its own last token as it would alone,
        and what is made stands in the last ``max_new`` columns.

        Args:
            batch: the pieces, with ``cond`` where known.
            keep: bool, broadcastable to ``batch.x``.
            rng: one stream, or one for each row.
            max_new: how many tokens to add at the end; none by default.
            guidance: as in ``stream``.
            knobs: as in ``stream``.

        Returns:
            ``(B, *spec.shape)``, or ``(B, length + max_new)``.

        Raises:
            RecipeError: a knob is out of range, or the prompt is longer than the model sees and ``overflow`` is "error".
        """
        parts = self.stream(len(batch), rng, batch.cond, batch, keep, max_new=max_new, guidance=guidance, **knobs)
        made = torch.cat(list(parts), 1)
        return made if max_new else made.reshape(batch.x.shape)
