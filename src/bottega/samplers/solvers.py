"""From noise to examples: the samplers of diffusion models as plain functions, named after the papers' algorithms.

``samplers.diffusion`` says what ``denoise`` and ``sigmas`` are. In its coordinates ``x = x0 + sigma * noise`` the
probability-flow ODE is ``dx / dsigma = (x - D(x)) / sigma`` whatever the process, and with ``l = -log sigma`` its exact
solution over a step of length ``h`` is ``exp(-h) x + integral of exp(-(h - t)) D(l + t) dt`` (Lu et al. 2022,
arXiv:2211.01095, prop. 4.1); for the stochastic process with the same marginals it is
``exp(-2 h) x + integral of 2 exp(-2 (h - t)) D(l + t) dt`` and noise. Fast samplers differ in how they guess ``D`` along
the step from where it was seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from bottega.core import Rng
from bottega.samplers.diffusion import Denoise

__all__ = [
    "CHURNED",
    "SAMPLERS",
    "Posterior",
    "ancestral",
    "consistent",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "dpmpp_3m",
    "dpmpp_sde",
    "euler",
    "heun",
    "pc_ve",
    "pc_vp",
    "unipc",
]

Posterior = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(x (B, ...), sigma scalar) -> expected clean x0, its variance``, both ``(B, ...)``."""


def ddpm(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng) -> Tensor:
    """Ancestral sampling from ``q(x_next | x, x0)`` with the denoised ``x0`` (Ho et al. 2020, arXiv:2006.11239, Alg. 2).

    The variance is the lower one of the paper (beta tilde).
    """
    return ddim(denoise, x, sigmas, rng, eta=1.0)


def ancestral(posterior: Posterior, x: Tensor, sigmas: Tensor, rng: Rng) -> Tensor:
    """Ancestral sampling with a variance that was learned (Nichol & Dhariwal 2021, arXiv:2102.09672, section 3.1).

    The variance of a step is that of ``q(x_next | x, x0)`` and, carried through, that of ``x0`` itself (Bao et al. 2022,
    arXiv:2201.06503, theorem 1): ``ddpm`` where the latter is 0, the upper variance of the papers (beta) where it is that of
    Gaussian data. It holds for steps of any length, and Gaussian data are met exactly in any number of them.
    """
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        x0, variance = posterior(x, now)
        left = (then / now) ** 2
        x = x0 + left * (x - x0)
        if then > 0:
            x = x + (then**2 * (1 - left) + (1 - left) ** 2 * variance).sqrt() * rng.normal(*x.shape)
    return x


def consistent(end: Denoise, x: Tensor, sigmas: Tensor, rng: Rng) -> Tensor:
    """Few steps of a consistency model (Song et al. 2023, arXiv:2303.01469, Alg. 1): to the clean end of the path, and back up.

    ``end(x, sigma)`` is not the mean of what ``x`` may have been but one of them.
    """
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        x = end(x, now)
        if then > 0:
            x = x + then * rng.normal(*x.shape)
    return x


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


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, eta: float = 0.0) -> Tensor:
    """Heun's second-order method (Karras et al. 2022, arXiv:2206.00364, Alg. 1); two calls a step, one in the last.

    With ``eta`` above 0 each step first goes back up to ``1 + eta * (sqrt(2) - 1)`` times its noise level with fresh
    noise (Alg. 2; 1 is the most it allows).
    """
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        if eta:
            up = now * (1 + eta * (math.sqrt(2) - 1))
            x, now = x + (up**2 - now**2).sqrt() * rng.normal(*x.shape), up
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


def _weights(places: Sequence[float], stride: float, rate: int = 1) -> list[float]:
    """What ``D`` at some places counts for in ``integral over [0, stride] of rate exp(-rate (stride - t)) D(t) dt``.

    Exact when ``D`` is a polynomial of as many coefficients as there are places.
    """
    scaled = np.asarray(places) / stride
    moments = [1 - math.exp(-rate * stride)]
    for power in range(1, len(places)):
        moments.append(1 - power / (rate * stride) * moments[-1])
    return np.linalg.solve(np.vander(scaled, increasing=True).T, np.asarray(moments)).tolist()


def _order_left(levels: Sequence[float], step: int) -> int:
    """The order that a step may have: falling to 1 towards the end, where the strides in log sigma are the longest.

    A polynomial goes astray there. For Gaussian data, 10 steps and ``"edm"``, UniPC's error is 0.02 with the last three
    steps of first order, 0.09 with two, 0.16 with one (Euler's is 0.08).
    """
    return max(1, len(levels) - 3 - step)


