"""``bottega keys rotate``: a new API key in the place of an old one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["rotate_key"]

PANEL, PLACE = "API keys", 3
EXAMPLES = """\
  bottega keys rotate phone
  bottega keys rotate phone --overlap-hours 0            the old one ends now
"""


def rotate_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the key, or its id.")],
    overlap: Annotated[float, typer.Option("--overlap-hours", metavar="N", min=0, help="For which the old one goes on.")] = 24.0,
    days: Annotated[float | None, typer.Option("--days", metavar="N", help="Until the new one expires; as long as the old one had by default.")] = None,
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make the successor of a key and show it once; the old one goes on for a while, so that nobody is shut out."""
    say = Out(as_json, quiet)
    with opened(home, state, master) as at:
        new = at.keys.rotate(name, overlap=overlap * 3600, seconds=None if days is None else days * 86_400)
        at.trace("key rotated", of=name, key=new.id)
    say.say(new.key)
    if new.signing:
        say.say(new.signing)
    say.note(f"it is not shown again; the old one ends in {overlap:g} hours")
    say.result({"id": new.id, "key": new.key, "signing": new.signing or None})
