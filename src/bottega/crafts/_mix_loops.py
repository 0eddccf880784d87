"""The effects' loops over samples, compiled: numba, which ``librosa`` brings, or not at all.

A block of 512 samples is treated in less time than numpy takes to begin the twenty operations of an effect. Each loop makes
what the arrays of ``mix_effects`` make, to the rounding of float64, and leaves the same state: a sound can go from one to the
other at any sample.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["SMALL", "loops"]

_NOTHING = 1e-30  # what falls away towards 0 becomes 0 here: the smallest numbers of all take a hundred times as long
SMALL = 8192  # samples; in larger blocks arrays are as fast, and nothing has to be compiled


@lru_cache(maxsize=1)
def loops() -> SimpleNamespace | None:
    """The loops by name, or None where numba is not installed or refuses; compiled at a machine's first use, then kept on disk."""
    if not importlib.util.find_spec("numba"):
        return None
    try:
        from numba import njit
    except ImportError:  # it wants another numpy
        return None

    def compiled(keep: bool) -> SimpleNamespace:
        made: dict[str, Callable[..., Any]] = {}
        for loop, types in _TYPES.items():
            # sums may be taken in any order, so that they run on several numbers at once; nothing else is loosened
            made[loop.__name__] = njit(types, nogil=True, cache=keep, fastmath={"reassoc", "contract", "nsz"})(loop)
        return SimpleNamespace(**made)

    try:
        return compiled(keep=True)
    except RuntimeError:  # there is no place to keep them
        return compiled(keep=False)


def sections(sos: Any, state: Any, x: Any) -> Any:
    """``scipy.signal.sosfilt`` along rows; ``state (sections, channels, 2)`` is changed in place."""
    y = x.copy()
    channels, n = y.shape
    for s in range(len(sos)):
        b0, b1, b2, a1, a2 = sos[s, 0], sos[s, 1], sos[s, 2], sos[s, 4], sos[s, 5]
        for c in range(channels):
            z0, z1 = state[s, c, 0], state[s, c, 1]
            for i in range(n):
                v = y[c, i]
                w = b0 * v + z0
                z0 = b1 * v - a1 * w + z1
                z1 = b2 * v - a2 * w
                y[c, i] = w
            state[s, c, 0], state[s, c, 1] = z0 if abs(z0) > _NOTHING else 0.0, z1 if abs(z1) > _NOTHING else 0.0
    return y


def compress(x: Any, level: Any, hold: Any, attack: Any, curve: Any) -> Any:
    """A ``Compressor``'s block.

    Args:
        x: ``(channels, n)``.
        level: pole and last value of a one-pole low-pass.
        hold: slope and last value of what falls slowly.
        attack: pole and last value of another low-pass.
        curve: threshold, ratio, knee and makeup, dB.

    Returns:
        The block, and the three last values.
    """
    pole, mean = level
    slope, held = hold
    keep, down = attack
    threshold, ratio, knee, makeup = curve
    y = np.empty_like(x)
    channels, n = y.shape
    half, share, ln = knee / 2, 1 - 1 / ratio, math.log(10) / 20
    for i in range(n):
        top = 0.0
        for c in range(channels):
            top = max(top, x[c, i] * x[c, i])
        mean = (1 - pole) * top + pole * mean
        mean = mean if mean > _NOTHING else 0.0
        over = 10 * math.log10(max(mean, 1e-12)) - threshold
        wish = 0.0
        if over >= half:
            wish = over
        elif over > -half:
            wish = (over + half) ** 2 / (4 * half)
        held = max(share * wish, held - slope)
        down = (1 - keep) * held + keep * down
        down = down if down > _NOTHING else 0.0
        gain = math.exp(ln * (makeup - down))
        for c in range(channels):
            y[c, i] = gain * x[c, i]
    return y, mean, held, down


