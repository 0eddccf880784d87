"""What the desk hears of a sound before it decides: spectra, levels over time, descriptors; all of (channels, n) samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from bottega.core import DataError, Sound
from bottega.core.sound import audible

__all__ = [
    "Wave", "active", "balance_db", "band_db", "bands", "checked", "frames_db", "power_frames", "spectrum", "third_octaves",
]  # fmt: skip

Wave = NDArray[np.float64]

_FLOOR = 1e-12
LEAST_RATE = 4000  # Hz; below it there is not enough of what loudness and thirds of octaves are measured by


def checked(
    sound: Sound, what: str = "the sound", most_channels: int = 2, least_seconds: float = 0.4, least_rate: int = LEAST_RATE
) -> Sound:  # fmt: skip
    """The sound, when it can be worked on.

    Args:
        sound: what was given.
        what: it is called in errors, its file say.
        most_channels: that the work takes.
        least_seconds: that the work needs.
        least_rate: Hz.

    Raises:
        DataError: silent, too short, of too low a rate, with samples that are not finite, or too many channels.
    """
    if sound.channels > most_channels:
        raise DataError(
            f"{what} has {sound.channels} channels; give at most {most_channels}: export a stereo mix of it"
        )
    if sound.rate < least_rate:
        raise DataError(f"{what} has {sound.rate} samples a second; give at least {least_rate}, or resample it")
    return audible(sound, what, least_seconds)


def db(power: Wave) -> Wave:
    """Decibels of powers, at least -120."""
    return np.asarray(10 * np.log10(np.maximum(power, _FLOOR)))


def power_frames(samples: NDArray[np.floating], size: int, hop: int = 0) -> Wave:
    """Power spectra under a periodic Hann window, mean over channels, ``(frames, size // 2 + 1)``; a sine of level a has a^2 / 2 in all.

    Shorter sounds are filled with silence to one frame.
    """
    x = np.asarray(samples, np.float64)
    if x.shape[1] < size:
        x = np.pad(x, ((0, 0), (0, size - x.shape[1])))
    frames = np.lib.stride_tricks.sliding_window_view(x, size, axis=1)[:, :: hop or size // 2]
    window = np.hanning(size + 1)[:-1]
    out = np.zeros((frames.shape[1], size // 2 + 1))
    for channel in frames:
        for k in range(0, len(channel), 256):  # windows of a long recording would not fit at once
            out[k : k + 256] += np.abs(np.fft.rfft(channel[k : k + 256] * window)) ** 2
    return np.asarray(2 * out / (len(x) * size * (window**2).sum()))


def frame_size(rate: int, seconds: float) -> int:
    """The power of two nearest to so many seconds."""
    return int(1 << max(5, round(math.log2(seconds * rate))))


def spectrum(sound: Sound) -> tuple[Wave, Wave]:
    """Long-term power spectrum: frequencies in Hz and the power at each, frames of about 0.2 seconds."""
    size = frame_size(sound.rate, 0.2)
    return np.fft.rfftfreq(size, 1 / sound.rate), power_frames(sound.samples, size).mean(0)


def band_db(hz: Wave, power: Wave, low: float, high: float) -> float:
    """Level of a band in dB: the sum of its powers."""
    return float(db(power[(hz >= low) & (hz < high)].sum()))


def third_octaves(rate: int, low: float = 40.0) -> Wave:
    """Middles of third octaves around 1 kHz (IEC 61260), up to 0.45 of the rate or 16 kHz."""
    most = min(16000.0, 0.45 * rate)
    return np.array([1000 * 2 ** (k / 3) for k in range(-20, 16) if low <= 1000 * 2 ** (k / 3) <= most])


def bands(hz: Wave, power: Wave, middles: Wave) -> Wave:
    """Power in third octaves, ``(..., bins) -> (..., bands)``; a band narrower than a bin has its share of it."""
    edges = np.concatenate([middles * 2 ** (-1 / 6), middles[-1:] * 2 ** (1 / 6)])
    step = hz[1]
    total = np.concatenate([np.zeros((*power.shape[:-1], 1)), np.cumsum(power, -1)], -1)
    at = np.clip(edges / step + 0.5, 0, len(hz))  # bins are as wide as their distance, and centred
    whole = np.minimum(at.astype(int), len(hz) - 1)
    upto = total[..., whole] + (at - whole) * power[..., whole]
    return np.maximum(np.diff(upto, axis=-1), 0)


def balance_db(sound: Sound, middles: Wave) -> Wave:
    """The long-term level of each third octave in dB, less their mean: the colour of a sound whatever its level."""
    level = db(bands(*spectrum(sound), middles))
    return np.asarray(level - level.mean())


def frames_db(sound: Sound, seconds: float = 0.05) -> Wave:
    """Levels over time in dB (mean square), frames of so many seconds."""
    size = max(1, round(seconds * sound.rate))
    square = np.square(sound.samples.astype(np.float64)).mean(0)
    many = max(1, len(square) // size)
    return db(np.array([part.mean() for part in np.array_split(square[: many * size], many)]))


def active(levels: Wave, below: float = 40.0) -> NDArray[np.bool_]:
    """Where something sounds: within so many decibels of the loudest twentieth."""
    return np.asarray(levels > np.quantile(levels, 0.95) - below)


def smooth_octaves(power: Wave, octaves: float = 1.0) -> Wave:
    """Third-octave values smoothed over neighbours, ends repeated."""
    return np.asarray(uniform_filter1d(power, max(1, round(3 * octaves)), mode="nearest"))
