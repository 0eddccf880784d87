"""WaveNet and SampleRNN: what they see, that quick ways draw what slow ones draw, and what they learn."""

import math

import numpy as np
import pytest
import torch

from bottega.codecs.audio import mu_law, mu_law_inverse
from bottega.core import Batch, Encoded, RecipeError, Rng, Spec
from bottega.data.stream import Stream
from bottega.families.samplernn import SampleRNN
from bottega.families.wavenet import WaveNet
from bottega.nets.wave_loop import LEVELS, draw, log_mixture, split_mixture
from bottega.training.loop import fit
from bottega.training.optim import make_optims

LEVELLED = Spec((60,), vocab=32, ordinal=True, cond=Spec((), vocab=3))
WAVES = Spec((1, 60), cond=Spec((), vocab=3))


def shaken(model):
    torch.manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
        if not model.spec.is_tokens:
            model.wave.head[2].bias[-5:] = 1.0  # narrow logistics, which stay within the scale
    return model.double().eval()


def models():
    yield shaken(WaveNet(LEVELLED, size=6, layers=6, cycle=3, place=7))
    yield shaken(WaveNet(WAVES, size=6, layers=6, cycle=3, place=20))
    yield shaken(WaveNet(WAVES, size=6, layers=6, cycle=3, place=16, bands=3))
    torch.manual_seed(1)
    yield shaken(SampleRNN(LEVELLED, size=6, frame=2))


def planned(model, n, seed, cond=None, temperature=1.0, guidance=1.0):
    plan = getattr(model, "plan", None)
    return None if plan is None else plan.draw(n, Rng(seed), cond, temperature, guidance)


def naive(model, u, cond, plan=None, temperature=1.0, guidance=1.0):
    """Each sample from the outputs of the whole network over all before it: the definition."""
    n, length = u.shape[:2]
    x = torch.zeros(n, length, dtype=torch.double)
    for t in range(length):
        told = []
        for given in (cond, None):
            if isinstance(model, SampleRNN):
                told.append(model._logits(x, model.given(given, n))[:, t])
            else:
                known = model.wave.known(given, n, None, plan)
                known = known.repeat_interleave(model.hop, 2)[:, :, :length]
                shifted = torch.nn.functional.pad(x[:, None, :-1], (1, 0))
                told.append(model.wave(shifted, known)[:, :, t])
        out = told[1] + guidance * (told[0] - told[1])
        x[:, t] = draw(out, u[:, t], model.spec.vocab, temperature).double()
    if plan is None:
        return x
    taps, error = model.plan._formants(plan, slice(0, length), torch.double)
    strong, period = model.plan._pitch(plan, slice(0, length), torch.double)
    left, made = torch.zeros_like(x), torch.zeros_like(x)
    for t in range(
        length
    ):  # foretold by what was left a period ago and by the samples before, and what the network said
        for row in range(n):
            at = t - period[row, t].item()
            whole = math.floor(at)
            ago = [left[row, k].item() if k >= 0 else 0.0 for k in (whole, whole + 1)]
            rest = (1 - strong[row, t] ** 2).sqrt() * 16 * x[row, t]
            left[row, t] = strong[row, t] * (ago[0] + (at - whole) * (ago[1] - ago[0])) + rest
            past = sum(taps[row, t, k] * made[row, t - 1 - k] for k in range(min(t, taps.shape[2])))
            made[row, t] = past + error[row, t] * left[row, t]
    return made.clamp(-1, 1)


def learn(model, batch, steps, rows, lr):
    fit(model, Stream(Encoded(batch), rows), make_optims(model, steps, {"lr": lr}), steps=steps, rng=Rng(0))
    model.eval()


class Played(Rng):
    """A stream whose uniform numbers are kept."""

    def uniform(self, *shape):
        u = super().uniform(*shape)
        self.seen = [*getattr(self, "seen", []), u.double()]
        return u


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_samples_are_those_of_the_definition_by_tensors_and_by_the_compiled_loop(guidance):
    cond = torch.tensor([0, 2])
    for model in models():
        ways = [{}] if isinstance(model, SampleRNN) else [{"compiled": False}, {"compiled": True}]
        for way in ways:
            rng = Played(3)
            made = model.sample(2, rng, cond, temperature=0.8, guidance=guidance, **way)
            with torch.no_grad():
                u = torch.cat([u for u in rng.seen if u.ndim == 3], 1)
                want = naive(model, u, cond, planned(model, 2, 3, cond, 0.8, guidance), 0.8, guidance)
            got = model.spec.as_real(made).reshape(2, -1).double()
            assert torch.allclose(got, want, atol=1e-6)
            assert len(got.unique()) > 5  # no silence


def test_no_output_depends_on_its_own_sample_or_a_later_one():
    for model in models():
        x = torch.linspace(-0.9, 0.9, 60, dtype=torch.double)[None].requires_grad_()
        if isinstance(model, SampleRNN):
            out = model._logits(x, model.given(None, 1)).mT
        else:
            known = model.wave.known(None, 1, None, planned(model, 1, 0)).repeat_interleave(model.hop, 2)[:, :, :60]
            out = model.wave(torch.nn.functional.pad(x[:, None, :-1], (1, 0)), known)
        for t in (0, 1, 7, 33, 59):
            (grad,) = torch.autograd.grad(out[0, :, t].square().sum(), x, retain_graph=True, allow_unused=True)
            assert not grad[0, t:].any()
            assert t == 0 or grad[0, t - 1]


