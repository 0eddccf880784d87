"""``bottega chat new``: an example bot, to be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["new"]

PANEL, PLACE = "Make", 1
EXAMPLES = """\
  bottega chat new shop
"""


def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An empty folder, or one that is not there.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a working bot to begin from: a plant shop with orders, returns, knowledge, hand-off and tests."""
    from bottega.crafts import chat_scripts as craft

    say = Out(as_json, quiet)
    files = craft.new(folder)
    for path in files:
        say.say(str(path))
    say.note(f"\nbottega chat {folder}   talks to it\nbottega chat test {folder}   runs its conversations")
    say.result({"folder": folder, "files": files})
