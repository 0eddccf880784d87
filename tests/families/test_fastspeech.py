"""FastSpeech on a made world where what is right is known: each sound is a band, as long, as high and as loud as it was."""

import pytest
import torch

from bottega.core import Batch, RecipeError, Rng, Spec
from bottega.families.fastspeech import FastSpeech
from bottega.nets.pitch import SEMITONE
from helpers import trained

MELS, FRAMES, LENGTH, VOICES, SOUNDS = 8, 40, 8, 2, 4
SPEC = Spec((1, MELS + 3, FRAMES), cond=Spec((LENGTH,), vocab=VOICES + SOUNDS + 1))


def made(n, seed=0):
    """Sound k lasts 3 + k frames and lights band k; voice v lights band 6 + v and speaks at -0.2 or 0.3."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.full((n, 1, MELS + 3, FRAMES), -1.0)
    cond = torch.full((n, LENGTH), VOICES + SOUNDS)
    for i in range(n):
        voice, at = int(torch.randint(VOICES, (1,), generator=rng)), 0
        cond[i, 0] = voice
        for k, sound in enumerate(torch.randint(SOUNDS, (4,), generator=rng).tolist(), 1):
            cond[i, k] = VOICES + sound
            part = slice(at, at := at + 3 + sound)
            x[i, 0, sound, part], x[i, 0, 6 + voice, part] = 0.8, 0.5
            x[i, 0, MELS, part] = (-0.2, 0.3)[voice] if sound < 3 else -1.0
            x[i, 0, MELS + 1, part] = -0.5 + 0.2 * sound
            x[i, 0, MELS + 2, part] = 2 * k / LENGTH - 1
    return Batch(x, cond)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return trained(FastSpeech(SPEC, size=24, depth=1, kernel=3, voice=8), made(192), 150, lr=1e-2, rows=16, ema=0.95)


def test_it_says_new_rows_as_they_are(model):
    held = made(40, seed=1)
    x = model.sample(40, Rng(0), held.cond)
    frames, want = (((b[:, 0, MELS + 2] > -1).sum(1)) for b in (x, held.x))
    assert (frames - want).abs().float().mean() < 1
    said = model.speak(held.cond, model.said(held.x), Rng(0))
    assert torch.equal(said[:, 0, MELS + 2], held.x[:, 0, MELS + 2])
    assert (said - held.x)[:, 0, :MELS].abs().mean() < 0.08
    plan, truth = model.plan(held.cond), model.said(held.x)
    real = truth.frames > 0
    assert (plan.voiced == truth.voiced)[real].float().mean() > 0.98
    assert (plan.pitch - truth.pitch)[truth.voiced.bool()].abs().mean() < 0.05
    assert (plan.energy - truth.energy)[real].abs().mean() < 0.05


def test_controls_do_what_they_say(model):
    cond = made(16, seed=2).cond
    plain = model.sample(16, Rng(0), cond)
    length = lambda x: (x[:, 0, MELS + 2] > -1).sum().item()  # noqa: E731
    assert abs(length(model.sample(16, Rng(0), cond, speed=1.5)) * 1.5 / length(plain) - 1) < 0.03
    assert abs(length(model.sample(16, Rng(0), cond, speed=0.8)) * 0.8 / length(plain) - 1) < 0.03
    higher = model.sample(16, Rng(0), cond, pitch=2.0)
    both = (plain[:, 0, MELS] > -0.9) & (higher[:, 0, MELS] > -0.9)
    assert torch.allclose((higher - plain)[:, 0, MELS][both], torch.full((), 2 * SEMITONE), atol=1e-4)
    louder = model.sample(16, Rng(0), cond, energy=4.0)
    there = plain[:, 0, MELS + 2] > -1
    assert torch.allclose((louder - plain)[:, 0, MELS + 1][there], torch.full((), 0.1), atol=1e-4)
    flat = model.moved(model.plan(cond), cond, pitch_range=0.0)
    for row, sure in zip(flat.pitch, flat.voiced.bool() & (cond < VOICES + SOUNDS) & (cond >= VOICES), strict=True):
        assert row[sure].std(correction=0) < 1e-5
    with pytest.raises(RecipeError, match="speed"):
        model.sample(16, Rng(0), cond, speed=0.0)


def test_a_voice_is_heard_and_given(model):
    held = made(60, seed=3)
    vectors = model.represent(held)
    centres = torch.nn.functional.normalize(model.voices.weight[:VOICES], dim=1)
    assert ((vectors @ centres.T).argmax(1) == held.cond[:, 0]).float().mean() > 0.95
    other = held.cond.clone()
    other[:, 0] = 1 - other[:, 0]
    of_vector = model.sample(60, Rng(0), held.cond, voice=centres[1 - held.cond[:, 0]])
    assert torch.allclose(of_vector, model.sample(60, Rng(0), other), atol=1e-4)


def test_sounds_are_heard_frame_by_frame(model):
    held = made(40, seed=4)
    places = ((held.x[:, 0, MELS + 2] + 1) * LENGTH / 2).round().long()
    right = model.hear(held.x).argmax(2) == held.cond.gather(1, places)
    assert right[places > 0].float().mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["diffusion", "autoregressive"])
def test_other_decoders_learn_it_too(decoder):
    torch.manual_seed(0)
    model = trained(
        FastSpeech(SPEC, size=32, depth=2, kernel=3, voice=8, decoder=decoder), made(256), 200, lr=5e-3, rows=32
    )
    held = made(24, seed=5)
    said = model.speak(held.cond, model.said(held.x), Rng(0))
    assert (said - held.x)[:, 0, :MELS].abs().mean() < 0.15
    assert model.certain == (decoder != "diffusion")
