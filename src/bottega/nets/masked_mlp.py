"""The body of MADE: a residual network of masked linear layers, in which a place sees the places before it in an order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MaskedMLP", "MLPCache"]

_STRIPS = 4  # of a triangle: five eighths of a square's multiplications


class _Triangle(nn.Module):
    """A linear layer whose unit *i* sees units ``0 .. i``: ``(B, width) -> (B, width)``.

    The triangle is kept in strips of rows, so that most of the zero half is neither stored nor multiplied. Each unit
    starts with the same variance however many it sees.
    """

    def __init__(self, width: int, gain: float = 1.0) -> None:
        super().__init__()
        cuts = [width * k // _STRIPS for k in range(_STRIPS + 1)]
        self.spans = [(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if b > a]
        self.strips = nn.ParameterList(
            gain * torch.randn(b - a, b) / torch.arange(a + 1, b + 1)[:, None].sqrt() for a, b in self.spans
        )
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        parts = [F.linear(x[:, :b], w.tril(a)) for (a, b), w in zip(self.spans, self.strips, strict=True)]
        return torch.cat(parts, 1) + self.bias

    def rows(self) -> list[Tensor]:
        """The strips with their zeros."""
        return [w.tril(a) for (a, _), w in zip(self.spans, self.strips, strict=True)]


@dataclass
class MLPCache:
    """What `MaskedMLP` remembers between places: units that are final, and its weights with their masks."""

    enter: Tensor
    last: Tensor
    triangles: list[list[Tensor]]
    known: Tensor | float
    units: list[Tensor]
    rank: int = -1
    done: int = 0


class MaskedMLP(nn.Module):
    """Places to places, each from those before it (Germain et al. 2015, arXiv:1502.03509, eq. 12-13), in any order.

    Hidden units stand sorted by degree: one of degree *m* sees inputs of rank below *m*, and a place of rank *r* sees
    units of degree up to *r*. Hidden layers thus have one triangular mask for all orders, and an order is a mask of the
    first and last layer. Blocks are ``h + W2 silu(W1 silu(h))``.

    Args:
        places: how many numbers there are.
        inputs: numbers that describe a place on its way in.
        outputs: numbers that are said of it.
        hidden: units of each hidden layer.
        layers: residual blocks.
        given: width of the vector of what is known; 0 for nothing.
    """

    def __init__(self, places: int, inputs: int, outputs: int, hidden: int, layers: int, given: int = 0) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        degrees = torch.arange(hidden) * places // hidden
        self.register_buffer("degrees", degrees, persistent=False)
        self.enter = nn.Parameter(torch.randn(hidden, places * inputs) / degrees.clamp_min(1)[:, None].sqrt())
        self.blocks = nn.ModuleList(
            nn.ModuleList([_Triangle(hidden), _Triangle(hidden, 0.5 / math.sqrt(layers))]) for _ in range(layers)
        )
        self.last = nn.Parameter(torch.zeros(places * outputs, hidden))
        self.first_bias, self.last_bias = (nn.Parameter(torch.zeros(k)) for k in (hidden, places * outputs))
        self.given = nn.Linear(given, hidden, bias=False) if given else None

    def _masked(self, rank: Tensor) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
        """The first and the last weights under an order ``(places,)``, when asked for."""
        sees = self.degrees[:, None] > rank.repeat_interleave(self.inputs)
        hears = rank.repeat_interleave(self.outputs)[:, None] >= self.degrees
        return lambda: self.enter * sees, lambda: self.last * hears

    def _biased(self, known: Tensor | None) -> Tensor:
        return self.first_bias if self.given is None or known is None else self.first_bias + self.given(known)

    def forward(
        self,
        x: Tensor,
        ranks: Tensor,
        which: Tensor,
        known: Tensor | None = None,
        hide: Callable[[Tensor], Tensor] = lambda h: h,
    ) -> Tensor:
        """Outputs of every place, ``(B, places * outputs)``.

        Args:
            x: ``(B, places * inputs)``.
            ranks: the orders, ``(K, places)``: where each place stands in it, from 0.
            which: the order of each row, ``(B,)``.
            known: what is known of each row, ``(B, given)``.
            hide: what is done to hidden activations ``(B, hidden)`` in training (dropout).
        """
        rows = [(which == k).nonzero()[:, 0] for k in range(len(ranks))]
        taken = [(r, self._masked(rank)) for r, rank in zip(rows, ranks, strict=True) if len(r)]
        back = torch.cat([r for r, _ in taken]).argsort()
        one = len(taken) == 1

        def each(h: Tensor, end: int) -> Tensor:
            if one:
                return F.linear(h, taken[0][1][end]())
            return torch.cat([F.linear(h[r], weights[end]()) for r, weights in taken])[back]

        h = each(x, 0) + self._biased(known)
        for first, second in self.blocks:
            h = h + second(hide(F.silu(first(F.silu(h)))))
        return each(hide(F.silu(h)), 1) + self.last_bias

    def begin(self, n: int, rank: Tensor, known: Tensor | None = None) -> MLPCache:
        """An empty memory for ``n`` rows that are made in one order ``(places,)``."""
        enter, last = (weights() for weights in self._masked(rank))
        triangles = [triangle.rows() for block in self.blocks for triangle in block]
        units = [self.enter.new_zeros(n, len(self.degrees)) for _ in range(len(triangles) + 1)]
        return MLPCache(enter, last, triangles, self._biased(known).expand(n, -1), units)

    def next_place(self, cache: MLPCache, x: Tensor, place: int) -> Tensor:
        """Outputs ``(B, outputs)`` of the next place in the order; ``x`` ``(B, places * inputs)`` holds those before it.

        Only units of this place's degree are computed: all others are final, or not seen yet.
        """
        cache.rank += 1
        a = cache.done
        b = cache.done = int(torch.searchsorted(self.degrees, cache.rank, right=True))
        if b > a:
            h = F.linear(x, cache.enter[a:b]) + cache.known[:, a:b]
            for i, block in enumerate(self.blocks):
                first, second = block
                cache.units[2 * i][:, a:b] = F.silu(h)
                inner = _some(first, cache.triangles[2 * i], cache.units[2 * i], a, b)
                cache.units[2 * i + 1][:, a:b] = F.silu(inner)
                h = h + _some(second, cache.triangles[2 * i + 1], cache.units[2 * i + 1], a, b)
            cache.units[-1][:, a:b] = F.silu(h)
        at = slice(place * self.outputs, (place + 1) * self.outputs)
        return F.linear(cache.units[-1][:, :b], cache.last[at, :b], self.last_bias[at])


def _some(triangle: _Triangle, strips: Sequence[Tensor], x: Tensor, a: int, b: int) -> Tensor:
    """Units ``a .. b - 1`` of a triangle's output, ``(B, b - a)``."""
    parts = [
        F.linear(x[:, : min(b, end)], strip[max(a, start) - start : min(b, end) - start, : min(b, end)])
        for (start, end), strip in zip(triangle.spans, strips, strict=True)
        if start < b and a < end
    ]
    return torch.cat(parts, 1) + triangle.bias[a:b]
