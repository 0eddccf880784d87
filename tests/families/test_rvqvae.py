"""RVQ-VAE: codes of any length, more codebooks are nearer, the prior is the codes' own, and sounds come out."""

import math

import pytest
import torch

from bottega.core import Batch, Encoded, RecipeError, Rng, Spec
from bottega.data.stream import Stream
from bottega.families.rvqvae import RVQVAE
from bottega.training.loop import fit
from bottega.training.optim import make_optims

SPEC = Spec((1, 512))


def tones(n, seed, length=512):
    u = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed))
    at = torch.arange(length)
    wave = torch.sin(at * (0.05 + 0.2 * u[:, :1]) + math.tau * u[:, 1:2])
    return ((0.2 + 0.5 * u[:, 2:]) * wave)[:, None]


@pytest.fixture(scope="module")
def learned():
    torch.manual_seed(0)
    model = RVQVAE(SPEC, size=8, hop=16, codebooks=3, codes=32, spectrum=0.05)
    fit(model, Stream(Encoded(Batch(tones(256, 0))), 8), make_optims(model, 400, {"lr": 3e-3}), steps=400, rng=Rng(0))
    return model.eval()


def snr(x, y):
    return (10 * torch.log10(x.square().sum((1, 2)) / (x - y).square().sum((1, 2)))).mean().item()


def test_each_book_brings_held_out_sounds_nearer(learned):
    x = tones(32, 1)
    z = learned.encode(Batch(x))
    assert z.shape == (32, 1, 32, 3)
    with torch.no_grad():
        found = [snr(x, learned.decode(z, codebooks=k)) for k in (1, 2, 3)]
    assert found == sorted(found), found
    assert found[-1] > found[0] + 1
    assert found[-1] > 5
    assert learned.bits_a_second(8000) == 3 * learned.bits_a_second(8000, 1) == 8000 / 16 * 3 * 5


def test_the_prior_is_the_frequency_of_the_codes(learned):
    z = learned.encode(Batch(tones(64, 2)))[:, 0]
    rate = learned._rate(z, learned._logits(None, 64)).mean().item() / z[0].numel()
    shares = [torch.bincount(z[:, :, k].flatten(), minlength=32).double() / z[:, :, k].numel() for k in range(3)]
    entropy = sum(-(p * p.clamp_min(1e-12).log()).sum().item() for p in shares) / 3
    assert entropy - 1e-6 <= rate < entropy + 0.15  # no code of one distribution is shorter than its entropy


def test_sounds_of_another_length_are_coded_too(learned):
    x = tones(2, 3, 1600)
    z = learned.encode(Batch(x))
    assert z.shape == (2, 1, 100, 3)
    with torch.no_grad():
        assert snr(x, learned.decode(z)) > 5
    assert learned.decode(learned.encode(Batch(x[:, :, :500])))[0].shape == (1, 512)


def test_what_it_needs_is_said(learned):
    assert "wave" in RVQVAE.accepts(Spec((512,), vocab=256, ordinal=True))
    assert RVQVAE.accepts(Spec((2, 512)))
    with pytest.raises(RecipeError, match="power of two"):
        RVQVAE(SPEC, hop=12)
    with pytest.raises(RecipeError, match="codebooks is 4"):
        learned.decode(learned.encode(Batch(tones(1, 0))), codebooks=4)
