"""A watermark in sound: a pattern of steps of 1.5 dB over its spectrum, which is hardly heard and outlives the file's comment.

The pattern is fixed and public, so this says that a machine made a sound to whoever looks; it does not withstand somebody who
wants it gone. ``python -m benchmarks watermark`` measures how often it is found, by length and by what was done to the sound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bottega.core.sound import Sound

if TYPE_CHECKING:
    from scipy.signal import ShortTimeFFT

__all__ = ["LEAST_SECONDS", "SURE", "Found", "find_watermark", "watermarked"]

_SECONDS, _STEP = 0.064, 0.016  # of a frame, and from frame to frame; so a bin is as many Hz at any rate
_FRAMES, _BINS, _PERIOD = 4, 6, 48  # of a cell of the pattern: frames (16 ms each), bins; cells until it comes again
_LOW_HZ, _HIGH_HZ = 250.0, 5500.0
_STEP_DB = 1.5
SURE = 5.0
"""Deviations from which the pattern counts as found; the benchmark counts how often sounds without it reach them."""
LEAST_SECONDS = 1.0
"""Of a sound in which the pattern can be looked for."""


class Found(NamedTuple):
    """Whether there is one, and by how many standard deviations the pattern stands out."""

    there: bool
    deviations: float


def _transform(rate: int) -> tuple[ShortTimeFFT, slice]:
    # here, as scipy.signal takes a second to import, which every server would wait for
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    window = 2 * round(_SECONDS * rate / 2)
    hop = window // 4
    low, high = round(_LOW_HZ * _SECONDS), round(min(_HIGH_HZ, 0.45 * rate) * _SECONDS)
    high = low + (high - low) // _BINS * _BINS
    return ShortTimeFFT(hann(window, sym=False), hop, rate), slice(low, high)


def _places(frames: int, hop: int, rate: int) -> NDArray[np.int64]:
    """Of frames in the pattern's period, by the time at which they lie: hops of whole samples are 16 ms only nearly at some rates."""
    return np.rint(np.arange(frames) * (hop / rate / _STEP)).astype(np.int64) % (_PERIOD * _FRAMES)


def _pattern(bins: int) -> NDArray[np.float64]:
    """Of -1 and 1, ``(bins / 6, 48)``: each row and each column is half of either, nearly; always the same."""
    whole = np.random.default_rng(20_26).integers(0, 2, (64, _PERIOD)) * 2.0 - 1
    return np.asarray(whole[: bins // _BINS])


def watermarked(sound: Sound) -> Sound:
    """The same sound with the pattern in it; sounds shorter than a quarter of a second, or below 4000 Hz, are left as they are."""
    if sound.seconds < 0.25 or sound.rate < 4000:
        return sound
    transform, band = _transform(sound.rate)
    rows = []
    for x in sound.samples.astype(np.float64):
        s = transform.stft(x)
        cells = _pattern(band.stop - band.start)
        times = _places(s.shape[1], transform.hop, sound.rate) // _FRAMES
        gain = np.repeat(cells[:, times], _BINS, axis=0)
        s[band] *= 10 ** (_STEP_DB * gain / 20)
        rows.append(transform.istft(s, k1=len(x)))
    out = np.stack(rows).astype(np.float32)
    return Sound(out / max(1.0, float(np.abs(out).max(initial=0.0))), sound.rate)


def find_watermark(sound: Sound) -> Found:
    """Look for the pattern at every place where it may begin; of sounds shorter than a second there is not enough to say.

    The level of each bin less that of its neighbours, over all channels, is compared with the pattern; the best of all beginnings
    counts, against how the others scatter.
    """
    if sound.seconds < LEAST_SECONDS or sound.peak < 1e-4 or sound.rate < 4000:
        return Found(False, 0.0)
    from scipy.ndimage import uniform_filter

    transform, band = _transform(sound.rate)
    power = sum(np.square(np.abs(transform.stft(x.astype(np.float64))))[band] for x in sound.samples)
    s = np.sqrt(power)
    level = 20 * np.log10(s + 1e-4 * s.max())
    off = np.clip(level - uniform_filter(level, (3 * _BINS, 3 * _FRAMES)), -12, 12)
    loud = level.max(0) > level.max() - 45
    off = off * loud
    by_bin = off.reshape(-1, _BINS, off.shape[1]).mean(1)  # (cells, frames)
    cells = _pattern(band.stop - band.start)
    period = _PERIOD * _FRAMES
    folded = np.zeros((len(cells), period))
    np.add.at(folded.T, _places(by_bin.shape[1], transform.hop, sound.rate), by_bin.T)
    wide = np.repeat(cells, _FRAMES, axis=1)
    wide = wide - wide.mean(1, keepdims=True)
    score = np.fft.irfft((np.fft.rfft(folded) * np.fft.rfft(wide).conj()).sum(0), period)
    best = int(score.argmax())
    away = np.abs((np.arange(period) - best + period // 2) % period - period // 2) > 2 * _FRAMES
    spread = float(score[away].std())
    return Found(bool(score[best] > SURE * spread), float(score[best] / spread) if spread else 0.0)
