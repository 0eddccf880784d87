"""Stream: training batches by number, so that resuming is knowing one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from bottega.core import Batch, DataError, Rng, Source
from bottega.nets.text_encoder import said


@dataclass(frozen=True)
class Lifted:
    """Rows of which some come several times in an epoch.

    Args:
        source: all rows.
        rows: which, int64; a row may stand there more than once.
    """

    source: Source
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor) -> Batch:
        """The rows of those numbers, int64 ``(B,)``."""
        return self.source.take(self.rows[rows])

    def draw(self, rows: Tensor, rng: Rng) -> Batch:
        """The same, drawn afresh where the source does so."""
        draw = getattr(self.source, "draw", None)
        return self.take(rows) if draw is None else draw(self.rows[rows], rng)


def lift_labelled(source: Source, share: float) -> Source:
    """``source`` with its rows of a known class repeated until they are at least ``share`` of all, where they are fewer.

    >>> from bottega.core import Encoded
    >>> rows = Encoded(Batch(torch.arange(8.0)[:, None], torch.tensor([2] + [-1] * 7)))
    >>> lift_labelled(rows, 0.5).take(torch.arange(14)).x[:, 0].tolist()[7:]
    [7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    every = torch.arange(len(source))
    conds = [source.take(part).cond for part in every.split(512)]
    known = torch.cat([torch.zeros(0, dtype=torch.bool), *(c >= 0 for c in conds if c is not None)]).nonzero()[:, 0]
    if not len(known) or len(known) >= share * len(every):
        return source
    times = math.ceil(share / (1 - share) * (len(every) - len(known)) / len(known))
    return Lifted(source, torch.cat([every, known.repeat(times - 1)]))


def tokens_of(source: Source, given_end: int | None = None) -> Tensor:
    """How long each row of texts is, ``(N,)``: up to its last real token; with the text that is given, padded with ``given_end``.

    >>> from bottega.core import Encoded
    >>> rows = Batch(torch.zeros(2, 3, dtype=torch.long), mask=torch.tensor([[True, True, False], [True] * 3]))
    >>> tokens_of(Encoded(rows)).tolist()
    [2, 3]
    """
    out = []
    for part in torch.arange(len(source)).split(512):
        batch = source.take(part)
        real = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
        real = real.reshape(len(batch), -1)  # a class is a single number
        count = (real * torch.arange(1, real.shape[1] + 1)).amax(1)
        if given_end is not None and batch.cond is not None:
            count = count + said(batch.cond, given_end).sum(1)
        out.append(count)
    return torch.cat(out)


class Stream:
    """Endless shuffled batches. Batch ``position`` depends on the seed and the position only.

    Every epoch is a fresh permutation and every row appears once in it; a batch may straddle two epochs. With
    several ranks each takes its own slice of a global batch of ``batch_size * world`` rows.

    Args:
        source: rows by number.
        batch_size: rows in each batch of this rank.
        seed: of the order, of draws and of the augmentation.
        rank, world: which slice is ours.
        augment: ``(batch, rng) -> batch`` applied to each, or None.
        lengths: of the rows, ``(N,)``: a batch holds rows of about one length then, so that little of it is padding.
            Batches of all lengths still come in random order.
        device: where batches are delivered.

    Raises:
        DataError: there are fewer rows than one global batch.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        augment: Callable[[Batch, Rng], Batch] | None = None,
        lengths: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(source) < batch_size * world:
            raise DataError(
                f"the training part has {len(source)} rows, fewer than the batch of {batch_size * world}; "
                f"give more data or --set train.batch={max(1, len(source) // world // 2)}"
            )
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.rank, self.world, self.augment, self.device = rank, world, augment, torch.device(device)
        self.lengths, self.position = lengths, 0
        self._orders: dict[int, Tensor] = {}

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        first = (self.position * self.world + self.rank) * self.batch_size
        rows, rng = (
            self._rows(first, first + self.batch_size),
            Rng(self.seed * 1_000_003 + self.position * self.world + self.rank),
        )
        draw = getattr(self.source, "draw", None)
        batch = self.source.take(rows) if draw is None else draw(rows, rng.fork("draw"))
        if self.augment is not None:
            batch = self.augment(batch, rng)
        self.position += 1
        return batch.to(self.device)

    def _rows(self, first: int, last: int) -> Tensor:
        n = len(self.source)
        parts = []
        while first < last:
            epoch, offset = divmod(first, n)
            take = min(last - first, n - offset)
            parts.append(self._order(epoch)[offset : offset + take])
            first += take
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            rng = Rng(self.seed + 7919 * epoch)
            order = rng.permutation(len(self.source))
            self._orders[epoch] = order if self.lengths is None else self._sorted(order, self.lengths, epoch, rng)
        return self._orders[epoch]

    def _sorted(self, order: Tensor, lengths: Tensor, epoch: int, rng: Rng) -> Tensor:
        """``order`` with rows of like length in each batch: stretches of 32 batches are sorted, and their batches shuffled."""
        size = self.batch_size * self.world
        first = -epoch * len(order) % size  # rows that complete the last batch of the epoch before
        out = [order[:first]]
        for stretch in order[first:].split(32 * size):
            batches = list(stretch[lengths[stretch].sort(stable=True).indices].split(size))
            whole = [b for b in batches if len(b) == size]
            out += [whole[i] for i in rng.permutation(len(whole)).tolist()]
            out += batches[len(whole) :]
        return torch.cat(out)
