"""Samples as mu-law levels, fine where sound is quiet, and back (ITU-T G.711)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["mu_law", "mu_law_inverse"]


def mu_law(x: Tensor, levels: int = 256) -> Tensor:
    """Samples in [-1, 1] as whole numbers in [0, levels): ``sign(x) log(1 + mu |x|) / log(1 + mu)``, rounded (ITU-T G.711).

    >>> mu_law(torch.tensor([-1.0, 0.0, 1.0])).tolist()
    [0, 128, 255]
    """
    mu = levels - 1
    y = x.sign() * torch.log1p(mu * x.abs().clamp_max(1)) / math.log1p(mu)
    return ((y + 1) / 2 * mu + 0.5).floor().clamp(0, mu).long()


def mu_law_inverse(k: Tensor, levels: int = 256) -> Tensor:
    """Whole numbers back to samples, float32: the middle of each level, so that encoding again finds it."""
    mu = levels - 1
    y = 2 * k.float() / mu - 1
    return y.sign() * torch.expm1(y.abs() * math.log1p(mu)) / mu
