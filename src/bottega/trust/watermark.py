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

__all__ = ["LEAST_SECONDS", "SURE", "Found", "find_watermark", "unheard", "watermarked"]

_SECONDS, _STEP = 0.064, 0.016  # of a frame, and from frame to frame; so a bin is as many Hz at any rate
_FRAMES, _BINS, _PERIOD = 4, 6, 48  # of a cell of the pattern: frames (16 ms each), bins; cells until it comes again
_LOW_HZ, _HIGH_HZ = 250.0, 5500.0
_STEP_DB = 1.5
_BLOCK = 2048  # frames that are transformed at once, 33 seconds: a long sound needs no more memory than a short one
SURE = 5.0
"""Deviations from which the pattern counts as found; the benchmark counts how often sounds without it reach them."""
LEAST_SECONDS = 1.0
"""Of a sound in which the pattern can be looked for."""
_LEAST_RATE = 4000


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


def _places(frames: range, hop: int, rate: int) -> NDArray[np.int64]:
    """Of frames in the pattern's period, by the time at which they lie: hops of whole samples are 16 ms only nearly at some rates."""
    return np.rint(np.array(frames) * (hop / rate / _STEP)).astype(np.int64) % (_PERIOD * _FRAMES)


def _pattern(bins: int) -> NDArray[np.float64]:
    """Of -1 and 1, ``(bins / 6, 48)``: each row and each column is half of either, nearly; always the same."""
    whole = np.random.default_rng(20_26).integers(0, 2, (64, _PERIOD)) * 2.0 - 1
    return np.asarray(whole[: bins // _BINS])


def watermarked(sound: Sound) -> Sound:
    """The same sound with the pattern in it; sounds shorter than a quarter of a second, or below 4000 Hz, are left as they are."""
    if sound.seconds < 0.25 or sound.rate < _LEAST_RATE:
        return sound
    transform, band = _transform(sound.rate)
    cells = _pattern(band.stop - band.start)
    n, hop = sound.samples.shape[1], transform.hop
    out = np.empty((sound.channels, n), np.float32)
    for first in range(0, n, _BLOCK * hop):
        # with a window and more on either side, what is kept of a block is what it would be in the whole
        last = min(n, first + _BLOCK * hop)
        begin, end = max(0, first - 8 * hop), min(n, last + 8 * hop)
        for row, x in zip(out, sound.samples, strict=True):
            s = transform.stft(x[begin:end].astype(np.float64))
            times = _places(range(begin // hop, begin // hop + s.shape[1]), hop, sound.rate) // _FRAMES
            s[band] *= 10 ** (_STEP_DB * np.repeat(cells[:, times], _BINS, axis=0) / 20)
            row[first:last] = transform.istft(s, k1=end - begin)[first - begin : last - begin]
    out /= max(1.0, float(out.max(initial=0.0)), -float(out.min(initial=0.0)))
    return Sound(out, sound.rate)


def unheard(sound: Sound) -> str:
    """Why the pattern cannot be looked for in a sound; empty where it can.

    >>> unheard(Sound(np.zeros((1, 16000), np.float32), 16000))
    'it is silent'
    """
    if sound.seconds < LEAST_SECONDS:
        return f"{sound.seconds:.2f} seconds are too few, {LEAST_SECONDS:g} are needed"
    if sound.rate < _LEAST_RATE:
        return f"it has {sound.rate} samples a second, {_LEAST_RATE} are needed"
    return "it is silent" if sound.peak < 1e-4 else ""


def _levels(sound: Sound, transform: ShortTimeFFT, band: slice, frames: range) -> NDArray[np.float64]:
    """The magnitude of each bin of the band in some frames, all channels together, ``(bins, frames)``."""
    first = transform.p_min
    some = (transform.stft(x, p0=first + frames.start, p1=first + frames.stop)[band] for x in sound.samples)
    return np.asarray(np.sqrt(sum(np.square(np.abs(s)) for s in some)))


def find_watermark(sound: Sound) -> Found:
    """Look for the pattern at every place where it may begin; not at all where ``unheard`` says why.

    The level of each bin less that of its neighbours, over all channels, is compared with the pattern; the best of all beginnings
    counts, against how the others scatter.
    """
    if unheard(sound):
        return Found(False, 0.0)
    from scipy.ndimage import uniform_filter

    transform, band = _transform(sound.rate)
    many = transform.p_num(sound.samples.shape[1])
    starts = range(0, many, _BLOCK)
    loudest = max(float(_levels(sound, transform, band, range(k, min(many, k + _BLOCK))).max()) for k in starts)
    cells, period = _pattern(band.stop - band.start), _PERIOD * _FRAMES
    folded = np.zeros((len(cells), period))
    for first in starts:
        frames = range(first, min(many, first + _BLOCK))
        around = range(max(0, first - 3 * _FRAMES), min(many, frames.stop + 3 * _FRAMES))  # that the filter sees
        s = _levels(sound, transform, band, around)
        level = 20 * np.log10(s + 1e-4 * loudest)
        off = np.clip(level - uniform_filter(level, (3 * _BINS, 3 * _FRAMES)), -12, 12)
        off *= level.max(0) > 20 * np.log10(1.0001 * loudest) - 45
        by_bin = off.reshape(-1, _BINS, off.shape[1]).mean(1)  # (cells, frames)
        mine = by_bin[:, frames.start - around.start : frames.stop - around.start]
        np.add.at(folded.T, _places(frames, transform.hop, sound.rate), mine.T)
    wide = np.repeat(cells, _FRAMES, axis=1)
    wide = wide - wide.mean(1, keepdims=True)
    score = np.fft.irfft((np.fft.rfft(folded) * np.fft.rfft(wide).conj()).sum(0), period)
    best = int(score.argmax())
    away = np.abs((np.arange(period) - best + period // 2) % period - period // 2) > 2 * _FRAMES
    spread = float(score[away].std())
    return Found(bool(score[best] > SURE * spread), float(score[best] / spread) if spread else 0.0)
