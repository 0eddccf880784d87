"""``bottega compose cues``: music to a film."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import Formats, wanted
from bottega.cli._shared import Json, Out, Quiet, Seed

__all__ = ["cues"]

PANEL, PLACE = "Without a run", 32
EXAMPLES = """\
  bottega compose cues cues.toml --out film/music
  bottega compose cues cues.csv --formats mid,wav --seed 3
"""


def cues(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A cue list: TOML with length and [[cue]] tables (time, intensity, what), or CSV.")],
    out: Annotated[Path, typer.Option("--out", metavar="STEM", help="Where the music goes, without the ending.")] = Path("pieces/cues"),
    formats: Formats = "mid,musicxml,wav,png",
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Compose music whose bar lines meet a film's cues, as intense as they say; how near it comes is measured."""
    from bottega.crafts import compose_cues as craft
    from bottega.crafts.compose import save_plain

    say, kinds = Out(as_json, quiet), wanted(formats)
    film = craft.read(file)
    score = craft.compose(film, seed)
    missed, follows = craft.misses(score, film), craft.followed(score, film)
    files = save_plain(score, out, kinds, seed, "compose cues")
    say.say("  ".join(map(str, files)))
    worst = 1000 * max(missed, default=0.0)
    flat = math.isnan(follows)
    how = "the curve is flat" if flat else f"loudness follows the curve with correlation {follows:.2f}"
    say.say(f"  {len(missed)} cues met within {worst:.2g} ms; {how}")
    say.result(
        {
            "files": files,
            "milliseconds_off": [1000 * m for m in missed],
            "correlation": None if flat else follows,
            "seconds": score.seconds,
        }
    )
