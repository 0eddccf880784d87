"""``bottega users add``: a new user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["add_user"]

PANEL, PLACE = "Users", 1
EXAMPLES = """\
  bottega users add ann --role admin
"""


def add_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Unique.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, maker, trainer or admin: the most that their keys may do.")] = "maker",
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make a user."""
    from dataclasses import asdict

    say = Out(as_json, quiet)
    with opened(home, state, master, make=True) as at:
        made = at.keys.users.add(name, role)
        at.trace("user added", of=name, role=role)
    say.say(f"{made.name} is {made.role}")
    say.note(f"bottega keys add NAME --role {role} --user {name}   makes a key of theirs")
    say.result(asdict(made))
