"""Intervals and distances that several judges share."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from bottega.core import Rng
from bottega.core.measure import wilson

__all__ = ["auc", "bootstrap", "draw", "nearest", "ratio_interval", "wilson"]

Z = NormalDist().inv_cdf(0.975)


def ratio_interval(top: Tensor, bottom: Tensor) -> tuple[float, float, float]:
    """``sum(top) / sum(bottom)`` over ``(N,)`` examples, with its 95 % interval by the delta method.

    >>> ratio_interval(torch.tensor([2.0, 4.0, 6.0]), torch.tensor([1.0, 2.0, 3.0]))
    (2.0, 2.0, 2.0)
    """
    top, bottom = top.double(), bottom.double()
    value = (top.sum() / bottom.sum()).item()
    if len(top) < 2:
        return value, -math.inf, math.inf
    residual = top - value * bottom
    half = Z * (math.sqrt(len(top)) * residual.std() / bottom.sum()).item()
    return value, value - half, value + half


def auc(high: Tensor, low: Tensor) -> tuple[float, float, float]:
    """Chance that a draw of ``high`` exceeds a draw of ``low`` (ties count half), with its 95 % interval.

    Mann and Whitney 1947; variance by DeLong et al. 1988, doi:10.2307/2531595.

    >>> auc(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([1.0, 2.0, 3.5]))[0]  # 8 of 9 pairs
    0.888...
    """
    from scipy.stats import rankdata  # slow to import, and every command imports this file

    a, b = high.double().cpu().numpy(), low.double().cpu().numpy()
    m, n = len(a), len(b)
    ranks = rankdata(np.concatenate([a, b]))
    beats = (ranks[:m] - rankdata(a)) / n  # for each of `high`, the share of `low` below it
    loses = 1 - (ranks[m:] - rankdata(b)) / m
    value = float(beats.mean())
    if min(m, n) < 2:
        return value, 0.0, 1.0
    half = Z * math.sqrt(beats.var(ddof=1) / m + loses.var(ddof=1) / n)
    return value, max(0.0, value - half), min(1.0, value + half)


def bootstrap(values: Tensor, rng: Rng, times: int = 1000) -> tuple[float, float, float]:
    """Mean of ``(N,)`` values and its 95 % percentile interval over resamples of the N (Efron 1979).

    >>> bootstrap(torch.tensor([1.0, 1.0, 1.0]), Rng(0))
    (1.0, 1.0, 1.0)
    """
    values = values.double().cpu()
    n = len(values)
    means = torch.stack([values[rng.integers(n, n).cpu()].mean() for _ in range(times)])
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    value = values.mean().item()
    return value, min(low, value), max(high, value)


def draw(x: Tensor, n: int, order: Tensor) -> Tensor:
    """The first ``n`` rows of ``x`` in a drawn order; samples may lie sorted by class, so never the first as they come."""
    return x[order[:n].to(x.device)]


def nearest(x: Tensor, among: Tensor, k: int = 1, *, skip_self: bool = False) -> Tensor:
    """Euclidean distances ``(N, k)``, ascending, from rows ``(N, D)`` to their nearest rows ``(M, D)``, in float64.

    Args:
        x: queries.
        among: what is searched.
        k: how many.
        skip_self: ``x`` is ``among``; a row is not its own neighbour.

    >>> nearest(torch.tensor([[0.0]]), torch.tensor([[3.0], [1.0]]), 2).tolist()
    [[1.0, 3.0]]
    """
    among = among.double()
    rows = max(1, 20_000_000 // len(among))
    out = []
    for first in range(0, len(x), rows):
        block = torch.cdist(x[first : first + rows].double(), among)
        if skip_self:
            block[torch.arange(len(block)), torch.arange(first, first + len(block))] = math.inf
        out.append(block.topk(k, largest=False).values)
    return torch.cat(out)
