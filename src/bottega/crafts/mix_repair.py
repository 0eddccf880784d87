"""What is wrong with a recording, found by listening, and the effects that mend it; a healthy one is left alone.

Each defect has one number and a limit. The limits are those of whole recordings (speech, a mix); a single instrument may be
dark or boomy by nature, so recordings of the same kind that are as they should be can be given, whose numbers then count. Nobody
but who asks knows in which room a recording should sound: a reverb is chosen only where one is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from bottega.core import Sound
from bottega.crafts._ears import Wave, active, band_db, checked, db, frame_size, frames_db, power_frames, spectrum
from bottega.crafts._hum import find_hum
from bottega.crafts._pauses import gated, pauses
from bottega.crafts.mix_effects import Band, Compressor, DeEsser, Denoise, Effect, Equaliser, run
from bottega.crafts.mix_room import DRY_DB, dryness_db, in_room
from bottega.nets.clipping import CLIPPED, clipping_percent

__all__ = [
    "LIMITS",
    "Finding",
    "Repaired",
    "declick",
    "diagnose",
    "limits_of",
    "measures",
    "repair",
]

LIMITS: dict[str, float] = {
    "clipping": CLIPPED, "clicks": 40.0, "hum": -60.0, "noise": -32.0, "rustle": -32.0, "bleed": math.inf, "muffled": 35.0,
    "boomy": 9.5, "sibilance": 7.0, "dynamics": 20.0,
}  # fmt: skip
"""The largest value of each measure that is still healthy, in the order in which defects are mended.

