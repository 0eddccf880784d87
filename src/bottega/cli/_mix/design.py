"""``bottega mix design``: a new sound to a description."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._mix._sounds import Bits, deliver, place, sounds_of
from bottega.cli._shared import Json, Out, Quiet, Seed

__all__ = ["design"]

PANEL, PLACE = "Single sounds", 5
EXAMPLES = """\
  bottega mix design --brightness 2000 --noisiness 0.01 --seconds 2 --attack 0.2 --out texture.wav
  bottega mix design --brightness 800 --noisiness 0.001 --library my/samples --seed 7
"""


def design(
    brightness: Annotated[float, typer.Option("--brightness", metavar="HZ", help="Spectral centroid.")],
    noisiness: Annotated[float, typer.Option("--noisiness", metavar="X", help="Spectral flatness: 1e-6 a tone, 0.5 almost white noise.")],
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="How long it lasts.")] = 2.0,
    attack: Annotated[float, typer.Option("--attack", metavar="S", help="From 10 to 90 % of its level.")] = 0.02,
    rate: Annotated[int, typer.Option("--rate", metavar="HZ", help="Samples a second.")] = 22050,
    library: Annotated[Path | None, typer.Option("--library", metavar="DIR", help="Sounds that it shall be unlike; says how novel it is.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where it goes, .wav or .flac.")] = Path("design.wav"),
    bits: Bits = 24,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make a new sound that measures as described: brightness, noisiness, length and attack, each within 10 per cent.

    Where six drafts come no nearer the nearest is written, it says so, and the exit status is 3.

    With --library six are made and the one farthest from its nearest piece is kept; novelty 1 is as far as the library's
    own pieces lie apart.
    """
    from bottega.crafts import mix_design as craft

    say, path = Out(as_json, quiet), place("design", out, out, bits)
    known = [] if library is None else sounds_of(library, most_channels=8, least_seconds=0.02)
    made = craft.design(brightness_hz=brightness, noisiness=noisiness, seconds=seconds, attack_seconds=attack, seed=seed, rate=rate, library=known)  # fmt: skip
    deliver(made.sound, path, "design", bits, seed=seed)
    wished, found = asdict(made.wished), asdict(made.found)
    say.table(("", "wished", "measured"), [(k.replace("_", " "), f"{wished[k]:.4g}", f"{found[k]:.4g}") for k in wished], numeric=(1, 2))  # fmt: skip
    if made.novelty is not None:
        say.note(f"novelty {made.novelty:.2f}; nearest is {made.nearest}")
    say.say(str(path))
    far = made.off_percent > 10
    if far:
        say.note(f"it is {made.off_percent:.0f} % off in one of them; another --seed may come nearer")
    say.result({"file": path, "wished": wished, "found": found, "off_percent": made.off_percent, "novelty": made.novelty, "nearest": made.nearest})  # fmt: skip
    if far:
        raise typer.Exit(3)
