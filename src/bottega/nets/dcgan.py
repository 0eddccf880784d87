"""The networks of a DCGAN (Radford et al. 2015, arXiv:1511.06434) as the book's ch. 22 builds them, in fewer products."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Rng

__all__ = ["BatchNorm", "ConvCritic", "ConvGenerator", "UpConv"]


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167) whose running statistics move in ``settle`` only.

    A loss normalises by its own batch and changes no state; a sample is normalised by the running statistics, so it
    belongs to its seed. What losses saw in training mode is folded in by ``settle``, which a family calls in its own.

    Args:
        channels: C.
        momentum: share of the running statistics that stays at each step.
    """

    def __init__(self, channels: int, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, batch: bool) -> Tensor:
        """``(B, C, H, W)``; ``batch``: by the statistics of this batch, else by the running ones."""
        if not batch:
            return F.batch_norm(x, self.mean, self.var, self.weight, self.bias, eps=1e-3)
        mean, var = torch.zeros_like(self.mean), torch.ones_like(self.var)
        y = F.batch_norm(x, mean, var, self.weight, self.bias, True, 1.0, 1e-3)  # momentum 1: what this batch has
        if self.training:
            self._seen.append((mean, var))
        return y

    @torch.no_grad()
    def settle(self) -> None:
        """Move the running statistics towards what was seen since the last call."""
        for mean, var in self._seen:
            self.mean.lerp_(mean, 1 - self.momentum)
            self.var.lerp_(var, 1 - self.momentum)
        self.forget()

    def forget(self) -> None:
        """Drop what was seen since the last ``settle``: the step is undone."""
        self._seen.clear()


class UpConv(nn.Module):
    """Twice the height and width by nearest neighbours, then a 5 x 5 convolution: ``(B, a, H, W) -> (B, b, 2H, 2W)``.

    Each enlarged pixel sees only 3 x 3 different ones of the small picture, so the two are one 3 x 3 convolution with four
    times the channels, whose weights are sums of the 5 x 5 weights: the same function in 9 products in place of 25 (Shi et
    al. 2016, arXiv:1609.07009).

    >>> up = UpConv(2, 3)
    >>> x = torch.randn(1, 2, 4, 5)
    >>> plain = F.conv2d(F.interpolate(x, scale_factor=2), up.weight, up.bias, padding=2)
    >>> bool((up(x) - plain).abs().max() < 1e-5)
    True
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(outputs, inputs, 5, 5)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        fold = torch.zeros(2, 3, 5)  # for an even and an odd place: which of 3 small pixels each of the 5 weights meets
        for place in range(2):
            for k in range(5):
                fold[place, (place + k - 2) // 2 + 1, k] = 1
        self.register_buffer("fold", fold, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, a, H, W) -> (B, b, 2H, 2W)``."""
        with torch.autocast(x.device.type, enabled=False):  # sums of weights before they are rounded
            small = torch.einsum("oikl,yak,xbl->oyxiab", self.weight, self.fold, self.fold)
        small = small.reshape(-1, *small.shape[3:])
        return F.pixel_shuffle(F.conv2d(x, small, self.bias.repeat_interleave(4), padding=1), 2)


class ConvGenerator(nn.Module):
    """Noise to a picture: ``(B, inputs) -> (B, C, H, W)`` in [-1, 1]; a dense layer, two ``UpConv`` and a convolution.

    Args:
        shape: ``(C, H, W)``.
        width: channels before the last convolution; twice and four times as many before.
        inputs: width of the noise, and of what is known.
        norm: ``"batch"``, or ``"group"`` in groups of 8 channels, which leaves rows alone.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, inputs: int, norm: str) -> None:
        super().__init__()
        channels, height, wide = shape
        self.size, self.start = (height, wide), (4 * width, -(-height // 4), -(-wide // 4))
        self.first = nn.Linear(inputs, 4 * width * self.start[1] * self.start[2])
        self.up = nn.ModuleList([UpConv(4 * width, 2 * width), UpConv(2 * width, width)])
        self.norms = nn.ModuleList(
            BatchNorm(w) if norm == "batch" else nn.GroupNorm(math.gcd(w, max(1, w // 8)), w)
            for w in (2 * width, width)
        )
        self.last = nn.Conv2d(width, channels, 5, padding=2)
        _glorot(self.first, self.last)

    def forward(self, z: Tensor, batch: bool) -> Tensor:
        """``(B, inputs) -> (B, C, H, W)``; ``batch``: normalised by this batch, else by the running statistics."""
        x = F.relu(self.first(z)).unflatten(1, self.start).contiguous(memory_format=torch.channels_last)
        for up, norm in zip(self.up, self.norms, strict=True):
            x = up(x)
            x = F.relu(norm(x, batch) if isinstance(norm, BatchNorm) else norm(x))
        return self.last(x).float().tanh()[:, :, : self.size[0], : self.size[1]]


class ConvCritic(nn.Module):
    """A picture to features: two strided 5 x 5 convolutions, each with a leaky ReLU and dropout.

    Args:
        shape: ``(C, H, W)``.
        width: channels of the first convolution; twice as many in the second.
        dropout: share of features forgotten, drawn from ``rng``.

    Attributes:
        features: how many there are.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, dropout: float) -> None:
        super().__init__()
        channels, height, wide = shape
        self.dropout = dropout
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 5, stride=2, padding=2) for a, b in ((channels, width), (width, 2 * width))
        )
        self.features = 2 * width * -(-height // 4) * -(-wide // 4)
        _glorot(*self.convs)

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor:
        """``(B, C, H, W) -> (B, features)``; without ``rng`` nothing is forgotten."""
        x = x.contiguous(memory_format=torch.channels_last)
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            if rng is not None and self.dropout:
                kept = rng.uniform(*x.shape) >= self.dropout
                x = x * kept.to(x.dtype) / (1 - self.dropout)
        return x.flatten(1)


def _glorot(*layers: nn.Module) -> None:
    for layer in layers:
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        nn.init.xavier_uniform_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
