"""Effects that treat sound block by block as it arrives, whatever the size of a block: the same as the whole at once.

None loops over samples in Python: filters are ``scipy.signal``'s with their state kept, and what rises at once and falls
slowly (compressor, limiter, gate) is a running maximum in decibels. Small blocks, as they come live, go through the same in
compiled loops where numba is installed (``_mix_loops``). Arithmetic is in float64.
"""

from __future__ import annotations

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from scipy.fft import irfft, rfft
from scipy.linalg import hadamard
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter, oaconvolve, sosfilt
from scipy.special import exp1

from bottega.core import DataError, RecipeError, Sound, nearest
from bottega.crafts._biquads import Band, Kind, biquad, in_range, response_db
from bottega.crafts._ears import Wave, db
from bottega.crafts._mix_loops import SMALL, loops
from bottega.judge.loudness import OVERSAMPLED, interpolator

__all__ = [
    "EFFECTS", "Band", "Chain", "Compressor", "DeEsser", "Denoise", "Effect", "Equaliser", "Filter", "Gate", "Limiter",
    "Reverb", "Wet", "biquad", "blocks", "named_effect", "ready", "response_db", "run",
]  # fmt: skip

_HIGH_LOW: tuple[Kind, Kind] = ("high_pass", "low_pass")


def _fast(x: Wave) -> Any:
    """The compiled loops, where this block is better treated by them."""
    return loops() if x.shape[1] <= SMALL and x.dtype == np.float64 else None


def ready() -> bool:
    """Load what treats small blocks fast; before a stream begins, as it takes a second, and some more at its first use on a machine.

    Returns:
        Whether it is there; without numba arrays do the same in two to three times the time.
    """
    return loops() is not None


class Effect(ABC):
    """What treats sound in blocks; after ``start`` it is called with one block after the other.

    Attributes:
        latency: samples by which the output is late; known after ``start``.
    """

    latency: int = 0

    @abstractmethod
    def start(self, rate: int, channels: int) -> None:
        """Forget all that was heard, and be ready for sound of this rate, Hz, and so many channels."""

    @abstractmethod
    def __call__(self, x: Wave) -> Wave:
        """The next block ``(channels, n)``, any n from 0 on, treated: as many samples."""


class Chain(Effect):
    """Effects one after the other; their latencies add up."""

    def __init__(self, effects: Sequence[Effect]) -> None:
        self.effects = list(effects)

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        for effect in self.effects:
            effect.start(rate, channels)
        self.latency = sum(effect.latency for effect in self.effects)

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        for effect in self.effects:
            x = effect(x)
        return x


class _Delay:
    """The samples of ``many`` samples ago."""

    def __init__(self, channels: int, many: int) -> None:
        self.kept = np.zeros((channels, many))

    def __call__(self, x: Wave) -> Wave:
        both = np.concatenate([self.kept, x], 1)
        self.kept = both[:, x.shape[1] :].copy()
        return both[:, : x.shape[1]]


class Wet(Effect):
    """An effect of which so much is heard: ``wet`` times it and the rest of the sound as it was, kept in time."""

    def __init__(self, effect: Effect, wet: float = 1.0) -> None:
        in_range("an effect", wet=(wet, 0, 1))
        self.effect, self.wet = effect, wet

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        self.effect.start(rate, channels)
        self.latency = self.effect.latency
        self.dry = _Delay(channels, self.latency)

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        return self.wet * self.effect(x) + (1 - self.wet) * self.dry(x)


def blocks(x: Wave, size: int) -> Iterator[Wave]:
    """``(channels, n)`` in parts of ``size`` samples, the last one shorter."""
    return (x[:, i : i + size] for i in range(0, x.shape[1], size))


def run(effect: Effect | Sequence[Effect], sound: Sound, block: int = 0) -> Sound:
    """A whole recording through effects, brought back in time, as long as it was.

    Args:
        effect: one, or several in order.
        sound: float samples of any rate and channels.
        block: samples at once; 0 for all. It makes no difference but to speed and memory.

    Raises:
        DataError: no samples, or some that are not finite.
        RecipeError: a setting that does not go with this rate.
    """
    if not sound.samples.shape[1]:
        raise DataError("the sound holds no samples; give a recording")
    if not np.isfinite(sound.samples).all():
        raise DataError("the sound has samples that are not finite numbers; export it anew")
    one = effect if isinstance(effect, Effect) else Chain(effect)
    one.start(sound.rate, sound.channels)
    x = np.pad(sound.samples.astype(np.float64), ((0, 0), (0, one.latency)))
    y = np.concatenate([one(part) for part in blocks(x, block or x.shape[1])], 1)
    return Sound(np.ascontiguousarray(y[:, one.latency :], np.float32), sound.rate)


