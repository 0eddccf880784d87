"""A network that repaints a picture in one pass (Johnson et al. 2016, arXiv:1603.08155)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Stylist"]


class _Conv(nn.Module):
    """Mirror-padded convolution and instance normalisation (Ulyanov et al. 2016, arXiv:1607.08022)."""

    def __init__(self, a: int, b: int, kernel: int = 3, stride: int = 1, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(a, b, kernel, stride)
        self.norm = nn.InstanceNorm2d(b, affine=True) if norm else nn.Identity()
        self.edge = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(F.pad(x, (self.edge,) * 4, "reflect")))
        return out


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _Conv(width, width), _Conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(F.relu(self.first(x)))
        return out


class Stylist(nn.Module):
    """Pictures ``(N, 3, H, W)`` in [-1, 1] to pictures of the same size; any H and W from 8 up.

    Two halvings, three residual blocks, two enlargements by the nearest pixel and a convolution (no checkerboards, Odena
    et al. 2016), at a quarter to a half of the paper's widths, so that a processor repaints a film as it runs. What is
    learned is the change: with fresh weights the picture comes back nearly as it was, so that minutes of learning paint it
    over instead of finding it first.

    Args:
        size: channels at full resolution.
    """

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.size = size
        self.down = nn.ModuleList([_Conv(3, size, 7), _Conv(size, 2 * size, 3, 2), _Conv(2 * size, 3 * size, 3, 2)])
        self.middle = nn.Sequential(*(_Residual(3 * size) for _ in range(3)))
        self.up = nn.ModuleList([_Conv(3 * size, 2 * size), _Conv(2 * size, size)])
        self.last = _Conv(size, 3, 7, norm=False)
        with torch.no_grad():
            self.last.conv.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` in [-1, 1] to the same, not yet clipped: a saturated colour would not learn its way back."""
        height, width = x.shape[2:]
        h = F.pad(x, (0, -width % 4, 0, -height % 4), "replicate")
        for layer in self.down:
            h = F.relu(layer(h))
        h = self.middle(h)
        for layer in self.up:
            h = F.relu(layer(F.interpolate(h, scale_factor=2, mode="nearest")))
        return x + self.last(h)[:, :, :height, :width]
