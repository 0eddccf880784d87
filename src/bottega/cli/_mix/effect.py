"""``bottega mix effect``: effects one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._mix._sounds import SHORTEST, Bits, SoundOut, deliver, heard, place, rows_of, speed
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["effect"]

PANEL, PLACE = "Single sounds", 4
EXAMPLES = """\
  bottega mix effect voice.wav "high_pass hz=80" "peak hz=300 gain_db=-4 q=1" "compressor threshold_db=-24 ratio=3"
  bottega mix effect guitar.wav "reverb seconds=2 wet=0.3" "limiter ceiling_db=-1"
  bottega mix effect talk.wav denoise "gate threshold_db=-45" --block 256
"""


def effect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, any rate and channels.")],
    effects: Annotated[list[str], typer.Argument(metavar="EFFECT...", help="A name and its settings, in order of hearing: peak, low_shelf, high_shelf, low_pass, high_pass, notch (hz, gain_db, q), compressor, deesser, denoise, gate, limiter, reverb; wet=0.5 for a part.")],
    block: Annotated[int, typer.Option("--block", metavar="N", min=1, help="Samples at once; the result is the same for any.")] = 4096,
    out: SoundOut = None,
    bits: Bits = 24,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Send a recording through effects, block by block as in real time; says their latency and how fast they are.

    What they make is brought back in time and has the length of the recording.
    """
    import time

    from bottega.crafts import mix_effects as craft
    from bottega.judge.loudness import true_peak_db

    say, path = Out(as_json, quiet), place("effect", out, file, bits, [file])
    sound = heard(file, most_channels=1024, least_seconds=SHORTEST, least_rate=1)
    chain = craft.Chain([craft.named_effect(text) for text in effects])
    craft.ready()
    began = time.perf_counter()
    made = craft.run(chain, sound, block)
    spent = time.perf_counter() - began
    deliver(made, path, "effect", bits, [file])
    told = {"file": path, "latency_ms": 1000 * chain.latency / sound.rate, **speed(spent, sound.seconds),
            "true_peak_db_before": true_peak_db(sound.samples), "true_peak_db": true_peak_db(made.samples)}  # fmt: skip
    say.pairs(rows_of(told))
    say.result(told)
