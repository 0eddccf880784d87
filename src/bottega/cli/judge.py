"""``bottega judge``: measure a run against held-out data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet

__all__ = ["judge"]

PANEL, PLACE = "Judge", 21
EXAMPLES = """\
  bottega judge runs/digits-diffusion
  bottega judge runs/digits-diffusion --data other/digits --only frechet -n 500
  bottega judge runs/pictures --features inception.safetensors
"""


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or its model.safetensors.")],
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="Judge against this instead of the run's own held-out part.")] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="NAMES", help="These judges only, comma-separated.")] = None,
    n: Annotated[int | None, typer.Option("-n", metavar="N", min=2, help="How many samples; the recipe's number by default.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of the samples and of whatever a judge draws; the recipe's by default.")] = None,
    features: Annotated[Path | None, typer.Option("--features", metavar="FILE", help="Judge pictures by the Inception-v3 weights in this safetensors file.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Measure a run against real data that it never saw.

    Every measure comes with its sample size and a 95 % interval, and with the same measure of real held-out data: the
    best that a faithful model can hope for. Judges that do not apply are named, with the reason. Nothing is downloaded.
    """
    from bottega.workshop.report import measure_rows
    from bottega.workshop.run import load

    say = Out(as_json, quiet)
    names = [name.strip() for name in only.split(",")] if only else None
    with say.progress() as watch:
        evidence = load(run, device=device).judge(data, only=names, n=n, seed=seed, features=features, progress=watch)
    if not as_json:
        say.table(
            ("measure", "value", "95 % interval", "held-out data", "n"), measure_rows(evidence), numeric=(1, 3, 4)
        )
        for name, why in evidence.skipped.items():
            say.note(f"not judged: {name} ({why})")
    say.result({"run": run, "measures": evidence.measures, "skipped": evidence.skipped})
