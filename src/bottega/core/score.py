"""Score: one piece of music as notes in time, with its tempo, metre, key and instruments; and the key it is in.

Here because codecs, data, judges and crafts all speak of scores, and none of these rooms imports another's files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["HIGHEST", "LOWEST", "Key", "Note", "Part", "Score", "estimate_key", "key_name", "parse_key"]

Mode = Literal["major", "minor"]
LOWEST, HIGHEST = 21, 108  # MIDI numbers of a piano's keys: 88 of them
DEGREES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
RAISED = {"major": (), "minor": (9, 11)}  # sixth and seventh of the melodic and harmonic minor
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# Krumhansl & Kessler 1982: how well each degree fits a key, the probe-tone ratings
_PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


class Note(NamedTuple):
    """One note.

    Attributes:
        onset: when it begins, in ticks from the beginning, at least 0.
        duration: in ticks, at least 1.
        pitch: MIDI number, 0 to 127; 60 is middle C.
        velocity: how hard, 1 to 127.
        part: which of ``Score.parts`` plays it.
    """

    onset: int
    duration: int
    pitch: int
    velocity: int = 80
    part: int = 0


class Part(NamedTuple):
    """One instrument or voice: its name, its General MIDI program (0 to 127), and whether its pitches are drums."""

    name: str = ""
    program: int = 0
    drums: bool = False


class Key(NamedTuple):
    """A key: the pitch class of its tonic (0 is C), and its mode.

    >>> Key(9, "minor").fifths, Key(2, "major").pitches
    (0, (2, 4, 6, 7, 9, 11, 1))
    """

    tonic: int
    mode: Mode = "major"

    @property
    def fifths(self) -> int:
        """Sharps of its signature, flats below 0; -5 to 6."""
        major = self.tonic if self.mode == "major" else self.tonic + 3
        return (major * 7 + 5) % 12 - 5

    @property
    def pitches(self) -> tuple[int, ...]:
        """Pitch classes of its scale (natural minor), from the tonic up."""
        return tuple((self.tonic + d) % 12 for d in DEGREES[self.mode])

    @property
    def usual(self) -> frozenset[int]:
        """Pitch classes of its scale; in minor also the raised sixth and seventh."""
        return frozenset(self.pitches) | {(self.tonic + d) % 12 for d in RAISED[self.mode]}

    @classmethod
    def of_fifths(cls, fifths: int, mode: Mode = "major") -> Key:
        """The key of a signature."""
        return cls((7 * fifths + (0 if mode == "major" else 9)) % 12, mode)


def key_name(key: Key) -> str:
    """``"G major"``, ``"F# minor"``.

    >>> key_name(Key(6, "minor"))
    'F# minor'
    """
    return f"{_NAMES[key.tonic]} {key.mode}"


def parse_key(text: str) -> Key:
    """A key as people write it: ``"G major"``, ``"f# minor"``, ``"Bb"``, ``"Am"``, ``"d"`` (small: minor).

    Raises:
        ValueError: it is no key.

    >>> parse_key("f# minor") == Key(6, "minor"), parse_key("Bb") == Key(10), parse_key("Am") == Key(9, "minor")
    (True, True, True)
    """
    said = text.strip().replace("♯", "#").replace("♭", "b").replace("-", " ")
    head, _, tail = said.partition(" ")
    mode: Mode = "major"
    if tail.strip().lower() in {"minor", "moll", "min", "m"} or (head[:1].islower() and not tail):
        mode = "minor"
    elif tail.strip().lower() not in {"", "major", "dur", "maj"}:
        raise ValueError(f"{text!r} is no key; write one such as 'G major' or 'f# minor'")
    if head.endswith("m") and not tail:
        head, mode = head[:-1], "minor"
    letter, signs = head[:1].upper(), head[1:]
    if letter not in _LETTERS or signs.strip("#b"):
        raise ValueError(f"{text!r} is no key; write one such as 'G major' or 'f# minor'")
    return Key((_LETTERS[letter] + signs.count("#") - signs.count("b")) % 12, mode)


@dataclass(frozen=True)
class Score:
    """One piece of music.

    Attributes:
        notes: sorted by onset, part and pitch from high to low.
        ticks: in a quarter note.
        parts: the instruments.
        tempos: ``(tick, microseconds of a quarter)``; the first at tick 0.
        metres: ``(tick, beats, unit)`` such as ``(0, 3, 4)``; an upbeat is a short first metre: ``(0, 1, 4), (t, 4, 4)``.
        keys: ``(tick, key)``, as written; empty where nobody said.
        length: of the piece in ticks, at least to the end of its last note.
        genre: what kind of piece it is, for conditions and audits; may be empty.

    >>> score = Score.of([Note(0, 480, 60), Note(480, 480, 64)], ticks=480)
    >>> score.seconds, score.transposed(2).notes[0].pitch
    (1.0, 62)
    """

    notes: tuple[Note, ...]
    ticks: int = 480
    parts: tuple[Part, ...] = (Part(),)
    tempos: tuple[tuple[int, int], ...] = ((0, 500_000),)
    metres: tuple[tuple[int, int, int], ...] = ((0, 4, 4),)
    keys: tuple[tuple[int, Key], ...] = ()
    length: int = 0
    genre: str = ""

    @classmethod
    def of(cls, notes: Sequence[Note], **settings: object) -> Score:
        """A score of notes in any order; its length is at least their end."""
        ordered = tuple(sorted(notes, key=lambda n: (n.onset, n.part, -n.pitch, n.duration, n.velocity)))
        ends = max((n.onset + n.duration for n in ordered), default=0)
        made = cls(ordered, **settings)  # type: ignore[arg-type]
        return made if made.length >= ends else replace(made, length=ends)

    def with_notes(self, notes: Sequence[Note], **changes: object) -> Score:
        """The same piece with other notes."""
        return Score.of(notes, **{**self._settings, **changes})

    @property
    def _settings(self) -> dict[str, object]:
        return {k: getattr(self, k) for k in ("ticks", "parts", "tempos", "metres", "keys", "length", "genre")}

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return self.time_of(self.length)

    @cached_property
    def _clock(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        at = np.array([t for t, _ in self.tempos], float)
        pace = np.array([us for _, us in self.tempos], float) / 1e6 / self.ticks  # seconds of a tick
        return at, pace, np.concatenate([[0.0], np.cumsum(np.diff(at) * pace[:-1])])

    def time_of(self, tick: float) -> float:
        """Seconds from the beginning at a tick."""
        at, pace, begun = self._clock
        k = max(0, int(np.searchsorted(at, tick, side="right")) - 1)
        return float(begun[k] + (tick - at[k]) * pace[k])

    def tick_of(self, seconds: float) -> float:
        """The inverse of ``time_of``."""
        at, pace, begun = self._clock
        k = max(0, int(np.searchsorted(begun, seconds, side="right")) - 1)
        return float(at[k] + (seconds - begun[k]) / pace[k])

    def bars(self) -> list[tuple[int, int]]:
        """``(tick, ticks)`` of each bar, to the end of the piece; a bar is cut where the metre changes."""
        out = []
        ends = [m[0] for m in self.metres[1:]] + [max(self.length, self.metres[-1][0] + 1)]
        for (start, beats, unit), end in zip(self.metres, ends, strict=True):
            bar = max(1, 4 * beats * self.ticks // unit)
            at = start
            while at < end:
                last = end is ends[-1]
                out.append((at, bar if last else min(bar, end - at)))
                at += bar
        return out

    @property
    def density(self) -> float:
        """Notes a quarter."""
        return len(self.notes) * self.ticks / max(1, self.length)

    def usual_metre(self) -> tuple[int, int]:
        """Beats and unit of the metre that holds longest."""
        held: Counter[tuple[int, int]] = Counter()
        ends = [*(m[0] for m in self.metres[1:]), max(self.length, self.metres[-1][0] + 1)]
        for (start, n, d), end in zip(self.metres, ends, strict=True):
            held[n, d] += end - start
        return held.most_common(1)[0][0]

    def in_key(self, key: Key | None = None) -> float:
        """The share of sounding time whose pitch is usual in the key (as said, else as heard), drums left out; 1 of silence."""
        usual = (key or self.key()).usual
        drums = {i for i, p in enumerate(self.parts) if p.drums}
        held = [(n.pitch % 12 in usual, n.duration) for n in self.notes if n.part not in drums]
        return sum(d for good, d in held if good) / max(1, sum(d for _, d in held)) if held else 1.0

    def key(self) -> Key:
        """The key as written at the beginning, else as its notes tell."""
        return self.keys[0][1] if self.keys else estimate_key(self)

    def transposed(self, semitones: int) -> Score:
        """Every pitch moved (drums stay), and the keys with them; notes that leave MIDI's range move by octaves."""
        if not semitones:
            return self
        drums = {i for i, p in enumerate(self.parts) if p.drums}
        notes = [n if n.part in drums else n._replace(pitch=_within(n.pitch + semitones)) for n in self.notes]
        keys = tuple((t, Key((k.tonic + semitones) % 12, k.mode)) for t, k in self.keys)
        return self.with_notes(notes, keys=keys)

    def quantised(self, steps: int) -> Score:
        """The same piece on a grid of ``steps`` in a quarter note; durations are at least one step.

        Of notes of one pitch and part that then begin together the longest stays; one that still sounds when the same
        pitch begins again ends there.
        """

        def at(tick: int) -> int:
            return (2 * tick * steps + self.ticks) // (2 * self.ticks)

        found: dict[tuple[int, int, int], Note] = {}
        for n in self.notes:
            onset = at(n.onset)
            new = n._replace(onset=onset, duration=max(1, at(n.onset + n.duration) - onset))
            old = found.get((n.part, n.pitch, onset))
            if old is None or old.duration < new.duration:
                found[n.part, n.pitch, onset] = new
        notes: list[Note] = []
        last: dict[tuple[int, int], int] = {}
        for new in sorted(found.values(), key=lambda n: (n.onset, n.part, n.pitch)):
            before = last.get((new.part, new.pitch))
            if before is not None:
                gap = new.onset - notes[before].onset
                notes[before] = notes[before]._replace(duration=min(notes[before].duration, gap))
            last[new.part, new.pitch] = len(notes)
            notes.append(new)
        return Score.of(
            notes,
            ticks=steps,
            parts=self.parts,
            tempos=_moved(self.tempos, at),
            metres=_moved(self.metres, at),
            keys=_moved(self.keys, at),
            length=at(self.length),
            genre=self.genre,
        )

    def rescaled(self, ticks: int) -> Score:
        """The same piece with other ticks in a quarter; exact where ``ticks`` is a multiple of those it has."""

        def at(tick: int) -> int:
            return (2 * tick * ticks + self.ticks) // (2 * self.ticks)

        notes = [
            n._replace(onset=at(n.onset), duration=max(1, at(n.onset + n.duration) - at(n.onset))) for n in self.notes
        ]
        return Score.of(
            notes, ticks=ticks, parts=self.parts, tempos=_moved(self.tempos, at), metres=_moved(self.metres, at),
            keys=_moved(self.keys, at), length=at(self.length), genre=self.genre,
        )  # fmt: skip

    def cut(self, start: int, end: int) -> Score:
        """What begins from tick ``start`` on and before ``end``, moved to the beginning; notes end at ``end`` at the latest."""
        notes = [
            n._replace(onset=n.onset - start, duration=min(n.duration, end - n.onset))
            for n in self.notes
            if start <= n.onset < end
        ]
        return Score.of(
            notes, ticks=self.ticks, parts=self.parts, tempos=_shifted(self.tempos, start, end),
            metres=_shifted(self.metres, start, end), keys=_shifted(self.keys, start, end), length=end - start,
            genre=self.genre,
        )  # fmt: skip

    def roll(self, steps: int = 0) -> NDArray[np.bool_]:
        """Which of the 88 keys sound in each step of the grid, ``(steps in the piece, 88)``; drums and other pitches are left out."""
        piece = self.quantised(steps) if steps and steps != self.ticks else self
        out = np.zeros((piece.length, HIGHEST - LOWEST + 1), bool)
        drums = {i for i, p in enumerate(piece.parts) if p.drums}
        for n in piece.notes:
            if LOWEST <= n.pitch <= HIGHEST and n.part not in drums:
                out[n.onset : n.onset + n.duration, n.pitch - LOWEST] = True
        return out

    def lines(self) -> list[list[Note]]:
        """The notes of each part, in time."""
        out: list[list[Note]] = [[] for _ in self.parts]
        for n in self.notes:
            out[n.part].append(n)
        return out

    def voices(self) -> list[list[Note]] | None:
        """The lines of the parts that play, in their order; None where one plays two notes at once."""
        lines = [line for line in self.lines() if line]
        return lines if all(_single(line) for line in lines) else None


