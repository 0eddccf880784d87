"""``bottega write entities``: the names in texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, whole_run
from bottega.cli._write._texts import given

__all__ = ["entities"]

PANEL, PLACE = "With a run", 26
EXAMPLES = """\
  bottega write entities runs/names "Rarora Bank opened an office in Palstad."
  bottega write entities runs/names lines.txt --json
"""


def entities(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run of a reader with tags (codec labelled, kind tags).")],
    text: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="A text on each line: a UTF-8 file, the text itself, or - for standard input.")],
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Find names and what they are of (people, places, times, whatever the run has learned) in each line of a text.

    Places are characters of the line, as given.
    """
    from bottega.crafts import write_labels as craft
    from bottega.workshop.run import load

    say, lines = Out(as_json, quiet), [line for line in given(text).splitlines() if line.strip()]
    found = craft.entities(load(whole_run(run), device=device), lines)
    rows = [
        (e.text, e.label, f"{e.start}-{e.end}", line) for line, some in zip(lines, found, strict=True) for e in some
    ]
    if rows and not as_json:
        say.table(("name", "is", "characters", "in"), rows)
    say.note(f"{len(rows)} names in {len(lines)} texts")
    say.result({"texts": [{"text": line, "entities": some} for line, some in zip(lines, found, strict=True)]})
