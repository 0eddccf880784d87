"""``bottega mix enhance``: a recording without the noise around it, by a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._mix._sounds import SHORTEST, Bits, SoundOut, deliver, heard, place, rows_of, speed
from bottega.cli._shared import Device, Json, Out, Quiet, whole_run

if TYPE_CHECKING:
    from bottega.crafts.mix_enhance import Live

__all__ = ["enhance"]

PANEL, PLACE = "Single sounds", 5
EXAMPLES = """\
  bottega train clean.toml --data my/clean/recordings    with codec.degrade = "noise"
  bottega mix enhance noisy.wav --with runs/clean
  bottega mix enhance noisy.wav --with runs/clean --wet 0.8 --out cleared.flac
  arecord -t raw -f S16_LE -r 8000 | bottega mix enhance - --with runs/clean | aplay -t raw -f S16_LE -r 8000
"""
_STREAM = "-"
_BLOCK = 1024


def enhance(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, any rate and channels; - for raw samples from standard input to standard output.")],
    model: Annotated[Path, typer.Option("--with", "--run", metavar="RUN", help="A run that was trained to clear recordings (codec.degrade).")],
    wet: Annotated[float, typer.Option("--wet", metavar="X", help="How much of the cleared sound; the rest is the recording.")] = 1.0,
    block: Annotated[int | None, typer.Option("--block", metavar="N", min=1, help="Samples at once; the result is the same for any. 1024 of a file, a quarter of the model's window of a stream.", show_default=False)] = None,
    out: SoundOut = None,
    bits: Bits = 24,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Take the noise out of a recording by a run of family enhancer, block by block as in real time.

    The model works at its own rate; what lies above half of it is not in the result, and it says so.

    With - for FILE it clears sound while it is recorded: raw 16-bit samples (little endian, one channel, at the run's
    rate, which it says) from standard input go to standard output as soon as they are ready. They are those that the
    whole recording gives, later by the latency that it says. Raw samples carry no mark.
    """
    from bottega.crafts import mix_enhance as craft
    from bottega.workshop.run import load

    if str(file) == _STREAM:
        for given, name in ((out is not None, "--out"), (bits != 24, "--bits"), (as_json, "--json")):
            if given:
                raise typer.BadParameter("does not go with -, whose result is raw samples", param_hint=name)
        for stream, name in ((sys.stdin, "input"), (sys.stdout, "output")):
            if stream is None:
                raise typer.BadParameter(
                    f"standard {name} is closed; give it raw 16-bit samples by a pipe", param_hint="-"
                )
            if stream.isatty():
                raise typer.BadParameter(f"standard {name} is a terminal; give it raw 16-bit samples by a pipe", param_hint="-")  # fmt: skip
        run = load(whole_run(model), device=device)
        _stream(craft.Live(run, block=block or 0, wet=wet), Out(quiet=quiet))
        return
    say, path = Out(as_json, quiet), place("enhanced", out, file, bits, [file])
    sound = heard(file, most_channels=1024, least_seconds=SHORTEST, least_rate=1)
    run = load(whole_run(model), device=device)
    done = craft.enhance(run, sound, block=block or _BLOCK, wet=wet)
    deliver(done.sound, path, "enhanced", bits, [file], weights=run.weights_hash)
    told = {"file": path, "latency_ms": done.latency_ms, **speed(done.real_time_factor * sound.seconds, sound.seconds),
            "taken_away_db": done.lowered_db}  # fmt: skip
    say.pairs(rows_of(told))
    if done.above_hz:
        say.note(f"what lies above {done.above_hz:g} Hz is not in it: the model hears no more")
    say.result({**told, "above_hz": done.above_hz, "run": run.path, "weights": run.weights_hash})


def _stream(live: Live, say: Out) -> None:
    """Standard input to standard output; all that is said goes to standard error."""
    from bottega.crafts.mix_enhance import pump

    ms = 1000 * live.latency / live.rate
    say.note(f"clearing 16-bit samples, one channel, {live.rate} Hz; latency {live.latency} samples ({ms:.3g} ms)")
    source: Any = sys.stdin.buffer  # buffered, so it has ``read1``: what there is, without waiting for more
    sink = sys.stdout.buffer

    def write(data: bytes) -> None:
        sink.write(data)
        sink.flush()

    heard, clipped, half = pump(live, lambda: source.read1(1 << 16), write)
    if half:
        say.note("the input ended within a sample; its last byte was left out")
    if clipped:
        say.note(f"{clipped} samples went beyond full scale and were cut off there")
    say.note(f"{heard} samples, {heard / live.rate:.3g} seconds")
