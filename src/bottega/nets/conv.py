"""Convolutional residual networks between pictures and vectors, for any height and width."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GridDecoder", "GridEncoder", "ImageDecoder", "ImageEncoder", "ResBlock", "levels"]


def levels(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes a picture passes through, largest first: halved (rounding up) while the shorter side is 8 or more.

    From 16 pixels on, the first size is already half the picture's: a 2 x 2 patch goes in and out as channels.

    >>> levels(8, 8), levels(28, 28), levels(32, 48)
    ([(8, 8), (4, 4)], [(14, 14), (7, 7)], [(16, 24), (8, 12), (4, 6)])
    """
    sizes = [(height, width)]
    while min(sizes[-1]) >= 8:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes if min(height, width) < 16 else sizes[1:]


def _norm(channels: int, on: bool) -> nn.Module:
    """Groups of eight channels or more: a group of one channel would lose that channel's mean."""
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels) if on else nn.Identity()


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions around a skip (He et al. 2016, arXiv:1603.05027): ``(B, C, H, W)`` to the same shape.

    Args:
        channels: C.
        context: width of a vector that is added between the convolutions; 0 for none.
        norm: group normalisation before each convolution. Without it the sum is divided by sqrt(2), which keeps the
            variance (Karras et al. 2020, arXiv:1912.04958).
    """

    def __init__(self, channels: int, context: int = 0, norm: bool = True) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(channels, norm), _norm(channels, norm)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.context = nn.Linear(context, channels) if context else None
        self.gain = 1.0 if norm else 0.5**0.5
        if norm:
            with torch.no_grad():
                self.conv2.weight.mul_(0.1)  # the block begins close to the identity

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """``x`` is ``(B, C, H, W)``, ``h`` is ``(B, context)``."""
        y = self.conv1(F.silu(self.norm1(x)))
        if self.context is not None:
            y = y + self.context(h)[:, :, None, None]
        return (x + self.conv2(F.silu(self.norm2(y)))) * self.gain


class ImageEncoder(nn.Module):
    """A picture, and a vector of what is known of it, to a vector: ``(B, C, H, W), (B, context) -> (B, outputs)``.

    Args:
        shape: ``(C, H, W)``.
        width: channels at the first size; twice as many at all smaller ones.
        outputs: width of the result.
        context: width of the vector of what is known; 0 for none.
        depth: residual blocks at each size.
        norm: group normalisation; critics go without, so that their gradient means something.
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int, outputs: int, context: int = 0, depth: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        channels, height, wide = shape
        sizes = levels(height, wide)
        widths = [width] + [2 * width] * (len(sizes) - 1)
        self.stem = nn.Conv2d(channels, width, 3, stride=1 if sizes[0] == (height, wide) else 2, padding=1)
        self.stages = nn.ModuleList(nn.ModuleList(ResBlock(w, context, norm) for _ in range(depth)) for w in widths)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.norm = _norm(widths[-1], norm)
        self.last = nn.Linear(widths[-1] * sizes[-1][0] * sizes[-1][1], outputs)
        self.last.readout = True  # type: ignore[assignment]

    def features(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """What the last layer reads, ``(B, C, H, W), (B, context) -> (B, features)``: the smallest maps, place by place."""
        x = self.stem(x)
        for i, stage in enumerate(self.stages):
            for block in stage:
                x = block(x, h)
            if i < len(self.down):
                x = self.down[i](x)
        return F.silu(self.norm(x)).flatten(1)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """``(B, C, H, W), (B, context) -> (B, outputs)``."""
        return self.last(self.features(x, h))


class ImageDecoder(nn.Module):
    """A vector to a picture of numbers: ``(B, inputs) -> (B, C, H, W)``; the mirror of ``ImageEncoder``.

    The vector also enters every residual block, so that no size has to pass it on to the next (Brock et al. 2018,
    arXiv:1809.11096, section 3).

    Args:
        shape: ``(C, H, W)`` of the result.
        width: channels at the largest size; twice as many at all smaller ones.
        inputs: width of the vector.
        depth: residual blocks at each size.
        norm: group normalisation.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, inputs: int, depth: int = 1, norm: bool = True) -> None:
        super().__init__()
        channels, height, wide = shape
        self.size = height, wide
        self.sizes = levels(height, wide)[::-1]
        self.patch = 1 if self.sizes[-1] == (height, wide) else 2
        widths = [2 * width] * (len(self.sizes) - 1) + [width]
        self.first = nn.Linear(inputs, widths[0] * self.sizes[0][0] * self.sizes[0][1])
        self.stages = nn.ModuleList(nn.ModuleList(ResBlock(w, inputs, norm) for _ in range(depth)) for w in widths)
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, widths[1:], strict=False))
        self.norm = _norm(width, norm)
        self.last = nn.Conv2d(width, channels * self.patch**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """``(B, inputs) -> (B, C, H, W)``."""
        x = self.first(z).unflatten(1, (-1, *self.sizes[0]))
        for i, stage in enumerate(self.stages):
            for block in stage:
                x = block(x, z)
            if i < len(self.up):
                x = self.up[i](F.interpolate(x, self.sizes[i + 1], mode="nearest"))
        x = F.pixel_shuffle(self.last(F.silu(self.norm(x))), self.patch)
        return x[:, :, : self.size[0], : self.size[1]]


class GridEncoder(nn.Module):
    """A picture of any size to a grid of vectors: ``(B, C, H, W) -> (B, outputs, ceil(H / 2^halvings), ceil(W / 2^halvings))``.

    Nothing but convolutions, so that a vector sees the pixels around its place and no others (group normalisation apart).

    Args:
        channels: C.
        width: channels at the first size; twice as many at all smaller ones.
        outputs: width of each vector.
        halvings: how often height and width are halved, at least once.
        depth: residual blocks at each size.
        norm: group normalisation.
    """

    def __init__(
        self, channels: int, width: int, outputs: int, halvings: int, depth: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        widths = [width] + [2 * width] * (halvings - 1)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip([channels, *widths], widths, strict=False)
        )
        self.stages = nn.ModuleList(nn.ModuleList(ResBlock(w, 0, norm) for _ in range(depth)) for w in widths)
        self.norm = _norm(widths[-1], norm)
        self.last = nn.Conv2d(widths[-1], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, outputs, h, w)``."""
        for down, stage in zip(self.down, self.stages, strict=True):
            x = down(x)
            for block in stage:
                x = block(x)
        return self.last(F.silu(self.norm(x)))


class GridDecoder(nn.Module):
    """A grid of vectors to a picture: ``(B, inputs, h, w) -> (B, channels, h * 2^halvings, w * 2^halvings)``.

    The mirror of ``GridEncoder``; a caller whose picture is not a multiple cuts the rest off.

    Args:
        channels: of the result.
        width: channels at the largest size; twice as many at all smaller ones.
        inputs: width of each vector.
        halvings: how often height and width are doubled, at least once.
        depth: residual blocks at each size.
        norm: group normalisation.
    """

    def __init__(
        self, channels: int, width: int, inputs: int, halvings: int, depth: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        widths = [2 * width] * (halvings - 1) + [width]
        self.first = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(nn.ModuleList(ResBlock(w, 0, norm) for _ in range(depth)) for w in widths)
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, widths[1:], strict=False))
        self.norm = _norm(width, norm)
        self.last = nn.Conv2d(width, 4 * channels, 3, padding=1)  # the last doubling is of a 2 x 2 patch

    def forward(self, z: Tensor) -> Tensor:
        """``(B, inputs, h, w) -> (B, channels, H, W)``."""
        x = self.first(z)
        for i, stage in enumerate(self.stages):
            for block in stage:
                x = block(x)
            if i < len(self.up):
                x = self.up[i](F.interpolate(x, scale_factor=2, mode="nearest"))
        return F.pixel_shuffle(self.last(F.silu(self.norm(x))), 2)
