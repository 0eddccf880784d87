"""Do samples differ from each other as much as real examples do?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bottega.core import Measure, Rng, mean_interval
from bottega.judge._case import Case
from bottega.judge._features import about_features, features_of, words
from bottega.judge._statistics import Z, draw, wilson

__all__ = ["measure", "distinct", "duplicate_share", "repetition"]

needs: tuple[str, ...] = ("samples", "features")
media: tuple[str, ...] = ()

_MOST, _RESAMPLES = 1000, 40


def _spread(x: Tensor, rng: Rng) -> tuple[float, float]:
    """Mean distance between different rows ``(N, D)``, and its standard error by the bootstrap."""
    gaps, n = torch.cdist(x, x), len(x)
    again = []
    for _ in range(_RESAMPLES):
        count = torch.bincount(rng.integers(n, n).cpu(), minlength=n).double()
        pairs = count.sum().square() - count.square().sum()  # a row drawn twice is no pair
        again.append(count @ gaps @ count / pairs)
    return (gaps.sum() / (n * (n - 1))).item(), torch.stack(again).std().item()


def duplicate_share(x: Tensor) -> float:
    """Share of examples ``(N, ...)`` that repeat another one: 1 minus distinct over all.

    Real numbers count as equal when they agree to about 1/256 of the range [-1, 1].

    >>> duplicate_share(torch.tensor([[1, 2], [1, 2], [3, 4], [1, 2]]))
    0.5
    """
    rows = x.flatten(1)
    if rows.is_floating_point():
        rows = (rows * 127.5).round().long()
    return 1 - len(rows.unique(dim=0)) / len(rows)


def _grams(row: Tensor, order: int) -> list[tuple[int, ...]]:
    tokens = row[row >= 0].tolist()
    return list(zip(*(tokens[i:] for i in range(order)), strict=False))


def distinct(x: Tensor, order: int) -> float:
    """Different n-grams over all n-grams of rows ``(N, L)``; Li et al. 2016, arXiv:1510.03055, section 5.1. Padding is -1.

    >>> distinct(torch.tensor([[1, 2, 1, 2, -1]]), 2)  # (1 2) (2 1) (1 2)
    0.666...
    """
    grams = [gram for row in x.cpu() for gram in _grams(row, order)]
    return len(set(grams)) / max(1, len(grams))


def repetition(x: Tensor, order: int = 4) -> Tensor:
    """For each row ``(N, L)``, the share of its n-grams that it says again, ``(N,)``.

    >>> repetition(torch.tensor([[1, 2, 3, 4, 5], [7, 7, 7, 7, 7]])).tolist()
    [0.0, 0.5]
    """
    grams = [_grams(row, order) for row in x.cpu()]
    return torch.tensor([1 - len(set(g)) / len(g) if g else 0.0 for g in grams], dtype=torch.float64)


def measure(case: Case) -> list[Measure]:
    """``diversity`` (mean pairwise distance over that of training examples), ``duplicate_share``; for text also n-grams.

    ``ceiling`` is the same of real held-out examples, at the same number.
    """
    rng = case.rng("diversity")
    train, held, made = (features_of(case, which) for which in ("train", "held", "samples"))
    n = min(len(held), len(made), _MOST)
    rows = {name: rng.permutation(len(x)) for name, x in (("train", train), ("held", held), ("made", made))}
    real, real_error = _spread(draw(train, _MOST, rows["train"]), rng)  # unbiased at any number
    mean, error = _spread(draw(made, n, rows["made"]), rng)
    best, _ = _spread(draw(held, n, rows["held"]), rng)
    out = []
    if real > 0:  # training examples that are all alike say nothing of how far apart samples should be
        value = mean / real
        half = Z * math.hypot(error, value * real_error) / real
        out.append(
            Measure(
                "diversity",
                value,
                max(0.0, value - half),
                value + half,
                n=n,
                seed=case.seed,
                better="",
                ceiling=best / real,
                features=about_features(case),
                note="mean distance between samples over that between training examples; 1 is right, noise is above it; "
                f"{about_features(case)}",
            )
        )
    made_x, held_x = (words(case, which) for which in ("samples", "held"))
    n = min(len(made_x), len(held_x))
    made_x, held_x = draw(made_x, n, rows["made"]), draw(held_x, n, rows["held"])
    share = duplicate_share(made_x)
    low, high = wilson(share, n)
    out.append(
        Measure(
            "duplicate_share",
            share,
            low,
            high,
            n=n,
            seed=case.seed,
            better="lower",
            ceiling=duplicate_share(held_x),
            note="share of samples that repeat another sample",
        )
    )
    if case.spec.is_text:
        out += _text(made_x, held_x, case.seed)
    return out


def _text(made: Tensor, held: Tensor, seed: int) -> list[Measure]:
    out = []
    for order in (1, 2, 3):
        note = (
            f"different {order}-grams over all in {len(made)} samples; no interval: it depends on how much is counted"
        )
        out.append(
            Measure(
                f"distinct_{order}",
                distinct(made, order),
                n=len(made),
                seed=seed,
                ceiling=distinct(held, order),
                note=note,
            )
        )
    value, low, high = mean_interval(repetition(made))
    out.append(
        Measure(
            "repetition_4",
            value,
            max(0.0, low),
            high,
            n=len(made),
            seed=seed,
            better="lower",
            ceiling=repetition(held).mean().item(),
            note="share of a text's 4-grams that it says again",
        )
    )
    return out
