"""Closed forms against scipy, torch.distributions and Monte Carlo (rows A13, A16, A17)."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from bottega.core import Rng
from bottega.judge.information import (
    Bernoulli,
    Multinomial,
    Normal,
    Poisson,
    cross_entropy,
    entropy,
    entropy_of_counts,
    js,
    kl,
    kl_monte_carlo,
)

P, Q = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], dtype=torch.float64)
COV = torch.tensor([[1.0, 0.4], [0.4, 0.5]]).double()
NORMALS = Normal(torch.tensor([0.3, -1.0]).double(), COV), Normal(torch.zeros(2).double(), torch.eye(2).double())
DIST = {
    "normal": NORMALS,
    "bernoulli": (Bernoulli(0.3), Bernoulli(0.6)),
    "multinomial": (Multinomial(5, P), Multinomial(5, Q)),
    "poisson": (Poisson(3.5), Poisson(2.0)),
}


def test_discrete_values_equal_scipy():
    assert entropy(P).item() == pytest.approx(scipy.stats.entropy(P.numpy()), abs=1e-12)
    assert kl(P, Q).item() == pytest.approx(scipy.stats.entropy(P.numpy(), Q.numpy()), abs=1e-12)
    assert cross_entropy(P, Q).item() == pytest.approx(-float(sum(P[i] * math.log(Q[i]) for i in range(3))), abs=1e-12)
    assert abs(kl(P, Q) - kl(Q, P)) > 0.01  # not symmetric
    assert js(P, Q).item() == pytest.approx(js(Q, P).item())
    assert js(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).item() == pytest.approx(math.log(2))
    assert kl(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])).isinf()


@pytest.mark.parametrize("name", DIST)
def test_kl_closed_form_equals_monte_carlo(name):
    p, q = DIST[name]
    found, error = kl_monte_carlo(p, q, 800_000, Rng(1))
    assert p.kl(q) == pytest.approx(found, abs=4 * error)
    assert p.kl(q) == pytest.approx(found, rel=0.01)
    assert p.kl(p) == pytest.approx(0, abs=1e-9)
    assert p.kl(q) > 0
    assert abs(p.kl(q) - q.kl(p)) > 1e-3


@pytest.mark.parametrize("name", DIST)
def test_fit_recovers_and_log_prob_equals_torch(name):
    p, _ = DIST[name]
    x = p.sample(20_000, Rng(2))
    fitted = type(p).fit(x)
    theirs = {
        "normal": lambda d: torch.distributions.MultivariateNormal(d.mean, d.cov).log_prob(x),
        "bernoulli": lambda d: torch.distributions.Bernoulli(torch.tensor(d.p).double()).log_prob(x.double()),
        "multinomial": lambda d: torch.distributions.Multinomial(d.trials, d.p).log_prob(x.double()),
        "poisson": lambda d: torch.distributions.Poisson(torch.tensor(d.rate).double()).log_prob(x.double()),
    }[name]
    assert torch.allclose(p.log_prob(x), theirs(p), atol=1e-6)
    assert abs(fitted.kl(p)) < 2e-3
    assert fitted.log_prob(x).mean() >= p.log_prob(x).mean()  # maximum likelihood


def test_draws_pass_goodness_of_fit():
    normal = Normal(torch.tensor([2.0]).double(), torch.tensor([[4.0]]).double()).sample(3000, Rng(3))
    assert scipy.stats.kstest(normal[:, 0].numpy(), "norm", (2, 2)).pvalue > 0.01
    poisson = torch.bincount(Poisson(3.5).sample(4000, Rng(3)), minlength=30)[:11]
    expected = torch.from_numpy(scipy.stats.poisson.pmf(range(11), 3.5))
    assert scipy.stats.chisquare(poisson, expected / expected.sum() * poisson.sum()).pvalue > 0.01
    outcomes = Multinomial(1, P).sample(4000, Rng(3)).sum(0)
    assert scipy.stats.chisquare(outcomes, P * 4000).pvalue > 0.01
    heads = int(Bernoulli(0.3).sample(4000, Rng(3)).sum())
    assert scipy.stats.binomtest(heads, 4000, 0.3).pvalue > 0.01


def test_entropies_equal_scipy():
    assert NORMALS[0].entropy() == pytest.approx(scipy.stats.multivariate_normal([0, 0], COV).entropy())
    assert Bernoulli(0.3).entropy() == pytest.approx(scipy.stats.bernoulli(0.3).entropy(), rel=1e-6)
    assert Poisson(3.5).entropy() == pytest.approx(scipy.stats.poisson(3.5).entropy(), rel=1e-6)


def test_entropy_of_a_known_source_within_one_percent():
    p = torch.rand(64, generator=torch.Generator().manual_seed(0)).double()
    p /= p.sum()
    draws = Multinomial(500, p).sample(50, Rng(0))
    plain = entropy(draws.double() / 500).mean().item()
    better = sum(map(entropy_of_counts, draws)) / 50
    truth = entropy(p).item()
    assert entropy_of_counts(draws.sum(0)) == pytest.approx(truth, rel=0.01)
    assert better == pytest.approx(truth, rel=0.01)
    assert abs(plain - truth) > 3 * abs(better - truth)  # the correction corrects
