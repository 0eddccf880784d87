r"""Diffusion in one parametrisation: noise levels, and what a network predicts.

Everything is said of ``x = x0 + sigma * noise`` and a denoiser ``denoise(x, sigma) -> x0``, the expected clean example.
A variance-preserving process ``z = sqrt(ab) * x0 + sqrt(1 - ab) * noise`` is the same thing at another scale:
``x = z / sqrt(ab)``, ``sigma = sqrt(1 / ab - 1)`` (Karras et al. 2022, arXiv:2206.00364, app. C), so every sampler
(``samplers.solvers``) works with every schedule. ``sigmas`` fall and end with 0; ``x`` comes in as noise of standard
deviation ``sigmas[0]``.
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
    "SCHEDULES",
    "Denoise",
    "Prediction",
    "Schedule",
    "alpha_bar",
    "coefficients",
    "draw_sigma",
    "from_output",
    "sigma_range",
    "sigmas_for",
    "to_output",
]

Denoise = Callable[[Tensor, Tensor], Tensor]
"""``(x (B, ...), sigma scalar) -> expected clean x0 (B, ...)``."""

Schedule = Literal["linear", "cosine", "edm", "ve"]
Prediction = Literal["eps", "x", "v"]
SCHEDULES = ("linear", "cosine", "edm", "ve")
PREDICTIONS = ("eps", "x", "v")

_EXPLODING = {"edm": (0.002, 80.0), "ve": (0.01, 50.0)}  # Karras et al. 2022, table 1; Song et al. 2021, app. C
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
    if schedule in _EXPLODING:
        return _EXPLODING[schedule]
    low, high = _sigma_at(schedule, torch.tensor([_FIRST, 1.0])).tolist()
    return low, high


def sigmas_for(schedule: Schedule, steps: int, rho: float = 7.0) -> Tensor:
    """Falling noise levels for ``steps`` steps, ``(steps + 1,)``, the last one 0.

    ``"edm"``: even in ``sigma ** (1 / rho)`` (Karras et al. 2022, eq. 5); ``"ve"``: in log sigma, the variance-exploding
    process of Song et al. 2021; otherwise even in time.

    >>> sigmas_for("edm", 3)
    tensor([8.0000e+01, 2.5152e+00, 2.0000e-03, 0.0000e+00])
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    if schedule == "edm":
        low, high = (s ** (1 / rho) for s in sigma_range(schedule))
        sigmas = ((high + ramp * (low - high)) ** rho).float()
    elif schedule == "ve":
        low, high = sigma_range(schedule)
        sigmas = (high * (low / high) ** ramp).float()
    else:
        sigmas = _sigma_at(schedule, 1 + ramp * (_FIRST - 1))
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def draw_sigma(schedule: Schedule, n: int, rng: Rng) -> Tensor:
    """Noise levels to train on, ``(n,)``.

    ``"edm"``: ``log sigma`` is normal with mean -1.2 and deviation 1.2 (Karras et al. 2022, table 1); ``"ve"``: even in
    ``log sigma``; otherwise time is uniform.
    """
    if schedule == "edm":
        return (1.2 * rng.normal(n) - 1.2).exp()
    if schedule == "ve":
        low, high = sigma_range(schedule)
        return low * (high / low) ** rng.uniform(n)
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
