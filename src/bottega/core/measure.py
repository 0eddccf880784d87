"""Measure: one number that was measured, with its interval, its sample size and its bound."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

_Z = 1.959963984540054  # of a 95 % normal interval

Bound = Literal["", "exact", "lower", "upper", "estimate"]


@dataclass(frozen=True)
class Measure:
    """One measured number; the only thing judges return.

    Attributes:
        name: snake_case, with its unit where it has one (``nll_nats``, ``bits_per_dim``, ``sample_ms``).
        value: the number.
        low, high: a 95 % interval; None where none can be had (say so in ``note``).
        n: how many examples it rests on.
        seed: the seed of whatever was random in measuring.
        bound: whether ``value`` is exact, a lower or upper bound of the true number, or an estimate.
        better: which direction is better; empty when neither.
        ceiling: the same measure of real held-out data, the best a faithful generator can hope for.
        features: the feature space it was measured in; empty where none was used. Numbers in different ones do not compare.
        note: one sentence a reader needs to read the number rightly.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    seed: int = 0
    bound: Bound = ""
    better: Literal["", "higher", "lower"] = ""
    ceiling: float | None = None
    features: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return asdict(self)


def mean_interval(values: Tensor) -> tuple[float, float, float]:
    """Mean and 95 % normal interval of ``(N,)`` values: ``(mean, low, high)``.

    >>> import torch
    >>> mean_interval(torch.tensor([1.0, 1.0, 1.0]))
    (1.0, 1.0, 1.0)
    """
    mean = values.double().mean().item()
    half = 1.96 * values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return mean, mean - half, mean + half


def wilson(share: float, n: float) -> tuple[float, float]:
    """95 % interval of a share seen in ``n`` trials (Wilson 1927, score interval); honest near 0 and 1.

    >>> [round(end, 3) for end in wilson(0.0, 100)]
    [0.0, 0.037]
    """
    scale = 1 + _Z**2 / n
    middle = (share + _Z**2 / (2 * n)) / scale
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / scale
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))
