"""A mouth that moves with speech: how far it is open in each frame of a film, by level and by the sounds that are said."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bottega.codecs._spoken_files import spoken_sound
from bottega.core import DataError, RecipeError, Sound
from bottega.core.files import check_place, write_atomically
from bottega.nets.spectrogram import fitted, stft

__all__ = ["Mouth", "Sounding", "aligned", "draw_mouth", "mouth", "openness", "write_mouth"]

VOICE_HZ = (150.0, 4000.0)  # of vowels and voiced consonants; hum lies below, most of s and of hiss above
RANGE_DB = 40.0  # below the loud, from where lips stay closed
LOUDNESS = 0.3  # of power: Stevens 1955, "The measurement of loudness"
LONGEST = 300.0  # seconds that are drawn
MOST_DRAWN = 50.0  # frames of a GIF a second: what players show a frame of 0 or 10 ms for is 100 ms
_SIDE = 160  # pixels of a drawing

# How far apart lips are, and how wide: vowels by their height and rounding (the IPA's chart), consonants by the groups that
# lip-readers tell apart (Fisher 1968, "Confusions among visually perceived consonants").
_SHAPES: dict[str, tuple[float, float]] = {
    "p": (0, 0.5), "b": (0, 0.5), "m": (0, 0.5), "f": (0.1, 0.5), "v": (0.1, 0.5),
    "w": (0.2, 0.1), "r": (0.3, 0.3), "S": (0.3, 0.2), "Z": (0.3, 0.2), "t": (0.25, 0.6), "d": (0.25, 0.6), "n": (0.3, 0.6),
    "s": (0.2, 0.7), "z": (0.2, 0.7), "l": (0.35, 0.6), "T": (0.3, 0.6), "D": (0.3, 0.6), "k": (0.4, 0.5), "g": (0.4, 0.5),
    "N": (0.4, 0.5), "j": (0.35, 0.8), "h": (0.5, 0.5), "i": (0.4, 1.0), "I": (0.45, 0.8), "e": (0.6, 0.8), "E": (0.7, 0.7),
    "a": (1.0, 0.7), "A": (1.0, 0.6), "0": (0.95, 0.4), "V": (0.75, 0.5), "@": (0.55, 0.5), "3": (0.55, 0.4),
    "O": (0.7, 0.2), "o": (0.6, 0.1), "u": (0.35, 0.0), "U": (0.4, 0.1), "y": (0.35, 0.1), "x": (0.4, 0.5), "c": (0.35, 0.6),
    "q": (0.4, 0.5),
}  # fmt: skip
_PAUSES = {"", "^", " ", "$", ",", ".", "?", "!", "_", "_:"}


@dataclass(frozen=True)
class Sounding:
    """A sound of speech and when it is said, in seconds from the beginning of the recording."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Mouth:
    """A mouth over time.

    Attributes:
        opening: ``(frames,)`` from 0 (lips closed) to 1.
        width: ``(frames,)`` from 0 (rounded) to 1 (spread); 0.5 where no sounds are known.
        fps: frames a second; frame ``k`` is what is seen from ``k / fps`` to ``(k + 1) / fps``.
        sounds: what is said in the middle of each frame, "" in pauses; empty where no sounds are known.
    """

    opening: NDArray[np.float64]
    width: NDArray[np.float64]
    fps: float
    sounds: tuple[str, ...] = ()


def openness(name: str) -> tuple[float, float]:
    """How far apart and how wide lips are for a sound in espeak-ng's names, or a letter: two numbers from 0 to 1.

    >>> openness("'A:")[0] > openness("I")[0] > openness("m")[0]
    True
    """
    if name in _PAUSES:
        return 0.0, 0.5
    bare = name.lstrip("',%=")
    for key in (bare[:1], bare[:1].lower()):
        if key in _SHAPES:
            return _SHAPES[key]
    return 0.5, 0.5


def _frames(sound: Sound, fps: float) -> int:
    if not (1 <= fps <= 120):
        raise RecipeError(f"a mouth of {fps:g} frames a second; give 1 to 120")
    spoken_sound(sound, "the recording")
    return math.ceil(sound.seconds * fps - 1e-9)


def _each(values: NDArray[np.float64], seconds: NDArray[np.float64], frames: int, fps: float) -> NDArray[np.float64]:
    """The mean of values at given times in each frame; that of the nearest where a frame has none."""
    at = np.clip((seconds * fps).astype(int), 0, frames - 1)
    sums, counts = np.bincount(at, values, frames), np.bincount(at, minlength=frames)
    there = np.flatnonzero(counts)
    return np.interp(np.arange(frames), there, sums[there] / counts[there])


