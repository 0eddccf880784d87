"""``bottega compress``: a picture or a recording to a short file by a model, and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, whole_run

if TYPE_CHECKING:
    from bottega.workshop.run import Run

__all__ = ["compress"]

PANEL, PLACE = "Make", 14
EXAMPLES = """\
  bottega compress photo.png photo.btg --with runs/photos-compressor   a picture of any size, at a loss
  bottega compress photo.btg back.png --with runs/photos-compressor    and back
  bottega compress scan.png scan.btg --with runs/levels --json         a run on exact levels loses no pixel
  bottega compress song.wav song.bts --with runs/codec --codebooks 4   a recording, shorter and worse by fewer codebooks
  bottega compress song.bts back.wav --with runs/codec             and back
"""


def compress(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A picture or a recording; or a file that this verb wrote, which is made one again.")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="What to write: a .btg (pictures) or .bts (sounds) file, or what comes back (.png, .webp, .tif; .jpg after a loss; .wav, .flac).")],
    model: Annotated[Path, typer.Option("--with", metavar="RUN", help="The run to compress by; reading needs the run that wrote.")],
    codebooks: Annotated[int, typer.Option("--codebooks", min=0, help="Of a recording: how many codebooks are kept, 0 all; fewer make a shorter file and a worse sound.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Compress a picture or a recording into a real file by a model, and bring it back.

    A run of the family compressor rounds its codes and loses what family.sigma allows; a vae on exact levels
    (codec.levels = 256) loses nothing of 8-bit pixels, by bits back. Alpha that the model does not know, 16 bits and
    further frames are not kept, and it says so. PNG, WebP and JPEG of the same picture stand beside the result,
    those that lose something at the same error, so you see where the model pays and where it does not.

    A run of the family rvqvae compresses recordings of any length: each channel by itself, at the model's rate. FLAC,
    Vorbis and MP3 of the same samples stand beside it. The file holds no weights: keep the run.
    """
    from bottega.core import DataError, RecipeError

    if not source.is_file():
        raise DataError(f"no file at {source}; give a picture, a recording, or a file that bottega compress wrote")
    from bottega.crafts import compress as craft
    from bottega.workshop.run import load

    say, run = Out(as_json, quiet), load(whole_run(model), device=device)
    if run.codec.medium == "audio":
        _sound(say, run, source, target, codebooks)
        return
    if codebooks:
        raise RecipeError(f"--codebooks {codebooks} is for recordings; leave it out")
    if craft.is_compressed(source):
        path = craft.decompress(run, source, target)
        say.say(f"wrote {path}")
        say.result({"run": run.path, "file": path})
        return
    done = craft.compress(run, source, target)
    every = "nothing is lost" if done.exact else "what the model was given comes back exactly"
    loss = every if math.isinf(done.psnr_db) else f"{done.psnr_db:.2f} dB from the picture"
    loss += f"; not kept: {', '.join(done.dropped)}" if done.dropped else ""
    say.say(f"{target}: {done.bytes:,} bytes, {done.bits_per_pixel:.3f} bits a pixel, {loss}")
    if not as_json:
        others = sorted(done.beside.items(), key=lambda row: row[1])
        rows = [(name.replace("_", " "), f"{size:,}", f"{size / done.bytes:.2f}") for name, size in others]
        say.table(("the same picture as", "bytes", "times ours"), rows, numeric=(1, 2))
    asked = done.model_bits / done.pixels
    told = {"bits_per_pixel_by_the_model": asked, "over_the_model": 8 * done.bytes / done.model_bits - 1}
    say.note(f"by the model it should take {asked:.3f} bits a pixel; the file takes {told['over_the_model']:+.1%}")
    result = {**done.__dict__, **told, "psnr_db": None if math.isinf(done.psnr_db) else done.psnr_db}
    say.result({"run": run.path, **result})


def _sound(say: Out, run: Run, source: Path, target: Path, codebooks: int) -> None:
    """A recording, there or back."""
    from bottega.crafts import compress_sound as craft

    if craft.is_compressed(source) or source.suffix.lower() == ".bts":
        path = craft.decompress(run, source, target)
        say.say(f"wrote {path}")
        say.result({"run": run.path, "file": path})
        return
    done = craft.compress(run, source, target, codebooks=codebooks)
    lost = f"; not kept: {', '.join(done.dropped)}" if done.dropped else ""
    smaller = done.times_smaller >= 1  # the head of the file alone is longer than some recordings
    size = f"{done.times_smaller:.1f} times smaller" if smaller else f"{1 / done.times_smaller:.1f} times larger"
    say.say(
        f"{target}: {done.bytes:,} bytes, {done.kilobits_a_second:.1f} kbit/s, {size} than "
        f"16-bit PCM at {done.rate} Hz, {done.snr_db:.2f} dB signal to noise{lost}"
    )
    rows = [(name.replace("_", " "), f"{size:,}", f"{size / done.bytes:.2f}") for name, size in done.beside.items()]
    say.table(("the same samples as", "bytes", "times ours"), rows, numeric=(1, 2))
    over = 8 * done.bytes / done.model_bits - 1
    say.note(f"by the model it should take {done.model_bits / 8:,.0f} bytes; the file takes {over:+.1%}")
    say.result({"run": run.path, **done.__dict__, "over_the_model": over})
