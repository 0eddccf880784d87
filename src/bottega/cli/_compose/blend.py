"""``bottega compose blend``: pieces between two pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import ALL, Folder, Formats, Piece, RunWithCodes, deliver, piece_of, wanted
from bottega.cli._shared import Device, Json, Out, Quiet, whole_run

__all__ = ["blend"]

PANEL, PLACE = "With a run", 24
EXAMPLES = """\
  bottega compose blend runs/tunes-vae first.mid last.mid -n 7
  bottega compose blend runs/tunes-vae a.musicxml b.musicxml --formats mid --json
"""


def blend(
    run: RunWithCodes,
    first: Piece,
    last: Annotated[Path, typer.Argument(metavar="FILE", help="The other score.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=2, help="How many pieces, the two ends among them.")] = 5,
    out: Folder = Path("pieces"),
    formats: Formats = ALL,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write pieces that lie between two, by a run with codes (family musicvae).

    Both are brought into the run's key and grid; of a longer piece the beginning is taken. It says how much of the two ends
    comes back from their codes: where that is little, so is what lies between worth.
    """
    from bottega.crafts import compose_blend as craft
    from bottega.workshop.run import load

    say, kinds, a, b = Out(as_json, quiet), wanted(formats), piece_of(first), piece_of(last)
    made = load(whole_run(run), device=device)
    way = craft.blend(made, a, b, n=n)
    deliver(say, made, way.pieces, out / f"{first.stem}-{last.stem}", kinds, at=way.at, kept=way.kept, **way.attribute)
    say.note(f"of the first piece {way.kept[0]:.0%} comes back from its code, of the last {way.kept[1]:.0%}")
