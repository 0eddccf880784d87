"""Codes judged on models whose codes are known: which are dead, what they cost, what a few labels learn from them."""

from __future__ import annotations

import math

import pytest
import torch

from bottega.core import Batch, Family, Rng, Spec
from bottega.judge import Case
from bottega.judge.codes import equal_error_rate, measure, probe

LABEL = Spec((), vocab=3)


class Coded(Family):
    """Its code is the first coordinates of an example, some of them switched off."""

    def __init__(self, spec, alive=4, units=4):
        super().__init__(spec)
        self.latent, self.alive = Spec((units,)), alive

    @classmethod
    def accepts(cls, spec):
        return ""

    def encode(self, batch):
        assert batch.cond is None, "the class would be given away"
        z = batch.x[:, : self.latent.dims].clone()
        z[:, self.alive :] *= 1e-3
        return z

    def decode(self, z, cond=None):
        return torch.cat([z, z.new_zeros(len(z), self.spec.dims - z.shape[1])], 1)

    def active_units(self, batch):
        return self.encode(Batch(batch.x)).var(0) > 0.01

    def rate_distortion(self, batch, rng):
        return batch.x.new_full((len(batch),), 3.0), batch.x[:, 0].square()


class Numbered(Family):
    """Discrete codes."""

    latent = Spec((1, 1, 2), vocab=8)

    @classmethod
    def accepts(cls, spec):
        return ""

    def encode(self, batch):
        return torch.arange(len(batch) * 2).view(-1, 1, 1, 2) % 4  # four of the eight, all alike often

    def decode(self, z, cond=None):
        return z


def case(model, n=600, dims=40, labels=True):
    """Three classes apart in the first two coordinates, and noise in all the others."""
    label = Rng(0).integers(3, n)
    x = Rng(1).normal(n, dims)
    angle = label * 2 * math.pi / 3
    x[:, :2] = 0.7 * x[:, :2] + 2 * torch.stack([angle.cos(), angle.sin()], 1)
    spec = Spec((dims,), cond=LABEL if labels else None)
    cond = label if labels else None
    rows = Batch(x, cond)
    return Case("points", spec, rows.take(slice(0, 300)), rows.take(slice(300, n)), x[:20], model=model(spec))


def named(found):
    return {m.name: m for m in found}


def test_a_few_labels_learn_more_from_good_codes_than_from_the_raw_numbers():
    """Row B15."""
    found = named(measure(case(Coded)))
    assert found["probe_accuracy"].value > 0.93
    assert found["probe_accuracy"].ceiling < found["probe_accuracy"].value - 0.05
    assert found["probe_accuracy"].low <= found["probe_accuracy"].value <= found["probe_accuracy"].high


def test_rate_and_distortion_are_means_over_the_held_out():
    found = named(measure(case(Coded)))
    held = case(Coded).held.x[:, 0].square().mean().item()
    assert found["rate_nats"].value == pytest.approx(3)
    assert found["distortion_nats"].value == pytest.approx(held, rel=1e-5)


@pytest.mark.parametrize(("alive", "alarm"), [(12, False), (2, False), (1, True), (0, True)])
def test_a_planted_collapse_raises_the_alarm_and_health_does_not(alive, alarm):
    """Row B11: fewer than a tenth of 12 code numbers in use."""
    (units,) = [m for m in measure(case(lambda spec: Coded(spec, alive, 12), labels=False)) if m.name == "active_units"]
    assert units.value == pytest.approx(alive / 12)
    assert ("collapsed" in units.note) == alarm
    assert f"{alive} of 12" in units.note


def test_discrete_codes_are_judged_by_their_use():
    found = named(measure(case(Numbered)))
    assert found["code_perplexity"].value == pytest.approx(4)
    assert set(found) == {"code_perplexity"}


class Ordered(Family):
    """Features of a text: whether its first token comes before its second, which counting cannot say."""

    @classmethod
    def accepts(cls, spec):
        return ""

    def represent(self, batch):
        assert batch.cond is None, "the class would be given away"
        return torch.stack([batch.x[:, 0] - batch.x[:, 1], batch.x[:, 1]], 1).float()


def test_frozen_features_of_texts_are_probed_beside_counted_tokens():
    """Row N8."""
    first, second = Rng(0).integers(20, 600), Rng(1).integers(20, 600)
    x = torch.stack([first, second, *Rng(2).integers(20, 4, 600)], 1)
    spec = Spec((6,), vocab=20, cond=Spec((), vocab=2))
    rows = Batch(x, (first < second).long(), torch.ones_like(x, dtype=torch.bool))
    told = Case("text", spec, rows.take(slice(0, 300)), rows.take(slice(300, 600)), x[:20], model=Ordered(spec))
    (found,) = measure(told)
    assert found.name == "probe_accuracy"
    assert found.value > 0.9
    assert found.ceiling < 0.7
    assert "counted tokens" in found.note


def test_the_equal_error_rate_is_where_both_errors_meet():
    rng = Rng(0)
    label = rng.integers(3, 60)
    centres = 4 * torch.eye(3).double()[label]
    near, far = centres + 2 * rng.normal(60, 3).double(), centres + 0.01 * rng.normal(60, 3).double()
    assert equal_error_rate(far, label) == 0
    assert equal_error_rate(rng.normal(60, 3).double(), label) == pytest.approx(0.5, abs=0.05)
    z = torch.nn.functional.normalize((near - near.mean(0)) / near.std(0), dim=1)
    a, b = torch.triu_indices(60, 60, 1)
    alike, same = (z @ z.T)[a, b], label[a] == label[b]
    errors = [((alike[~same] >= t).double().mean(), (alike[same] < t).double().mean()) for t in alike]
    best = min(errors, key=lambda e: abs(e[0] - e[1]))
    assert equal_error_rate(near, label) == pytest.approx((sum(best) / 2).item(), abs=1e-9)
    assert 0.05 < equal_error_rate(near, label) < 0.45
    assert math.isnan(equal_error_rate(near, torch.zeros(60)))


def test_the_probe_is_right_where_classes_lie_apart_and_at_chance_in_noise():
    label, x = Rng(0).integers(2, 400), Rng(1).normal(400, 5)
    apart = x + 5 * label[:, None]
    assert probe(apart[:200].double(), label[:200], apart[200:].double(), label[200:]) == 1
    assert probe(x[:200].double(), label[:200], x[200:].double(), label[200:]) == pytest.approx(0.5, abs=0.12)
