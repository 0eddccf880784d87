"""Batch invariance: products of matrices and elementwise functions that give a row the same bits however many rows there are.

A library sums in another order where there are few rows, or many (oneDNN does so for a row alone if a sum has 1,536 parts, and
in bfloat16 beyond 32 rows), and what lies at the end of a tensor, or where threads cut it, is not computed by the vector
instructions that do the rest, so that its last bit may differ. A text that is written beside others would then differ from
what it is alone (He and Thinking Machines Lab 2025, "Defeating Nondeterminism in LLM Inference", who write kernels of their
own for it). Here the library's kernels stay: each number of rows is tried once, and one whose sums are in another order is
filled up with zeros to the next that agrees, or made in parts; and numbers are handed over so that none is at such an end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["RowCounts", "Product", "alike", "elementwise", "batch_invariant"]

Product = Callable[[Tensor], Tensor]

_REFERENCE = 32  # rows, with whose sums others must agree
_MOST = 64  # rows at once
_FEW = 3  # rows show another order of sums
_MANY = 2**17  # numbers do so where they are rounded to 8 or 11 bits: of sums of 384 and more, 3 to 10 in 10,000 differ
_WHOLE = 2**14 - 1  # numbers at most are not cut between threads (torch cuts GELU from there on, others from 2**15)
_VECTORS = 32  # numbers, two vectors of AVX-512, go through at once


class RowCounts:
    """Which numbers of rows agree, for all products of one shape, with the threads that are set.

    Args:
        make: one of them, ``(n, in) -> (n, out)``, each row for itself.
    """

    def __init__(self, make: Product) -> None:
        self.make, self.reference, self.most = make, _REFERENCE, _MOST
        self.known: dict[int, bool] = {}
        self.plans: dict[int, list[tuple[int, int]]] = {}
        self.rows: Tensor | None = None  # (tried, in)
        self.wanted: Tensor | None = None

    def plan(self, x: Tensor) -> Sequence[tuple[int, int]]:
        """How the rows of ``x`` ``(n, in)`` are made: for each part, how many of them, and how many with zeros behind them."""
        found = self.plans.get(len(x))
        if found is None:
            if self.rows is None:
                self._begin(x)
            found = self.plans[len(x)] = self._parts(len(x))
        return found

    def _begin(self, like: Tensor) -> None:
        g = torch.Generator().manual_seed(0)
        few = torch.randn(_FEW, like.shape[1], generator=g).to(like.device, like.dtype)
        out = self.make(few)
        coarse = any(torch.equal(out, out.to(short).to(out.dtype)) for short in (torch.bfloat16, torch.float16))
        many = max(0, -(-_MANY // out.shape[1]) - _FEW) if coarse else 0
        self.rows = torch.cat([few, torch.randn(many, like.shape[1], generator=g).to(like.device, like.dtype)])
        self.wanted = self._made(self.reference, first=0)
        if not self._agrees(self.reference):  # a row's place matters, so only rows alone agree
            self.reference, self.most, self.known = 1, 1, {}
            self.wanted = self._made(1, first=0)

    def _made(self, count: int, first: int) -> Tensor:
        """The rows that are tried from ``first`` on, in turn, so many at once."""
        assert self.rows is not None
        return torch.cat([self.make(self.rows[part]) for part in self._turns(count, first).split(count)])

    def _turns(self, count: int, first: int) -> Tensor:
        assert self.rows is not None
        tried = len(self.rows)
        return (torch.arange(-(-tried // count) * count, device=self.rows.device) + first) % tried

    def _parts(self, many: int) -> list[tuple[int, int]]:
        """The number itself or one up to twice it; else the largest below it, and the rest; else any above it."""
        out: list[tuple[int, int]] = []
        while many:
            up = range(many, min(2 * many, self.most) + 1)
            down = range(min(many - 1, self.most), 0, -1)
            above = range(2 * many + 1, self.most + 1)
            count = next((k for k in (*up, *down, *above) if self._agrees(k)), many)
            out.append((min(many, count), count))
            many -= min(many, count)
        return out or [(0, 0)]

    def _agrees(self, count: int) -> bool:
        if count not in self.known:
            assert self.wanted is not None
            other = self._made(count, first=1)  # each in another place
            self.known[count] = torch.equal(other, self.wanted[self._turns(count, 1)])
        return self.known[count]


def batch_invariant(make: Product, counts: RowCounts) -> Product:
    """``make``, ``(n, in) -> (n, out)``, in the numbers of rows that ``counts`` plan.

    >>> uneven = lambda x: x if len(x) > 1 else x * (1 + 1e-6)  # another order of sums where a row is alone
    >>> even = batch_invariant(uneven, RowCounts(uneven))
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


def elementwise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)``, number by number, ``(n, width) -> (n, width)``, on whole vectors of numbers only."""
    width = x.shape[1]
    over = -width % _VECTORS
    if over:
        x = F.pad(x, (0, over))
    step = max(1, _WHOLE // x.shape[1])
    if torch.get_num_threads() == 1 or len(x) <= step:
        out = function(x)
    else:
        out = torch.cat([function(part) for part in x.split(step)])
    return out[:, :width] if over else out


def alike(make: Callable[..., Tensor], *parts: Tensor) -> bool:
    """Whether the rows of ``make(*parts)`` have the same bits made among others, ``(n, ...)``, and some at a time.

    >>> alike(torch.neg, torch.ones(64, 4)), alike(lambda x: x * len(x), torch.ones(64, 4))
    (True, False)
    """
    whole = make(*parts)
    return all(
        torch.equal(make(*(part[at:][:n] for part in parts)), whole[at:][:n])
        for n in (1, 2, 3, 4, 5, 7, 11, 16, 23, 32)
        for at in (0, 13, 31)
    )
