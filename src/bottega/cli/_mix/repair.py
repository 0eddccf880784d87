"""``bottega mix repair``: what is wrong with a recording, found and mended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._mix._sounds import Bits, SoundOut, deliver, heard, place, sounds_of
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["repair"]

PANEL, PLACE = "Single sounds", 3
EXAMPLES = """\
  bottega mix repair talk.wav --out clean.wav
  bottega mix repair talk.wav --like good-talk.wav          what is healthy is said by recordings of the same kind
  bottega mix repair talk.wav --room hall.wav               in the room of that recording, too: a reverb where it is drier
  bottega mix repair talk.wav --check                       only say what is wrong; status 3 when something is
"""


def repair(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording of one or two channels.")],
    like: Annotated[Path | None, typer.Option("--like", metavar="FILE|DIR", help="Recordings of the same kind that are as they should be.")] = None,
    room: Annotated[Path | None, typer.Option("--room", metavar="FILE", help="A recording of the same kind in the room that is wished; a reverb is chosen where FILE is drier.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Mend nothing, write nothing.")] = False,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw it before and after, as PNG.")] = None,
    out: SoundOut = None,
    bits: Bits = 24,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Find hum, noise, clicks, rustle in pauses, muffled or boomy sound, sharp s, too wide dynamics and clipping, and mend what can be.

    Each finding has its measure before and after. A healthy recording is left alone, and nothing is written. The limits
    are those of whole recordings (speech, a mix); a bass alone is dark by nature: give its like.
    """
    from bottega.crafts import mix_repair as craft
    from bottega.crafts.mix_room import dryness_db

    say, path = Out(as_json, quiet), None
    if check and (out is not None or picture is not None):
        raise typer.BadParameter("it writes nothing; leave out --out and --picture", param_hint="--check")
    if not check:
        path = place("repaired", out, file, bits, [p for p in (file, like, room) if p is not None], picture)
    sound = heard(file)
    limits = None if like is None else craft.limits_of([s for _, s in sounds_of(like)])
    hall = None if room is None else heard(room, least_seconds=1.0)
    if hall is not None:
        dryness_db(heard(file, least_seconds=1.0), hall, str(room))  # errors name the files
    if check:
        found = craft.diagnose(sound, limits, hall)
    else:
        made = craft.repair(sound, limits, hall)
        found, path = made.findings, None if made.sound is sound else path
        if path is not None:
            deliver(made.sound, path, "repaired", bits, [file])
    if found:
        rows = [(f.name, f"{f.value:.1f}", "" if f.after is None else f"{f.after:.1f}", f"{f.limit:.1f}", craft.UNITS[f.name], f.done) for f in found]  # fmt: skip
        say.table(("defect", "before", "after", "healthy", "of what", "what was done"), rows, numeric=(1, 2, 3))
    else:
        say.say("nothing is wrong with it")
    if path is not None:
        say.say(str(path))
        if picture is not None:
            from bottega.codecs._sound_page import draw_sounds

            say.say(str(draw_sounds([("before", sound), ("after", made.sound)], picture)))
    say.result({"file": path, "findings": [vars(f) | {"mended": f.mended} for f in found]})
    if check and found:
        raise typer.Exit(3)
