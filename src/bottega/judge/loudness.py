"""How loud sounds are, and how far their peaks reach: what a broadcaster or a streaming service measures."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import firwin, upfirdn

from bottega.core import DataError, Item, Measure, mean_interval
from bottega.judge._case import Case

__all__ = ["measure", "OVERSAMPLED", "decibels", "interpolator", "lufs", "range_lu", "true_peak_db"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("audio",)
libraries: tuple[str, ...] = ("pyloudnorm",)
extra = "audio"

Samples = NDArray[Any]

OVERSAMPLED = 4
"""How many values a true peak is looked for in, for each sample (ITU-R BS.1770-4, annex 2)."""

_BLOCK = 0.4  # seconds of a gating block: shorter sounds have no loudness
_CHANNELS = 5
_LEAST_RATE = 4000  # Hz: the shelf of BS.1770 lies at 1682 Hz
_MOST = 64  # sounds that a judge listens to
_QUIET = -70.0  # LUFS; what is below counts as silence (the absolute gate)


def decibels(level: float) -> float:
    """``20 log10``; minus infinity of 0.

    >>> round(decibels(0.5), 2), decibels(0.0)
    (-6.02, -inf)
    """
    return 20 * math.log10(level) if level > 0 else -math.inf


def lufs(samples: Samples, rate: int) -> float:
    """Integrated loudness of ``(channels, n)`` in LUFS, gated; minus infinity of what lies below -70 throughout.

    ITU-R BS.1770-4 by pyloudnorm (Steinmetz and Reiss 2021).

    Raises:
        DataError: shorter than 0.4 seconds, more than five channels, or pyloudnorm is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no blocks, where all is silent
        return float(_meter(rate).integrated_loudness(_checked(samples, rate)))


def range_lu(samples: Samples, rate: int) -> float:
    """Loudness range of ``(channels, n)`` in LU: the 95th less the 10th percentile of 3 seconds' loudness.

    EBU Tech 3342 by pyloudnorm; 0 of what is silent, or lasts less than 3 seconds.

    Raises:
        DataError: as ``lufs`` does.
    """
    x = _checked(samples, rate)
    if len(x) < 3 * rate:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = float(_meter(rate).loudness_range(x))
    return found if math.isfinite(found) else 0.0


def _meter(rate: int) -> Any:
    try:
        return importlib.import_module("pyloudnorm").Meter(rate)
    except ImportError as error:
        raise DataError("loudness needs pyloudnorm; pip install 'bottega[audio]'") from error


def _checked(samples: Samples, rate: int) -> Samples:
    """``(n, channels)`` float64, as pyloudnorm takes them."""
    if len(samples) > _CHANNELS:
        raise DataError(f"{len(samples)} channels have no loudness (BS.1770 knows {_CHANNELS}); mix them down first")
    if rate < _LEAST_RATE:
        raise DataError(
            f"the loudness of a sound at {rate} Hz is not defined (its filters lie above); give {_LEAST_RATE} Hz"
        )
    if samples.shape[1] < math.ceil(_BLOCK * rate):
        raise DataError(
            f"{samples.shape[1]} samples at {rate} Hz are too short for a loudness; give at least 0.4 seconds"
        )
    return np.ascontiguousarray(samples.T, np.float64)


@lru_cache
def interpolator(times: int = OVERSAMPLED, half: int = 12) -> Samples:
    """Taps of the low-pass that finds ``times`` values for each sample, ``(2 half times + 1,)``; a Kaiser window.

    Their middle is ``half`` samples late. Within 0.1 dB of a sine's true peak up to 0.45 of the rate.
    """
    taps: Samples = times * firwin(2 * half * times + 1, 1 / times, window=("kaiser", 6.0))
    return taps


def true_peak_db(samples: Samples) -> float:
    """The largest value of ``(channels, n)`` between the samples too, in dB of full scale (dBTP).

    Four values for each sample, as ITU-R BS.1770-4, annex 2 asks, by a longer filter than it gives. Minus infinity of silence.

    >>> at = np.arange(4800)[None]
    >>> round(true_peak_db(np.sin(np.pi / 2 * at + np.pi / 4)))  # the samples themselves reach -3 dB only
    0
    """
    x = np.asarray(samples, np.float64)
    most = float(np.abs(x).max(initial=0.0))
    if most and x.shape[1] > 1:
        most = max(most, max(float(np.abs(upfirdn(interpolator(), row, OVERSAMPLED)).max()) for row in x))
    return decibels(most)


def measure(case: Case) -> list[Measure]:
    """``loudness_lufs`` and ``true_peak_dbtp`` of samples, beside held-out recordings; silent ones are left out and counted.

    Nothing where the sounds are shorter than 0.4 seconds. Recordings that were brought to one level say little here.
    """
    assert case.decode is not None
    made, quiet = _heard(case.decode(case.samples[:_MOST]))
    if not made:
        return []
    real, _ = _heard(case.decode(case.held.x[:_MOST]))
    out = []
    note = f"{len(made)} samples" + (f", {quiet} more are silent or too short" if quiet else "")
    for k, (name, about) in enumerate((("loudness_lufs", "BS.1770-4, gated"), ("true_peak_dbtp", "4 x oversampled"))):
        value, low, high = mean_interval(torch.tensor([row[k] for row in made]))
        there = sum(row[k] for row in real) / len(real) if real else None
        whole = len(made) > 1
        out.append(Measure(name, value, low if whole else None, high if whole else None, n=len(made), seed=case.seed, ceiling=there,
                           note=f"mean of {note}; {about}" + ("" if whole else "; one sample, so no interval")))  # fmt: skip
    return out


def _heard(items: Sequence[Item]) -> tuple[list[tuple[float, float]], int]:
    """Loudness and true peak of each sound that has them, and how many have none."""
    out = []
    for item in items:
        x, rate = item.value.samples, item.value.rate
        if x.shape[1] >= math.ceil(_BLOCK * rate) and len(x) <= _CHANNELS:
            loud = lufs(x, rate)
            if loud >= _QUIET:
                out.append((loud, true_peak_db(x)))
    return out, len(items) - len(out)