def gate(x: Any, level: Any, hold: Any, attack: Any, sides: Any, is_open: Any, quiet: Any) -> Any:
    """A ``Gate``'s block.

    Args:
        x: ``(channels, n)``.
        level: slope and last value of what falls slowly, dB.
        hold: the same of the gain.
        attack: pole and last value of a one-pole low-pass, dB.
        sides: threshold and range, dB, and the samples of quiet before it closes.
        is_open: whether it was.
        quiet: samples since it was last not quiet.

    Returns:
        The block, the three last values, whether it is open, and the samples since.
    """
    fall, loud = level
    slope, held = hold
    keep, now = attack
    threshold, most, wait = sides
    y = np.empty_like(x)
    channels, n = y.shape
    ln = math.log(10) / 20
    for i in range(n):
        top = 0.0
        for c in range(channels):
            top = max(top, x[c, i] * x[c, i])
        loud = max(10 * math.log10(max(top, 1e-12)), loud - fall)
        quiet = quiet + 1 if loud < threshold - 6 else 0
        if loud >= threshold:
            is_open = True
        elif quiet > wait:
            is_open = False
        held = max(0.0 if is_open else -most, held - slope)
        now = (1 - keep) * held + keep * now
        now = now if now < -_NOTHING else 0.0
        gain = math.exp(ln * max(now, -most))
        for c in range(channels):
            y[c, i] = gain * x[c, i]
    return y, loud, held, now, is_open, quiet


def limit(
    x: Any, heard: Any, phases: Any, needs: Any, before: Any, window: Any, ceiling: Any, hold: Any, late: Any
) -> Any:
    """A ``Limiter``'s block; ``heard``, ``needs``, ``before`` and ``late`` (its state) are changed in place.

    Values between samples are only looked for where they can reach the ceiling: none is larger than the largest sample of its
    25 times the sum of the taps' magnitudes.

    Args:
        x: ``(channels, n)``, with its gain.
        heard: the last ``2 half + 1`` samples, ``(channels, 2 half + 1)``.
        phases: taps of the values between, ``(4, 2 half + 1)``.
        needs: the last ``ahead`` needed reductions, dB.
        before: the last ``ahead`` held ones.
        window: ``(ahead + 1,)``; sums to 1.
        ceiling: dB.
        hold: slope and last value of what falls slowly.
        late: the last ``ahead + half`` samples, ``(channels, ahead + half)``.

    Returns:
        The block and the last held value.
    """
    slope, held = hold
    channels, n = x.shape
    taps, ahead, behind = heard.shape[1], len(needs), late.shape[1]
    half = (taps - 1) // 2
    loudest = 0.0
    for p in range(len(phases)):
        total = 0.0
        for j in range(taps):
            total += abs(phases[p, j])
        loudest = max(loudest, total)
    ceiling_level = 10 ** (ceiling / 20)
    least = ceiling_level / max(loudest, 1.0)
    need = np.zeros(ahead + n)
    need[:ahead] = needs
    both = np.empty(taps + n)
    fine = np.empty(n + 1)
    top = np.zeros(n)
    for c in range(channels):
        both[:taps] = heard[c]
        both[taps:] = x[c]
        last = -taps - 1  # the last sample that is loud enough
        for j in range(taps):
            if abs(both[j]) > least:
                last = j
        some = False
        for i in range(n + 1):  # of the samples i to i + taps - 1
            fine[i] = 0.0
            if i > 0 and abs(both[i + taps - 1]) > least:
                last = i + taps - 1
            if last >= i:
                some = True
                for p in range(len(phases)):
                    total = 0.0
                    for j in range(taps):
                        total += phases[p, j] * both[i + j]
                    fine[i] = max(fine[i], abs(total))
        if some:
            for i in range(n):
                top[i] = max(top[i], max(max(fine[i], fine[i + 1]), abs(both[i + half + 1])))
        heard[c] = both[n:]
    for i in range(n):
        if top[i] > ceiling_level:
            need[ahead + i] = max(20 * math.log10(top[i]) - ceiling, 0.0)
    # the largest of the last ahead + 1, by a queue of those that no later one exceeds
    queue = np.empty(ahead + n, np.int64)
    first, end = 0, 0
    seen = np.empty(ahead + n)
    seen[:ahead] = before
    busy = False
    for i in range(ahead + n):
        while end > first and need[queue[end - 1]] <= need[i]:
            end -= 1
        queue[end] = i
        end += 1
        if queue[first] < i - ahead:
            first += 1
        if i >= ahead:
            held = max(need[queue[first]], held - slope)
            seen[i] = held
    for i in range(ahead + n):
        busy = busy or seen[i] > 0
    needs[:] = need[n:]
    before[:] = seen[n:]
    y = np.empty_like(x)
    for c in range(channels):
        for i in range(n):
            y[c, i] = late[c, i] if i < behind else x[c, i - behind]
        if n >= behind:
            late[c] = x[c, n - behind :]
        else:
            for i in range(behind - n):
                late[c, i] = late[c, i + n]
            late[c, behind - n :] = x[c]
    if busy:
        ln = math.log(10) / 20
        for i in range(n):
            total = 0.0
            for j in range(ahead + 1):
                total += window[j] * seen[i + j]
            gain = math.exp(-ln * total)
            for c in range(channels):
                y[c, i] *= gain
    return y, held


