"""``bottega compose reharmonise``: other voices below the highest one of a piece."""

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
from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run

__all__ = ["reharmonise"]

PANEL, PLACE = "With a run", 23
EXAMPLES = """\
  bottega compose reharmonise runs/chorales chorale.musicxml -n 3
"""


def reharmonise(
    run: RunOf,
    file: Piece,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many ways; those that differ most come first.")] = 3,
    key: Key = None,
    temperature: Temperature = 0.9,
    accidentals: Accidentals = 1.0,
    particles: Particles = 16,
    out: Folder = Path("pieces"),
    formats: Formats = ALL,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Set the highest voice of a piece anew; no rule of voice leading is broken."""
    from bottega.crafts import compose as craft
    from bottega.workshop.run import load

    say, kinds, score = Out(as_json, quiet), wanted(formats), piece_of(file, key)
    made = load(whole_run(run), device=device)
    with say.progress() as watch:
        pieces = craft.reharmonise(
            made, score, n=n, seed=seed, temperature=temperature, accidentals=accidentals, particles=particles,
            tell=watch or (lambda _: None),
        )  # fmt: skip
    shares = [craft.differ(one.score, score) for one in pieces]
    deliver(say, made, pieces, out / f"{file.stem}-reharmonised", kinds, chords_that_differ=shares)
