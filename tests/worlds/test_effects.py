"""The world of sound effects: each kind is what its numbers say, by spectra and levels."""

import numpy as np
import pytest

from bottega.core import DataError
from bottega.data import worlds

RATE = 8000


@pytest.fixture(scope="module")
def world():
    return worlds.load("effects", n=120)


def of_kind(world, kind):
    return [
        (item.value.mono().astype(np.float64), known)
        for item, known in zip(world.items, world.truth["of"], strict=True)
        if item.cond == kind
    ]


def loudest_hz(x, low=0.0, high=4000.0):
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)), 1 << 15))
    hz = np.fft.rfftfreq(1 << 15, 1 / RATE)
    inside = (hz >= low) & (hz <= high)
    return hz[inside][power[inside].argmax()]


def level(x):
    return np.sqrt(np.mean(x**2))


def test_bells_ring_at_the_partials_of_a_free_bar(world):
    for x, known in of_kind(world, "bell"):
        for ratio in (1.0, 2.76, 5.4):
            hz = ratio * known["hz"]
            assert loudest_hz(x, 0.9 * hz, 1.1 * hz) == pytest.approx(hz, rel=0.01)


def part(x, start, seconds):
    return x[round(start * RATE) : round((start + seconds) * RATE)]


def test_kicks_and_zaps_fall_to_where_they_should(world):
    for x, known in of_kind(world, "kick"):
        tail = part(x, known["start_s"] + 0.12, 0.15)  # by then what was above has fallen to a fiftieth
        assert loudest_hz(tail, 20, 400) == pytest.approx(known["hz"], abs=4)
    for x, known in of_kind(world, "zap"):
        for after in (0.3, 1.0, 2.5):
            middle = known["start_s"] + after * known["falls_s"]
            want = known["low_hz"] + (known["high_hz"] - known["low_hz"]) * np.exp(-after)
            heard = loudest_hz(part(x, middle - 0.008, 0.016), 60)
            assert heard == pytest.approx(want, rel=0.15)


def test_hats_are_high_and_short_and_snares_are_noise_over_a_tone(world):
    for x, known in of_kind(world, "hat"):
        power = np.abs(np.fft.rfft(x)) ** 2
        assert power[: len(power) // 4].sum() < 0.05 * power.sum()  # below 1 kHz
        after = round((known["start_s"] + 5 * known["decay_s"]) * RATE)
        assert level(x[after:]) < max(0.05 * level(x[:after]), 1.1 * known["noise"])
    for x, known in of_kind(world, "snare"):
        assert loudest_hz(x) == pytest.approx(known["hz"], abs=25)
        power = np.abs(np.fft.rfft(x)) ** 2
        assert power[len(power) // 4 :].sum() > 0.2 * power.sum()


def test_whooshes_swell_to_their_peak_and_rise(world):
    rises = []
    for x, known in of_kind(world, "whoosh"):
        loud = np.convolve(x**2, np.hanning(800), "same")
        assert loud.argmax() / RATE == pytest.approx(known["start_s"] + known["peak_s"], abs=0.06)
        half = len(x) // 2
        power = [np.abs(np.fft.rfft(part)) ** 2 for part in (x[:half], x[half:])]
        rises.append(np.divide(*[(p * np.arange(len(p))).sum() / p.sum() for p in power[::-1]]))
    assert min(rises) > 1.2


def test_what_is_behind_is_white_noise_of_a_level_of_its_own(world):
    levels = []
    for x, known in of_kind(world, "kick"):
        before = x[: round(known["start_s"] * RATE)]
        levels.append(known["noise"])
        if len(before) > 100:
            assert level(before) == pytest.approx(known["noise"], rel=0.3)
        power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2  # far above the kick
        assert power[1000:1500].mean() == pytest.approx(power[1500:2000].mean(), rel=0.3)
        assert np.sqrt(power[1000:].mean() / (np.hanning(len(x)) ** 2).sum()) == pytest.approx(known["noise"], rel=0.15)
    assert 1e-3 <= min(levels) < 0.002
    assert 0.004 < max(levels) <= 6e-3


def test_a_seed_makes_the_same_and_another_others(world):
    again, other = worlds.load("effects", n=12), worlds.load("effects", n=12, seed=1)
    assert all(
        np.array_equal(a.value.samples, b.value.samples) for a, b in zip(again.items, world.items[:12], strict=True)
    )
    assert not np.array_equal(again.items[0].value.samples, other.items[0].value.samples)
    assert min(np.abs(item.value.samples).max() for item in world.items) > 0.39
    assert np.mean([np.abs(item.value.samples).max() < 0.95 for item in world.items]) == 1  # nothing is clipped


@pytest.mark.parametrize("wrong", [{"n": 0}, {"seconds": 0.05}, {"rate": 4000}])
def test_what_cannot_be_made_is_refused(wrong):
    with pytest.raises(DataError, match="effects with"):
        worlds.load("effects", **wrong)
