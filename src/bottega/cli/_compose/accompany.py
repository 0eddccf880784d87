"""``bottega compose accompany``: three voices to a player, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import Formats, Key, wanted
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["accompany"]

PANEL, PLACE = "Without a run", 33
EXAMPLES = """\
  bottega compose accompany melody.mid                 the file is played note by note, as if live
  bottega compose accompany --port "My keyboard"       until Ctrl-C; what was played is written then
  bottega compose accompany --port keys --to synth     hear one port, play to another
"""


def accompany(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A melody to replay; without one a live port is heard.")] = None,
    port: Annotated[str | None, typer.Option("--port", metavar="NAME", help="The MIDI port to hear, by its name or a part of it; the first by default.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="NAME", help="The MIDI port to play to; that of the same name, else the first, by default.")] = None,
    key: Key = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="STEM", help="Where the music goes, without the ending; beside FILE, or accompanied, by default.")] = None,
    formats: Formats = "mid,musicxml,wav,png",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Answer every note that comes in with alto, tenor and bass, by the rules of voice leading, within milliseconds."""
    from bottega.core import RecipeError
    from bottega.core.score import parse_key
    from bottega.core.voicing import faults
    from bottega.crafts import compose_accompany as craft
    from bottega.crafts.compose import one_piece, save_plain

    say, kinds = Out(as_json, quiet), wanted(formats)
    try:
        home = None if key is None else parse_key(key)
    except ValueError as error:
        raise RecipeError(str(error)) from None
    if file is not None and (port is not None or to is not None):
        raise typer.BadParameter(
            "a file is replayed without a port; give FILE, or the ports", param_hint="--port" if port else "--to"
        )
    if file is None:
        heard, sounds = craft.ports(port, to)
        say.note(f"listening to {heard.name}, playing to {sounds.name}; Ctrl-C ends")
        with heard, sounds:
            played = craft.live(heard, sounds.send, home)
        place = out or Path("accompanied")
    else:
        played = craft.replay(one_piece(file), home)
        place = out or file.with_name(f"{file.stem}-accompanied")
    files, broken = [], []
    if played.score.notes:
        files, broken = save_plain(played.score, place, kinds, 0, "compose accompany"), faults(played.score, (0,))
        say.say("  ".join(map(str, files)))
    slow = sorted(played.milliseconds)
    typical, worst = (slow[len(slow) // 2], slow[-1]) if slow else (0.0, 0.0)
    say.say(
        f"  {len(slow)} notes answered in {typical:.1f} ms (at most {worst:.1f}), {played.rests} with rests; {len(broken)} faults"
    )
    say.result(
        {"files": files, "milliseconds": played.milliseconds, "rests": played.rests, "faults": [f.text for f in broken]}
    )
