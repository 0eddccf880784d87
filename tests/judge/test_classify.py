"""Naming examples: a model that is always right, one that is right by half, and where there is nothing to measure."""

from __future__ import annotations

import pytest
import torch

from bottega.core import Batch, Classifies, Spec, has
from bottega.judge import Case, run_all
from bottega.judge.classify import measure

SPEC = Spec((2,), cond=Spec((), vocab=4))


class Says:
    """Calls an example by its first number, plus ``off`` times its second."""

    def __init__(self, off=0):
        self.off = off

    def classify(self, batch):
        said = (batch.x[:, 0] + self.off * batch.x[:, 1]).long() % 4
        return torch.nn.functional.one_hot(said, 4).double().log()


def case(cond, off=0):
    x = torch.stack([torch.arange(4.0).repeat(25), (torch.arange(100) % 2 == 0).float()], 1)
    rows = Batch(x, cond)
    return Case("points", SPEC, rows, rows, x[:9], model=Says(off))


LABEL = torch.arange(4).repeat(25)


@pytest.mark.parametrize(("off", "want"), [(0, 1.0), (1, 0.5)])
def test_it_counts_what_is_right(off, want):
    assert has(Says(), Classifies)
    (found,) = measure(case(LABEL, off))
    assert (found.name, found.value, found.n) == ("class_accuracy", want, 100)
    assert found.low <= want <= found.high < 1.0 + 1e-9
    assert "25%" in found.note


def test_rows_without_a_class_do_not_count():
    known = LABEL.clone()
    known[::2] = -1
    (found,) = measure(case(known, off=1))
    assert (found.value, found.n) == (1.0, 50)
    assert measure(case(torch.full((100,), -1))) == []


def test_it_says_why_it_does_not_run():
    mute = case(LABEL)
    mute.model = torch.nn.Identity()
    assert "classify" in run_all(mute, ["classify"])[1]["classify"]
