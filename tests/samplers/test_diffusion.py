"""Diffusion against what is known exactly: closed forms, and the analytic denoiser of Gaussian data."""

import math

import pytest
import torch

from bottega.core import Rng
from bottega.samplers.diffusion import (
    PREDICTIONS,
    SCHEDULES,
    alpha_bar,
    coefficients,
    draw_sigma,
    from_output,
    sigma_range,
    sigmas_for,
    to_output,
)
from bottega.samplers.likelihood import flow_log_prob
from bottega.samplers.restore import repaint
from bottega.samplers.solvers import SAMPLERS, ancestral, ddim, ddpm, euler, heun

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


def test_the_exploding_process_adds_what_its_levels_say():
    """E1 for the variance-exploding process: many small steps x <- x + sqrt(dsigma^2) n, within 1 %."""
    levels = sigmas_for("ve", 300)[:-1].flip(0).double()
    rng, x = Rng(0), torch.full((200_000,), 0.8, dtype=torch.float64)
    x = x + levels[0] * rng.normal(len(x))
    for now, then in zip(levels, levels[1:], strict=False):
        x = x + (then**2 - now**2).sqrt() * rng.normal(len(x))
        if then in levels[[150, 220, 299]]:
            assert x.var().item() == pytest.approx(then.item() ** 2, rel=0.01)
    assert x.mean().item() == pytest.approx(0.8, abs=4 * 50 / len(x) ** 0.5)


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


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ddim", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_order_of_convergence(name, order):
    """Even steps in log sigma between two levels, started exactly: twice the steps, ``2 ** order`` times less error."""

    def off(steps):
        levels = torch.logspace(math.log10(4.0), math.log10(0.1), steps + 1, dtype=torch.float64)
        x = MEAN + (levels[0] ** 2 + STD**2).sqrt() * Rng(0).normal(50, 2)
        last = []

        def watched(x, sigma):
            last.append(x)
            return denoise(x, sigma)

        SAMPLERS[name](watched, x, torch.cat([levels, levels.new_zeros(1)]), Rng(0))
        return (last[-1] - exact_flow(x, levels[-1], levels[0])).abs().mean().item()

    assert off(64) / off(128) == pytest.approx(2**order, rel=0.25)


@pytest.mark.parametrize("name", ["dpmpp_3m", "unipc"])
def test_methods_of_third_order_solve_a_parabola_exactly(name):
    """Where D is a parabola in l = -log sigma, ``D - 2 l + 2 + c exp(-l)`` is the solution: c stays, once three values are seen."""
    levels, kept = sigmas_for("edm", 12).double(), []

    def parabola(x, sigma):
        place = -sigma.log()
        kept.append(((x - (place**2 - 2 * place + 2)) * place.exp()).item())
        return (place**2).expand_as(x)

    SAMPLERS[name](parabola, torch.full((1, 1), 3.0, dtype=torch.float64), levels, Rng(0))
    start = abs(kept[0])
    assert abs(kept[2] - kept[0]) > 1e-3 * start
    for now, then in zip(kept[4:8], kept[5:9], strict=True):  # the last steps are of lower order
        assert abs(then - now) < 1e-9 * start


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_3m", "unipc"])
def test_ten_steps_of_a_fast_sampler_beat_ten_of_euler(name):
    assert error(name, 10) < 0.6 * error("euler", 10)


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


def vp(sigmas):
    """``alpha``, ``sigma`` and ``lambda`` of the variance-preserving process at our noise levels."""
    alphas = (1 / (1 + sigmas**2)).sqrt()
    return alphas, sigmas * alphas, -sigmas.log()


def test_dpmpp_3m_equals_the_paper_written_out():
    """The third-order multistep update of DPM-Solver++, in variance-preserving coordinates, with D1, D2 and phi1..3."""
    sigmas = sigmas_for("edm", 8).double()[:8]
    x = start(10, sigmas).double()
    alphas, wide, lam = vp(sigmas)
    z, seen = x * alphas[0], []
    for i in range(7):
        seen = [denoise(z / alphas[i], sigmas[i]), *seen][:3]
        h = lam[i + 1] - lam[i]
        phi1 = torch.expm1(-h)
        z_new = wide[i + 1] / wide[i] * z - alphas[i + 1] * phi1 * seen[0]
        if i in (1, 4):  # of second order at the beginning and before the end, and then of first
            r = (lam[i] - lam[i - 1]) / h
            z_new = z_new + alphas[i + 1] * (phi1 / h + 1) * (seen[0] - seen[1]) / r
        elif i in (2, 3):
            r0, r1 = (lam[i] - lam[i - 1]) / h, (lam[i - 1] - lam[i - 2]) / h
            near, far = (seen[0] - seen[1]) / r0, (seen[1] - seen[2]) / r1
            first = near + r0 / (r0 + r1) * (near - far)
            second = (near - far) / (r0 + r1)
            phi2 = phi1 / h + 1
            z_new = z_new + alphas[i + 1] * phi2 * first - alphas[i + 1] * (phi2 / h - 0.5) * 2 * second
        z = z_new
    ended = torch.cat([sigmas, sigmas.new_zeros(1)])
    ours = SAMPLERS["dpmpp_3m"](denoise, x, ended, Rng(0))
    torch.testing.assert_close(ours, denoise(z / alphas[7], sigmas[7]), rtol=1e-6, atol=1e-8)


