"""``bottega speak mouth``: how far a mouth is open that says a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, own_place

__all__ = ["mouth"]

PANEL, PLACE = "Say", 4
EXAMPLES = """\
  bottega speak mouth said.wav
  bottega speak mouth said.wav --out curve.json --fps 30 --picture mouth.gif
  bottega speak mouth said.wav --run runs/speech --text "Good morning." --picture mouth.gif
"""


def mouth(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording of speech.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the curve goes, .csv or .json.")] = Path("mouth.csv"),
    fps: Annotated[float, typer.Option("--fps", metavar="N", help="Frames a second, 1 to 120.")] = 25.0,
    run: Annotated[Path | None, typer.Option("--run", metavar="RUN", help="A run of speech, which says which sound is when; needs --text.")] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="What is said, a sentence or two; needs --run.")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw the mouth: .gif moves, .png is a strip.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Say for each frame of a film how far a mouth is open that says this, from 0 to 1.

    By the loudness of the voice; with --run and --text also by the sounds: lips close for p, b and m, and are round for o and u.
    """
    from bottega.codecs._sound_files import read_sound
    from bottega.core import DataError
    from bottega.crafts import speak_mouth

    if (run is None) != (text is None):
        raise typer.BadParameter("give --run and --text, both or neither", param_hint="--text" if run else "--run")
    for path, endings, option in ((out, (".csv", ".json"), "--out"), (picture, (".gif", ".png"), "--picture")):
        if path is not None:
            speak_mouth.check_mouth_path(path, endings, option)
            own_place(path, [file], option)
    say = Out(as_json, quiet)
    sound = read_sound(file)
    codec = None
    if run is not None:
        from bottega.workshop.run import load

        codec = load(run, device="cpu").codec
    try:
        made = speak_mouth.mouth(sound, fps, speak_mouth.aligned(codec, sound, text) if text is not None else ())
        drawn = None if picture is None else speak_mouth.draw_mouth(made, picture)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    speak_mouth.write_mouth(made, out)
    say.say(f"{out}  {len(made.opening)} frames, {fps:g} a second, open by {made.opening.mean():.2f} on average")
    if drawn is not None:
        say.say(str(drawn))
    say.result({"file": out, "frames": len(made.opening), "fps": fps, "mean_opening": round(float(made.opening.mean()), 4),
                "seconds": sound.seconds, "picture": picture})  # fmt: skip
