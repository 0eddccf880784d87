"""What the tasks of the desk share: reading, writing with a mark, references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bottega.core import Sound

__all__ = ["Bits", "SoundOut", "deliver", "sounds_of"]

SoundOut = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where the result goes, .wav or .flac; beside the first file by default.")]  # fmt: skip
Bits = Annotated[int, typer.Option("--bits", metavar="16|24|32", help="Of what is written; 32 are floats, WAV only.")]


def deliver(sound: Sound, task: str, out: Path | None, beside: Path, bits: int, sources: Sequence[Path] = (), seed: int = 0, weights: str = "") -> Path:  # fmt: skip
    """Write a sound that a task made, marked; returns its path."""
    from bottega.codecs._sound_files import sound_path, write_sound
    from bottega.core import OutputError
    from bottega.crafts.mix_mark import desk_mark

    whole = beside.resolve()  # "." has no name of its own
    path = sound_path(out or whole.with_name(f"{whole.stem}-{task}.wav"))
    if any(path.exists() and path.samefile(source) for source in sources if source.exists()):
        raise OutputError(f"{path} is what was given; choose another place with --out")
    if bits not in (16, 24, 32):
        raise typer.BadParameter(f"{bits} is no depth of samples; 16, 24 or 32", param_hint="--bits")
    return write_sound(sound, path, bits=bits, mark=desk_mark(task, sources, seed=seed, weights=weights))


def sounds_of(path: Path) -> list[tuple[str, Sound]]:
    """Every recording of a file, folder or archive, by name."""
    from bottega.codecs._sound_files import read_sounds

    return [(item.name, item.value) for item in read_sounds(path, labels="none", skipped=None)]
