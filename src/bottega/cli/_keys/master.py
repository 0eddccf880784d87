"""``bottega keys master``: the key that seals secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["master_key"]

PANEL, PLACE = "Secrets", 10
EXAMPLES = """\
  bottega keys master master.key
  bottega keys seal backup.tar --master-key master.key   and BOTTEGA_MASTER_KEY for bottega serve
"""


def master_key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where it goes; readable by you only.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a master key: 32 random bytes. What it seals is lost with it, so keep a copy elsewhere."""
    from bottega.cli._guarded import _needs_serve

    _needs_serve()
    from bottega.serve.seal import new_master_key

    say = Out(as_json, quiet)
    new_master_key(path)
    say.say(f"{path}")
    say.note("keep a copy of it elsewhere: what it seals cannot be opened without")
    say.result({"file": path})
