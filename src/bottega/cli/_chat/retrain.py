"""``bottega chat retrain``: learn from thumbs and edits, and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed

__all__ = ["retrain"]

PANEL, PLACE = "Look after", 5
EXAMPLES = """\
  bottega chat retrain shop
  bottega chat retrain shop --way tune --promote
  bottega chat retrain shop --reward words:12 --json
"""


def retrain(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The bot.")],
    way: Annotated[str, typer.Option("--way", metavar="NAME", help="dpo (pairs), tune (good answers), or auto.")] = "auto",
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=0, help="Of the optimiser; 0 is by the number of pairs.")] = 0,
    rewards: Annotated[list[str], typer.Option("--reward", metavar="NAME", help="Judge by rewards, see bottega reward; by a judge of the users' own pairs otherwise.")] = [],  # noqa: B006
    n: Annotated[int, typer.Option("-n", metavar="N", min=10, help="Messages to compare on.")] = 100,
    promoted: Annotated[bool, typer.Option("--promote", help="Put it in the old one's place where it is better for sure.")] = False,
    store: Annotated[str, typer.Option("--state", metavar="URL", help="Where its state is; FOLDER/.bot/state.db by default.")] = "",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make a new model from what users said of answers, and let a judge compare it with the old one, who is whose unseen.

    An edit is preferred to what it edits, a thumb up to a thumb down for the same message. Without --reward a fifth of the
    pairs is kept from the judge to say how far it can be trusted. The old model goes on speaking until --promote, or
    bottega chat promote.
    """
    from bottega.crafts import chat_feedback as craft
    from bottega.crafts.chat_folder import read_folder
    from bottega.crafts.chat_memory import Memory
    from bottega.crafts.chat_speaker import RunSpeaker, live
    from bottega.workshop.run import load

    say = Out(as_json, quiet)
    bot = read_folder(folder)
    memory = Memory(store or bot.state / "state.db", bot.name)
    old = live(bot)
    with say.progress() as watch:
        run = craft.retrain(bot, memory, way=way, steps=steps, seed=seed, progress=watch, device=device)
    judge, told = craft.judge_of(memory, rewards, seed)
    win = craft.compare(
        RunSpeaker(load(run, device=device)), RunSpeaker(load(old, device=device)), bot, craft.prompts_of(memory, n), judge,
        judge=told, seed=seed,
    )  # fmt: skip
    say.say(
        f"{run}  wins {100 * win.rate:.0f} % of {win.n} ({100 * win.low:.0f} to {100 * win.high:.0f} %; {win.ties} ties), judged by {told}"
    )
    if promoted:
        craft.promote(bot, run, win)
        say.say("promoted; bottega chat rollback takes it back")
    else:
        say.note(f"bottega chat promote {folder} {run}   lets it speak")
    say.result({"run": run, "before": old, "win": win, "promoted": promoted})
