"""``bottega compare``: one table and one page for several runs on the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet

__all__ = ["compare"]

PANEL, PLACE = "Judge", 22
EXAMPLES = """\
  bottega compare runs/digits-vae runs/digits-gan
  bottega compare digits-vae digits-gan                recipes are trained first, or found trained
  bottega compare runs/a runs/b runs/c --out abc.html --json
  bottega compare runs/*-cifar --anew 1000             all families in one feature network, whatever their numbers
"""
_COLUMNS = 7  # more runs side by side than six cannot be read in a terminal


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two or more: runs, or recipes to train first.")],
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="Train the recipes on this instead of their own data.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Train each recipe so many steps.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The page; compare.html beside the first run by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare although the runs saw different data.")] = False,
    anew: Annotated[int, typer.Option("--anew", metavar="N", min=0, help="Pictures: judge N new samples of each run in one feature network.")] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The first seed of the samples shown.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Compare runs on the same data: one table, and a page with their samples side by side.

    The first table is what one wants to know at a glance: likelihood with its bound, Fréchet distance, precision, recall,
    coverage, copies, parameters, training time and milliseconds a sample. Refuses runs on different data. A recipe in place of a run is trained first (under runs/), so that one command trains
    and compares. When one run has codes and a likelihood and another has several players, the five rows of the classical
    comparison of VAE and GAN (objective, latent space, process, performance, stability) are filled with what was
    measured.
    """
    from bottega.workshop.compare import compare as play
    from bottega.workshop.recipe import shipped
    from bottega.workshop.run import Run, train

    say = Out(as_json, quiet)
    ready: list[str | Path | Run] = []
    for name in runs:
        if Path(name).exists() or (name not in shipped() and not name.endswith(".toml")):
            ready.append(name)
            continue
        with say.progress() as watch:
            ready.append(train(name, data, steps=steps, device=device, progress=watch))
    comparison = play(ready, force=force, device=device, seed=seed, anew=anew)
    page = comparison.html(out or Path(comparison.paths[0]).resolve().parent / "compare.html")
    if not as_json:
        for title, columns, rows in comparison.tables():
            if title != "At a glance" and len(columns) > _COLUMNS:
                say.say(f"{title}: {len(rows)} rows for each run, on the page\n")
                continue
            say.say(f"{title}\n")
            say.table(columns, rows)
            say.say()
        for note in comparison.notes:
            say.say(note)
    say.note(f"* the best, its interval clear of the others'\nopen {page}")
    say.result({**comparison.json(), "page": page})
