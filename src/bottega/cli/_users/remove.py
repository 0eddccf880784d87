"""``bottega users remove``: take a user away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["remove_user"]

PANEL, PLACE = "Users", 5
EXAMPLES = """\
  bottega users remove ann
"""


def remove_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the user.")],
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take a user away with all their keys. The log keeps what they did."""
    say = Out(as_json, quiet)
    with opened(home, state, master) as at:
        at.keys.users.remove(name)
        at.trace("user removed", of=name)
    say.say(f"{name} is gone, with all their keys")
    say.result({"removed": name})
