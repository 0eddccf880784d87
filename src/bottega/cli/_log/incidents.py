"""``bottega log incidents``: what went wrong, and how it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, moment, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["incidents"]

PANEL, PLACE = "Incidents", 10
EXAMPLES = """\
  bottega log incidents
  bottega log incidents --status open --json
"""


def incidents(
    status: Annotated[str | None, typer.Option("--status", metavar="WORD", help="open, investigating, fixed or accepted.")] = None,
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """List incidents, newest first."""
    from dataclasses import asdict

    say = Out(as_json, quiet)
    with opened(home, state, master) as at:
        from bottega.serve.incidents import Incidents

        found = Incidents(at.state).list(status=status)
    rows = [(i.id, moment(i.opened), i.severity, i.status, i.title, i.steps[-1].note if i.steps else "") for i in found]
    if rows:
        say.table(("id", "opened", "severity", "status", "title", "last"), rows)
    else:
        say.say("there are no incidents")
    say.result({"incidents": [asdict(i) for i in found]})
