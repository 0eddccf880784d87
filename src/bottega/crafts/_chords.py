"""Chords of a piece: which triad or seventh chord sounds from beat to beat, found in the notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError
from bottega.core.score import Key, Score

__all__ = ["KINDS", "Chord", "beats_of", "chords"]

KINDS: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "dim": (0, 3, 6),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
}
"""Semitones above the root of each kind of chord, by the ending of its symbol."""

_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# how often a note of a chord is its root, third, fifth and seventh, and one of the nine or eight others (a tenth of them each,
# those of the key four times as often); and nats that a kind, a chord outside the key and a change cost
_TONES = {3: (0.34, 0.26, 0.24), 4: (0.30, 0.22, 0.18, 0.16)}
_RARE = {"": 0.0, "m": 0.0, "dim": 1.0, "7": 0.6, "m7": 1.0}
_STRANGE = 1.5
_USUAL = {0: 0.0, 7: 0.3, 5: 0.4, 2: 1.0, 9: 1.0, 4: 1.5}  # of roots above the tonic; 2 of the others
_CHANGE = (0.7, 1.6, 2.6)  # at a bar line, in the middle of a bar, elsewhere
_STRENGTH, _MORE = 2.0, 1.0  # of a beat's evidence
_BASS = 0.8  # nats for a chord whose root is the lowest note, where two notes sound


@dataclass(frozen=True)
class Chord:
    """What harmony holds for a while.

    Attributes:
        start, end: in ticks.
        root: pitch class.
        kind: of ``KINDS``.
    """

    start: int
    end: int
    root: int
    kind: str = ""

    @property
    def name(self) -> str:
        """Its symbol.

        >>> Chord(0, 4, 9, "m").name, Chord(0, 4, 2, "7").name
        ('Am', 'D7')
        """
        return _NAMES[self.root] + self.kind

    @property
    def tones(self) -> tuple[int, ...]:
        """Its pitch classes, from the root up."""
        return tuple((self.root + k) % 12 for k in KINDS[self.kind])


def beats_of(beats: int, unit: int, ticks: int) -> int:
    """Ticks of a beat of a metre: three eighths in 6/8, 9/8 and 12/8, the whole bar in 3/8, else the unit, a quarter at most.

    >>> beats_of(6, 8, 4), beats_of(3, 4, 4), beats_of(2, 2, 4), beats_of(3, 8, 4)
    (6, 4, 4, 6)
    """
    if unit >= 8 and beats % 3 == 0:
        return max(1, 12 * ticks // unit)
    return max(1, min(ticks, 4 * ticks // unit))


def _slots(score: Score) -> list[tuple[int, int, int]]:
    """``(start, end, how)`` of each beat: it begins a bar (0), its second half (1), or neither (2)."""
    metres = {t: (n, d) for t, n, d in score.metres}
    now, out = score.metres[0][1:], []
    for start, long in score.bars():
        now = metres.get(start, now)
        beat = beats_of(*now, score.ticks)
        for at in range(start, start + long, beat):
            how = 0 if at == start else 1 if 2 * (at - start) == long else 2
            out.append((at, min(at + beat, start + long), how))
    return [s for s in out if s[0] < score.length]


def _heard(score: Score, slots: Sequence[tuple[int, int, int]]) -> tuple[NDArray[np.float64], list[int]]:
    """How long each pitch class sounds in each beat, in beats, ``(slots, 12)``; and its lowest pitch, -1 where fewer than two sound."""
    drums = {k for k, part in enumerate(score.parts) if part.drums}
    starts = np.array([s[0] for s in slots])
    weight = np.zeros((len(slots), 12))
    pitches: list[set[int]] = [set() for _ in slots]
    for n in score.notes:
        if n.part in drums:
            continue
        k = int(np.searchsorted(starts, n.onset, side="right")) - 1
        while k < len(slots) and slots[k][0] < n.onset + n.duration:
            start, end, _ = slots[k]
            share = (min(end, n.onset + n.duration) - max(start, n.onset)) / (end - start)
            weight[k, n.pitch % 12] += share * (
                1.5 if n.onset == start else 1.0
            )  # what is struck on the beat says more
            pitches[k].add(n.pitch)
            k += 1
    return weight, [min(p) if len(p) > 1 else -1 for p in pitches]


def chords(score: Score, key: Key | None = None) -> list[Chord]:
    """The chords of a piece, beat by beat, equal neighbours joined; they fill it from its first beat to its last.

    The likeliest way through triads and seventh chords (Viterbi 1967): each note of a beat is drawn from its chord's tones,
    seldom from others; chords change at bar lines more readily than within bars, and lie in the key more often than not. The numbers
    are set by hand. Of a melody alone it is a guess: what a player might choose.

    Args:
        score: melody and chords, or any piece.
        key: of the piece; as written or heard by default.

    Raises:
        DataError: nothing but drums or silence.

    >>> from bottega.core.score import Note
    >>> [c.name for c in chords(Score.of([Note(0, 4, p) for p in (60, 64, 67)] + [Note(4, 4, p) for p in (59, 62, 67)], ticks=1))]
    ['C', 'G']
    """
    home = key or score.key()
    slots = _slots(score)
    weight, lowest = _heard(score, slots)
    if not weight.any():
        raise DataError("the piece has no pitches to find chords of; give one with a melody")
    found = [(root, kind) for kind in KINDS for root in range(12)]
    usual = np.isin(np.arange(12), list(home.usual))
    log = np.zeros((len(found), 12))
    own = np.zeros(len(found))
    for c, (root, kind) in enumerate(found):
        tones = [(root + k) % 12 for k in KINDS[kind]]
        p = np.where(usual, 4.0, 1.0)
        p[tones] = 0
        shares = _TONES[len(tones)]
        p *= (1 - sum(shares)) / p.sum()
        p[tones] = shares
        log[c] = np.log(12 * p)
        own[c] = -_RARE[kind] - _STRANGE * (not usual[tones].all()) - _USUAL.get((root - home.tonic) % 12, 2.0)
    total = np.maximum(weight.sum(1, keepdims=True), 1e-9)
    # one line says as much as it sounds; each further note that sounds with it adds, up to three
    sure = np.minimum(total, 1.0) + _MORE * np.clip(total - 1, 0, 3)
    told = _STRENGTH * (weight / total * sure) @ log.T + 0.1 * own  # (slots, chords)
    for k, low in enumerate(lowest):
        if low >= 0:
            told[k, [c for c, (root, _) in enumerate(found) if root == low % 12]] += _BASS
    best, back = told[0] + own, []
    for k in range(1, len(slots)):
        change = best.max() - _CHANGE[slots[k][2]] + own
        stay = best >= change
        back.append(np.where(stay, np.arange(len(found)), int(best.argmax())))
        best = np.where(stay, best, change) + told[k]
    path = [int(best.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    out: list[Chord] = []
    for (start, end, _), c in zip(slots, reversed(path), strict=True):
        end = min(end, score.length)
        if out and (out[-1].root, out[-1].kind) == found[c]:
            out[-1] = Chord(out[-1].start, end, *found[c])
        else:
            out.append(Chord(start, end, *found[c]))
    assert math.isclose(out[-1].end, score.length)
    return out
