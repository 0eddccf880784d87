"""Pix2pix on outlines: what was drawn is filled."""

from __future__ import annotations

import pytest
import torch

from bottega.core import Batch, RecipeError, Rng, Spec, SpecError
from bottega.families.pix2pix import Pix2Pix
from bottega.nets.patch import planes
from pictures import discs, edges, made, trained

PAIR = Spec((1, 16, 16), cond=Spec((1, 16, 16)))


def test_a_known_picture_is_read_at_the_size_of_what_is_made_with_a_flag():
    known = planes(torch.full((2, 3, 4, 4), 0.5), 2, 3, (8, 8), torch.zeros(1))
    torch.testing.assert_close(known[:, :3], torch.full((2, 3, 8, 8), 0.5))
    assert torch.equal(known[:, 3], torch.ones(2, 8, 8))
    assert not planes(None, 2, 3, (8, 8), torch.zeros(1)).any()


@pytest.mark.slow
def test_outlines_are_filled():
    """Row C20: outline to shape, intersection over union at least 0.9 on shapes that were never seen."""
    x = discs(512, 0)
    model = trained(made(Pix2Pix, PAIR, size=16), Batch(x, edges(x)), 250)
    new = discs(100, 9)
    out = model.sample(100, Rng(1), edges(new)) > 0
    real = new > 0
    overlap = (out & real).sum((1, 2, 3)) / (out | real).sum((1, 2, 3))
    assert overlap.mean() >= 0.9, overlap.mean()
    again = model.sample(100, Rng(1), edges(new), temperature=0.0)
    assert torch.equal(again, model.sample(100, Rng(2), edges(new), temperature=0.0)), "no noise, no difference"


def test_the_least_size_that_it_accepts_can_be_learnt_from():
    spec = Spec((1, 4, 5), cond=Spec((1, 4, 5)))
    x = Rng(0).normal(16, 1, 4, 5).tanh()
    assert trained(made(Pix2Pix, spec, size=4), Batch(x, -x), 2).sample(2, Rng(0), -x[:2]).isfinite().all()


def test_what_it_refuses():
    with pytest.raises(SpecError, match="codec.degrade"):
        Pix2Pix(Spec((1, 16, 16), cond=Spec((), vocab=2)))
    with pytest.raises(SpecError, match=r"3 x 4 pixels hold none; set codec\.size to 4 or more"):
        Pix2Pix(Spec((1, 4, 3), cond=Spec((1, 4, 3))))
    with pytest.raises(RecipeError, match="multiple of 4"):
        Pix2Pix(PAIR, size=6)
    for wrong in ({"depth": 0}, {"patch": 0}, {"l1": -1.0}, {"latent": 0}):
        with pytest.raises(RecipeError, match=next(iter(wrong))):
            Pix2Pix(PAIR, **wrong)
