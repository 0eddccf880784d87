"""Music to a film's cues: every cue falls on a bar line at its time, and the music is as intense as the curve says."""

from __future__ import annotations

import csv
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.codecs._synth import render
from bottega.core import DataError, RecipeError
from bottega.core.score import Key, Note, Part, Score, parse_key

__all__ = ["Cue", "Film", "compose", "curve", "followed", "misses", "read"]

TICKS = 480
SHORTEST = 0.25  # seconds between cues
PARTS = (Part("Strings", 48), Part("Bass", 43), Part("Piano", 0), Part("Brass", 61), Part("Drums", 0, True))
STRINGS, BASS, PIANO, BRASS, DRUMS = range(5)
_NEXT = {0: (3, 4, 5, 1), 3: (4, 0, 1), 4: (0, 5, 3), 5: (3, 1, 4), 1: (4, 3)}  # of a degree's triad those that follow
_WINDOW = 0.5  # seconds over which loudness is heard


@dataclass(frozen=True)
class Cue:
    """A moment that music must meet: seconds from the beginning, how intense from there on (0 to 1), and what happens."""

    time: float
    intensity: float
    what: str = ""


@dataclass(frozen=True)
class Film:
    """A cue list: cues in time, and the length of the film in seconds."""

    cues: tuple[Cue, ...]
    length: float
    key: Key = Key(2, "minor")
    tempo: float = 96.0


def read(path: Path) -> Film:
    """A cue list from TOML or CSV.

    TOML: ``length = 60.0``, optional ``key = "D minor"`` and ``tempo = 96``, and tables ``[[cue]]`` with ``time``,
    ``intensity`` and ``what``. CSV: columns ``time,intensity,what``; its last row is where the music ends.

    Raises:
        DataError: it cannot be read, or a cue is out of order, out of the film or without numbers.
    """
    settings: dict[str, Any] = {}
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows: list[dict[str, Any]] = list(csv.DictReader(file))
        else:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
            rows = settings.get("cue", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a cue list ({error}); give TOML with [[cue]], or CSV") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} has no list of cues; write tables [[cue]] with time and intensity")
    cues = []
    for number, row in enumerate(rows, 1):
        try:
            cues.append(Cue(float(row["time"]), float(row["intensity"]), str(row.get("what") or "")))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"cue {number} of {path} lacks a number ({error}); give time and intensity") from error
    if not cues:
        raise DataError(f"{path} has no cues; write tables [[cue]] with time and intensity")
    try:
        length = float(settings.get("length", cues[-1].time))
        key, tempo = parse_key(str(settings.get("key", "D minor"))), float(settings.get("tempo", 96))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}; give length and tempo as numbers, and a key such as 'D minor'") from error
    if "length" not in settings:  # the last says where the music ends
        if len(cues) == 1:
            more = "a row below it" if path.suffix.lower() == ".csv" else "length, or a cue behind it,"
            raise DataError(
                f"{path} has one cue, at {length:g} s, and no end; add {more} that says when the music ends"
            )
        cues = cues[:-1]
    return checked(Film(tuple(cues), length, key, tempo), str(path))


def checked(film: Film, where: str = "the cue list") -> Film:
    """The film, if its cues can be met; raises DataError otherwise."""
    if not 1 <= film.length <= 3600:
        raise DataError(f"{where}: length is {film.length:g}; give 1 to 3600 seconds")
    if not 30 <= film.tempo <= 240:
        raise DataError(f"{where}: tempo is {film.tempo:g}; give 30 to 240 quarters a minute")
    before = -math.inf
    for cue in film.cues:
        if not 0 <= cue.time < film.length:
            raise DataError(
                f"{where}: a cue at {cue.time:g} s; times lie from 0 to before the end at {film.length:g} s"
            )
        if not 0 <= cue.intensity <= 1:
            raise DataError(
                f"{where}: the cue at {cue.time:g} s has intensity {cue.intensity:g}; intensities lie from 0 to 1"
            )
        if cue.time - before < SHORTEST:
            raise DataError(
                f"{where}: cues at {before:g} and {cue.time:g} s; they must come in time, {SHORTEST} s apart"
            )
        before = cue.time
    return film


