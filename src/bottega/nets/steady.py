"""Products of matrices that give a row the same numbers, to the bit, however many rows there are.

Libraries of matrices sum in another order where there are few rows, or many, or other threads (oneDNN does so for a row
alone if the sum has 1,536 parts, and in bfloat16 for 16 to 33 rows). A text that is written beside others would then differ
from what it is alone. So each number of rows is tried once, and one whose sums are in another order is filled up with
zeros to the next that agrees, or made in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Counts", "Product", "steadily"]

Product = Callable[[Tensor], Tensor]

_FEW = 3  # rows show another order of sums
_OUTPUTS = 2**17  # numbers do so where they are rounded to bfloat16, of which one in 10,000 then differs


class Counts:
    """Which numbers of rows agree, for all products of one shape.

    Args:
        make: one of them, ``(n, in) -> (n, out)``, each row for itself.
        like: the number of rows that others must agree with.
        most: rows at once.
    """

    def __init__(self, make: Product, like: int = 32, most: int = 64) -> None:
        self.make, self.like, self.most = make, like, most
        self.known: dict[int, bool] = {}
        self.plans: dict[int, tuple[tuple[int, int], ...]] = {}
        self.rows: Tensor | None = None  # (tried, in)
        self.wanted: Tensor | None = None

    def plan(self, x: Tensor) -> Sequence[tuple[int, int]]:
        """How the rows of ``x`` are made: for each part, how many of them, and how many with zeros behind them."""
        found = self.plans.get(len(x))
        if found is None:
            if self.rows is None:
                self._begin(x)
            found = self.plans[len(x)] = tuple(self._parts(len(x)))
        return found

    def _begin(self, like: Tensor) -> None:
        g = torch.Generator().manual_seed(0)
        few = torch.randn(_FEW, like.shape[1], generator=g).to(like.device, like.dtype)
        out = self.make(few)
        coarse = bool((out == out.bfloat16()).all())
        many = -(-_OUTPUTS // out.shape[1]) - _FEW if coarse else 0
        more = torch.randn(max(many, 0), like.shape[1], generator=g).to(like.device, like.dtype)
        self.rows = torch.cat([few, more])
        self.wanted = self._made(self.like, first=0)
        if not self._agrees(self.like):  # a row's place matters, so only rows alone agree
            self.like, self.most, self.known = 1, 1, {}
            self.wanted = self._made(1, first=0)

    def _made(self, count: int, first: int) -> Tensor:
        """The rows that are tried from ``first`` on, in turn, so many at once."""
        assert self.rows is not None
        at = self._turns(count, first)
        return torch.cat([self.make(self.rows[part]) for part in at.split(count)])

    def _turns(self, count: int, first: int) -> Tensor:
        assert self.rows is not None
        tried = len(self.rows)
        return (torch.arange(-(-tried // count) * count, device=self.rows.device) + first) % tried

    def _parts(self, many: int) -> list[tuple[int, int]]:
        """The number itself or one up to twice it; else the largest below it, and the rest; else any above it."""
        up = range(many, min(2 * many, self.most) + 1)
        down = range(min(many - 1, self.most), 0, -1)
        above = range(2 * many + 1, self.most + 1)
        count = next((k for k in (*up, *down, *above) if self._agrees(k)), many) if many else 0
        return [(many, count)] if count >= many else [(count, count), *self._parts(many - count)]

    def _agrees(self, count: int) -> bool:
        if count not in self.known:
            assert self.wanted is not None
            other = self._made(count, first=1)  # each in another place
            self.known[count] = torch.equal(other, self.wanted[self._turns(count, 1)])
        return self.known[count]


def steadily(make: Product, counts: Counts) -> Product:
    """``make`` as ``counts`` plan it.

    >>> uneven = lambda x: x if len(x) > 1 else x * (1 + 1e-6)  # another order of sums where a row is alone
    >>> even = steadily(uneven, Counts(uneven))
    >>> bool((even(torch.ones(1, 4)) == even(torch.ones(5, 4))[:1]).all())
    True
    """

    def made(x: Tensor) -> Tensor:
        plan = counts.plan(x)
        if len(plan) == 1 and plan[0][0] == plan[0][1]:
            return make(x)
        out = [
            make(F.pad(part, (0, 0, 0, filled - count)) if filled > count else part)[:count]
            for part, (count, filled) in zip(x.split([count for count, _ in plan]), plan, strict=True)
        ]
        return out[0] if len(out) == 1 else torch.cat(out)

    return made
