"""``bottega compose check``: is a tune a copy?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import Reader
from bottega.cli._shared import Json, Out, Quiet, whole_run

__all__ = ["check"]

PANEL, PLACE = "Without a run", 30
EXAMPLES = """\
  bottega compose check song.mid --against my/songs
  bottega compose check pieces/ --run runs/chorales            against what the run was trained on
"""


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A score, or a folder of them.")],
    against: Annotated[list[Path], typer.Option("--against", metavar="PATH", help="Scores to compare with: a file, folder or archive; may be given many times.")] = [],  # noqa: B006
    run: Annotated[Path | None, typer.Option("--run", metavar="RUN", help="Compare with what this run was trained on.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Find passages that a tune shares with others, in whatever key and at whatever pace, and say how telling they are.

    A shared passage counts the information of its steps, so common runs say little. What exceeds chance by more than 12 nats
    is called a copy: a reason to look, not a verdict. Exit status 3 where one is found. Files of a folder that cannot be read
    are left out, and it says so.
    """
    from bottega.crafts.compose_check import Library

    say, scores = Out(as_json, quiet), Reader()
    if run is None and not against:
        raise typer.BadParameter("name what to compare with", param_hint="--against or --run")
    others = [item for path in against for item in scores.read(path)]
    if run is not None:
        from bottega.crafts.compose_check import learned
        from bottega.workshop.run import load

        others += learned(load(whole_run(run)))
    library = Library(others)
    rows, told = [], []
    for item in scores.read(file):
        found = library.compare(item.value)
        if found is None:
            rows.append((item.name, "too short to say", "", "", "", ""))
            continue
        told.append({"file": item.name, **vars(found), "copy": found.copy})
        rows.append((item.name, "COPY?" if found.copy else "own", found.name, f"{found.evidence:.1f}", str(found.notes), f"{found.transposed:+d}, {found.pace:.2g}"))  # fmt: skip
    say.table(("piece", "is", "nearest", "nats beyond chance", "notes", "semitones, pace"), rows, numeric=(3, 4))
    scores.tell(say)
    say.result({"library": len(library.names), "pieces": told, "skipped": scores.skipped})
    if any(one["copy"] for one in told):
        raise typer.Exit(3)  # 1 is a fault of ours
