"""``bottega log incident``: tell of an incident, or of what was done about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["incident"]

PANEL, PLACE = "Incidents", 11
EXAMPLES = """\
  bottega log incident "A portrait looks like a real person" --severity high --piece out/face-7.png
  bottega log incident --id inc-3f9c01aa42 --status fixed --note "trained again without that picture"
"""


def incident(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What went wrong, in a few words; not with --id.")] = "",
    what: Annotated[str, typer.Option("--what", metavar="TEXT", help="In more words.")] = "",
    severity: Annotated[str, typer.Option("--severity", metavar="WORD", help="low, medium, high or critical.")] = "medium",
    piece: Annotated[Path | None, typer.Option("--piece", metavar="FILE", help="The piece that it is about; its mark leads to weights and seed.")] = None,
    id_: Annotated[str, typer.Option("--id", metavar="ID", help="Of an incident, to say what was done.")] = "",
    status: Annotated[str, typer.Option("--status", metavar="WORD", help="open, investigating, fixed or accepted.")] = "investigating",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What was done.")] = "",
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Tell of something that went wrong, or put down what was done about it. Both go into the log."""
    from dataclasses import asdict

    from bottega.cli._guarded import _who

    say = Out(as_json, quiet)
    if bool(title) == bool(id_):
        raise typer.BadParameter("give a title for a new incident, or --id for one that is known", param_hint="TITLE")
    with opened(home, state, master, make=bool(title)) as at:
        from bottega.serve.incidents import Incidents
        from bottega.trust.mark import read

        log = Incidents(at.state)
        if title:
            origin = {"file": piece.name, **read(piece)} if piece is not None else {}
            made = log.open(title, what, by=_who(), severity=severity, piece=origin)
            at.trace("incident opened", of=made.id, severity=made.severity)
        else:
            made = log.step(id_, by=_who(), status=status, note=note)
            at.trace("incident", of=made.id, status=made.status)
    say.say(f"{made.id}  {made.severity}, {made.status}: {made.title}")
    say.result(asdict(made))