def _multistep(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, *, order: int, rate: int) -> Tensor:
    """One call a step; ``D`` is taken to be the polynomial through its latest ``order`` values. The last step is to ``D``."""
    seen: list[tuple[float, Tensor]] = []
    levels = sigmas.double().tolist()
    for i, (now, then) in enumerate(zip(levels, levels[1:], strict=False)):
        seen = [(-math.log(now), denoise(x, sigmas[i])), *seen][:order]
        if then == 0:
            return seen[0][1]
        used = seen[: _order_left(levels, i)]
        stride = math.log(now / then)
        weights = _weights([place + math.log(now) for place, _ in used], stride, rate)
        x = (then / now) ** rate * x + sum(w * x0 for w, (_, x0) in zip(weights, used, strict=True))
        if rate == 2:
            x = x + then * math.sqrt(1 - (then / now) ** 2) * rng.normal(*x.shape)
    return x


dpmpp_3m = partial(_multistep, order=3, rate=1)
"""DPM-Solver++(3M) (Lu et al. 2022, arXiv:2211.01095): third order, one call a step; deterministic, ``rng`` unused.

Its weight of the second difference is the exact integral, twice that of the usual code, which makes the order three.
"""

dpmpp_sde = partial(_multistep, order=2, rate=2)
"""SDE-DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095): the stochastic process, second order in its mean."""


def unipc(denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, order: int = 3) -> Tensor:
    """UniPC of ``order``: each call also corrects the step that led to it (Zhao et al. 2023, arXiv:2302.04867, Alg. 1, 2).

    The predictor's polynomial goes through the latest ``order`` values of ``D`` (fewer in the last steps), the
    corrector's through the new one too, all weights solved for (the paper's ``a_p`` without its shortcuts, so that ``B(h)`` cancels). One call a step;
    deterministic, ``rng`` unused.
    """
    seen: list[tuple[float, Tensor]] = []
    levels = sigmas.double().tolist()
    used = seen
    at, before = x, 0.0  # the corrected place at the step before, and its log level
    for i, (now, then) in enumerate(zip(levels, levels[1:], strict=False)):
        new = (-math.log(now), denoise(x, sigmas[i]))
        if seen:
            at = _landed(at, [new, *used], before, new[0])
        if then == 0:
            return new[1]
        seen, before = [new, *seen][:order], new[0]
        used = seen[: _order_left(levels, i)]
        x = _landed(at, used, before, -math.log(then))
    return x


def _landed(x: Tensor, seen: Sequence[tuple[float, Tensor]], start: float, end: float) -> Tensor:
    """Where ``x`` at log level ``start`` comes to at ``end``, with ``D`` the polynomial through what was seen."""
    weights = _weights([place - start for place, _ in seen], end - start)
    return math.exp(start - end) * x + sum(w * x0 for w, (_, x0) in zip(weights, seen, strict=True))


def _predictor_corrector(
    denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, *, preserving: bool, corrections: int = 1, snr: float = 0.16
) -> Tensor:
    """Song et al. 2021, arXiv:2011.13456, Alg. 2 and 3: a reverse-diffusion step, then Langevin steps at the new level.

    The step of the corrector is ``2 (snr * sigma)^2``: the papers' ``2 (snr |noise| / |score|)^2`` with the score's usual
    length, so that rows do not see each other. The last step is to ``D``.
    """
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        x0 = denoise(x, now)
        if then == 0:
            return x0
        score = (x0 - x) / now**2
        if preserving:  # in z = x / sqrt(1 + sigma^2), where z_then = sqrt(1 - beta) z_now going up
            keep, wide = ((1 + then**2) / (1 + now**2)).sqrt(), (1 + now**2).sqrt()
            beta = 1 - keep**2
            z = (2 - keep) * x / wide + beta * score * wide + beta.sqrt() * rng.normal(*x.shape)
            x = z * (1 + then**2).sqrt()
        else:
            added = now**2 - then**2
            x = x + added * score + added.sqrt() * rng.normal(*x.shape)
        for _ in range(corrections):
            step = 2 * (snr * then) ** 2
            x = x + step * (denoise(x, then) - x) / then**2 + (2 * step).sqrt() * rng.normal(*x.shape)
    return x


pc_ve = partial(_predictor_corrector, preserving=False)
"""The variance-exploding SDE of Song et al. 2021 by predictor and corrector, two calls a step."""

pc_vp = partial(_predictor_corrector, preserving=True)
"""The variance-preserving SDE of Song et al. 2021 by predictor and corrector, two calls a step."""


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddpm": ddpm, "ddim": ddim, "euler": euler, "heun": heun, "dpmpp_2m": dpmpp_2m, "dpmpp_3m": dpmpp_3m,
    "dpmpp_sde": dpmpp_sde, "unipc": unipc, "pc_ve": pc_ve, "pc_vp": pc_vp,
}  # fmt: skip
CHURNED = ("ddim", "heun")  # those that take eta
