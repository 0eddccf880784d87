"""``bottega compose harmonise``: three voices below a melody."""

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

__all__ = ["harmonise"]

PANEL, PLACE = "With a run", 22
EXAMPLES = """\
  bottega compose harmonise runs/chorales melody.mid
  bottega compose harmonise runs/chorales song.abc -n 5 --key "D major" --transpose -3
"""


def harmonise(
    run: RunOf,
    file: Piece,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many ways.")] = 3,
    transpose: Annotated[int, typer.Option("--transpose", metavar="N", help="Move the melody by so many semitones first.")] = 0,
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
    """Set a melody for four voices: alto, tenor and bass below it, in several ways that keep every rule of voice leading."""
    from bottega.crafts import compose as craft
    from bottega.workshop.run import load

    say, kinds, melody = Out(as_json, quiet), wanted(formats), piece_of(file, key, transpose)
    made = load(whole_run(run), device=device)
    with say.progress() as watch:
        pieces = craft.harmonise(
            made, melody, n=n, seed=seed, temperature=temperature, accidentals=accidentals, particles=particles,
            tell=watch or (lambda _: None),
        )  # fmt: skip
    deliver(say, made, pieces, out / f"{file.stem}-harmonised", kinds)
