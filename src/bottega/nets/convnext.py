"""ConvNeXt blocks over time, told something: the body of the speech networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Block", "Stack"]


class Block(nn.Module):
    """``(B, T, size)``: a depthwise convolution, a norm moved by what is told, and two layers beside a residual.

    Liu et al. 2022, arXiv:2201.03545, figure 4, in one dimension, as Vocos has it (Siuzdak 2023, arXiv:2306.00814); what is told scales and shifts the norm
    (FiLM: Perez et al. 2018). Places outside ``mask`` stay zero, so that nothing is heard across an end.
    """

    def __init__(self, size: int, kernel: int, given: int = 0, wider: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=size)
        self.norm = nn.LayerNorm(size, elementwise_affine=not given)
        self.tell = nn.Linear(given, 2 * size) if given else None
        self.wide, self.back = nn.Linear(size, wider * size), nn.Linear(wider * size, size)
        with torch.no_grad():
            self.back.weight.mul_(0.3)

    def forward(self, x: Tensor, mask: Tensor, told: Tensor | None = None) -> Tensor:
        """``x`` ``(B, T, size)``, ``mask`` ``(B, T, 1)`` of ones and zeros, ``told`` ``(B, given)`` or ``(B, T, given)``."""
        h = self.norm(self.conv(x.mT).mT)
        if self.tell is not None and told is not None:
            scale, shift = self.tell(told if told.ndim == 3 else told[:, None]).chunk(2, -1)
            h = h * (1 + scale) + shift
        return (x + self.back(F.gelu(self.wide(h)))) * mask


class Stack(nn.Module):
    """``depth`` blocks, one behind the other."""

    def __init__(self, size: int, depth: int, kernel: int, given: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(size, kernel, given) for _ in range(depth))

    def forward(self, x: Tensor, mask: Tensor, told: Tensor | None = None) -> Tensor:
        """As ``Block`` has it."""
        x = x * mask
        for block in self.blocks:
            x = block(x, mask, told)
        return x
