"""Diffusion against what is known exactly: closed forms, and the analytic denoiser of Gaussian data."""

import math

import pytest
import torch

from bottega.core import Rng
from bottega.samplers.diffusion import (
    PREDICTIONS,
    SAMPLERS,
    SCHEDULES,
    alpha_bar,
    coefficients,
    ddim,
    ddpm,
    draw_sigma,
    euler,
    flow_log_prob,
    from_output,
    heun,
    repaint,
    sigma_range,
    sigmas_for,
    to_output,
)

MEAN, STD = torch.tensor([0.4, -0.3]), torch.tensor([0.5, 0.2])


def denoise(x, sigma):
    """The exact posterior mean of N(MEAN, STD^2) under noise sigma."""
    return MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN)


def exact_flow(x, low, high):
    """Where the probability-flow ODE brings ``x`` from ``high`` to ``low``: a rescaling about the mean."""
    return MEAN + ((STD**2 + low**2) / (STD**2 + high**2)).sqrt() * (x - MEAN)


def start(n, sigmas, seed=0):
    return MEAN + (sigmas[0] ** 2 + STD**2).sqrt() * Rng(seed).normal(n, 2)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_closed_form_marginal_equals_stepwise_simulation(schedule):
    """E1: many small steps z <- sqrt(1 - beta) z + sqrt(beta) n, against sqrt(ab) x0 and 1 - ab, within 1 %."""
    n, steps, rng, x0 = 200_000, 400, Rng(0), 0.8
    z = torch.full((n,), x0, dtype=torch.float64)
    times = torch.linspace(0, 0.8, steps + 1, dtype=torch.float64)
    if schedule == "linear":  # beta from its definition, not from alpha_bar
        betas = (0.1 + (20 - 0.1) * (times[1:] + times[:-1]) / 2) * (times[1] - times[0])
        betas = 1 - (-betas).exp()
    else:
        f = ((times + 0.008) / 1.008 * math.pi / 2).cos() ** 2
        betas = 1 - f[1:] / f[:-1]
    for i, beta in enumerate(betas):
        z = (1 - beta).sqrt() * z + beta.sqrt() * rng.normal(n)
        if i + 1 in (40, 120, 240):
            ab = alpha_bar(schedule, times[i + 1])
            assert z.mean().item() == pytest.approx(ab.sqrt().item() * x0, rel=0.01)
            assert z.var().item() == pytest.approx(1 - ab.item(), rel=0.01)


def test_linear_schedule_is_the_limit_of_the_thousand_steps_of_ddpm():
    product = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    for t in (100, 300, 500, 700):
        ab = alpha_bar("linear", torch.tensor(t / 1000, dtype=torch.float64))
        assert product[t - 1].item() == pytest.approx(ab.item(), rel=0.03)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noise_levels_fall_to_zero_within_the_range(schedule):
    low, high = sigma_range(schedule)
    sigmas = sigmas_for(schedule, 30)
    assert sigmas.shape == (31,)
    assert (sigmas.diff() < 0).all()
    assert sigmas[-1] == 0
    assert sigmas[0].item() == pytest.approx(high, rel=1e-4)
    assert sigmas[-2].item() == pytest.approx(low, rel=1e-3)
    drawn = draw_sigma(schedule, 10000, Rng(0))
    assert drawn.min() > low / 5
    assert drawn.max() <= high * 1.001
    assert sigmas_for(schedule, 1).tolist() == [sigmas[0].item(), 0.0]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_conversions_are_inverse_and_mean_what_they_say(prediction, scale):
    rng = Rng(0)
    x0, noise, sigma = (t.double() for t in (rng.normal(50, 3), rng.normal(50, 3), (2 * rng.normal(50, 1)).exp()))
    x = x0 + sigma * noise
    output = to_output(prediction, x0, x, sigma, scale)
    torch.testing.assert_close(from_output(prediction, output, x, sigma, scale), x0)
    ab = scale**2 / (scale**2 + sigma**2)
    truth = {"eps": noise, "x": x0 / scale, "v": ab.sqrt() * noise - (1 - ab).sqrt() * x0 / scale}[prediction]
    torch.testing.assert_close(output, truth)


