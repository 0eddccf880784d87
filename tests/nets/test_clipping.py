"""The share of a sound that was cut off: waves whose tops are known to be cut, and such that only stand still there."""

import numpy as np
import pytest

from bottega.core import Sound
from bottega.nets.clipping import CLIPPED, clipping_percent


def sound(x, rate=16000):
    return Sound(np.atleast_2d(np.asarray(x, np.float32)), rate)


def kept(x, bits):
    """Samples as a file of so many bits has them."""
    return np.round(x * 2 ** (bits - 1)) / 2 ** (bits - 1)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(("hz", "level"), [(50, 0.101), (50, 0.9), (80, 0.15), (200, 0.101), (200, 0.9), (1000, 0.5)])
@pytest.mark.parametrize("rate", [44_100, 192_000])
def test_a_slow_wave_that_stands_still_at_its_top_is_not_clipped(rate, hz, level, bits):
    """At 192 kHz a sine of 200 Hz has nine samples of 16 bits in a row at its top."""
    wave = np.sin(2 * np.pi * hz * np.arange(rate) / rate)
    assert clipping_percent(sound(kept(level * wave, bits), rate)) == 0
    over = 1.2 * level * wave
    share = 100 * float((np.abs(over) >= level).mean())
    found = clipping_percent(sound(kept(np.clip(over, -level, level), bits), rate))
    assert 0.7 * share < found <= 1.001 * share, "two of each top are its edges"


def test_a_square_and_one_channel_of_two_that_are_cut():
    at = np.arange(16000) / 16000
    square = np.where(np.sin(2 * np.pi * 100 * at + 0.1) > 0, 0.5, -0.5)
    assert clipping_percent(sound(square)) > 90
    pair = np.stack([0.5 * np.sin(2 * np.pi * 100 * at), np.clip(2 * np.sin(2 * np.pi * 100 * at), -1, 1)])
    assert clipping_percent(sound(pair)) > 50
    assert clipping_percent(sound(pair[:1])) == 0
    assert clipping_percent(sound(np.full(16000, 0.5))) == 0, "a level that never moves is cut nowhere"


def test_what_is_turned_down_afterwards_stays_clipped_and_few_bits_do_not_clip():
    at = np.arange(16000) / 16000
    swell = np.sin(2 * np.pi * 220 * at) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * at))
    assert clipping_percent(sound(kept(0.5 * swell, 8))) < CLIPPED
    assert clipping_percent(sound(0.3 * np.clip(2 * swell, -1, 1))) > 10


@pytest.mark.filterwarnings("error")
def test_what_has_no_tops_has_no_share():
    for x in (
        np.zeros(100),
        np.full(100, 0.01),
        np.ones(1),
        np.zeros(0),
        [0, np.nan, 1, 1, 1, 0],
        [0, np.inf, 1, 1, 1, 0],
    ):
        assert clipping_percent(sound(x)) == 0