def hall(
    x: Any, lines: Any, at: Any, lengths: Any, pole: Any, damped: Any, gains: Any, mix: Any, into: Any, out: Any
) -> Any:
    """What a ``Reverb``'s delays let out, ``(channels, n)``; ``lines (k, many)`` from ``at`` on and ``damped (k, 1)`` are changed in place."""
    channels, n = x.shape
    k = len(lines)
    y = np.zeros((channels, n))
    now = np.empty(k)
    for i in range(n):
        for a in range(k):
            v = (1 - pole) * lines[a, at + i - lengths[a]] + damped[a, 0]
            damped[a, 0] = pole * v
            now[a] = gains[a] * v
        for a in range(k):
            v = 0.0
            for b in range(k):
                v += mix[a, b] * now[b]
            for c in range(channels):
                v += into[a, c] * x[c, i]
            lines[a, at + i] = v if abs(v) > _NOTHING else 0.0
        for c in range(channels):
            v = 0.0
            for b in range(k):
                v += out[c, b] * now[b]
            y[c, i] = v
    return y


def suppress(power: Any, noise: Any, before: Any, table: Any, low: Any, scale: Any, least: Any) -> Any:
    """The gain of ``Denoise`` for each band of a frame, ``(channels, bins)``; ``before`` (clean power) is changed in place."""
    gain = np.empty_like(power)
    channels, bins = power.shape
    for c in range(channels):
        for b in range(bins):
            floor = max(noise[c, b], 1e-12)
            after = min(power[c, b] / floor, 1e3)
            ratio = max(0.98 * before[c, b] / floor + 0.02 * max(after - 1, 0.0), 1e-3)
            share = ratio / (1 + ratio)
            at = (math.log(min(max(share * after, 1e-6), 999.0)) - low) * scale
            k = int(at)
            g = min(share * (table[k] + (at - k) * (table[k + 1] - table[k])), 1.0)
            before[c, b] = g * g * power[c, b]
            gain[c, b] = max(g, least)
    return gain


_REAL, _ROW, _ROWS, _BLOCK = "float64", "float64[::1]", "float64[:,::1]", "float64[:,:]"
_PAIR = "UniTuple(float64,2)"
_TYPES: dict[Callable[..., Any], str] = {
    sections: f"{_ROWS}({_ROWS}, float64[:,:,::1], {_BLOCK})",
    compress: f"Tuple(({_ROWS}, {_REAL}, {_REAL}, {_REAL}))({_BLOCK}, {_PAIR}, {_PAIR}, {_PAIR}, UniTuple(float64,4))",
    gate: f"Tuple(({_ROWS}, {_REAL}, {_REAL}, {_REAL}, boolean, int64))({_BLOCK}, {_PAIR}, {_PAIR}, {_PAIR}, UniTuple(float64,3), boolean, int64)",
    limit: f"Tuple(({_ROWS}, {_REAL}))({_BLOCK}, {_ROWS}, {_ROWS}, {_ROW}, {_ROW}, {_ROW}, {_REAL}, {_PAIR}, {_ROWS})",
    hall: f"{_ROWS}({_BLOCK}, {_ROWS}, int64, int64[::1], {_REAL}, {_ROWS}, {_ROW}, {_ROWS}, {_ROWS}, {_ROWS})",
    suppress: f"{_ROWS}({_ROWS}, {_BLOCK}, {_ROWS}, {_ROW}, {_REAL}, {_REAL}, {_REAL})",
}
"""The types of what each takes, so that it is compiled before the first block comes."""