def _within(pitch: int) -> int:
    while pitch < 0:
        pitch += 12
    while pitch > 127:
        pitch -= 12
    return pitch


def _single(line: Sequence[Note]) -> bool:
    return all(a.onset + a.duration <= b.onset for a, b in zip(line, line[1:], strict=False))


def _moved(marks: Sequence[Any], at: Callable[[int], int]) -> tuple[Any, ...]:
    """Marks at other ticks; of those that come to one place the last counts."""
    return tuple({at(m[0]): (at(m[0]), *m[1:]) for m in marks}.values())


def _shifted(marks: Sequence[Any], start: int, end: int) -> tuple[Any, ...]:
    """Marks from ``start`` on, the one that holds there first."""
    holds = [m for m in marks if m[0] <= start][-1:]
    later = [m for m in marks if start < m[0] < end]
    return tuple((max(0, m[0] - start), *m[1:]) for m in [*holds, *later])


def _profile(score: Score) -> NDArray[np.float64]:
    out = np.zeros(12)
    drums = {i for i, p in enumerate(score.parts) if p.drums}
    for n in score.notes:
        if n.part not in drums:
            out[n.pitch % 12] += n.duration
    return out


def estimate_key(score: Score | Sequence[Note]) -> Key:
    """The key whose profile correlates best with how long each pitch class sounds (Krumhansl & Schmuckler; Krumhansl 1990).

    C major where nothing sounds.
    """
    piece = score if isinstance(score, Score) else Score.of(list(score))
    return max(_correlations(_profile(piece)))[1]


def _correlations(heard: NDArray[np.float64]) -> Iterator[tuple[float, Key]]:
    modes: tuple[Mode, ...] = ("minor", "major")
    for mode in modes:
        profile = np.array(_PROFILES[mode])
        for tonic in range(12):
            turned = np.roll(profile, tonic)
            if heard.std() == 0:
                yield (1.0 if (tonic, mode) == (0, "major") else 0.0), Key(tonic, mode)
            else:
                found = float(np.corrcoef(heard, turned)[0, 1])
                yield (found if math.isfinite(found) else 0.0), Key(tonic, mode)
