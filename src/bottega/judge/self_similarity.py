"""Does a piece come back to what it said?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bottega.core import Measure
from bottega.core.score import Score
from bottega.judge._case import Case
from bottega.judge._music import pieces, pitched, walks
from bottega.judge._statistics import bootstrap

__all__ = ["measure", "likeness"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("music",)

_SLOTS, _FEWEST = 16, 4


def likeness(score: Score) -> float | None:
    """Mean over bars of how like the bar is to the most similar other one, 0 to 1; None for fewer than four bars.

    A bar is which pitch class begins in which sixteenth of it, and the likeness of two the cosine between them, after
    Foote 1999 ("Visualizing music and audio using self-similarity").
    """
    bars = [(a, n) for a, n in score.bars() if a < score.length]
    rows = np.zeros((len(bars), _SLOTS * 12))
    starts = np.array([a for a, _ in bars])
    for n in pitched(score):
        k = int(np.searchsorted(starts, n.onset, side="right")) - 1
        slot = min(_SLOTS - 1, (n.onset - bars[k][0]) * _SLOTS // bars[k][1])
        rows[k, slot * 12 + n.pitch % 12] = 1
    rows = rows[rows.any(1)]
    if len(rows) < _FEWEST:
        return None
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    like = rows @ rows.T
    np.fill_diagonal(like, 0)
    return float(like.max(1).mean())


def measure(case: Case) -> list[Measure]:
    """``self_similarity`` of samples, with that of held-out pieces as the ceiling: above it they repeat, below they wander."""
    made, held, chance = (
        _of(s) for s in (pieces(case, "samples"), pieces(case, "held"), walks(case, pieces(case, "held")))
    )
    if not made or not held:
        return []
    note = (
        "mean likeness of each bar to the most similar other bar; real pieces have the ceiling, a random walk "
        f"{sum(chance) / len(chance):.3f}"
    )
    return [
        Measure("self_similarity", *bootstrap(torch.tensor(made), case.rng("self similarity")), n=len(made), seed=case.seed,
                ceiling=sum(held) / len(held), note=note)
    ]  # fmt: skip


def _of(scores: Sequence[Score]) -> list[float]:
    return [value for score in scores if (value := likeness(score)) is not None]
