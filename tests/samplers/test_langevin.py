"""Langevin chains sample what they should, row by row."""

import math

import pytest
import torch

from bottega.core import Rng
from bottega.samplers.langevin import ais, annealed_langevin, langevin, mala, score_of

MEAN, STD = torch.tensor([0.5, -1.0]), torch.tensor([0.3, 0.6])


def energy(x):
    return 0.5 * ((x - MEAN) / STD).square().sum(1)


def check(x, tolerance):
    assert torch.allclose(x.mean(0), MEAN, atol=tolerance)
    assert torch.allclose(x.std(0), STD, rtol=tolerance)


def test_langevin_samples_a_gaussian():
    rng = Rng(0)
    x = langevin(score_of(energy), rng.normal(4000, 2), 300, 0.1, rng)
    check(x, 0.05)  # the step biases the variance by e^2 / (4 std^2) = 3 %, the standard deviation by half of that


def test_mala_has_no_bias_at_a_step_that_biases_langevin():
    rng, step = Rng(0), 0.45
    plain = langevin(score_of(energy), rng.normal(4000, 2), 60, step, rng)
    exact, accepted = mala(energy, rng.normal(4000, 2), 60, step, rng)
    check(exact, 0.04)
    assert 0.3 < accepted.mean() < 0.95
    expected = 1 / math.sqrt(1 - step**2 / (4 * 0.3**2))  # of the discretised Ornstein-Uhlenbeck process
    assert plain.std(0)[0].item() / 0.3 == pytest.approx(expected, rel=0.05)


def test_annealed_langevin_finds_both_modes_in_proportion():
    centres, weights, spread = torch.tensor([[-4.0], [4.0]]), torch.tensor([0.25, 0.75]), 0.1

    def score(x, sigma):
        var = sigma[:, None].square() + spread**2
        share = torch.softmax(weights.log() - (x - centres.T).square() / (2 * var), 1)
        return (share @ centres - x) / var

    rng = Rng(1)
    sigmas = torch.logspace(1, -2, 40).tolist()
    x = annealed_langevin(score, 10 * rng.normal(2000, 1), sigmas, 10, 0.5, rng)
    assert ((x.abs() - 4).abs() < 4 * spread).float().mean() > 0.98
    assert (x > 0).float().mean().item() == pytest.approx(0.75, abs=0.05)


def test_rows_belong_to_their_seeds():
    def run(*seeds):
        rng = Rng.for_rows(seeds)
        x = langevin(score_of(energy), rng.normal(len(seeds), 2), 5, 0.3, rng, clip=0.1)
        return mala(energy, x, 5, 0.3, rng)[0]

    assert torch.allclose(run(3, 4, 5)[2:], run(5), atol=1e-6)


def test_clip_bounds_the_drift():
    x = torch.tensor([[1000.0, 0.0], [0.001, 0.0]])
    moved = langevin(lambda x: -x, x, 1, 1.0, Rng(0), noise=0.0, clip=0.25)
    assert torch.allclose(x - moved, torch.tensor([[0.25, 0.0], [0.0005, 0.0]]))


def test_ais_finds_the_constant_of_a_mixture():
    def double_well(x):
        both = torch.stack([energy(x), 0.5 * (x + 1).square().sum(1) / 0.04 - math.log(2)], 1)
        return -torch.logsumexp(-both, 1)

    truth = math.log(2 * math.pi * 0.3 * 0.6 + 2 * 2 * math.pi * 0.04)
    log_z, error = ais(double_well, 1000, (2,), Rng(0), start_std=1.0, temperatures=100, step_size=0.3)
    assert error < 0.1
    assert log_z == pytest.approx(truth, abs=max(0.05, 3 * error))