# ---- equaliser ---------------------------------------------------------------------------------------------------------


class Equaliser(Effect):
    """Second-order filters one after the other, without latency."""

    def __init__(self, bands: Sequence[Band]) -> None:
        self.bands = list(bands)

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        self.sos = np.array([biquad(band, rate) for band in self.bands])
        self.state = np.zeros((len(self.bands), channels, 2))

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        if not self.bands or not x.shape[1]:
            return x
        if fast := _fast(x):
            return np.asarray(fast.sections(self.sos, self.state, x))
        y, state = sosfilt(self.sos, x, axis=1, zi=self.state)
        self.state = np.ascontiguousarray(state)
        return np.asarray(y)


class Filter(Effect):
    """A symmetric filter of finite length, which moves no phases; late by half its length.

    Args:
        taps: an odd number of them.
    """

    def __init__(self, taps: Wave) -> None:
        self.taps = np.asarray(taps, np.float64)
        self.latency = len(self.taps) // 2

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        self.kept = np.zeros((channels, len(self.taps) - 1))

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        if not x.shape[1]:
            return x
        both = np.concatenate([self.kept, x], 1)
        self.kept = both[:, both.shape[1] - len(self.taps) + 1 :]
        return np.asarray(oaconvolve(both, self.taps[None], mode="valid", axes=1))


# ---- dynamics ----------------------------------------------------------------------------------------------------------


class _Hold:
    """What rises at once and falls by ``slope`` a sample: ``y[n] = max(x[n], y[n-1] - slope)``, a running maximum."""

    def __init__(self, slope: float, first: float = 0.0) -> None:
        self.slope, self.last = slope, first

    def __call__(self, x: Wave) -> Wave:
        if not len(x):
            return x
        fall = self.slope * np.arange(1, len(x) + 1)
        y = np.maximum(np.maximum.accumulate(x + fall), self.last) - fall
        self.last = float(y[-1])
        return y


class _Smooth:
    """A one-pole low-pass of a time constant in seconds; 0 lets everything through."""

    def __init__(self, seconds: float, rate: int, first: float = 0.0) -> None:
        self.pole = math.exp(-1 / (seconds * rate)) if seconds > 0 else 0.0
        self.last = first

    def __call__(self, x: Wave) -> Wave:
        if not len(x):
            return x
        y, _ = lfilter([1 - self.pole], [1, -self.pole], x, zi=[self.pole * self.last])
        self.last = float(y[-1])
        return np.asarray(y)


