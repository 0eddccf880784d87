"""Batches by number: every row once an epoch, slices for ranks, resumed by one number."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from bottega.core import Batch, DataError, Encoded
from bottega.data.stream import Stream

SOURCE = Encoded(Batch(torch.arange(10)))


def rows(stream, batches):
    return [next(stream).x.tolist() for _ in range(batches)]


@pytest.mark.parametrize("size", [1, 3, 4, 10])
def test_every_row_appears_once_in_every_epoch(size):
    flat = sum(rows(Stream(SOURCE, size), 40), [])
    epochs = [flat[i : i + 10] for i in range(0, len(flat) - 9, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_a_batch_depends_on_seed_and_position_only():
    want = rows(Stream(SOURCE, 3, seed=5), 12)
    for position in (0, 3, 7, 11):
        stream = Stream(SOURCE, 3, seed=5)
        stream.position = position
        assert next(stream).x.tolist() == want[position]
        assert stream.position == position + 1
    assert rows(Stream(SOURCE, 3, seed=6), 12) != want


def test_ranks_share_a_global_batch():
    ranks = [rows(Stream(SOURCE, 2, seed=1, rank=r, world=2), 10) for r in (0, 1)]
    together = [a + b for a, b in zip(*ranks, strict=True)]
    assert together == rows(Stream(SOURCE, 4, seed=1), 10)
    assert Counter(sum(together, [])) == dict.fromkeys(range(10), 4)


def test_augmentation_depends_on_seed_and_position_and_differs_between_ranks():
    def noisy(batch, rng):
        return Batch(batch.x + rng.uniform(len(batch)))

    def stream(**settings):
        return Stream(SOURCE, 4, augment=noisy, **settings)

    one = [next(s := stream(seed=3)).x, next(s).x]
    again = stream(seed=3)
    again.position = 1
    assert torch.equal(next(again).x, one[1])
    assert not torch.equal(one[0] % 1, one[1] % 1)
    ranks = [next(stream(seed=3, rank=r, world=2)).x % 1 for r in (0, 1)]
    assert not torch.equal(*ranks)


@pytest.mark.parametrize(("size", "world"), [(11, 1), (6, 2)])
def test_fewer_rows_than_the_batch_are_refused_with_a_batch_that_fits(size, world):
    with pytest.raises(DataError, match=rf"has 10 rows, fewer than the batch of {size * world}; .*train\.batch=\d+"):
        Stream(SOURCE, size, world=world)