def test_unipc_equals_the_paper_written_out():
    """Algorithms 1 and 2 of arXiv:2302.04867 for the prediction of data: R_p(h) a_p B(h) = b, solved for B(h) = e^h - 1."""
    sigmas = sigmas_for("edm", 8).double()[:8]
    x = start(10, sigmas).double()
    alphas, wide, lam = vp(sigmas)

    def update(z, i, seen, places, grow):
        h = (lam[i + 1] - lam[i]).item()
        r = torch.tensor([(p - lam[i].item()) / h for p in places], dtype=torch.float64)
        h_phi, factorial, right, hh, b_h = math.expm1(-h), 1, [], -h, math.expm1(-h)
        phi = h_phi / hh - 1
        for k in range(1, len(places) + 1):
            right.append(phi * factorial / b_h)
            factorial *= k + 1
            phi = phi / hh - 1 / factorial
        rows = torch.tensor([[rk.item() ** k for rk in r] for k in range(len(places))], dtype=torch.float64)
        a = torch.linalg.solve(rows, torch.tensor(right, dtype=torch.float64)) if places else r
        out = wide[i + 1] / wide[i] * z - alphas[i + 1] * h_phi * seen
        return out - alphas[i + 1] * b_h * sum((w * (d - seen) / rk for w, d, rk in zip(a, grow, r, strict=True)), 0.0)

    z, data, guess = x * alphas[0], [denoise(x, sigmas[0])], None
    for i in range(7):
        order = min(i + 1, 3, max(1, 6 - i))
        old = list(range(i - 1, i - order, -1))
        guess = update(z, i, data[i], [lam[k].item() for k in old], [data[k] for k in old])
        data.append(denoise(guess / alphas[i + 1], sigmas[i + 1]))
        more = [*old, i + 1]
        z = update(z, i, data[i], [lam[k].item() for k in more], [data[k] for k in more])
    ended = torch.cat([sigmas, sigmas.new_zeros(1)])
    torch.testing.assert_close(SAMPLERS["unipc"](denoise, x, ended, Rng(0)), data[7], rtol=1e-6, atol=1e-8)


def test_learned_variance_meets_a_gaussian_in_any_number_of_steps():
    """With the true variance of x0, three ancestral steps have the right spread; with the lower one they fall short."""

    def posterior(x, sigma):
        return denoise(x, sigma), (STD * sigma) ** 2 / (STD**2 + sigma**2)

    sigmas = torch.tensor([80.0, 1.0, 0.3, 0.05, 0.0])
    x = start(200_000, sigmas)
    exact = ancestral(posterior, x, sigmas[:-1], Rng(1))
    torch.testing.assert_close(exact.std(0), (STD**2 + 0.05**2).sqrt(), rtol=0.01, atol=0)
    torch.testing.assert_close(exact.mean(0), MEAN, rtol=0, atol=0.01)
    short = ddpm(denoise, x, sigmas[:-1], Rng(1))
    assert (short.std(0) < 0.8 * STD).all()


@pytest.mark.parametrize("name", ["pc_ve", "pc_vp"])
def test_the_corrector_mends_what_the_predictor_does_in_few_steps(name):
    """E3: 40 steps of either SDE, with and without Langevin steps."""
    sigmas = sigmas_for("ve", 40)
    x = sigmas[0] * Rng(0).normal(20000, 2)

    def off(corrections):
        out = SAMPLERS[name](denoise, x, sigmas, Rng(1), corrections=corrections)
        return (out.std(0) / STD - 1).abs().max().item()

    assert off(5) < 0.6 * off(0)


def test_langevin_steps_alone_keep_the_marginal():
    """From the exact marginal at a level, the corrector stays there."""
    sigmas = torch.tensor([0.5, 0.4999])
    x = start(50_000, sigmas)
    out = SAMPLERS["pc_ve"](denoise, x, sigmas, Rng(2), corrections=50)
    torch.testing.assert_close(out.std(0), (STD**2 + 0.25).sqrt(), rtol=0.03, atol=0)


def test_churn_leaves_the_law_and_changes_the_path():
    sigmas = sigmas_for("edm", 60)
    x = start(20_000, sigmas)
    churned = heun(denoise, x, sigmas, Rng(1), eta=1.0)
    assert (churned - heun(denoise, x, sigmas, Rng(1))).abs().max() > 0.1
    torch.testing.assert_close(churned.std(0), STD, rtol=0.04, atol=0)
    torch.testing.assert_close(churned.mean(0), MEAN, rtol=0, atol=0.02)


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