def test_v_is_karras_preconditioning_with_the_sign_turned():
    sigma, d = torch.tensor([0.01, 0.5, 3.0]), 0.5
    skip, out = coefficients("v", sigma, d)
    torch.testing.assert_close(skip, d**2 / (sigma**2 + d**2))
    torch.testing.assert_close(-out, sigma * d / (sigma**2 + d**2).sqrt())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_finds_the_gaussian_with_every_schedule(name, schedule):
    sigmas = sigmas_for(schedule, 500)
    x = SAMPLERS[name](denoise, sigmas[0] * Rng(0).normal(20000, 2), sigmas, Rng(1))
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.02, rtol=0)
    torch.testing.assert_close(x.std(0), STD, atol=0, rtol=0.04)


def error(name, steps):
    sigmas = sigmas_for("edm", steps)
    x = start(500, sigmas)
    return (SAMPLERS[name](denoise, x, sigmas, Rng(0)) - exact_flow(x, 0.0, sigmas[0])).abs().mean().item()


def test_order_of_the_methods():
    """Twice the steps: Euler's error halves, Heun's and DPM-Solver++(2M)'s fall by about four."""
    falls = {name: error(name, 20) / error(name, 40) for name in ("euler", "heun", "dpmpp_2m")}
    assert 1.7 < falls["euler"] < 2.5
    assert falls["heun"] > 1.4 * falls["euler"]
    assert falls["dpmpp_2m"] > 1.4 * falls["euler"]


def test_ten_steps_of_dpmpp_2m_beat_ten_of_euler():
    assert error("dpmpp_2m", 10) < 0.6 * error("euler", 10)


def test_dpmpp_2m_equals_the_paper_written_out():
    """Algorithm 2 of arXiv:2211.01095 in variance-preserving coordinates (eq. 9 and the two-step rule)."""
    sigmas = sigmas_for("edm", 8)
    x = start(10, sigmas).double()
    alphas = (1 / (1 + sigmas.double() ** 2)).sqrt()
    vp, lam, z, q_before = sigmas.double() * alphas, -sigmas.double().log(), x * alphas[0], None
    for i in range(1, 8):
        q = denoise(z / alphas[i - 1], sigmas.double()[i - 1])
        h = lam[i] - lam[i - 1]
        d = q
        if q_before is not None:
            r = (lam[i - 1] - lam[i - 2]) / h
            d = (1 + 1 / (2 * r)) * q - 1 / (2 * r) * q_before
        z = vp[i] / vp[i - 1] * z - alphas[i] * (torch.exp(-h) - 1) * d
        q_before = q
    ours = SAMPLERS["dpmpp_2m"](denoise, x, sigmas.double(), Rng(0))
    torch.testing.assert_close(ours, denoise(z / alphas[7], sigmas.double()[7]))


def test_ddim_is_deterministic_and_eta_one_is_ddpm():
    sigmas = sigmas_for("cosine", 12)
    x = start(100, sigmas)
    assert torch.equal(ddim(denoise, x, sigmas, Rng(1)), ddim(denoise, x, sigmas, Rng(2)))
    torch.testing.assert_close(
        ddim(denoise, x, sigmas, Rng(1)), euler(denoise, x, sigmas, Rng(1)), atol=1e-4, rtol=1e-4
    )
    assert not torch.equal(ddpm(denoise, x, sigmas, Rng(1)), ddpm(denoise, x, sigmas, Rng(2)))
    assert torch.equal(ddim(denoise, x, sigmas, Rng(1), eta=1.0), ddpm(denoise, x, sigmas, Rng(1)))


