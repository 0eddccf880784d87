"""Pauses of a recording: where what is wanted rests, how loud and of what kind the rest is, and a gate that closes there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from bottega.core import Sound
from bottega.crafts._ears import Wave, db, frame_size, power_frames
from bottega.crafts.mix_effects import Gate, run

__all__ = ["Pauses", "gated", "pauses"]

_RANGE_DB = 36.0  # below the loudest twentieth: what is further down is as good as silence
_APART_DB = 12.0  # between what sounds and what is left in pauses; less is a louder and a softer part of one thing
_HELD, _SHORT = 0.1, 0.2  # seconds by which a sound reaches into both sides, and of the shortest pause between them
_LEAST = 3  # pauses: what is the same in three of them is no accident
_LOUDER_DB = 6.0  # than the median pause: one that is may hold a quiet word


@dataclass(frozen=True)
class Pauses:
    """What sounds in pauses.

    Attributes:
        level_db: its level to the whole recording's: the median over pauses, so that a quiet word in one counts little.
        flat: spectral flatness within eight bins, 300 to 8,000 Hz, the median over pauses: about 0.65 of noise, below 0.5
            of voices and tones.
        wander_db: how far its level wanders within a pause (10 to 90 % of moments), the median over pauses; below 3 of
            steady noise.
        peak: the largest sample of the median pause, its channels' maximum, but for 2 % of its moments.
        inside: which parts of ``hop`` samples lie in pauses that are no louder than 6 dB above the median, ``(parts,)``.
        hop: samples of a part, about 12 ms.
    """

    level_db: float
    flat: float
    wander_db: float
    peak: float
    inside: NDArray[np.bool_]
    hop: int


def pauses(sound: Sound) -> Pauses | None:
    """The pauses of a recording; None where there are no three that stand apart from the rest.

    Levels of 46 ms, held for 0.1 seconds on both sides, are parted by the threshold between two classes that explains most
    of their variance (Otsu 1979, IEEE Trans. SMC 9(1)).
    """
    size = frame_size(sound.rate, 0.046)
    hop = size // 4
    frames, seconds = power_frames(sound.samples, size, hop), hop / sound.rate
    level = db(frames.sum(1))
    held = maximum_filter1d(level, 2 * max(1, round(_HELD / seconds)) + 1)
    held = np.maximum(held, np.quantile(level, 0.95) - _RANGE_DB)
    threshold = _parted(held)
    return None if threshold is None else _found(sound, frames, level, held, threshold, hop)


def _parted(held: Wave) -> float | None:
    """The level that parts two classes; None where their means lie less than 12 dB apart."""
    values = np.sort(held)
    below = np.arange(1, len(values))
    sums = np.cumsum(values)
    low, high = sums[:-1] / below, (sums[-1] - sums[:-1]) / (len(values) - below)
    if not len(below):
        return None
    at = int((below * (len(values) - below) * (high - low) ** 2).argmax())
    return float(values[at] + values[at + 1]) / 2 if high[at] - low[at] >= _APART_DB else None


def _found(sound: Sound, frames: Wave, level: Wave, held: Wave, threshold: float, hop: int) -> Pauses | None:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held < threshold, [False]]).astype(np.int8)))
    spans = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if (b - a) * hop >= _SHORT * sound.rate]
    if len(spans) < _LEAST:
        return None
    hz = np.fft.rfftfreq(2 * (frames.shape[1] - 1), 1 / sound.rate)
    band = np.flatnonzero((hz > 300) & (hz < min(8000.0, 0.45 * sound.rate)))
    band = band[: len(band) // 8 * 8]
    loudest = np.abs(sound.samples).max(0)
    peaks = np.maximum.reduceat(loudest, np.arange(0, len(loudest), hop))
    rows, whole = [], frames.sum(1).mean()
    for a, b in spans:
        part = frames[a:b][:, band].reshape(b - a, -1, 8)
        mean = part.mean(2)
        flat = np.exp(np.log(part + 1e-14).mean(2)) / (mean + 1e-14)
        low, high = np.quantile(level[a:b], [0.1, 0.9])
        rows.append((
            frames[a:b].sum(1).mean() / whole, np.average(flat, weights=np.sqrt(mean) + 1e-20), high - low,
            np.quantile(peaks[a + 1 : b + 2], 0.98),
        ))  # fmt: skip
    power, flat_, wander, peak = (float(value) for value in np.median(rows, axis=0))
    inside = np.zeros(len(peaks), bool)
    for (a, b), row in zip(spans, rows, strict=True):
        if row[0] <= power * 10 ** (_LOUDER_DB / 10):
            inside[a + 1 : b + 2] = True  # a frame of four parts stands for the two in its middle
    return Pauses(float(db(np.array([power]))[0]), flat_, wander, peak, inside, hop)


def gated(sound: Sound, found: Pauses, range_db: float, above_db: float) -> tuple[Sound, float, float]:
    """The sound through a gate that is closed in its pauses, the gate's threshold in dB of full scale, and what it cut.

    It opens in 0.1 ms, so that a drum keeps its stroke, holds for 0.1 seconds and closes by 10 dB in 60 ms, so that a word
    keeps its end. What it cut is the energy that it took outside of pauses to what it took within them: of the first, most is
    wanted.

    Args:
        sound: what was heard.
        found: of it.
        range_db: how far down the gate turns, at most 120.
        above_db: its threshold above the median pause's peak.
    """
    threshold = float(np.clip(db(np.array([found.peak**2]))[0] + above_db, -120, 0))
    made = run(Gate(threshold, min(range_db, 120.0), attack_ms=0.1, hold_ms=100, release_ms=60), sound)
    taken = np.square(sound.samples - made.samples, dtype=np.float64).sum(0)
    parts = np.add.reduceat(taken, np.arange(0, len(taken), found.hop))
    return made, threshold, float(parts[~found.inside].sum() / max(parts[found.inside].sum(), 1e-12))
