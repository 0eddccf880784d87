"""Nearest-neighbour precision and recall by hand, against a plain re-statement, and on planted failures."""

from __future__ import annotations

import torch
from sklearn.neighbors import NearestNeighbors

from bottega.core import Batch, Rng, Spec
from bottega.judge import Case
from bottega.judge.precision_recall import measure, prdc


def test_by_hand_in_one_dimension():
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    made = torch.tensor([[0.4], [5.0], [30.0]])
    found = prdc(real, made, k=1, k_density=1)  # balls of real: 1, 1, 1, 8; of made: 4.6, 4.6, 25
    assert found["precision"].tolist() == [1, 1, 0]
    assert found["recall"].tolist() == [1, 1, 1, 1]
    assert found["density"].tolist() == [2, 1, 0]  # 0.4 lies in the balls of 0 and 1; 5 in that of 10
    assert found["coverage"].tolist() == [1, 1, 0, 1]  # the nearest to 2 is 0.4, farther than 1


def test_equals_sklearn_radii():
    rng = Rng(0)
    real, made = rng.normal(120, 3), rng.normal(80, 3) + 0.5
    reach = NearestNeighbors(n_neighbors=4).fit(real).kneighbors(real)[0][:, 3]
    inside = torch.cdist(made, real) <= torch.from_numpy(reach)
    assert torch.equal(prdc(real, made)["precision"], inside.any(1).double())


def _measures(samples):
    rng = Rng(1)
    x = rng.normal(1200, 2) * 0.3
    case = Case("points", Spec((2,)), Batch(x[:800]), Batch(x[800:]), samples)
    return {m.name: m for m in measure(case)}


def test_fresh_passes_and_failures_are_caught():
    fresh = _measures(Rng(2).normal(400, 2) * 0.3)
    for m in fresh.values():
        assert abs(m.value - m.ceiling) < 0.1, m
        assert m.low <= m.value <= m.high
        assert m.n == 400
    far = _measures(Rng(2).normal(400, 2) * 0.3 + 3)
    assert far["precision"].high < 0.05
    assert far["coverage"].high < 0.05
    collapsed = _measures(Rng(2).normal(400, 2) * 0.01)
    assert collapsed["precision"].low > 0.95  # precision alone is fooled
    assert collapsed["recall"].high < 0.2
    assert collapsed["coverage"].high < 0.3
    wide = _measures(Rng(2).normal(400, 2) * 1.5)
    assert wide["precision"].high < 0.6
    assert wide["density"].high < 0.4
