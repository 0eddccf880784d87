"""``bottega chat promote``: another model speaks from now on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["promote"]

PANEL, PLACE = "Look after", 6
EXAMPLES = """\
  bottega chat promote shop shop/.bot/models/1
"""


def promote(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The bot.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The model.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; it is recorded.")] = "local",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let a model speak for a bot. The record in .bot/versions.jsonl has its hash, and each line that of the one before.

    A server that runs takes the new model when it is started again.
    """
    from bottega.crafts import chat_feedback as craft
    from bottega.crafts.chat_folder import read_folder

    say = Out(as_json, quiet)
    line = craft.promote(read_folder(folder), run, by=by)
    say.say(f"{line['run']} speaks now (weights {line['weights'][:16]})")
    say.result(line)
