"""``bottega compose coverage``: which styles a collection has."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import Reader
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["coverage"]

PANEL, PLACE = "Without a run", 31
EXAMPLES = """\
  bottega compose coverage my/scores                      folders are styles
  bottega compose coverage pieces --against my/scores     what a model leaves out of what it learned
"""


def coverage(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Scores; the folder that each lies in is its style.")],
    against: Annotated[Path | None, typer.Option("--against", metavar="DIR", help="Another collection, whose shares are what is wanted; an even share by default.")] = None,
    style: Annotated[list[str], typer.Option("--style", metavar="NAME", help="A style that should be there; may be given many times.")] = [],  # noqa: B006
    axis: Annotated[str | None, typer.Option("--axis", metavar="NAME", help="Only style, mode, metre, tempo, density or key.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Show how many pieces have each style, mode, metre, tempo, density and key, and mark what there is too little of.

    Files that cannot be read are left out, and it says so.
    """
    from bottega.crafts.compose_coverage import AXES
    from bottega.crafts.compose_coverage import coverage as craft

    if axis is not None and axis not in AXES:
        raise typer.BadParameter(f"no axis called {axis!r}; there are {', '.join(AXES)}", param_hint="--axis")
    say, scores = Out(as_json, quiet), Reader()
    items = scores.read(folder)
    cells = [c for c in craft(items, scores.read(against) if against else (), style) if axis in {None, c.axis}]
    rows = [(c.axis, c.value, str(c.pieces), f"{100 * c.share:.1f}", f"{100 * c.low:.1f} to {100 * c.high:.1f}", f"{100 * c.wanted:.1f}", "too few" if c.few else "") for c in cells]  # fmt: skip
    say.table(("axis", "value", "pieces", "%", "95 %", "wanted %", ""), rows, numeric=(2, 3, 4, 5))
    scores.tell(say)
    say.result({"pieces": len(items), "cells": [asdict(c) for c in cells], "skipped": scores.skipped})
