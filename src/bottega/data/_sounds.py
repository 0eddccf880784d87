"""Made worlds of sound: tones of known pitch, noise of known colour, formant speech of known words, stems of known mixes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError, Item, Rng, Sound
from bottega.data._draw import LICENCE, SOURCE, Draw
from bottega.data.dataset import Dataset

__all__ = ["NOTES", "VOICES", "WORDS", "multitrack", "noises", "speech", "spoken", "tones"]

Wave = NDArray[np.float64]

NOTES = {"C4": 261.63, "D4": 293.66, "E4": 329.63, "F4": 349.23, "G4": 392.0, "A4": 440.0, "B4": 493.88, "C5": 523.25}
"""The classes of ``tones``: names of notes and their frequencies in Hz (equal temperament, A4 = 440 Hz)."""


def _check(world: str, n: int, seconds: float, rate: int) -> None:
    if n < 1 or not seconds > 0 or rate < 4000:
        raise DataError(f"{world} with n={n}, seconds={seconds}, rate={rate}: at least 1, above 0 and at least 4000")


def _named(rows: Sequence[tuple[Wave, str | None]], rate: int, what: str) -> list[Item]:
    return [Item(Sound(x[None].astype(np.float32), rate), label, f"{what} {i}") for i, (x, label) in enumerate(rows)]


# ---- tones and noise ---------------------------------------------------------------------------------------------------


def tones(*, n: int = 800, seconds: float = 1.024, rate: int = 16000, seed: int = 0) -> Dataset:
    """One note each, of eight: a fundamental within 10 cents of it and up to 8 overtones, struck or swelling.

    Args:
        n: recordings; the notes take turns.
        seconds: of each.
        rate: samples a second.
        seed: of timbres, levels and attacks.
    """
    _check("tones", n, seconds, rate)
    rng = Rng(seed)
    u = rng.uniform(n, 16).double().numpy()
    noise = rng.normal(n, round(seconds * rate)).double().numpy()
    at = np.arange(noise.shape[1]) / rate
    names = list(NOTES)
    rows, pitches = [], []
    for i in range(n):
        name = names[i % len(names)]
        hz = NOTES[name] * 2 ** ((2 * u[i, 0] - 1) * 10 / 1200)
        fall = 0.3 + 0.5 * u[i, 1]  # each overtone's part of the one before
        many = 2 + int(6 * u[i, 2])
        parts = [(fall**k, (k + 1) * hz, u[i, 8 + k]) for k in range(many) if (k + 1) * hz < rate / 2]
        x = sum(a * np.sin(math.tau * (f * at + p)) for a, f, p in parts)
        attack, decay = 0.005 + 0.1 * u[i, 3], 0.15 + 0.8 * u[i, 4]
        start = 0.1 * u[i, 5] * seconds
        since = np.maximum(at - start, 0)
        x = x * np.minimum(since / attack, 1) * np.exp(-since / decay)
        x = (0.3 + 0.5 * u[i, 6]) * x / max(np.abs(x).max(), 1e-9) + 3e-4 * noise[i]
        rows.append((x.clip(-1, 1), name))
        pitches.append(hz)

    def read(samples: NDArray[Any], rate: int) -> str:
        """The note of a recording ``(n,)`` by its harmonics (sum over overtones of the spectrum's level); "" of silence."""
        x = np.asarray(samples, np.float64)
        if np.sqrt(np.mean(x**2)) < 1e-3:
            return ""
        spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 1 << 16))
        bins = np.fft.rfftfreq(1 << 16, 1 / rate)
        heard = {}
        for name, hz in NOTES.items():
            level = 0.0
            for k in (1, 2, 3):
                near = np.abs(bins - k * hz) < 0.02 * k * hz
                level += spectrum[near].max(initial=0.0) / k
            heard[name] = level
        return max(heard, key=lambda name: heard[name])

    def good(sounds: Sequence[Sound], asked: Sequence[str]) -> float:
        """The share of sounds whose note is the one that was asked for."""
        return sum(read(s.mono(), s.rate) == a for s, a in zip(sounds, asked, strict=True)) / len(sounds)

    truth = {"pitch_hz": pitches, "notes": dict(NOTES), "read": read, "good": good}
    return Dataset(
        "tones", "audio", _named(rows, rate, "tone"), LICENCE, SOURCE, "single notes of eight pitches", truth
    )