def mouth(sound: Sound, fps: float = 25.0, sounds: Sequence[Sounding] = ()) -> Mouth:
    """How far a mouth is open that says this: by the loudness of the voice's bands, and by each sound's own opening.

    The power between 150 Hz and 4 kHz in each frame, relative to the loud ones (their 95 % quantile), to the power 0.3 is
    loudness (Stevens 1955); from 40 dB below, lips are closed. Neighbouring frames are averaged with weights 1, 2, 1. Where
    sounds are known, a frame's opening is the loudness times the mean of 1 and the opening of its sounds, and nothing where
    more than half of it is a sound of closed lips (p, b, m).

    Args:
        sound: a recording of speech, any rate and channels.
        fps: frames a second, 1 to 120.
        sounds: what is said when, see ``aligned``; empty where nobody knows.

    Raises:
        DataError: a recording that is silent, shorter than 0.1 seconds, or holds no numbers.
        RecipeError: another number of frames a second.

    >>> at = np.arange(16000) / 16000
    >>> tone = Sound((np.sin(2 * np.pi * 300 * at) * (at > 0.5))[None].astype(np.float32), 16000)
    >>> mouth(tone).opening.round()[[2, 20]].tolist()
    [0.0, 1.0]
    """
    frames = _frames(sound, fps)
    window = 1 << max(6, round(math.log2(0.032 * sound.rate)))
    hop = window // 4
    x = torch.from_numpy(np.ascontiguousarray(sound.mono())).double()
    power = stft(fitted(x, max(len(x), window)), window, hop).abs().square()
    hz = torch.linspace(0, sound.rate / 2, window // 2 + 1)
    band = power[(hz >= VOICE_HZ[0]) & (hz <= VOICE_HZ[1])].sum(0).numpy()
    level = _each(band, np.arange(len(band)) * hop / sound.rate, frames, fps)
    loud = max(float(np.quantile(level, 0.95)), 1e-3 * float(level.max()), 1e-20)  # one bark in silence is loud, too
    least = 10 ** (-RANGE_DB / 10 * LOUDNESS)
    opening = ((level / loud) ** LOUDNESS - least) / (1 - least)
    opening = np.convolve(np.pad(opening, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid").clip(0, 1)
    if not sounds:
        return Mouth(opening, np.full(frames, 0.5), fps)
    shares = np.zeros((frames, 4))  # of each frame: known, opening, width, closed lips
    middle = ["" for _ in range(frames)]
    for one in sounds:
        first, last = max(0, int(one.start * fps)), min(frames, math.ceil(one.end * fps))
        apart, wide = openness(one.name)
        for k in range(first, last):
            part = max(0.0, min((k + 1) / fps, one.end) - max(k / fps, one.start)) * fps
            shares[k] += part * np.array([1, apart, wide, one.name not in _PAUSES and apart == 0])
            if one.start <= (k + 0.5) / fps < one.end:
                middle[k] = "" if one.name in _PAUSES else one.name
    known = shares[:, 0]
    apart = shares[:, 1] + 0.5 * (1 - known)
    opening = np.where(shares[:, 3] > 0.5, 0.0, opening * (1 + apart) / 2).clip(0, 1)
    return Mouth(opening, (shares[:, 2] + 0.5 * (1 - known)).clip(0, 1), fps, tuple(middle))


def aligned(codec: Any, sound: Sound, text: str) -> list[Sounding]:
    """When each sound of a text is said in a recording, by the aligner of a run of speech.

    Args:
        codec: of the run, fitted (``bottega.load(run).codec``).
        sound: the recording; silence at its ends is no part of the text.
        text: what is said in it.

    Raises:
        RecipeError: no run of speech, no word in the text, a sound that was never heard in training, a text that is too long.
        DataError: a recording that is silent, longer than the run's examples, or too short for the text.
    """
    if not hasattr(codec, "aligner"):
        raise RecipeError(
            "the run is none of speech, so it cannot say which sound is when; train one: bottega train speech"
        )
    wave, first = codec.trimmed(sound)
    cond = codec.encode_cond([f"|{text}"])
    most = codec.frames * codec.hop
    if len(wave) > most:
        raise DataError(f"the recording has {len(wave) / codec.rate:.1f} seconds of speech, and the run aligns at most {most / codec.rate:.1f}; cut it into sentences")  # fmt: skip
    row = codec.encode_waves([wave], cond)[0]
    if row is None:
        raise DataError("the recording is too short for the sounds of the text; check what is said in it")
    t = int(codec.frames_of(row[None])[0])
    places = ((row[0, codec.mels + 2, :t] + 1) / 2 * codec.used_length).round().long().tolist()
    out: list[Sounding] = []
    begun = 0
    for k in range(1, t + 1):
        if k == t or places[k] != places[begun]:
            name = codec.tokens[int(cond[0, places[begun]]) - len(codec.voices)]
            at = [(first + j * codec.hop) / codec.rate for j in (begun, k)]
            out.append(Sounding(name, at[0], at[1]))
            begun = k
    return out


def write_mouth(made: Mouth, path: Path) -> Path:
    """As ``.csv`` (seconds, opening, width, sound: a line for each frame) or ``.json``; returns the path.

    Raises:
        RecipeError: another ending.
        OutputError: the place cannot be written.
    """
    names = made.sounds or ("",) * len(made.opening)
    rows = [(round(k / made.fps, 4), round(float(o), 4), round(float(w), 4), s)
            for k, (o, w, s) in enumerate(zip(made.opening, made.width, names, strict=True))]  # fmt: skip
    check_mouth_path(path, (".csv", ".json"))
    if path.suffix.lower() == ".json":
        columns = ("seconds", "opening", "width", "sound")
        held: dict[str, Any] = {"fps": made.fps} | {c: [row[i] for row in rows] for i, c in enumerate(columns)}
        write_atomically(path, json.dumps(held) + "\n")
        return path
    file = io.StringIO()
    out = csv.writer(file, lineterminator="\n")
    out.writerow(("seconds", "opening", "width", "sound"))
    out.writerows(rows)
    write_atomically(path, file.getvalue())
    return path


def check_mouth_path(path: Path, endings: Sequence[str], option: str = "--out") -> None:
    """Raise RecipeError for another ending, OutputError for a place where no file can be, which ``option`` chose."""
    if path.suffix.lower() not in endings:
        raise RecipeError(f"{path} ends in {path.suffix or 'nothing'}; name a file that ends in {' or '.join(endings)}")
    check_place(path, option=option)


def draw_mouth(made: Mouth, path: Path) -> Path:
    """Drawn lips as an animated ``.gif`` of at most 50 frames a second, or a ``.png`` strip of up to 60 frames, evenly chosen; returns the path.

    Raises:
        RecipeError: another ending.
        OutputError: the place cannot be written.
        DataError: a GIF of more than 300 seconds.
    """
    from PIL import Image

    check_mouth_path(path, (".gif", ".png"), "--picture")
    n = len(made.opening)
    file = io.BytesIO()
    if path.suffix.lower() == ".gif":
        if n > LONGEST * made.fps:
            raise DataError(
                f"{n / made.fps:.0f} seconds would be drawn, and at most {LONGEST:.0f} are; cut the recording"
            )
        fps = min(made.fps, MOST_DRAWN)
        many = max(1, round(n * fps / made.fps))
        shown = [min(n - 1, int((k + 0.5) * made.fps / fps)) for k in range(many)]  # what is seen in its middle
        ends = [round(100 * (k + 1) / fps) for k in range(many)]  # a GIF counts hundredths of a second
        times = [10 * (b - a) for a, b in zip([0, *ends], ends, strict=False)]
        pictures = [_lips(made.opening[k], made.width[k]) for k in shown]
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0)
    else:
        shown = sorted({round(k) for k in np.linspace(0, n - 1, min(n, 60))})
        wide = min(12, len(shown))
        small = _SIDE // 2
        sheet = Image.new("P", (wide * small, -(-len(shown) // wide) * small), 0)
        sheet.putpalette(_COLOURS)
        for i, k in enumerate(shown):
            sheet.paste(_lips(made.opening[k], made.width[k], small), (i % wide * small, i // wide * small))
        sheet.convert("RGB").save(file, "PNG")
    write_atomically(path, file.getvalue())
    return path


_COLOURS = [246, 214, 190, 186, 74, 74, 74, 20, 26, 240, 240, 235]  # skin, lips, inside, teeth


def _lips(opening: float, width: float, side: int = _SIDE) -> Any:
    """One frame, a palette picture ``side`` x ``side``."""
    from PIL import Image, ImageDraw

    out = Image.new("P", (side, side), 0)
    out.putpalette(_COLOURS)
    draw = ImageDraw.Draw(out)
    across, up, rim = side * (0.2 + 0.16 * width), side * 0.28 * opening, side * 0.045
    middle = side / 2
    draw.ellipse((middle - across - rim, middle - up - rim, middle + across + rim, middle + up + rim), fill=1)
    if up >= 1:
        inside = (middle - across, middle - up, middle + across, middle + up)
        draw.ellipse(inside, fill=2)
        draw.chord(inside, 215, 325, fill=3)  # the upper teeth
    else:
        draw.line((middle - across, middle, middle + across, middle), fill=2, width=max(1, side // 60))
    return out
