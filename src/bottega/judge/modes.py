"""In a made world: how many samples are good, and how many modes are covered."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._statistics import wilson

__all__ = ["measure"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("points",)


def measure(case: Case) -> list[Measure]:
    """``good_share`` and ``modes_covered`` by ``facts["truth"]["good"]``; nothing where the truth is not known.

    ``good`` takes points in the units of the data, ``(N, d)``, and returns the share that is good and the modes covered.
    """
    truth = case.facts.get("truth") or {}
    if "good" not in truth:
        return []

    def judged(x: Tensor) -> tuple[float, int]:
        if case.decode is None:
            return truth["good"](x.cpu())
        return truth["good"](torch.from_numpy(np.stack([np.asarray(item.value) for item in case.decode(x)])))

    share, covered = judged(case.samples)
    best, most = judged(case.held.x)
    n = len(case.samples)
    low, high = wilson(share, n)
    of = f" of {len(truth['modes'])}" if "modes" in truth else ""
    return [
        Measure(
            "good_share",
            share,
            low,
            high,
            n=n,
            seed=case.seed,
            better="higher",
            ceiling=best,
            note="share of samples where the made world's truth has its mass",
        ),
        Measure(
            "modes_covered",
            float(covered),
            n=n,
            seed=case.seed,
            better="higher",
            ceiling=float(most),
            note=f"modes{of} with at least a tenth of their fair share; no interval: a count, not a mean",
        ),
    ]
