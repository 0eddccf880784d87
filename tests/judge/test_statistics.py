"""Intervals and distances against scipy and sklearn, and by coverage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from bottega.judge._statistics import auc, nearest, ratio_interval, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 50), (50, 50), (41, 80)])
def test_wilson_equals_scipy(k, n):
    theirs = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_auc_equals_sklearn_and_covers():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 60).round(1), rng.normal(0, 1, 90).round(1)  # rounding makes ties
    value, low, high = auc(torch.tensor(a), torch.tensor(b))
    assert value == pytest.approx(roc_auc_score([1] * 60 + [0] * 90, [*a, *b]))
    assert low < value < high
    truth, inside = scipy.stats.norm.cdf(1 / 2**0.5), 0
    for _ in range(200):
        _, low, high = auc(torch.tensor(rng.normal(1, 1, 60)), torch.tensor(rng.normal(0, 1, 90)))
        inside += low <= truth <= high
    assert 180 <= inside <= 199


def test_ratio_interval_covers():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(300):
        tokens = rng.integers(5, 50, 80)
        nll = tokens * 2.0 + rng.normal(0, 1, 80) * tokens**0.5
        _, low, high = ratio_interval(torch.tensor(nll), torch.tensor(tokens))
        inside += low <= 2.0 <= high
    assert 270 <= inside <= 298


def test_nearest_equals_sklearn():
    x = torch.randn(200, 7, generator=torch.Generator().manual_seed(0))
    theirs = NearestNeighbors(n_neighbors=4).fit(x).kneighbors(x)[0]
    assert np.allclose(nearest(x, x, 3, skip_self=True), theirs[:, 1:], atol=1e-6)
    assert np.allclose(nearest(x[:50], x, 2), theirs[:50, :2], atol=1e-6)
