"""``bottega rollback``: a run becomes again what it was before it went on learning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, whole_run

__all__ = ["rollback"]

PANEL, PLACE = "Make", 12
EXAMPLES = """\
  bottega rollback runs/helpdesk                 back to the weights that it began with
  bottega rollback runs/helpdesk --to 2          and to what it had learned again
  bottega rollback runs/helpdesk --list          its versions, without a change
"""


def rollback(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that began with a trained model (train --base, or train.start).")],
    to: Annotated[int, typer.Option("--to", metavar="N", min=0, help="The number of a version; 0 is the one before.")] = 0,
    only_list: Annotated[bool, typer.Option("--list", help="Only say which versions there are.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Go back to the weights before a training that went wrong, or forth again.

    Every run that began with another one keeps what it began with under its folder's versions/. Going back puts weights,
    recipe, evidence and page of a version in the run's place; what stood there becomes a version too, so nothing is lost.
    """
    from bottega.workshop.versions import rollback as play
    from bottega.workshop.versions import versions

    say, folder = Out(as_json, quiet), whole_run(run)
    before = next((v.number for v in versions(folder) if v.current), 0)
    if not only_list:
        now = play(folder, to)
        say.say(f"{folder} is version {now.number} now, and was {before}")
    found = versions(folder)
    rows = [
        (f"{v.number}{' *' if v.current else ''}", v.header["recipe"]["name"], f"{v.header['step']:,}", v.header["created"],
         v.header["recipe"]["train"].get("start", "") or "–")
        for v in found
    ]  # fmt: skip
    if rows:
        say.table(("version", "recipe", "steps", "trained", "began with"), rows, numeric=(2,))
    elif only_list:
        say.say(f"{folder} has no versions: it did not begin with a trained model")
    if not only_list:
        say.note(f"\nbottega rollback {folder} --to {before}   goes back to what it was until now")
    say.result({
        "run": folder, "before": before, "current": next((v.number for v in found if v.current), 0),
        "versions": [{"number": v.number, "recipe": v.header["recipe"]["name"], "step": v.header["step"],
                      "created": v.header["created"], "current": v.current} for v in found],
    })  # fmt: skip
