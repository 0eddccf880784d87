"""Voice leading: what the rules of four-part writing say of a score, and which pitches they leave a voice.

Here, as scores are, because judges count the same faults that crafts avoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bottega.core.score import Note, Score

__all__ = ["RANGES", "Fault", "Moment", "allowed", "faults", "leaps", "moments", "parallels"]

RANGES = {"soprano": (57, 81), "alto": (53, 74), "tenor": (48, 69), "bass": (36, 64)}
"""MIDI numbers of the lowest and highest note of each voice in Bach's chorales (363 of them, 80,000 notes)."""

_ORDER = tuple(RANGES.values())
APART = (12, 12, 24)  # semitones, at most, between soprano and alto, alto and tenor, tenor and bass
_PERFECT = {7: "fifths", 0: "octaves"}  # of an interval modulo 12


class Moment(NamedTuple):
    """What sounds between two changes.

    Attributes:
        tick: when it begins.
        pitches: of each voice from the top down, -1 where it rests.
    """

    tick: int
    pitches: tuple[int, ...]


class Fault(NamedTuple):
    """A rule that is broken.

    Attributes:
        rule: ``"range"``, ``"crossing"``, ``"spacing"``, ``"fifths"``, ``"octaves"`` or ``"leap"``.
        tick: where.
        voices: which, 0 is the highest.
        text: what, in words.
    """

    rule: str
    tick: int
    voices: tuple[int, ...]
    text: str


def moments(lines: Sequence[Sequence[Note]]) -> list[Moment]:
    """What single lines sound together, a new moment wherever a note begins or ends.

    >>> moments([[Note(0, 2, 67)], [Note(0, 1, 60), Note(1, 1, 62)]])
    [Moment(tick=0, pitches=(67, 60)), Moment(tick=1, pitches=(67, 62))]
    """
    edges = sorted({t for line in lines for n in line for t in (n.onset, n.onset + n.duration)})
    if not edges:
        return []
    place = {t: k for k, t in enumerate(edges)}
    sounding = np.full((len(edges) - 1, len(lines)), -1)
    for v, line in enumerate(lines):
        for n in line:
            sounding[place[n.onset] : place[n.onset + n.duration], v] = n.pitch
    return [Moment(t, tuple(row)) for t, row in zip(edges, sounding.tolist(), strict=False)]


def parallels(found: Sequence[Moment]) -> tuple[list[Fault], int]:
    """Perfect fifths and octaves (unisons too) between two voices that both move to another one of the same kind.

    Motion in opposite directions counts as well, as it does in the textbooks. A chord that is struck again is no motion,
    and a rest between two chords parts them.

    Returns:
        The faults, and how often two voices moved together at all.
    """
    out, moves = [], 0
    for before, now in zip(found, found[1:], strict=False):
        voices = [
            v for v, (a, b) in enumerate(zip(before.pitches, now.pitches, strict=True)) if min(a, b) >= 0 and a != b
        ]
        for i, u in enumerate(voices):
            for v in voices[i + 1 :]:
                moves += 1
                kind = _PERFECT.get(abs(now.pitches[u] - now.pitches[v]) % 12)
                if (
                    kind
                    and abs(before.pitches[u] - before.pitches[v]) % 12 == abs(now.pitches[u] - now.pitches[v]) % 12
                ):
                    out.append(Fault(kind, now.tick, (u, v), f"parallel {kind} of voices {u + 1} and {v + 1}"))
    return out, moves


def faults(score: Score | Sequence[Sequence[Note]], given: Sequence[int] = ()) -> list[Fault]:
    """Every rule of four-part writing that single lines break, in time.

    The rules: each voice in its range (``RANGES``; of four voices only), no voice above a higher one, neighbours of the
    upper three at most an octave apart and the bass at most two, no parallel fifths or octaves, and no leap of a seventh or
    of more than an octave.

    Args:
        score: of single lines, or the lines from the top down.
        given: voices that were not ours to write: their own range and leaps do not count.

    Raises:
        ValueError: a part of the score plays two notes at once.
    """
    lines = score.voices() if isinstance(score, Score) else score
    if lines is None:
        raise ValueError("a part plays two notes at once, so there are no lines to follow")
    found = moments(lines)
    out = parallels(found)[0]
    four = len(lines) == len(_ORDER)
    for moment in found:
        p = moment.pitches
        for u in range(len(p) - 1):
            if min(p[u], p[u + 1]) < 0:
                continue
            if p[u] < p[u + 1]:
                out.append(Fault("crossing", moment.tick, (u, u + 1), f"voice {u + 2} lies above voice {u + 1}"))
            elif four and p[u] - p[u + 1] > APART[u]:
                out.append(Fault("spacing", moment.tick, (u, u + 1), f"{p[u] - p[u + 1]} semitones between voices {u + 1} and {u + 2}"))  # fmt: skip
    for v, line in enumerate(lines):
        if v in given:
            continue
        for n in line:
            if four and not _ORDER[v][0] <= n.pitch <= _ORDER[v][1]:
                out.append(Fault("range", n.onset, (v,), f"pitch {n.pitch} of voice {v + 1} is outside {_ORDER[v][0]} to {_ORDER[v][1]}"))  # fmt: skip
        for a, b in zip(line, line[1:], strict=False):
            if a.onset + a.duration == b.onset and leaps(b.pitch - a.pitch):
                out.append(Fault("leap", b.onset, (v,), f"a leap of {b.pitch - a.pitch:+d} semitones in voice {v + 1}"))
    return sorted(out, key=lambda f: (f.tick, f.voices, f.rule))


def leaps(interval: int) -> bool:
    """Whether a step of so many semitones is a leap that the rules forbid: a seventh, or more than an octave."""
    return abs(interval) > 12 or abs(interval) in {10, 11}


def allowed(before: Sequence[int], above: Sequence[int], highest: int = 127) -> NDArray[np.bool_]:
    """Which MIDI pitches the rules leave a voice of four, ``(128,)``, given what sounded and what the voices above it do.

    A voice whose pitches all obey it, in turn from the top down, makes chords without a fault (``faults``); ranges of a
    given voice are not looked at.

    Args:
        before: pitches of the four voices at the moment before, -1 where one rests; empty at the beginning.
        above: pitches now of the voices above, as many as there are: it says which voice is meant.
        highest: a bound of one's own.

    >>> np.flatnonzero(allowed([72, 67, 64, 48], [74]))[[0, -1]]  # an alto below D5; 67 would hold
    array([62, 74])
    """
    v = len(above)
    low, high = _ORDER[v]
    if v and above[v - 1] >= 0:
        low, high = max(low, above[v - 1] - APART[v - 1]), min(high, above[v - 1])
    elif v:
        high = min([high, *(p for p in above if p >= 0)])
    pitch = np.arange(128)
    out = (pitch >= low) & (pitch <= min(high, highest))
    if not len(before) or before[v] < 0:
        return out
    leap = np.abs(pitch - before[v])
    out &= (leap <= 12) & (leap != 10) & (leap != 11)
    for u, now in enumerate(above):
        if now < 0 or before[u] < 0 or now == before[u]:
            continue
        was = abs(before[u] - before[v]) % 12
        if was in _PERFECT:
            out &= (np.abs(now - pitch) % 12 != was) | (pitch == before[v])
    return out
