"""Spectral normalisation whose power iteration advances when it is told to, and never while a loss is computed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bottega.nets.condition import Condition

__all__ = ["advance_spectrum", "unit_spectrum"]


class _OneLipschitz(nn.Module):
    """``W / sigma(W)``, the largest singular value of ``W`` as a matrix estimated as ``u^T W v``."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0))
        self.advance(weight, 30)

    @torch.no_grad()
    def advance(self, weight: Tensor, times: int) -> None:
        """Power iterations of the pair ``u, v`` towards the leading singular vectors of ``weight``."""
        matrix = weight.flatten(1)
        for _ in range(times):
            self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
            self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):  # sigma in bfloat16 would be wrong by a percent
            return weight / (self.u @ weight.flatten(1) @ self.v)


def unit_spectrum(module: nn.Module) -> nn.Module:
    """Divide the weight of every linear, convolution and embedding layer in ``module`` by its largest singular value.

    Miyato et al. 2018, arXiv:1802.05957, Algorithm 1; a kernel ``(out, in, h, w)`` counts as the matrix
    ``(out, in * h * w)``. The vector that a ``Condition`` has for nothing known is kept within length 1. Computing a loss changes no state, so it is the same for a row alone or in a batch.
    """
    for layer in [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Embedding)]:
        parametrize.register_parametrization(layer, "weight", _OneLipschitz(layer.weight))
    _shorten(module)
    return module


def advance_spectrum(module: nn.Module, times: int = 2) -> None:
    """``times`` power iterations in every layer that ``unit_spectrum`` normalised; call it after each update.

    >>> layer = unit_spectrum(nn.Linear(5, 3))
    >>> bool(abs(torch.linalg.matrix_norm(layer.weight, 2) - 1) < 1e-3)
    True
    """
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            held = layer.parametrizations["weight"]  # type: ignore[index]
            for rule in held:
                if isinstance(rule, _OneLipschitz):
                    rule.advance(held.original, times)
    _shorten(module)


@torch.no_grad()
def _shorten(module: nn.Module) -> None:
    """What is said of an unknown condition to length 1 at most, as a class of a normalised table is."""
    for part in module.modules():
        if isinstance(part, Condition) and part.spec is not None:
            part.unknown.div_(part.unknown.norm().clamp_min(1))
