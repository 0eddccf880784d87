"""Restoration: closed forms of its figures, a perfect model, one that does nothing, and a planted failure."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from bottega.core import Batch, Rng, Spec
from bottega.judge import Case, run_all
from bottega.judge.restoration import measure, psnr, ssim
from toys import ToyRestorer

SPEC = Spec((3, 16, 16), cond=Spec((3, 16, 16)))


class Said(ToyRestorer):
    """Makes what a function says of the given picture."""

    def __init__(self, spec, say):
        super().__init__(spec)
        self.say = say

    def sample(self, n, rng, cond=None):
        return self.say(cond, rng)


def case(spec=SPEC, say=lambda cond, rng: cond, n=40):
    x = (4 * F.avg_pool2d(Rng(0).uniform(n, *spec.shape) * 2 - 1, 5, 1, 2)).clamp(-1, 1)
    given = F.interpolate(x, size=spec.cond.shape[1:], mode="bilinear", align_corners=False)[:, : spec.cond.shape[0]]
    rows = Batch(x, given.clone())
    return Case("image", spec, rows, rows, x[:9], model=Said(spec, say))


def found(of):
    return {m.name: m for m in measure(of)}


def test_psnr_of_known_errors():
    x = torch.zeros(3, 1, 4, 4)
    assert psnr(x, torch.stack([x[0] + 0.2, x[0] + 0.02, x[0]])).tolist() == pytest.approx([20, 40, 100])
    noise = Rng(0).normal(1, 3, 64, 64) * 0.1
    assert psnr(noise, torch.zeros_like(noise)).item() == pytest.approx(20 * math.log10(2 / 0.1), abs=0.1)


def test_ssim_agrees_with_an_independent_one_and_knows_equal_and_inverted():
    metrics = pytest.importorskip("skimage.metrics")
    a = (Rng(0).uniform(2, 3, 24, 20) * 2 - 1).clamp(-1, 1)
    b = (a + 0.3 * Rng(1).normal(*a.shape)).clamp(-1, 1)
    want = [
        metrics.structural_similarity(
            ((x + 1) / 2).double().numpy(), ((y + 1) / 2).double().numpy(), channel_axis=0, data_range=1.0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        for x, y in zip(a, b, strict=True)
    ]  # fmt: skip
    assert ssim(a, b).tolist() == pytest.approx(want, abs=0.03)  # it means over the edges, too
    assert ssim(a, a).tolist() == pytest.approx([1, 1])
    assert (ssim(a, -a) < 0).all()
    assert ssim(a[:, :, :4, :4], a[:, :, :4, :4]).tolist() == pytest.approx([1, 1])


def test_doing_nothing_gains_nothing_and_a_perfect_one_is_perfect():
    dark = Spec((3, 16, 16), cond=Spec((3, 8, 8)))
    enlarged = found(
        case(dark, lambda cond, rng: F.interpolate(cond, size=(16, 16), mode="bicubic", align_corners=False))
    )
    assert enlarged["restored_gain_db"].value == pytest.approx(0, abs=0.02)
    assert found(case())["restored_psnr_db"].value == 100
    assert found(case())["restored_ssim"].value == pytest.approx(1)


def test_noise_of_a_known_size_has_its_known_psnr_and_a_model_of_the_wrong_picture_is_caught():
    noisy = found(case(say=lambda cond, rng: cond + 0.05 * rng.normal(*cond.shape)))
    assert noisy["restored_psnr_db"].value == pytest.approx(20 * math.log10(2 / 0.05), abs=0.2)
    assert noisy["restored_psnr_db"].n == 40
    wrong = found(case(say=lambda cond, rng: cond.roll(1, 0)))  # makes each of another's
    assert wrong["restored_psnr_db"].high < 20
    assert wrong["restored_ssim"].high < 0.5
    assert wrong["restored_gain_db"].high < -50


def test_a_grey_or_small_condition_can_be_compared_and_others_skip_the_judge():
    for deep, side in ((1, 16), (3, 8), (1, 8)):
        spec = Spec((3, 16, 16), cond=Spec((deep, side, side)))
        told = found(case(spec, lambda cond, rng: torch.zeros(len(cond), 3, 16, 16)))
        assert math.isfinite(told["restored_gain_db"].value)
        assert " dB; 40 held-out" in told["restored_gain_db"].note
    rows = Batch(torch.zeros(9, 3, 16, 16))
    plain = Case("image", Spec((3, 16, 16)), rows, rows, rows.x, model=ToyRestorer(SPEC))
    _, skipped = run_all(plain, ["restoration"])
    assert "picture is known" in skipped["restoration"]
