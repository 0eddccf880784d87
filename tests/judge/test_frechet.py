"""Fréchet distance: closed form, scipy's matrix root, noise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from bottega.core import Batch, Rng, Spec
from bottega.judge import Case
from bottega.judge.frechet import frechet, measure, moments, sqrt_psd


def test_closed_form_on_gaussians():
    # one dimension: (m1 - m2)² + (s1 - s2)²
    one = frechet(torch.tensor([1.0]), torch.tensor([[4.0]]), torch.tensor([3.0]), torch.tensor([[9.0]]))
    assert one == pytest.approx(4 + 1)
    a, b = torch.diag(torch.tensor([1.0, 4.0, 9.0])), torch.diag(torch.tensor([4.0, 4.0, 1.0]))
    assert frechet(torch.zeros(3), a, torch.zeros(3), b) == pytest.approx(1 + 0 + 4)


def test_equals_scipy_sqrtm_and_is_symmetric():
    rng = np.random.default_rng(0)
    a, b = (np.cov(rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)), rowvar=False) for _ in range(2))
    m = rng.normal(size=(2, 6))
    theirs = ((m[0] - m[1]) ** 2).sum() + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    mine = [torch.from_numpy(v) for v in (m[0], a, m[1], b)]
    assert frechet(*mine) == pytest.approx(theirs, rel=1e-8)
    assert frechet(*mine[2:], *mine[:2]) == pytest.approx(theirs, rel=1e-8)
    root = sqrt_psd(mine[1])
    assert torch.allclose(root @ root, mine[1])


def test_fewer_examples_than_dimensions():
    x = torch.randn(10, 30, generator=torch.Generator().manual_seed(0))
    assert frechet(*moments(x), *moments(x)) == pytest.approx(0, abs=1e-6)


def _case(samples, train, held):
    return Case("points", Spec((2,)), Batch(train), Batch(held), samples)


def test_measure_grows_with_noise_and_meets_its_ceiling():
    rng = Rng(0)
    x = rng.normal(9000, 2) * torch.tensor([0.5, 0.2])
    train, held, fresh = x[:3000], x[3000:5000], x[5000:]
    (fair,) = measure(_case(fresh, train, held))
    assert fair.low <= fair.ceiling * 3 + 0.01
    assert fair.value < 0.01
    assert fair.n == 4000
    values = [measure(_case(fresh + s * rng.normal(4000, 2), train, held))[0] for s in (0.1, 0.2, 0.4, 0.8)]
    assert [m.value for m in values] == sorted(m.value for m in values)
    assert values[1].low > fair.ceiling
    # closed form for the last: variances s1² + 0.64 against s1²
    truth = sum((np.sqrt(s * s + 0.64) - s) ** 2 for s in (0.5, 0.2))
    assert values[-1].value == pytest.approx(truth, rel=0.1)
    assert values[-1].low < truth < values[-1].high
