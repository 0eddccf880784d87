"""``bottega log show``: lines of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["show_log"]

PANEL, PLACE = "The log", 2
EXAMPLES = """\
  bottega log show -n 20
  bottega log show --by user:ann --event request --json
"""


def show_log(
    path: Annotated[Path | None, typer.Argument(metavar="FILE", help="The log; HOME/audit.jsonl by default.")] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="So many of the last lines.")] = 50,
    by: Annotated[str | None, typer.Option("--by", metavar="WHO", help="Only of this caller: user:ann, key:phone, local.")] = None,
    event: Annotated[str | None, typer.Option("--event", metavar="WORD", help="Only of this kind: request, key added, locked ...")] = None,
    home: Home = Path("serve"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Show the last lines of the log. They are not proven by this; bottega log verify does."""
    from collections import deque

    from bottega.cli._guarded import _needs_serve, audit_path

    _needs_serve()
    from bottega.serve import audit

    say = Out(as_json, quiet)
    wanted = (
        r for r in audit.read(path or audit_path(home)) if by in (None, r.get("by")) and event in (None, r.get("event"))
    )
    found = list(deque(wanted, maxlen=n))
    rows = [
        (str(r["n"]), str(r["at"])[:19].replace("T", " "), str(r.get("by", "–")), str(r["event"]),
         " ".join(f"{k}={v}" for k, v in r.items() if k not in ("n", "at", "by", "event", "before", "hash", "request", "from")))
        for r in found
    ]  # fmt: skip
    if rows:
        say.table(("line", "when", "who", "what", ""), rows, numeric=(0,))
    else:
        say.say("there are no such lines")
    say.result({"lines": found})