def test_one_ancestral_step_is_ddpms_posterior():
    """Mean and variance of q(z_s | z_t, x0), DDPM eq. 7, after going to its coordinates and back."""
    now, then = torch.tensor(1.5), torch.tensor(0.9)
    a, b = 1 / (1 + now**2), 1 / (1 + then**2)  # alpha bar at t and at s
    n, x0 = 400_000, 0.7
    x = torch.full((n, 1), 2.0)
    out = ddpm(lambda x, s: torch.full_like(x, x0), x, torch.stack([now, then]), Rng(0)) * b.sqrt()
    beta = 1 - a / b
    mean = b.sqrt() * beta / (1 - a) * x0 + (a / b).sqrt() * (1 - b) / (1 - a) * (2.0 * a.sqrt())
    assert out.mean().item() == pytest.approx(mean.item(), rel=0.01)
    assert out.var().item() == pytest.approx(((1 - b) / (1 - a) * beta).item(), rel=0.01)


def test_rows_belong_to_their_seed():
    sigmas = sigmas_for("edm", 10)
    x = torch.randn(3, 2)
    both = ddpm(denoise, x, sigmas, Rng(1, 2, 3))
    torch.testing.assert_close(ddpm(denoise, x[1:2], sigmas, Rng.for_rows([2])), both[1:2])


@pytest.mark.parametrize("exact_dims", [16, 0], ids=["exact", "hutchinson"])
def test_flow_log_prob_of_a_gaussian_within_one_percent(exact_dims):
    """E3. The Jacobian here is diagonal, so Hutchinson's estimate has no variance."""
    x = MEAN + STD * Rng(3).normal(300, 2)
    truth = torch.distributions.Normal(MEAN, STD).log_prob(x).sum(1)
    ramp = sigmas_for("edm", 64)
    got = flow_log_prob(denoise, x, ramp, Rng(0), exact_dims=exact_dims)
    assert got.mean().item() == pytest.approx(truth.mean().item(), rel=0.01)
    assert (got - truth).abs().max() < 0.04


def test_hutchinson_is_unbiased_where_coordinates_mix():
    """A correlated Gaussian: the estimate's mean over sign vectors is the exact answer."""
    cov = torch.tensor([[0.3, 0.2], [0.2, 0.25]])

    def mixing(x, sigma):
        return x @ torch.linalg.solve(cov + sigma**2 * torch.eye(2), cov)

    x = torch.tensor([[0.3, -0.4]]).expand(2000, 2)
    truth = torch.distributions.MultivariateNormal(torch.zeros(2), cov).log_prob(x[:1]).item()
    exact = flow_log_prob(mixing, x[:1], sigmas_for("edm", 64), Rng(0))
    rough = flow_log_prob(mixing, x, sigmas_for("edm", 64), Rng(0), exact_dims=0)
    assert exact.item() == pytest.approx(truth, abs=0.01)
    assert rough.std() > 0.01
    assert rough.mean().item() == pytest.approx(truth, abs=0.05)


def test_repaint_keeps_and_agrees():
    """Two coordinates with correlation 0.9: the second, filled in, follows the first as the conditional does."""
    rho, n = 0.9, 4000
    cov = torch.tensor([[1.0, rho], [rho, 1.0]])

    def correlated(x, sigma):
        return x @ torch.linalg.solve(cov + sigma**2 * torch.eye(2), cov)

    known = torch.stack([Rng(1).normal(n), torch.zeros(n)], 1)
    keep, sigmas = torch.tensor([True, False]), sigmas_for("edm", 30)
    start = sigmas[0] * Rng(2).normal(n, 2)
    out = repaint(correlated, start, sigmas, Rng(3), known, keep, tries=8)
    once = repaint(correlated, start, sigmas, Rng(3), known, keep, tries=1)
    assert torch.equal(out[:, 0], known[:, 0])

    def slope(x):
        return (x[:, 0] @ x[:, 1] / x[:, 0].square().sum()).item()

    assert slope(out) == pytest.approx(rho, abs=0.1)
    assert abs(slope(out) - rho) < abs(slope(once) - rho)
    assert (out[:, 1] - rho * out[:, 0]).std().item() == pytest.approx((1 - rho**2) ** 0.5, abs=0.1)


def test_heun_calls_twice_a_step_but_once_in_the_last():
    calls = []

    def counted(x, sigma):
        calls.append(sigma.item())
        return denoise(x, sigma)

    heun(counted, torch.zeros(1, 2), sigmas_for("edm", 5), Rng(0))
    assert len(calls) == 9
