"""How accompaniments move in time: where in a bar the bass plays, where the chords, where the drums, by style and metre."""

from __future__ import annotations

from typing import NamedTuple

from bottega.crafts._chords import beats_of

__all__ = ["GENRES", "STYLES", "Pattern", "pattern"]

STYLES = {
    "held": "chords and bass are held",
    "oompah": "the bass on strong beats, chords on the others (in 6/8 on the third of each three)",
    "offbeat": "the bass on strong beats, chords between the beats",
    "arpeggio": "chords broken note by note, the bass held",
    "strum": "chords on every beat, the bass on the first",
}
"""What a style does."""

GENRES = {
    "waltz": "oompah", "march": "oompah", "jig": "oompah", "slip jig": "oompah", "reel": "oompah", "hornpipe": "oompah", "mazurka": "oompah",
    "polka": "offbeat", "ska": "offbeat", "schottische": "oompah", "strathspey": "strum", "song": "strum", "carol": "held", "hymn": "held",
    "chorale": "held", "air": "arpeggio", "ballad": "arpeggio", "lullaby": "arpeggio", "minuet": "strum", "barcarolle": "arpeggio",
}  # fmt: skip
"""The style that a genre has by custom."""

KICK, SNARE, HAT = 36, 38, 42


class Pattern(NamedTuple):
    """What a bar is filled with; ticks from its beginning.

    Attributes:
        bass: onsets.
        strokes: ``(onset, ticks)`` of chords.
        drums: ``(onset, pitch)``.
        short: ticks that a bass note lasts at most.
        broken: whether a stroke is one note of its chord, by turns.
    """

    bass: list[int]
    strokes: list[tuple[int, int]]
    drums: list[tuple[int, int]]
    short: int
    broken: bool = False


def pattern(style: str, beats: int, unit: int, ticks: int, long: int) -> Pattern:
    """A bar of ``beats``/``unit``, ``long`` ticks (fewer where it is cut), in a style.

    >>> pattern("oompah", 3, 4, 12, 36)[:2]
    ([0], [(12, 12), (24, 12)])
    >>> pattern("oompah", 6, 8, 12, 36)[:2]
    ([0, 18], [(12, 6), (30, 6)])
    """
    beat = beats_of(beats, unit, ticks)
    count = -(-long // beat)
    three = unit >= 8 and beats % 3 == 0
    part = max(1, beat // (3 if three else 2))
    starts = [k * beat for k in range(count)]
    strong = starts if three else starts[::2] if count % 2 == 0 else starts[:1]
    weak = [t for t in starts if t not in strong]
    broken = False
    if style == "held":
        bass, strokes, short = [0], [(0, long)], long
    elif style == "strum":
        bass, strokes, short = [0], [(t, beat) for t in starts], long
    elif style == "arpeggio":
        bass, short, broken = [0], long, True
        strokes = [(t, part) for t in range(0, long, part)]
    elif style == "offbeat":
        bass, short = strong, beat
        strokes = [(t + k * part, part) for t in starts for k in ((1, 2) if three else (1,))]
    else:
        bass, short = strong, beat
        if three and count > 1:
            strokes = [(t + 2 * part, part) for t in starts]
        elif three:
            strokes = [(part, part), (2 * part, part)]
        else:
            strokes = [(t, beat) for t in weak] or [(part, part)]
    backbeat = [t for t in starts if t not in strong] if count % 2 == 0 and not three else []
    drums = [(t, KICK) for t in strong] + [(t, SNARE) for t in backbeat] + [(t, HAT) for t in range(0, long, part)]
    return Pattern(bass, [s for s in strokes if s[0] < long], [d for d in drums if d[0] < long], short, broken)
