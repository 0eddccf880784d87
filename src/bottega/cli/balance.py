"""``bottega balance``: made pieces for classes of which there are few, and what they are good for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run

__all__ = ["balance"]

PANEL, PLACE = "Crafts", 44
EXAMPLES = """\
  bottega balance runs/scans --test labelled/               as many pieces of every class as of the commonest
  bottega balance runs/claims --test rows.csv --out more --json
"""


def balance(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that can be asked for a class.")],
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="What the run was trained on, where that has moved.")] = None,
    test: Annotated[str | None, typer.Option("--test", metavar="PATH", help="Labelled pieces to test on; what the run kept back by default.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the made pieces go; RUN/balance by default.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make pieces of the classes that have few, until all have as many, and test whether a classifier gets better.

    A small classifier learns from the real pieces, from the real ones with every class weighing the same, and from real
    and made ones; the table says the F1 of the rare classes on pieces that nobody saw, with its interval. Near-exact copies
    of training or test pieces are refused and counted. Made pieces carry the mark of all that is made here.
    """
    from bottega.crafts import balance as craft
    from bottega.workshop.run import load

    say = Out(as_json, quiet)
    done = craft.balance(load(whole_run(run), device=device), data=data, test=test, out=out, seed=seed)
    if not as_json:
        rows = [
            (c.name, str(c.real), str(c.made), str(c.copies_of_train), str(c.copies_of_held), str(c.held))
            for c in done.classes
        ]
        columns = ("class", "real", "made", "copies of training refused", "copies of test refused", "tested on")
        say.table(columns, rows, numeric=(1, 2, 3, 4, 5))
        ways = [(w.name, f"{w.f1:.3f}", f"{w.low:.3f} to {w.high:.3f}", f"{w.accuracy:.3f}") for w in done.ways]
        say.table(("learned from", "F1 of rare classes", "95 % interval", "accuracy"), ways, numeric=(1, 3))
    verdict = "helps" if done.gain_low > 0 else "harms" if done.gain_high < 0 else "cannot be told from chance"
    say.note(
        f"rare: {', '.join(done.rare)}; made pieces change their F1 by {done.gain:+.3f} ({done.gain_low:+.3f} to "
        f"{done.gain_high:+.3f}), which {verdict}"
    )
    if done.files:
        say.note(f"made pieces: {done.files[0].parent if len(done.files) == 1 else done.files[0].parent.parent}")
    say.result({"run": run, **done.__dict__})
