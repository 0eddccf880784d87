"""``bottega mix repair``: what is wrong with a recording, found and mended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._mix._sounds import Bits, SoundOut, deliver, sounds_of
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["repair"]

PANEL, PLACE = "Single sounds", 3
EXAMPLES = """\
  bottega mix repair talk.wav --out clean.wav
  bottega mix repair talk.wav --like good-talk.wav          what is healthy is said by recordings of the same kind
  bottega mix repair talk.wav --check                       only say what is wrong; status 3 when something is
"""


def repair(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording of one or two channels.")],
    like: Annotated[Path | None, typer.Option("--like", metavar="FILE|DIR", help="Recordings of the same kind that are as they should be.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Mend nothing, write nothing.")] = False,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw it before and after, as PNG.")] = None,
    out: SoundOut = None,
    bits: Bits = 24,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Find hum, noise, clicks, muffled or boomy sound, sharp s, too wide dynamics and clipping, and mend what can be.

    Each finding has its measure before and after. A healthy recording is left alone, and nothing is written. The limits
    are those of whole recordings (speech, a mix); a bass alone is dark by nature: give its like.
    """
    from bottega.codecs._sound_files import read_sound
    from bottega.crafts import mix_repair as craft

    say, sound = Out(as_json, quiet), read_sound(file)
    limits = None if like is None else craft.limits_of([s for _, s in sounds_of(like)])
    if check:
        found, path = craft.diagnose(sound, limits), None
    else:
        made = craft.repair(sound, limits)
        found, path = made.findings, None
        if made.sound is not sound:
            path = deliver(made.sound, "repaired", out, file, bits, [file])
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
