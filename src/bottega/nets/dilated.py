"""The body of WaveNet: causal convolutions over time whose taps lie further and further apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DilatedCache", "DilatedStack"]


def _gate(x: Tensor) -> Tensor:
    """``tanh(a / 2) * sigmoid(b)`` of the two halves of the channels (eq. 2, its weights halved), as one sigmoid."""
    a, b = torch.sigmoid(x).chunk(2, 1)
    return (2 * a - 1) * b


class _Layer(nn.Module):
    """Two taps, ``dilation`` apart, a gate, a residual and a skip (fig. 4); the last layer has no use for its residual."""

    def __init__(self, width: int, dilation: int, given: int, last: bool) -> None:
        super().__init__()
        self.dilation = dilation
        self.taps = nn.Conv1d(width, 2 * width, 2, dilation=dilation)
        self.given = nn.Conv1d(given, 2 * width, 1, bias=False) if given else None
        self.skip = nn.Conv1d(width, width, 1)
        self.residual = None if last else nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """``(B, width, T)`` -> the next layer's input, and what is skipped to the end."""
        return self._go_on(x, self.taps(F.pad(x, (self.dilation, 0))), known)

    def one(self, past: Tensor, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same for one moment, ``past`` being the one ``dilation`` before it; both ``(B, width, 1)``."""
        return self._go_on(x, F.conv1d(torch.cat([past, x], 2), self.taps.weight, self.taps.bias), known)

    def _go_on(self, x: Tensor, pre: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.given is not None and known is not None:
            said = self.given(known)
            if 1 < said.shape[2] < pre.shape[2]:  # known frame by frame: each holds for several moments
                said = said.repeat_interleave(-(-pre.shape[2] // said.shape[2]), 2)[:, :, : pre.shape[2]]
            pre = pre + said
        y = _gate(pre)
        return x if self.residual is None else x + self.residual(y), self.skip(y)


@dataclass
class DilatedCache:
    """What `DilatedStack` remembers between moments: of each layer its last ``dilation`` inputs, in a ring."""

    rings: list[Tensor]
    time: int = 0


class DilatedStack(nn.Module):
    """Gated dilated causal convolutions (van den Oord et al. 2016, arXiv:1609.03499, section 2), one-dimensional.

    Features at a moment see the inputs of that moment and of ``sum(dilations)`` before it; who predicts the input itself
    shifts it by one. ``next`` gives the same features moment by moment, at a cost that does not grow with the past.

    Args:
        inputs: channels of the input.
        width: channels inside.
        dilations: one layer for each, ``(1, 2, 4, ..., 512)`` repeated in the paper.
        given: channels of what is known; 0 for nothing.

    >>> stack = DilatedStack(1, 8, (1, 2, 4))
    >>> stack.reach, stack(torch.zeros(2, 1, 50)).shape
    (7, torch.Size([2, 8, 50]))
    """

    def __init__(self, inputs: int, width: int, dilations: tuple[int, ...], given: int = 0) -> None:
        super().__init__()
        self.reach = sum(dilations)
        self.enter = nn.Conv1d(inputs, width, 1)
        last = len(dilations) - 1
        self.layers = nn.ModuleList(_Layer(width, d, given, i == last) for i, d in enumerate(dilations))

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """``(B, inputs, T)`` and ``(B, given, F)`` or None -> ``(B, width, T)``.

        Of ``F`` frames each is known of ``ceil(T / F)`` moments; one frame is known of all.
        """
        x = self.enter(x)
        total = torch.zeros_like(x)
        for layer in self.layers:
            x, skip = layer(x, known)
            total = total + skip
        return F.silu(total)

    def begin(self, n: int) -> DilatedCache:
        """An empty memory for ``n`` sequences: silence before the first moment."""
        zeros, width = self.enter.weight.new_zeros, self.enter.out_channels
        return DilatedCache([zeros(n, width, layer.dilation) for layer in self.layers])

    def next(self, cache: DilatedCache, x: Tensor, known: Tensor | None = None) -> Tensor:
        """The next moment alone: ``(B, inputs)`` and ``(B, given)`` or None -> ``(B, width)``; moves ``cache``."""
        x = self.enter(x[:, :, None])
        total = torch.zeros_like(x)
        for layer, ring in zip(self.layers, cache.rings, strict=True):
            at = cache.time % layer.dilation
            new, skip = layer.one(ring[:, :, at : at + 1], x, None if known is None else known[:, :, None])
            ring[:, :, at] = x[:, :, 0]
            x, total = new, total + skip
        cache.time += 1
        return F.silu(total)[:, :, 0]
