"""The likelihood of a diffusion model: by its probability-flow ODE, or a bound. ``samplers.diffusion`` says what ``denoise`` is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bottega.core import Rng, Spec
from bottega.samplers.diffusion import Denoise

__all__ = ["bound_of_levels", "flow_log_prob"]

_AT_ONCE = 1 << 24  # probabilities of levels looked at together, where every level of every number has one


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


def bound_of_levels(
    denoise: Denoise, spec: Spec, tokens: Tensor, levels: tuple[float, float, int], rng: Rng, spread: float = 1.0
) -> Tensor:
    """A lower bound ``(B,)`` in nats of the log probability of ordered levels (Kingma et al. 2021, arXiv:2107.00630).

    ``log p(x) >= E log p(x | x_low) - KL(x_high) - integral of |x - D|^2 / sigma^3 over sigma`` (eq. 11 and 17).

    Args:
        denoise: takes a noise level for each row, ``(B,)``.
        spec: of the examples.
        tokens: ``(B, *spec.shape)``.
        levels: the least and the greatest noise level, and how many draws between them stand for the integral, one in
            each equal part of log sigma.
        rng: one stream, or one for each row.
        spread: about the standard deviation of the data.
    """
    (low, high, draws), n, x = levels, len(tokens), spec.as_real(tokens)
    values = spec.as_real(torch.arange(spec.vocab, device=x.device))
    seen = x + low * rng.normal(*x.shape)
    read = []
    rows = max(1, _AT_ONCE // (spec.dims * spec.vocab))
    for some, level in zip(seen.split(rows), tokens.split(rows), strict=True):
        closeness = -0.5 * ((some[..., None] - values) / low) ** 2
        read.append(closeness.log_softmax(-1).gather(-1, level[..., None])[..., 0].flatten(1).sum(1))
    ratio = high**2 / (high**2 + spread**2)
    kl = 0.5 * (ratio - 1 - math.log(ratio) + x**2 / (high**2 + spread**2)).flatten(1).sum(1)
    span = math.log(high / low)
    offsets = rng.uniform(n, draws)
    lost = torch.zeros_like(kl)
    for i in range(draws):
        sigma = low * torch.exp(span * (i + offsets[:, i]) / draws)
        s = sigma.view(-1, *[1] * (x.ndim - 1))
        x0 = denoise(x + s * rng.normal(*x.shape), sigma)
        lost = lost + (x0 - x).square().flatten(1).sum(1) / sigma**2
    return torch.cat(read) - kl - lost * span / draws
