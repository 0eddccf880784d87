"""Sequence to sequence: exact probabilities, padding, the cache, prompts, and a reversal that is learned."""

import pytest
import torch

from bottega.core import Batch, RecipeError, Rng, Spec, SpecError
from bottega.families.seq2seq import Seq2Seq
from bottega.training.loop import fit
from bottega.training.optim import make_optims

PAIRS = Spec((10,), vocab=9, cond=Spec((10,), vocab=9))


def reversals(n, seed, length=10, vocab=9):
    """Rows of 1 to ``length - 1`` letters, and the same from behind; closed and padded with the last token."""
    rng = Rng(seed)
    letters, size = rng.integers(vocab - 1, n, length), 1 + rng.integers(length - 1, n)
    at = torch.arange(length)
    source = torch.where(at < size[:, None], letters, vocab - 1)
    behind = source.gather(1, (size[:, None] - 1 - at).clamp_min(0))
    return Batch(torch.where(at < size[:, None], behind, vocab - 1), source, at < size[:, None] + 1)


def small(spec=PAIRS, **options):
    torch.manual_seed(0)
    model = Seq2Seq(spec, **{"size": 2, "width": 32, "depth": 2, **options})
    with torch.no_grad():
        model.table.weight.mul_(20)
    return model.eval()


@pytest.mark.parametrize("positions", ["rotary", "relative", "learned"])
def test_a_text_read_at_once_is_as_likely_as_one_made_token_by_token(positions):
    model, batch = small(positions=positions), reversals(5, 1)
    whole = model.log_prob(batch, Rng(0))
    step, by_step = model.step(5, batch.cond), torch.zeros(5)
    fresh = torch.zeros(5, 0, dtype=torch.long)
    for i in range(10):
        log_p = step(fresh).log_softmax(1)
        by_step += torch.where(batch.mask[:, i], log_p.gather(1, batch.x[:, i, None])[:, 0], 0.0)
        fresh = batch.x[:, i, None]
    torch.testing.assert_close(by_step, whole, atol=1e-4, rtol=1e-4)


def test_what_stands_behind_the_end_of_the_given_text_is_not_read():
    model, batch = small(), reversals(6, 2)
    longer = Seq2Seq(Spec((10,), vocab=9, cond=Spec((14,), vocab=9)), size=2, width=32, depth=2).eval()
    longer.load_state_dict(model.state_dict())
    more = Batch(batch.x, torch.nn.functional.pad(batch.cond, (0, 4), value=8), batch.mask)
    torch.testing.assert_close(longer.log_prob(more, Rng(0)), model.log_prob(batch, Rng(0)), atol=1e-5, rtol=1e-5)
    assert (model.log_prob(batch, Rng(0)) - model.log_prob(Batch(batch.x, None, batch.mask), Rng(0))).abs().min() > 1e-3


def test_smoothing_moves_the_loss_and_not_the_likelihood():
    plain, smooth = small(), small(smooth=0.2)
    batch = reversals(4, 3)
    torch.testing.assert_close(plain.log_prob(batch, Rng(0)), smooth.log_prob(batch, Rng(0)))
    terms = smooth.loss(batch, Rng(0))
    torch.testing.assert_close(terms.parts["nll"], plain.loss(batch, Rng(0)).total)
    logits = torch.randn(9)
    even = torch.logsumexp(logits, 0) - logits.mean()  # the cross-entropy of the even distribution
    torch.testing.assert_close(even, torch.nn.functional.cross_entropy(logits[None], torch.full((1, 9), 1 / 9)))
    assert (terms.parts["smooth"].abs() > 1e-3).all()


def test_a_beginning_is_continued():
    model, batch = small(), reversals(3, 4)
    begun = Batch(batch.x[:, :2], batch.cond)
    keep = torch.ones_like(begun.x, dtype=torch.bool)
    made = model.edit(begun, keep, Rng(0), max_new=5, temperature=0.0)
    assert made.shape == (3, 7)
    assert torch.equal(made[:, :2], begun.x)
    alone = model.edit(begun.take(slice(1, 2)), keep[:1], Rng(0), max_new=5, temperature=0.0)
    assert torch.equal(alone[0], made[1])
    for wrong in (0, 9):
        with pytest.raises(RecipeError, match="10 in all"):
            model.edit(begun, keep, Rng(0), max_new=wrong)


def test_texts_need_a_text_that_is_given():
    with pytest.raises(SpecError, match=r"codec\.given"):
        Seq2Seq(Spec((10,), vocab=9))
    with pytest.raises(SpecError, match="family gpt"):
        Seq2Seq(Spec((1, 4, 4), vocab=5, cond=Spec((4,), vocab=5)))
    with pytest.raises(RecipeError, match="smooth=1"):
        Seq2Seq(PAIRS, smooth=1.0)


@pytest.mark.slow
def test_it_learns_to_reverse():
    """Row F4: every row of 500 that it never saw, each of 1 to 9 letters, is reversed exactly."""
    torch.manual_seed(0)
    model = Seq2Seq(PAIRS, size=2, width=64, depth=2)

    def batches():
        seed = 1000
        while True:
            seed += 1
            yield reversals(64, seed)

    fit(model, batches(), make_optims(model, 600, {"lr": 3e-3}), steps=600, rng=Rng(1))
    batch = reversals(500, 3)
    made = model.eval().sample(500, Rng(0), batch.cond, temperature=0.0)
    assert ((made == batch.x) | ~batch.mask).all()


class _Soonest(Rng):
    """Draws the shortest wait: the first token sees one given token."""

    def uniform(self, *shape):
        return torch.zeros(*shape)


def test_one_that_waits_sees_as_much_of_the_given_text_as_it_has_waited_for():
    model, batch = small(waits=True), reversals(6, 5)
    torch.testing.assert_close(model.encoder(batch.cond)[:, :4], model.encoder(batch.cond[:, :3]))
    other = batch.cond.clone()
    other[:, 3:] = (other[:, 3:] + 1) % 8
    for i in range(6):  # token i is said after i + 1 of those given
        only = torch.zeros(6, 10, dtype=torch.bool)
        only[:, i] = True
        a, b = (model._nll(Batch(batch.x, c, only), _Soonest(0), training=True)[0] for c in (batch.cond, other))
        torch.testing.assert_close(a, b) if i < 3 else pytest.raises(AssertionError, torch.testing.assert_close, a, b)
    whole = [model.log_prob(Batch(batch.x, c, batch.mask), Rng(0)) for c in (batch.cond, other)]
    assert (whole[0] - whole[1]).abs().min() > 1e-3
