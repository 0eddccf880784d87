"""``bottega sample``: new pieces from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Sets, numbers, settings

__all__ = ["sample"]

PANEL, PLACE = "Make", 11
EXAMPLES = """\
  bottega sample runs/digits-diffusion -n 16
  bottega sample runs/digits-diffusion --seeds 0-15 --cond 7 --set guidance=2
  bottega sample runs/sharper -n 4 --cond photo.png                what is made of one picture, four times
  bottega sample runs/english -n 2 --set temperature=0.8 --show
  bottega sample runs/table --out /tmp/rows -n 1000 --json
"""


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or its model.safetensors.")],
    n: Annotated[int | None, typer.Option("-n", metavar="N", min=1, help="How many pieces; 16 by default.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="LIST", help="A seed for each piece: 0-15, or 1,5,9. The same seed gives the same piece.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The first seed; pieces take it and those after it.")] = 0,
    cond: Annotated[list[str], typer.Option("--cond", metavar="VALUE", help="What the pieces should be (a class, a caption, a picture file); several take turns.")] = [],  # noqa: B006
    set_: Sets = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the pieces go; RUN/pieces by default.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the pieces instead of writing them.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make new pieces with a trained run.

    Writes each piece as a file that says in its own metadata that it is machine-made, by which weights and seed, and a
    sheet that shows them all. Settings are those of the model's sampler: guidance, steps, temperature, top_k and so on.
    """
    chosen = numbers(seeds) if seeds is not None else None
    if chosen is not None and n is not None and n != len(chosen):
        raise typer.BadParameter(f"-n {n} and {len(chosen)} seeds disagree; give one of them", param_hint="--seeds")
    count = len(chosen) if chosen is not None else n or 16
    say = Out(as_json, quiet)
    changed = settings(set_)
    from bottega.workshop.recipe import parse_value
    from bottega.workshop.run import load

    knobs: dict[str, Any] = {key: parse_value(value) for key, value in changed.items()}
    given = [cond[i % len(cond)] for i in range(count)] if cond else None
    made = load(run, device=device)
    pieces = made.sample(count, seeds=chosen, seed=seed, cond=given, **knobs)
    deliver(say, pieces, None if show else out or made.path / "pieces")


def deliver(say: Out, pieces: Any, folder: Path | None) -> None:
    """Write pieces into ``folder``, or print them when it is None, and say so."""
    if folder is None:
        say.say(pieces.text())
        say.result({"run": pieces.run.path, "weights": pieces.run.weights_hash, "seeds": pieces.seeds,
                    "pieces": [item.value for item in pieces.items]})  # fmt: skip
        return
    paths = pieces.save(folder)
    say.say(
        "\n".join(map(str, paths[:3])) if len(paths) <= 3 else f"{paths[0]} … {paths[-1].name}  ({len(paths)} files)"
    )
    say.note(f"bottega show {paths[0]} says what made it")
    say.result({"run": pieces.run.path, "weights": pieces.run.weights_hash, "seeds": pieces.seeds, "files": paths})
