"""Are pitch classes and melodic steps as frequent as in real pieces?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bottega.core import Measure, Rng
from bottega.core.score import Score
from bottega.judge._case import Case
from bottega.judge._music import degrees, intervals, pieces, variation, walks

__all__ = ["measure"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("music",)

_TIMES = 300


def _distance(
    of: Callable[[Score], NDArray[np.float64]], made: Sequence[Score], held: Sequence[Score], rng: Rng
) -> tuple[float, float, float]:
    """Of the pooled histograms, with a 95 % interval over resampled pieces of ``made``."""
    each, real = np.stack([of(s) for s in made]), np.stack([of(s) for s in held]).sum(0)
    value = variation(each.sum(0), real)
    again = [variation(each[rng.integers(len(each), len(each)).cpu().numpy()].sum(0), real) for _ in range(_TIMES)]
    low, high = np.quantile(again, [0.025, 0.975])
    return value, min(value, float(low)), max(value, float(high))


def measure(case: Case) -> list[Measure]:
    """``pitch_class_distance`` and ``interval_distance``: total variation from held-out pieces, 0 (the same) to 1.

    Pitch classes count from the tonic that is heard, by how long they sound; intervals are the steps of each part from onset
    to onset. The ceiling is the distance of training pieces, as many as samples; the note says that of a random walk.
    """
    made, held, train = (pieces(case, which) for which in ("samples", "held", "train"))
    if not made or not held:
        return []
    out, chance, rng = [], walks(case, held), case.rng("tone histograms")
    for name, what, of in (
        ("pitch_class_distance", "pitch classes above the tonic", degrees),
        ("interval_distance", "melodic steps", intervals),
    ):
        value, low, high = _distance(of, made, held, rng)
        walk, *_ = _distance(of, chance, held, rng)
        best = _distance(of, train[: len(made)], held, rng)[0] if train else None
        note = f"total variation between {what} of samples and of held-out pieces; a random walk has {walk:.3f}"
        out.append(
            Measure(name, value, low, high, n=len(made), seed=case.seed, better="lower", ceiling=best, note=note)
        )
    return out
