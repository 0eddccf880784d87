"""Diversity: collapse, duplicates and repetition are caught; fresh data passes."""

from __future__ import annotations

import pytest
import torch

from bottega.core import Batch, Rng, Spec
from bottega.judge import Case
from bottega.judge.diversity import distinct, duplicate_share, measure, repetition


def _points(samples):
    x = Rng(0).normal(900, 3) * 0.4
    case = Case("points", Spec((3,)), Batch(x[:500]), Batch(x[500:700]), x[700:] if samples is None else samples)
    return {m.name: m for m in measure(case)}


def test_points():
    fresh = _points(None)["diversity"]
    assert fresh.low < 1 < fresh.high
    assert fresh.ceiling == pytest.approx(1, abs=0.1)
    assert fresh.high - fresh.low < 0.25
    assert _points(Rng(1).normal(200, 3) * 0.1)["diversity"].high < 0.4
    repeated = _points(Rng(1).normal(20, 3).repeat(10, 1))
    assert repeated["duplicate_share"].value == pytest.approx(0.9)
    assert repeated["duplicate_share"].ceiling == 0
    assert repeated["duplicate_share"].low > 0.8


def test_training_examples_all_alike_have_no_spread_to_compare_with():
    x = torch.ones(20, 3)
    found = {m.name: m for m in measure(Case("points", Spec((3,)), Batch(x), Batch(x[:9]), Rng(0).normal(9, 3)))}
    assert set(found) == {"duplicate_share"}


def test_text():
    train, held = Rng(0).integers(20, 300, 30), Rng(1).integers(20, 100, 30)

    def judged(x):
        return {m.name: m for m in measure(Case("text", Spec((30,), vocab=20), Batch(train), Batch(held), x))}

    fresh = judged(Rng(2).integers(20, 100, 30))
    for order in (1, 2, 3):
        assert fresh[f"distinct_{order}"].value == pytest.approx(fresh[f"distinct_{order}"].ceiling, rel=0.05)
    loops = judged(Rng(2).integers(20, 100, 3).repeat(1, 10))
    assert loops["repetition_4"].low > 0.8
    assert loops["repetition_4"].ceiling < 0.01
    assert loops["distinct_3"].value < 0.3 * loops["distinct_3"].ceiling
    same = judged(Rng(2).integers(20, 1, 30).expand(100, -1))
    assert same["duplicate_share"].value == pytest.approx(0.99)


def test_padding_is_no_text():
    x = torch.tensor([[1, 2, 3, -1, -1, -1, -1, -1, -1]])
    assert distinct(x, 1) == 1
    assert repetition(x).item() == 0
    assert duplicate_share(torch.tensor([[0.1], [0.1001], [0.2]])) == pytest.approx(1 / 3)
