"""Rng: randomness as an argument, one stream for all rows or one stream for each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bottega.core.errors import RecipeError


class Rng:
    """A source of random numbers that is passed, never global.

    With one seed all rows share a stream (fast: training). With several seeds row *i* of every draw comes from
    stream *i* alone, so what row *i* becomes does not depend on the other rows: a sample belongs to its seed.

    Args:
        seeds: whole numbers; one, or one for each row.
        device: where drawn tensors land.
        source: where the generators live; by default the CPU when there is one stream for each row (the same
            seed then gives the same numbers on every device) and ``device`` when there is one stream.

    Raises:
        RecipeError: a seed does not fit in 64 bits.

    Attributes:
        per_row: whether each row has a stream of its own; for a single row, ask for it with ``for_rows``.

    >>> both, alone = Rng(5, 6), Rng(6)
    >>> torch.equal(both.normal(2, 3)[1:], alone.normal(1, 3))
    True
    """

    def __init__(
        self, *seeds: int, device: torch.device | str = "cpu", source: torch.device | str | None = None
    ) -> None:
        if not seeds:
            raise ValueError("Rng needs at least one seed; give Rng(0), or one seed for each row")
        for seed in seeds:
            if not -(2**63) <= seed < 2**64:
                raise RecipeError(f"the seed {seed} does not fit in 64 bits; give a smaller one")
        self.device = torch.device(device)
        self.source = torch.device(source if source is not None else "cpu" if len(seeds) > 1 else device)
        self.streams = [torch.Generator(self.source).manual_seed(int(seed)) for seed in seeds]
        self.per_row = len(seeds) > 1

    @classmethod
    def _of(cls, streams: list[torch.Generator], device: torch.device, source: torch.device) -> Rng:
        new = cls.__new__(cls)
        new.streams, new.device, new.source, new.per_row = streams, device, source, True
        return new

    @classmethod
    def for_rows(cls, seeds: Sequence[int], device: torch.device | str = "cpu") -> Rng:
        """One stream for each row, with generators on the CPU, even when there is only one row."""
        new = cls(*seeds, device=device, source="cpu")
        new.per_row = True
        return new

    def _rows(self, draw: Callable[..., Tensor], shape: tuple[int, ...], **kwargs: Any) -> Tensor:
        if not self.per_row:
            out = draw(shape, generator=self.streams[0], device=self.source, **kwargs)
        elif shape and shape[0] == len(self.streams):
            rows = [draw(shape[1:], generator=g, device=self.source, **kwargs) for g in self.streams]
            out = torch.stack(rows)
        else:
            raise ValueError(
                f"Rng has {len(self.streams)} row streams but was asked for shape {shape}; draw one row for each"
            )
        return out.to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws of the given shape."""
        return self._rows(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform draws in [0, 1) of the given shape."""
        return self._rows(torch.rand, shape)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Whole numbers in [0, high) of the given shape, int64."""
        return self._rows(lambda size, **kw: torch.randint(high, size, **kw), shape)

    def bernoulli(self, p: Tensor) -> Tensor:
        """True with probability ``p``, elementwise; the shape of ``p``, bool."""
        return self.uniform(*p.shape) < p

    def categorical(self, logits: Tensor) -> Tensor:
        """An index along the last axis drawn from softmax(logits), by the Gumbel-max trick: ``(..., K) -> (...)``."""
        u = self.uniform(*logits.shape).clamp_min(torch.finfo(torch.float32).tiny)
        return (logits - torch.log(-torch.log(u))).argmax(-1)

    def permutation(self, n: int) -> Tensor:
        """The numbers 0..n-1 in random order; needs a single stream."""
        if self.per_row:
            raise ValueError("a permutation couples rows; use an Rng with a single stream")
        return torch.randperm(n, generator=self.streams[0], device=self.source).to(self.device)

    def split(self, pieces: int, rows: int) -> list[Rng]:
        """What each part of ``Batch.split(pieces)`` of ``rows`` rows should draw from."""
        if not self.per_row:
            return [self] * max(1, min(pieces, rows))
        parts = torch.arange(rows).tensor_split(max(1, min(pieces, rows)))
        return [self._of([self.streams[i] for i in part.tolist()], self.device, self.source) for part in parts]

    def fork(self, label: str) -> Rng:
        """Independent streams named by ``label``; drawing from the fork does not move this Rng."""
        seeds = []
        for g in self.streams:
            digest = hashlib.sha256(g.get_state().cpu().numpy().tobytes() + label.encode()).digest()
            seeds.append(int.from_bytes(digest[:8], "little") >> 1)
        new = Rng(*seeds, device=self.device, source=self.source)
        new.per_row = self.per_row
        return new

    def repeat(self, times: int) -> Rng:
        """For ``times`` rows drawn for each row (importance samples): forks, so rows stay independent."""
        if not self.per_row:
            return self
        forks = [self.fork(f"repeat {k}") for k in range(times)]
        streams = [fork.streams[i] for i in range(len(self.streams)) for fork in forks]  # as repeat_interleave orders
        return self._of(streams, self.device, self.source)

    def state(self) -> list[Tensor]:
        """Everything needed to go on from here: one uint8 tensor for each stream."""
        return [g.get_state() for g in self.streams]

    def load_state(self, state: list[Tensor]) -> None:
        """Go on from a ``state``; raises ValueError when the number of streams differs."""
        if len(state) != len(self.streams):
            raise ValueError(f"state has {len(state)} streams, this Rng has {len(self.streams)}")
        for g, s in zip(self.streams, state, strict=True):
            g.set_state(s.to("cpu", torch.uint8))
