"""Augment for sound: each change does what it says to waveforms, levels and spectra, and what would be untrue is refused."""

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import bottega
from bottega.codecs.audio import AudioCodec, mu_law
from bottega.codecs.music import MusicCodec
from bottega.codecs.speech import SpeechCodec
from bottega.core import Batch, Item, RecipeError, Rng, Sound, Spec
from bottega.data import worlds
from bottega.data.augment import known, make
from bottega.nets.pitch import yin
from bottega.nets.spectrogram import LogMel, band_centres
from helpers import one_line

RATE, N = 8000, 4096
NAMES = ["frequency_mask", "gain", "noise", "pitch", "shift", "time_mask"]


@contextmanager
def refused(words):
    with pytest.raises(RecipeError) as error:
        yield
    one_line(error, words)


def tones(n=12, hz=200.0):
    """Voices of a kind: overtones of a pitch, loud in the middle."""
    at = np.arange(N) / RATE
    rng = np.random.default_rng(0)
    rows = []
    for k in range(n):
        wave = sum(np.sin(math.tau * j * hz * (1 + 0.05 * k) * at + rng.random()) / j for j in range(1, 9))
        rows.append((0.15 * wave * np.hanning(N)).astype(np.float32))
    return rows


def codec_of(form, labels=("dog", "cat"), **more):
    items = [Item(Sound(row[None], RATE), labels[i % len(labels)]) for i, row in enumerate(tones())]
    codec = AudioCodec(form=form, rate=RATE, seconds=N / RATE, window=256, hop=64, mels=40, **more).fit(items)
    return codec, codec.encode(items)


@pytest.fixture(scope="module", params=["wave", "mulaw", "mel"])
def made(request):
    return codec_of(request.param)


@pytest.mark.parametrize("name", [*NAMES, "gain,noise,shift,time_mask,time_mask,pitch"])
def test_shape_kind_range_and_label_stay_and_something_changes(made, name):
    codec, batch = made
    out = make(name, codec.spec, codec)(batch, Rng(0))
    assert (out.x.shape, out.x.dtype) == (batch.x.shape, batch.x.dtype)
    assert torch.equal(out.cond, batch.cond)
    assert torch.isfinite(out.x.float()).all()
    low, high = (0, 255) if codec.form == "mulaw" else (-1, 1)
    assert low <= out.x.min()
    assert out.x.max() <= high
    assert (out.x != batch.x).flatten(1).any(1).float().mean() > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_a_row_draws_for_itself(made, name):
    codec, batch = made
    change = make(name, codec.spec, codec)
    whole = change(batch, Rng.for_rows(range(12))).x.float()
    alone = torch.cat([change(batch.take(slice(i, i + 1)), Rng.for_rows([i])).x for i in range(12)]).float()
    assert torch.allclose(whole, alone, atol=1 if codec.form == "mulaw" else 1e-5)


def test_known_names_are_those_of_the_medium(made):
    codec, _ = made
    assert sorted(known(codec.spec, codec)) == NAMES
    assert "flip" in known(Spec((3, 8, 8)))
    assert "gain" not in known(Spec((3, 8, 8)))


def test_gain_moves_level_alone_and_never_beyond_full_scale():
    codec, batch = codec_of("wave")
    loud = Batch(batch.x / batch.x.abs().amax(), batch.cond)
    out = make("gain", codec.spec, codec)(loud, Rng(1)).x
    ratio = out.norm(dim=-1) / loud.x.norm(dim=-1)
    assert torch.allclose(out, loud.x * ratio[..., None], atol=1e-6)
    db = 20 * ratio.log10()
    assert -6.01 < db.min() < -2
    assert db.max() > 0.5
    assert out.abs().max() <= 1
    codec, batch = codec_of("mel")
    out = make("gain", codec.spec, codec)(batch, Rng(1)).x
    inner = (batch.x > -0.9) & (out > -1)
    step = (out - batch.x) * codec.range_db / 2
    for row, there in zip(step, inner, strict=True):
        assert row[there].std() < 1e-4
    assert torch.equal(out == -1, batch.x == -1) or ((out == -1) >= (batch.x == -1)).all()  # silence stays silence


def test_noise_has_the_ratio_that_is_said():
    for form in ("wave", "mel"):
        codec, batch = codec_of(form)
        big = Batch(batch.x.repeat(20, *[1] * (batch.x.ndim - 1)))
        out = make("noise", Spec(codec.spec.shape), codec)(big, Rng(2)).x
        if form == "wave":
            sound, noise = big.x.square().mean((1, 2)), (out - big.x).square().mean((1, 2))
        else:
            power = lambda x: 10 ** ((x - 1) * codec.range_db / 20) * (x > -1)  # noqa: E731
            sound, noise = power(big.x).mean((1, 2, 3)), (power(out) - power(big.x)).mean((1, 2, 3))
        ratio = 10 * (sound / noise.clamp_min(1e-12)).log10()
        assert ratio.quantile(0.05) > (9.5 if form == "wave" else 8)
        assert ratio.quantile(0.95) < (30.5 if form == "wave" else 33)
        assert 17 < ratio.median() < 23


