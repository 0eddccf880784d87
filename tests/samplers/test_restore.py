"""Diffusion where something is given: drafts, spoilt pictures; against Pillow and against posteriors known exactly."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from bottega.core import Rng
from bottega.samplers.diffusion import sigmas_for
from bottega.samplers.restore import BLUR, WAYS, Measurement, begin_at, measurement, repaint, restore

SIDE = 16


def smooth(n, seed=0, channels=3):
    """Pictures in [-1, 1] of a few slow waves, ``(n, channels, 16, 16)``."""
    rng = Rng(seed)
    waves = torch.stack([(math.pi * k * (torch.arange(SIDE) + 0.5) / SIDE).cos() for k in range(4)])
    x = torch.einsum("bcij,iy,jx->bcyx", rng.normal(n, channels, 4, 4), waves, waves)
    return x / x.abs().amax((1, 2, 3), keepdim=True)


def covariance():
    """Of the flattened pictures of a stationary Gaussian field, ``(64, 64)``, 8 x 8."""
    place = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    return 0.25 * torch.exp(-(torch.cdist(place, place) ** 2) / 8) + 1e-4 * torch.eye(64)


def field(x, sigma):
    """The exact denoiser of that field."""
    cov = covariance()
    return (x.flatten(1) @ torch.linalg.solve(cov + sigma**2 * torch.eye(64), cov)).view(x.shape)


def draws(n, seed=0):
    return (Rng(seed).normal(n, 64) @ torch.linalg.cholesky(covariance()).T).view(n, 1, 8, 8)


def pil(x, change):
    """A change by Pillow of each plane of one picture in [-1, 1], through 32-bit floats."""
    planes = [change(Image.fromarray(plane.numpy())) for plane in x]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))


@pytest.mark.parametrize(("way", "factor"), [("half", 2), ("quarter", 4)])
def test_smaller_is_what_pillow_does_and_its_enlargement_is_read_back(way, factor):
    x = smooth(2)
    small, sides = SIDE // factor, (SIDE // factor, SIDE // factor)
    want = torch.stack([pil(one, lambda p: p.resize(sides, Image.Resampling.BICUBIC)) for one in x])
    large = torch.stack([pil(one, lambda p: p.resize((SIDE, SIDE), Image.Resampling.LANCZOS)) for one in want])
    seen, y = measurement(way, (3, SIDE, SIDE), large)
    assert y.shape == (2, 3, small, small)
    torch.testing.assert_close(seen.of(x), want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(y, want, atol=1e-3, rtol=1e-3)


def test_grey_and_blur_are_what_pillow_does():
    x = smooth(1)
    seen, y = measurement("grey", (3, SIDE, SIDE), x)
    pixels = ((x[0] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    want = torch.from_numpy(np.array(Image.fromarray(pixels).convert("L"))) / 127.5 - 1
    torch.testing.assert_close(y[0, 0], want, atol=0.01, rtol=0)
    torch.testing.assert_close(seen.of(x), y)
    seen, _ = measurement("blur", (3, SIDE, SIDE), x)
    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR * SIDE))
    want = torch.from_numpy(np.array(blurred)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(seen.of(x)[0], want, atol=0.06, rtol=0)


def test_grey_leaves_alpha_as_it_was_measured():
    x = smooth(2, channels=4)
    seen, y = measurement("grey", (4, SIDE, SIDE), x)
    assert y.shape == (2, 2, SIDE, SIDE)
    torch.testing.assert_close(y[:, 1], x[:, 3])
    torch.testing.assert_close(seen.back(y)[:, 3], x[:, 3])
    brightness = (x[:, :3] * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    torch.testing.assert_close(y[:, 0], brightness)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "noise"])
def test_what_is_restored_measures_as_what_was_given(way):
    """Whatever the denoiser thinks."""
    truth = smooth(3)
    seen, _ = measurement(way, (3, SIDE, SIDE), truth)
    y = seen.of(truth)
    sigmas = sigmas_for("edm", 6)
    out = restore(
        lambda x, s: 0.3 * x.tanh(), sigmas[0] * Rng(0).normal(*truth.shape), sigmas, Rng(1), seen, y, tries=2
    )
    seen_again = seen.of(out)
    if way == "blur":  # what is too faint to undo is left to the denoiser
        assert (seen_again - y).square().mean() < 0.01 * y.square().mean()
    else:
        torch.testing.assert_close(seen_again, y, atol=1e-4, rtol=1e-4)


def test_restored_fields_follow_the_posterior():
    """A Gaussian field at a quarter of its size: the mean of many restorations is near the exact one, ``A^+ y`` is not."""
    truth = draws(1, seed=3)
    seen, _ = measurement("quarter", (1, 8, 8), truth)
    y = seen.of(truth)
    matrix = torch.stack([seen.of(e.view(1, 1, 8, 8)).flatten() for e in torch.eye(64)], 1)
    back = torch.stack([seen.back(e.view(y.shape)).flatten() for e in torch.eye(y.numel())], 1)
    kept = back @ matrix  # projects on what is measured and undone
    cov = covariance()
    joint = kept @ cov @ kept.T + 1e-6 * torch.eye(64)
    mean = (cov @ kept.T @ torch.linalg.solve(joint, kept @ truth.flatten())).view(8, 8)
    sigmas = sigmas_for("edm", 30)
    start = sigmas[0] * Rng(1).normal(400, 1, 8, 8)
    out = restore(field, start, sigmas, Rng(2), seen, y.expand(400, *y.shape[1:]), tries=5)
    least = (seen.back(y)[0, 0] - mean).square().mean().sqrt()
    off = (out.mean(0)[0] - mean).square().mean().sqrt()
    assert off < 0.5 * least


def test_a_draft_at_the_ends_of_strength():
    sigmas = sigmas_for("edm", 10)
    assert torch.equal(begin_at(sigmas, 1.0), sigmas)
    assert begin_at(sigmas, 0.0).tolist() == [0.0]
    draft = draws(4)
    nothing = torch.zeros(1, dtype=torch.bool)
    assert torch.equal(repaint(field, draft, begin_at(sigmas, 0.0), Rng(0), draft, nothing, 1), draft)


def style():
    """Every square of 3 x 3 in an 8 x 8 picture, drawn in stripes: a world whose pictures all have one texture."""
    pictures = []
    for top in range(6):
        for left in range(6):
            x = -torch.ones(8, 8)
            x[top : top + 3, left : left + 3] = torch.tensor([[1.0], [-1.0], [1.0]])
            pictures.append(x.flatten())
    return torch.stack(pictures)


def test_strength_trades_content_for_style():
    """E6: a plain square is drafted; the higher the strength the more it is striped and the less it stays where it was."""
    world = style()

    def exact(x, sigma):
        logits = -(torch.cdist(x.flatten(1), world) ** 2) / (2 * sigma**2)
        return (logits.softmax(1) @ world).view(x.shape)

    draft = -torch.ones(1, 1, 8, 8)
    draft[..., 2:5, 2:5] = 1.0
    n, contents, styles = 300, [], []
    for strength in (0.0, 0.25, 0.45, 0.6, 0.8):
        sigmas = begin_at(sigmas_for("edm", 20), strength)
        many = draft.expand(n, 1, 8, 8)
        start = many + sigmas[0] * Rng(0).normal(n, 1, 8, 8)
        out = repaint(exact, start, sigmas, Rng(1), many, torch.zeros(1, dtype=torch.bool), 1)
        inside, was = out > 0, many > 0
        contents.append(((inside & was).sum((1, 2, 3)) / (inside | was).sum((1, 2, 3))).mean().item())
        styles.append(-torch.cdist(out.flatten(1), world).amin(1).mean().item())
    assert all(a >= b for a, b in zip(contents, contents[1:], strict=False))
    assert all(a <= b for a, b in zip(styles, styles[1:], strict=False))
    assert contents[0] == 1.0
    assert contents[-1] < 0.4
    assert styles[-1] > -0.05


def test_a_measurement_and_its_inverse():
    seen = Measurement(torch.eye(2), torch.tensor([[0.5, 0.5]]), torch.eye(3))
    x = Rng(0).normal(2, 2, 2, 3)
    assert seen.of(x).shape == (2, 2, 1, 3)
    torch.testing.assert_close(seen.of(seen.back(seen.of(x))), seen.of(x))
