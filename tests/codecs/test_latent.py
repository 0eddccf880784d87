"""Latent: another model's codes as examples, exactly there and back, for real and discrete codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from bottega.codecs.image import ImageCodec
from bottega.codecs.latent import LatentCodec
from bottega.core import Codec, DataError, Family, Item, RecipeError, Spec, lookup


class Turned(Family):
    """An orthogonal map as an autoencoder: its codes can be brought back exactly."""

    def __init__(self, spec, scale=5.0, offset=3.0):
        super().__init__(spec)
        torch.manual_seed(0)
        turn, _ = torch.linalg.qr(torch.randn(spec.dims, spec.dims, dtype=torch.float64))
        self.turn = nn.Parameter(turn.float())
        self.scale, self.offset = scale, offset
        self.latent = Spec((4, spec.dims // 4))
        self.drop = nn.Dropout(0.5)

    @classmethod
    def accepts(cls, spec):
        return ""

    def encode(self, batch):
        return (
            self.drop(batch.x.flatten(1) @ self.turn).mul(self.scale).add(self.offset).reshape(-1, *self.latent.shape)
        )

    def decode(self, z, cond=None):
        return (((z.flatten(1) - self.offset) / self.scale) @ self.turn.T).reshape(-1, *self.spec.shape)


class Pixels(Family):
    """A picture's own levels as a grid of codes."""

    def __init__(self, spec):
        super().__init__(spec)
        self.nothing = nn.Parameter(torch.zeros(1))
        self.latent = Spec(spec.shape[1:], vocab=4)

    @classmethod
    def accepts(cls, spec):
        return ""

    def encode(self, batch):
        return batch.x[:, 0]

    def decode(self, z, cond=None):
        return z[:, None]


@pytest.fixture
def items():
    made = np.random.default_rng(0)
    return [Item(made.integers(0, 256, (4, 4, 1), dtype=np.uint8), "ab"[k % 2]) for k in range(60)]


def test_it_is_the_codec_called_latent():
    assert lookup("codecs", "latent") is LatentCodec


def test_real_codes_there_and_back(items):
    inner = ImageCodec(size=0).fit(items)
    codec: Codec = LatentCodec(inner, Turned(inner.spec), batch=7).fit(items)
    assert codec.spec == Spec((4, 4), cond=Spec((), vocab=2))
    assert codec.medium == "image"
    assert codec.classes == ["a", "b"]
    batch = codec.encode(items)
    assert batch.x.shape == (60, 4, 4)
    assert batch.cond.tolist() == [0, 1] * 30
    for item, back in zip(items, codec.decode(batch.x, batch.cond), strict=True):
        np.testing.assert_array_equal(item.value, back.value)
        assert item.cond == back.cond


def test_codes_are_normalised_channel_by_channel(items):
    inner = ImageCodec(size=0).fit(items)
    codec = LatentCodec(inner, Turned(inner.spec)).fit(items)
    x = codec.encode(items).x
    inside = (x.abs() <= 1).float().mean((0, 2))
    assert ((inside > 0.97) & (inside < 1)).all()
    assert x.movedim(1, 0).flatten(1).median(1).values.abs().max() < 0.02


def test_a_channel_that_is_never_used_stays_near_zero(items):
    class Collapsed(Turned):
        def encode(self, batch):
            z = super().encode(batch)
            z[:, 0] = z[:, 0] * 1e-6 + 2
            return z

    inner = ImageCodec(size=0).fit(items)
    codec = LatentCodec(inner, Collapsed(inner.spec)).fit(items)
    assert codec.encode(items).x[:, 0].abs().max() < 0.01


def test_rows_do_not_depend_on_the_batch_and_the_model_is_left_as_it_was(items):
    inner = ImageCodec(size=0).fit(items)
    model = Turned(inner.spec).train()
    codec = LatentCodec(inner, model, batch=7).fit(items)
    assert model.training
    whole = codec.encode(items).x
    assert torch.allclose(codec.encode(items[:3]).x, whole[:3], atol=1e-6)
    source = codec.source(items, train=True)
    assert torch.allclose(source.take(torch.tensor([5, 2])).x, whole[[5, 2]], atol=1e-6)
    assert not whole.requires_grad


def test_discrete_codes_are_a_sequence(items):
    inner = ImageCodec(size=0, levels=4).fit(items)
    codec = LatentCodec(inner, Pixels(inner.spec)).fit(items)
    assert codec.spec == Spec((16,), vocab=4, cond=Spec((), vocab=2))
    batch = codec.encode(items)
    assert torch.equal(batch.x, inner.encode(items).x.flatten(1))
    again = inner.encode(codec.decode(batch.x)).x
    assert torch.equal(again.flatten(1), batch.x)


def test_state_and_delegation(items, tmp_path):
    inner = ImageCodec(size=0).fit(items)
    model = Turned(inner.spec)
    codec = LatentCodec(inner, model).fit(items)
    again = LatentCodec(inner, model).load_state(json.loads(json.dumps(codec.state())))
    assert torch.equal(again.encode(items).x, codec.encode(items).x)
    assert codec.encode_cond(["b"]).tolist() == [1]
    path = codec.write(items[0], tmp_path / "x", {"seed": "1"})
    np.testing.assert_array_equal(codec.read(path)[0].value, items[0].value)
    assert codec.show(items[:4], tmp_path / "sheet").exists()


def test_what_cannot_be_is_said(items):
    inner = ImageCodec(size=0).fit(items)
    with pytest.raises(RecipeError, match="has no codes to model"):
        LatentCodec(inner, nn.Linear(2, 2))
    with pytest.raises(DataError, match="no pieces"):
        LatentCodec(inner, Turned(inner.spec)).fit([])
    with pytest.raises(DataError, match="not finite"):
        LatentCodec(inner, Turned(inner.spec, scale=float("inf"))).fit(items)