def test_noise_in_a_spectrum_is_what_the_spectrum_of_noise_is():
    """White noise added to samples raises the mel bands of silence by as much as noise added to the spectrum."""
    rng = Rng(3)
    net = LogMel(RATE, 256, 64, 40)
    power = (10 ** (net(rng.normal(50, N)) / 10)).mean((0, 2))
    assert power.max() / power.min() < 1.25  # so the noise of a spectrum is even over its bands


def test_shift_moves_time_alone(made):
    codec, batch = made
    out = make("shift", codec.spec, codec)(batch, Rng(4)).x
    silence = {"wave": 0.0, "mulaw": 128, "mel": -1.0}[codec.form]
    n = batch.x.shape[-1]
    moved = set()
    for before, after in zip(batch.x, out, strict=True):
        for by in range(-(n // 8), n // 8 + 1):
            a, b = (after[..., by:], before[..., : n - by]) if by >= 0 else (after[..., :by], before[..., -by:])
            edge = after[..., :by] if by >= 0 else after[..., by:]
            if torch.allclose(a.float(), b.float(), atol=1e-6) and (edge == silence).all():
                moved.add(by)
                break
        else:
            raise AssertionError("no shift gives this row")
    assert len(moved) > 6
    assert min(moved) < 0 < max(moved)


def test_masks_take_spans_out():
    x = Rng(0).uniform(300, 1, 40, 64) * 0.5 + 0.3
    codec, _ = codec_of("mel")
    for name, axis, most in (("time_mask", 3, 8), ("frequency_mask", 2, 8)):
        out = make(name, codec.spec, codec)(Batch(x), Rng(5)).x
        gone = (out != x).all(5 - axis).squeeze(1)  # (B, places)
        widths = gone.sum(1)
        assert (widths.min(), widths.max()) == (0, most)
        assert ((gone[:, 1:] != gone[:, :-1]).sum(1) <= 2).all()  # one span
        row = int(widths.argmax())
        assert out[row].flatten()[(out[row] != x[row]).flatten()].unique().numel() == 1
        assert torch.allclose(out[row][out[row] != x[row]][0], x[row].mean())
        assert torch.equal(out[~gone[:, None, None, :].expand_as(x) if axis == 3 else ~gone[:, None, :, None].expand_as(x)],
                           x[~gone[:, None, None, :].expand_as(x) if axis == 3 else ~gone[:, None, :, None].expand_as(x)])  # fmt: skip


def test_a_frequency_mask_takes_a_band_out_of_a_waveform():
    codec, _ = codec_of("wave")
    x = 0.1 * Rng(0).normal(60, 1, N).clamp(-3, 3)
    out = make("frequency_mask", codec.spec, codec)(Batch(x), Rng(6)).x
    share = torch.fft.rfft(out).abs()[:, 0] / torch.fft.rfft(x).abs()[:, 0].clamp_min(1e-6)
    gone = (share < 0.01).sum(1)
    assert gone.max() > 100
    assert gone.min() == 0
    assert (((share > 0.01) & (share < 0.99)).sum(1) < 20).all()


def test_pitch_moves_pitch_and_keeps_level():
    for form in ("wave", "mulaw"):
        codec, _ = codec_of(form)
        rows = torch.from_numpy(np.stack(tones(40, 150.0)[:1] * 40))
        x = rows[:, None] if form == "wave" else mu_law(rows)
        out = codec.waves(make("pitch", codec.spec, codec)(Batch(x), Rng(7)).x)
        ratios = []
        for row in out:
            f0 = yin(row, RATE, 256)
            ratios.append(float(f0[f0 > 0].median()) / 150)
        assert min(ratios) < 0.95
        assert max(ratios) > 1.05
        assert 1 / 1.11 < min(ratios) < max(ratios) < 1.11
        assert (out.square().sum(1) / rows.square().sum(1)).log10().abs().max() < 0.06  # the square of 10 %


def test_what_is_played_slower_keeps_its_samples_between():
    """Against the sinusoid itself, far from the ends."""
    codec, _ = codec_of("wave")
    at = torch.arange(N) / RATE
    x = 0.5 * torch.sin(math.tau * 1000 * (at - at[-1] / 2)).expand(20, 1, N)
    out = make("pitch", codec.spec, codec)(Batch(x.contiguous()), Rng(8)).x
    factors = 1.1 ** (2 * Rng(8).uniform(20) - 1)
    want = 0.5 * torch.sin(math.tau * 1000 * factors[:, None] * (at - at[-1] / 2))
    assert (out[:, 0] - want)[:, 400:-400].abs().max() < 0.01


def test_pitch_stretches_the_bands_of_a_spectrum():
    codec, _ = codec_of("mel")
    centres = band_centres(RATE, 40)
    x = torch.full((80, 1, 40, 64), -1.0)
    x[:, :, 20] = 1.0  # one band
    out = make("pitch", codec.spec, codec)(Batch(x), Rng(9)).x
    factors = 1.1 ** (2 * Rng(9).uniform(80) - 1)
    weight = (out[:, 0, :, 0] + 1).double()
    at = (weight * centres).sum(1) / weight.sum(1)
    assert torch.allclose(at, centres[20] * factors.double(), rtol=0.03)
    assert (out[:, 0] == out[:, 0, :, :1]).all()  # time stays


def test_a_given_sound_goes_with_its_answer():
    codec, batch = codec_of("wave", degrade="noise")
    assert codec.spec.given_sound
    same = Batch(batch.x, batch.x.clone())
    for name in ("gain", "shift", "pitch", "time_mask"):
        out = make(name, codec.spec, codec)(same, Rng(1))
        assert torch.allclose(out.x, out.cond, atol=1e-6)
        assert not torch.equal(out.x, batch.x)
    with pytest.raises(RecipeError, match="must stay clean"):
        make("noise", codec.spec, codec)
    assert "noise" not in known(codec.spec, codec)


@pytest.mark.parametrize("name", ["flip", "crop", "rotate", "brightness"])
def test_changes_of_pictures_are_refused_for_sound(made, name):
    codec, _ = made
    with refused("is for pictures; for sound use gain"):
        make(name, codec.spec, codec)


def test_changes_of_sound_are_refused_for_pictures_and_for_what_is_neither():
    for name in ("gain", "noise", "time_mask", "frequency_mask", "pitch"):
        with refused("is for sound; for pictures use flip"):
            make(name, Spec((1, 28, 28)))
    with refused("did you mean 'time_mask'"):
        codec, _ = codec_of("mel")
        make("time_mesk", codec.spec, codec)
    roll = MusicCodec()
    with refused("suits pictures only"):
        make("flip", Spec((1, 88, 64)), roll)  # a piano roll is no picture: flip would play it backwards


@pytest.mark.parametrize("labels", [("c4", "e4"), ("60", "64"), ("220 Hz", "440 Hz"), ("F#3", "Bb2")])
def test_notes_are_not_stretched(labels):
    codec, batch = codec_of("mel", labels)
    assert "pitch" not in known(codec.spec, codec)
    with refused("the labels are notes"):
        make("pitch", codec.spec, codec)
    make("gain", codec.spec, codec)(batch, Rng(0))


def test_codes_of_another_model_are_left_alone():
    class Codes:
        medium = "audio"
        spec = Spec((4, 8, 8))

    for name in ("gain", "flip", "shift"):
        with refused("suits"):
            make(name, Codes.spec, Codes())
    assert known(Codes.spec, Codes()) == {}


# ---- codec speech --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def speech():
    codec, items = SpeechCodec(phones="letters"), worlds.load("speech", n=16, words=2, label="transcript").items
    return codec.fit(items), codec.encode(items)


def test_speech_gets_softer_or_louder_with_its_energy(speech):
    codec, batch = speech
    assert list(known(codec.spec, codec)) == ["gain"]
    out = make("gain", codec.spec, codec)(batch, Rng(1))
    m = codec.mels
    assert torch.equal(out.x[:, :, m], batch.x[:, :, m])  # F0
    assert torch.equal(out.x[:, :, m + 2], batch.x[:, :, m + 2])  # places
    assert torch.equal(codec.frames_of(out.x), codec.frames_of(batch.x))
    step = (out.x - batch.x)[:, 0]
    for row, before, after in zip(step, batch.x[:, 0], out.x[:, 0], strict=True):
        inner = (before > -1) & (after > -1) & (after < 1)
        inner[[m, m + 2]] = False
        assert row[inner].std() < 1e-5  # bands and energy by the same
        assert row[inner].abs().mean() > 0 or (before[:m].max() > 0.99)
    assert step[:, :m].abs().amax((1, 2)).max() > 0.01
    # the energy that the new bands have is the new energy, where it is not cut at the floor
    level = 10 * (10 ** (codec.decibels(out.x) / 10)).sum(1).log10()
    want = 2 * (level - codec.top_level) / codec.range_db + 1
    loud = out.x[:, 0, m + 1] > 0.2
    assert (want - out.x[:, 0, m + 1])[loud].abs().max() < 0.01


@pytest.mark.parametrize("name", ["noise", "shift", "time_mask", "frequency_mask", "pitch"])
def test_what_would_part_the_rows_of_speech_is_refused(speech, name):
    codec, _ = speech
    with refused("codec speech has 'gain' only"):
        make(name, codec.spec, codec)


# ---- in training ---------------------------------------------------------------------------------------------------


def test_training_knows_the_medium(tmp_path):
    small = {"train.steps": 2, "train.batch": 8, "data.n": 24, "family.size": 4}
    for names, words in (("flip,shift", "is for pictures"), ("crop", "is for pictures")):
        with refused(words):
            bottega.train("ch23-audio-vae", out=tmp_path / "refused", set=small | {"train.augment": names}, judge=False)
    run = bottega.train("ch23-audio-vae", out=tmp_path / "run", set=small | {"train.augment": "gain,shift,frequency_mask"}, judge=False)  # fmt: skip
    assert run.step == 2
    with refused("is for sound"):
        bottega.train("digits-vae", out=tmp_path / "digits", set={"train.steps": 2, "train.augment": "gain"}, judge=False)  # fmt: skip
