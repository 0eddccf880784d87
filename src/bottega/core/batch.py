"""Batch: B examples, what is known of each, and which parts are real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B examples of one Spec.

    Attributes:
        x: the examples, ``(B, *spec.shape)``; real numbers in [-1, 1], or whole numbers in [0, vocab).
        cond: what is known of each, ``(B, *spec.cond.shape)``; None when nothing is.
        mask: True where ``x`` is real and False where it is padding, broadcastable to ``x``; None when all is real. To a
            family that ``reads_given``, also False where tokens are only read and others behind them are what counts.

    >>> batch = Batch(torch.zeros(5, 2))
    >>> len(batch), [len(piece) for piece in batch.split(2)]
    (5, [3, 2])
    """

    x: Tensor
    cond: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(*(None if t is None else change(t) for t in (self.x, self.cond, self.mask)))  # type: ignore[arg-type]

    def take(self, rows: Tensor | slice) -> Batch:
        """The rows named by an index, a boolean mask or a slice."""
        return self._map(lambda t: t[rows])

    def split(self, pieces: int) -> list[Batch]:
        """Up to ``pieces`` consecutive parts, as even as can be; none is empty."""
        if pieces <= 1:
            return [self]
        rows = torch.arange(len(self), device=self.x.device)
        return [self.take(part) for part in rows.tensor_split(min(pieces, len(self)))]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self._map(lambda t: t.to(device, non_blocking=True))

    @staticmethod
    def cat(batches: list[Batch]) -> Batch:
        """One batch from several of the same Spec; all or none must have ``cond`` (and ``mask``)."""

        def join(parts: list[Tensor | None]) -> Tensor | None:
            some = [p for p in parts if p is not None]
            return torch.cat(some) if some else None

        x = join([b.x for b in batches])
        assert x is not None
        return Batch(x, join([b.cond for b in batches]), join([b.mask for b in batches]))
