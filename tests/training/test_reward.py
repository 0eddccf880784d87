"""Row G6: gradients of feedback beside the exact ones, on models small enough to list every piece."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bottega.core import Batch, Family, Rng, Spec
from bottega.families.rnn import RNN
from bottega.testing.cases import everything
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from bottega.training.reward import KlLimit, Preferences, Reinforce, Rollouts, Told, centred, margins

SPEC = Spec((3,), vocab=3)
WORTH = torch.tensor([0.0, 1.0, 0.3])


def model(seed=0, shake=0.4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = RNN(SPEC, size=3, kind="rnn", drop=0.0)
        with torch.no_grad():
            for p in made.parameters():
                p.add_(shake * torch.randn_like(p))
    return made


def paid(x, cond=None):
    return WORTH[x].sum(1)


def flat(grads):
    return torch.cat([g.flatten() for g in grads])


class Coin(Family):
    """Two outcomes, ``p(1) = sigmoid(t)``."""

    bound = "exact"

    def __init__(self, t=0.0):
        super().__init__(Spec((1,), vocab=2))
        self.t = nn.Parameter(torch.tensor(t))

    @classmethod
    def accepts(cls, spec):
        return ""

    def log_prob(self, batch, rng):
        return nn.functional.logsigmoid(torch.where(batch.x[:, 0] == 1, self.t, -self.t))


def test_the_gradient_of_reinforce_is_the_exact_one_in_expectation():
    policy, start, pull = model(0), model(1), 0.7
    every = everything(SPEC)
    log_p = policy.log_prob(Batch(every), Rng(0))
    with torch.no_grad():
        apart = log_p - start.log_prob(Batch(every), Rng(0))
    # d E[r] - pull d KL, written out over all 27 pieces
    goal = (log_p.exp() * (paid(every) - pull * (log_p - (log_p.detach() - apart)))).sum()
    exact = flat(torch.autograd.grad(goal, list(policy.parameters()), retain_graph=True))
    limit = KlLimit(1e9, pull)
    source, objective = Rollouts(policy, start, paid, limit, Rng(2), rows=256, draws=8), Reinforce(policy, limit)
    found = []
    for _ in range(150):
        batch = next(source)
        loss = objective.loss(batch, Rng(0)).total.mean()
        found.append(-flat(torch.autograd.grad(loss, list(policy.parameters()))))
    grads = torch.stack(found).double()
    error = grads.std(0) / math.sqrt(len(grads))
    off = (grads.mean(0) - exact.double()).abs()
    assert (off <= 3 * error + 1e-7).double().mean() >= 0.99, "parameter by parameter, 3 sigma"
    along = grads @ exact.double()
    assert abs(along.mean() - exact.double() @ exact.double()) <= 3 * along.std() / math.sqrt(len(along))


def test_the_baseline_leaves_out_its_own_row():
    assert centred(torch.tensor([1.0, 3.0, 0.0, 10.0]), 2).tolist() == [-2.0, 2.0, -10.0, 10.0]
    assert torch.allclose(centred(torch.tensor([2.0, 4.0, 9.0]), 3), torch.tensor([-4.5, -1.5, 6.0]))


def test_what_is_told_of_rows_goes_with_them():
    batch = Told(torch.arange(5)[:, None], torch.arange(5), None, {"gain": torch.arange(5.0)})
    for part in [*batch.split(3), batch.take(torch.tensor([4, 1])), batch.to("cpu")]:
        assert torch.equal(part.told["gain"], part.x[:, 0].float())


def test_reward_rises_and_the_divergence_is_held():
    policy, start = model(0), model(0)
    limit = KlLimit(0.5)
    objective = Reinforce(policy, limit)
    source = Rollouts(policy, start, paid, limit, Rng(3), rows=64)
    fit(objective, source, make_optims(objective, 150, {"lr": 0.03, "schedule": "constant"}), steps=150, rng=Rng(3))
    every = everything(SPEC)
    with torch.no_grad():
        p, q = (m.log_prob(Batch(every), Rng(0)) for m in (policy, start))
    worth, apart = (p.exp() * paid(every)).sum(), (p.exp() * (p - q)).sum()
    assert apart <= 0.5
    # of all that are as far from the start, the best is q exp(r / t)
    tilted = [(q + paid(every) / t).log_softmax(0) for t in torch.logspace(-2, 2, 400).tolist()]
    best = max((w.exp() * paid(every)).sum() for w in tilted if (w.exp() * (w - q)).sum() <= apart)
    was = (q.exp() * paid(every)).sum()
    assert worth - was >= 0.25
    assert worth - was >= 0.7 * (best - was)


def test_without_a_pull_the_alarm_fires():
    policy, start = model(0), model(0)
    limit = KlLimit(0.5, pull=0.0)
    objective = Reinforce(policy, limit)
    source = Rollouts(policy, start, paid, limit, Rng(3), rows=64)
    alarms = []
    optims = make_optims(objective, 150, {"lr": 0.03, "schedule": "constant"})
    fit(objective, source, optims, steps=150, rng=Rng(3), watch=lambda step, _: alarms.append(limit.over))
    assert any(alarms)
    assert limit.pull == 0.0


@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_the_loss_of_preferences_is_the_closed_form(beta):
    coin, start = Coin(0.8), Coin(-0.3)
    one, nought = torch.tensor([[1], [0]]), torch.tensor([[0], [1]])
    whole = torch.ones(2, 1, dtype=torch.bool)
    batch = Told(one, None, whole, {"x": nought, "mask": whole})
    with torch.no_grad():
        batch = Told(one, None, whole, {**batch.told, "start": margins(start, batch, Rng(0))})
    loss = Preferences(coin, beta).loss(batch, Rng(0)).total
    # log p(1)/p(0) of a coin is t, so the margin of the first pair is t - t0 and of the second t0 - t
    want = [math.log1p(math.exp(-beta * 1.1)), math.log1p(math.exp(beta * 1.1))]
    assert loss.tolist() == pytest.approx(want, rel=1e-5)
    (slope,) = torch.autograd.grad(loss[0], [coin.t])
    assert slope.item() == pytest.approx(-beta / (1 + math.exp(beta * 1.1)), rel=1e-5)


def test_what_counts_by_how_far_it_is():
    assert KlLimit(2.0, 0.1, mean=1.0).weights == pytest.approx((1.0, 0.1))
    assert KlLimit(2.0, 0.1, mean=1.4).weights == pytest.approx((0.5, 0.6))
    assert KlLimit(2.0, 0.1, mean=1.9).weights == pytest.approx((0.0, 1.1))
    assert KlLimit(2.0, 0.0, mean=1.9).weights == (1.0, 0.0)


def test_draws_must_fill_a_batch():
    with pytest.raises(ValueError, match="multiple"):
        Rollouts(model(), model(), paid, KlLimit(1.0), Rng(0), rows=6, draws=4)
