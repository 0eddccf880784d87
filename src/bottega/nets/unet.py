"""A U-Net for pictures of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.nets.denoiser import gentle
from bottega.nets.pixels import Conv2d, GroupNorm, Still, together, transposed

__all__ = ["UNet"]


def _norm(channels: int) -> GroupNorm:
    most = min(32, channels // 4)
    return GroupNorm(next(g for g in range(most, 0, -1) if channels % g == 0), channels)


class _Block(nn.Module):
    """Two convolutions with a residual path; ``given`` scales and shifts between them (Dhariwal & Nichol 2021)."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(inputs), Conv2d(inputs, outputs, 3, padding=1)
        self.modulate = gentle(nn.Linear(width, 2 * outputs), 0.5)
        self.norm2, self.conv2 = _norm(outputs), gentle(Conv2d(outputs, outputs, 3, padding=1))
        self.skip = Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(given).chunk(2, 1)
        h = self.conv2(F.silu(self.norm2(h, scale, shift)))
        return self.skip(x) + h


class _Attention(nn.Module):
    """Every place of the picture sees every other; heads of about 32 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32)
        while channels % self.heads:
            self.heads -= 1
        self.norm = _norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = gentle(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        flat = self.norm(x).permute(0, 2, 3, 1).flatten(1, 2)  # (B, H*W, C)
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in self.qkv(flat).chunk(3, -1))
        # few places: written out, whose gradient costs a CPU a fifth of that of scaled_dot_product_attention
        h = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v
        h = self.out(h.transpose(1, 2).flatten(2)).unflatten(1, x.shape[2:])
        return x + h.permute(0, 3, 1, 2)


class _Up(Still, nn.Conv2d):
    """Twice the height and width by nearest neighbours, then a 3 x 3 convolution: ``(B, a, H, W) -> (B, b, 2H, 2W)``.

    Each enlarged pixel sees only 2 x 2 different ones of the small picture, so the two are one transposed convolution,
    whose 4 x 4 weights are sums of the 3 x 3: the same function in 4 products in place of 9.

    >>> up, x = _Up(2, 3), torch.randn(1, 2, 4, 5)
    >>> bool((up(x) - F.conv2d(F.interpolate(x, scale_factor=2), up.weight, up.bias, padding=1)).abs().max() < 1e-5)
    True
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        fold = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        self.register_buffer("fold", fold, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return transposed(x, self.kept(self._weight), self.bias, (2, 2), (1, 1))

    def _weight(self) -> Tensor:
        """``(in, out, 4, 4)``."""
        with torch.autocast(self.weight.device.type, enabled=False):  # sums of weights before they are rounded
            return torch.einsum("oikl,yk,xl->ioyx", self.weight, self.fold, self.fold).contiguous()


class UNet(nn.Module):
    """Down to a small picture and up again, with the fine detail carried across (Ronneberger 2015, arXiv:1505.04597).

    The blocks are those of diffusion U-Nets (Ho et al. 2020, arXiv:2006.11239, app. B; Dhariwal & Nichol 2021,
    arXiv:2105.05233): group norm, SiLU, a vector that scales and shifts in every block, attention where the picture is
    small. Height and width are padded (the edge repeated) to what can be halved, and cropped again.

    Args:
        channels: of the picture that goes in.
        size: channels at full resolution, a multiple of 4; twice that at every lower one.
        width: of the vector ``given``.
        side: the shorter side of the pictures; it is halved until it is 4 or 5, at most three times.
        depth: blocks at each resolution on the way down (one more on the way up).
        attend: attention at resolutions whose shorter side is at most this.
        patch: squares of ``patch`` x ``patch`` pixels become channels first and pixels again last: for the same width about
            ``patch ** 2`` times less work on large pictures (Hoogeboom et al. 2023, arXiv:2301.11093, section 3.2).
        outputs: channels that come out; 0 for as many as ``channels``.

    >>> UNet(1, 8, 16, side=9)(torch.zeros(2, 1, 9, 12), torch.zeros(2, 16)).shape
    torch.Size([2, 1, 9, 12])
    """

    def __init__(
        self, channels: int, size: int, width: int, *, side: int, depth: int = 1, attend: int = 8, patch: int = 1,
        outputs: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch, channels, outputs = patch, channels * patch**2, (outputs or channels) * patch**2
        sides = [-(-side // patch)]
        while len(sides) < 4 and sides[-1] > 5:
            sides.append(-(-sides[-1] // 2))
        self.unit = patch * 2 ** (len(sides) - 1)
        wide = [size, *[2 * size] * (len(sides) - 1)]
        self.first = Conv2d(channels, size, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        now, carried = size, [size]
        for level, (c, s) in enumerate(zip(wide, sides, strict=True)):
            if level:
                self.down.append(Conv2d(now, now, 3, stride=2, padding=1))
                carried.append(now)
            for _ in range(depth):
                self.down.append(_Stage(now, c, width, s <= attend))
                now = c
                carried.append(now)
        self.middle = _Stage(now, now, width, True)
        for level, (c, s) in reversed(list(enumerate(zip(wide, sides, strict=True)))):
            for _ in range(depth + 1):
                self.up.append(_Stage(now + carried.pop(), c, width, s <= attend))
                now = c
            if level:
                self.up.append(_Up(now, now))
        self.last_norm, self.last = _norm(now), gentle(Conv2d(now, outputs, 3, padding=1))

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        """``(B, channels, H, W)``, ``(B, width)`` -> ``(B, outputs, H, W)``."""
        height, wide = x.shape[-2:]
        if wide % self.unit or height % self.unit:
            x = F.pad(x, (0, -wide % self.unit, 0, -height % self.unit), mode="replicate")
        if self.patch > 1:
            x = F.pixel_unshuffle(x, self.patch)
        given = F.silu(given)
        h = self.first(together(x))
        carried = [h]
        for part in self.down:
            h = part(h, given) if isinstance(part, _Stage) else part(h)
            carried.append(h)
        h = self.middle(h, given)
        for part in self.up:
            if isinstance(part, _Stage):
                h = part(torch.cat([h, carried.pop()], 1), given)
            else:
                h = part(h)
        return F.pixel_shuffle(self.last(F.silu(self.last_norm(h))), self.patch)[..., :height, :wide]


class _Stage(nn.Module):
    """A block, and attention where asked for."""

    def __init__(self, inputs: int, outputs: int, width: int, attend: bool) -> None:
        super().__init__()
        self.block = _Block(inputs, outputs, width)
        self.attention = _Attention(outputs) if attend else nn.Identity()

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        return self.attention(self.block(x, given))
