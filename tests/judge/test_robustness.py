"""Robustness: shaken draws keep their distribution, linear generators have gain 1, and planted sharp edges are seen."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bottega.core import Batch, Rng, Spec
from bottega.judge import Case
from bottega.judge.robustness import SHARE, Shaken, measure

MAP = torch.tensor([[2.0, 0.3], [-0.5, 0.1]])


class Made(nn.Module):
    """A generator that is a function of its noise and its condition."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def sample(self, n, rng, cond=None):
        return self.make(rng.normal(n, 2), cond)


def found(make, cond_spec=None, cond=None, n=64):
    x = Rng(0).normal(n, 2)
    spec = Spec((2,), cond=cond_spec)
    rows = Batch(x, cond)
    return {m.name: m for m in measure(Case("points", spec, rows, rows, x, cond, model=Made(make)))}


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_shaken_draws_are_distributed_as_before_and_correlated(share):
    rng = Shaken(range(4000), range(4000, 8000), share)
    z = rng.normal(4000, 5)
    base = Rng.for_rows(range(4000)).normal(4000, 5)
    assert (z.mean().item(), z.std().item()) == pytest.approx((0, 1), abs=0.03)
    assert torch.corrcoef(torch.stack([z.flatten(), base.flatten()]))[0, 1].item() == pytest.approx(
        math.sqrt(1 - share**2), abs=0.01
    )
    u = Shaken(range(4000), range(4000, 8000), share).uniform(4000, 5)
    assert torch.histc(u, 4, 0, 1).div(u.numel()).tolist() == pytest.approx([0.25] * 4, abs=0.015)
    assert (u.min() >= 0) & (u.max() < 1)
    picks = Shaken(range(4000), range(4000, 8000), share).categorical(
        torch.tensor([1.0, 2.0, 4.0]).log().expand(4000, 3)
    )
    assert (picks.bincount(minlength=3) / 4000).tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=0.03)


def test_nothing_mixed_in_is_the_same_and_all_mixed_in_is_the_other():
    for share, seeds in ((0.0, (1, 2)), (1.0, (3, 4))):
        assert torch.allclose(Shaken([1, 2], [3, 4], share).uniform(2, 9), Rng(*seeds).uniform(2, 9), atol=1e-6)
        assert torch.equal(Shaken([1, 2], [3, 4], share).normal(2, 9), Rng(*seeds).normal(2, 9))


def test_a_linear_generator_has_gain_one():
    """The closed form: |A(z_e - z)| / |A(z' - z)| is sqrt(1 - sqrt(1 - e^2)) in the root mean square."""
    gain = found(lambda z, c: z @ MAP)["noise_gain"]
    assert gain.value == pytest.approx(1, abs=0.25)
    assert gain.low < 1 < gain.high


def test_a_sharp_edge_is_seen_and_a_flat_generator_too():
    """sign(z) leaps where it moves at all: for a step of e the chance is e / pi, the leap that of independent draws."""
    sharp = found(lambda z, c: z.sign())
    angle = math.acos(math.sqrt(1 - SHARE**2)) / math.pi  # the share of signs that change
    want = math.sqrt(angle / 0.5) / math.sqrt(1 - math.sqrt(1 - SHARE**2))
    assert 2 < want < 4
    assert sharp["noise_gain"].low < want < sharp["noise_gain"].high
    assert sharp["noise_gain"].value > 2
    assert found(lambda z, c: z * 0) == {}, "samples that do not depend on noise have no gain"


def test_a_condition_that_is_not_heard_and_one_that_is():
    label = torch.arange(64) % 3
    classes = Spec((), vocab=3)
    deaf = found(lambda z, c: z, classes, label)
    assert deaf["condition_effect"].value == 0
    heard = found(lambda z, c: z + 10 * c[:, None], classes, label)
    assert heard["condition_effect"].value > 5
    assert "condition_gain" not in heard
    real = found(lambda z, c: z + c, Spec((2,)), Rng(3).normal(64, 2))
    assert real["condition_gain"].value == pytest.approx(1, abs=1e-3)
    leap = found(lambda z, c: z + c.round(), Spec((2,)), Rng(3).normal(64, 2))
    assert leap["condition_gain"].value > 1.5
