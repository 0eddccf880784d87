"""``bottega chat trial``: two models side by side, by their users' thumbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["trial"]

PANEL, PLACE = "Look after", 6
EXAMPLES = """\
  bottega chat trial shop shop/.bot/models/1 --share 0.2       begin
  bottega chat trial shop --state serve/serve.sqlite           how it goes
  bottega chat trial shop --promote                            refused where it may be no better
  bottega chat trial shop --drop
"""


def trial(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The bot.")],
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="The model to put on trial.")] = None,
    share: Annotated[float, typer.Option("--share", metavar="S", help="Of the conversations, above 0 and below 1.")] = 0.5,
    promoted: Annotated[bool, typer.Option("--promote", help="Let it speak everywhere, where it is better for sure.")] = False,
    dropped: Annotated[bool, typer.Option("--drop", help="End the trial; the other speaks everywhere.")] = False,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; it is recorded.")] = "local",
    store: Annotated[str, typer.Option("--state", metavar="URL", help="Where its state is; FOLDER/.bot/state.db by default.")] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Let a model speak in a share of the conversations, and hold its users' thumbs against the other's.

    A conversation has one model from its first turn to its last, and is one vote. A server that runs takes what is decided
    here when it is started again; POST /v1/chats/trial does it at once.
    """
    from bottega.core import BottegaError
    from bottega.crafts import chat_feedback as craft
    from bottega.crafts.chat_folder import read_folder
    from bottega.crafts.chat_memory import Memory

    say = Out(as_json, quiet)
    if sum((run is not None, promoted, dropped)) > 1:
        raise BottegaError("RUN begins a trial, --promote and --drop end one; give one of them")
    bot = read_folder(folder)
    if run is not None:
        line = craft.try_out(bot, run, share, by=by)
        say.say(f"{line['run']} speaks in {100 * share:.0f} % of the conversations (weights {line['weights'][:16]})")
        say.result(line)
        return
    found = craft.trial_so_far(bot, Memory(store or bot.state / "state.db", bot.name))
    for name, votes in (("new", found.new), ("old", found.old)):
        say.say(
            f"{name}  {votes.version}  {votes.up} up, {votes.down} down  "
            f"({100 * votes.rate:.0f} %, {100 * votes.low:.0f} to {100 * votes.high:.0f} %)"
        )
    win = found.win
    say.say(f"the new went better in {100 * win.rate:.0f} % ({100 * win.low:.0f} to {100 * win.high:.0f} %) of {win.n}")
    if promoted:
        craft.promote(bot, found.run, win, by=by)
        say.say("promoted; bottega chat rollback takes it back")
    elif dropped:
        craft.drop(bot, win, by=by)
        say.say("dropped")
    say.result({"trial": found, "promoted": promoted, "dropped": dropped})
