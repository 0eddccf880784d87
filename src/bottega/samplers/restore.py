"""Diffusion where something is given already: inpainting by RePaint. ``samplers.diffusion`` says what ``denoise`` is."""

from __future__ import annotations

import torch
from torch import Tensor

from bottega.core import Rng
from bottega.samplers.diffusion import Denoise
from bottega.samplers.solvers import ddim

__all__ = ["repaint"]


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
