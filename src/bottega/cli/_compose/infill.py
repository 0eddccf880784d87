"""``bottega compose infill``: bars of a piece, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import (  # fmt: skip
    ALL,
    Accidentals,
    Folder,
    Formats,
    Key,
    Particles,
    Piece,
    RunOf,
    Temperature,
    deliver,
    piece_of,
    wanted,
)
from bottega.cli._shared import Device, Json, Out, Quiet, Seed, numbers, whole_run

__all__ = ["infill"]

PANEL, PLACE = "With a run", 21
EXAMPLES = """\
  bottega compose infill runs/chorales chorale.mid --bars 5-6 -n 3
"""


def infill(
    run: RunOf,
    file: Piece,
    bars: Annotated[str, typer.Option("--bars", metavar="A-B", help="Which bars to write anew, 1 is the first (an upbeat counts): 5, or 5-6.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many ways.")] = 1,
    free: Annotated[bool, typer.Option("--free", help="Let the rules of voice leading go.")] = False,
    key: Key = None,
    temperature: Temperature = 0.8,
    accidentals: Accidentals = 1.0,
    particles: Particles = 16,
    out: Folder = Path("pieces"),
    formats: Formats = ALL,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write bars of a piece of four voices anew, so that they meet what stands around them."""
    from bottega.crafts import compose as craft
    from bottega.workshop.run import load

    say, kinds = Out(as_json, quiet), wanted(formats)
    which = numbers(bars, "--bars", "bar")
    score = piece_of(file, key)
    made = load(whole_run(run), device=device)
    with say.progress() as watch:
        pieces = craft.infill(
            made, score, which[0], which[-1], n=n, seed=seed, temperature=temperature, accidentals=accidentals,
            particles=particles, rules=not free, tell=watch or (lambda _: None),
        )  # fmt: skip
    deliver(say, made, pieces, out / f"{file.stem}-filled", kinds)
