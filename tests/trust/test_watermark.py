"""The watermark in sound: found in what has it, not in what has not, after what happens to sounds."""

import numpy as np

from bottega.core import Rng, Sound
from bottega.data._sounds import WORDS, spoken
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
