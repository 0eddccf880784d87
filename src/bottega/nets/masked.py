"""The causal body of PixelCNN: two convolutional stacks in which no pixel sees itself or a later one.

Nothing is multiplied by a mask: the input is shifted down one row (vertical stack) or right one pixel (horizontal
stack), and every convolution reaches only up or left, which saves the half of the kernel that a mask would zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CausalStack", "StackCache"]


class _Up(nn.Conv2d):
    """A convolution over the own row and the rows above it, ``size`` wide and centred: ``(B, C, H, W)`` as it was."""

    def __init__(self, inputs: int, outputs: int, size: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, (size // 2 + 1, size), dilation=dilation)
        self.above, self.side = size // 2 * dilation, size // 2 * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.side, self.side, self.above, 0)))

    def row(self, past: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """The newest row alone: the last ``above`` rows and a new one ``(B, C, 1, W)`` -> its output, the rows to keep."""
        window = torch.cat([past, new], 2)
        return super().forward(F.pad(window, (self.side, self.side))), window[:, :, 1:]


class _Left(nn.Conv2d):
    """A convolution over the own pixel and those left of it in the same row."""

    def __init__(self, inputs: int, outputs: int, size: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, (1, size // 2 + 1), dilation=dilation)
        self.left = size // 2 * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.left, 0)))

    def pixel(self, past: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """The newest pixel alone: ``past`` ``(B, C, 1, left)`` and ``new`` ``(B, C, 1, 1)`` -> its output, what to keep."""
        window = torch.cat([past, new], 3)
        return super().forward(window), window[..., 1:]


def _gate(x: Tensor) -> Tensor:
    """``tanh(a / 2) * sigmoid(b)`` of the two halves of the channels (eq. 2, its weights halved), as one sigmoid."""
    a, b = torch.sigmoid(x).chunk(2, 1)
    return (2 * a - 1) * b


class _Layer(nn.Module):
    """One gated layer (fig. 2 of the paper), with a residual on both stacks; the last needs no next vertical state."""

    def __init__(self, width: int, size: int, dilation: int, given: int, last: bool) -> None:
        super().__init__()
        self.up, self.left = _Up(width, 2 * width, size, dilation), _Left(width, 2 * width, size, dilation)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.up_out, self.left_out = None if last else nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.given = nn.Linear(given, 4 * width, bias=False) if given else None

    def biases(self, known: Tensor | None) -> tuple[Tensor | float, Tensor | float]:
        """What is known, as a bias ``(B, 2 * width, 1, 1)`` of each stack (eq. 4)."""
        if self.given is None or known is None:
            return 0.0, 0.0
        return self.given(known)[:, :, None, None].chunk(2, 1)

    def vertical(self, v: Tensor, pre: Tensor, bias: Tensor | float) -> tuple[Tensor, Tensor]:
        """The stack's next state, and what it tells the horizontal one."""
        pre = pre + bias
        return v if self.up_out is None else v + self.up_out(_gate(pre)), self.link(pre)

    def horizontal(self, h: Tensor, pre: Tensor, told: Tensor, bias: Tensor | float) -> Tensor:
        """The stack's next state."""
        return h + self.left_out(_gate(pre + told + bias))


@dataclass
class StackCache:
    """What `CausalStack` remembers between pixels: for every layer the rows above and the pixels to the left."""

    rows: list[Tensor]
    lefts: list[Tensor]
    told: list[Tensor]
    biases: list[tuple[Tensor | float, Tensor | float]]
    row: int = -1
    column: int = -1


