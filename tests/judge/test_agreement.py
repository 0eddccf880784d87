"""Agreement against the worked examples of those who defined it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from bottega.judge._agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha

_ = np.nan
KRIPPENDORFF = np.array([  # Krippendorff 2011, section C: four observers, twelve units, missing data
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
])  # fmt: skip
FLEISS = np.array([  # ten things, fourteen raters, five values
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
], float)  # fmt: skip


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(level, alpha):
    assert krippendorff_alpha(KRIPPENDORFF, level) == pytest.approx(alpha, abs=5e-4)


def test_fleiss_example():
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)
    with pytest.raises(ValueError, match="same number"):
        fleiss_kappa(np.array([[1.0, 1], [3, 0]]))


def test_cohens_kappa_is_scikit_learns():
    rng = np.random.default_rng(0)
    a = rng.integers(1, 6, 80).astype(float)
    b = np.clip(a + rng.integers(-1, 2, 80), 1, 5)
    assert cohen_kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))
    assert cohen_kappa(a, b, "ordinal") == pytest.approx(cohen_kappa_score(a, b, weights="quadratic"))
    assert cohen_kappa(a, b, "interval") == pytest.approx(cohen_kappa_score(a, b, weights="quadratic"))


def test_chance_is_zero_agreement_is_one_and_one_value_says_nothing():
    rng = np.random.default_rng(1)
    x = rng.integers(1, 6, (3, 4000)).astype(float)
    for level in ("nominal", "ordinal", "interval"):
        assert abs(krippendorff_alpha(x, level)) < 0.04
        assert krippendorff_alpha(x[[0, 0]], level) == pytest.approx(1)
        assert np.isnan(krippendorff_alpha(np.ones((2, 5)), level))
    assert np.isnan(krippendorff_alpha(np.array([[1.0, _], [_, 2]])))
    assert np.isnan(cohen_kappa(np.ones(4), np.ones(4)))
    assert np.isnan(fleiss_kappa(np.array([[3.0, 0], [3, 0]])))
