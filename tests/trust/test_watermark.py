"""The watermark in sound: found in what has it, not in what has not, after what happens to sounds."""

import io
import tracemalloc

import numpy as np
import pytest

from bottega.core import Rng, Sound
from bottega.data._sounds import WORDS, spoken
from bottega.trust import watermark
from bottega.trust.watermark import find_watermark, watermarked


def _speech(voice, seed):
    words = list(WORDS) * 2
    parts = [spoken(words[i : i + 5], voice, Rng(seed + i))[0] for i in range(0, 20, 5)]
    return Sound(np.concatenate(parts)[None].astype(np.float32), 16000)


def test_it_is_found_where_it_is_and_only_there():
    for k, voice in enumerate(("bass", "alto")):
        sound = _speech(voice, 100 * k)
        marked = watermarked(sound)
        assert not find_watermark(sound).there
        assert find_watermark(marked).there
        ratio = np.square(sound.samples).sum() / np.square(marked.samples - sound.samples).sum()
        assert ratio > 10**1.4  # 14 dB below it, in the same cells of the spectrum
        worn = np.rint(0.3 * marked.samples[:, 3001:] * 32767) / 32767  # softer, cut, 16 bits
        assert find_watermark(Sound(worn.astype(np.float32), 16000)).there


def test_little_or_no_sound_is_no_error():
    for n in (1, 100, 20000):
        silence = Sound(np.zeros((1, n), np.float32), 16000)
        assert watermarked(silence).samples.shape == (1, n)
        assert not find_watermark(silence).there


def test_it_outlives_noise_resampling_and_ogg():
    sf = pytest.importorskip("soundfile", reason="OGG needs soundfile, extra audio, which is not installed")
    soxr = pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")
    sound = _speech("bass", 7)
    long = Sound(
        np.tile(sound.samples, (1, 6)), 16000
    )  # where a step of not quite 16 ms would have run away from the pattern
    for plain in (sound, long):
        marked = watermarked(plain)
        x = marked.samples[0]
        noise = np.random.default_rng(0).normal(size=len(x)).astype(np.float32) * (np.square(x).mean() / 100) ** 0.5
        ogg = io.BytesIO()
        sf.write(ogg, x, 16000, format="OGG", subtype="VORBIS")
        ogg.seek(0)
        worn = {
            "noise 20 dB down": (x + noise, 16000), "OGG": sf.read(ogg, dtype="float32"),
            "44100 Hz": (soxr.resample(x, 16000, 44100), 44100), "22050 Hz": (soxr.resample(x, 16000, 22050), 22050),
            "11025 Hz": (soxr.resample(x, 16000, 11025), 11025),
        }  # fmt: skip
        for name, (samples, rate) in worn.items():
            assert find_watermark(Sound(samples[None].astype(np.float32), rate)).there, name
        clean = soxr.resample(plain.samples[0], 16000, 44100)
        assert not find_watermark(Sound(clean[None], 44100)).there


def test_channels_that_cancel_each_other_have_it_nonetheless():
    x = _speech("alto", 3).samples
    marked = watermarked(Sound(np.concatenate([x, -x]), 16000))
    assert find_watermark(marked).there
    assert not find_watermark(Sound(np.concatenate([x, -x]), 16000)).there


@pytest.mark.parametrize("rate", [16000, 11025])
def test_blocks_are_as_the_whole(monkeypatch, rate):
    x = np.random.default_rng(0).normal(size=(2, 5 * rate + 77)).astype(np.float32) / 8
    sound = Sound(x * (np.arange(x.shape[1]) % rate < 0.7 * rate), rate)
    whole = watermarked(sound)
    found = find_watermark(whole)
    for block in (48, 100):
        monkeypatch.setattr(watermark, "_BLOCK", block)
        assert np.abs(watermarked(sound).samples - whole.samples).max() < 1e-6
        again = find_watermark(whole)
        assert again.there == found.there
        assert again.deviations == pytest.approx(found.deviations, rel=1e-6)


def test_memory_grows_with_the_samples_alone():
    """Transformed at once, 20 minutes at 16 kHz took more than 1 GB."""
    peaks = []
    for minutes in (1, 2):
        sound = Sound(np.random.default_rng(0).normal(size=(1, minutes * 60 * 8000)).astype(np.float32) / 8, 8000)
        for act in (watermarked, find_watermark):
            tracemalloc.start()
            act(sound)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    more = 60 * 8000 * 4  # bytes of the samples of a minute
    assert peaks[2] - peaks[0] < 3 * more
    assert peaks[3] - peaks[1] < 3 * more


def test_rates_that_are_too_low_are_left_as_they_are():
    sound = Sound(np.random.default_rng(0).normal(size=(1, 3000)).astype(np.float32), 500)
    assert watermarked(sound) is sound
    assert not find_watermark(sound).there
