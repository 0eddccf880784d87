"""``bottega keys revoke``: end an API key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["revoke_key"]

PANEL, PLACE = "API keys", 4
EXAMPLES = """\
  bottega keys revoke phone                              all keys of that name
  bottega keys revoke 5qz2vl7mwx4a                       one, by its id
"""


def revoke_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the key, or its id.")],
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """End a key: a running server refuses it within a second."""
    say = Out(as_json, quiet)
    with opened(home, state, master) as at:
        ended = at.keys.revoke(name)
        at.trace("key revoked", of=name, keys=ended)
    say.say(f"revoked {', '.join(ended)}" if ended else f"{name} was revoked already")
    say.result({"revoked": ended})
