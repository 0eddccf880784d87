"""Speed on a model that takes a known time."""

from __future__ import annotations

import time

import pytest
import torch

from bottega.core import Batch, Family, Spec
from bottega.judge import Case
from bottega.judge.speed import measure


class Sleeper(Family):
    @classmethod
    def accepts(cls, spec):
        return ""

    def sample(self, n, rng, cond=None, nap=0.002):
        assert not self.training
        assert cond is None or len(cond) == n
        time.sleep(nap * n)
        return torch.zeros(n, 1)


def test_speed_of_a_known_sleeper():
    x = torch.zeros(20, 1)
    cond = torch.arange(3)
    case = Case("points", Spec((1,)), Batch(x), Batch(x), x, cond, Sleeper(Spec((1,))), facts={"knobs": {"nap": 0.004}})
    found = {m.name: m for m in measure(case)}
    assert set(found) == {"sample_ms", "samples_per_second"}  # it gives no likelihood
    alone, rate = found["sample_ms"], found["samples_per_second"]
    assert alone.low >= 4
    assert alone.low <= alone.value <= alone.high
    assert alone.value < 40
    assert rate.low <= rate.value <= rate.high <= 250
    assert alone.n == 6
    assert "threads" in alone.note
    assert case.model.training


def test_a_slow_model_is_timed_less_and_says_so(monkeypatch):
    monkeypatch.setattr("bottega.judge.speed._SECONDS", 0.2)
    x = torch.zeros(20, 1)
    case = Case("points", Spec((1,)), Batch(x), Batch(x), x, None, Sleeper(Spec((1,))), facts={"knobs": {"nap": 0.06}})
    alone = measure(case)[0]
    assert alone.n < 6
    assert alone.low is None
    assert "no interval" in alone.note
    assert alone.value == pytest.approx(60, rel=0.5)
