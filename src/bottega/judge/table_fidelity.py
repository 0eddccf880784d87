"""Table fidelity: marginals, pairs of columns, and whether a classifier can tell made rows from real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._rows import Features, made_rows, some_rows

__all__ = ["measure", "detection_auc", "marginal_distances", "pair_distance"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("table",)

MOST = 5000  # rows on either side; intervals are far below what matters by then
DRAWS = 40  # bootstrap resamples


def measure(case: Case) -> list[Measure]:
    """``marginal_distance``, ``pair_distance`` and ``detection_auc`` of made against held-out rows.

    The ceiling is the same measure of training rows, as many as there are made ones, against the held-out rows.
    """
    held = some_rows(case, case.held, "table_fidelity held", MOST)
    fake = made_rows(case, MOST)
    real = some_rows(case, case.train, "table_fidelity train", len(fake))
    features = Features.of(held, fake, real)
    fake, real, held = (features.matrix(rows) for rows in (fake, real, held))
    rng = np.random.default_rng(case.seed)
    draws = [(rng.integers(len(fake), size=len(fake)), rng.integers(len(held), size=len(held))) for _ in range(DRAWS)]
    common: dict[str, Any] = {"n": len(fake), "seed": case.seed, "better": "lower"}
    out = []

    each = marginal_distances(features, fake, held)
    value = float(np.mean(list(each.values())))
    resampled = [np.mean(list(marginal_distances(features, fake[a], held[b]).values())) for a, b in draws]
    ceiling = float(np.mean(list(marginal_distances(features, real, held).values())))
    worst = ", ".join(f"{name} {distance:.3f}" for name, distance in sorted(each.items(), key=lambda kv: -kv[1])[:40])
    note = f"mean over columns of Kolmogorov-Smirnov (numbers) or total variation (names), in [0, 1]: {worst}"
    out.append(Measure("marginal_distance", value, *_interval(value, resampled), ceiling=ceiling, note=note, **common))

    if len(features.names) > 1:
        value = pair_distance(features, fake, held)
        resampled = [pair_distance(features, fake[a], held[b]) for a, b in draws]
        ceiling = pair_distance(features, real, held)
        note = "mean over pairs of columns of the difference in Cramér's V (numbers in deciles), in [0, 1]"
        out.append(Measure("pair_distance", value, *_interval(value, resampled), ceiling=ceiling, note=note, **common))

    if min(len(fake), len(real), len(held)) >= 2:  # one row cannot be learned from and tested on
        auc, low, high = detection_auc(features, fake, held, case.seed)
        ceiling = detection_auc(features, real, held, case.seed)[0]
        note = "boosted trees telling made from held-out rows, cross-validated; 0.5 cannot tell, 1 always can"
        out.append(Measure("detection_auc", auc, low, high, ceiling=ceiling, note=note, **common))
    return out


def _interval(value: float, resampled: list[float]) -> tuple[float, float]:
    """95 % normal interval with the spread of bootstrap resamples, whose own mean is biased upwards for a distance."""
    half = 1.96 * float(np.std(resampled))
    return max(0.0, value - half), min(1.0, value + half)


def marginal_distances(features: Features, made: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """For each column the Kolmogorov-Smirnov statistic (numbers) or the total variation distance (names), in [0, 1].

    ``made`` and ``real`` are ``Features.matrix`` of either side. Gaps count as a name of their own; for a number their difference in share is a lower limit of the distance.
    """
    out = {}
    for name, a, b in zip(features.names, made.T, real.T, strict=True):
        levels = features.levels[name]
        gap = abs(float(np.isnan(a).mean() - np.isnan(b).mean()))
        a_known, b_known = a[~np.isnan(a)], b[~np.isnan(b)]
        if levels is not None:
            shares = [
                np.bincount(v.astype(int), minlength=len(levels)) / n for v, n in ((a_known, len(a)), (b_known, len(b)))
            ]
            out[name] = 0.5 * (float(np.abs(shares[0] - shares[1]).sum()) + gap)
        elif len(a_known) and len(b_known):
            out[name] = max(gap, float(ks_2samp(a_known, b_known, method="asymp").statistic))
        else:
            out[name] = gap
    return out


def pair_distance(features: Features, made: np.ndarray, real: np.ndarray) -> float:
    """Mean over all pairs of columns of ``|V(made) - V(real)|``, V being Cramér's V (Cramér 1946, chapter 21), in [0, 1].

    Numbers are cut at the deciles of the real rows, so dependences of any form count; a gap is a level of its own.
    """
    edges: list[np.ndarray | None] = []
    for name, column in zip(features.names, real.T, strict=True):
        known = column[~np.isnan(column)]
        whole = features.levels[name] is None and len(known) > 0
        edges.append(np.unique(np.quantile(known, np.linspace(0.1, 0.9, 9))) if whole else None)
    codes = [_codes(matrix, edges) for matrix in (made, real)]
    sizes = [1 + max(int(a.max()), int(b.max())) + 1 for a, b in zip(*codes, strict=True)]
    first, second = (_cramers_v(columns, sizes) for columns in codes)
    upper = np.triu_indices(len(sizes), 1)
    return float(np.abs(first - second)[upper].mean())


def _codes(matrix: np.ndarray, edges: list[np.ndarray | None]) -> list[np.ndarray]:
    """Every column as whole numbers: its own, or the interval between ``edges``; a gap is -1."""
    cut = [c if e is None else np.searchsorted(e, c, side="right") for c, e in zip(matrix.T, edges, strict=True)]
    return [np.where(np.isnan(c), -1, k).astype(np.int64) for c, k in zip(matrix.T, cut, strict=True)]


def _cramers_v(codes: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """``(columns, columns)`` of Cramér's V, all contingency tables from one product of one-hot matrices."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    n = len(codes[0])
    hot = np.zeros((n, starts[-1]), np.float32)
    for code, start in zip(codes, starts[:-1], strict=True):
        hot[np.arange(n), start + code + 1] = 1
    joint = hot.T @ hot / n
    share = np.diag(joint).copy()
    expected = np.outer(share, share)
    chi = np.divide((joint - expected) ** 2, expected, out=np.zeros_like(expected), where=expected > 0)
    phi = np.add.reduceat(np.add.reduceat(chi, starts[:-1], 0), starts[:-1], 1)
    seen = np.add.reduceat(share > 0, starts[:-1], dtype=int)
    least = np.minimum.outer(seen, seen) - 1
    return np.sqrt(np.divide(phi, least, out=np.zeros_like(phi), where=least > 0))


def detection_auc(features: Features, made: np.ndarray, real: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Area under the ROC curve of boosted trees that tell made from real rows, each scored by trees that never saw it.

    As many rows of either side; 5 folds (2 when there are fewer than 50). Returns the area and a 95 % bootstrap interval.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    n = min(len(made), len(real))
    x = np.concatenate([made[:n], real[:n]])
    y = np.repeat([1, 0], n)
    model = HistGradientBoostingClassifier(
        max_iter=60,
        max_leaf_nodes=15,
        categorical_features=features.categorical(),
        early_stopping=False,
        random_state=seed,
    )
    folds = StratifiedKFold(5 if n >= 25 else 2, shuffle=True, random_state=seed)
    scores = cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1]
    rng = np.random.default_rng(seed)
    draws = (np.concatenate([rng.integers(n, size=n), n + rng.integers(n, size=n)]) for _ in range(200))
    resampled = [roc_auc_score(y[rows], scores[rows]) for rows in draws]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(roc_auc_score(y, scores)), float(low), float(high)
