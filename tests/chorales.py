"""Four voices that move by the rules, for tests of composing."""

from bottega.core.score import Key, Note, Part, Score

PARTS = tuple(Part(name, 52) for name in ("Soprano", "Alto", "Tenor", "Bass"))
CHORDS = (
    (72, 67, 64, 48),
    (72, 69, 65, 53),
    (71, 67, 62, 55),
    (72, 67, 64, 48),
    (74, 69, 65, 50),
    (71, 67, 62, 55),
    (72, 67, 64, 60),
)


def chorale(bars: int = 4, key: int = 0, shift: int = 0) -> Score:
    """So many bars of four chords, ``key`` semitones above C, beginning at the chord ``shift``."""
    notes = [Note(4 * k, 4, p + key, 80, v) for k in range(4 * bars) for v, p in enumerate(CHORDS[(k + shift) % 7])]
    return Score.of(notes, ticks=4, parts=PARTS, keys=((0, Key(key)),), tempos=((0, 600_000),))
