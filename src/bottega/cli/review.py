"""``bottega review``: look at pieces before they go out, and let through what may."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, Seed, whole_run

__all__ = ["review"]

PANEL, PLACE = "Judge", 24
EXAMPLES = """\
  bottega review runs/tiles                                  looks at runs/tiles/pieces, writes the page for a person
  bottega review runs/tiles --release out                    where nothing waits for a person
  bottega review runs/tiles --decisions decisions.json --release out
"""


def review(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run that made the pieces.")],
    pieces: Annotated[Path | None, typer.Option("--pieces", metavar="DIR", help="Where they lie; RUN/pieces by default.")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="What the run was trained on, where that has moved.")] = None,
    decisions: Annotated[Path | None, typer.Option("--decisions", metavar="FILE", help="What a person decided, as the page saved it.")] = None,
    release: Annotated[Path | None, typer.Option("--release", metavar="DIR", help="Copy what may go out there, or say why nothing may.")] = None,
    most_bad: Annotated[float, typer.Option("--most-bad", metavar="SHARE", help="More refused and rejected pieces than this keep the gate shut.")] = 0.2,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Look at pictures before they go out: quality without a reference, near copies, marks; then a person, then a gate.

    A machine looks at every piece: what carries no mark of this run or copies a training picture is refused, and what
    looks less natural than all but 5 % of real pictures waits for a person, with one in twenty of the others, at least
    one; all wait where the run held out fewer than 20 pictures, or its pieces plainly look less natural than real ones.
    review.html shows those, and saves what was decided. With --release the gate opens when nothing waits and not too
    much was bad.
    """
    from bottega.crafts import review as craft

    say = Out(as_json, quiet)
    folder = pieces or whole_run(run) / "pieces"
    if release is None:
        found = craft.check(run, folder, data=data, seed=seed)
        page = found.write(folder)
        say.pairs([(verdict, str(n)) for verdict, n in found.counts().items()])
        say.note(f"decide in {page}, then bottega review {run} --decisions decisions.json --release DIR" if found.queue
                 else f"nothing waits for a person; bottega review {run} --release DIR")  # fmt: skip
        say.result(
            {"run": run, "page": page, **found.counts(), "real_fake_margin": found.margin, "pieces": found.pieces}
        )
        return
    said = {} if decisions is None else craft.decisions(decisions)
    done = craft.release(craft.read_review(folder), folder, said, release, most_bad=most_bad, run=whole_run(run))
    say.say(
        f"{len(done.files)} pieces in {release}; left behind: {done.left['refused']} refused, {done.left['rejected']} rejected"
    )
    say.result({"run": run, "files": done.files, "left": done.left})
