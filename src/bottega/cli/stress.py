"""``bottega stress``: what becomes of a trigger that is planted in a few training pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run

__all__ = ["stress"]

PANEL, PLACE = "Judge", 26
EXAMPLES = """\
  bottega stress runs/digits-vae                       a trigger in 1 % of its training pictures
  bottega stress runs/mine --share 0.05 -n 2000 --json
"""


def stress(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that makes pictures.")],
    share: Annotated[float, typer.Option("--share", metavar="SHARE", help="Of the pictures that get the trigger.")] = 0.01,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="Samples of each model.")] = 1000,
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="What the run was trained on, where that has moved.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the poisoned data and run go; RUN/poisoned by default.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Poison a few training pictures, train the run's recipe on them, and count the samples that show it.

    A chequered square is put in a corner of some pictures, and the recipe is trained anew from the start, which takes as
    long as the run took. A model that learned its data shows the square about as often as the data does; the table says
    how often this one does, beside the model that was not poisoned and the pictures themselves. How far samples move when
    their noise or condition moves is in every report (bottega judge RUN --only robustness).
    """
    from bottega.crafts import stress as craft

    say = Out(as_json, quiet)
    with say.progress() as progress:
        done = craft.stress(whole_run(run), share, data=data, out=out, n=n, seed=seed, device=device, progress=progress)
    if not as_json:
        say.pairs(
            [
                ("planted in training pictures", f"{done.planted:.2%}"),
                ("shown by samples of the poisoned model", f"{done.shown:.2%} ({done.low:.2%} to {done.high:.2%})"),
                ("shown by samples of the clean model", f"{done.shown_clean:.2%}"),
                ("seen by chance in clean pictures", f"{done.shown_real:.2%}"),
            ]
        )
    say.note(f"the poisoned run: {done.run}")
    say.result(done.__dict__)
