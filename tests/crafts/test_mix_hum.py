"""Mains hum on sounds whose hum is known: its frequency is followed, it is subtracted, and nothing else is taken for it."""

import math

import numpy as np
import pytest

from bottega.core import Sound
from bottega.crafts._hum import find_hum
from bottega.crafts.mix_repair import measures, repair
from bottega.data._sounds import multitrack, speech


def talk(seed):
    parts = [[i.value.samples[0], np.zeros(8000)] for i in speech(n=5, words=3, seed=seed).items]
    return np.concatenate(sum(parts, []))


def hum(n, rate, base=50.0, drift=0.0, lines=range(1, 7)):
    """Lines of the levels 1 / k, whose fundamental swings by ``drift`` Hz once in 20 seconds, and that fundamental in Hz."""
    at = np.arange(n) / rate
    hz = base + drift * np.sin(math.tau * at / 20 + 1)
    return sum(np.sin(k * math.tau * np.cumsum(hz) / rate + k * k) / k for k in lines), hz


def beside(x, other, decibels):
    return x + other * 10 ** (decibels / 20) * math.sqrt(np.mean(x**2) / np.mean(other**2))


def sound(x, rate=16000):
    return Sound(np.atleast_2d(x).astype(np.float32), rate)


def nearness_db(made, clean):
    """SI-SDR."""
    y, x = made.samples[0].astype(float), clean - clean.mean()
    gain = (x @ y) / (x @ x)
    return 10 * math.log10(np.sum((gain * x) ** 2) / np.sum((y - gain * x) ** 2))


@pytest.mark.parametrize(("base", "drift"), [(50.03, 0.0), (59.95, 0.0), (50.0, 0.2), (60.0, 0.2)])
@pytest.mark.parametrize("decibels", [-30, -15])
def test_hum_under_a_voice_is_followed_and_taken_away(base, drift, decibels):
    clean = talk(3)
    wave, hz = hum(len(clean), 16000, base, drift)
    bad = sound(beside(clean, wave, decibels))
    found = find_hum(bad)
    assert found.base == round(base, -1)
    assert {1, 2, 3} <= set(found.lines) <= set(range(1, 21))
    assert found.low == pytest.approx(hz.min(), abs=0.05)
    assert found.high == pytest.approx(hz.max(), abs=0.05)
    made = repair(bad)
    (told,) = (f for f in made.findings if f.name == "hum")
    assert told.mended
    assert "subtracted" in told.done
    assert told.value == pytest.approx(decibels, abs=1), "about as loud as it was planted"
    assert nearness_db(made.sound, clean) > nearness_db(bad, clean) + 15


@pytest.mark.parametrize(("drift", "least"), [(0.0, 10), (0.2, 5)])
def test_hum_under_a_mix_is_taken_and_its_bass_is_not(drift, least):
    """What takes the notes beside the lines as well leaves more than it takes."""
    clean = multitrack(n=1, seconds=12.0, rate=16000, seed=22).items[0].value
    x = clean.samples.astype(float)
    bad = sound(beside(x, hum(x.shape[1], 16000, 50.02, drift)[0][None], -20))
    made = repair(bad)
    assert {f.name for f in made.findings} == {"hum"}
    left, there = (np.square(s.samples - clean.samples, dtype=np.float64).sum() for s in (made.sound, bad))
    assert 10 * math.log10(there / left) > least


def test_channels_have_their_own_hum_and_a_clean_one_keeps_its_samples():
    clean = talk(4)
    bad = sound(np.stack([clean, beside(clean, hum(len(clean), 16000)[0], -10)]))
    wave = find_hum(bad).wave
    assert wave.shape == bad.samples.shape
    assert np.square(wave[0]).mean() < 1e-3 * np.square(wave[1]).mean()


@pytest.mark.parametrize("rate", [4000, 11025, 44100])
def test_hum_at_any_rate(rate):
    noise = 0.02 * np.random.default_rng(0).standard_normal(8 * rate)
    wave, _ = hum(len(noise), rate)
    found = find_hum(sound(noise + 0.1 * wave, rate))
    error = np.square(found.wave[0] - 0.1 * wave).mean() / np.square(0.1 * wave).mean()
    assert 10 * math.log10(error) < -25


def test_short_sounds_and_steady_notes_beside_50_hz_have_none():
    at = np.arange(10 * 16000) / 16000
    rng = np.random.default_rng(0)
    for hz in (49.0, 51.91, 55.0, 58.27, 61.74):  # G1, G sharp, A, A sharp, B
        note = sum(np.sin(math.tau * hz * k * at) / k for k in range(1, 9)) + 0.01 * rng.standard_normal(len(at))
        assert find_hum(sound(0.1 * note)) is None
    wave, _ = hum(30400, 16000)  # 1.9 seconds
    assert find_hum(sound(0.1 * wave)) is None
    assert find_hum(sound(0.1 * rng.standard_normal(160000))) is None


@pytest.mark.parametrize("beats", [100, 120, 125, 150])
def test_what_a_machine_repeats_is_no_hum_though_it_has_a_line_at_50_or_60_hz(beats):
    rng = np.random.default_rng(beats)
    at = np.arange(round(60 / beats * 16000)) / 16000
    beat = 0.1 * rng.standard_normal(len(at)) * np.exp(-20 * at)
    for hz in rng.uniform(40, 300, 6):
        beat += np.exp(-6 * at) * np.sin(math.tau * hz * at)
    assert find_hum(sound(0.1 * np.resize(beat, 12 * 16000))) is None


def test_two_lines_are_too_few():
    clean = talk(5)
    assert find_hum(sound(beside(clean, hum(len(clean), 16000, lines=(1, 2))[0], -20))) is None
    assert find_hum(sound(beside(clean, hum(len(clean), 16000, lines=(2, 4, 6))[0], -20))).lines[:3] == (2, 4, 6)
    assert measures(sound(clean))["hum"] == -math.inf
