"""Langevin samplers: chains that follow a score, or an energy, and noise. Row i of a chain depends on row i alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bottega.core import Rng

__all__ = ["ais", "annealed_langevin", "langevin", "mala", "score_of"]

Energy = Callable[[Tensor], Tensor]  # (B, *shape) -> (B,), nats up to a constant
Score = Callable[[Tensor], Tensor]  # (B, *shape) -> (B, *shape), the gradient of log p


def score_of(energy: Energy) -> Score:
    """The score ``-grad E`` of an energy, whatever gradient mode the caller is in.

    >>> score_of(lambda x: 0.5 * x.square().sum(1))(torch.tensor([[1.0, -2.0]]))
    tensor([[-1.,  2.]])
    """

    def score(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return -torch.autograd.grad(energy(x).sum(), x)[0]

    return score


def langevin(
    score: Score, x: Tensor, steps: int, step_size: float, rng: Rng, *, noise: float = 1.0, clip: float = 0.0
) -> Tensor:
    """Unadjusted Langevin: ``x <- x + (e^2 / 2) score(x) + e noise xi`` (Welling & Teh 2011; Du & Mordatch 2019, eq. 1).

    Its stationary law is near ``p`` for small steps when ``noise`` is 1; less noise samples ``p`` sharpened.

    Args:
        score: the gradient of log p.
        x: where the chains start, ``(B, *shape)``.
        steps: how many.
        step_size: ``e``, in the units of ``x``.
        rng: normal draws, one row for each chain.
        noise: temperature's square root.
        clip: largest length of ``(e^2 / 2) score`` for one chain; 0 does not clip.
    """
    for _ in range(steps):
        drift = 0.5 * step_size**2 * score(x)
        if clip:
            length = drift.flatten(1).norm(dim=1).clamp_min(1e-12)
            drift = drift * (clip / length).clamp(max=1.0).view(-1, *[1] * (x.ndim - 1))
        x = x + drift + step_size * noise * rng.normal(*x.shape)
    return x.detach()


def mala(energy: Energy, x: Tensor, steps: int, step_size: float, rng: Rng) -> tuple[Tensor, Tensor]:
    """Metropolis-adjusted Langevin (Roberts & Tweedie 1996): the same moves, refused where detailed balance asks it.

    Samples ``exp(-E)`` exactly in the long run, for any step size.

    Returns:
        The chains' ends, and the fraction of accepted moves of each, ``(B,)``.
    """

    def look(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            e = energy(x)
            (grad,) = torch.autograd.grad(e.sum(), x)
        return e.detach(), grad

    def ahead(a: Tensor, grad: Tensor, b: Tensor) -> Tensor:  # log density of the move from a to b, up to a constant
        return -(b - a + 0.5 * step_size**2 * grad).square().flatten(1).sum(1) / (2 * step_size**2)

    x = x.detach()
    e, grad = look(x)
    accepted = torch.zeros_like(e)
    for _ in range(steps):
        new = x - 0.5 * step_size**2 * grad + step_size * rng.normal(*x.shape)
        new_e, new_grad = look(new)
        odds = e - new_e + ahead(new, new_grad, x) - ahead(x, grad, new)
        take = rng.uniform(len(x)).log() < odds
        wide = take.view(-1, *[1] * (x.ndim - 1))
        x, grad, e = torch.where(wide, new, x), torch.where(wide, new_grad, grad), torch.where(take, new_e, e)
        accepted = accepted + take
    return x, accepted / max(1, steps)


def annealed_langevin(
    score: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigmas: Sequence[float],
    steps: int,
    step_size: float,
    rng: Rng,
) -> Tensor:
    """Langevin at falling noise levels (Song & Ermon 2019, arXiv:1907.05600, algorithm 1), and a last denoising step.

    At level ``sigma`` a step is ``step_size * sigma`` long, so it is the same size beside the noise at every level. The
    end is ``x + sigma^2 score``, the mean of what the last level's noise hid (Jolicoeur-Martineau et al. 2020,
    arXiv:2009.05475).

    Args:
        score: ``(x, sigma (B,)) -> (B, *shape)``, the score of examples with noise of that standard deviation.
        x: where the chains start, ``(B, *shape)``: about ``sigmas[0]`` times normal noise.
        sigmas: standard deviations, falling.
        steps: at each level.
        step_size: of a step beside the level's sigma.
        rng: normal draws.
    """
    for sigma in sigmas:
        level = x.new_full((len(x),), sigma)
        x = langevin(lambda y, s=level: score(y, s), x, steps, step_size * sigma, rng)
    return (x + sigmas[-1] ** 2 * score(x, x.new_full((len(x),), sigmas[-1]))).detach()


def ais(
    energy: Energy, chains: int, shape: tuple[int, ...], rng: Rng, *, start_std: float, temperatures: int = 200,
    steps: int = 1, step_size: float = 0.1,
) -> tuple[float, float]:  # fmt: skip
    """Annealed importance sampling of ``log Z = log integral exp(-E)`` (Neal 2001; Salakhutdinov & Murray 2008).

    Chains go from a normal of standard deviation ``start_std`` to ``exp(-E)`` through geometric averages of the two,
    by ``mala``. In expectation ``Z`` is exact, so ``log Z`` is a little low.

    Returns:
        The estimate of ``log Z`` in nats, and its standard error (delta method over chains).
    """
    x = start_std * rng.normal(chains, *shape)
    dims = math.prod(shape)

    def prior(x: Tensor) -> Tensor:
        return x.square().flatten(1).sum(1) / (2 * start_std**2)

    log_weight = x.new_zeros(chains)
    betas = torch.linspace(0, 1, temperatures + 1).tolist()
    for before, now in zip(betas, betas[1:], strict=False):
        with torch.no_grad():
            log_weight = log_weight + (now - before) * (prior(x) - energy(x))
        x, _ = mala(lambda y, b=now: (1 - b) * prior(y) + b * energy(y), x, steps, step_size, rng)
    weight = (log_weight - log_weight.max()).double().exp()
    log_z = log_weight.max().item() + weight.mean().log().item() + 0.5 * dims * math.log(2 * math.pi * start_std**2)
    return log_z, (weight.std() / weight.mean()).item() / math.sqrt(chains)
