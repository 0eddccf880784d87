"""A U-Net for waveforms of any length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.nets.denoiser import gentle

__all__ = ["WaveUNet"]

_MOST = 512  # moments at the finest level, where the number of samples a moment is left to the network
_STEP = 4  # of moments from level to level
_EDGE = 16  # finest moments of silence at either end: what convolutions make at an edge, clicks, is cut off with them


class _Block(nn.Module):
    """Two convolutions with a residual path; ``given`` scales and shifts between them."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, inputs), nn.Conv1d(inputs, outputs, 5, padding=2)
        self.modulate = gentle(nn.Linear(width, 2 * outputs), 0.5)
        self.norm2, self.conv2 = nn.GroupNorm(4, outputs), gentle(nn.Conv1d(outputs, outputs, 5, padding=2))
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(given)[:, :, None].chunk(2, 1)
        return self.skip(x) + self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))


class _Attention(nn.Module):
    """Every moment sees every other, and how far away it is."""

    def __init__(self, channels: int, moments: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32)
        while channels % self.heads:
            self.heads -= 1
        self.norm = nn.GroupNorm(4, channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), gentle(nn.Linear(channels, channels))
        self.place = nn.Parameter(0.02 * torch.randn(channels, moments))

    def forward(self, x: Tensor) -> Tensor:
        place = self.place
        if place.shape[1] != x.shape[2]:  # a piece of another length
            place = F.interpolate(place[None], x.shape[2], mode="linear")[0]
        flat = (self.norm(x) + place).mT
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in self.qkv(flat).chunk(3, -1))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(h).mT


class WaveUNet(nn.Module):
    """Down to few moments and up again, with the fine detail carried across, in one dimension.

    The plan of diffusion on raw sound (Kong et al. 2021, arXiv:2009.09761; the U-Net of Schneider et al. 2023,
    arXiv:2301.11757): ``patch`` samples in a row are the channels of a moment, every level has a fourth of the moments
    of the one above it, and at the lowest each moment sees all others.

    Args:
        channels: of the waves that go in.
        size: channels of the finest level, a multiple of 4; twice as many below.
        width: of the vector ``given``.
        length: samples of the waves.
        depth: blocks at each level on the way down, and on the way up.
        patch: samples of a moment; 0 as few as leave 512 moments of the wave.
        outputs: channels that come out; 0 for as many as ``channels``.

    >>> WaveUNet(1, 8, 16, length=1000)(torch.zeros(2, 1, 1000), torch.zeros(2, 16)).shape
    torch.Size([2, 1, 1000])
    """

    def __init__(
        self, channels: int, size: int, width: int, *, length: int, depth: int = 1, patch: int = 0, outputs: int = 0
    ) -> None:
        super().__init__()
        outputs = outputs or channels
        while not patch or patch * _MOST < length and patch < _MOST:
            patch = 2 * patch or 1
        self.patch, self.outputs = patch, outputs
        moments = [-(-length // patch)]
        while len(moments) < 4 and moments[-1] > 16:
            moments.append(-(-moments[-1] // _STEP))
        self.unit = patch * _STEP ** (len(moments) - 1)
        self.edge = min(_EDGE, moments[0]) * patch
        wide = [size, *[2 * size] * (len(moments) - 1)]
        self.first = nn.Conv1d(channels * patch, size, 5, padding=2)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        now, carried = size, []
        for level, c in enumerate(wide):
            if level:
                self.down.append(nn.Conv1d(now, now, 2 * _STEP - 1, stride=_STEP, padding=_STEP - 1))
            for _ in range(depth):
                self.down.append(_Block(now, c, width))
                now = c
                carried.append(now)
        self.middle, self.attend, self.after = (
            _Block(now, now, width), _Attention(now, -(-(length + 2 * self.edge) // self.unit)), _Block(now, now, width),
        )  # fmt: skip
        for level, c in reversed(list(enumerate(wide))):
            for _ in range(depth):
                self.up.append(_Block(now + carried.pop(), c, width))
                now = c
            if level:
                self.up.append(nn.ConvTranspose1d(now, now, 2 * _STEP, stride=_STEP, padding=_STEP // 2))
        self.last_norm, self.last = nn.GroupNorm(4, now), gentle(nn.Conv1d(now, outputs * patch, 5, padding=2))

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        """``(B, channels, T)``, ``(B, width)`` -> ``(B, outputs, T)``."""
        length = x.shape[2]
        rest = -(length + 2 * self.edge) % self.unit
        front = self.edge + rest // 2 // self.patch * self.patch  # so that samples lie in moments as they do without
        x = F.pad(x, (front, 2 * self.edge + rest - front))
        x = x.unflatten(2, (-1, self.patch)).transpose(2, 3).flatten(1, 2)  # (B, channels * patch, moments)
        given = F.silu(given)
        h, carried = self.first(x), []
        for part in self.down:
            if isinstance(part, _Block):
                h = part(h, given)
                carried.append(h)
            else:
                h = part(h)
        h = self.after(self.attend(self.middle(h, given)), given)
        for part in self.up:
            h = part(torch.cat([h, carried.pop()], 1), given) if isinstance(part, _Block) else part(h)
        h = self.last(F.silu(self.last_norm(h)))
        return h.unflatten(1, (self.outputs, self.patch)).transpose(2, 3).flatten(2)[:, :, front : front + length]
