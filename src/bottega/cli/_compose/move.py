"""``bottega compose move``: a piece with less and more of something."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import ALL, Folder, Formats, Piece, RunWithCodes, deliver, piece_of, wanted
from bottega.cli._shared import Device, Json, Out, Quiet, whole_run

__all__ = ["move"]

PANEL, PLACE = "With a run", 25
EXAMPLES = """\
  bottega compose move runs/tunes-vae song.mid --of density
  bottega compose move runs/tunes-vae song.mid --of height -n 9 --most 3 --formats mid
"""


def move(
    run: RunWithCodes,
    file: Piece,
    of: Annotated[str, typer.Option("--of", metavar="WHAT", help="density (notes a quarter), height (mean pitch) or leaps (of the highest line).")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=2, help="How many pieces, from the least to the most.")] = 5,
    most: Annotated[float, typer.Option("--most", metavar="X", help="How far to go, in spreads of the training pieces.")] = 2.0,
    out: Folder = Path("pieces"),
    formats: Formats = ALL,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write a piece with less and more of an attribute, by a run with codes (family musicvae).

    Directions are found from the training pieces that have most and least of it: the nearest ones, and all. About each step
    several codes are decoded, and one is taken so that what is asked for grows; where none has more, the step before stays.
    It says how much each piece has.
    """
    from bottega.crafts import compose_blend as craft
    from bottega.workshop.run import load

    craft.attribute(of)
    say, kinds, piece = Out(as_json, quiet), wanted(formats), piece_of(file)
    made = load(whole_run(run), device=device)
    way = craft.move(made, piece, of, n=n, most=most)
    deliver(say, made, way.pieces, out / f"{file.stem}-{of}", kinds, at=way.at, kept=way.kept, **way.attribute)
    rows = [(f"{a:+.2g}", f"{v:.3g}") for a, v in zip(way.at, way.attribute[of], strict=True)]
    if not as_json:
        say.table(("spreads", of), rows, numeric=(0, 1))
    say.note(f"of the piece itself {way.kept[0]:.0%} comes back from its code")
