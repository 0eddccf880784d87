"""The likelihood of a diffusion model by its probability-flow ODE. ``samplers.diffusion`` says what ``denoise`` is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bottega.core import Rng
from bottega.samplers.diffusion import Denoise

__all__ = ["flow_log_prob"]


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
