"""``bottega explore``: the space of a run's codes, as a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run

if TYPE_CHECKING:
    from bottega.core import Item

__all__ = ["explore"]

PANEL, PLACE = "Judge", 22
EXAMPLES = """\
  bottega explore runs/digits                              a map, ways between pieces, versions
  bottega explore runs/digits --from three.png --to eight.png --steps 12
  bottega explore runs/scans --vary scan.png --versions 16 --spread 0.3
"""


def explore(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of pictures, or its model.safetensors.")],
    first: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="Where the way begins; pieces that were kept back by default.")] = None,
    last: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Where it ends.")] = None,
    source: Annotated[Path | None, typer.Option("--vary", metavar="FILE", help="The picture to make versions of, as files of their own.")] = None,
    versions: Annotated[int, typer.Option("--versions", metavar="N", min=1, help="How many.")] = 8,
    spread: Annotated[float, typer.Option("--spread", metavar="SHARE", help="How far they go, as a share of the spread of all codes.")] = 0.5,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=2, help="Pieces on each way, its ends included.")] = 9,
    n: Annotated[int, typer.Option("-n", metavar="N", min=3, help="Pieces on the map, at most.")] = 1000,
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="Other pieces than those that were kept back.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="RUN/explore by default.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Show the space of a run's codes: a map of pieces, ways from one to another, versions of one.

    Writes explore.html, one page that needs no other file, with a picture and a GIF of the ways and a picture of the
    versions beside it. For models with codes of real numbers (`bottega show RUN` says encode).
    """
    if (first is None) != (last is None):
        raise typer.BadParameter("a way needs both ends; give --from and --to", param_hint="--from")
    from bottega.crafts import explore as craft
    from bottega.workshop.run import load

    say, made = Out(as_json, quiet), load(whole_run(run), device=device)

    def read(path: Path) -> Item:
        return made.codec.read(path)[0]

    told = craft.explore(
        made, out, data=data, n=n, ends=None if first is None else (read(first), read(last)),
        source=None if source is None else read(source), versions=versions, spread=spread, steps=steps, seed=seed,
    )  # fmt: skip
    from bottega.workshop.figures import figure

    shown = [
        (key.replace("_", " "), figure(v) if isinstance(v, float) else str(v))
        for key, v in told.items()
        if v is not None
    ]
    if not as_json:
        say.pairs(shown)
    say.result({"run": made.path, **told})
