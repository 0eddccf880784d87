"""Networks between pictures: a critic of patches, and a picture that becomes larger."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Spec
from bottega.nets.conv import ResBlock
from bottega.nets.denoiser import gentle

__all__ = ["Enlarger", "PatchCritic", "planes", "too_small"]


def planes(cond: Tensor | None, n: int, channels: int, sides: tuple[int, int], like: Tensor) -> Tensor:
    """A known picture as planes to read: ``(n, channels + 1, H, W)``, its numbers at these sides and 1, or zeros if unknown.

    Args:
        cond: ``(n, channels, h, w)``, brought to ``sides`` by bicubic interpolation; None when nothing is known.
        n: rows.
        channels: of the known picture.
        sides: ``(H, W)``.
        like: gives kind and device where nothing is known.

    >>> planes(torch.ones(2, 3, 4, 4), 2, 3, (8, 8), torch.zeros(1)).shape, planes(None, 2, 3, (8, 8), torch.zeros(1)).sum().item()
    (torch.Size([2, 4, 8, 8]), 0.0)
    """
    if cond is None:
        return torch.zeros(n, channels + 1, *sides, dtype=like.dtype, device=like.device)
    if cond.shape[2:] != sides:
        cond = F.interpolate(cond, sides, mode="bicubic", antialias=True)
    return torch.cat([cond, torch.ones_like(cond[:, :1])], 1)


def too_small(spec: Spec) -> str:
    """What ``accepts`` answers for pictures in which a ``PatchCritic`` finds no patch; nothing for larger ones.

    >>> too_small(Spec((3, 4, 4)))
    ''
    """
    _, height, width = spec.shape
    if min(height, width) >= 4:
        return ""
    return f"its critic judges patches, and {width} x {height} pixels hold none; set codec.size to 4 or more"


class PatchCritic(nn.Module):
    """One number for each patch (Isola et al. 2016, arXiv:1611.07004, section 3.2.2): ``(B, C, H, W) -> (B, H/4, W/4)``.

    Without normalisation, so that rows stay alone.

    Args:
        channels: C, of the picture and of whatever it is judged with.
        width: channels of the first layer; twice and four times as many after.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(channels, width, 4, stride=2, padding=1),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            ]
        )
        self.score = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The numbers in float32, and what each layer made on the way."""
        seen = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            seen.append(x)
        return self.score(x).float()[:, 0], seen


class Enlarger(nn.Module):
    """A small picture becomes a larger one: ``(B, channels, h, w) -> (B, outputs, f h, f w)``.

    Residual blocks at the small size, then pixels out of channels (Ledig et al. 2016, arXiv:1609.04802; Shi et al. 2016,
    arXiv:1609.05158); without normalisation (Lim et al. 2017, arXiv:1707.02921).

    Args:
        channels: that go in.
        outputs: that come out.
        width: channels of the blocks.
        factor: f.
        depth: residual blocks.
        context: width of a vector that enters every block.
    """

    def __init__(self, channels: int, outputs: int, width: int, factor: int, depth: int, context: int) -> None:
        super().__init__()
        self.factor = factor
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResBlock(width, context, norm=False) for _ in range(depth))
        self.up = nn.Conv2d(width, width * factor**2, 3, padding=1)
        self.last = gentle(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        """``(B, channels, h, w), (B, context) -> (B, outputs, f h, f w)``."""
        first = h = self.first(x)
        for block in self.blocks:
            h = block(h, given)
        return self.last(F.silu(F.pixel_shuffle(self.up(h + first), self.factor)))