def test_pieces_of_another_length_begin_as_those_of_the_training():
    for model in models():
        long = model.sample(2, Rng.for_rows([1, 2]), length=150)
        assert long.shape[-1] == 150
        parts = list(model.stream(2, Rng.for_rows([1, 2]), length=150))
        assert len(parts) > 1
        assert torch.equal(torch.cat(parts, -1), long)
        with pytest.raises(RecipeError, match="length is -1"):
            model.sample(1, Rng(0), length=-1)
        with pytest.raises(RecipeError, match="temperature is 0"):
            model.sample(1, Rng(0), temperature=0.0)


def test_what_is_kept_stays_and_the_rest_goes_on_from_it():
    for model in models():
        batch = Batch(model.sample(2, Rng(0)), torch.tensor([1, 1]))
        keep = torch.zeros(1, *model.spec.shape, dtype=torch.bool)
        keep[..., :30] = True
        made = model.edit(batch, keep, Rng(1))
        assert torch.equal(made[..., :30], batch.x[..., :30])
        assert not torch.equal(made[..., 30:], batch.x[..., 30:])
        turned = -batch.x if not model.spec.is_tokens else model.spec.vocab - 1 - batch.x
        other = model.edit(Batch(turned, batch.cond), keep, Rng(1))
        assert not torch.equal(other[..., 30:], made[..., 30:])


def test_a_mixture_of_logistics_is_a_density_and_is_drawn_from():
    torch.manual_seed(0)
    out = torch.tensor([[0.3, -0.4, 0.9, -0.8, 0.1, 0.97, 3.0, 1.0, 2.0]], dtype=torch.double)
    step = 2 / (LEVELS - 1)
    every = torch.arange(LEVELS, dtype=torch.double) * step - 1
    width = torch.full_like(every, step)
    width[[0, -1]] = step / 2
    mass = log_mixture(out, every[:, None]).exp()[:, 0] * width
    assert mass.sum().item() == pytest.approx(1, abs=1e-6)
    u = torch.rand(20_000, 2, dtype=torch.double)
    drawn = draw(out.expand(20_000, -1), u, 0)
    assert ((drawn + 1) / step).sub(((drawn + 1) / step).round()).abs().max() < 0.02
    for at in (-0.9, -0.3, 0.0, 0.5, 0.95):
        want = mass[every <= at].sum().item()
        assert (drawn <= at).float().mean().item() == pytest.approx(want, abs=0.015)
    assert mass[-1] > 0.01
    assert (drawn == 1).float().mean().item() == pytest.approx(mass[-1].item(), abs=0.01)
    weights = split_mixture(out)[0].exp()
    assert weights.sum().item() == pytest.approx(1)


def test_they_learn_a_walk_of_known_entropy():
    """One up or down on eight levels, back at the ends: ln 2 a step within, 0 at an end; an even draw takes ln 8."""
    steps = 2 * torch.randint(0, 2, (512, 60), generator=torch.Generator().manual_seed(0)) - 1
    rows = [torch.full((512, 1), 4)]
    for t in range(59):
        on = rows[-1] + steps[:, t : t + 1]
        rows.append(torch.where((on < 0) | (on > 7), rows[-1] - steps[:, t : t + 1], on))
    x = torch.cat(rows, 1)
    spec = Spec((60,), vocab=8, ordinal=True)
    entropy = ((x[448:, :-1] > 0) & (x[448:, :-1] < 7)).sum(1).double().mean().item() * math.log(2)
    for make in (lambda: WaveNet(spec, size=16, layers=4, cycle=2), lambda: SampleRNN(spec, size=32, frame=4)):
        torch.manual_seed(0)
        model = make()
        learn(model, Batch(x[:448]), 120, 48, 2e-2)
        assert -model.log_prob(Batch(x[448:]), Rng(0)).mean().item() < 1.06 * entropy


def test_sounds_alone_are_accepted():
    for family in (WaveNet, SampleRNN):
        for spec in (Spec((2,)), Spec((1, 8, 8)), Spec((8,), vocab=11), Spec((2, 100))):
            assert family.accepts(spec)
        assert not family.accepts(Spec((100,), vocab=256, ordinal=True))
    assert not WaveNet.accepts(Spec((1, 100)))
    assert "mulaw" in SampleRNN.accepts(Spec((1, 100)))
    with pytest.raises(RecipeError, match="at least 1"):
        WaveNet(Spec((1, 100)), size=0)
    with pytest.raises(RecipeError, match=r"frame 1"):
        SampleRNN(Spec((100,), vocab=8, ordinal=True), frame=1)


@pytest.mark.slow
def test_a_tone_has_the_pitch_that_was_asked_for():
    """Row D7: within 20 cents, of sines whose frequency is the class."""
    hz, rate, length = (220.0, 330.0, 440.0), 4000, 1024
    at = np.arange(length) / rate
    rng = np.random.default_rng(0)
    rows = [0.6 * np.sin(math.tau * (hz[i % 3] * at + rng.random())) for i in range(96)]
    x = torch.tensor(np.stack(rows), dtype=torch.float32)
    spec = Spec((length,), vocab=256, ordinal=True, cond=Spec((), vocab=3))
    batch = Batch(mu_law(x), torch.arange(96) % 3)
    torch.manual_seed(0)
    model = WaveNet(spec, size=24, layers=14, cycle=7)
    learn(model, batch, 300, 8, 3e-3)
    made = mu_law_inverse(model.sample(6, Rng(5), torch.arange(6) % 3, temperature=0.5)).numpy()
    for i, wave in enumerate(made):
        part = wave[200:] * np.hanning(length - 200)
        spectrum = np.abs(np.fft.rfft(part, 1 << 16))
        found = np.fft.rfftfreq(1 << 16, 1 / rate)[spectrum.argmax()]
        assert abs(1200 * math.log2(found / hz[i % 3])) < 20
