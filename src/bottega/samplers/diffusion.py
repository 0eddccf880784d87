r"""Diffusion in one parametrisation: noise levels, what a network predicts, and the samplers as plain functions.

Everything is said of ``x = x0 + sigma * noise`` and a denoiser ``denoise(x, sigma) -> x0``, the expected clean example.
A variance-preserving process ``z = sqrt(ab) * x0 + sqrt(1 - ab) * noise`` is the same thing at another scale:
``x = z / sqrt(ab)``, ``sigma = sqrt(1 / ab - 1)`` (Karras et al. 2022, arXiv:2206.00364, app. C), so every sampler here
works with every schedule. ``sigmas`` fall and end with 0; ``x`` comes in as noise of standard deviation ``sigmas[0]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from bottega.core import Rng

__all__ = [
    "PREDICTIONS",
    "SAMPLERS",
    "SCHEDULES",
    "Denoise",
    "Prediction",
    "Schedule",
    "alpha_bar",
    "coefficients",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "draw_sigma",
    "euler",
    "flow_log_prob",
    "from_output",
    "heun",
    "repaint",
    "sigma_range",
    "sigmas_for",
    "to_output",
]

Denoise = Callable[[Tensor, Tensor], Tensor]
"""``(x (B, ...), sigma scalar) -> expected clean x0 (B, ...)``."""

Schedule = Literal["linear", "cosine", "edm"]
Prediction = Literal["eps", "x", "v"]
SCHEDULES = ("linear", "cosine", "edm")
PREDICTIONS = ("eps", "x", "v")

_FIRST, _LAST = 1e-3, 0.995  # of the cosine schedule's time: beyond, sigma runs to infinity


def alpha_bar(schedule: Schedule, t: Tensor) -> Tensor:
    """The part of the variance that is still signal at time ``t`` in [0, 1] of a variance-preserving schedule.

    ``"linear"``: beta rises linearly from 0.1 to 20, the limit of Ho et al. 2020 with many steps (Song et al. 2021,
    arXiv:2011.13456, eq. 33). ``"cosine"``: Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17.

    >>> alpha_bar("cosine", torch.tensor([0.0, 0.5]))
    tensor([1.0000, 0.4938])
    """
    if schedule == "linear":
        return torch.exp(-0.5 * (20 - 0.1) * t**2 - 0.1 * t)
    angle = (t + 0.008) / 1.008 * (math.pi / 2)
    return (angle.cos() / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2


def _sigma_at(schedule: Schedule, t: Tensor) -> Tensor:
    """The noise level at time ``_FIRST <= t <= 1`` of a variance-preserving schedule."""
    t = t.double()
    ab = alpha_bar(schedule, t * _LAST if schedule == "cosine" else t)
    return (1 / ab - 1).sqrt().float()


def sigma_range(schedule: Schedule) -> tuple[float, float]:
    """The least and the greatest noise level of a schedule."""
    if schedule == "edm":
        return 0.002, 80.0
    low, high = _sigma_at(schedule, torch.tensor([_FIRST, 1.0])).tolist()
    return low, high


def sigmas_for(schedule: Schedule, steps: int, rho: float = 7.0) -> Tensor:
    """Falling noise levels for ``steps`` steps, ``(steps + 1,)``, the last one 0.

    ``"edm"``: even in ``sigma ** (1 / rho)`` (Karras et al. 2022, eq. 5); otherwise even in time.

    >>> sigmas_for("edm", 3)
    tensor([8.0000e+01, 2.5152e+00, 2.0000e-03, 0.0000e+00])
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    if schedule == "edm":
        low, high = (s ** (1 / rho) for s in sigma_range(schedule))
        sigmas = ((high + ramp * (low - high)) ** rho).float()
    else:
        sigmas = _sigma_at(schedule, 1 + ramp * (_FIRST - 1))
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def draw_sigma(schedule: Schedule, n: int, rng: Rng) -> Tensor:
    """Noise levels to train on, ``(n,)``.

    ``"edm"``: ``log sigma`` is normal with mean -1.2 and deviation 1.2 (Karras et al. 2022, table 1); otherwise time is
    uniform.
    """
    if schedule == "edm":
        return (1.2 * rng.normal(n) - 1.2).exp()
    return _sigma_at(schedule, _FIRST + (1 - _FIRST) * rng.uniform(n))


