"""n-grams: counts by hand, order of arrival, what is learned and what is refused."""

from collections import Counter

import pytest
import torch

from bottega.codecs.text import TextCodec
from bottega.core import Batch, Edits, RecipeError, Rng, Scores, Spec, SpecError, Streams, has
from bottega.data import worlds
from bottega.families.ngram import NGram
from helpers import trained


def counted(model, *batches):
    for batch in batches:
        model.loss(batch, Rng(0))
        model.settle(0)
    return model


def test_capabilities():
    assert all(has(NGram(Spec((4,), vocab=3), size=1), c) for c in (Scores, Streams, Edits))


def test_counts_are_those_of_the_texts():
    model = NGram(Spec((30,), vocab=4), size=1, order=3)
    x = Rng(0).integers(4, 20, 30)
    mask = torch.arange(30) < 5 + torch.arange(20)[:, None]
    counted(model, *Batch(x, mask=mask).split(4))
    by_hand = [Counter() for _ in range(3)]
    for row, real in zip(x.tolist(), mask.tolist(), strict=True):
        text = [4, 4, *row[: sum(real)]]
        for i in range(2, len(text)):
            for k in range(3):
                by_hand[k][tuple(text[i - k : i + 1])] += 1
    for k in range(3):
        assert int(model.counts[k].sum()) == sum(by_hand[k].values())
        assert int((model.counts[k] > 0).sum()) == len(by_hand[k])
        assert sorted(model.counts[k][model.counts[k] > 0].tolist()) == sorted(by_hand[k].values())
        keys = model.keys[k][: len(by_hand[k])]
        assert (keys[1:] > keys[:-1]).all()


def test_probability_is_the_formula():
    """Order 2 by hand, weights set."""
    model = counted(NGram(Spec((4,), vocab=3), size=1, order=2), Batch(torch.tensor([[0, 1, 0, 1], [0, 2, 0, 1]])))
    with torch.no_grad():
        model.mix.zero_()  # every weight one half
    p0 = 1 / 3

    def p1(n):
        return 0.5 * (n + 1 / 3) / (8 + 1) + 0.5 * p0

    def p2(n, total, below):
        return 0.5 * (n + 1 / 3) / (total + 1) + 0.5 * below

    want = p2(2, 2, p1(4)) * p2(1, 4, p1(1))  # begins with 0 (twice of 2); 2 follows 0 (once of 4)
    begun = Batch(torch.tensor([[0, 2, 1, 1]]), mask=torch.tensor([[True, True, False, False]]))
    got = model.log_prob(begun, Rng(0))
    assert got.exp().item() == pytest.approx(want, rel=1e-5)


def test_steps_say_what_log_prob_says():
    model = counted(NGram(Spec((10,), vocab=5), size=1, order=4), Batch(Rng(1).integers(5, 30, 10)))
    x = Rng(2).integers(5, 6, 10)
    step = model.step(6)
    logits = [step(x[:, :0])] + [step(x[:, i : i + 1]) for i in range(9)]
    nats = sum(step_logits.log_softmax(1).gather(1, x[:, i : i + 1])[:, 0] for i, step_logits in enumerate(logits))
    torch.testing.assert_close(nats, model.log_prob(Batch(x), Rng(0)))


def test_a_full_table_counts_what_it_has():
    model = NGram(Spec((50,), vocab=30), size=1, order=4)
    x = Rng(0).integers(30, 80, 50)
    counted(model, *Batch(x).split(4))
    assert int((model.counts[3] > 0).sum()) == 1000
    total = model.counts[3].sum()
    counted(model, Batch(x))
    assert model.counts[3].sum() >= total + 1000
    every = torch.arange(30)[:, None].expand(-1, 50)
    first = Batch(every, mask=(torch.arange(50) < 1).expand(30, -1))
    assert model.log_prob(first, Rng(0)).exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_longer_contexts_help_and_one_pass_comes_near_the_entropy():
    data = worlds.load("grammar", n=2400, depth=1)
    codec = TextCodec(tokenizer="char", unit="line", length=64)
    codec.fit(data.items)
    train, held = codec.encode(data.items[:2000]), codec.encode(data.items[2000:])
    nats = {}
    for order in (2, 6):
        torch.manual_seed(0)
        model = trained(NGram(codec.spec, size=20, order=order), train, 60, lr=0.03, rows=32)
        nats[order] = -model.log_prob(held, Rng(0)).mean().item()
    assert nats[6] < 0.7 * nats[2]
    assert data.truth["entropy_nats"] < nats[6] < 1.5 * data.truth["entropy_nats"]
    texts = [item.value for item in codec.decode(model.sample(200, Rng(1)))]
    assert sum(map(data.truth["is_member"], texts)) > 15  # of 200: what stands far off is forgotten


def test_a_step_that_is_undone_is_not_counted():
    model = NGram(Spec((4,), vocab=3), size=1)
    model.loss(Batch(torch.zeros(2, 4, dtype=torch.long)), Rng(0))
    model.forget()
    model.settle(0)
    assert not model.counts.any()


def test_bad_values_are_refused():
    with pytest.raises(RecipeError, match="order"):
        NGram(Spec((4,), vocab=50_000), order=9)
    with pytest.raises(RecipeError, match="at least 1"):
        NGram(Spec((4,), vocab=3), size=0)
    with pytest.raises(SpecError, match="seq2seq"):
        NGram(Spec((4,), vocab=3, cond=Spec((5,), vocab=3)))
