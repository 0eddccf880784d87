"""``bottega chat test``: scripted conversations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["test"]

PANEL, PLACE = "Make", 3
EXAMPLES = """\
  bottega chat test shop
  bottega chat test shop more.toml --json
"""


def test(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The bot.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Conversations; FOLDER/tests/*.toml by default.")
    ] = [],  # noqa: B006
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the folder and run its scripted conversations, each with a new user and a state that is thrown away.

    The status is 3 when an answer is not as the script says.
    """
    from bottega.crafts import chat_scripts as craft

    say = Out(as_json, quiet)
    done = []
    for case in craft.run_scripts(folder, list(files) or None):
        done.append(case)
        say.say(f"{'fails' if case.faults else 'ok':<6}{case.name}  ({case.file}, line {case.line})")
        for fault in case.faults:
            say.say(f"      {fault}")
    bad = sum(bool(case.faults) for case in done)
    say.say(f"{len(done) - bad} of {len(done)} conversations go as they should")
    say.result({"folder": folder, "cases": done, "failed": bad})
    if bad:
        raise typer.Exit(3)
