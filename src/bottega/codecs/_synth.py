"""Sound of a score: an additive synthesiser of a few instruments, or the program fluidsynth where ``SOUNDFONT`` asks for it."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bottega.core import BottegaError, DataError
from bottega.core.score import Score

__all__ = ["RATE", "fluidsynth", "played", "render", "wav_bytes"]

RATE = 44_100  # samples a second
MOST_SECONDS = 3600.0
PEAK = 10 ** (-1 / 20)  # of a rendered piece: -1 dBFS
_HARMONICS = 24


@dataclass(frozen=True)
class _Timbre:
    """How one instrument sounds; harmonics beyond half the sample rate are never made, so nothing folds back.

    Attributes:
        slope: amplitude of harmonic ``h`` is ``h ** -slope``, times its formants'.
        decay: seconds in which the fundamental of middle C falls to a third; 0 sustains. Higher harmonics and notes fall faster.
        attack, release: seconds.
        odd: share of even harmonics that is left out (a clarinet has few).
        formants: ``(hertz, gain)`` peaks.
        loud: against the others.
    """

    slope: float
    decay: float
    attack: float
    release: float
    odd: float = 0.0
    formants: tuple[tuple[float, float], ...] = ()
    loud: float = 1.0


_STRUCK = _Timbre(1.6, 1.4, 0.004, 0.08)
_BELL = _Timbre(1.1, 0.9, 0.002, 0.3, 0.5)
_ORGAN = _Timbre(1.3, 0.0, 0.03, 0.06, loud=0.7)
_PLUCKED = _Timbre(1.2, 0.55, 0.002, 0.06)
_BASS = _Timbre(1.8, 0.9, 0.004, 0.06)
_BOWED = _Timbre(1.15, 0.0, 0.07, 0.12, loud=0.6)
_CHOIR = _Timbre(1.5, 0.0, 0.06, 0.14, formants=((650.0, 3.0), (1100.0, 2.0), (2800.0, 1.2)), loud=0.8)
_BRASS = _Timbre(0.95, 0.0, 0.035, 0.07, formants=((1000.0, 1.5),), loud=0.6)
_REED = _Timbre(1.0, 0.0, 0.03, 0.06, 0.75, loud=0.7)
_FLUTE = _Timbre(2.4, 0.0, 0.05, 0.08)
_BY_FAMILY = (_STRUCK, _BELL, _ORGAN, _PLUCKED, _BASS, _BOWED, _CHOIR, _BRASS, _REED, _FLUTE,
              _REED, _BOWED, _BELL, _PLUCKED, _BELL, _BELL)  # fmt: skip  # of General MIDI: eight programs each


def _timbre(program: int) -> _Timbre:
    return _CHOIR if program in {52, 53, 54} else _BOWED if program == 55 else _BY_FAMILY[program // 8]


@lru_cache(maxsize=512)
def _tone(program: int, pitch: int, samples: int, rate: int) -> NDArray[np.float32]:
    """One note at full velocity, held for ``samples`` and then released, float32."""
    kind = _timbre(program)
    f0 = 440.0 * 2 ** ((pitch - 69) / 12)
    tail = round(kind.release * rate)
    t = np.arange(samples + tail) / rate
    out = np.zeros(len(t))
    count = min(_HARMONICS, int(0.45 * rate / f0))
    total = 0.0
    for h in range(1, max(1, count) + 1):
        hertz = h * f0
        gain = h**-kind.slope * (1 - kind.odd if h % 2 == 0 else 1.0)
        for centre, peak in kind.formants:
            gain *= 1 + (peak - 1) * math.exp(-(((hertz - centre) / (0.25 * centre)) ** 2))
        total += gain
        wave = np.sin(math.tau * hertz * t + 0.7 * h * h)  # phases apart, so that peaks do not pile up
        if kind.decay:
            wave *= np.exp(-t * (f0 / 261.6) ** 0.5 * h**0.7 / kind.decay)
        out += gain * wave
    envelope = np.minimum(1.0, t / kind.attack)
    if tail:
        envelope[samples:] *= np.linspace(1, 0, tail) ** 2
    return (out * envelope * (kind.loud / total)).astype(np.float32)


@lru_cache(maxsize=64)
def _hit(pitch: int, rate: int) -> NDArray[np.float32]:
    """One stroke of a drum: a falling sine for drums with a skin, noise for the others; always the same."""
    noise = np.random.default_rng(pitch).standard_normal(rate // 3)
    t = np.arange(rate // 3) / rate
    if pitch in {35, 36, 41, 43, 45, 47, 48, 50}:
        low = 50.0 + 4.0 * (pitch - 35)
        return (np.sin(math.tau * (low * t + 0.9 * (1 - np.exp(-t * 40)))) * np.exp(-t * 14)).astype(np.float32)
    fall = 18.0 if pitch in {38, 40} else 9.0 if pitch in {46, 49, 51, 57} else 45.0
    return (0.4 * noise * np.exp(-t * fall)).astype(np.float32)


def render(score: Score, rate: int = RATE) -> NDArray[np.float32]:
    """The piece as sound, ``(samples, 2)`` float32, its peak at -1 dBFS; silence where no note sounds.

    Equal temperament, A4 = 440 Hz. Parts stand side by side from left to right, as loud on both sides together.

    Raises:
        DataError: it is longer than an hour.
    """
    if score.seconds > MOST_SECONDS:
        raise DataError(
            f"the piece lasts {score.seconds:.0f} seconds; the most to render is {MOST_SECONDS:.0f}: cut it"
        )
    out = np.zeros((round(score.seconds * rate) + rate // 2, 2), np.float32)
    sides = _sides(len(score.parts))
    for n in score.notes:
        start = round(score.time_of(n.onset) * rate)
        held = max(1, round(score.time_of(n.onset + n.duration) * rate) - start)
        part = score.parts[n.part]
        tone = _hit(n.pitch, rate) if part.drums else _tone(part.program, n.pitch, held, rate)
        tone = tone[: len(out) - start]
        out[start : start + len(tone)] += (n.velocity / 127) ** 1.5 * tone[:, None] * sides[n.part]
    loudest = float(np.abs(out).max(initial=0.0))
    return out * np.float32(PEAK / loudest) if loudest > 0 else out


def _sides(parts: int) -> NDArray[np.float32]:
    """Gains ``(parts, 2)`` left and right, of equal power."""
    place = np.linspace(-0.5, 0.5, parts) if parts > 1 else np.zeros(1)
    angle = (place + 1) * math.pi / 4
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


def wav_bytes(sound: NDArray[np.float32], rate: int = RATE, mark: Mapping[str, str] | None = None) -> bytes:
    """A 16-bit WAV of sound ``(samples, channels)`` in [-1, 1]; ``mark`` as JSON in the comment of its INFO list."""
    pcm = np.clip(np.round(sound * 32767), -32768, 32767).astype("<i2").tobytes()
    channels = sound.shape[1]
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    chunks = [(b"fmt ", form), (b"data", pcm)]
    if mark is not None:
        chunks.append((b"LIST", _info(mark)))
    body = b"WAVE" + b"".join(_chunk(name, data) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _info(mark: Mapping[str, str]) -> bytes:
    said = json.dumps(dict(mark), ensure_ascii=False).encode() + b"\0"
    made = mark.get("software", "bottega").encode() + b"\0"
    return b"INFO" + _chunk(b"ICMT", said) + _chunk(b"ISFT", made)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def played(score: Score, midi: Callable[[], bytes], rate: int = RATE) -> NDArray[np.float32]:
    """The piece as sound, ``(samples, 2)``: by fluidsynth where ``SOUNDFONT`` in the environment names a soundfont, else ``render``.

    Args:
        score: the piece.
        midi: makes the MIDI file of it.
        rate: samples a second.

    Raises:
        BottegaError: there is no such soundfont or no fluidsynth, or it failed.
    """
    font = os.environ.get("SOUNDFONT", "")
    return fluidsynth(midi(), Path(font), rate) if font else render(score, rate)


def fluidsynth(midi: bytes, font: Path, rate: int = RATE) -> NDArray[np.float32]:
    """The sound of a MIDI file by the program fluidsynth and a soundfont, ``(samples, 2)``, its peak at -1 dBFS.

    Raises:
        BottegaError: no such program or soundfont, or the program failed.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise BottegaError(
            "SOUNDFONT is set, but the program fluidsynth is not installed; install it, or unset SOUNDFONT"
        )
    if not font.is_file():
        raise BottegaError(
            f"SOUNDFONT is {font}, and there is no such file; give a soundfont (.sf2, .sf3), or unset it"
        )
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "piece.mid"), Path(folder, "piece.wav")
        source.write_bytes(midi)
        done = subprocess.run(
            [program, "-ni", "-q", "-F", str(made), "-r", str(rate), "-O", "s16", str(font), str(source)],
            capture_output=True, timeout=600, check=False,
        )  # fmt: skip
        if done.returncode or not made.is_file():
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise BottegaError(
                f"fluidsynth failed ({said[-1] if said else done.returncode}); render with our own synthesiser"
            )
        import wave

        with wave.open(str(made)) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    sound = pcm.astype(np.float32) / 32768
    loudest = float(np.abs(sound).max(initial=0.0))
    return sound * np.float32(PEAK / loudest) if loudest > 0 else sound