class Compressor(Effect):
    """Turns down what is louder than a threshold, all channels alike.

    Feed-forward with a soft knee, in decibels (Giannoulis, Massberg and Reiss 2012, JAES 60(6), equation 4): the level is a
    mean square of 5 ms, the reduction falls by 10 dB in ``release_ms`` and is smoothed over ``attack_ms``. No latency.

    Args:
        threshold_db: a level (root mean square) in dB of full scale.
        ratio: decibels in for one out, above it.
        knee_db: how wide the bend is.
        attack_ms: time constant.
        release_ms: for 10 dB.
        makeup_db: gain of all that comes out.
    """

    def __init__(
        self, threshold_db: float = -20.0, ratio: float = 3.0, knee_db: float = 6.0, attack_ms: float = 10.0,
        release_ms: float = 200.0, makeup_db: float = 0.0,
    ) -> None:  # fmt: skip
        in_range("compressor", threshold_db=(threshold_db, -100, 0), ratio=(ratio, 1, 100), knee_db=(knee_db, 0, 40),
               attack_ms=(attack_ms, 0, 1000), release_ms=(release_ms, 1, 10_000), makeup_db=(makeup_db, -60, 60))  # fmt: skip
        self.threshold_db, self.ratio, self.knee_db = threshold_db, ratio, knee_db
        self.attack_ms, self.release_ms, self.makeup_db = attack_ms, release_ms, makeup_db

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        self.level = _Smooth(0.005, rate)
        self.hold = _Hold(10 / (self.release_ms / 1000 * rate))
        self.attack = _Smooth(self.attack_ms / 1000, rate)

    def static_db(self, level_db: Wave) -> Wave:
        """The reduction, from 0 on, at levels that stay."""
        over, half = level_db - self.threshold_db, self.knee_db / 2
        bend = (over + half) ** 2 / (4 * half) if half else 0.0
        return (1 - 1 / self.ratio) * np.where(over <= -half, 0.0, np.where(over < half, bend, over))

    def reduction_db(self, x: Wave) -> Wave:
        """What the next block is turned down by, ``(n,)``."""
        level = db(self.level(np.square(x).max(0)))
        return self.attack(self.hold(self.static_db(level)))

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        if fast := _fast(x):
            level, hold, attack = self.level, self.hold, self.attack
            y, level.last, hold.last, attack.last = fast.compress(
                x, (level.pole, level.last), (hold.slope, hold.last), (attack.pole, attack.last),
                (self.threshold_db, self.ratio, self.knee_db, self.makeup_db),
            )  # fmt: skip
            return np.asarray(y)
        return x * 10 ** ((self.makeup_db - self.reduction_db(x)) / 20)


class DeEsser(Effect):
    """A compressor of what lies above ``hz`` alone, heard by that part: it tames s, sh and cymbals.

    Split by a Linkwitz-Riley crossover of fourth order (1976), whose parts add up to the same level at every frequency. No latency.

    Args:
        hz: where the sharp part begins.
        threshold_db: its level from which it is turned down.
        ratio: as a compressor's.
    """

    def __init__(self, hz: float = 5000.0, threshold_db: float = -30.0, ratio: float = 4.0) -> None:
        self.high, self.low = (Equaliser([Band(kind, hz)] * 2) for kind in _HIGH_LOW)
        self.compressor = Compressor(threshold_db, ratio, knee_db=6, attack_ms=1, release_ms=60)

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        self.high.start(rate, channels)
        self.low.start(rate, channels)
        self.compressor.start(rate, channels)

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        return self.low(x) + self.compressor(self.high(x))


