"""Hierarchical VAE: its bounds against a likelihood known in closed form, its groups, its codes."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from bottega.core import Batch, RecipeError, Rng, Spec, SpecError
from bottega.families.hvae import HVAE
from bottega.families.vae import VAE
from helpers import trained

LEVELS = Spec((1, 8, 8), vocab=17, ordinal=True)


def hvae(spec=LEVELS, seed=0, **settings):
    torch.manual_seed(seed)
    return HVAE(spec, **{"size": 8, **settings})


class LinearGroup(nn.Module):
    """``e2 -> state + b e2`` with the posterior of ``e2`` given the state and x."""

    def __init__(self, b, off):
        super().__init__()
        self.b, self.off = b, off

    def forward(self, state, e, context):
        return state + self.b * e

    def ask(self, state, seen):
        variance = 1 / (1 + self.b**2 / 0.5**2)
        mean = variance * self.b / 0.5**2 * (seen - state)
        return mean + self.off, torch.full_like(mean, math.log(variance) + self.off)


@pytest.fixture
def chain():
    """``x = a e1 + b e2 + noise`` of a 1 x 1 picture, each posterior as exact conditioning says, or off by ``off``."""
    a, b, s = 0.8, 0.6, 0.5

    def make(off=0.0):
        model = hvae(Spec((1, 1, 1)), latent=1, maps=1, sigma=s)
        model._rise = lambda x, h: [x]
        model.summary = nn.Linear(1, 2)
        variance = 1 / (1 + a**2 / (b**2 + s**2))
        with torch.no_grad():
            model.summary.weight.copy_(torch.tensor([[variance * a / (b**2 + s**2)], [0.0]]))
            model.summary.bias.copy_(torch.tensor([off, math.log(variance) + off]))
            model.first = nn.Linear(1, 1)
            model.first.weight.fill_(a)
            model.first.bias.zero_()
        model.fall = nn.ModuleList([nn.ModuleList([LinearGroup(b, off)])])
        model.norm = nn.Identity()
        model.last = nn.Identity()
        return model

    # silu stands before the read-outs; undo it, so that the chain is linear
    truth = MultivariateNormal(torch.zeros(1), torch.tensor([[a**2 + b**2 + s**2]]))
    return make, truth, torch.linspace(-2, 2, 64).view(-1, 1, 1, 1)


def test_with_true_posteriors_every_weight_is_the_exact_likelihood(chain, monkeypatch):
    make, truth, x = chain
    monkeypatch.setattr("bottega.families.hvae.F.silu", lambda t: t)
    exact = truth.log_prob(x.flatten(1))
    model = make()
    torch.testing.assert_close(model.iwae(Batch(x), Rng(0), 1), exact, rtol=0, atol=0.02)
    torch.testing.assert_close(model.iwae(Batch(x), Rng(0), 23), exact, rtol=0, atol=0.02)


def test_elbo_is_below_iwae_is_below_the_exact_likelihood(chain, monkeypatch):
    make, truth, x = chain
    monkeypatch.setattr("bottega.families.hvae.F.silu", lambda t: t)
    exact, model = truth.log_prob(x.flatten(1)).mean(), make(off=0.4)
    elbo = torch.stack([model.log_prob(Batch(x), Rng(k)) for k in range(100)]).mean()
    few = torch.stack([model.iwae(Batch(x), Rng(k), 5) for k in range(50)]).mean()
    many = model.iwae(Batch(x), Rng(0), 2000).mean()
    assert elbo + 0.1 < few < many + 0.02
    assert many.item() == pytest.approx(exact.item(), abs=0.02)


def test_a_row_is_its_own_and_any_k_fits():
    model, batch = hvae().eval(), Batch(Rng(0).integers(17, 3, 1, 8, 8))
    three = model.iwae(batch, Rng.for_rows([4, 5, 6]), 23)
    alone = model.iwae(batch.take(slice(1, 2)), Rng.for_rows([5]), 23)
    torch.testing.assert_close(three[1:2], alone, rtol=1e-5, atol=1e-3)


def test_codes_come_coarse_to_fine_and_back_to_their_groups():
    model = hvae(Spec((3, 20, 28)), latent=5, maps=2, depth=2).eval()
    assert [tuple(s) for s in model.shapes] == [(5,), (2, 5, 7), (2, 5, 7), (2, 10, 14), (2, 10, 14)]
    batch = Batch(Rng(0).normal(2, 3, 20, 28))
    z = model.encode(batch)
    assert z.shape == (2, 5 + 2 * 2 * (35 + 140))
    seen = []
    h = model.known(None, 2)
    model._decode(z, h)
    ask = model._look(batch, h)
    parts = [
        p.unflatten(1, s) for p, s in zip(z.split([s.numel() for s in model.shapes], 1), model.shapes, strict=True)
    ]

    def again(group, state, size):
        seen.append(ask(group, state, size)[0])
        return parts[len(seen) - 1]

    model._fall(h, again)
    for ours, part in zip(seen, parts, strict=True):
        torch.testing.assert_close(ours, part)


def test_the_warm_up_raises_the_weight_of_the_kl_in_training_only():
    model, batch = hvae(warmup=4), Batch(Rng(0).integers(17, 5, 1, 8, 8))
    weights = []
    full = model.eval().loss(batch, Rng(1)).parts["kl"]
    model.train()
    for step in range(6):
        weights.append((model.loss(batch, Rng(1)).parts["kl"] / full).mean().item())
        model.settle(step)
    assert weights == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])


@pytest.mark.slow
def test_two_scales_of_structure_are_told_apart_and_beat_one_vector():
    """A smooth tone for each picture and independent spots: the vector alone cannot hold the spots, the maps can."""
    n = 1200
    tone = Rng(0).normal(n, 1, 1, 1)
    spots = (Rng(1).uniform(n, 1, 4, 4) < 0.5).float().repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = (0.3 * tone + 0.5 * (spots - 0.5) + 0.03 * Rng(2).normal(n, 1, 8, 8)).clamp(-1, 1)
    spec, held = Spec((1, 8, 8)), Batch(x[1000:])
    ladder = trained(hvae(spec, latent=4, maps=1), Batch(x[:1000]), 300, clip=0)
    torch.manual_seed(0)
    flat = trained(VAE(spec, size=8, latent=4), Batch(x[:1000]), 300, clip=0)
    ours, theirs = (m.iwae(held, Rng(0), 50).mean() for m in (ladder, flat))
    assert ours > theirs + 10
    assert ladder.active_units(held).sum() > 8


def test_what_it_refuses():
    with pytest.raises(SpecError, match="use family vae"):
        HVAE(Spec((2,)))
    with pytest.raises(SpecError, match="pixelcnn"):
        HVAE(Spec((1, 4, 4), vocab=5))
    with pytest.raises(RecipeError, match="'bernoulli', which does not fit"):
        hvae(likelihood="bernoulli")
    for wrong in (
        {"size": 0},
        {"latent": -1},
        {"depth": 0},
        {"maps": 0},
        {"drop": 1.0},
        {"beta": -1.0},
        {"warmup": -1},
    ):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            hvae(**wrong)
