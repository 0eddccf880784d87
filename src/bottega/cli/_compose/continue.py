"""``bottega compose continue``: a piece of four voices goes on."""

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

__all__ = ["continue_"]

PANEL, PLACE = "With a run", 20
EXAMPLES = """\
  bottega compose continue runs/chorales beginning.mid --bars 8
  bottega compose continue runs/chorales chorale.musicxml --behind 4 -n 3 --out versions
"""


def continue_(
    run: RunOf,
    file: Piece,
    bars: Annotated[int, typer.Option("--bars", metavar="N", min=1, help="How many bars to write; they come to an end.")] = 8,
    behind: Annotated[int, typer.Option("--behind", metavar="N", min=0, help="Go on behind so many bars of it; 0 behind all.")] = 0,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many ways.")] = 1,
    free: Annotated[bool, typer.Option("--free", help="Let the rules of voice leading go.")] = False,
    key: Key = None,
    temperature: Temperature = 0.8,
    accidentals: Accidentals = 1.0,
    particles: Particles = 8,
    out: Folder = Path("pieces"),
    formats: Formats = ALL,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Go on from a piece of four voices, to an end; every note of it stays.

    What is written keeps the rules of voice leading: ranges, no crossing, no parallel fifths or octaves, no wide leaps.
    """
    from bottega.crafts import compose as craft
    from bottega.workshop.run import load

    say, kinds, score = Out(as_json, quiet), wanted(formats), piece_of(file, key)
    made = load(whole_run(run), device=device)
    with say.progress() as watch:
        pieces = craft.continue_(
            made, score, bars=bars, keep_bars=behind, n=n, seed=seed, temperature=temperature, accidentals=accidentals,
            particles=particles, rules=not free, tell=watch or (lambda _: None),
        )  # fmt: skip
    deliver(say, made, pieces, out / f"{file.stem}-continued", kinds)
