"""What the tasks with notes share: their options, and writing what was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._shared import Out

if TYPE_CHECKING:
    from bottega.core import Item
    from bottega.crafts.compose import Made
    from bottega.workshop.run import Run

__all__ = [
    "Accidentals",
    "Folder",
    "Formats",
    "Key",
    "Particles",
    "Piece",
    "Reader",
    "RunOf",
    "RunWithCodes",
    "Temperature",
    "deliver",
    "piece_of",
    "wanted",
]

RunOf = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of four voices (bottega train chorales), or its model.safetensors.")]  # fmt: skip
RunWithCodes = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of music with codes, or its model.safetensors.")]  # fmt: skip
Piece = Annotated[Path, typer.Argument(metavar="FILE", help="A score: MIDI, MusicXML or ABC.")]
Folder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the pieces go.")]
Formats = Annotated[str, typer.Option("--formats", metavar="LIST", help="Of mid, musicxml, wav and png, with commas between.")]  # fmt: skip
Temperature = Annotated[float, typer.Option("--temperature", metavar="X", help="Which notes are struck: above 1 more adventurous, below 1 nearer to what the model finds likeliest.")]  # fmt: skip
Accidentals = Annotated[float, typer.Option("--accidentals", metavar="X", help="What a pitch outside the key keeps of its probability, 0 to 1.")]  # fmt: skip
Particles = Annotated[int, typer.Option("--particles", metavar="N", min=1, help="Drafts that follow each way; more find likelier ones.")]  # fmt: skip
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="The key, such as 'G major'; as written in the file, else as heard.")]  # fmt: skip
ALL = "mid,musicxml,wav,png"


class Reader:
    """Reads scores: a file must be whole, of a folder or archive what cannot be read is left out and remembered.

    Attributes:
        skipped: why each was left out, of all that was read.
    """

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def read(self, path: Path) -> list[Item]:
        """The scores there; raises DataError for a file that cannot be read, and for a folder of which nothing can."""
        from bottega.codecs._files import many
        from bottega.codecs.music import MusicCodec

        codec = MusicCodec(on_error="skip" if many(path) else "stop", labels="none")
        items = codec.read(path)
        self.skipped += codec.skipped
        return items

    def tell(self, say: Out) -> None:
        """A line that says how many were left out, and why the first was."""
        if self.skipped:
            say.note(f"{len(self.skipped)} files that cannot be read were left out, the first: {self.skipped[0]}")


def wanted(formats: str) -> list[str]:
    """The formats of a list; a usage error for an unknown one."""
    from bottega.crafts.compose import FORMATS

    out = [f.strip().lstrip(".") for f in formats.split(",") if f.strip()]
    for name in out:
        if name not in FORMATS:
            raise typer.BadParameter(
                f"no format called {name!r}; there are {', '.join(FORMATS)}", param_hint="--formats"
            )
    return out or list(FORMATS)


def piece_of(path: Path, key: str | None = None, transpose: int = 0) -> Any:
    """The score of a file, in the key that is said, moved as asked."""
    from dataclasses import replace

    from bottega.core import RecipeError
    from bottega.core.score import parse_key
    from bottega.crafts.compose import one_piece

    score = one_piece(path)
    if key is not None:
        try:
            score = replace(score, keys=((0, parse_key(key)),))
        except ValueError as error:
            raise RecipeError(str(error)) from None
    return score.transposed(transpose)


def deliver(say: Out, run: Run, made: Sequence[Made], stem: Path, formats: Sequence[str], **more: Any) -> None:
    """Write the pieces, and say what they are like."""
    from bottega.crafts.compose import save
    from bottega.workshop.figures import figure

    told = []
    for number, one in enumerate(made, 1):
        place = stem.with_name(f"{stem.name}-{number}") if len(made) > 1 else stem
        files = save(run, one, place, formats)
        said = {k: v for k, v in one.said.items() if v == v}
        told.append({**said, "files": files, "broken": [f.text for f in one.faults]})
        say.say("  ".join(str(f) for f in files))
        say.say(
            "  "
            + ", ".join(f"{k.replace('_', ' ')} {figure(v) if isinstance(v, float) else v}" for k, v in said.items())
        )
        for fault in one.faults[:5]:
            say.say(f"  at quarter {fault.tick / one.score.ticks:g}: {fault.text}")
    say.result({"run": run.path, "weights": run.weights_hash, "pieces": told, **more})
