"""``bottega keys list``: the API keys of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, moment, now, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["list_keys"]

PANEL, PLACE = "API keys", 2
EXAMPLES = """\
  bottega keys list
  bottega keys list --all --json
"""


def list_keys(
    every: Annotated[bool, typer.Option("--all", help="Those too that were revoked or have expired.")] = False,
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List API keys: what they are called and good for, never the keys themselves."""
    from dataclasses import asdict

    say = Out(as_json, quiet)
    with opened(home, state, master) as at:
        found = [key for key in at.keys.list() if every or key.status(now()) == "active"]
    rows = [
        (k.name, k.id, k.role, k.user or "–", k.status(now()), moment(k.created), moment(k.expires, "never"))
        for k in found
    ]
    if rows:
        say.table(("name", "id", "role", "user", "status", "made", "expires"), rows)
    else:
        say.say("there are no keys" if every else "there are no active keys")
    say.result({"keys": [{**asdict(k), "status": k.status(now())} for k in found]})
