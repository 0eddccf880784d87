"""How much people who judge the same things agree, beyond chance."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Level", "cohen_kappa", "fleiss_kappa", "krippendorff_alpha"]

Level = Literal["nominal", "ordinal", "interval"]
Ratings = NDArray[np.float64]


def cohen_kappa(a: Ratings, b: Ratings, level: Level = "nominal") -> float:
    """Of two raters who rated the same things, ``(N,)`` each (Cohen 1960; 1968 with weights).

    ``"nominal"`` counts every difference as one; ``"ordinal"`` and ``"interval"`` count squared differences, of ranks among
    the values given and of the values. NaN where both gave the same one value to all.

    >>> round(cohen_kappa(np.array([1.0, 1, 2, 2]), np.array([1.0, 2, 2, 2])), 3)
    0.5
    """
    values = np.unique(np.concatenate([a, b]))
    x, y = (np.searchsorted(values, t) for t in (a, b))
    seen = np.zeros((len(values), len(values)))
    np.add.at(seen, (x, y), 1 / len(a))
    scale = values if level == "interval" else np.arange(len(values), dtype=float)
    apart = (scale[:, None] - scale) ** 2 if level != "nominal" else 1.0 - np.eye(len(values))
    chance = (np.outer(seen.sum(1), seen.sum(0)) * apart).sum()
    return float(1 - (seen * apart).sum() / chance) if chance > 0 else float("nan")


def fleiss_kappa(counts: Ratings) -> float:
    """Of things ``(N, values)``: how many of the same number of raters gave each value (Fleiss 1971, equations 1 to 7).

    >>> round(fleiss_kappa(np.array([[3.0, 0], [0, 3]])), 3)
    1.0
    """
    n = counts.sum(1)
    if not (n == n[0]).all() or n[0] < 2:
        raise ValueError("each thing must have the same number of ratings, at least two")
    own = ((counts**2).sum(1) - n) / (n * (n - 1))
    share = counts.sum(0) / counts.sum()
    chance = (share**2).sum()
    return float((own.mean() - chance) / (1 - chance)) if chance < 1 else float("nan")


def krippendorff_alpha(ratings: Ratings, level: Level = "ordinal") -> float:
    """Of ``(raters, things)`` with NaN where a rater gave none (Krippendorff 2011, "Computing Krippendorff's Alpha").

    One is full agreement, zero what chance gives. NaN where no thing was rated twice, or all ratings are one value.

    >>> round(krippendorff_alpha(np.array([[1.0, 2, 3, np.nan], [1, 2, 4, 3]]), "interval"), 3)
    0.878
    """
    rated = [column[~np.isnan(column)] for column in ratings.T]
    pairable = [column for column in rated if len(column) > 1]
    if not pairable:
        return float("nan")
    values = np.unique(np.concatenate(pairable))
    seen = np.zeros((len(values), len(values)))
    for column in pairable:
        count = np.bincount(np.searchsorted(values, column), minlength=len(values)).astype(float)
        seen += (np.outer(count, count) - np.diag(count)) / (len(column) - 1)
    each = seen.sum(1)
    if level == "nominal":
        apart = 1.0 - np.eye(len(values))
    elif level == "interval":
        apart = (values[:, None] - values) ** 2
    else:  # the squared number of ratings between two values, halves of the ends
        before = np.concatenate([[0.0], each.cumsum()])
        middle = (before[:-1] + before[1:]) / 2
        apart = (middle[:, None] - middle) ** 2
    chance = (np.outer(each, each) - np.diag(each)) * apart
    total = each.sum()
    return float(1 - (total - 1) * (seen * apart).sum() / chance.sum()) if chance.sum() > 0 else float("nan")
