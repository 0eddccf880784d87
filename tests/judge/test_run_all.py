"""Which judges run for which case, what is skipped and why, and what every measure carries."""

from __future__ import annotations

import math

import pytest
import torch

from bottega.core import Batch, Family, Item, RecipeError, Rng, Spec
from bottega.judge import Case, run_all


class Line(Family):
    """Points on a line; scores and samples."""

    bound = "exact"

    @classmethod
    def accepts(cls, spec):
        return ""

    def sample(self, n, rng, cond=None):
        return torch.cat([rng.normal(n, 1) * 0.3, torch.zeros(n, 1)], 1) + 0.05 * rng.normal(n, 2)

    def log_prob(self, batch, rng):
        return torch.distributions.Normal(0, torch.tensor([0.3, 0.05])).log_prob(batch.x).sum(1)


def _case(model=True, **facts):
    line, rng = Line(Spec((2,))), Rng(0)
    x = line.sample(700, rng)
    return Case(
        "points", line.spec, Batch(x[:300]), Batch(x[300:500]), x[500:], model=line if model else None, facts=facts
    )


def test_everything_that_fits_runs_and_carries_its_facts():
    told = []
    good = lambda x: ((x[:, 1].abs() < 0.2).double().mean().item(), 1)  # noqa: E731
    found, skipped = run_all(_case(truth={"good": good}), progress=told.append)
    names = [m.name for m in found]
    assert len(names) == len(set(names))
    wanted = {
        "frechet_distance", "precision", "recall", "density", "coverage", "diversity", "duplicate_share",
        "memorised_share", "closer_share", "memorisation_auc", "nll_nats", "nll_gap_nats", "good_share",
        "modes_covered", "sample_ms", "samples_per_second", "score_ms",
    }  # fmt: skip
    assert wanted <= set(names)
    for m in found:
        assert math.isfinite(m.value), m
        assert m.n > 0
        assert m.note or m.low is not None
        if m.low is None:
            assert "no interval" in m.note
        else:
            assert m.low <= m.value <= m.high, m
    assert "labels" in skipped["recognise"]
    assert skipped["inception_score"] == "judges image, not points"
    assert not set(told) & set(skipped)


def test_without_a_model_only_pieces_are_judged():
    found, skipped = run_all(_case(model=False))
    assert {"likelihood", "speed"} <= set(skipped)
    assert "frechet_distance" in {m.name for m in found}


def test_too_few_samples_is_a_reason_not_a_number():
    case = _case()
    case.samples = case.samples[:3]
    _, skipped = run_all(case, ["frechet", "modes"])
    assert "at least 8" in skipped["frechet"]


def test_the_same_case_gives_the_same_numbers_whatever_else_ran():
    alone, _ = run_all(_case(), ["memorisation"])
    after, _ = run_all(_case(), ["frechet", "precision_recall", "memorisation"])
    assert after[-len(alone) :] == alone


def test_unknown_judge_and_a_judge_that_fails():
    with pytest.raises(RecipeError, match="did you mean 'frechet'"):
        run_all(_case(), ["frechett"])

    def broken(x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_all(_case(truth={"good": broken}), ["modes"])


def test_modes_are_counted_in_the_units_of_the_data():
    from bottega.data.worlds import load

    ring = load("ring", n=900)
    x = torch.stack([torch.as_tensor(item.value) for item in ring.items]).float() / 2
    case = Case(
        "points", Spec((2,)), Batch(x[:300]), Batch(x[300:600]), x[600:],
        decode=lambda z: [Item((2 * row).double().numpy()) for row in z], facts={"truth": ring.truth},
    )  # fmt: skip
    share, modes = run_all(case, ["modes"])[0]
    assert share.value > 0.99
    assert modes.value == modes.ceiling == 8
    assert "of 8" in modes.note
    case.samples = x[:1].expand(300, -1) + 0.3 * (torch.arange(300) % 2)[:, None]  # one mode, half of it astray
    share, modes = run_all(case, ["modes"])[0]
    assert share.value == 0.5
    assert modes.value == 1
