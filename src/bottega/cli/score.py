"""``bottega score``: how likely a model finds files, or which class it says they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed

__all__ = ["score"]

PANEL, PLACE = "Judge", 20
EXAMPLES = """\
  bottega score runs/english letter.txt
  bottega score runs/digits-flow digits/*.png --json
  bottega score runs/digits-ssgan digits/
"""


def score(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or its model.safetensors.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="What to score: files or folders.")],
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how likely a run finds files: nats, and bits for each token or level; or which class each piece is of.

    Each score says whether it is exact, a lower bound or an estimate; scores of different bounds do not compare. A run
    that tells classes apart and gives no likelihood (family ssgan) prints the class of each piece and how sure it is,
    beside the class that the data says, where it says one.
    """
    from bottega.core import Classifies, Scores, has
    from bottega.workshop.figures import figure
    from bottega.workshop.run import load

    say = Out(as_json, quiet)
    model = load(run, device=device)
    classes = has(model.model, Classifies) and not has(model.model, Scores)
    scores = model.classify(files) if classes else model.score(files, seed=seed)
    if not as_json:
        columns = list(dict.fromkeys(key for row in scores for key in row))
        cells = [[_cell(row.get(c), figure) for c in columns] for row in scores]
        numeric = [i for i, c in enumerate(columns) if isinstance(scores[0].get(c), int | float)] if scores else []
        say.table([c.replace("_", " ") for c in columns], cells, numeric=numeric)
    say.result({"run": run, "scores": scores})


def _cell(value: object, figure: object) -> str:
    return figure(value) if isinstance(value, float) and callable(figure) else "" if value is None else str(value)
