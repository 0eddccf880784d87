"""Mains hum: its frequency followed through a recording, its lines fitted, and those of which one can be sure.

Hum is ``sum_k Re(a_k(t) exp(i k theta(t)))`` with ``theta' / 2 pi`` near 50 or 60 Hz. What tells it from notes is that it stays:
a line belongs to hum when what is fitted to other times foretells it where it was not fitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.ndimage import uniform_filter1d
from scipy.signal import firwin, resample_poly, upfirdn

from bottega.core import Sound
from bottega.crafts._ears import Wave

__all__ = ["LEAST_SECONDS", "Hum", "find_hum"]

Waves = NDArray[np.complex128]

LEAST_SECONDS = 2.0  # shorter sounds show no hum that one could be sure of
BASES = (50.0, 60.0)
_RATE, _TOP = 4000, 1000.0  # samples a second that are enough, Hz of the highest line
_SLOW = 50  # of them are one once a line is brought down to 0 Hz
_AWAY, _STEP = 0.35, 0.02  # Hz that the fundamental may be off its nominal value, and between two that are tried
_LONG, _LONG_HOP = 2.0, 0.25  # seconds of the windows in which it is looked for
_HOP, _PARTS = 0.125, 10  # seconds and slow samples between the windows, four times as long, in which lines are fitted
_SURE, _LINES = 0.3, 3  # nats a window by which so many lines must be foretold for hum to be found
_TAKEN = 0.05  # and from which any other line of it is taken, too
_HELD = (2.0, 6.0, 30.0)  # seconds over which the amplitude of a line may be held: what foretells it best
_BESIDE = tuple(0.7 * i for i in (-6, -5, -4, -3, -2, 2, 3, 4, 5, 6))  # Hz beside, where no hum is


class _Way(NamedTuple):
    """How stiffly the frequency is followed: windows between which phases are compared, its steps in Hz and radians, and whether it begins as one frequency."""

    lags: tuple[int, ...]
    hz: float
    bend: float
    level: bool


_WAYS = (_Way((2, 4), 0.003, 1e-2, False), _Way((), 0, 1e-2, False), _Way((), 0, 1e-2, True), _Way((), 0, 1e-3, True))


class Hum(NamedTuple):
    """Hum that was found.

    Attributes:
        base: 50 or 60, its nominal fundamental in Hz.
        low, high: between which its fundamental lies.
        lines: multiples of the fundamental that stand out.
        wave: what is to be taken off the samples, ``(channels, n)``.
    """

    base: float
    low: float
    high: float
    lines: tuple[int, ...]
    wave: Wave


class _Fit(NamedTuple):
    theta: Wave  # (n,), by which the fundamental is ahead of ``base`` at each slow sample
    amplitude: Waves  # (lines, channels, windows)
    sure: Wave  # (lines,), nats a window

    @property
    def evidence(self) -> float:
        return float(self.sure.clip(0).sum())


def find_hum(sound: Sound) -> Hum | None:
    """The hum of a recording of 2 seconds or more; None where there is none of which one can be sure.

    At least three lines must be foretold: each stretch of 2 seconds from those beside it, by 0.3 nats a window (of a Student
    t likelihood with one degree of freedom) more than silence foretells it. What a machine repeats has lines at every multiple
    of its beat, 2 Hz at 120 a minute, so also at 50 and 60 Hz: frequencies beside them must not be foretold half as well.
    """
    if sound.seconds < LEAST_SECONDS:
        return None
    x = resample_poly(sound.samples.astype(np.float64), _RATE, sound.rate, axis=1)
    found = [(base, fit) for base in BASES for fit in _fits(x, base, _WAYS) if (fit.sure > _SURE).sum() >= _LINES]
    if not found:
        return None
    base, fit = max(found, key=lambda pair: pair[1].evidence)
    beside = [next(_fits(x, base + away, _WAYS[-1:])).evidence for away in _BESIDE]
    if sum(evidence > fit.evidence / 2 for evidence in beside) > 1:
        return None
    hz = base + np.diff(fit.theta[::_PARTS]) / (math.tau * _HOP)
    lines = tuple(int(k) + 1 for k in np.flatnonzero(fit.sure > _TAKEN))
    wave = _sounded(fit, base, lines, x.shape[1])
    wave = resample_poly(wave, sound.rate, _RATE, axis=1)[:, sound.rate :][:, : sound.samples.shape[1]]
    return Hum(base, float(hz.min()), float(hz.max()), lines, wave)


def _fits(x: Wave, base: float, ways: Sequence[_Way]) -> Iterator[_Fit]:
    scores, floor = _looked(x, base)
    lowered = _lowered(x, base, len(floor))
    return (_fitted(lowered, scores, floor, way) for way in ways)


def _looked(x: Wave, base: float) -> tuple[Wave, Wave]:
    """How much each fundamental around ``base`` stands out in each long window, ``(windows, tried)``, and the floor around each line, ``(lines, windows)``, as power of a sample."""
    size, hop = round(_LONG * _RATE), round(_LONG_HOP * _RATE)
    full = 1 << math.ceil(math.log2(4 * size))
    step, window = _RATE / full, np.hanning(size + 1)[:-1]
    tried = base + np.arange(-_AWAY, _AWAY + _STEP / 2, _STEP)
    scores, floors = [], []
    frames = np.lib.stride_tricks.sliding_window_view(x, size, axis=1)[:, ::hop]
    for a in range(0, frames.shape[1], 32):
        power = (np.abs(np.fft.rfft(frames[:, a : a + 32] * window, full)) ** 2).mean(0)
        found, floor = np.zeros((len(power), len(tried))), []
        for k in range(1, int(_TOP / base) + 1):
            near = round(min(6.0, k * _AWAY + 1) / step)
            middle, reach = round(k * base / step), round(15 / step)
            beside = np.r_[middle - reach : middle - near, middle + near : middle + reach]
            floor.append(np.median(power[:, beside], 1) / math.log(2) + 1e-12)
            at = power[:, np.round(k * tried / step).astype(int)]
            found += np.clip(np.log(at / floor[-1][:, None] + 1e-12), 0, 4)  # one loud note is not hum
        scores.append(found)
        floors.append(np.array(floor) / (window**2).sum())
    return np.concatenate(scores), np.concatenate(floors, 1)


def _followed(scores: Wave) -> NDArray[np.intp]:
    """The best way through the windows: at most two steps from one to the next, half a nat for a step, two for two."""
    best, back = scores[0].copy(), np.zeros(scores.shape, int)
    moves = np.arange(-2, 3)
    source = np.arange(scores.shape[1]) + moves[:, None]
    inside = (source >= 0) & (source < scores.shape[1])
    for i in range(1, len(scores)):
        reached = np.where(inside, best[source * inside] - 0.5 * moves[:, None] ** 2, -np.inf)
        back[i] = moves[reached.argmax(0)]
        best = reached.max(0) + scores[i]
    path = [int(best.argmax())]
    for i in range(len(scores) - 1, 0, -1):
        path.append(path[-1] + int(back[i, path[-1]]))
    return np.array(path[::-1])


def _steady(lowered: Waves) -> float:
    """Hz by which a fundamental that does not move is ahead: what stands out in one window as long as the whole, in which quiet moments count most."""
    n, slow = lowered.shape[2], _RATE / _SLOW
    at, c = np.arange(0, n, _PARTS), _windows(lowered, np.zeros(n))
    full = 1 << math.ceil(math.log2(8 * n))
    step, window = slow / full, np.hanning(n)
    tried = np.arange(-_AWAY, _AWAY, max(5e-4, slow / n / 40))
    total = np.zeros(len(tried))
    for k, (z, spread) in enumerate(zip(lowered, _spread(c, np.zeros_like(c)), strict=True), 1):
        weight = window * np.interp(np.arange(n), at, 1 / spread)
        power = (np.abs(np.fft.fft(z * weight, full)) ** 2).mean(0)
        near, far = round((k * _AWAY + 0.5) / step), round(12 / step)
        beside = np.median(power[np.r_[near:far, -far:-near]]) / math.log(2) + 1e-30
        total += np.clip(np.log(power[np.round(k * tried / step).astype(int)] / beside + 1e-12), 0, 8)
    return float(tried[total.argmax()])


def _thinned(x: NDArray[Any], taps: Wave, step: int) -> NDArray[Any]:
    """One of ``step`` samples of the last axis, each the mean under taps that reach a whole number of steps to both sides."""
    many, ahead = -(-x.shape[-1] // step), len(taps) // 2 // step
    whole = upfirdn(taps, np.ones(x.shape[-1]), 1, step)[ahead : ahead + many]
    return np.asarray(upfirdn(taps, x, 1, step)[..., ahead : ahead + many] / whole)


def _lowered(x: Wave, base: float, lines: int) -> Waves:
    """What is around each multiple of ``base``, brought down to 0 Hz, ``(lines, channels, slow samples)``; a sine of level a has a there."""
    taps = firwin(10 * _SLOW + 1, 0.5 * _RATE / _SLOW, window=("kaiser", 6.0), fs=_RATE)
    turn = np.exp(-2j * np.pi * base / _RATE * np.arange(x.shape[1]))
    y, out = 2 * x.astype(complex), []
    for _ in range(lines):
        y = y * turn
        out.append(_thinned(y, taps, _SLOW))
    return np.array(out)


def _windows(lowered: Waves, theta: Wave) -> Waves:
    """Amplitudes of the lines under Hann windows of four hops, centred at every hop, ``(lines, channels, windows)``."""
    k = np.arange(1, len(lowered) + 1)[:, None, None]
    return _thinned(lowered * np.exp(-1j * k * theta), np.hanning(4 * _PARTS + 1), _PARTS)


def _held(weight: Wave, c: Waves, windows: float) -> Waves:
    """The slow course of each line, of weights ``(lines, n)``: least squares, its steps held back, so that it averages over so many windows."""
    stiff = np.broadcast_to(weight.mean(1, keepdims=True) * windows**2 + 1e-30, weight.shape).copy()
    middle = weight + 2 * stiff
    middle[:, [0, -1]] -= stiff[:, [0, -1]]
    stiff[:, 0] = 0  # one system for all lines, with nothing between them
    right = np.moveaxis(weight[:, None] * c, 1, 2)
    solved = solveh_banded(
        np.stack([-stiff.ravel(), middle.ravel()]), right.reshape(weight.size, -1), check_finite=False
    )
    return np.moveaxis(solved.reshape(right.shape), 2, 1)


def _walked(weight: Wave, pull: Wave, step: float) -> Wave:
    """A random walk of such steps, of which so much is known in each window."""
    stiff = step**-2
    bands = np.stack([np.full(len(weight), -stiff), weight + 2 * stiff])
    bands[1, [0, -1]] -= stiff
    bands[1] += 1e-9 * stiff
    return np.asarray(solveh_banded(bands, pull, check_finite=False))


def _bent(weight: Wave, pull: Wave, bend: float) -> Wave:
    """As ``_walked``, where steps themselves are a random walk."""
    stiff, n = bend**-2, len(weight)
    second = np.zeros(n)
    second[:-2] += 1
    second[1:-1] += 4
    second[2:] += 1
    first = np.full(n, -4.0)
    first[[1, -1]] = -2
    bands = np.stack([np.full(n, stiff), stiff * first, weight + stiff * (second + 1e-9)])
    return np.asarray(solveh_banded(bands, pull, check_finite=False))


def _spread(c: Waves, a: Waves) -> Wave:
    """The variance around a course, as it is nearby, ``(lines, windows)``."""
    v = uniform_filter1d((np.abs(c - a) ** 2).mean(1), 5, axis=1, mode="nearest")
    return np.asarray(v + 1e-3 * v.mean(1, keepdims=True) + 1e-14)


def _course(c: Waves, windows: float) -> tuple[Waves, Wave]:
    """The slow course of each line and the weight of each window: quiet ones count, and those that a note fills hardly."""
    spread = _spread(c, np.zeros_like(c))
    for _ in range(4):
        a = _held(1 / spread, c, windows)
        spread = _spread(c, a)
    return a, 1 / spread


def _fitted(lowered: Waves, scores: Wave, floor: Wave, way: _Way) -> _Fit:
    n, slow = lowered.shape[2], _RATE / _SLOW
    at = np.arange(0, n, _PARTS)
    middles = (_LONG / 2 + _LONG_HOP * np.arange(len(scores))) * slow
    off = -_AWAY + _STEP * np.arange(scores.shape[1])
    if way.level:
        track = np.full(len(at), _steady(lowered))
    else:
        track = uniform_filter1d(np.interp(at, middles, off[_followed(scores)]), 17, mode="nearest")
    theta = math.tau * np.cumsum(np.interp(np.arange(n), at, track)) / slow
    k = np.arange(1, len(lowered) + 1)[:, None]
    window = np.hanning(4 * _PARTS + 1)
    noise = np.array([np.interp(at, middles, row) for row in floor])
    noise *= 4 * (window**2).sum() / window.sum() ** 2 / _SLOW  # of an amplitude in a window, from that of a sample
    for lag in (lag for lag in way.lags if len(at) > lag + 2 for _ in range(2)):
        # How far phases advance beyond k theta from a window to a later one: the error of the frequency, which all lines share.
        c = _windows(lowered, theta)
        turned = (c[:, :, lag:] * c[:, :, :-lag].conj()).sum(1)
        above = np.maximum(np.abs(turned) / np.maximum(noise[:, lag:], noise[:, :-lag]) - 2, 0)
        away = math.tau * k * lag * _HOP
        weight = away**2 * above / (1 + above / 3) / 4  # windows overlap, and a loud line may be a note
        error = _walked(weight.sum(0), (weight * np.angle(turned) / away).sum(0), way.hz)
        theta = theta + math.tau * np.cumsum(np.interp(np.arange(n), (at[lag:] + at[:-lag]) / 2, error)) / slow
    for _ in range(4):  # now that it is known nearly, its phase against amplitudes that hold
        c = _windows(lowered, theta)
        a, weight = _course(c, 6 / _HOP)
        pull = (weight * k * np.imag(c * a.conj()).mean(1)).sum(0) / 4
        known = (weight * k**2 * (np.abs(a) ** 2).mean(1)).sum(0) / 4
        theta = theta + np.interp(np.arange(n), at, np.clip(_bent(known, pull, way.bend), -0.5, 0.5))
    c = _windows(lowered, theta)
    courses = [_course(c, held / _HOP) for held in _HELD]
    sure = np.array([_foretold(c, weight, held / _HOP) for (_, weight), held in zip(courses, _HELD, strict=True)])
    best = sure.argmax(0)
    return _Fit(theta, np.array([courses[b][0][i] for i, b in enumerate(best)]), sure.max(0))


def _foretold(c: Waves, weight: Wave, windows: float) -> Wave:
    """Nats a window by which each line is foretold from the stretches beside, more than by silence, ``(lines,)``."""
    n = c.shape[2]
    many = max(3, round(n * _HOP / 2))
    place = np.arange(n) * many / n
    inner = (place % 1 * n / many > 1.9) & ((1 - place % 1) * n / many > 1.9)  # windows reach two hops to each side
    if not inner.any():
        return np.zeros(len(c))
    told = np.zeros_like(c)
    for odd in (0, 1):
        hidden = place.astype(int) % 2 == odd
        told[:, :, hidden] = _held(np.where(hidden, 1e-9 * weight, weight), c, windows)[:, :, hidden]
    spread = 1 / weight
    gain = np.log(spread + (np.abs(c) ** 2).mean(1)) - np.log(spread + (np.abs(c - told) ** 2).mean(1))
    return np.asarray(gain[:, inner].mean(1))


def _sounded(fit: _Fit, base: float, lines: tuple[int, ...], n: int) -> Wave:
    """The lines as ``n`` samples and a second more on both sides, so that a filter meets no edge, ``(channels, n + 2 rate)``."""
    fast = np.arange(-_RATE, n + _RATE)
    slow = _SLOW * np.arange(len(fit.theta))
    theta = math.tau * base / _RATE * fast + np.interp(fast, slow, fit.theta)
    wave: Any = 0.0
    for k in lines:
        a = np.array([np.interp(fast, slow[::_PARTS], row) for row in fit.amplitude[k - 1]])
        wave = wave + np.real(a * np.exp(1j * k * theta))
    return np.asarray(wave)
