"""Super-resolution on shapes with sharp edges, beside bicubic interpolation."""

from __future__ import annotations

import pytest
import torch.nn.functional as F

from bottega.core import Batch, RecipeError, Rng, Spec, SpecError
from bottega.families.superres import SuperRes
from bottega.judge.restoration import psnr
from pictures import discs, made, trained

HALF = Spec((1, 16, 16), cond=Spec((1, 8, 8)))


@pytest.mark.slow
def test_twice_the_size_is_better_than_interpolation_by_a_decibel():
    """Row C13, on shapes that were never seen."""
    x = discs(512, 0)
    small = lambda x: F.interpolate(x, (8, 8), mode="bicubic", antialias=True)  # noqa: E731
    model = trained(made(SuperRes, HALF, size=16, depth=2), Batch(x, small(x)), 300)
    new = discs(100, 9)
    plain = F.interpolate(small(new), (16, 16), mode="bicubic")
    gain = (psnr(model.sample(100, Rng(1), small(new)), new) - psnr(plain, new)).mean()
    assert gain >= 1, gain


def test_before_training_it_is_close_to_interpolation():
    model, small = made(SuperRes, HALF, size=8, depth=1), Rng(0).normal(4, 1, 8, 8).clamp(-1, 1)
    plain = F.interpolate(small, (16, 16), mode="bicubic")
    assert (model.sample(4, Rng(1), small) - plain).abs().mean() < 0.3


def test_features_are_those_of_the_critic_and_teach_only_the_generator():
    model = made(SuperRes, HALF, size=8, depth=1, l1=0.0, adversarial=0.0)
    batch = Batch(discs(4, 0), Rng(0).normal(4, 1, 8, 8))
    terms = model.generator_loss(batch, Rng(1))
    assert (terms.parts["features"] > 0).all()
    assert not terms.parts["l1"].any()
    terms.total.sum().backward()
    assert model.generator["body"].last.weight.grad.abs().sum() > 0


def test_what_it_refuses():
    for given in (Spec((1, 16, 16)), Spec((3, 8, 8)), Spec((1, 6, 6)), Spec((1, 8, 4))):
        with pytest.raises(SpecError, match="whole factor"):
            SuperRes(Spec((1, 16, 16), cond=given))
    with pytest.raises(RecipeError, match="multiple of 4"):
        SuperRes(HALF, size=6)
    for wrong in ({"depth": 0}, {"l1": 0.0, "features": 0.0, "adversarial": 0.0}):
        with pytest.raises(RecipeError, match=next(iter(wrong))):
            SuperRes(HALF, **wrong)
