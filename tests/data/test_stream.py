"""Stream: what batch k is depends on the seed and on k; each epoch holds every row once; ranks share the work."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottega.core import Batch, DataError, Encoded, Source
from bottega.data.stream import Stream, tokens_of


def rows(n):
    return Encoded(Batch(torch.arange(n)[:, None], torch.arange(n) * 10))


def seen(stream, batches):
    return torch.cat([next(stream).x[:, 0] for _ in range(batches)]).tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 99))
def test_every_epoch_holds_every_row_once(n, size, seed):
    size = min(size, n)
    order = seen(Stream(rows(n), size, seed=seed), 3 * n // size + 1)
    for epoch in range(3):
        part = order[epoch * n : (epoch + 1) * n]
        assert len(set(part)) == len(part)
    assert sorted(order[:n]) == list(range(n))


def test_epochs_and_seeds_differ():
    order = seen(Stream(rows(50), 10), 15)
    assert order[:50] != order[50:100] != order[100:]
    assert seen(Stream(rows(50), 10, seed=1), 5) != order[:50]
    assert order[:50] != list(range(50))


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 23])
def test_a_stream_resumes_from_its_position(start):
    whole = Stream(rows(50), 9, seed=3)
    for _ in range(start):
        next(whole)
    resumed = Stream(rows(50), 9, seed=3)
    resumed.position = start
    assert seen(whole, 12) == seen(resumed, 12)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_take_turns_of_one_global_batch(world):
    alone = seen(Stream(rows(40), 4 * world, seed=2), 10)
    ranks = [Stream(rows(40), 4, seed=2, rank=r, world=world) for r in range(world)]
    together = [x for _ in range(10) for stream in ranks for x in seen(stream, 1)]
    assert together == alone


def test_rows_keep_their_conditions_and_augmentation_is_by_position():
    def noise(batch, rng):
        return Batch(batch.x.float() + rng.uniform(len(batch), 1), batch.cond)

    stream = Stream(rows(20), 5, augment=noise)
    first = [next(stream) for _ in range(4)]
    for batch in first:
        assert torch.equal(batch.x[:, 0].floor().long() * 10, batch.cond)
    again = Stream(rows(20), 5, augment=noise)
    again.position = 2
    assert torch.equal(next(again).x, first[2].x)
    assert len({round(v % 1, 5) for b in first for v in b.x[:, 0].tolist()}) == 20


def test_fewer_rows_than_a_batch_is_said():
    with pytest.raises(DataError, match=r"7 rows, fewer than the batch of 8; give more data or --set train.batch=3"):
        Stream(rows(7), 8)
    with pytest.raises(DataError, match="fewer than the batch of 8"):
        Stream(rows(7), 4, world=2)


def test_a_batch_is_a_source_itself():
    batch = Batch(torch.arange(6)[:, None])
    source: Source = batch
    assert sorted(seen(Stream(source, 3), 2)) == list(range(6))


def texts(n):
    sizes = torch.arange(n) % 17 + 1
    x = torch.arange(n)[:, None].expand(n, 17)
    return Encoded(Batch(x, mask=torch.arange(17) < sizes[:, None])), sizes


@pytest.mark.parametrize("n", [96, 500, 1001])
def test_batches_of_like_lengths_hold_every_row_once_and_come_in_any_order(n):
    source, sizes = texts(n)
    assert torch.equal(tokens_of(source), sizes)
    stream = Stream(source, 8, seed=4, lengths=sizes)
    batches = [next(stream) for _ in range(4 * n // 8)]
    order = torch.cat([b.x[:, 0] for b in batches]).tolist()
    for epoch in range(4):
        part = order[epoch * n : (epoch + 1) * n]
        assert len(set(part)) == len(part)
        assert epoch == 3 or len(part) == n
    padding = [1 - b.mask.float().mean().item() / (b.mask.sum(1).max().item() / 17) for b in batches]
    loose = Stream(source, 8, seed=4)
    plain = [next(loose) for _ in batches]
    much = [1 - b.mask.float().mean().item() / (b.mask.sum(1).max().item() / 17) for b in plain]
    assert sum(padding) < 0.4 * sum(much)
    longest = [int(b.mask.sum(1).max()) for b in batches[: n // 8]]
    assert longest != sorted(longest)
    again = Stream(source, 8, seed=4, lengths=sizes)
    again.position = 5
    assert torch.equal(next(again).x, batches[5].x)


def test_the_text_that_is_given_counts():
    cond = torch.tensor([[1, 9, 9, 9], [1, 2, 3, 9]])
    rows = Encoded(Batch(torch.zeros(2, 2, dtype=torch.long), cond, torch.tensor([[True, False], [True, True]])))
    assert tokens_of(rows, 9).tolist() == [3, 6]
    classes = Encoded(Batch(torch.tensor([3, 1]), rows.take(torch.arange(2)).cond))
    assert tokens_of(classes, 9).tolist() == [3, 5], "a class counts as one"
