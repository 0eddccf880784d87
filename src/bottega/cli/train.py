"""``bottega train``: a recipe, or one's own folder, becomes a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Sets, settings

__all__ = ["train"]

PANEL, PLACE = "Make", 10
EXAMPLES = """\
  bottega train digits-diffusion                    a shipped recipe on its own data
  bottega train my/pictures                         your own folder; a fitting recipe is chosen
  bottega train pictures --data my/pictures --out runs/mine
  bottega train digits-vae --set family.latent=64 --steps 500
  bottega train my/texts --base ./gpt2 --set train.lora=8    a language model goes on learning from your texts
  bottega train chats.jsonl --base ./gpt2           or from conversations; bottega rollback goes back
"""


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe, a recipe file, or your own folder or file.")],
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="Other data than the recipe's: a path, or a name from `bottega data`.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The folder of the run; runs/NAME by default.")] = None,
    base: Annotated[str | None, typer.Option("--base", metavar="DIR", help="A language model to begin with: a run, a Hugging Face directory, or hub:OWNER/NAME.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Train so many steps.")] = None,
    set_: Sets = [],  # noqa: B006
    judge: Annotated[bool, typer.Option("--judge/--no-judge", help="Measure the result against held-out data.")] = True,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of weights, order and noise; the recipe's by default.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train a model from a recipe, or from your own folder or file.

    The same command again goes on where the last one stopped: after Ctrl-C, a crash or a power cut. A finished run is
    left as it is. The folder of the run holds the recipe, the weights, the log, samples, the evidence and a page.
    """
    changed = settings(set_)
    from bottega.workshop.figures import span
    from bottega.workshop.report import measure_rows, tuning_rows
    from bottega.workshop.run import train as play

    first = os.environ.get("RANK", "0") == "0"  # of several processes one speaks
    say = Out(as_json, quiet or not first)
    try:
        with say.progress() as watch:
            run = play(
                recipe,
                data,
                out,
                steps=steps,
                set=changed,
                device=device,
                seed=seed,
                judge=judge,
                base=base,
                progress=watch,
            )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{str(stop) or 'stopped'}; run the same command again to go on") from None
    if not first:
        return
    e = run.evidence
    say.say(
        f"{run.path}  {run.step:,} steps in {span(e.cost.seconds)}, {e.cost.parameters:,} parameters, recipe {run.recipe.name}"
    )
    if e.measures:
        say.table(("measure", "value", "95 % interval", "held-out data", "n"), measure_rows(e), numeric=(1, 3, 4))
    if e.tuning:
        say.say()
        say.table(("of", "before", "after", "change", "95 %", "n"), tuning_rows(e), numeric=(1, 2, 3, 5))
    for note in e.notes:
        say.say(note)
    if e.tuning:
        say.note(f"\nbottega rollback {run.path}   goes back to the weights before")
    report = run.path / "report.html"
    say.note(f"\nbottega sample {run.path} -n 16   makes new pieces")
    say.note(
        f"open {report}   shows it"
        if report.exists()
        else f"bottega judge {run.path}   measures it and writes its page"
    )
    say.result({
        "run": run.path, "recipe": run.recipe.name, "step": run.step, "weights": run.weights_hash,
        "seconds": e.cost.seconds, "measures": e.measures, "tuning": e.tuning, "notes": e.notes,
        "report": report if report.exists() else None,
    })  # fmt: skip
