"""``bottega mix master``: a mix made ready to be heard."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._mix._sounds import Bits, SoundOut, amounts, deliver, heard, note_clipping, place, sounds_of
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["master"]

PANEL, PLACE = "Whole pieces", 2
EXAMPLES = """\
  bottega mix master mix.wav                                          -14 LUFS, true peak -1 dB
  bottega mix master mix.wav --reference a.flac --reference b.flac    in the mean colour of both
  bottega mix master mix.wav --reference liked/ --wet equaliser=0.5 --wet compressor=0
  bottega mix master talk.wav --lufs -23 --peak -2 --json
"""


def master(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A mix of one or two channels.")],
    reference: Annotated[list[Path], typer.Option("--reference", metavar="FILE|DIR", help="Whose colour is wished; may be given many times.")] = [],  # noqa: B006
    target: Annotated[float, typer.Option("--lufs", metavar="LUFS", help="Integrated loudness (BS.1770-4).")] = -14.0,
    peak: Annotated[float, typer.Option("--peak", metavar="DB", help="The highest true peak, dBTP.")] = -1.0,
    wet: Annotated[list[str], typer.Option("--wet", metavar="STAGE=X", help="How much of a stage is heard, 0 to 1: equaliser, compressor, limiter.")] = [],  # noqa: B006
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw it before and after, as PNG.")] = None,
    out: SoundOut = None,
    bits: Bits = 24,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Master a mix: the colour of references, a little compression, and the loudness and true peak that are asked.

    Each stage is reported: loudness, true peak, range, and how far the spectrum is from the references'. The true peak is
    kept before the loudness; the status is 3 when both cannot be had.
    """
    from bottega.crafts import mix_master as craft

    say, part = Out(as_json, quiet), amounts(wet, "--wet", "number from 0 to 1")
    path = place("master", out, file, bits, [file, *reference], picture)
    sound = heard(file)
    references = [s for liked in reference for _, s in sounds_of(liked)]
    made = craft.master(sound, references, target_lufs=target, peak_db=peak, wet=part, what=str(file))
    note_clipping(say, {str(file): sound})
    deliver(made.sound, path, "master", bits, [file])
    rows = [
        (s.name, f"{s.wet:g}", f"{s.lufs:.1f}", f"{s.true_peak_db:.1f}", f"{s.range_lu:.1f}", f"{s.crest_db:.1f}",
         "" if s.distance_db is None else f"{s.distance_db:.1f}", s.about)
        for s in made.stages
    ]  # fmt: skip
    say.table(
        ("stage", "wet", "LUFS", "dBTP", "range", "crest", "from references", "what"), rows, numeric=(1, 2, 3, 4, 5, 6)
    )
    say.say(str(path))
    if picture is not None:
        from bottega.codecs._sound_page import draw_sounds

        say.say(str(draw_sounds([("before", sound), ("after", made.sound)], picture)))
    say.result({"file": path, "reached": made.reached, "stages": [asdict(s) for s in made.stages]})
    if not made.reached:
        last = made.stages[-1]
        say.note(f"{last.lufs:.1f} LUFS where {target:g} was asked; the peak of {peak:g} dB comes first")
        raise typer.Exit(3)