def coefficients(prediction: Prediction, sigma: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    r"""``skip`` and ``out`` of ``x0 = skip * x + out * output``, for what the network predicts.

    ``"eps"`` is the noise (Ho et al. 2020), ``"x"`` the clean example divided by ``scale``, ``"v"`` the rotation
    ``sqrt(ab) * eps - sqrt(1 - ab) * x0 / scale`` with ``ab = scale^2 / (scale^2 + sigma^2)`` (Salimans & Ho 2022,
    arXiv:2202.00512, app. D). With ``scale`` the data's standard deviation, ``-v`` is what the network of Karras et al.
    2022 (eq. 7, table 1) predicts. The squared error of the output is that of ``x0`` times ``1 / out ** 2``.
    """
    if prediction == "eps":
        return torch.ones_like(sigma), -sigma
    if prediction == "x":
        return torch.zeros_like(sigma), torch.full_like(sigma, scale)
    both = sigma**2 + scale**2
    return scale**2 / both, -sigma * scale / both.sqrt()


def from_output(prediction: Prediction, output: Tensor, x: Tensor, sigma: Tensor, scale: float = 1.0) -> Tensor:
    """The clean example that a network's ``output`` at ``x`` means; ``sigma`` broadcasts to ``x``."""
    skip, out = coefficients(prediction, sigma, scale)
    return skip * x + out * output


def to_output(prediction: Prediction, x0: Tensor, x: Tensor, sigma: Tensor, scale: float = 1.0) -> Tensor:
    """The inverse of ``from_output``: what the network should say at ``x`` when the clean example is ``x0``."""
    skip, out = coefficients(prediction, sigma, scale)
    return (x0 - skip * x) / out


def ddpm(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng) -> Tensor:
    """Ancestral sampling from ``q(x_next | x, x0)`` with the denoised ``x0`` (Ho et al. 2020, arXiv:2006.11239, Alg. 2).

    The variance is the lower one of the paper (beta tilde).
    """
    return ddim(denoise, x, sigmas, rng, eta=1.0)


def ddim(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, eta: float = 0.0) -> Tensor:
    """Song et al. 2020, arXiv:2010.02502, eq. 12: ``eta`` 0 is deterministic (and then Euler's method in sigma), 1 is DDPM."""
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        fresh = eta * then * (1 - (then / now) ** 2).sqrt()
        x0 = denoise(x, now)
        x = x0 + (then**2 - fresh**2).clamp_min(0).sqrt() / now * (x - x0)
        if eta:
            x = x + fresh * rng.normal(*x.shape)
    return x


def euler(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng) -> Tensor:
    """Euler's method on ``dx / dsigma = (x - x0) / sigma`` (Karras et al. 2022, eq. 3); deterministic, ``rng`` unused."""
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        x = x + (then - now) * (x - denoise(x, now)) / now
    return x


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng) -> Tensor:
    """Heun's second-order method (Karras et al. 2022, Alg. 1); two calls a step, one in the last; ``rng`` unused."""
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        slope = (x - denoise(x, now)) / now
        guess = x + (then - now) * slope
        if then > 0:
            slope = (slope + (guess - denoise(guess, then)) / then) / 2
            guess = x + (then - now) * slope
        x = guess
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng) -> Tensor:
    """DPM-Solver++(2M): second order from the step before, one call a step (Lu et al. 2022, arXiv:2211.01095, Alg. 2).

    Deterministic, ``rng`` unused. The last step, to 0, is of first order.
    """
    before, stride_before = None, 0.0
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        x0 = denoise(x, now)
        if then == 0:
            return x0
        stride = (now / then).log()
        guess = x0
        if before is not None:
            guess = x0 + stride / (2 * stride_before) * (x0 - before)
        x = then / now * x + (1 - then / now) * guess
        before, stride_before = x0, stride
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddpm": ddpm, "ddim": ddim, "euler": euler, "heun": heun, "dpmpp_2m": dpmpp_2m,
}  # fmt: skip


