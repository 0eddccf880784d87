"""Augment: each change does what it says, row by row, and keeps kind, range and label."""

from __future__ import annotations

import pytest
import torch

from bottega.core import Batch, Encoded, RecipeError, Rng, Spec
from bottega.data.augment import known, make
from bottega.data.stream import Stream

REAL, LEVELS = Spec((3, 16, 16)), Spec((1, 16, 16), vocab=17, ordinal=True)
ALL = sorted(known(REAL))


def batch_of(spec, n=64):
    rng = Rng(1)
    x = rng.integers(spec.vocab, n, *spec.shape) if spec.is_tokens else rng.uniform(n, *spec.shape) * 2 - 1
    return Batch(x, torch.arange(n))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("spec", [REAL, LEVELS], ids=["real", "levels"])
def test_kind_range_and_condition_stay_and_something_changes(name, spec):
    batch = batch_of(spec)
    out = make(name, spec)(batch, Rng(0))
    assert out.x.shape == batch.x.shape
    assert out.x.dtype == batch.x.dtype
    assert torch.equal(out.cond, batch.cond)
    low, high = (0, 16) if spec.is_tokens else (-1, 1)
    assert low <= out.x.min()
    assert out.x.max() <= high
    changed = (out.x != batch.x).flatten(1).any(1).float().mean()
    assert changed > 0.3 if name != "flip" else 0.25 < changed < 0.75


@pytest.mark.parametrize("name", [*ALL, "flip,shift,brightness"])
def test_a_row_draws_for_itself(name):
    batch = batch_of(REAL, 6)
    change = make(name, REAL)
    whole = change(batch, Rng.for_rows(range(6))).x
    alone = torch.cat([change(batch.take(slice(i, i + 1)), Rng.for_rows([i])).x for i in range(6)])
    assert torch.allclose(whole, alone, atol=1e-6)


def test_flip_mirrors():
    batch = batch_of(REAL)
    out = make("flip", REAL)(batch, Rng(0)).x
    for before, after in zip(batch.x, out, strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(-1))


def test_shift_moves_the_inside_and_repeats_the_edge():
    x = torch.zeros(200, 1, 16, 16)
    x[:, :, 8, 8] = 1
    x[:, :, 0] = -1  # the upper edge
    out = make("shift", Spec((1, 16, 16)))(Batch(x), Rng(0)).x
    places = (out == 1).nonzero()[:, 2:]
    assert len(places) == 200
    assert places.min().item() == 6
    assert places.max().item() == 10
    assert (out[:, 0, 0, :] == -1).float().mean() > 0.5
    assert set(out.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_crop_mirrors_beyond_the_edge():
    x = torch.arange(16.0).expand(100, 1, 16, 16)
    out = make("crop", Spec((1, 16, 16)))(Batch(x), Rng(0)).x[:, 0, 0]
    rows = {tuple(row.tolist()) for row in out}
    assert len(rows) == 5
    assert (2.0, 1.0, *[float(k) for k in range(14)]) in rows


def test_rotate_turns_a_little_and_keeps_the_middle():
    x = torch.zeros(100, 1, 33, 33)
    x[:, :, 16, :] = 1  # a level bar
    out = make("rotate", Spec((1, 33, 33)))(Batch(x), Rng(0)).x
    assert torch.allclose(out[:, 0, 16, 16], torch.ones(100), atol=0.02)
    right = out[:, 0, :, 31].argmax(1) - 16
    left = out[:, 0, :, 1].argmax(1) - 16
    assert right.abs().max() == 3  # 15 pixels out, tan 10 degrees
    assert torch.equal(right.sign() * left.sign(), -right.abs().sign() * left.abs().sign())
    wide = torch.zeros(50, 1, 16, 64)
    wide[:, :, 8] = 1
    assert make("rotate", Spec((1, 16, 64)))(Batch(wide), Rng(0)).x[:, 0, 8, 32].min() > 0.9


def test_brightness_scales_from_black():
    x = torch.tensor([-1.0, 0.0]).reshape(1, 1, 1, 2).expand(500, 1, 1, 2)
    out = make("brightness", Spec((1, 1, 2)))(Batch(x), Rng(0)).x[:, 0, 0]
    assert (out[:, 0] == -1).all()
    assert out[:, 1].min() >= -0.1 - 1e-6
    assert out[:, 1].max() <= 0.1 + 1e-6
    assert out[:, 1].std() == pytest.approx(0.2 / 12**0.5, rel=0.1)


def test_a_mask_moves_with_its_pixels():
    batch = batch_of(REAL)
    mask = batch.x > 0
    for name in ("flip", "shift", "crop"):
        out = make(name, REAL)(Batch(batch.x, None, mask), Rng(0))
        assert torch.equal(out.mask, out.x > 0)
    one = torch.zeros(64, 1, 16, 16, dtype=torch.bool)
    one[..., :8] = True
    out = make("rotate", REAL)(Batch(batch.x, None, one), Rng(0))
    assert out.mask.dtype == torch.bool
    assert out.mask[:, :, 8, 0].all()
    assert not out.mask[:, :, 8, 15].any()


def test_none_is_none_and_wrong_names_are_said():
    batch = batch_of(REAL)
    for names in ("", "none", " none , "):
        assert make(names, REAL)(batch, Rng(0)) is batch
    with pytest.raises(RecipeError, match=r"'flipp'; did you mean 'flip'\?"):
        make("flipp", REAL)
    for spec in (Spec((64,), vocab=256), Spec((2,))):
        assert make("", spec)(batch, Rng(0)) is batch
        assert known(spec) == {}
        with pytest.raises(RecipeError, match="suits pictures only"):
            make("flip", spec)
        with pytest.raises(RecipeError, match="suits pictures and sound only"):
            make("shift", spec)


def test_a_stream_applies_it_the_same_way_each_time():
    batch = batch_of(REAL)
    one, two = (Stream(Encoded(batch), 8, seed=5, augment=make("flip,crop", REAL)) for _ in range(2))
    first = [next(one).x for _ in range(3)]
    assert all(torch.equal(a, next(two).x) for a in first)
