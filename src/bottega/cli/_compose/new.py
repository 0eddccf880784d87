"""``bottega compose new``: pieces from nothing, as wished."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import ALL, Folder, Formats, RunOf, deliver, wanted
from bottega.cli._shared import Device, Json, Out, Quiet, Seed, Sets, knobs, whole_run

__all__ = ["new"]

PANEL, PLACE = "With a run", 19
EXAMPLES = """\
  bottega compose new runs/moods --mode minor --tempo 60 --density sparse -n 4
  bottega compose new runs/chorales --mode major --set temperature=0.9
  bottega compose new runs/genres --genre jig -n 4
  bottega compose new runs/genres --like my/tune.abc       of its key, mode, tempo, density and genre, as far as the run knows them
"""
_APART = {
    "max_new": "pieces end by themselves",
    "stop": "pieces end by themselves",
    "overflow": "a piece is at most a row long",
}


def new(
    run: RunOf,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Such as 'G major'.")] = None,
    mode: Annotated[str | None, typer.Option("--mode", metavar="MODE", help="major or minor.")] = None,
    tempo: Annotated[str | None, typer.Option("--tempo", metavar="N", help="Quarters a minute.")] = None,
    density: Annotated[str | None, typer.Option("--density", metavar="HOW", help="sparse, medium or dense, of the training data.")] = None,
    genre: Annotated[str | None, typer.Option("--genre", metavar="NAME", help="Of those that the training data had.")] = None,
    like: Annotated[Path | None, typer.Option("--like", metavar="FILE", help="A score: as it is in all of these that the run knows and that are not given.")] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many pieces.")] = 1,
    out: Folder = Path("pieces"),
    formats: Formats = ALL,
    seed: Seed = 0,
    set_: Sets = [],  # noqa: B006
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write pieces in a key, mode, tempo, density or genre, of those that the run was trained to be told.

    What is not asked for is as in a training piece that has what is. The genre of a piece that does not say it (--like) is the one
    under which the run finds it likeliest. Settings are those of the model's `edit`: temperature, top_k and others.
    """
    from bottega.core import RecipeError
    from bottega.core.score import key_name, parse_key
    from bottega.crafts import compose as craft
    from bottega.workshop.run import load

    say, kinds, wanting = Out(as_json, quiet), wanted(formats), knobs(set_, _APART)
    wishes = {"mode": mode, "tempo": tempo, "density": density, "genre": genre}
    if key is not None:
        try:
            wishes["key"] = key_name(parse_key(key))
        except ValueError as error:
            raise RecipeError(str(error)) from None
    piece = None if like is None else craft.one_piece(like)
    made = load(whole_run(run), device=device)
    said = {} if piece is None else craft.wishes_like(made, piece)
    said |= {k: v for k, v in wishes.items() if v is not None}
    pieces = craft.new(made, n=n, seed=seed, wishes=said, **wanting)
    deliver(say, made, pieces, out / f"{made.recipe.name}", kinds, wishes=said)
    if said:
        say.note(", ".join(f"{k} {v}" for k, v in said.items()))
