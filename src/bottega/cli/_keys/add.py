"""``bottega keys add``: a new API key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["add_key"]

PANEL, PLACE = "API keys", 1
EXAMPLES = """\
  bottega keys add phone
  bottega keys add anns-laptop --role admin --user ann --days 365
  bottega keys add robot --per-minute 60 --per-day 5000 --signs ed25519
"""


def add_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for; unique, and kept when it is rotated.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, maker, trainer or admin.")] = "maker",
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Whose it is.")] = None,
    days: Annotated[float | None, typer.Option("--days", metavar="N", help="Until it expires; for ever by default.")] = None,
    per_minute: Annotated[int | None, typer.Option("--per-minute", metavar="N", help="Requests; the server's limit by default.")] = None,
    per_day: Annotated[int | None, typer.Option("--per-day", metavar="N", help="Requests; the server's limit by default.")] = None,
    signs: Annotated[str | None, typer.Option("--signs", metavar="ALG", help="Make a secret to sign requests with: ed25519 or hmac-sha256.")] = None,
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make an API key and show it: this once, for only its hash is kept."""
    say = Out(as_json, quiet)
    with opened(home, state, master, make=True) as at:
        new = at.keys.add(name, role, user=user, seconds=None if days is None else days * 86_400, per_minute=per_minute,
                          per_day=per_day, signs_with=signs)  # fmt: skip
        at.trace("key added", of=name, key=new.id, role=role, user=user)
    say.say(new.key)
    if new.signing:
        say.say(new.signing)
        say.note("the second line is the secret that signs requests")
    say.note("it is not shown again; callers send it as  Authorization: Bearer KEY")
    say.result({"id": new.id, "name": name, "role": role, "key": new.key, "signing": new.signing or None})