class Limiter(Effect):
    """Keeps true peaks (between the samples, too) at or below a ceiling by turning down before they come; never clips.

    The gain that each of four values a sample needs is held over the look-ahead, rises again by 10 dB in ``release_ms``,
    and is averaged under a Hann window as long as the look-ahead, which leaves it at least as low where the peak is.
    Late by the look-ahead and 12 samples of interpolation; true peaks exceed the ceiling by at most 0.1 dB.

    Args:
        ceiling_db: in dB of full scale (dBTP).
        lookahead_ms: how long before.
        release_ms: for 10 dB.
        gain_db: given to the sound first.
    """

    def __init__(
        self, ceiling_db: float = -1.0, lookahead_ms: float = 5.0, release_ms: float = 100.0, gain_db: float = 0.0
    ) -> None:
        in_range("limiter", ceiling_db=(ceiling_db, -60, 0), lookahead_ms=(lookahead_ms, 0.1, 100), release_ms=(release_ms, 1, 10_000),
               gain_db=(gain_db, -120, 120))  # fmt: skip
        self.ceiling_db, self.lookahead_ms, self.release_ms, self.gain_db = (
            ceiling_db,
            lookahead_ms,
            release_ms,
            gain_db,
        )

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        self.ahead = max(1, round(self.lookahead_ms / 1000 * rate))
        self.half = (len(interpolator()) // 2) // OVERSAMPLED
        # as a matrix of the four phases: value 4 m + p is the sum over j of phases[p, j] x[m - 2 half + j]
        taps = np.zeros(OVERSAMPLED * (2 * self.half + 1))
        taps[: len(interpolator())] = interpolator()
        self.phases = np.ascontiguousarray(taps.reshape(-1, OVERSAMPLED)[::-1].T)
        self.latency = self.ahead + self.half
        self.heard = np.zeros((channels, 2 * self.half + 1))
        self.needs = np.zeros(self.ahead)
        self.hold = _Hold(10 / (self.release_ms / 1000 * rate))
        window = np.hanning(self.ahead + 3)[1:-1]
        self.window = window / window.sum()
        self.before = np.zeros(self.ahead)
        self.late = _Delay(channels, self.latency)

    def peaks(self, x: Wave) -> Wave:
        """The largest value around each sample, ``half`` samples late, over all channels."""
        both = np.concatenate([self.heard, x], 1)
        self.heard = both[:, x.shape[1] :].copy()
        past = np.lib.stride_tricks.sliding_window_view(both, self.phases.shape[1], axis=1)
        fine: Wave = np.abs(self.phases @ past.swapaxes(1, 2)).max((0, 1))  # of a sample and of the way to the next
        return np.maximum(np.maximum(fine[:-1], fine[1:]), np.abs(both[:, self.half + 1 : -self.half]).max(0))

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        if not x.shape[1]:
            return x
        x = x * 10 ** (self.gain_db / 20)
        if fast := _fast(x):
            y, self.hold.last = fast.limit(
                x, self.heard, self.phases, self.needs, self.before, self.window, self.ceiling_db, (self.hold.slope, self.hold.last), self.late.kept,
            )  # fmt: skip
            return np.asarray(y)
        need = np.maximum(db(self.peaks(x) ** 2) - self.ceiling_db, 0)
        both = np.concatenate([self.needs, need])
        self.needs = both[len(need) :].copy()
        wide = self.ahead + 1
        held = self.hold(maximum_filter1d(both, wide)[wide // 2 : wide // 2 + len(need)])
        seen = np.concatenate([self.before, held])
        self.before = seen[len(held) :].copy()
        return self.late(x) * 10 ** (-np.convolve(seen, self.window, "valid") / 20)


class Gate(Effect):
    """Turns down what is quieter than a threshold, all channels alike; no latency.

    Opens at the threshold and closes 6 dB below it (hysteresis), after ``hold_ms`` of quiet.

    Args:
        threshold_db: peak level in dB of full scale.
        range_db: how far down it turns.
        attack_ms: time constant of opening.
        hold_ms: of quiet before it closes.
        release_ms: of closing, for 10 dB.
    """

    def __init__(
        self, threshold_db: float = -50.0, range_db: float = 40.0, attack_ms: float = 1.0, hold_ms: float = 50.0,
        release_ms: float = 50.0,
    ) -> None:  # fmt: skip
        in_range("gate", threshold_db=(threshold_db, -120, 0), range_db=(range_db, 0, 120), attack_ms=(attack_ms, 0, 1000),
               hold_ms=(hold_ms, 0, 10_000), release_ms=(release_ms, 1, 10_000))  # fmt: skip
        self.threshold_db, self.range_db = threshold_db, range_db
        self.attack_ms, self.hold_ms, self.release_ms = attack_ms, hold_ms, release_ms

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        self.level = _Hold(60 / (0.1 * rate), -120.0)
        self.open, self.quiet = False, 0
        self.wait = round(self.hold_ms / 1000 * rate)
        self.hold = _Hold(10 / (self.release_ms / 1000 * rate), -self.range_db)
        self.attack = _Smooth(self.attack_ms / 1000, rate, -self.range_db)

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        n = x.shape[1]
        if not n:
            return x
        if fast := _fast(x):
            level, hold, attack = self.level, self.hold, self.attack
            y, level.last, hold.last, attack.last, self.open, self.quiet = fast.gate(
                x, (level.slope, level.last), (hold.slope, hold.last), (attack.pole, attack.last),
                (self.threshold_db, self.range_db, self.wait), self.open, self.quiet,
            )  # fmt: skip
            return np.asarray(y)
        loudness = self.level(db(np.square(x).max(0)))
        loud, quiet = loudness >= self.threshold_db, loudness < self.threshold_db - 6
        at = np.arange(n)
        # samples since it was last not quiet; it closes when there were as many as it waits
        since = at - np.maximum.accumulate(np.where(~quiet, at, -1 - self.quiet))
        says = np.where(loud, 1, np.where(quiet & (since > self.wait), 0, -1))
        last = np.maximum.accumulate(np.where(says >= 0, at, -1))
        is_open = np.where(last < 0, self.open, says[np.maximum(last, 0)] == 1)
        self.open, self.quiet = bool(is_open[-1]), int(since[-1])
        gain = self.attack(self.hold(np.where(is_open, 0.0, -self.range_db)))
        return x * 10 ** (np.maximum(gain, -self.range_db) / 20)


# ---- reverb ------------------------------------------------------------------------------------------------------------


class Reverb(Effect):
    """A hall: eight delays of different lengths that feed each other through a Hadamard matrix.

    Jot and Chaigne 1991, "Digital delay networks for designing artificial reverberators": the gain of each delay makes the
    whole fall by 60 dB in ``seconds``; above ``damping_hz`` it falls faster. The dry sound comes at once, so no latency.

    Args:
        seconds: in which a sound dies away by 60 dB (T60).
        wet: share of the hall, 0 to 1; the dry sound has the rest.
        damping_hz: corner of the low-pass in each delay.
        size: lengths of the delays, of a hall of middle size.
    """

    def __init__(self, seconds: float = 1.2, wet: float = 0.2, damping_hz: float = 8000.0, size: float = 1.0) -> None:
        in_range("reverb", seconds=(seconds, 0.05, 30), wet=(wet, 0, 1), damping_hz=(damping_hz, 100, 1e6), size=(size, 0.1, 4))  # fmt: skip
        self.seconds, self.wet, self.damping_hz, self.size = seconds, wet, damping_hz, size

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        ms = np.array([29.7, 37.1, 41.1, 43.7, 53.3, 59.9, 67.7, 73.1]) * self.size
        self.lengths = np.maximum(8, [_prime(round(m / 1000 * rate)) for m in ms])
        self.gains = 10 ** (-3 * self.lengths / (self.seconds * rate))
        self.step = int(self.lengths.min())  # what leaves a delay within so many samples has entered before them
        self.mix = hadamard(8) / math.sqrt(8)
        self.into = np.ascontiguousarray(hadamard(8)[:, np.arange(1, channels + 1) % 8] / math.sqrt(8 * channels))
        out = hadamard(8)[(3 + np.arange(channels)) % 8]
        self.pole = math.exp(-math.tau * self.damping_hz / rate) if self.damping_hz < 0.45 * rate else 0.0
        self.damped = np.zeros((8, 1))
        most = int(self.lengths.max())
        self.lines, self.at = np.zeros((8, most + max(most, SMALL))), most  # the newest before `at`
        # of an impulse, the eight give g^2 + g^4 + ... in all; without this the hall's level would depend on its length
        energy = float(np.mean(self.gains**2))
        self.out = math.sqrt((1 - energy) / energy) * out

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        if not x.shape[1]:
            return x
        if fast := _fast(x):
            at = self._space(x.shape[1])
            wet = fast.hall(x, self.lines, at, self.lengths, self.pole, self.damped, self.gains, self.mix, self.into, self.out)  # fmt: skip
        else:
            wet = np.concatenate([self._hall(part) for part in blocks(x, self.step)], 1)
        return np.asarray((1 - self.wet) * x + self.wet * wet)

    def _space(self, n: int) -> int:
        """Where the next n samples of the lines go: on, or at the end of what is still needed, moved to the front."""
        most = int(self.lengths.max())
        if self.at + n > self.lines.shape[1]:
            self.lines[:, :most] = self.lines[:, self.at - most : self.at].copy()
            self.at = most
        self.at += n
        return self.at - n

    def _hall(self, x: Wave) -> Wave:
        n = x.shape[1]
        at = self._space(n)
        out = np.stack([self.lines[i, at - d : at - d + n] for i, d in enumerate(self.lengths)])
        out, damped = lfilter([1 - self.pole], [1, -self.pole], out, axis=1, zi=self.damped)
        self.damped = np.ascontiguousarray(damped)
        out = out * self.gains[:, None]
        self.lines[:, at : at + n] = self.mix @ out + self.into @ x
        return np.asarray(self.out @ out)


def _prime(least: int) -> int:
    """The first prime from ``least`` on: delays that share no factor do not ring together."""
    n = max(2, least)
    while any(n % d == 0 for d in range(2, math.isqrt(n) + 1)):
        n += 1
    return n


# ---- noise -------------------------------------------------------------------------------------------------------------


_RISE, _STEPS = (math.log(1e-6), math.log(1e3)), 4096
_RISE_AT = _RISE[0], _STEPS / (_RISE[1] - _RISE[0])


class Denoise(Effect):
    """Takes away steady noise, band by band; late by one window (46 ms).

    Ephraim and Malah 1985, IEEE TASSP 33(2): the gain that is best for the logarithm of the spectrum, the signal-to-noise
    ratio by decision (weight 0.98). The noise is what is least over 1.5 seconds (Martin 2001, without its optimal
    smoothing), unless it is told.

    Args:
        reduction_db: noise is turned down by at most so much.
        noise: its power in each band of the window at the rate of the sound, ``(bins,)``; ``Denoise.profile`` measures it.
    """

    BIAS: ClassVar[float] = 2.0  # a minimum of smoothed periodograms lies so far below their mean

    def __init__(self, reduction_db: float = 20.0, noise: Wave | None = None) -> None:
        in_range("denoise", reduction_db=(reduction_db, 0, 60))
        self.reduction_db, self.noise = reduction_db, noise

    @staticmethod
    def window(rate: int) -> int:
        """Samples of a window: the power of two nearest to 46 ms."""
        return int(1 << max(6, round(math.log2(0.046 * rate))))

    @classmethod
    def profile(cls, x: Wave, rate: int) -> Wave:
        """The mean power of noise ``(channels, n)`` in each band, ``(bins,)``.

        Raises:
            DataError: shorter than one window.
        """
        size = cls.window(rate)
        if x.shape[1] < size:
            raise DataError(f"{x.shape[1]} samples of noise are too few to know it by; give at least {size}")
        frames = np.lib.stride_tricks.sliding_window_view(x, size, axis=1)[:, :: size // 4]
        return np.asarray((np.abs(np.fft.rfft(frames * _sine(size))) ** 2).mean((0, 1)))

    def start(self, rate: int, channels: int) -> None:
        """See ``Effect``."""
        self.size = self.window(rate)
        self.hop = self.size // 4
        bins = self.size // 2 + 1
        if self.noise is not None and len(self.noise) != bins:
            raise RecipeError(f"denoise: the noise has {len(self.noise)} bands; at {rate} Hz it must have {bins}")
        self.latency = self.size
        self.shape = _sine(self.size)
        self.half = self.shape / 2
        self.heard = np.zeros((channels, self.size))
        self.sum = np.zeros((channels, self.size))
        self.waiting = np.zeros((channels, 0))
        self.ready = np.zeros((channels, self.hop))
        self.before = np.zeros((channels, bins))  # the clean power of the last frame
        self.power: Wave | None = None
        self.least: list[Wave] = []  # of parts of 0.25 seconds
        self.floor: Wave | float = math.inf  # the least of them but the last
        self.part, self.frame, self.begun = max(1, round(0.25 * rate / self.hop)), 0, 0

    def __call__(self, x: Wave) -> Wave:
        """See ``Effect``."""
        fast, hop, made = _fast(x), self.hop, [self.ready]
        waiting = np.concatenate([self.waiting, x], 1)
        frames = waiting.shape[1] // hop
        for k in range(frames):
            self.heard[:, :-hop] = self.heard[:, hop:]
            self.heard[:, -hop:] = waiting[:, k * hop : (k + 1) * hop]
            spectrum = rfft(self.heard * self.shape)
            spectrum *= self._gain(spectrum.real**2 + spectrum.imag**2, fast)
            self.sum += irfft(spectrum, self.size) * self.half
            made.append(self.sum[:, :hop].copy())
            self.sum[:, :-hop] = self.sum[:, hop:]
            self.sum[:, -hop:] = 0
        self.waiting = waiting[:, frames * hop :].copy()
        both = np.concatenate(made, 1)
        self.ready = both[:, x.shape[1] :].copy()
        return both[:, : x.shape[1]]

    def _estimate(self, power: Wave) -> Wave:
        """The noise's power, ``(channels, bins)``."""
        if self.noise is not None:
            return np.tile(self.noise, (len(power), 1))  # the loops take no view of one row
        if self.power is None and self.begun < self.size // self.hop:  # silence before the beginning is no noise
            self.begun += bool(power.any())
            return np.zeros_like(power)
        self.power = power if self.power is None else 0.85 * self.power + 0.15 * power
        if self.frame % self.part == 0:
            self.floor = np.minimum.reduce(self.least[-5:]) if self.least else math.inf
            self.least = [*self.least[-5:], self.power]
        self.frame += 1
        self.least[-1] = np.minimum(self.least[-1], self.power)
        return self.BIAS * np.minimum(self.floor, self.least[-1])

    def _gain(self, power: Wave, fast: Any = None) -> Wave:
        noise, least = self._estimate(power), 10 ** (-self.reduction_db / 20)
        if fast:
            return np.asarray(fast.suppress(power, noise, self.before, _rise_table(), *_RISE_AT, least))
        noise = np.maximum(noise, 1e-12)
        after = np.minimum(power / noise, 1e3)
        ratio = np.maximum(0.98 * self.before / noise + 0.02 * np.maximum(after - 1, 0), 1e-3)
        share = ratio / (1 + ratio)
        gain = np.minimum(share * _rise(share * after), 1.0)
        self.before = gain**2 * power
        return np.maximum(gain, least)


@lru_cache(maxsize=1)
def _rise_table() -> Wave:
    """``exp(E1(v) / 2)`` at even steps of ``log v`` between ``_RISE``; the integral itself takes several times as long."""
    return np.asarray(np.exp(0.5 * exp1(np.exp(np.linspace(*_RISE, _STEPS + 1)))))


def _rise(v: Wave) -> Wave:
    """``exp(E1(v) / 2)`` of ``v`` between 1e-6 and 1e3, to 1e-6, by straight lines."""
    at = (np.log(np.clip(v, 1e-6, 999.0)) - _RISE_AT[0]) * _RISE_AT[1]
    table, k = _rise_table(), at.astype(np.intp)
    low: Wave = table[k]
    return low + (at - k) * (table[k + 1] - low)


def _sine(size: int) -> Wave:
    """The root of a periodic Hann window; at a hop of a quarter its squares add up to 2."""
    return np.sin(np.pi * np.arange(size) / size)


# ---- by name -----------------------------------------------------------------------------------------------------------

EFFECTS: dict[str, type[Effect]] = {
    "compressor": Compressor, "deesser": DeEsser, "denoise": Denoise, "gate": Gate, "limiter": Limiter, "reverb": Reverb,
}  # fmt: skip
"""What ``named_effect`` knows beside the filters of an equaliser."""

_FILTERS = ("peak", "low_shelf", "high_shelf", "low_pass", "high_pass", "notch")


def named_effect(text: str) -> Effect:
    """An effect as people write it: a name and its settings; ``wet=0.5`` for a part of it.

    Raises:
        RecipeError: an unknown name or setting, with the nearest, or a value that is no number or out of range.

    >>> named_effect("peak hz=300 gain_db=-4 q=1").bands[0].gain_db
    -4.0
    """
    name, *pairs = text.split()[:1] + text.split()[1:] or [""]
    known = {*EFFECTS, *_FILTERS}
    if name not in known:
        raise RecipeError(f"unknown effect {name!r}{nearest(name, known)}")
    takes = ["hz", "gain_db", "q"] if name in _FILTERS else [p for p in inspect.signature(EFFECTS[name]).parameters if p != "noise"]  # fmt: skip
    wet, said = 1.0, dict[str, float]()
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in takes and key != "wet":
            raise RecipeError(f"{name} has no setting {key!r}{nearest(key, [*takes, 'wet'])}")
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value):
            raise RecipeError(f"{name}: {key} is {value!r}; write a number, {key}=1.5 say")
        said[key] = float(value)
    if "wet" not in takes:
        wet = said.pop("wet", 1.0)
    if name in _FILTERS and "hz" not in said:
        raise RecipeError(f"{name}: say at which frequency, hz=1000 say")
    arguments: dict[str, Any] = said
    made: Effect = Equaliser([Band(name, **arguments)]) if name in _FILTERS else EFFECTS[name](**arguments)  # type: ignore[arg-type]
    return Wet(made, wet) if wet != 1 else made