def repaint(
    denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, known: Tensor, keep: Tensor, tries: int = 5
) -> Tensor:
    """Fill what is not kept: ancestral steps with the known part, noised, put back before each (RePaint).

    Every step is made ``tries`` times, going back up in noise between them, so that both parts agree (Lugmayr et al.
    2022, arXiv:2201.09865, Alg. 1). The result equals ``known`` wherever ``keep`` is True.
    """
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        for again in reversed(range(tries if then > 0 else 1)):
            x = torch.where(keep, known + now * rng.normal(*x.shape), x)
            x = ddim(denoise, x, torch.stack([now, then]), rng, eta=1.0)
            if again:
                x = x + (now**2 - then**2).sqrt() * rng.normal(*x.shape)
    return torch.where(keep, known, x)


def flow_log_prob(
    denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, spread: float = 1.0, exact_dims: int = 16
) -> Tensor:
    """Log density ``(B,)`` in nats by the probability-flow ODE (Song et al. 2021, arXiv:2011.13456, eq. 39).

    The ODE runs up from the least positive noise level to the greatest, where ``x`` is taken to be normal with variance
    ``sigma^2 + spread^2``, ``spread`` being about the standard deviation of the data. What moves is
    ``y = x / sqrt(sigma^2 + spread^2)``, which hardly moves where noise drowns the data or is drowned by it, by Heun's
    method in log sigma. The divergence is exact (one gradient for each coordinate) up to ``exact_dims`` coordinates, and
    above that Hutchinson's estimate with one random sign vector for each example (Grathwohl et al. 2018,
    arXiv:1810.01367, section 3.1).
    """
    shape, dims = x.shape, x[0].numel()
    rising = sigmas[sigmas > 0].flip(0)
    if dims <= exact_dims:
        probes = torch.eye(dims, device=x.device).view(dims, 1, *shape[1:]).expand(dims, *shape)
    else:
        probes = (2.0 * rng.integers(2, *shape) - 1)[None]

    def slopes(y: Tensor, sigma: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """``dy / dlog sigma``, and the divergence of ``dx / dlog sigma`` as the probes see it."""
        wide = (sigma**2 + spread**2).sqrt()
        with torch.enable_grad():
            at = (wide * y).detach().requires_grad_()
            x0 = denoise(at, sigma)
            trace = at.new_zeros(len(at))
            for i, probe in enumerate(probes):
                (row,) = torch.autograd.grad((x0 * probe).sum(), at, retain_graph=i + 1 < len(probes))
                trace = trace + (row * probe).flatten(1).sum(1)
        return ((spread / wide) ** 2 * at.detach() - x0.detach()) / wide, dims - trace

    y = x / (rising[0] ** 2 + spread**2).sqrt()
    gained = x.new_zeros(len(x))
    move, growth = slopes(y, rising[0], probes)
    for now, then in zip(rising, rising[1:], strict=False):
        stride, before = (then / now).log(), growth
        move2, _ = slopes(y + stride * move, then, probes[:0])
        y = y + stride * (move + move2) / 2
        move, growth = slopes(y, then, probes)
        gained = gained + stride * (before + growth) / 2
    variance = rising[-1] ** 2 + spread**2
    base = -0.5 * (y.flatten(1).square().sum(1) + dims * torch.log(2 * math.pi * variance))
    return base + gained
