"""Enhancer: the same as it arrives, nothing ahead is heard, and less noise comes out than goes in."""

import pytest
import torch

from bottega.codecs._noise import noisy
from bottega.core import Batch, RecipeError, Rng, Spec
from bottega.data._sounds import speech
from bottega.families.enhancer import Enhancer

SPEC = Spec((1, 1000), cond=Spec((1, 1000)))


def make(**settings):
    torch.manual_seed(0)
    model = Enhancer(SPEC, **{"size": 16, "window": 64, **settings}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def si_sdr(x, y):
    """dB; Le Roux et al. 2019, arXiv:1811.02508, equation 3."""
    scale = (x * y).sum(-1, keepdim=True) / x.square().sum(-1, keepdim=True)
    right = scale * x
    return 10 * torch.log10(right.square().sum(-1) / (right - y).square().sum(-1))


def test_weights_of_one_let_the_sound_through_as_it_is():
    model = make(taps=2)
    with torch.no_grad():
        model.say.weight.zero_()
        model.say.bias.zero_()
        model.say.bias.view(2, 2, -1)[0, 0] = 1.0
    for t in (1000, 999, 17, 1):
        x = torch.randn(2, t, generator=torch.Generator().manual_seed(t))
        assert torch.allclose(model.clear(x), x, atol=1e-5)


@pytest.mark.parametrize("taps", [1, 3])
def test_blocks_of_any_length_give_what_the_whole_gives(taps):
    model = make(taps=taps)
    x = torch.randn(2, 777, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model.clear(x)
    for cuts in ([777], [1] * 777, [5, 300, 2, 0, 470], [64] * 12 + [9]):
        ear = model.listener(2)
        parts = [ear.hear(block) for block in x.split(cuts, 1)]
        sizes = torch.tensor([p.shape[1] for p in parts]).cumsum(0)
        heard = torch.tensor(cuts).cumsum(0)
        assert (heard - sizes <= ear.latency).all()
        assert torch.allclose(torch.cat([*parts, ear.end()], 1), whole, atol=1e-5)


def test_nothing_ahead_of_a_window_is_heard():
    model = make()
    x = torch.randn(1, 600, requires_grad=True)
    (grad,) = torch.autograd.grad(model.clear(x)[0, 200], x)
    assert not grad[0, 200 + model.window :].any()
    assert grad[0, 200].abs() > 0


def test_what_it_needs_is_said():
    assert "degrade" in Enhancer.accepts(Spec((1, 1000)))
    assert "wave" in Enhancer.accepts(Spec((1000,), vocab=256, ordinal=True))
    with pytest.raises(RecipeError, match="power of two"):
        Enhancer(SPEC, window=100)


@pytest.mark.slow
def test_speech_in_noise_gains_five_decibels():
    """Row B3, at 0 dB, on voices and words of the training but other recordings and other noise."""
    from bottega.core import Encoded
    from bottega.data.stream import Stream
    from bottega.training.loop import fit
    from bottega.training.optim import make_optims

    made = speech(n=160, rate=8000, label="none", seed=1)
    length = 4096
    rows = torch.stack(
        [torch.from_numpy(i.value.samples[0, :length].copy()) for i in made.items if i.value.samples.shape[1] >= length]
    )
    spec = Spec((1, length), cond=Spec((1, length)))
    train, held = rows[:-16], rows[-16:]
    torch.manual_seed(0)
    model = Enhancer(spec, size=64)
    batches = [Batch(train[:, None], noisy(train, Rng(k), -5, 5)[:, None]) for k in range(6)]
    whole = Batch(torch.cat([b.x for b in batches]), torch.cat([b.cond for b in batches]))
    fit(model, Stream(Encoded(whole), 16), make_optims(model, 300, {"lr": 3e-3}), steps=300, rng=Rng(0))
    model.eval()
    given = noisy(held, Rng(99), 0, 0)
    before, after = si_sdr(held, given), si_sdr(held, model.sample(16, Rng(0), given[:, None])[:, 0])
    assert (after - before).mean() > 5