class CausalStack(nn.Module):
    """The gated PixelCNN body (van den Oord et al. 2016, arXiv:1606.05328, section 2): vertical and horizontal stacks.

    ``forward`` gives for every pixel features of the pixels before it in raster order, all channels of them, and of what
    is known; ``begin``, ``next_row`` and ``next_pixel`` (or ``this_row``) give the same features one pixel (or one guessed
    row) at a time, each layer computing only what is new.

    Args:
        inputs: channels of the input.
        shape: height and width of the picture (features know their place: a learned row and column vector each).
        width: channels inside.
        dilations: one layer for each; how far apart its kernel's taps are.
        size: taps across; the vertical kernels are ``(size // 2 + 1, size)``, the horizontal ones ``(1, size // 2 + 1)``.
        given: width of the vector of what is known; 0 for nothing.
    """

    def __init__(
        self, inputs: int, shape: tuple[int, int], width: int, dilations: tuple[int, ...], size: int = 3, given: int = 0
    ) -> None:
        super().__init__()
        self.shape, self.width = shape, width
        self.up, self.left = _Up(inputs + 1, width, 7), _Left(inputs + 1, width, 7)
        self.rows = nn.Parameter(0.1 * torch.randn(2, width, shape[0], 1))
        self.columns = nn.Parameter(0.1 * torch.randn(2, width, 1, shape[1]))
        last = len(dilations) - 1
        self.layers = nn.ModuleList(_Layer(width, size, d, given, i == last) for i, d in enumerate(dilations))

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """``(B, inputs, H, W)`` and ``(B, given)`` or None -> features ``(B, width, H, W)``, strictly causal."""
        inside = torch.cat([x, torch.ones_like(x[:, :1])], 1)  # a one tells an earlier pixel from the edge
        inside = inside.contiguous(memory_format=torch.channels_last)  # faster on CPUs, most of all in bfloat16
        place = self.rows + self.columns
        v = self.up(F.pad(inside, (0, 0, 1, -1))) + place[0]
        h = self.left(F.pad(inside, (1, -1))) + place[1]
        for layer in self.layers:
            above, beside = layer.biases(known)
            v, told = layer.vertical(v, layer.up(v), above)
            h = layer.horizontal(h, layer.left(h), told, beside)
        return h

    def begin(self, n: int, known: Tensor | None = None) -> StackCache:
        """An empty memory for ``n`` pictures."""
        zeros = self.rows.new_zeros
        stages = [self, *self.layers]
        rows = [zeros(n, stage.up.in_channels, stage.up.above, self.shape[1]) for stage in stages]
        return StackCache(rows, [], [], [layer.biases(known) for layer in self.layers])

    def next_row(self, cache: StackCache, previous: Tensor | None) -> None:
        """Move to the next row, ``previous`` being the one just finished ``(B, inputs, 1, W)``, or None at the top."""
        cache.row, cache.column = cache.row + 1, -1
        n = len(cache.rows[0])
        if previous is None:
            v = cache.rows[0].new_zeros(n, self.up.in_channels, 1, self.shape[1])
        else:
            v = torch.cat([previous, torch.ones_like(previous[:, :1])], 1)
        v, cache.rows[0] = self.up.row(cache.rows[0], v)
        r = cache.row
        v = v + (self.rows[0][:, r : r + 1] + self.columns[0])
        cache.told = []
        for i, layer in enumerate(self.layers):
            pre, cache.rows[i + 1] = layer.up.row(cache.rows[i + 1], v)
            v, told = layer.vertical(v, pre, cache.biases[i][0])
            cache.told.append(told)
        cache.lefts = [v.new_zeros(n, s.left.in_channels, 1, s.left.left) for s in [self, *self.layers]]

    def this_row(self, cache: StackCache, row: Tensor) -> Tensor:
        """Features ``(B, width, 1, W)`` of the row that ``next_row`` moved to, from a guess of it ``(B, inputs, 1, W)``.

        They are what ``next_pixel`` gives wherever all pixels to the left are guessed right.
        """
        r = cache.row
        inside = torch.cat([row, torch.ones_like(row[:, :1])], 1)
        h = self.left(F.pad(inside, (1, -1))) + (self.rows[1][:, r : r + 1] + self.columns[1])
        for layer, told, (_, beside) in zip(self.layers, cache.told, cache.biases, strict=True):
            h = layer.horizontal(h, layer.left(h), told, beside)
        return h

    def next_pixel(self, cache: StackCache, previous: Tensor | None) -> Tensor:
        """Features ``(B, width)`` of the next pixel; ``previous`` is the one just finished ``(B, inputs)``, None at the left."""
        cache.column += 1
        n = len(cache.rows[0])
        if previous is None:
            h = cache.lefts[0].new_zeros(n, self.left.in_channels, 1, 1)
        else:
            h = torch.cat([previous, torch.ones_like(previous[:, :1])], 1)[:, :, None, None]
        h, cache.lefts[0] = self.left.pixel(cache.lefts[0], h)
        r, c = cache.row, cache.column
        h = h + (self.rows[1][:, r : r + 1] + self.columns[1][:, :, c : c + 1])
        for i, layer in enumerate(self.layers):
            pre, cache.lefts[i + 1] = layer.left.pixel(cache.lefts[i + 1], h)
            h = layer.horizontal(h, pre, cache.told[i][..., c : c + 1], cache.biases[i][1])
        return h[:, :, 0, 0]
