"""How something is said: speed, pitch, melody, loudness and pauses; and emotions as settings of these."""

from __future__ import annotations

from typing import NamedTuple

from bottega.core import RecipeError, nearest

__all__ = ["EMOTIONS", "Manner", "manner", "within"]


class Manner(NamedTuple):
    """How something is said.

    Attributes:
        speed: times as fast.
        pitch: semitones higher.
        pitch_range: times the melody's range.
        energy: dB louder.
        pause: times as long between clauses and sentences.
    """

    speed: float = 1.0
    pitch: float = 0.0
    pitch_range: float = 1.0
    energy: float = 0.0
    pause: float = 1.0


EMOTIONS: dict[str, Manner] = {
    "neutral": Manner(),
    "happy": Manner(1.08, 2.0, 1.4, 2.0, 0.9),
    "excited": Manner(1.18, 3.0, 1.7, 4.0, 0.7),
    "angry": Manner(1.1, 1.0, 1.4, 6.0, 0.8),
    "sad": Manner(0.84, -2.0, 0.6, -4.0, 1.4),
    "calm": Manner(0.92, -1.0, 0.75, -2.0, 1.25),
    "fearful": Manner(1.15, 3.0, 0.8, -2.0, 0.9),
}
"""What emotions do to a voice, in the directions that Scherer 2003 ("Vocal communication of emotion", table 4) found."""

_LIMITS = {"speed": (0.25, 4.0), "pitch": (-24.0, 24.0), "pitch_range": (0.0, 5.0), "energy": (-30.0, 20.0), "pause": (0.0, 10.0)}  # fmt: skip


def within(name: str, value: float) -> float:
    """The value of a field of ``Manner``; raises RecipeError where it is out of range, or no number.

    >>> within("pitch", 2.0)
    2.0
    """
    low, high = _LIMITS[name]
    if not low <= value <= high:
        raise RecipeError(f"{name} would be {value:g}; it must lie between {low:g} and {high:g}")
    return value


def manner(emotion: str = "neutral", **changes: float | None) -> Manner:
    """An emotion's manner, further moved: speeds and ranges are multiplied, semitones and dB added.

    Raises:
        RecipeError: an unknown emotion, or a number out of range.

    >>> manner("sad", speed=1.0, pitch=2.0).pitch
    0.0
    """
    if emotion not in EMOTIONS:
        raise RecipeError(f"unknown emotion {emotion!r}{nearest(emotion, EMOTIONS)}")
    out = EMOTIONS[emotion]._asdict()
    for name, value in changes.items():
        if value is not None:
            out[name] = out[name] + value if name in {"pitch", "energy"} else out[name] * value
    return Manner(**{name: within(name, value) for name, value in out.items()})
