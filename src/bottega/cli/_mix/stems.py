"""``bottega mix stems``: a mix of stems."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._mix._sounds import Bits, SoundOut, amounts, deliver, heard, note_clipping, place
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["stems"]

PANEL, PLACE = "Whole pieces", 1
EXAMPLES = """\
  bottega mix stems my/stems --out mix.wav                  every recording of a folder
  bottega mix stems drums.wav bass.wav lead.wav --pad
  bottega mix stems my/stems --trim lead=2 --trim drums=-1.5
  bottega mix stems my/stems --like rough.wav               the levels and places of a mix of these very stems
"""


def stems(
    files: Annotated[list[Path], typer.Argument(metavar="DIR|FILE...", help="A folder of stems, or at least two recordings.")],
    like: Annotated[Path | None, typer.Option("--like", metavar="FILE", help="A mix of these stems: its levels and places are recovered and taken, nothing else is done.")] = None,
    trim: Annotated[list[str], typer.Option("--trim", metavar="NAME=DB", help="A stem that shall be louder (or softer) than even; may be given many times.")] = [],  # noqa: B006
    pad: Annotated[bool, typer.Option("--pad", help="Let shorter stems end in silence; otherwise lengths must be the same.")] = False,
    rate: Annotated[int, typer.Option("--rate", metavar="HZ", help="Bring all stems to this rate; otherwise it must be the same.")] = 0,
    no_eq: Annotated[bool, typer.Option("--no-eq", help="No cuts against masking.")] = False,
    no_compress: Annotated[bool, typer.Option("--no-compress", help="No compression.")] = False,
    no_pan: Annotated[bool, typer.Option("--no-pan", help="All in the middle.")] = False,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw the stems and the mix there, as PNG.")] = None,
    out: SoundOut = None,
    bits: Bits = 24,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Mix stems: one loudness for all, places and cuts where they hide each other least, compression where levels wander.

    The mix is stereo, at -20 LUFS or where its true peak is -3 dB; `bottega mix master` makes it louder. The masking index
    is how much of the stems' loudness is hidden by the others: of the stems at one loudness in the middle, and in the mix.
    """
    from bottega.crafts import mix as craft

    say, trims = Out(as_json, quiet), amounts(trim, "--trim", "number of decibels")
    sources = craft.stem_files(files)
    path = place("mix", out, files[0], bits, [*sources, *([] if like is None else [like])], picture)
    given = craft.read_stems(files)
    made = craft.mix(
        given, like=None if like is None else heard(like), trims_db=trims, pad=pad, rate=rate, equalise=not no_eq,
        compress=not no_compress, pan=not no_pan,
    )  # fmt: skip
    note_clipping(say, given)
    deliver(made.sound, path, "mix", bits, sources)
    rows = [
        (t.name, f"{t.loudness_lufs:.1f}", f"{t.gain_db + t.makeup_db:+.1f}", f"{t.pan:+.2f}", " ".join(f"{b.gain_db:g} dB at {b.hz:g} Hz" for b in t.cuts),
         f"{t.compressor.ratio:g} : 1" if t.compressor else "", f"{t.masking[0]:.2f} -> {t.masking[1]:.2f}")
        for t in made.tracks
    ]  # fmt: skip
    say.table(("stem", "LUFS", "gain dB", "pan", "equaliser", "compressor", "hidden"), rows, numeric=(1, 2, 3))
    say.note(f"masking index {made.masking_before:.3f} -> {made.masking_after:.3f}")
    say.say(str(path))
    if picture is not None:
        from bottega.codecs._sound_page import draw_sounds

        say.say(str(draw_sounds([*given.items(), ("mix", made.sound)], picture)))
    tracks = [{k: v for k, v in asdict(t).items() if k != "compressor"} | {"compressor": None if t.compressor is None else vars(t.compressor)} for t in made.tracks]  # fmt: skip
    for row in tracks:
        if row["compressor"]:
            row["compressor"] = {k: row["compressor"][k] for k in ("threshold_db", "ratio", "attack_ms", "release_ms")}
    say.result(
        {"file": path, "tracks": tracks, "masking_before": made.masking_before, "masking_after": made.masking_after}
    )
