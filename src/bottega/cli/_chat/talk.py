"""``bottega chat FOLDER``: talk to a bot in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet

__all__ = ["talk"]

PANEL, PLACE = "Use", 2
EXAMPLES = """\
  bottega chat shop
  bottega chat talk shop --user ada --say "Where is my order FM1234?" --json
"""


def talk(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The bot.")],
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="Whose memory it is.")] = "local",
    say_: Annotated[list[str], typer.Option("--say", metavar="TEXT", help="Say this and end; again for more.")] = [],  # noqa: B006
    store: Annotated[str, typer.Option("--state", metavar="URL", help="Where it keeps what it remembers; FOLDER/.bot/state.db by default.")] = "",
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Talk to a bot. /good and /bad rate its last answer, /edit TEXT says what it should have been, /new begins anew, /quit ends.

    Under each answer stands where it comes from and how sure it is.
    """
    from bottega.core import BottegaError
    from bottega.crafts.chat import Bot, Reply
    from bottega.crafts.chat_feedback import rate

    say = Out(as_json, quiet)
    bot = Bot.open(folder, store or None, device=device)
    talk = bot.memory.begin(user, "terminal").id if not say_ else bot.memory.latest(user, "terminal").id
    made: list[Reply] = []

    def answer(text: str) -> None:
        for part in bot.stream(text, user, talk, "terminal"):
            if isinstance(part, Reply):
                made.append(part)
            elif not as_json:
                print(part, end="", flush=True)
        last = made[-1]
        if not as_json:
            print()
        about = [last.route, last.intent, f"{100 * last.confidence:.0f} %", last.source, last.limits]
        say.note("  " + "; ".join(part for part in about if part))

    for text in say_:
        answer(text)
    if say_:
        say.result({"bot": bot.folder.name, "user": user, "replies": made})
        return
    say.note(bot.welcome())
    tty = sys.stdin.isatty()
    while True:
        try:
            line = input("> " if tty else "")
        except EOFError:
            break
        word, _, rest = line.strip().partition(" ")
        try:
            if word in ("/quit", "/exit"):
                break
            if word == "/new":
                talk = bot.memory.begin(user, "terminal").id
            elif word in ("/good", "/bad", "/edit"):
                if not made:
                    say.note("nothing was answered yet")
                    continue
                rate(
                    bot.memory,
                    made[-1].message,
                    user,
                    {"/good": 1, "/bad": -1}.get(word, 0),
                    rest if word == "/edit" else "",
                )
                say.note("kept")
            elif line.strip():
                answer(line)
        except BottegaError as error:
            say.note(str(error))
    say.result({"bot": bot.folder.name, "user": user, "replies": made})
