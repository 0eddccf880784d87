"""``bottega mix enhance``: a recording without the noise around it, by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._mix._sounds import SHORTEST, Bits, SoundOut, deliver, heard, place, rows_of, speed
from bottega.cli._shared import Device, Json, Out, Quiet, whole_run

__all__ = ["enhance"]

PANEL, PLACE = "Single sounds", 5
EXAMPLES = """\
  bottega train clean.toml --data my/clean/recordings    with codec.degrade = "noise"
  bottega mix enhance noisy.wav --with runs/clean
  bottega mix enhance noisy.wav --with runs/clean --wet 0.8 --out cleared.flac
"""


def enhance(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, any rate and channels.")],
    model: Annotated[Path, typer.Option("--with", metavar="RUN", help="A run that was trained to clear recordings (codec.degrade).")],
    wet: Annotated[float, typer.Option("--wet", metavar="X", help="How much of the cleared sound; the rest is the recording.")] = 1.0,
    block: Annotated[int, typer.Option("--block", metavar="N", min=1, help="Samples at once; the result is the same for any.")] = 1024,
    out: SoundOut = None,
    bits: Bits = 24,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Take the noise out of a recording by a run of family enhancer, block by block as in real time.

    The model works at its own rate; what lies above half of it is not in the result, and it says so.
    """
    from bottega.crafts import mix_enhance as craft
    from bottega.workshop.run import load

    say, path = Out(as_json, quiet), place("enhanced", out, file, bits, [file])
    sound = heard(file, most_channels=1024, least_seconds=SHORTEST, least_rate=1)
    run = load(whole_run(model), device=device)
    done = craft.enhance(run, sound, block=block, wet=wet)
    deliver(done.sound, path, "enhanced", bits, [file], weights=run.weights_hash)
    told = {"file": path, "latency_ms": done.latency_ms, **speed(done.real_time_factor * sound.seconds, sound.seconds),
            "taken_away_db": done.lowered_db}  # fmt: skip
    say.pairs(rows_of(told))
    if done.above_hz:
        say.note(f"what lies above {done.above_hz:g} Hz is not in it: the model hears no more")
    say.result({**told, "above_hz": done.above_hz, "run": run.path, "weights": run.weights_hash})