def curve(film: Film, times: Any) -> NDArray[np.float64]:
    """How intense the film is at times in seconds: straight lines from cue to cue."""
    return np.interp(times, [c.time for c in film.cues], [c.intensity for c in film.cues])


def compose(film: Film, seed: int = 0) -> Score:
    """Music that meets the cues.

    Between two cues there is a whole number of quarters, at the tempo nearest to the film's that makes them fit, so every cue
    stands on a bar line at its time. Harmony is a walk through triads of the key; how fast notes follow, how many instruments
    play and how hard follows the curve; where a cue stands all play, with a drum.

    Raises:
        DataError: cues that cannot be met.
    """
    checked(film)
    chance = np.random.default_rng(seed)
    edges = sorted({0.0, *(c.time for c in film.cues if c.time < film.length), film.length})
    at, tempos, metres, bars = 0, [], [], []
    for start, end in zip(edges, edges[1:], strict=False):
        beats = max(1, round((end - start) * film.tempo / 60))
        tempos.append((at, max(1, round((end - start) * 1e6 / beats))))
        left = beats
        while left > 0:
            long = 4 if left >= 4 else left
            if not metres or metres[-1][1] != long:
                metres.append((at, long, 4))
            bars.append((at, long))
            at, left = at + long * TICKS, left - long
    clock = Score.of([], ticks=TICKS, tempos=tuple(tempos), length=at)
    hits = {round(clock.tick_of(c.time)) for c in film.cues if c.time < film.length}
    scale = film.key.pitches
    notes: list[Note] = []
    chord = 0
    for begin, beats in bars:
        tones = sorted(48 + (scale[(chord + k) % 7] - 0) % 12 for k in (0, 2, 4))
        loud = float(curve(film, clock.time_of(begin)))
        if loud > 0.02:
            hit = begin in hits
            velocity = _velocity(loud)
            notes += [Note(begin, beats * TICKS, p + 12, velocity, STRINGS) for p in tones]
            if loud > 0.25 or hit:
                notes.append(Note(begin, beats * TICKS, 36 + scale[chord] % 12, velocity, BASS))
            if loud > 0.7 or hit:
                notes += [Note(begin, beats * TICKS if loud > 0.7 else TICKS, p, velocity, BRASS) for p in tones]
            if hit:
                notes.append(Note(begin, TICKS, 36, velocity, DRUMS))
        pace = TICKS * 2 if loud < 0.25 else TICKS if loud < 0.5 else TICKS // 2 if loud < 0.75 else TICKS // 4
        for tick in range(begin, begin + beats * TICKS, pace):
            now = float(curve(film, clock.time_of(tick)))
            if now > 0.02:
                pitch = int(chance.choice(tones)) + 12 * (1 + int(now > 0.5) * int(chance.integers(0, 2)))
                notes.append(Note(tick, pace, pitch, _velocity(now), PIANO))
        chord = int(chance.choice(_NEXT[chord]))
    return Score.of(
        notes, ticks=TICKS, parts=PARTS, tempos=tuple(tempos), metres=tuple(metres), keys=((0, film.key),), length=at,
        genre="film",
    )  # fmt: skip


def _velocity(intensity: float) -> int:
    return int(np.clip(round(12 + 112 * intensity), 1, 127))


def misses(score: Score, film: Film) -> list[float]:
    """Of each cue of an intensity above 0, how many seconds the nearest onset of a drum stroke or chord lies off."""
    onsets = np.array(sorted({score.time_of(n.onset) for n in score.notes}))
    if not len(onsets):
        raise RecipeError("the music has no notes, so no cue is met; raise an intensity")
    return [float(np.abs(onsets - c.time).min()) for c in film.cues if c.intensity > 0.02 and c.time < film.length]


def followed(score: Score, film: Film) -> float:
    """Correlation of the film's curve with how loud the rendered music is, half second by half second."""
    sound = render(score, 11_025).mean(1)
    size = round(_WINDOW * 11_025)
    count = min(len(sound), round(film.length * 11_025)) // size
    rms = np.sqrt((sound[: count * size].reshape(count, size) ** 2).mean(1))
    wanted = curve(film, (np.arange(count) + 0.5) * _WINDOW)
    if wanted.std() < 1e-9 or rms.std() < 1e-9:
        return math.nan
    return float(np.corrcoef(rms, wanted)[0, 1])
