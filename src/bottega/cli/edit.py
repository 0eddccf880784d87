"""``bottega edit``: make the missing part of a piece."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Sets, numbers, settings
from bottega.cli.sample import deliver

__all__ = ["edit"]

PANEL, PLACE = "Make", 12
EXAMPLES = """\
  bottega edit runs/digits-diffusion digit.png --mask hole.png -n 4    white in the mask is made anew
  bottega edit runs/pictures photo.png --set strength=0.5              a draft, noised and worked out again
  bottega edit runs/pictures small.png --set restore=half              or quarter, grey, blur, noise: undone
  bottega edit runs/horses horse.jpg --to zebra                        the same picture in another class
  bottega edit runs/english "The class" -n 3 --show                    a text is continued
  bottega edit runs/english opening.txt --set max_new=200 --show
  bottega edit runs/table row.csv -n 5 --show                          empty cells of the one row are made
"""


def edit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or its model.safetensors.")],
    file: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="The piece to change, or the beginning of a text.")],
    mask: Annotated[Path | None, typer.Option("--mask", metavar="FILE", help="What to make anew: white parts of a picture of the same size.")] = None,
    n: Annotated[int | None, typer.Option("-n", metavar="N", min=1, help="How many versions; 1 by default.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="LIST", help="A seed for each version: 0-3, or 1,5,9.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The first seed; versions take it and those after it.")] = 0,
    to: Annotated[str | None, typer.Option("--to", metavar="CLASS", help="Say the whole piece in this class, where the family translates.")] = None,
    cond: Annotated[str | None, typer.Option("--cond", metavar="VALUE", help="What the versions should be (a class, a caption); what FILE says by default.")] = None,
    set_: Sets = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the versions go; RUN/edits by default.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the versions instead of writing them.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make the missing part of a piece: inpainting, completion, continuation.

    White parts of the mask are made anew (the lower half without one), a text is continued, empty cells of a row are
    filled; the rest stays exactly as it is. A photo is first brought to the size of the model's pictures, which the result
    has. For models that can (`bottega show RUN` says whether).
    """
    chosen = numbers(seeds) if seeds is not None else None
    if chosen is not None and n is not None and n != len(chosen):
        raise typer.BadParameter(f"-n {n} and {len(chosen)} seeds disagree; give one of them", param_hint="--seeds")
    count = len(chosen) if chosen is not None else n or 1
    changed = settings(set_)
    from bottega.workshop.recipe import parse_value
    from bottega.workshop.run import load

    knobs: dict[str, Any] = {key: parse_value(value) for key, value in changed.items()}
    made = load(run, device=device)
    source = file if made.codec.medium == "text" and _beginning(file) else Path(file)
    if to is not None:
        if mask is not None or cond is not None:
            raise typer.BadParameter("--to changes the whole piece; leave --mask and --cond out", param_hint="--to")
        pieces = made.translate(source, to, seeds=chosen, seed=seed, n=count, **knobs)
        return deliver(Out(as_json, quiet), pieces, None if show else out or made.path / "edits")
    pieces = made.edit(source, mask=mask, seeds=chosen, seed=seed, n=count, cond=cond, **knobs)
    deliver(Out(as_json, quiet), pieces, None if show else out or made.path / "edits")


def _beginning(text: str) -> bool:
    """Whether it is the beginning of a text and not the name of a file, there or mistyped.

    >>> _beginning("Once upon a time"), _beginning("missing.txt")
    (True, False)
    """
    return not os.path.exists(text) and not re.search(r"\.[A-Za-z]\w{0,4}$", text)
