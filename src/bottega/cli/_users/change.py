"""``bottega users change``: another role, out, or in again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["change_user"]

PANEL, PLACE = "Users", 3
EXAMPLES = """\
  bottega users change ann --role trainer
  bottega users change ann --disable
"""


def change_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the user.")],
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help="viewer, maker, trainer or admin.")] = None,
    disable: Annotated[bool | None, typer.Option("--disable/--enable", help="Shut them out with all their keys, or let them in again.")] = None,
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Give a user another role, shut them out, or let them in again."""
    from dataclasses import asdict

    say = Out(as_json, quiet)
    with opened(home, state, master) as at:
        made = at.keys.users.change(name, role=role, disabled=disable)
        at.trace("user changed", of=name, role=role, disabled=disable)
    say.say(f"{made.name} is {made.role}{', disabled' if made.disabled else ''}")
    say.result(asdict(made))
