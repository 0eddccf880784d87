"""A made world of sound effects: short sounds of six kinds, each of another make, and what each was made with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError, Item, Rng, Sound
from bottega.data._draw import LICENCE, SOURCE
from bottega.data.dataset import Dataset

__all__ = ["KINDS", "effects"]

Wave = NDArray[np.float64]

_BELL = ((1.0, 1.0, 1.0), (2.76, 0.6, 0.6), (5.4, 0.35, 0.35))  # of a free bar: frequency, level, how long it rings


def effects(*, n: int = 1_200, seconds: float = 0.512, rate: int = 8000, seed: int = 0) -> Dataset:
    """Sound effects of six kinds; the label is the kind, and ``truth["of"]`` says what each was made with.

    A ``bell`` (inharmonic partials of a free bar, ratios 1, 2.76, 5.4), a ``hat`` (high noise, some hundredths of a second), a ``kick``
    (a sine that falls to 40 to 65 Hz), a ``snare`` (noise over a tone), a ``whoosh`` (noise that swells and falls, its
    band rising) and a ``zap`` (a sine that falls by three octaves or more), over white noise of -60 to -44 dB, as rooms and
    microphones have it (``noise``, its deviation). Times in ``truth`` count from ``start_s``.

    Args:
        n: recordings; the kinds take turns.
        seconds: of each; what rings longer fades out.
        rate: samples a second.
        seed: of all that varies.

    Raises:
        DataError: an argument is out of range.

    >>> world = effects(n=6)
    >>> [item.cond for item in world.items], world.items[0].value.samples.shape
    (['bell', 'hat', 'kick', 'snare', 'whoosh', 'zap'], (1, 4096))
    """
    if n < 1 or not seconds >= 0.1 or rate < 8000:
        raise DataError(f"effects with n={n}, seconds={seconds}, rate={rate}: at least 1, 0.1 and 8000")
    u = Rng(seed).uniform(n, 6).double().numpy()
    noises = Rng(seed + 1_000_003).normal(n, round(seconds * rate)).double().numpy()
    at = np.arange(noises.shape[1]) / rate
    fade = np.clip((at[-1] - at) / 0.03, 0, 1)
    kinds, items, made_with = list(KINDS), [], []
    for i, (row, noise) in enumerate(zip(u, noises, strict=True)):
        kind = kinds[i % len(kinds)]
        start, behind = 0.04 * row[3], _between(row[5], 1e-3, 6e-3)
        x, known = KINDS[kind](np.maximum(at - start, 0), noise, rate, row[:3])
        x = x * (at >= start) * fade
        x = ((0.4 + 0.5 * row[4]) * x / np.abs(x).max() + behind * noise[::-1]).clip(-1, 1)
        items.append(Item(Sound(x[None].astype(np.float32), rate), kind, f"effect {i}"))
        made_with.append({"start_s": float(start), "noise": behind, **known})
    return Dataset("effects", "audio", items, LICENCE, SOURCE, "sound effects of six kinds", {"of": made_with})


def _between(u: float, low: float, high: float) -> float:
    """From ``low`` to ``high``, evenly on a scale of ratios."""
    return float(low * (high / low) ** u)


def _bell(at: Wave, noise: Wave, rate: int, u: Sequence[float]) -> tuple[Wave, dict[str, float]]:
    hz, rings = _between(u[0], 400, 700), _between(u[1], 0.12, 0.4)
    x = sum(level * np.sin(math.tau * k * hz * at) * np.exp(-at / (long * rings)) for k, level, long in _BELL)
    return np.asarray(x), {"hz": hz, "decay_s": rings}


def _hat(at: Wave, noise: Wave, rate: int, u: Sequence[float]) -> tuple[Wave, dict[str, float]]:
    decay = _between(u[0], 0.01, 0.05)
    return np.diff(noise, n=2, prepend=[0.0, 0.0]) * np.exp(-at / decay), {"decay_s": decay}


def _kick(at: Wave, noise: Wave, rate: int, u: Sequence[float]) -> tuple[Wave, dict[str, float]]:
    hz, above, decay = _between(u[0], 40, 65), _between(u[1], 80, 200), _between(u[2], 0.06, 0.14)
    phase = hz * at + above * 0.03 * (1 - np.exp(-at / 0.03))  # the integral of hz + above exp(-t / 0.03)
    return np.sin(math.tau * phase) * np.exp(-at / decay), {"hz": hz, "above_hz": above, "decay_s": decay}


def _snare(at: Wave, noise: Wave, rate: int, u: Sequence[float]) -> tuple[Wave, dict[str, float]]:
    hz, decay = _between(u[0], 160, 230), _between(u[1], 0.05, 0.1)
    return (0.5 * noise + 0.8 * np.sin(math.tau * hz * at)) * np.exp(-at / decay), {"hz": hz, "decay_s": decay}


def _whoosh(at: Wave, noise: Wave, rate: int, u: Sequence[float]) -> tuple[Wave, dict[str, float]]:
    from scipy.signal import istft, stft  # slow to import

    low, high = _between(u[0], 250, 450), _between(u[1], 1000, 2000)
    peak = 0.35 + 0.3 * u[2]
    part = at / at[-1]
    hz, times, bins = stft(noise, rate, nperseg=256)
    middle = low * (high / low) ** np.interp(times * rate, np.arange(len(part)), part)
    # half an octave to each side
    bins = bins * np.exp(-0.5 * (np.log2(np.maximum(hz, 1)[:, None] / middle) / 0.5) ** 2)
    x = istft(bins, rate, nperseg=256)[1][: len(at)]
    swell = np.where(part < peak, part / peak, (1 - part) / (1 - peak)) ** 1.5
    return x * swell, {"low_hz": low, "high_hz": high, "peak_s": float(peak * at[-1])}


def _zap(at: Wave, noise: Wave, rate: int, u: Sequence[float]) -> tuple[Wave, dict[str, float]]:
    high, low, falls = _between(u[0], 2000, 3500), _between(u[1], 120, 250), _between(u[2], 0.03, 0.08)
    phase = low * at + (high - low) * falls * (1 - np.exp(-at / falls))
    return np.sin(math.tau * phase) * np.exp(-at / (3 * falls)), {"high_hz": high, "low_hz": low, "falls_s": falls}


KINDS: dict[str, Callable[[Wave, Wave, int, Sequence[float]], tuple[Wave, dict[str, float]]]] = {
    "bell": _bell, "hat": _hat, "kick": _kick, "snare": _snare, "whoosh": _whoosh, "zap": _zap,
}  # fmt: skip
"""How each kind is made: of seconds since its start, noise, the rate and three numbers in [0, 1)."""
