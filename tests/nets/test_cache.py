"""Caches: what is remembered is what was read, in one piece or in blocks, for rows that come, go, branch and take back."""

import pytest
import torch

from bottega.core import Rng
from bottega.nets.cache import PagedCache
from bottega.nets.transformer import Transformer

KINDS = {
    "rotary": {"kv_heads": 2},
    "learned": {"norm": "layer", "feed": "gelu", "positions": "learned", "length": 64, "bias": True},
    "relative": {"positions": "relative", "feed": "relu"},
}
MADE = ["static", "paged"]


def body(kind):
    torch.manual_seed(0)
    return Transformer(32, 2, 4, **KINDS[kind]).eval()


def new(net, made, n):
    return net.cache(n, 64) if made == "static" else net.paged(n, 64, block=4)


def padded(rows):
    """Rows of unequal length as one tensor, and how long each is."""
    counts = torch.tensor([len(r) for r in rows])
    out = torch.full((len(rows), int(counts.max()), 32), 9.0)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out, counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", MADE)
@torch.no_grad()
def test_rows_of_unequal_length_read_in_parts_are_the_rows_read_whole_and_alone(kind, made):
    net, rng = body(kind), Rng(1)
    rows = [rng.normal(size, 32) for size in (13, 5, 21, 8)]
    truth = [net(row[None])[0] for row in rows]
    cache = new(net, made, 4)
    at = [0, 0, 0, 0]
    for sizes in ([4, 5, 9, 1], [0, 0, 7, 1], [9, 0, 1, 1], [0, 0, 4, 5]):
        parts = [row[a : a + s] for row, a, s in zip(rows, at, sizes, strict=True)]
        x, counts = padded(parts)
        out = net(x, cache=cache.expect(counts))
        for i, size in enumerate(sizes):
            torch.testing.assert_close(out[i, :size], truth[i][at[i] : at[i] + size], atol=1e-5, rtol=1e-5)
            at[i] += size
    assert at == cache.lengths.tolist() == [13, 5, 21, 8]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_even_rows_one_position_at_a_time(kind):
    net, x = body(kind), Rng(1).normal(3, 20, 32)
    truth = net(x)
    for made in MADE:
        cache = new(net, made, 3)
        first = net(x[:, :7], cache=cache)
        rest = [net(x[:, i : i + 1], cache=cache) for i in range(7, 20)]
        torch.testing.assert_close(torch.cat([first, *rest], 1), truth, atol=1e-5, rtol=1e-5)
        assert cache.even
        assert cache.filled == 20


@pytest.mark.parametrize("made", MADE)
@torch.no_grad()
def test_rows_branch_go_back_and_go_on(made):
    net, rng = body("rotary"), Rng(2)
    x, more = rng.normal(2, 10, 32), rng.normal(5, 6, 32)
    cache = new(net, made, 2)
    net(x, cache=cache)
    rows = torch.tensor([1, 0, 1, 1, 0])
    cache.take(rows)
    net(more + 1, cache=cache)
    counts = torch.tensor([6, 8, 7, 6, 10])
    cache.back(counts)
    for i in range(5):
        kept = torch.cat([x[rows[i]], more[i] + 1])[: 16 - counts[i]]
        truth = net(torch.cat([kept, more[i]])[None])[0, -6:]
        if i == 0:
            out = net(more, cache=cache)
        torch.testing.assert_close(out[i], truth, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_join_and_leave_a_paged_cache_while_others_go_on():
    net, rng = body("rotary"), Rng(3)
    cache = net.paged(0, 64, block=4)
    assert isinstance(cache, PagedCache)
    texts = {name: rng.normal(30, 32) for name in "abcde"}
    truth = {name: net(row[None])[0] for name, row in texts.items()}
    inside, at = [], dict.fromkeys(texts, 0)
    events = {0: ["+a", "+b"], 3: ["+c"], 6: ["-a"], 8: ["+d", "+e"], 12: ["-c", "-b"]}
    for time in range(16):
        for sign, name in events.get(time, []):
            if sign == "+":
                cache.join()
                inside.append(name)
            else:
                cache.leave([inside.index(name)])
                inside.remove(name)
        sizes = [5 if at[name] == 0 else 1 for name in inside]
        x, counts = padded([texts[n][at[n] : at[n] + s] for n, s in zip(inside, sizes, strict=True)])
        out = net(x, cache=cache.expect(counts))
        for i, (name, size) in enumerate(zip(inside, sizes, strict=True)):
            torch.testing.assert_close(out[i, :size], truth[name][at[name] : at[name] + size], atol=1e-5, rtol=1e-5)
            at[name] += size
        assert cache.blocks == sum(-(-at[name] // 4) for name in inside)
    cache.leave([0, 1])
    assert cache.blocks == 0


@torch.no_grad()
def test_versions_of_a_prompt_share_its_blocks_until_they_write():
    net = body("rotary")
    cache = net.paged(1, 64, block=4)
    net(Rng(0).normal(1, 10, 32), cache=cache)
    assert cache.blocks == 3
    cache.take(torch.zeros(6, dtype=torch.long))
    assert cache.blocks == 3
    net(Rng(1).normal(6, 1, 32), cache=cache)
    assert cache.blocks == 2 + 6
    cache.back(torch.ones(6, dtype=torch.long) * 3)
    assert cache.blocks == 2


@pytest.mark.parametrize("made", MADE)
@torch.no_grad()
def test_a_row_is_renewed_by_another_cache(made):
    net, rng = body("rotary"), Rng(4)
    x, fresh, last = rng.normal(3, 12, 32), rng.normal(1, 5, 32), rng.normal(3, 1, 32)
    cache, other = new(net, made, 3), net.cache(1, 64)
    net(x, cache=cache)
    net(fresh, cache=other)
    cache.renew(torch.tensor([1]), other)
    out = net(last, cache=cache)
    for i in range(3):
        row = fresh[0] if i == 1 else x[i]
        torch.testing.assert_close(out[i], net(torch.cat([row, last[i]])[None])[0, -1:], atol=1e-5, rtol=1e-5)


def test_what_was_never_written_is_no_number_to_fear():
    """Masked keys have weight 0, and 0 times a NaN would be a NaN: fresh memory must hold numbers."""
    net = body("rotary")
    for made in MADE:
        cache = new(net, made, 2)
        x, counts = padded([torch.zeros(1, 32), torch.zeros(9, 32)])
        assert net(x, cache=cache.expect(counts)).isfinite().all()
