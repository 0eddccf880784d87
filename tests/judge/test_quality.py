"""Quality without a reference: known distributions, damage that grows, real beside real, and where it says nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from bottega.core import Batch, Rng, Spec
from bottega.data import builtin
from bottega.judge import Case, run_all
from bottega.judge.quality import Naturalness, _sided, measure, statistics


@pytest.fixture(scope="module")
def photos():
    """Patches of photographs in [-1, 1], in a random order."""
    items = builtin.load("photos").items
    order = Rng(0).permutation(len(items))[:1000].tolist()
    return torch.stack([torch.from_numpy(items[i].value).permute(2, 0, 1) for i in order]).float() / 127.5 - 1


def jpeg(x, quality):
    out = []
    for value in ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(value).save(file, "JPEG", quality=quality)
        out.append(torch.from_numpy(np.asarray(Image.open(file))).permute(2, 0, 1))
    return torch.stack(out).float() / 127.5 - 1


def test_the_shape_and_sides_of_known_distributions_are_found():
    rng, n = Rng(0), 200_000
    shape, low, high = _sided(2 * rng.normal(1, n).double())
    assert (shape.item(), low.item(), high.item()) == pytest.approx((2, 2, 2), rel=0.03)
    laplace = rng.uniform(1, n).double().clamp_min(1e-9).log() * torch.where(rng.uniform(1, n) < 0.5, 1.0, -1.0)
    assert _sided(laplace)[0].item() == pytest.approx(1, rel=0.03)
    z = rng.normal(1, n).double()
    half = torch.rand(1, n, generator=torch.Generator().manual_seed(0)) < 0.75
    shape, low, high = _sided(torch.where(half, -3 * z.abs(), z.abs()))
    assert (low / high).item() == pytest.approx(3, rel=0.03)
    assert shape.item() == pytest.approx(2, rel=0.05)


def test_statistics_are_finite_for_what_has_none():
    flat = torch.zeros(2, 3, 32, 32)
    stripes = torch.ones(1, 1, 16, 16)
    stripes[..., ::2] = -1
    for x in (flat, stripes, flat + 1, torch.zeros(1, 4, 16, 20)):
        assert torch.isfinite(statistics(x)).all()
        assert statistics(x).shape == (len(x), 38)


@pytest.mark.parametrize(
    ("damage", "levels"),
    [
        (lambda x, s: (x + s * Rng(1).normal(*x.shape)).clamp(-1, 1), (0.05, 0.15, 0.4)),
        (lambda x, s: F.avg_pool2d(F.pad(x, (s, s, s, s), "replicate"), 2 * s + 1, 1), (1, 2, 4)),
        (jpeg, (20, 8, 3)),
    ],
    ids=["noise", "blur", "blocks"],
)
def test_damage_is_seen_and_more_damage_more(photos, damage, levels):
    natural = Naturalness(photos[:400])
    found = [natural.distance(photos[400:600]).median().item()]
    found += [natural.distance(damage(photos[400:600], level)).median().item() for level in levels]
    assert found == sorted(found)
    assert found[-1] > 1.4 * found[0]


def case(photos, made):
    return Case("image", Spec((3, 32, 32)), Batch(photos[:600]), Batch(photos[600:800]), made)


def test_real_pictures_pass_beside_real_ones_and_planted_ones_do_not(photos):
    real = {m.name: m for m in measure(case(photos, photos[800:]))}
    assert real["natural_share"].low <= 0.95 <= real["natural_share"].high
    assert real["real_fake_margin"].low < 0.5 < real["real_fake_margin"].high
    noise = {m.name: m for m in measure(case(photos, Rng(2).uniform(100, 3, 32, 32) * 2 - 1))}
    assert noise["natural_share"].value < 0.15
    assert noise["real_fake_margin"].low > 0.85
    mean = photos[:600].mean(0, keepdim=True).expand(50, -1, -1, -1)
    bland = {m.name: m for m in measure(case(photos, mean))}
    assert bland["real_fake_margin"].high < 0.5  # blander than any: below one half, and not above


def test_small_pictures_have_no_such_measure_and_texts_skip_it(photos):
    small = F.avg_pool2d(photos, 4)
    assert measure(Case("image", Spec((3, 8, 8)), Batch(small[:20]), Batch(small[20:40]), small[40:60])) == []
    x = torch.zeros(20, 4).long()
    _, skipped = run_all(Case("text", Spec((4,), vocab=3), Batch(x), Batch(x), x), ["quality"])
    assert "image" in skipped["quality"]


def test_codes_of_pictures_have_no_naturalness():
    """Codes of two stages are judged under the medium ``image``: rows of whole numbers, or maps of real ones."""
    rows = Batch(Rng(0).integers(64, 40, 16))
    assert measure(Case("image", Spec((16,), vocab=64), rows, rows, rows.x)) == []
    maps = Batch(Rng(0).normal(40, 3, 16, 16))
    assert measure(Case("image", Spec((3, 16, 16)), maps, maps, maps.x, facts={"coded": True})) == []
    assert measure(Case("image", Spec((3, 16, 16)), maps, maps, maps.x)) != []
