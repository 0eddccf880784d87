"""``bottega steps``: how good fewer steps are, and how fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet

__all__ = ["steps"]

PANEL, PLACE = "Judge", 23
EXAMPLES = """\
  bottega steps runs/pictures
  bottega steps runs/pictures --samplers ddim,dpmpp_2m,unipc --counts 5,10,50 -n 1000
"""


def steps(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or its model.safetensors.")],
    counts: Annotated[str, typer.Option("--counts", metavar="LIST", help="Numbers of steps, comma-separated.")] = "1,2,4,10,24,50",
    samplers: Annotated[str | None, typer.Option("--samplers", metavar="NAMES", help="Comma-separated; the family's usual one by default.")] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=8, help="Samples in each row.")] = 500,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the samples and of whatever a judge draws.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Quality and milliseconds of a run's pieces by number of steps, to choose between.

    For models that make a piece step by step and have the knob `steps`. All rows begin from the same noise. It is no
    part of judging, which measures a run as it is meant to be used and would take many times as long.
    """
    from bottega.cli._shared import numbers
    from bottega.workshop.run import load
    from bottega.workshop.steps import steps_table

    say = Out(as_json, quiet)
    names = [name.strip() for name in samplers.split(",")] if samplers else ()
    with say.progress() as watch:
        rows = steps_table(
            load(run, device=device),
            numbers(counts, "--counts", "number of steps"),
            names,
            n=n,
            seed=seed,
            progress=watch,
        )
    measured = list(dict.fromkeys(m.name for row in rows for m in row.measures))
    if not as_json:
        lines = []
        for row in rows:
            values = {m.name: f"{m.value:.4g}" for m in row.measures}
            lines.append([row.sampler, str(row.steps), f"{row.sample_ms:.3g}", *(values.get(m, "") for m in measured)])
        head = ["sampler", "steps", "ms a piece", *(name.replace("_", " ") for name in measured)]
        say.table(head, lines, numeric=range(1, len(head)))
    say.result({"run": run, "rows": rows})
