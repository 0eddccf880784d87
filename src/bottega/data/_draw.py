"""Choices of made worlds: one stream of uniform numbers, from which everything is chosen in order."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import TypeVar

from bottega.core import DataError, Item, Rng

__all__ = ["LICENCE", "SOURCE", "Draw", "at_least_one", "items_of", "uniforms"]

LICENCE = "CC0-1.0"
SOURCE = "made by Bottega from a seed"

T = TypeVar("T")


def uniforms(rng: Rng) -> Iterator[float]:
    """Uniform numbers in [0, 1) without end."""
    while True:
        yield from rng.uniform(4096).double().tolist()


class Draw:
    """Choices from a seed.

    >>> draw = Draw(0)
    >>> draw.of("abc") in "abc", 0 <= draw.below(5) < 5
    (True, True)
    """

    def __init__(self, seed: int) -> None:
        self._u = uniforms(Rng(seed))

    def below(self, k: int) -> int:
        """A whole number in [0, k)."""
        return min(int(next(self._u) * k), k - 1)

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return low + self.below(high - low + 1)

    def of(self, options: Sequence[T]) -> T:
        """One of ``options``, all equally likely."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], k: int) -> list[T]:
        """``k`` different ones of ``options``, in random order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(k)]

    def weighed(self, weights: Sequence[float]) -> int:
        """An index, as likely as its weight."""
        bounds = list(itertools.accumulate(weights))
        return min(bisect.bisect(bounds, next(self._u) * bounds[-1]), len(bounds) - 1)

    def chance(self, p: float) -> bool:
        """True with probability ``p``."""
        return next(self._u) < p


def items_of(rows: Sequence[tuple[object, object]], what: str) -> list[Item]:
    """``(value, cond)`` as pieces with names: ``"sentence 0"``, ``"sentence 1"`` ..."""
    return [Item(value, cond, f"{what} {i}") for i, (value, cond) in enumerate(rows)]


def at_least_one(world: str, **numbers: float) -> None:
    """DataError unless all numbers that a world was asked for are at least 1."""
    if min(numbers.values()) < 1:
        said = ", ".join(f"{k}={v}" for k, v in numbers.items())
        raise DataError(f"{world} with {said}: {'all' if len(numbers) > 1 else 'it'} must be at least 1")