What bleeds into pauses may be a second speaker who is wanted, so it is no defect until recordings of the same kind say so.
"""

UNITS = {
    "clipping": "% of samples in flat tops", "clicks": "clicks a minute", "hum": "dB of mains hum to the whole",
    "noise": "dB of steady noise to the whole", "rustle": "dB of noise that comes and goes in pauses, to the whole",
    "bleed": "dB of other sound in pauses, to the whole", "muffled": "dB of 4 to 10 kHz below 0.5 to 2 kHz",
    "boomy": "dB of 80 to 300 Hz above 300 to 3000 Hz", "sibilance": "dB of the sharpest moments above the body",
    "dynamics": "dB from quiet seconds to loud ones", "dry": "dB by which its decays lie below the room's",
}  # fmt: skip

MARGIN = {"noise": 6.0, "rustle": 6.0, "bleed": 6.0, "muffled": 8.0, "boomy": 4.0, "sibilance": 6.0, "dynamics": 5.0}
"""How far beyond recordings of the same kind is still healthy."""

_QUIET = -40.0  # dB to the whole: what rustles or bleeds below it is healthy, whatever its like have
_NOISE_LIKE, _WANDERS = 0.5, 6.0  # flatness from which a pause holds noise, and dB from which that noise comes and goes
_WORTH = 1.0  # dB that a gate must lower pauses by to be one at all
_CUT = 0.5  # what a gate may take outside of pauses, to what it takes within them
_SURE = 40.0  # times its usual size that a residual must have to be a click


@dataclass(frozen=True)
class Finding:
    """A defect.

    Attributes:
        name: one of ``LIMITS``, or ``dry``.
        value: its measure; ``UNITS`` says of what.
        limit: the largest healthy value.
        after: the measure once mended; None where nothing was done.
        done: what was chosen, in words.
    """

    name: str
    value: float
    limit: float
    after: float | None = None
    done: str = ""

    @property
    def mended(self) -> bool:
        """Whether the measure lies within its limit now."""
        return self.after is not None and self.after <= self.limit


@dataclass(frozen=True)
class Repaired:
    """A recording after repair: the sound (the same object when it was healthy) and what was found."""

    sound: Sound
    findings: list[Finding] = field(default_factory=list)


def measures(sound: Sound) -> dict[str, float]:
    """Every number of ``LIMITS``; the higher, the worse. What a sound of this rate or length cannot show is minus infinity.

    Raises:
        DataError: silent, shorter than 0.4 seconds, not finite, more than two channels.
    """
    checked(sound)
    return {name: measure(sound) for name, measure in _MEASURES.items()}


def limits_of(sounds: Sequence[Sound]) -> dict[str, float]:
    """``LIMITS`` for recordings like these, which are as they should be: the worst of them and a margin."""
    seen = [measures(sound) for sound in sounds]
    found = {name: max(row[name] for row in seen) + margin for name, margin in MARGIN.items()}
    found |= {name: max(found[name], _QUIET) for name in ("rustle", "bleed") if math.isfinite(found[name])}
    return LIMITS | {name: value for name, value in found.items() if math.isfinite(value)}


def diagnose(sound: Sound, limits: dict[str, float] | None = None, room: Sound | None = None) -> list[Finding]:
    """What is wrong with a recording: the measures above their limits, worst kinds first; none of a healthy one.

    Args:
        sound: one or two channels, at least 0.4 seconds; hum is looked for from 2 seconds on, noise in its pauses.
        limits: of ``limits_of``.
        room: a recording of the same kind in the room that is wished; a drier sound has the defect ``dry``.

    Raises:
        DataError: as ``measures``; as ``dryness_db`` of a room.
    """
    limits = limits or LIMITS
    found = [Finding(name, value, limits[name]) for name, value in measures(sound).items() if value > limits[name]]
    if room is not None and (dry := dryness_db(sound, room)) > DRY_DB:
        found.append(Finding("dry", dry, DRY_DB))
    return found


def repair(sound: Sound, limits: dict[str, float] | None = None, room: Sound | None = None) -> Repaired:
    """The recording with what is wrong mended, each finding with its measure before and after.

    One defect after the other, in the order of ``LIMITS``: what is mended first is heard mended by the next. Clipping is
    named and not mended. A mend that does not improve its measure is taken back. The room comes last, and is kept.

    Args:
        sound: as ``diagnose`` takes it.
        limits: as well.
        room: as well; a drier sound gets the reverb that brings its decays nearest.

    Raises:
        DataError: as ``diagnose``.
    """
    limits = limits or LIMITS
    checked(sound)
    if room is not None:
        dryness_db(sound, room)  # what is wrong with it is said before the work
    done = []
    for name, measure in _MEASURES.items():
        value = measure(sound)
        if value <= limits[name]:
            continue
        finding = Finding(
            name, value, limits[name], done="" if name in _MENDS else "nothing mends this; record it anew"
        )
        if name in _MENDS:
            mended, what = _MENDS[name](sound, value, limits[name])
            after = measure(mended)
            if after < value:
                sound, finding = mended, replace(finding, after=after, done=what)
            else:
                finding = replace(finding, done="nothing that was tried improves it")
        done.append(finding)
    if room is not None and (dry := dryness_db(sound, room)) > DRY_DB:
        sound, reverb = in_room(sound, room)
        told = f"a reverb of {reverb.seconds:.2f} s, {100 * reverb.wet:.0f} % of it"
        done.append(Finding("dry", dry, DRY_DB, dryness_db(sound, room), told))
    return Repaired(sound, done)


# ---- measures ----------------------------------------------------------------------------------------------------------


def _clicks(sound: Sound) -> float:
    """Clicks a minute."""
    return float(len(_found_clicks(sound.mono().astype(np.float64), sound.rate))) / sound.seconds * 60


def _found_clicks(x: Wave, rate: int) -> list[tuple[int, int]]:
    """Where single samples, or a few, are no continuation of what is around them: ``(begin, end)`` of each.

    The residual of linear prediction (order 24, frames of 50 ms) is compared with its own median; what lies 40 times
    above it for less than 1 ms, with as quiet a residual on both sides, is a click. The stroke of a drum rings on, and is none; nor are the pulses of
    a voice or a saw, of which a frame has many.
    """
    order, size = 24, max(256, round(0.05 * rate))
    out: list[tuple[int, int]] = []
    for a in range(0, len(x) - size // 2, size // 2):
        part = x[max(0, a - order) : a + size]
        if len(part) < 4 * order or not part.any():
            continue
        e = np.abs(_residual(part, order))[min(order, a) :]
        usual = max(float(np.median(e)), 1e-6)
        at = np.flatnonzero(e > _SURE * usual)
        groups = np.split(at, np.flatnonzero(np.diff(at) > order) + 1)
        for group in groups if len(groups) <= 3 else ():
            if not len(group) or not size // 4 <= group[0] < size - size // 4:
                continue  # the next frame has it in its middle
            begin, end = int(group[0]), int(group[-1]) + 1
            after = e[end + order : end + order + size // 8]
            if end - begin <= max(2 * order, rate // 1000) and (not len(after) or np.quantile(after, 0.9) < 6 * usual):
                out.append((a + begin, a + end))
    return out


def _lags(y: Wave, order: int) -> Wave:
    """Autocorrelation at 0 to ``order``."""
    return np.array([y[: len(y) - k] @ y[k:] for k in range(order + 1)])


def _residual(x: Wave, order: int) -> Wave:
    """What linear prediction leaves of ``(n,)``; its coefficients by the autocorrelation of a clipped copy, so that clicks do not lead them."""
    top = 4 * float(np.median(np.abs(x))) + 1e-9
    y = np.clip(x, -top, top) * np.hanning(len(x))
    r = _lags(y, order)
    if r[0] <= 0:
        return np.zeros(len(x))
    r[0] *= 1 + 1e-6
    a = solve_toeplitz(r[:-1], r[1:])
    return np.asarray(lfilter(np.concatenate([[1.0], -a]), [1.0], x))


def _hum(sound: Sound) -> float:
    """Level of mains hum, of 50 or 60 Hz, to the whole, dB; minus infinity where there is none of which one can be sure."""
    found = find_hum(sound)
    if found is None:
        return -math.inf
    hum, whole = (float(np.square(x, dtype=np.float64).mean()) for x in (found.wave, sound.samples))
    return 10 * math.log10(max(hum, 1e-30) / whole)


def _pauses(sound: Sound) -> tuple[Wave, Wave, Wave]:
    """Frequencies, power spectra of 46 ms, and which of them are the quietest tenth."""
    size = frame_size(sound.rate, 0.046)
    frames = power_frames(sound.samples, size)
    level = frames.sum(1)
    quiet = level <= np.quantile(level[level > 1e-9] if (level > 1e-9).any() else level, 0.1)
    return np.fft.rfftfreq(size, 1 / sound.rate), frames, quiet & (level > 1e-9)


def _noise(sound: Sound) -> float:
    """Level of what steadily sounds in pauses, to the whole, dB; minus infinity where there is no pause, or no noise in it."""
    hz, frames, quiet = _pauses(sound)
    if quiet.sum() < 6:
        return -math.inf
    level = db(frames.sum(1))
    floor = float(db(np.array([frames[quiet].sum(1).mean()]))[0])
    if np.quantile(level, 0.95) - floor < 15:
        return -math.inf
    inside = (hz > 300) & (hz < min(8000.0, 0.45 * sound.rate))
    mean = frames[quiet][:, inside].mean(0)
    mean = mean[: len(mean) // 8 * 8].reshape(-1, 8)
    flat = np.exp(np.log(mean + 1e-14).mean(1)) / (mean.mean(1) + 1e-14)  # within eight bins: 1 for noise, 0 for tones
    if np.average(flat, weights=mean.mean(1) ** 0.3) < 0.8:
        return -math.inf
    return float(floor - db(np.array([frames.sum(1).mean()]))[0])


def _rustle(sound: Sound) -> float:
    """Level of noise that comes and goes in pauses, to the whole, dB: what a profile of steady noise does not know."""
    found = pauses(sound)
    if found is None or found.flat < _NOISE_LIKE or found.wander_db < _WANDERS:
        return -math.inf
    return found.level_db


def _bleed(sound: Sound) -> float:
    """Level of voices and tones in pauses, to the whole, dB; of a recording whose pauses are quiet that of their quiet."""
    found = pauses(sound)
    if found is None or (found.flat >= _NOISE_LIKE and found.level_db > _QUIET):
        return -math.inf
    return found.level_db


def _top(sound: Sound) -> float:
    return min(10_000.0, 0.45 * sound.rate)


def _muffled(sound: Sound) -> float:
    if _top(sound) < 5000:
        return -math.inf
    hz, power = spectrum(sound)
    return band_db(hz, power, 500, 2000) - band_db(hz, power, 4000, _top(sound))


def _boomy(sound: Sound) -> float:
    hz, power = spectrum(sound)
    return band_db(hz, power, 80, 300) - band_db(hz, power, 300, 3000)


def _sharp(sound: Sound) -> tuple[float, float]:
    """Level of the sharpest 2 % of moments above 5 kHz, and of the body (300 to 4,000 Hz), dB."""
    size = frame_size(sound.rate, 0.02)
    frames, hz = power_frames(sound.samples, size), np.fft.rfftfreq(size, 1 / sound.rate)
    sounding = active(db(frames.sum(1)))
    sharp = db(frames[:, (hz >= 5000) & (hz < _top(sound))].sum(1))[sounding]
    return float(np.quantile(sharp, 0.98)), float(
        db(frames[:, (hz >= 300) & (hz < 4000)].sum(1).mean(keepdims=True))[0]
    )


def _sibilance(sound: Sound) -> float:
    if _top(sound) < 6000:
        return -math.inf
    sharp, body = _sharp(sound)
    return sharp - body


def _dynamics(sound: Sound) -> float:
    """The 95th less the 10th percentile of the level of a second, where something sounds; of 6 seconds at least."""
    if sound.seconds < 6:
        return -math.inf
    level = frames_db(sound, 1.0)
    level = level[active(level, 60)]
    return float(np.quantile(level, 0.95) - np.quantile(level, 0.1))


_MEASURES: dict[str, Callable[[Sound], float]] = {
    "clipping": clipping_percent, "clicks": _clicks, "hum": _hum, "noise": _noise, "rustle": _rustle, "bleed": _bleed, "muffled": _muffled, "boomy": _boomy,
    "sibilance": _sibilance, "dynamics": _dynamics,
}  # fmt: skip


# ---- mends -------------------------------------------------------------------------------------------------------------

Mended = tuple[Sound, str]


def declick(sound: Sound) -> tuple[Sound, int]:
    """The sound with its clicks replaced by what linear prediction expects there, and how many there were.

    Janssen, Veldhuis and Vries 1986, IEEE TASSP 34(2): the samples that make the residual of the frame around smallest.
    """
    clicks = _found_clicks(sound.mono().astype(np.float64), sound.rate)
    out, order, reach = sound.samples.astype(np.float64).copy(), 32, 1024
    for begin, end in clicks:
        a, b = max(0, begin - 3), min(out.shape[1], end + 3)
        lo, hi = max(0, a - reach), min(out.shape[1], b + reach)
        for x in out:
            part, gap = x[lo:hi].copy(), np.arange(a - lo, b - lo)
            part[gap] = np.interp(
                gap, [a - lo - 1, b - lo], [part[max(0, a - lo - 1)], part[min(len(part) - 1, b - lo)]]
            )
            for _ in range(2):
                part[gap] = _interpolated(part, gap, order)
            x[a:b] = part[gap]
    return Sound(out.astype(np.float32), sound.rate), len(clicks)


def _interpolated(x: Wave, gap: Wave, order: int) -> Wave:
    """The values at ``gap`` that leave the least residual of linear prediction."""
    y = x * np.hanning(len(x))
    r = _lags(y, order)
    if r[0] <= 0 or len(x) < 4 * order:
        return x[gap]
    r[0] *= 1 + 1e-9
    taps = np.concatenate([[1.0], -solve_toeplitz(r[:-1], r[1:])])
    low, high = int(gap[0]), min(len(x), int(gap[-1]) + order + 1)
    rows = np.arange(max(low, order), high)
    lag = rows[:, None] - gap[None]
    a = np.where((lag >= 0) & (lag <= order), taps[np.clip(lag, 0, order)], 0.0)
    known = x.copy()
    known[gap] = 0
    b = -np.asarray(lfilter(taps, [1.0], known))[rows]
    return np.asarray(np.linalg.lstsq(a, b, rcond=None)[0]) if len(rows) else x[gap]


def _mend_clicks(sound: Sound, value: float, limit: float) -> Mended:
    mended, many = declick(sound)
    return mended, f"{many} clicks interpolated"


def _mend_hum(sound: Sound, value: float, limit: float) -> Mended:
    found = find_hum(sound)
    assert found is not None
    where = f"{found.low:.2f}" if f"{found.low:.2f}" == f"{found.high:.2f}" else f"{found.low:.2f} to {found.high:.2f}"
    told = f"{where} Hz and its multiples, {len(found.lines)} lines, fitted and subtracted"
    return Sound((sound.samples - found.wave).astype(np.float32), sound.rate), told


def _mend_noise(sound: Sound, value: float, limit: float) -> Mended:
    _, _, quiet = _pauses(sound)
    size = frame_size(sound.rate, 0.046)
    at = np.flatnonzero(quiet) * (size // 2)
    window = Denoise.window(sound.rate)
    x = sound.samples.astype(np.float64)
    parts = [Denoise.profile(x[:, a : a + window], sound.rate) for a in at if a + window <= x.shape[1]]
    noise = 1.2 * np.mean(parts, 0) if parts else None  # the quietest moments lie a little below its mean
    return run(Denoise(24.0, noise), sound), "noise of its pauses taken away, at most 24 dB"


def _mend_pauses(measure: Callable[[Sound], float]) -> Callable[[Sound, float, float], Mended]:
    """A gate that turns pauses down as far as the measure asks, at the least threshold with which it does; it must spare the rest."""

    def mend(sound: Sound, value: float, limit: float) -> Mended:
        found = pauses(sound)
        assert found is not None
        turn = value - limit + 6
        best, best_made, told = value - _WORTH, sound, ""
        for above in (-6.0, -3.0, 0.0, 3.0, 6.0):
            made, threshold, cut = gated(sound, found, turn, above)
            if cut <= _CUT and (after := measure(made)) < best:
                best, best_made, told = after, made, f"a gate, {turn:.0f} dB down below {threshold:.0f} dB"
            if best <= limit:
                break
        return best_made, told

    return mend


def _stepwise(sound: Sound, measure: Callable[[Sound], float], aim: float, chain: Callable[[float], list[Effect]], most: float) -> tuple[Sound, float]:  # fmt: skip
    """The least amount up to ``most`` by which the measure comes down to ``aim``, to a part in 16, and the sound so treated."""
    low, high, best = 0.0, most, run(chain(most), sound)
    for _ in range(4):
        middle = (low + high) / 2
        made = run(chain(middle), sound)
        if measure(made) <= aim:
            high, best = middle, made
        else:
            low = middle
    return best, high


def _mend_muffled(sound: Sound, value: float, limit: float) -> Mended:
    made, gain = _stepwise(
        sound, _muffled, limit - 8, lambda g: [Equaliser([Band("high_shelf", 3000, g / 2), Band("high_shelf", 4000, g / 2)])], 36
    )  # fmt: skip
    return made, f"{gain:.1f} dB more above 3 to 4 kHz"


def _mend_boomy(sound: Sound, value: float, limit: float) -> Mended:
    hz, power = spectrum(sound)
    low = np.flatnonzero((hz >= 80) & (hz <= 300))
    middle = float(np.exp(np.average(np.log(hz[low]), weights=power[low])))
    made, gain = _stepwise(sound, _boomy, limit - 5, lambda g: [Equaliser([Band("peak", middle, -g, 1.0)])], 24)
    return made, f"{gain:.1f} dB less around {middle:.0f} Hz"


def _mend_sibilance(sound: Sound, value: float, limit: float) -> Mended:
    sharp, _ = _sharp(sound)
    made, below = _stepwise(
        sound, _sibilance, limit - 1, lambda g: [DeEsser(4500, max(-100.0, min(0.0, sharp - g)), 10)], 36
    )
    return made, f"what is above 4.5 kHz compressed 10 to 1 from {sharp - below:.0f} dB on"


def _mend_dynamics(sound: Sound, value: float, limit: float) -> Mended:
    level = frames_db(sound, 1.0)
    threshold = float(np.clip(np.quantile(level[active(level, 60)], 0.1) - 3, -90, -1))
    made = sound
    for ratio in (1.5, 2.0, 3.0, 4.0, 6.0, 8.0):
        made = run(Compressor(threshold, ratio, knee_db=10, attack_ms=80, release_ms=600), sound)
        if _dynamics(made) <= limit - 6:
            break
    up = np.sqrt(np.mean(np.square(sound.samples)) / max(1e-12, float(np.mean(np.square(made.samples)))))
    up = min(float(up), 1 / max(made.peak, 1e-9)) if made.peak else 1.0
    return Sound(made.samples * np.float32(up), sound.rate), f"compressed {ratio:g} to 1 from {threshold:.0f} dB on"


_MENDS: dict[str, Callable[[Sound, float, float], Mended]] = {
    "clicks": _mend_clicks, "hum": _mend_hum, "noise": _mend_noise, "rustle": _mend_pauses(_rustle),
    "bleed": _mend_pauses(_bleed), "muffled": _mend_muffled, "boomy": _mend_boomy,
    "sibilance": _mend_sibilance, "dynamics": _mend_dynamics,
}  # fmt: skip
