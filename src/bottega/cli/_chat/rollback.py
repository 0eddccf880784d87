"""``bottega chat rollback``: the model before speaks again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["rollback"]

PANEL, PLACE = "Look after", 7
EXAMPLES = """\
  bottega chat rollback shop
"""


def rollback(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The bot.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; it is recorded.")] = "local",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take back the last promotion; again for the one before."""
    from bottega.crafts import chat_feedback as craft
    from bottega.crafts.chat_folder import read_folder

    say = Out(as_json, quiet)
    line = craft.rollback(read_folder(folder), by=by)
    say.say(f"{line['run'] or 'no model'} speaks now")
    say.result(line)
