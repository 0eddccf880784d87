"""New sounds to a description: how bright, how noisy, how long, how sudden; and how unlike a library each of them is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.ndimage import uniform_filter1d
from scipy.optimize import brentq

from bottega.core import DataError, RecipeError, Rng, Sound
from bottega.crafts._ears import Wave, bands, checked, db, frame_size, power_frames, third_octaves

__all__ = ["Described", "Designed", "describe", "design", "novelty"]

WINDOW, HOP = 2048, 512
_DRAFTS = 6  # sounds that are drawn before the most novel is kept, or the nearest where none is near
_NEAR = 10.0  # per cent
_TILTS = (-60.0, 24.0)  # dB an octave
_NOISES = (-110.0, 60.0)  # dB of noise to tones


@dataclass(frozen=True)
class Described:
    """What is measured of a sound, or wished.

    Attributes:
        brightness_hz: spectral centroid: the mean frequency, weighed by magnitude.
        noisiness: spectral flatness: geometric over arithmetic mean of the power spectrum, 0 a tone, about 0.56 white noise.
        seconds: how long it lasts.
        attack_seconds: from 10 to 90 % of the largest level.
    """

    brightness_hz: float
    noisiness: float
    seconds: float
    attack_seconds: float


@dataclass(frozen=True)
class Designed:
    """A made sound, what was wished, what is measured, and how novel it is (None without a library)."""

    sound: Sound
    wished: Described
    found: Described
    novelty: float | None = None
    nearest: str = ""

    @property
    def off_percent(self) -> float:
        """The largest relative error of the four, in per cent."""
        wished, found = asdict(self.wished), asdict(self.found)
        return 100 * max(abs(found[name] / wished[name] - 1) for name in wished)


def describe(sound: Sound) -> Described:
    """Measure a sound: mean over its channels; frames of 2,048 samples, weighed by their energy.

    Centroid and flatness of a frame are those of Peeters et al. 2011, JASA 130(5), and of librosa; the attack is read from
    root mean squares of 5 ms.

    Raises:
        DataError: silent, not finite, or shorter than 0.02 seconds; channels that cancel each other.
    """
    checked(sound, most_channels=8, least_seconds=0.02)
    checked(Sound(sound.mono()[None], sound.rate), "the mean of its channels", least_seconds=0.02)
    frames = power_frames(sound.mono()[None], WINDOW, HOP)
    energy = frames.sum(1)
    centroid, flat = _frame_values(frames, sound.rate)
    return Described(
        float(np.average(centroid, weights=energy)), float(np.average(flat, weights=energy)), sound.seconds, _attack(sound)
    )  # fmt: skip


def _frame_values(frames: Wave, rate: int) -> tuple[Wave, Wave]:
    """Centroid in Hz and flatness of each frame, ``(n, bins) -> (n,)``."""
    hz = np.fft.rfftfreq(2 * (frames.shape[1] - 1), 1 / rate)
    magnitude = np.sqrt(frames)
    safe = np.maximum(frames, 1e-10 * frames.mean(1, keepdims=True) + 1e-30)
    return (magnitude @ hz) / np.maximum(magnitude.sum(1), 1e-30), np.exp(np.log(safe).mean(1)) / safe.mean(1)


def _attack(sound: Sound) -> float:
    step = max(1, round(0.001 * sound.rate))
    square = np.square(sound.mono().astype(np.float64))
    total = np.concatenate([[0.0], np.cumsum(np.pad(square, (2 * step, 3 * step)))])
    level = np.sqrt(np.maximum(total[5 * step :] - total[: -5 * step], 0))[::step]
    top = level.max()
    end = int(np.argmax(level >= 0.9 * top))
    begin = int(np.flatnonzero(level[: end + 1] <= 0.1 * top)[-1]) if (level[: end + 1] <= 0.1 * top).any() else 0
    return max(1, end - begin) * step / sound.rate


# ---- synthesis ---------------------------------------------------------------------------------------------------------


def design(
    *, brightness_hz: float, noisiness: float, seconds: float = 2.0, attack_seconds: float = 0.02, seed: int = 0,
    rate: int = 22050, library: Sequence[tuple[str, Sound]] = (),
) -> Designed:  # fmt: skip
    """Make a sound whose measured description is what was wished, within a few per cent.

    Partials (of a string, a bell, a cluster or a voice that wavers) and noise that comes in grains are drawn from the seed; a
    slope over frequency sets the centroid, and the level of noise the flatness, each found by root finding on the measure
    itself. Given a library, six are made, and the one farthest from its nearest piece is kept.

    Args:
        brightness_hz: spectral centroid, 100 Hz to 0.3 of the rate.
        noisiness: spectral flatness, 1e-6 to 0.5.
        seconds: 0.1 to 60.
        attack_seconds: 0.005 to half of the length.
        seed: of the draws.
        rate: samples a second.
        library: names and sounds that it shall be unlike.

    Raises:
        RecipeError: a wish out of range, or two that do not go together: says what can be reached.
        DataError: a piece of the library is silent or too short.
    """
    if not 8000 <= rate <= 192_000:
        raise RecipeError(f"the rate is {rate}; give 8000 to 192000 Hz")
    for name, value, least, most in (
        ("brightness", brightness_hz, 100.0, 0.3 * rate), ("noisiness", noisiness, 1e-6, 0.5), ("seconds", seconds, 0.1, 60.0),
        ("attack", attack_seconds, 0.005, seconds / 2),
    ):  # fmt: skip
        if not least <= value <= most:
            raise RecipeError(f"{name} is {value:g}; give {least:g} to {most:g}")
    wished = Described(brightness_hz, noisiness, seconds, attack_seconds)
    made: list[Sound] = []
    for k in range(_DRAFTS):  # what one draw's tones cannot reach, another's may
        try:
            made.append(_one(wished, seed * 1009 + k, rate))
        except RecipeError as error:
            refused = error
            continue
        if not library and Designed(made[-1], wished, describe(made[-1])).off_percent <= _NEAR:
            break
    if not made:
        raise refused
    if not library:
        return min((Designed(sound, wished, describe(sound)) for sound in made), key=lambda one: one.off_percent)
    judged = [(*novelty(sound, library), sound) for sound in made]
    far, near, sound = max(judged, key=lambda row: row[0])
    return Designed(sound, wished, describe(sound), far, near)


def _one(wished: Described, seed: int, rate: int) -> Sound:
    n = round(wished.seconds * rate)
    tones, noise = _tones(wished, Rng(seed), n, rate), _grains(Rng(seed).fork("grains"), n, rate)
    attack, best = wished.attack_seconds, None
    for _ in range(6):
        sound = Sound(_shaped(tones, noise, _envelope(n, rate, attack, wished.seconds), wished, rate)[None], rate)
        found = _attack(sound)
        off = abs(found / wished.attack_seconds - 1)
        if best is None or off < best[0]:
            best = (off, sound)
        if best[0] < 0.06:
            break
        attack = max(0.001, attack + 0.8 * (wished.attack_seconds - found))
    assert best is not None
    return best[1]


def _tones(wished: Described, rng: Rng, n: int, rate: int) -> Wave:
    """Partials of a drawn kind, at equal levels up to the end of the spectrum, at most 160 of them."""
    u = rng.uniform(8).double().numpy()
    at = np.arange(n) / rate
    base = float(np.clip(wished.brightness_hz * 2 ** (-1 - 3 * u[0]), 40, 0.1 * rate))
    many = int(min(160, 0.48 * rate / base))
    k = np.arange(1, many + 1)
    kind = int(4 * u[1])
    if kind == 0:  # a stiff string (Fletcher 1964)
        hz = base * k * np.sqrt(1 + 0.001 * u[2] * k**2)
    elif kind == 1:  # a bell: no common fundamental
        hz = base * k ** (1.1 + 0.3 * u[2])
    elif kind == 2:  # a cluster
        hz = base * (k + 0.3 * np.sin(k * (1 + 5 * u[2])))
    else:
        hz = base * k.astype(float)
    waver = (0.0 if kind < 3 else 0.01) * np.sin(math.tau * (3 + 4 * u[3]) * at) / max(1e-9, math.tau * (3 + 4 * u[3]))
    phases = rng.uniform(many).double().numpy()
    beat = 0.3 * u[4] * np.sin(math.tau * (0.5 + 6 * u[5]) * at)
    out = np.zeros(n)
    for f, p in zip(hz, phases, strict=True):
        if f < 0.48 * rate:
            out += np.sin(math.tau * (f * (at + waver) + p))
    return np.asarray(out * (1 + beat) / math.sqrt(many))


def _grains(rng: Rng, n: int, rate: int) -> Wave:
    """White noise whose level wanders by a few dB a few times in a second."""
    u = rng.uniform(2).double().numpy()
    x = rng.normal(n).double().numpy()
    many = max(2, round(n / rate * (2 + 10 * u[0])))
    level = rng.uniform(many + 1).double().numpy()
    return np.asarray(x * (1 - 0.6 * u[1] * np.interp(np.arange(n) / n * many, np.arange(many + 1), level)))


def _envelope(n: int, rate: int, attack: float, seconds: float) -> Wave:
    at = np.arange(n) / rate
    rise = np.minimum(at / max(1e-4, attack / 0.8), 1)
    fall = np.exp(-1.5 * np.maximum(at - attack / 0.8, 0) / seconds)
    return np.asarray(rise * fall * np.minimum(1, (seconds - at) / min(0.02, 0.1 * seconds)))


def _shaped(tones: Wave, noise: Wave, envelope: Wave, wished: Described, rate: int) -> NDArray[np.float32]:
    """Tones and noise under one slope and with this level over time, so that the whole has the centroid and flatness wished."""
    size = frame_size(rate, 0.2)
    n = len(tones)
    whole, even = next_fast_len(n + size, real=True), max(3, round(0.005 * rate))
    hz = np.fft.rfftfreq(whole, 1 / rate)
    octave = np.log2(np.maximum(hz, 20.0) / 1000)
    parts = np.fft.rfft(np.stack([tones, noise]), whole) / (1 + hz / _knee(wished.brightness_hz, rate))

    def made(tilt: float, level: float) -> Wave:
        slope = 10 ** (np.clip(tilt * octave, -140, 60) / 20)
        x = np.fft.irfft((parts[0] + 10 ** (level / 20) * parts[1]) * slope, whole)[:n]
        x *= envelope / np.sqrt(np.maximum(uniform_filter1d(x * x, even), 1e-20))  # beats would hide the attack
        return np.asarray(0.7 * x / max(float(np.abs(x).max()), 1e-12))

    def seen(tilt: float, level: float) -> tuple[float, float]:
        frames = power_frames(made(tilt, level)[None], WINDOW, 2 * HOP)
        centroid, flat = _frame_values(frames, rate)
        energy = frames.sum(1)
        return float(np.average(centroid, weights=energy)), float(np.average(flat, weights=energy))

    def tilt_of(level: float) -> float:
        low, high = _TILTS
        off = lambda tilt: math.log(seen(tilt, level)[0] / wished.brightness_hz)  # noqa: E731
        if off(low) > 0 or off(high) < 0:
            return low if off(low) > 0 else high
        return float(brentq(off, low, high, xtol=0.05, maxiter=20))

    def flat_off(level: float) -> float:
        return math.log(seen(tilt_of(level), level)[1] / wished.noisiness)

    low, high = _NOISES
    least, most = flat_off(low), flat_off(high)
    if least > 0 or most < 0:
        reach = wished.noisiness * math.exp(least if least > 0 else most)
        raise RecipeError(
            f"a sound of {wished.brightness_hz:g} Hz at {rate} Hz has a noisiness {'from' if least > 0 else 'up to'} {reach:.2g}; {wished.noisiness:g} does not go with it"
        )
    level = float(brentq(flat_off, low, high, xtol=0.2, maxiter=20))
    x = made(tilt_of(level), level)
    return x.astype(np.float32)


def _knee(brightness: float, rate: int) -> float:
    """Where a spectrum of magnitudes ``1 / (1 + f / knee)`` has that centroid: of all spectra with it, the flattest."""
    f = np.linspace(0, rate / 2, 4097)

    def off(log_knee: float) -> float:
        shape = 1 / (1 + f / math.exp(log_knee))
        return float(shape @ f / shape.sum()) - brightness

    low, high = math.log(1.0), math.log(1e6)
    return math.exp(low if off(low) > 0 else high if off(high) < 0 else float(brentq(off, low, high)))


# ---- novelty -----------------------------------------------------------------------------------------------------------


def _features(sound: Sound) -> Wave:
    """Third octaves of a sound less their mean, their change over time, and its length: what it is like, not how loud."""
    middles = third_octaves(min(sound.rate, 16000), 60)
    size = frame_size(sound.rate, 0.046)
    levels = db(bands(np.fft.rfftfreq(size, 1 / sound.rate), power_frames(sound.mono()[None], size), middles))
    top = levels.max()
    levels = np.maximum(levels, top - 60)
    thirds = np.stack([part.mean(0) for part in np.array_split(levels, 3)]) if len(levels) >= 3 else np.repeat(levels[:1], 3, 0)  # fmt: skip
    return np.concatenate([(thirds - levels.mean()).ravel(), [6 * math.log2(max(sound.seconds, 0.05))]])


def novelty(sound: Sound, library: Sequence[tuple[str, Sound]]) -> tuple[float, str]:
    """How far a sound is from the nearest piece of a library, and that piece's name; 1 is as far as its pieces lie apart.

    The distance of thirds' spectra and length, over the median distance of a piece of the library to its nearest other.

    Raises:
        DataError: fewer than two pieces, or one that is silent or too short.
    """
    if len(library) < 2:
        raise DataError(f"a library of {len(library)} piece(s) says nothing of novelty; give at least two")
    names = [name for name, _ in library]
    known = np.stack([_features(checked(s, name, 8, 0.02)) for name, s in library])
    apart = np.linalg.norm(known[:, None] - known[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    usual = max(float(np.median(apart.min(1))), 1e-9)
    away = np.linalg.norm(known - _features(sound)[None], axis=1)
    return float(away.min() / usual), names[int(away.argmin())]
