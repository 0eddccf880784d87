"""Compressor: its bound by integration, its rate against an entropy known in closed form, its dial."""

import math

import numpy as np
import pytest
import torch

from bottega.core import Batch, RecipeError, Rng, Spec, SpecError
from bottega.families.compressor import Compressor
from helpers import trained


def compressor(spec, seed=0, **settings):
    torch.manual_seed(seed)
    return Compressor(spec, **{"size": 8, "halvings": 1, **settings})


def test_the_density_of_a_noisy_code_is_the_mass_of_its_box():
    """``p(z + u)`` integrates to one, and at whole numbers it is the mass that rounding leaves there."""
    model = compressor(Spec((1, 2, 2)), maps=2)
    with torch.no_grad():
        model.centre.add_(0.1 * Rng(0).normal(2, 3))
        model.weight.add_(0.1 * Rng(1).normal(2, 3))
        z = torch.linspace(-60, 60, 24_001).expand(1, 2, -1)
        density = model._log_mass(z, None).exp()[0]
        torch.testing.assert_close(density.sum(1) * 120 / 24_000, torch.ones(2), rtol=0, atol=1e-3)
        k, (weights, centre, scale) = 2.0, (t[0] for t in model._prior(None))
        box = torch.sigmoid((k + 0.5 - centre) / scale) - torch.sigmoid((k - 0.5 - centre) / scale)
        by_hand = (weights.exp() * box).sum(1)
        torch.testing.assert_close(model._log_mass(torch.full((1, 2, 1), k), None)[0, :, 0].exp(), by_hand)


def test_the_bound_is_below_the_likelihood_by_integration():
    """A 1 x 1 picture with one code: ``p(x) = int p(z) N(x; decoded(z), sigma^2) dz`` on a fine grid."""
    model = compressor(Spec((1, 1, 1)), maps=1, sigma=0.3).eval()
    x = torch.linspace(-1, 1, 9).view(-1, 1, 1, 1)
    with torch.no_grad():
        z = torch.linspace(-40, 40, 16_001).view(-1, 1, 1, 1)
        log_prior = model._log_mass(z, None).flatten()
        out = model.expand(z).flatten()
        log_x = -0.5 * ((x.flatten()[:, None] - out) / 0.3) ** 2 - math.log(0.3) - 0.5 * math.log(2 * math.pi)
        exact = (log_x + log_prior).logsumexp(1) + math.log(80 / 16_000)
        bound = torch.stack([model.log_prob(Batch(x), Rng(k)) for k in range(400)]).mean(0)
    assert (bound < exact + 0.02).all()


def test_three_tones_cost_little_more_than_their_entropy():
    """Cells of 2 x 2 pixels of one of three tones, all alike likely: no code is shorter than log 3 nats a cell."""
    kind = Rng(0).integers(3, 600, 1, 4, 4)
    x = torch.tensor([-0.8, 0.0, 0.8])[kind].repeat_interleave(2, 2).repeat_interleave(2, 3)
    model = trained(compressor(Spec((1, 8, 8)), maps=1, sigma=0.2), Batch(x[:500]), 400, lr=6e-3, rows=32, clip=0)
    with torch.no_grad():
        z = model.squeeze(x[500:])
        rate = -model._log_mass(z, None).flatten(1).sum(1).mean().item() / 16
        assert (model.expand(z) - x[500:]).square().mean().sqrt() < 0.2
    assert 0.95 * math.log(3) < rate < 1.5 * math.log(3)


def test_sigma_is_the_dial_between_rate_and_distortion():
    x = (0.4 * Rng(0).normal(300, 1, 4, 4)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    rates, errors = [], []
    for sigma in (0.4, 0.05):
        model = trained(compressor(Spec((1, 8, 8)), sigma=sigma, maps=2), Batch(x), 150, rows=32, clip=0)
        z = model.squeeze(x)
        rates.append(-model._log_mass(z, None).flatten(1).sum(1).mean().item())
        errors.append((model.expand(z) - x).square().mean().item())
    assert rates[1] > 1.5 * rates[0]
    assert errors[1] < 0.7 * errors[0]


def test_pictures_of_any_size_go_through_and_ours_are_cut_to_the_spec():
    model = compressor(Spec((3, 9, 13)), halvings=2).eval()
    assert model.latent.shape == (8, 3, 4)
    assert model.decode(model.encode(Batch(torch.zeros(2, 3, 9, 13)))).shape == (2, 3, 9, 13)
    assert model.expand(model.squeeze(torch.zeros(1, 3, 40, 24))).shape == (1, 3, 40, 24)


def test_what_it_refuses():
    with pytest.raises(SpecError, match="autoencoder"):
        Compressor(Spec((2,)))
    with pytest.raises(SpecError, match=r"leave codec.levels at 0"):
        Compressor(Spec((1, 8, 8), vocab=256, ordinal=True))
    for wrong in ({"size": 0}, {"halvings": 0}, {"depth": 0}, {"maps": -1}, {"sigma": 0.0}, {"drop": 1.0}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            compressor(Spec((1, 8, 8)), **wrong)


def test_it_begins_as_a_cosine_transform_of_blocks_whose_rounding_errs_by_sigma():
    from scipy.fft import dctn

    from bottega.families.compressor import _dct

    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 1, 8, 8))).float()
    waves = _dct(1, 8, 64)
    mine = (waves @ torch.nn.functional.pixel_unshuffle(x, 8).flatten()).abs()
    assert mine.sort()[0] == pytest.approx(np.sort(np.abs(dctn(x[0, 0].numpy(), norm="ortho")).ravel()), abs=1e-5)
    assert mine[0] == pytest.approx(8 * x.mean().abs().item(), abs=1e-5)  # the smoothest comes first
    for channels in (1, 3, 4):
        all_of_it = _dct(channels, 4, 16 * channels)
        assert torch.allclose(all_of_it @ all_of_it.T, torch.eye(16 * channels), atol=1e-5)
    model = compressor(Spec((3, 16, 16)), maps=12, sigma=0.05).eval()  # as many as a cell of 2 x 2 has numbers
    y = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (64, 3, 16, 16))).float()
    error = model.expand(model.squeeze(y)) - y
    assert error.std().item() == pytest.approx(0.05, rel=0.05)
