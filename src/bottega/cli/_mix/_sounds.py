"""What the tasks of the desk share: reading, writing with a mark, references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottega.cli._shared import settings, sound_out

if TYPE_CHECKING:
    from bottega.cli._shared import Out
    from bottega.core import Sound

__all__ = [
    "SHORTEST", "Bits", "SoundOut", "amounts", "deliver", "heard", "note_clipping", "place", "rows_of",
    "sounds_of", "speed",
]  # fmt: skip

SoundOut = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where the result goes, .wav or .flac; beside the first file by default.")]  # fmt: skip
Bits = Annotated[int, typer.Option("--bits", metavar="16|24|32", help="Of what is written; 32 are floats, WAV only.")]

SHORTEST = 0.01
"""Seconds of the shortest recording that effects are put on; in less there is nothing to hear."""
_TIMED = 0.1  # seconds below which a real-time factor says how long a call takes, not how fast an effect is


def place(task: str, out: Path | None, beside: Path, bits: int, sources: Sequence[Path] = (), picture: Path | None = None) -> Path:  # fmt: skip
    """Where a task's result goes; asked before the work, so that a place that cannot be written is no work lost.

    Args:
        task: its name, which the default place ends with.
        out: where it was told to go.
        beside: the file that the default place lies beside.
        bits: of a sample.
        sources: all that is read; what lies in a folder of them is not written over either.
        picture: a picture that is written too.

    Raises:
        BadParameter: no such depth of samples.
        OutputError: it is one of the sources, of no format that is written, or cannot be written; nor can the picture.
    """
    if bits not in (16, 24, 32):
        raise typer.BadParameter(f"{bits} is no depth of samples; 16, 24 or 32", param_hint="--bits")
    whole = beside.resolve()  # "." has no name of its own
    return sound_out(out or whole.with_name(f"{whole.stem}-{task}.wav"), sources, picture, bits)


def deliver(sound: Sound, path: Path, task: str, bits: int, sources: Sequence[Path] = (), seed: int = 0, weights: str = "") -> Path:  # fmt: skip
    """Write a sound that a task made, marked, to what ``place`` said; returns its path."""
    from bottega.codecs._sound_files import write_sound
    from bottega.crafts.mix_mark import desk_mark

    return write_sound(sound, path, bits=bits, mark=desk_mark(task, sources, seed=seed, weights=weights))


def heard(path: Path, most_channels: int = 2, least_seconds: float = 0.4, least_rate: int = 4000) -> Sound:
    """One recording that can be worked on; errors name its file."""
    from bottega.codecs._sound_files import read_sound
    from bottega.crafts._ears import checked

    return checked(read_sound(path), str(path), most_channels, least_seconds, least_rate)


def sounds_of(path: Path, most_channels: int = 2, least_seconds: float = 0.4) -> list[tuple[str, Sound]]:
    """Every recording of a file, folder or archive, by name, each one that can be worked on; errors name its file."""
    from bottega.codecs._files import is_archive
    from bottega.codecs._sound_files import read_sounds
    from bottega.crafts._ears import checked

    many = path.is_dir() or is_archive(path)
    return [
        (item.name, checked(item.value, f"{path}/{item.name}" if many else str(path), most_channels, least_seconds))
        for item in read_sounds(path, labels="none", skipped=None)
    ]


def note_clipping(say: Out, sounds: Mapping[str, Sound]) -> None:
    """Say which of what was given is clipped: nothing that is done here gives back what was lost."""
    from bottega.nets.clipping import CLIPPED, clipping_percent

    for name, sound in sounds.items():
        if (share := clipping_percent(sound)) > CLIPPED:
            say.note(
                f"{name} is clipped: {share:.2g} % of its samples stand in flat tops, and nothing gives back what was above"
            )


def amounts(pairs: Sequence[str], option: str, what: str) -> dict[str, float]:
    """``["a=1"] -> {"a": 1.0}``; a usage error names the pair that is no number."""
    out = {}
    for name, value in settings(pairs, option).items():
        try:
            out[name] = float(value)
        except ValueError:
            raise typer.BadParameter(f"{name}={value} is no {what}", param_hint=option) from None
    return out


def speed(spent: float, seconds: float) -> dict[str, float | None]:
    """``real_time_factor``: seconds of work for one of sound; None of a sound too short to tell."""
    return {"real_time_factor": spent / seconds if seconds >= _TIMED else None}


def rows_of(told: Mapping[str, object]) -> list[tuple[str, str]]:
    """Names and values for people; what is None is left out."""
    return [
        (k.replace("_", " "), f"{v:.3g}" if isinstance(v, float) else str(v)) for k, v in told.items() if v is not None
    ]
