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
  bottega judge ./gpt2 --data mine.txt                        its perplexity and bits per byte on a text of yours
  bottega judge hub:OWNER/NAME --data mine.txt --window 1024 --stride 512 --out judged
"""


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, its model.safetensors, a Hugging Face directory or hub:OWNER/NAME.")],
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="Judge against this instead of the run's own held-out part.")] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="NAMES", help="These judges only, comma-separated.")] = None,
    n: Annotated[int | None, typer.Option("-n", metavar="N", min=2, help="How many samples; the recipe's number by default.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of the samples and of whatever a judge draws; the recipe's by default.")] = None,
    features: Annotated[Path | None, typer.Option("--features", metavar="FILE", help="Judge pictures by the Inception-v3 weights in this safetensors file.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write evidence, report and card there, not into the run's folder.")] = None,
    window: Annotated[int | None, typer.Option("--window", metavar="N", help="Texts: how many tokens the sliding window holds; all that the model reads by default.")] = None,
    stride: Annotated[int | None, typer.Option("--stride", metavar="N", help="Texts: by how many tokens it moves; half of it by default.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Measure a run against real data that it never saw.

    Every measure comes with its sample size and a 95 % interval, and with the same measure of real held-out data: the
    best that a faithful model can hope for. Judges that do not apply are named, with the reason. Nothing is downloaded.

    Of other people's language models (a Hugging Face directory) --data is a text that they are taken never to have seen: all
    of it is scored once, under a window of at most 2048 tokens. Nothing is written but into --out.
    """
    from bottega.workshop.report import measure_rows
    from bottega.workshop.run import load

    say = Out(as_json, quiet)
    names = [name.strip() for name in only.split(",")] if only else None
    with say.progress() as watch:
        judged = load(run, device=device)
        evidence = judged.judge(
            data, only=names, n=n, seed=seed, features=features, out=out, window=window, stride=stride, progress=watch
        )
    if not as_json:
        say.table(
            ("measure", "value", "95 % interval", "held-out data", "n"), measure_rows(evidence), numeric=(1, 3, 4)
        )
        for name, why in evidence.skipped.items():
            say.note(f"not judged: {name} ({why})")
    kept = out if out is not None else judged.path if judged.trained_here else None
    if kept is None:
        say.note(f"nothing was written into {run}; --out DIR keeps evidence, report and card")
    say.result({"run": run, "written": kept, "measures": evidence.measures, "skipped": evidence.skipped})
