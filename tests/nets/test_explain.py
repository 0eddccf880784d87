"""Attributions: exact where they can be known, complete everywhere, and they find a planted cause."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.helpers import trained
from torch import nn

from bottega.core import Batch, Explains, RecipeError, Rng, Spec, has
from bottega.families.bert import BERT
from bottega.families.gpt import GPT
from bottega.families.reader import Reader
from bottega.families.seq2seq import Seq2Seq
from bottega.nets.explain import attribute


def _embed(vocab=5, width=3, extra=1):
    torch.manual_seed(0)
    return nn.Embedding(vocab + extra, width)


def test_of_a_linear_score_both_ways_are_exact():
    embed, w = _embed(), torch.tensor([1.0, -2.0, 0.5])
    x = torch.tensor([[0, 3, 5], [4, 4, 1]])  # 5 is no token: a blank
    weight = torch.tensor([1.0, 10.0, 100.0])
    nothing = embed.weight[:5].mean(0)
    true = ((embed(x) - nothing) @ w * weight).detach()
    true[0, 2] = 0
    for by, points in (("integrated", 1), ("integrated", 7), ("gradient", 3)):
        found = attribute([embed], lambda: (embed(x) @ w * weight).sum(1), 5, by=by, points=points)
        torch.testing.assert_close(found.parts, true, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.parts.sum(1), found.score - found.base, atol=1e-4, rtol=1e-4)


def test_a_beginning_stays_as_it_is():
    embed, x = _embed(), torch.tensor([[0, 3, 1], [4, 4, 1]])
    score = lambda: embed(x).square().sum((1, 2))  # noqa: E731
    found = attribute([embed], score, 5, still=2)
    assert found.parts[:, :2].abs().max() == 0
    torch.testing.assert_close(found.parts.sum(1), found.score - found.base)


def test_integrated_gradients_of_a_square_are_known_and_gradient_times_input_doubles_them():
    embed = _embed(width=2)
    with torch.no_grad():
        embed.weight[:5] -= embed.weight[:5].mean(0)
    x = torch.tensor([[0, 1, 2, 3]])
    score = lambda: embed(x).square().sum((1, 2))  # noqa: E731
    true = embed(x).square().sum(2).detach()
    torch.testing.assert_close(attribute([embed], score, 5, points=2).parts, true)
    torch.testing.assert_close(attribute([embed], score, 5, by="gradient").parts, 2 * true)


def test_of_two_calls_the_parts_stand_side_by_side():
    embed = _embed()
    a, b = torch.tensor([[0, 1]]), torch.tensor([[2, 3, 4]])
    found = attribute([embed], lambda: embed(a).sum((1, 2)) - embed(b).sum((1, 2)), 5)
    nothing = embed.weight[:5].mean(0)
    true = torch.cat([(embed(a) - nothing).sum(2), -(embed(b) - nothing).sum(2)], 1)
    torch.testing.assert_close(found.parts, true.detach(), atol=1e-5, rtol=1e-4)


def test_unknown_ways_are_refused_and_the_embedding_is_left_as_it_was():
    embed = _embed()
    with pytest.raises(RecipeError, match="integrated or gradient"):
        attribute([embed], lambda: embed(torch.tensor([[1]])).sum((1, 2)), 5, by="magic")

    def broken():
        embed(torch.tensor([[1]]))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attribute([embed], broken, 5)
    assert not embed._forward_hooks


# --- gpt ------------------------------------------------------------------------------------------------------------

LONG, NOISE, KINDS = 24, 20, 4


def triggers(n, seed):
    """Noise, in which one of four triggers stands somewhere; it alone decides the last token. And where it stands."""
    rng = Rng(seed)
    x = rng.integers(NOISE, n, LONG)
    place, kind = rng.integers(LONG - 1, n), rng.integers(KINDS, n)
    rows = torch.arange(n)
    x[rows, place] = NOISE + kind
    x[:, -1] = NOISE + KINDS + kind
    return x, place


SPEC = Spec((LONG,), vocab=NOISE + 2 * KINDS)


@pytest.fixture(scope="module")
def reader():
    """A small GPT that has learned what triggers do."""
    torch.manual_seed(0)
    model = GPT(SPEC, size=2)
    x, _ = triggers(8000, 0)
    weight = torch.arange(LONG) == LONG - 1
    return trained(model, Batch(x, None, weight.expand_as(x)), 300, 3e-3)


def _ranks(model, by, n=200):
    x, place = triggers(n, 9)
    found = model.attribute(Batch(x), torch.full((n,), LONG - 1), by=by)
    order = found.parts.abs().argsort(1, descending=True)
    return (order == place[:, None]).float().argmax(1), found


def test_the_planted_trigger_is_among_the_top_three(reader):
    x, _ = triggers(500, 5)
    keep = torch.arange(LONG) < LONG - 1
    told = reader.edit(Batch(x), keep.expand_as(x), Rng(0), temperature=0.0)[:, -1]
    assert (told == x[:, -1]).float().mean() > 0.97, "it has not learned what is to be explained"
    for by in ("integrated", "gradient"):
        ranks, _ = _ranks(reader, by)
        assert (ranks < 3).float().mean() >= 0.8, by
    looked = reader.attend(Batch(triggers(200, 9)[0]))[:, :, :, -1]  # of the last token
    best = looked.flatten(1, 2).amax(1).argsort(1, descending=True)
    assert ((best == triggers(200, 9)[1][:, None]).float().argmax(1) < 3).float().mean() >= 0.8


def test_a_model_that_learned_nothing_points_nowhere():
    torch.manual_seed(1)
    ranks, _ = _ranks(GPT(SPEC, size=2).eval(), "integrated")
    assert (ranks < 3).float().mean() < 0.35


def test_parts_sum_to_what_was_gained(reader):
    batch, at = Batch(triggers(60, 9)[0]), torch.full((60,), LONG - 1)
    gaps = {}
    for points in (8, 32, 128):
        found = reader.attribute(batch, at, points=points)
        gained = found.score - found.base
        gaps[points] = (found.parts.sum(1) - gained).abs()
    assert gained.abs().median() > 2, "knowing the tokens changes much"
    assert gaps[128].max() < 0.01
    assert gaps[32].mean() < 0.3 < gaps[8].mean()


def test_nothing_behind_a_token_moves_it_and_rows_are_alone(reader):
    assert has(reader, Explains)
    x, _ = triggers(6, 3)
    at = torch.tensor([0, 1, 5, 9, 17, 23])
    found = reader.attribute(Batch(x), at)
    for row, place in enumerate(at.tolist()):
        assert found.parts[row, place:].abs().max() == 0
    assert found.parts[0].abs().max() == 0
    alone = reader.attribute(Batch(x[3:4]), at[3:4])
    torch.testing.assert_close(alone.parts, found.parts[3:4], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.score.sum(), _score(reader, x, at), atol=1e-4, rtol=1e-4)


def _score(model, x, at):
    early, until = (torch.arange(LONG) < at[:, None] + k for k in (0, 1))
    return sum(s * model.log_prob(Batch(x, None, m), Rng(0)).sum() for s, m in ((1, until), (-1, early)))


def test_attention_maps_are_those_of_the_naive_formula():
    torch.manual_seed(0)
    for heads in (1, 2):
        model = GPT(Spec((6,), vocab=7), size=1, width=8, heads=heads).eval()
        x = Rng(0).integers(7, 2, 6)
        maps = model.attend(Batch(x))
        assert maps.shape == (2, 1, heads, 6, 6)
        layer = model.body.layers[0]
        h = layer.before_attention(model.embed(F.pad(x[:, :-1], (1, 0), value=7)))
        q, k = (t.view(2, 6, heads, -1).transpose(1, 2) for t in (layer.attention.q(h), layer.attention.k(h)))
        turn = model.body.rotary.angles(0, 6)
        q, k = (model.body.rotary.turn(t, *turn) for t in (q, k))
        scores = q @ k.transpose(2, 3) / (8 // heads) ** 0.5
        weights = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf).softmax(3)
        torch.testing.assert_close(maps[:, 0, :, :, :5], weights[..., 1:])
        assert (maps.sum(-1) <= 1 + 1e-6).all()
        assert maps[:, :, :, 0].abs().max() == 0, "nothing stands before the first token"


# --- families that read both ways, or a text given a text -------------------------------------------------------------

TEXT = Spec((8,), vocab=12)
LABELS = {
    "class": Spec((), vocab=3, cond=TEXT),
    "tags": Spec((8,), vocab=4, cond=TEXT),
    "span": Spec((2,), vocab=8, cond=TEXT),
}


def _family(name):
    torch.manual_seed(0)
    if name == "bert":
        model, x, cond = BERT(TEXT, size=1), Rng(0).integers(11, 5, 8), None
    elif name == "seq2seq":
        model, x, cond = (
            Seq2Seq(Spec((6,), vocab=12, cond=TEXT), size=1),
            Rng(1).integers(11, 5, 6),
            Rng(2).integers(11, 5, 8),
        )
    else:
        spec = LABELS[name]
        model, x, cond = Reader(spec, size=1), Rng(1).integers(spec.vocab, 5, *spec.shape), Rng(2).integers(11, 5, 8)
    if cond is not None:
        cond[2:, 6:] = 11  # an end, and padding
    for p in model.parameters():  # so that something moves
        if p.ndim == 2:
            p.data.mul_(3)
    return model.eval(), Batch(x, cond)


@pytest.mark.parametrize(
    "name", ["bert", "seq2seq", *(pytest.param(n, marks=pytest.mark.slow) for n in ("class", "tags", "span"))]
)
def test_every_family_of_texts_explains_itself(name):
    model, batch = _family(name)
    assert has(model, Explains)
    given = 0 if batch.cond is None else 8
    at = torch.tensor([0, 1, 2, 1, 0]).clamp(max=model.spec.dims - 1)
    found = model.attribute(batch, at, points=256)
    assert found.parts.shape == (5, given + model.spec.dims)
    gained = found.score - found.base
    assert gained.abs().max() > 0.05
    torch.testing.assert_close(found.parts.sum(1), gained, atol=5e-3, rtol=5e-3)
    rough = model.attribute(batch, at, by="gradient")
    assert rough.parts.shape == found.parts.shape
    torch.testing.assert_close(rough.score, found.score)
    alone = model.attribute(batch.take(slice(3, 4)), at[3:4], points=256)
    torch.testing.assert_close(alone.parts, found.parts[3:4], atol=1e-4, rtol=1e-3)
    maps = model.attend(batch)
    assert maps.shape[0] == 5
    assert maps.shape[3:] == (model.spec.dims, given + model.spec.dims)
    assert maps[..., :given].sum(-1).max() <= 1 + 1e-5
    if given:
        assert found.parts[2:, 7].abs().max() == 0, "padding moves nothing"
        assert maps[2:, :, :, :, 7].abs().max() == 0
    if name == "seq2seq":
        assert found.parts[:, 8:][torch.arange(6) >= at[:, None]].abs().max() == 0
        torch.testing.assert_close(maps[..., 8:].sum(-1).amax(), torch.tensor(1.0), atol=0.5, rtol=0)
    elif name == "bert":
        assert found.parts[torch.arange(5), at].abs().max() == 0, "the hidden token does not give itself away"
    else:
        assert found.parts[:, 8:].abs().max() == 0
    if name in LABELS or name == "seq2seq":
        whole = sum(model.attribute(batch, torch.full((5,), k), by="gradient").score for k in range(model.spec.dims))
        torch.testing.assert_close(whole, model.log_prob(batch, Rng(0)), atol=1e-3, rtol=1e-4)
    elif name == "bert":
        whole = sum(model.attribute(batch, torch.full((5,), k), by="gradient").score for k in range(8))
        torch.testing.assert_close(whole, model.log_prob(batch, Rng(0)), atol=1e-3, rtol=1e-4)
