"""The transformer: positions, causality, grouped queries, cache, and the arithmetic of Llama."""

import pytest
import torch
import torch.nn.functional as F

from bottega.core import Rng
from bottega.nets.transformer import Rotary, Transformer


def stack(**options):
    torch.manual_seed(0)
    return Transformer(32, 2, 4, **options)


def test_rotary_dot_product_depends_on_the_distance_only():
    rotary = Rotary(8)
    q, k = torch.randn(2, 1, 1, 1, 8).unbind(0)
    cos, sin = rotary.angles(0, 40)
    at = [Rotary.turn(t.expand(1, 1, 40, 8), cos, sin)[0, 0] for t in (q, k)]
    near = [(at[0][p + 3] @ at[1][p]).item() for p in range(30)]
    assert max(near) - min(near) < 1e-5
    assert abs((at[0][4] @ at[1][0]).item() - near[0]) > 1e-4
    torch.testing.assert_close(at[0].norm(dim=-1), q.norm().expand(40))


def test_rotary_angles_start_anywhere():
    rotary = Rotary(6)
    for whole, part in zip(rotary.angles(0, 10), rotary.angles(4, 3), strict=True):
        torch.testing.assert_close(whole[4:7], part)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_causal_sees_no_future_and_full_sees_all(kv_heads):
    x = torch.randn(2, 9, 32)
    changed = x.clone()
    changed[:, 5] += 1
    causal, full = stack(kv_heads=kv_heads), stack(kv_heads=kv_heads, causal=False)
    moved = (causal(x) - causal(changed)).abs().amax((0, 2))
    assert (moved[:5] == 0).all()
    assert (moved[5:] > 0).all()
    assert ((full(x) - full(changed)).abs().amax((0, 2)) > 0).all()


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("pieces", [[1] * 9, [4, 1, 1, 3], [9]])
def test_cache_gives_what_no_cache_gives(kv_heads, pieces):
    body, x = stack(kv_heads=kv_heads), torch.randn(3, 9, 32)
    cache = body.cache(3, 12)
    with torch.no_grad():
        parts = [body(piece, cache=cache) for piece in x.split(pieces, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), body(x), atol=1e-5, rtol=1e-5)
    assert cache.filled == 9


@pytest.mark.parametrize("causal", [False, True])
def test_masked_positions_are_not_seen(causal):
    body, x = stack(causal=causal), torch.randn(2, 6, 32)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    changed = x.clone()
    changed[0, 4:] = 7.0
    a, b = body(x, mask=mask), body(changed, mask=mask)
    assert torch.equal(a[0, :4], b[0, :4])
    torch.testing.assert_close(a[0, :4], body(x[:1, :4])[0], atol=1e-5, rtol=1e-5)


def test_grouped_queries_equal_plain_attention_with_repeated_keys():
    grouped, plain = stack(kv_heads=2), stack()
    weights = grouped.state_dict()
    for name in list(weights):
        if ".k." in name or ".v." in name:
            weights[name] = weights[name].unflatten(0, (2, 8)).repeat_interleave(2, 0).flatten(0, 1)
    plain.load_state_dict(weights)
    x = torch.randn(2, 7, 32)
    torch.testing.assert_close(grouped(x), plain(x), atol=1e-5, rtol=1e-5)


def test_one_layer_is_llamas_arithmetic():
    """Against the formulas of the LLaMA paper written out, one head at a time, in float64."""
    torch.manual_seed(1)
    body = Transformer(16, 1, 2, kv_heads=1, hidden=24).double()
    x, layer = torch.randn(1, 5, 16, dtype=torch.float64), body.layers[0]

    def norm(t, module):
        return t / (t.square().mean(-1, keepdim=True) + 1e-5).sqrt() * module.weight

    def turn(t):  # pairs (i, i + 4), angle p * 10000 ** (-2 i / 8)
        out = t.clone()
        for p in range(5):
            for i in range(4):
                a = torch.tensor(p * 10000 ** (-2 * i / 8), dtype=torch.float64)
                out[p, i] = t[p, i] * a.cos() - t[p, i + 4] * a.sin()
                out[p, i + 4] = t[p, i + 4] * a.cos() + t[p, i] * a.sin()
        return out

    h, att = norm(x[0], layer.before_attention), layer.attention
    heads = []
    for i in range(2):
        q, k, v = turn(h @ att.q.weight[8 * i : 8 * i + 8].T), turn(h @ att.k.weight.T), h @ att.v.weight.T
        score = (q @ k.T / 8**0.5).masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
        heads.append(score.softmax(-1) @ v)
    y = x[0] + torch.cat(heads, -1) @ att.o.weight.T
    h, feed = norm(y, layer.before_feed), layer.feed
    y = y + (F.silu(h @ feed.gate.weight.T) * (h @ feed.up.weight.T)) @ feed.down.weight.T
    torch.testing.assert_close(body(x)[0], norm(y, body.norm), atol=1e-6, rtol=1e-6)


def test_dropout_is_drawn_from_rng_and_keeps_the_mean():
    body, x = stack(), torch.randn(2, 5, 32)
    assert torch.equal(body(x, dropout=0.3, rng=Rng(1)), body(x, dropout=0.3, rng=Rng(1)))
    assert not torch.equal(body(x, dropout=0.3, rng=Rng(1)), body(x, dropout=0.3, rng=Rng(2)))
    assert torch.equal(body(x, dropout=0.0), body(x))


def test_gradient_reaches_every_weight():
    body = stack(kv_heads=2)
    body(torch.randn(2, 5, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in body.parameters())


def test_bad_heads_are_refused():
    with pytest.raises(ValueError, match="heads must divide"):
        Transformer(30, 1, 4)
    for wrong in ({"depth": -1}, {"heads": -2}, {"kv_heads": -1}):
        with pytest.raises(ValueError, match="none may be below 1"):
            Transformer(**{"width": 8, "depth": 1, "heads": 2, **wrong})
    with pytest.raises(ValueError, match="kv_heads must divide"):
        Transformer(32, 1, 4, kv_heads=3)