def noises(*, n: int = 200, seconds: float = 1.0, rate: int = 16000, seed: int = 0) -> Dataset:
    """Noise of a known colour: its power falls as ``f^-a``, ``a`` 0 (white), 1 (pink) or 2 (brown); the label is the colour.

    Args:
        n: recordings; the colours take turns.
        seconds: of each.
        rate: samples a second.
        seed: of the draws.
    """
    _check("noises", n, seconds, rate)
    length = round(seconds * rate)
    draws = Rng(seed).normal(n, length).double().numpy()
    colours = ("white", "pink", "brown")
    rows = []
    for i, x in enumerate(draws):
        spectrum = np.fft.rfft(x) / np.maximum(np.arange(length // 2 + 1), 1) ** (i % 3 / 2)
        made = np.fft.irfft(spectrum, length)
        rows.append((0.1 * made / np.sqrt(np.mean(made**2)), colours[i % 3]))
    rows = [(x.clip(-1, 1), label) for x, label in rows]
    truth = {"slope": {"white": 0.0, "pink": 1.0, "brown": 2.0}}
    return Dataset("noises", "audio", _named(rows, rate, "noise"), LICENCE, SOURCE, "noise of three colours", truth)


# ---- formant speech ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Phone:
    """What a sound of speech is made of: formants in Hz, level of voice and of noise, the noise's middle, and seconds."""

    formants: tuple[float, float, float]
    voice: float
    noise: float
    middle: float
    seconds: float


# Vowels by Peterson and Barney 1952 (men's means); consonants by Klatt 1980, table II, in broad strokes.
_PHONES = {
    "a": _Phone((730, 1090, 2440), 1.0, 0.0, 0, 0.13), "e": _Phone((530, 1840, 2480), 1.0, 0.0, 0, 0.12),
    "i": _Phone((270, 2290, 3010), 1.0, 0.0, 0, 0.12), "o": _Phone((570, 840, 2410), 1.0, 0.0, 0, 0.13),
    "u": _Phone((300, 870, 2240), 1.0, 0.0, 0, 0.12), "r": _Phone((420, 1300, 1600), 0.7, 0.0, 0, 0.07),
    "l": _Phone((360, 1100, 2600), 0.7, 0.0, 0, 0.07), "m": _Phone((250, 1000, 2200), 0.5, 0.0, 0, 0.08),
    "n": _Phone((250, 1500, 2500), 0.5, 0.0, 0, 0.08), "v": _Phone((300, 1200, 2300), 0.4, 0.08, 5000, 0.06),
    "z": _Phone((300, 1600, 2600), 0.4, 0.2, 6000, 0.08), "s": _Phone((300, 1600, 2600), 0.0, 0.4, 6200, 0.1),
    "f": _Phone((300, 1200, 2300), 0.0, 0.15, 4500, 0.09), "h": _Phone((500, 1500, 2500), 0.0, 0.12, 2000, 0.06),
    "t": _Phone((400, 1800, 2700), 0.0, 0.5, 4500, 0.03), "k": _Phone((300, 1900, 2500), 0.0, 0.5, 2500, 0.03),
    "_": _Phone((400, 1500, 2500), 0.0, 0.0, 0, 0.05),
}  # fmt: skip

WORDS = {
    "zero": "zero", "one": "uan", "two": "_tu", "three": "fri", "four": "for", "five": "faiv", "six": "si_ks",
    "seven": "seven", "eight": "ei_t", "nine": "nain",
}  # fmt: skip
"""The words of ``speech``, each with its sounds."""

VOICES = {"bass": (95.0, 0.92), "tenor": (135.0, 1.0), "alto": (190.0, 1.08), "soprano": (250.0, 1.17)}
"""The voices of ``speech``: their middle F0 in Hz, and what their formants are multiplied by."""


def spoken(words: Sequence[str], voice: str, rng: Rng, rate: int = 16000) -> tuple[Wave, Wave]:
    """Words in a voice, and its F0: ``(n,)`` samples within [-1, 1], and Hz at each sample, 0 where nothing is voiced.

    A cascade of formant resonators (Klatt 1980, Software for a cascade/parallel formant synthesizer) over a train of
    glottal pulses (Rosenberg 1971) and noise; F0 falls by a fifth over the words and wavers by 1 %.

    Args:
        words: of ``WORDS``.
        voice: of ``VOICES``.
        rng: of tempo, pitch, level and noise; one stream.
        rate: samples a second.

    Raises:
        DataError: an unknown word or voice.
    """
    unknown = [w for w in words if w not in WORDS] + ([voice] if voice not in VOICES else [])
    if unknown:
        raise DataError(f"{unknown[0]!r} is neither a word ({', '.join(WORDS)}) nor a voice ({', '.join(VOICES)})")
    middle, longer = VOICES[voice]
    u = rng.uniform(6).double().numpy()
    tempo = 0.85 + 0.35 * u[0]
    phones = [_PHONES[p] for word in words for p in f"_{WORDS[word]}_"]
    step = rate // 200  # a frame of 5 ms
    frames = [max(1, round(p.seconds * tempo * rate / step)) for p in phones]
    track = np.repeat(np.array([[*p.formants, p.voice, p.noise, p.middle or 3000] for p in phones]), frames, axis=0)
    smooth = np.hanning(9)[1:-1] / np.hanning(9).sum()  # sounds glide into each other over 35 ms
    padded = np.pad(track, ((3, 3), (0, 0)), "edge")
    track = np.stack([np.convolve(padded[:, k], smooth, "valid") for k in range(track.shape[1])], 1)
    n = len(track) * step
    at = np.arange(n) / n
    f0 = middle * 2 ** ((2 * u[1] - 1) / 6) * (1.1 - 0.2 * at) * (1 + 0.01 * np.sin(math.tau * 5 * at * n / rate))
    phase = np.cumsum(f0 / rate)
    within = phase % 1
    pulse = np.where(within < 0.4, 0.5 * (1 - np.cos(math.pi * within / 0.4)),
                     np.where(within < 0.56, np.cos(math.pi / 2 * (within - 0.4) / 0.16), 0.0))  # fmt: skip
    glottis = np.diff(pulse, prepend=0.0) * rate / 4000
    hiss = rng.normal(n).double().numpy()
    levels = np.repeat(track[:, 3:5], step, axis=0)
    source = glottis * levels[:, 0] + 0.003 * hiss * levels[:, 0]
    out = _resonated(source, track[:, :3] * longer, rate, step)
    breath = _banded(hiss * levels[:, 1], track[:, 5] * longer, rate, step)
    made = out / max(np.abs(out).max(), 1e-9) + 0.25 * breath
    made *= (0.35 + 0.35 * u[2]) / max(np.abs(made).max(), 1e-9)
    return made, np.where(levels[:, 0] > 0.25, f0, 0.0)


def _resonated(x: Wave, formants: Wave, rate: int, step: int) -> Wave:
    """A cascade of two-pole resonators whose places move from frame to frame; and a fixed fourth and fifth."""
    from scipy.signal import lfilter  # slow to import, and whoever asks for a world imports this file

    fixed = np.broadcast_to([3500.0, 4500.0], (len(formants), 2))
    widths = (80.0, 100.0, 140.0, 250.0, 300.0)
    for k, places in enumerate(np.concatenate([formants, fixed], 1).T):
        if places.max() > 0.48 * rate:
            continue
        radius = math.exp(-math.pi * widths[k] / rate)
        out, state = np.empty_like(x), np.zeros(2)
        for i, hz in enumerate(places):
            b, c = 2 * radius * math.cos(math.tau * hz / rate), -(radius**2)
            part = slice(i * step, (i + 1) * step)
            out[part], state = lfilter([1 - b - c], [1, -b, -c], x[part], zi=state)
        x = out
    return x


def _banded(x: Wave, middles: Wave, rate: int, step: int) -> Wave:
    """Noise through one wide resonator whose middle moves."""
    from scipy.signal import lfilter

    out, state = np.empty_like(x), np.zeros(2)
    for i, hz in enumerate(np.minimum(middles, 0.4 * rate)):
        radius = math.exp(-math.pi * 1500 / rate)
        b, c = 2 * radius * math.cos(math.tau * hz / rate), -(radius**2)
        part = slice(i * step, (i + 1) * step)
        out[part], state = lfilter([1 - radius], [1, -b, -c], x[part], zi=state)
    return out


def speech(*, n: int = 600, words: int = 1, rate: int = 16000, label: str = "word", seed: int = 0) -> Dataset:
    """Synthetic speech of ten words in four voices; ``truth`` has words, voices and the F0 of each piece.

    Args:
        n: recordings.
        words: in each.
        rate: samples a second.
        label: ``"word"`` (the words), ``"voice"``, ``"both"`` (``seven alto``), ``"transcript"`` (``alto|seven``) or ``"none"``.
        seed: of words, voices and all that varies.
    """
    _check("speech", n, 1.0, rate)
    if words < 1 or label not in {"word", "voice", "both", "transcript", "none"}:
        raise DataError(
            f"speech with words={words}, label={label!r}: at least 1, and 'word', 'voice', 'both', 'transcript' or 'none'"
        )
    draw, rows, said, voices, f0s = Draw(seed), [], [], [], []
    for i in range(n):
        chosen, voice = [draw.of(list(WORDS)) for _ in range(words)], draw.of(list(VOICES))
        x, f0 = spoken(chosen, voice, Rng(seed * 1_000_003 + i), rate)
        text = " ".join(chosen)
        known = {"word": text, "voice": voice, "both": f"{text} {voice}", "transcript": f"{voice}|{text}", "none": None}
        rows.append((x, known[label]))
        said.append(text)
        voices.append(voice)
        f0s.append(f0)
    truth = {"words": said, "voices": voices, "f0_hz": f0s}
    return Dataset("speech", "audio", _named(rows, rate, "speech"), LICENCE, SOURCE,
                   "formant speech of ten words in four voices", truth)  # fmt: skip


# ---- stems and mixes ---------------------------------------------------------------------------------------------------

STEMS = ("drums", "bass", "chords", "lead")


def multitrack(*, n: int = 4, seconds: float = 8.0, rate: int = 22050, seed: int = 0) -> Dataset:
    """Mixes of four stems (drums, bass, chords, lead) whose levels and places are known.

    A piece is the stereo mix. ``truth["stems"]`` has for each piece the stems by name, mono, as they would be recorded:
    at any level. ``truth["gains_db"]`` and ``truth["pans"]`` (-1 left to 1 right) are what the mix was made with:
    ``sum 10^(gain/20) stem (cos a, sin a)``, ``a = (pan + 1) pi / 4`` (the constant-power law).

    Args:
        n: mixes.
        seconds: of each.
        rate: samples a second.
        seed: of notes, levels and places.
    """
    _check("multitrack", n, seconds, rate)
    mixes, stems, gains, pans = [], [], [], []
    for i in range(n):
        draw, rng = Draw(seed * 1009 + i), Rng(seed * 1009 + i)
        made = _band(draw, rng, seconds, rate)
        gain = {name: -24 + 24 * float(rng.uniform(1)) for name in STEMS}
        pan = {
            name: round(1.6 * float(rng.uniform(1)) - 0.8, 2) if name in {"chords", "lead"} else 0.0 for name in STEMS
        }
        balanced = {name: _placed(made[name], pan[name]) for name in STEMS}
        mix = sum(balanced.values())
        peak = float(np.abs(mix).max())
        mix, down = mix / max(1.0, peak / 0.9), min(0.0, 20 * math.log10(0.9 / peak))
        recorded = {}
        for name in STEMS:  # a stem comes as loud as its gain takes back
            raw = made[name] * 10 ** (-gain[name] / 20)
            trim = max(1.0, float(np.abs(raw).max()) / 0.95)
            gain[name] += 20 * math.log10(trim) + down
            recorded[name] = Sound((raw / trim)[None].astype(np.float32), rate)
        mixes.append(Item(Sound(mix.astype(np.float32), rate), None, f"mix {i}"))
        stems.append(recorded)
        gains.append(gain)
        pans.append(pan)
    truth = {"stems": stems, "gains_db": gains, "pans": pans}
    return Dataset("multitrack", "audio", mixes, LICENCE, SOURCE, "stereo mixes of four stems of known levels", truth)


def _placed(x: Wave, pan: float) -> Wave:
    angle = (pan + 1) * math.pi / 4
    return np.stack([math.cos(angle) * x, math.sin(angle) * x])


def _band(draw: Draw, rng: Rng, seconds: float, rate: int) -> dict[str, Wave]:
    """The four stems of one piece, each at about the same loudness (a fixed K-weighted level)."""
    n = round(seconds * rate)
    beat = 60 / draw.between(90, 130)
    root = 41.2 * 2 ** (draw.below(12) / 12)
    out = {name: np.zeros(n) for name in STEMS}
    chords = [(0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14)]

    def put(name: str, start: float, x: Wave) -> None:
        a = round(start * rate)
        out[name][a : a + len(x)] += x[: max(0, n - a)]

    for b in range(math.ceil(seconds / beat)):
        start, chord = b * beat, chords[b // 4 % 4]
        put("drums", start, _kick(rate) if b % 2 == 0 else _snare(rng, rate))
        for half in (0.0, 0.5):
            put("drums", start + half * beat, 0.3 * _hat(rng, rate))
        put("bass", start, _pluck(root * 2 ** (chord[0] / 12), 0.9 * beat, rate, 6, 0.6))
        if b % 4 == 0:
            for tone in chord:
                put("chords", start, _pluck(4 * root * 2 ** (tone / 12), 3.8 * beat, rate, 8, 1.5))
        for half in (0.0, 0.5):
            if draw.chance(0.7):
                tone = draw.of(chord) + draw.of([0, 12])
                put("lead", start + half * beat, _pluck(8 * root * 2 ** (tone / 12), 0.6 * beat, rate, 5, 0.3))
    return {name: x * 10 ** ((-23 - _loudness_db(x, rate)) / 20) for name, x in out.items()}


def _loudness_db(x: Wave, rate: int) -> float:
    """K-weighted level of the whole, dB (ITU-R BS.1770-4 without gates, shelf and high-pass at any rate)."""
    spectrum = np.abs(np.fft.rfft(x)) ** 2
    hz = np.maximum(np.fft.rfftfreq(len(x), 1 / rate), 1e-3)
    high = 1 / (1 + (38.0 / hz) ** 4)
    shelf = 1 + (10 ** (4 / 10) - 1) / (1 + (1500.0 / hz) ** 4)
    return 10 * math.log10(2 * float((spectrum * high * shelf).sum()) / len(x) ** 2 + 1e-20) - 0.691


def _pluck(hz: float, seconds: float, rate: int, many: int, decay: float) -> Wave:
    at = np.arange(max(1, round(seconds * rate))) / rate
    x = sum(0.6**k * np.sin(math.tau * (k + 1) * hz * at) for k in range(many) if (k + 1) * hz < 0.45 * rate)
    edge = np.minimum(1, np.minimum(at / 0.005, (at[-1] - at) / 0.01))
    return np.asarray(x) * np.exp(-at / decay) * edge


def _kick(rate: int) -> Wave:
    at = np.arange(round(0.25 * rate)) / rate
    return 1.5 * np.sin(math.tau * np.cumsum(50 + 120 * np.exp(-at / 0.03)) / rate) * np.exp(-at / 0.08)


def _snare(rng: Rng, rate: int) -> Wave:
    at = np.arange(round(0.2 * rate)) / rate
    return (0.6 * rng.normal(len(at)).double().numpy() + 0.5 * np.sin(math.tau * 190 * at)) * np.exp(-at / 0.06)


def _hat(rng: Rng, rate: int) -> Wave:
    from scipy.signal import sosfilt

    at = np.arange(round(0.06 * rate)) / rate
    high = np.array([[0.25, -0.5, 0.25, 1.0, 0.3, 0.1]])
    return sosfilt(high, rng.normal(len(at)).double().numpy()) * np.exp(-at / 0.02) * 2
