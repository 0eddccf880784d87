"""A mix made ready to be heard: in the colour of references, as loud as is asked, with its true peak below a ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import firwin2, upfirdn

from bottega.core import DataError, RecipeError, Sound, nearest
from bottega.crafts._ears import Wave, balance_db, checked, frames_db, smooth_octaves, third_octaves
from bottega.crafts.mix_effects import Compressor, Filter, Limiter, Wet, run
from bottega.judge.loudness import OVERSAMPLED, decibels, interpolator, lufs, range_lu, true_peak_db

__all__ = ["STAGES", "Mastered", "Stage", "master", "matching"]

STAGES = ("equaliser", "compressor", "limiter")
"""What a master goes through, in order; each can be heard in part (``wet``)."""

_MOST_LIMITED = 14.0  # dB that the limiter may take from the highest peak: more is distortion, not loudness
_CLIPS = (0.0, 1.0, 2.0, 3.0)  # dB that a soft clipper takes after it, the least that is enough
_KNEE = 3.0  # dB below the ceiling where it begins to bend
_MOST_DB = 12.0  # of the equaliser
_TOLERANCE = 0.1  # LU, which is tried for
_ENOUGH = 0.5  # LU, which counts as reached
_TAPS = 0.09  # seconds


@dataclass(frozen=True)
class Stage:
    """What a sound is after a stage.

    Attributes:
        name: ``input`` or one of ``STAGES``.
        wet: how much of the stage is heard.
        lufs, true_peak_db, range_lu: integrated loudness, true peak and loudness range after it.
        crest_db: peak over root mean square.
        distance_db: root mean square over third octaves of the difference to the references' colour; None without any.
        about: what was set.
    """

    name: str
    wet: float
    lufs: float
    true_peak_db: float
    range_lu: float
    crest_db: float
    distance_db: float | None
    about: str = ""


@dataclass(frozen=True)
class Mastered:
    """A master, a report of each stage, and whether loudness (+-0.5 LU) and true peak are as asked."""

    sound: Sound
    target_lufs: float
    peak_db: float
    stages: list[Stage] = field(default_factory=list)

    @property
    def reached(self) -> bool:
        """Whether both targets are met."""
        last = self.stages[-1]
        return abs(last.lufs - self.target_lufs) <= _ENOUGH and last.true_peak_db <= self.peak_db


def matching(sound: Sound, references: Sequence[Sound]) -> tuple[Wave, Wave, Wave]:
    """What would give a sound the mean colour of references: middles of third octaves, that colour in dB, and the gains.

    Gains are smoothed over an octave and stay within 12 dB.
    """
    rate = min([sound.rate, *(r.rate for r in references)])
    middles = third_octaves(rate)
    colour = np.mean([balance_db(r, middles) for r in references], 0)
    away = colour - balance_db(sound, middles)
    gains = np.clip(smooth_octaves(away, 1.0), -_MOST_DB, _MOST_DB)
    return middles, np.asarray(colour), np.asarray(gains)


def master(
    sound: Sound, references: Sequence[Sound] = (), *, target_lufs: float = -14.0, peak_db: float = -1.0,
    wet: Mapping[str, float] | None = None, what: str = "the sound",
) -> Mastered:  # fmt: skip
    """Master a recording.

    The equaliser (linear phase) brings it to the mean third-octave spectrum of the references, and does nothing without
    any; the compressor takes 1.5 to 1 from the level that 60 % of the moments stay below; the limiter gets the gain with
    which the whole has the loudness, found by trying, and takes at most 14 dB from the highest peak. Where that leaves the
    whole more than 0.5 LU too soft, a soft clipper takes 1, 2 or 3 dB more, as few as are enough: a limiter turns down what is
    around a peak as well, a clipper the peak alone. The peak comes before the loudness: what cannot have both is as loud as it
    can be, and ``reached`` says so.

    Args:
        sound: a mix of one or two channels, at least 0.4 seconds.
        references: recordings whose colour is wished, of any rate, level and length.
        target_lufs: integrated loudness (BS.1770-4).
        peak_db: the highest true peak, dBTP.
        wet: of each of ``STAGES``, 0 to 1; 1 by default.
        what: the recording is called in errors, its file say.

    Raises:
        DataError: silence, too short, not finite, more than two channels; also of a reference.
        RecipeError: an unknown stage, or a number out of range.
    """
    part = dict.fromkeys(STAGES, 1.0) | dict(wet or {})
    for name, value in part.items():
        if name not in STAGES:
            raise RecipeError(f"a master has no stage {name!r}{nearest(name, STAGES)}")
        if not 0 <= value <= 1:
            raise RecipeError(f"wet of {name} is {value:g}; give 0 to 1")
    if not -40 <= target_lufs <= -5 or not -20 <= peak_db <= 0:
        raise RecipeError(f"a master of {target_lufs:g} LUFS and {peak_db:g} dBTP; give -40 to -5, and -20 to 0")
    checked(sound, what)
    for k, reference in enumerate(references, 1):
        checked(reference, f"reference {k}")
    if not math.isfinite(lufs(sound.samples, sound.rate)):
        raise DataError(f"{what} lies below -70 LUFS throughout, which counts as silence; record it louder")
    middles, colour, gains = matching(sound, references) if references else (np.zeros(0), None, np.zeros(0))

    def stage(name: str, now: Sound, about: str) -> Stage:
        rms = math.sqrt(float(np.mean(np.square(now.samples, dtype=np.float64))))
        away = None if colour is None else float(np.sqrt(np.mean((balance_db(now, middles) - colour) ** 2)))
        return Stage(
            name, part.get(name, 1.0), lufs(now.samples, now.rate), true_peak_db(now.samples), range_lu(now.samples, now.rate),
            decibels(now.peak) - decibels(rms), away, about,
        )  # fmt: skip

    stages = [stage("input", sound, f"{sound.channels} channel(s), {sound.rate} Hz, {sound.seconds:.1f} s")]
    about = "no references, so nothing was done"
    if references:
        sound = run(Wet(Filter(_taps(middles, gains, sound.rate)), part["equaliser"]), sound)
        about = f"{gains.min():+.1f} to {gains.max():+.1f} dB, towards {len(references)} reference(s)"
    stages.append(stage("equaliser", sound, about))
    level = frames_db(sound, 0.05)
    threshold = float(np.clip(np.quantile(level[level > -90], 0.6) if (level > -90).any() else -20.0, -90, 0))
    glue = Compressor(threshold, 1.5, knee_db=10, attack_ms=30, release_ms=300)
    sound = run(Wet(glue, part["compressor"]), sound)
    stages.append(stage("compressor", sound, f"1.5 to 1 from {threshold:.1f} dB on"))
    sound, about = _loud(sound, target_lufs, peak_db, part["limiter"])
    stages.append(stage("limiter", sound, about))
    return Mastered(sound, target_lufs, peak_db, stages)


def _taps(middles: Wave, gains: Wave, rate: int) -> Wave:
    """A linear-phase filter with these gains, straight in dB over the logarithm of frequency; ends go on flat."""
    many = int(2 * round(_TAPS * rate / 2) + 1)
    grid = np.linspace(0, rate / 2, 2048)
    db = np.interp(np.log(np.maximum(grid, 1.0)), np.log(middles), gains)
    return np.asarray(firwin2(many, grid, 10 ** (db / 20), fs=rate))


def _clipped(sound: Sound, ceiling: float) -> Sound:
    """What rises above 3 dB below the ceiling (dB) bent to stay below it (tanh), at four values a sample, as what it adds would fold back.

    Only what it takes away goes through the filters of the oversampling: what lies below stays as it was, to the bit.
    """
    taps = interpolator()
    late = len(taps) // 2
    top = 10 ** (ceiling / 20)
    knee = top * 10 ** (-_KNEE / 20)
    out = []
    for x in sound.samples.astype(np.float64):
        fine = upfirdn(taps, x, up=OVERSAMPLED)[late : late + OVERSAMPLED * len(x)]
        over = np.maximum(np.abs(fine) - knee, 0)
        less = np.sign(fine) * (over - (top - knee) * np.tanh(over / (top - knee)))
        first = late // OVERSAMPLED  # samples by which the way back is late
        less = upfirdn(taps / OVERSAMPLED, less, down=OVERSAMPLED)[first : first + len(x)]
        out.append(x - less)
    return Sound(np.array(out, np.float32), sound.rate)


def _loud(sound: Sound, target: float, peak: float, wet: float) -> tuple[Sound, str]:
    """The sound through a limiter with the gain that gives the loudness, clipped as little as is enough; and what was done."""
    best: tuple[float, Sound, str] | None = None
    for clip in _CLIPS:
        away, made, gain = _limited(sound, target, peak, wet, clip)
        about = f"{gain:+.1f} dB, then limited" + (f", the last {clip:.0f} dB by a soft clipper" if clip else "")
        if best is None or away < best[0]:
            best = (away, made, about)
        if away <= _ENOUGH:
            break
    assert best is not None
    return best[1], best[2]


def _limited(sound: Sound, target: float, peak: float, wet: float, clip: float) -> tuple[float, Sound, float]:
    """How far the nearest ends from the loudness (LU), it, and its gain in dB; the last ``clip`` dB are left to the clipper."""
    gain, ceiling = target - lufs(sound.samples, sound.rate), peak - 0.1
    most = max(ceiling + clip - true_peak_db(sound.samples) + _MOST_LIMITED, 0.0)
    gain = min(gain, most)
    best: tuple[float, Sound, float] | None = None
    before: tuple[float, float] | None = None  # the last gain and what was missing with it
    for _ in range(14):
        made = _pressed(sound, gain, ceiling, wet, clip)
        over = true_peak_db(made.samples) - peak
        if over > 0 and wet == 1:
            ceiling -= over + 0.02
        if over > 0:  # the peak comes first
            made = Sound(made.samples * np.float32(10 ** (-(over + 0.01) / 20)), sound.rate)
        away = target - lufs(made.samples, sound.rate)
        if best is None or abs(away) < best[0]:
            best = (abs(away), made, gain)
        if abs(away) <= _TOLERANCE:
            break
        # A limiter takes part of what is added back, the more the louder it is: the last step says how much.
        took = 1.3 if before is None or before[1] == away else (gain - before[0]) / (before[1] - away)
        before = (gain, away)
        gain = min(gain + away * min(max(took, 1.0), 6.0), most)
        if gain == before[0] and not (over > 0 and wet == 1):  # the most there is
            break
    assert best is not None
    return best


def _pressed(sound: Sound, gain: float, ceiling: float, wet: float, clip: float) -> Sound:
    """The sound with this gain below a ceiling, dB, the last ``clip`` dB by the clipper."""
    louder = Sound(sound.samples * np.float32(10 ** (gain / 20)), sound.rate)
    if not clip:
        return run(Wet(Limiter(ceiling), wet), louder)
    made = run(Limiter(ceiling, gain_db=-clip), louder)
    made = _clipped(Sound(made.samples * np.float32(10 ** (clip / 20)), sound.rate), ceiling)
    made = run(Limiter(ceiling), made)  # what rises between samples again
    return Sound(np.float32(wet) * made.samples + np.float32(1 - wet) * louder.samples, sound.rate)
