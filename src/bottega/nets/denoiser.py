"""What denoisers share: features of a noise level, a residual body for vectors, a classifier of what is noisy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bottega.core import Spec
from bottega.nets.bodies import encoder

__all__ = ["Fourier", "NoisyClassifier", "ResidualMLP", "gentle"]


def gentle(layer: nn.Module, scale: float = 0.1) -> nn.Module:
    """The same layer with weights ``scale`` times smaller and no bias: what it adds starts small, but not at zero."""
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.bias.zero_()
    return layer


class Fourier(nn.Module):
    """Sines and cosines of a number at geometric frequencies, through two linear layers: ``(B,) -> (B, width)``.

    Tancik et al. 2020, arXiv:2006.10739; the frequencies suit numbers between about -2 and 2, as ``log(sigma) / 4`` is.
    """

    def __init__(self, width: int, waves: int = 32) -> None:
        super().__init__()
        rate = 2 * math.pi * torch.logspace(math.log10(1 / 16), math.log10(8), waves)
        self.register_buffer("rate", rate, persistent=False)
        self.mix = nn.Sequential(nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """``(B,) -> (B, width)``."""
        angle = t[:, None] * self.rate
        return self.mix(torch.cat([angle.cos(), angle.sin()], -1))


class ResidualMLP(nn.Module):
    """Residual layers on a vector, each shifted and scaled by what is known: ``(B, dims), (B, width) -> (B, outputs)``.

    The modulation is that of Peebles & Xie 2022, arXiv:2212.09748, section 3.2 (adaptive layer norm).

    Args:
        dims: of the input.
        width: of the stream and of the vector that modulates it.
        depth: number of residual layers.
        outputs: of the output; 0 for as many as ``dims``.
    """

    def __init__(self, dims: int, width: int, depth: int = 3, outputs: int = 0) -> None:
        super().__init__()
        self.first = nn.Linear(dims, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(depth))
        self.modulate = nn.ModuleList(gentle(nn.Linear(width, 2 * width), 0.5) for _ in range(depth))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), gentle(nn.Linear(2 * width, width), 0.5))
            for _ in range(depth)
        )
        self.last_norm = nn.LayerNorm(width)
        self.last = gentle(nn.Linear(width, outputs or dims))
        self.first.readout = self.last.readout = True

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        """``x`` is ``(B, dims)``, ``given`` ``(B, width)`` -> ``(B, outputs)``."""
        h, given = self.first(x), nn.functional.silu(given)
        for norm, modulate, layer in zip(self.norms, self.modulate, self.layers, strict=True):
            scale, shift = modulate(given).chunk(2, -1)
            h = h + layer(norm(h) * (1 + scale) + shift)
        return self.last(self.last_norm(h))


class NoisyClassifier(nn.Module):
    """Which class a noisy example is of: ``(B, *shape), (B,) -> (B, classes)`` logits (Dhariwal & Nichol 2021, arXiv:2105.05233).

    Args:
        spec: of the examples, and of their classes.
        size: base width of the body (``nets.bodies.encoder``).
    """

    def __init__(self, spec: Spec, size: int) -> None:
        super().__init__()
        assert spec.cond is not None
        self.level = Fourier(4 * size)
        self.body = encoder(spec, size, spec.cond.vocab, context=4 * size)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """``x`` ``(B, *shape)`` of about unit variance, ``level`` ``(B,)`` as ``Fourier`` takes it."""
        return self.body(x, self.level(level)).float()
