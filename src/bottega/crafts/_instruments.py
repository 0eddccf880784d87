"""Instruments by name: their General MIDI programs, and what they can play."""

from __future__ import annotations

from dataclasses import dataclass

from bottega.core import RecipeError, nearest
from bottega.core.score import Part

__all__ = ["INSTRUMENTS", "Instrument", "instrument"]


@dataclass(frozen=True)
class Instrument:
    """What plays a part.

    Attributes:
        name: as people say it.
        program: of General MIDI, 0 to 127.
        low, high: MIDI numbers of the lowest and highest pitch that sounds.
        chords: whether it plays several notes at once.
        drums: whether its pitches are drums.
    """

    name: str
    program: int
    low: int
    high: int
    chords: bool = False
    drums: bool = False

    @property
    def part(self) -> Part:
        """It as a part of a score."""
        return Part(self.name.capitalize(), self.program, self.drums)


# Sounding ranges that a good player has without strain: orchestral ones by Adler, The Study of Orchestration (4th ed. 2016, ISBN
# 978-0-393-60052-0), the top of some lowered to what amateurs reach; the others by their usual tuning or compass.
_ROWS = (
    ("piano", 0, 21, 108, True), ("electric piano", 4, 28, 103, True), ("harpsichord", 6, 29, 89, True), ("celesta", 8, 60, 108, True),
    ("glockenspiel", 9, 79, 108, False), ("vibraphone", 11, 53, 89, True), ("marimba", 12, 45, 96, True), ("xylophone", 13, 65, 108, False),
    ("dulcimer", 15, 50, 86, True), ("organ", 19, 36, 96, True), ("accordion", 21, 53, 93, True), ("harmonica", 22, 60, 96, False),
    ("guitar", 24, 40, 83, True), ("steel guitar", 25, 40, 84, True), ("electric guitar", 27, 40, 86, True),
    ("acoustic bass", 32, 28, 62, False), ("electric bass", 33, 28, 67, False), ("violin", 40, 55, 96, False), ("viola", 41, 48, 84, False),
    ("cello", 42, 36, 76, False), ("double bass", 43, 28, 60, False), ("harp", 46, 24, 103, True), ("strings", 48, 36, 96, True),
    ("choir", 52, 41, 81, True), ("trumpet", 56, 54, 82, False), ("trombone", 57, 40, 70, False), ("tuba", 58, 28, 58, False),
    ("horn", 60, 41, 77, False), ("soprano sax", 64, 56, 87, False), ("alto sax", 65, 49, 80, False), ("tenor sax", 66, 44, 75, False),
    ("baritone sax", 67, 37, 68, False), ("oboe", 68, 58, 89, False), ("english horn", 69, 52, 81, False), ("bassoon", 70, 34, 72, False),
    ("clarinet", 71, 50, 91, False), ("piccolo", 72, 74, 102, False), ("flute", 73, 60, 96, False), ("recorder", 74, 72, 98, False),
    ("pan flute", 75, 60, 96, False), ("tin whistle", 78, 74, 98, False), ("ocarina", 79, 69, 89, False), ("banjo", 105, 50, 86, True),
    ("bagpipe", 109, 67, 81, False), ("fiddle", 110, 55, 96, False),
)  # fmt: skip

INSTRUMENTS: dict[str, Instrument] = {row[0]: Instrument(*row) for row in _ROWS}
"""What there is to arrange for, by name."""
INSTRUMENTS["drums"] = Instrument("drums", 0, 35, 81, False, True)


def instrument(name: str) -> Instrument:
    """The instrument of a name; raises RecipeError with the nearest one.

    >>> instrument("Violin").low
    55
    """
    said = " ".join(name.lower().split())
    if said not in INSTRUMENTS:
        raise RecipeError(f"no instrument called {name.strip()!r}{nearest(said, INSTRUMENTS)}")
    return INSTRUMENTS[said]
