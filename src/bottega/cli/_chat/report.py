"""``bottega chat report``: what happened in a week."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["report"]

PANEL, PLACE = "Look after", 4
EXAMPLES = """\
  bottega chat report shop
  bottega chat report shop --days 30 --out report.md
"""


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The bot.")],
    days: Annotated[float, typer.Option("--days", metavar="N", min=0.01, help="Up to now.")] = 7.0,
    store: Annotated[str, typer.Option("--state", metavar="URL", help="Where its state is; FOLDER/.bot/state.db by default.")] = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there, as Markdown.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Frequent questions, messages that were not understood (in clusters), hand-offs, thumbs and speed; personal data is taken out."""
    import time

    from bottega.core.files import write_atomically
    from bottega.crafts.chat_folder import read_folder
    from bottega.crafts.chat_memory import Memory
    from bottega.crafts.chat_report import report as make

    say = Out(as_json, quiet)
    bot = read_folder(folder)
    found = make(Memory(store or bot.state / "state.db", bot.name), since=time.time() - 86_400 * days)
    text = found.markdown()
    if out is not None:
        write_atomically(out, text)
        say.note(f"written to {out}")
    else:
        say.say(text)
    say.result(found.to_dict())
