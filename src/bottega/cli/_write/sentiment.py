"""``bottega write sentiment``: which class texts are of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, whole_run
from bottega.cli._write._texts import given

__all__ = ["sentiment"]

PANEL, PLACE = "With a run", 25
EXAMPLES = """\
  bottega write sentiment runs/reviews "The bed was great, the food was not."
  bottega write sentiment runs/reviews lines.txt --json
"""


def sentiment(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run of a reader with classes (codec labelled).")],
    text: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="A text on each line: a UTF-8 file, the text itself, or - for standard input.")],
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Say how each line of a text is meant, or any other class that the run has learned to tell.

    `bottega judge RUN` says how often that is right on texts that training never saw, beside counting words.
    """
    from bottega.crafts import write_labels as craft
    from bottega.workshop.run import load

    say, lines = Out(as_json, quiet), [line for line in given(text).splitlines() if line.strip()]
    found = craft.sentiment(load(whole_run(run), device=device), lines)
    if not as_json:
        say.table(
            ("class", "probability", "text"), [(f.label, f"{f.probability:.2f}", f.text) for f in found], numeric=(1,)
        )
    say.result({"texts": found})
