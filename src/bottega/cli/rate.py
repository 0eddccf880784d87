"""``bottega rate``: a page on which people rate texts blindly, and what they agree on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bottega.cli._shared import Json, Out, Quiet, Seed, Sets, settings, whole_run

__all__ = ["rate"]

PANEL, PLACE = "Judge", 27
EXAMPLES = """\
  bottega rate runs/english -n 20                                        writes runs/english/rating/rate.html
  bottega rate runs/english --ratings anna.json --ratings ben.json       what they said, and whether they agree
"""


def rate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run whose texts are rated.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="Texts made, and as many real ones.")] = 20,
    ratings: Annotated[list[Path], typer.Option("--ratings", metavar="FILE", help="What one person saved from the page; may be given many times.")] = [],  # noqa: B006
    folder: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where page and key lie; RUN/rating by default.")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="What the run was trained on, where that has moved.")] = None,
    set_: Sets = [],  # noqa: B006
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Let people rate texts without knowing which are a machine's, and say how far they agree.

    The page mixes texts of the run with real ones that it never saw. Each rater saves a file; with --ratings the means of
    both, Krippendorff's alpha, Cohen's or Fleiss' kappa, and how well the automatic coherence foretells the ratings.
    """
    from bottega.crafts import rating as craft
    from bottega.workshop.recipe import parse_value

    say, where = Out(as_json, quiet), folder or whole_run(run) / "rating"
    if not ratings:
        knobs: dict[str, Any] = {key: parse_value(value) for key, value in settings(set_).items()}
        page = craft.sheet(whole_run(run), n=n, seed=seed, data=data, **knobs).write(where)
        say.say(f"{page}")
        say.note(
            f"give {page} to at least two people, and keep key.json from them; then bottega rate {run} --ratings FILE ..."
        )
        say.result({"run": run, "page": page, "key": where / "key.json"})
        return
    found = craft.weigh(craft.read_sheet(where), ratings, seed=seed)
    say.table(
        ("measure", "value", "95 %", "texts"),
        [
            (m.name, f"{m.value:.3g}", f"{m.low:.3g} to {m.high:.3g}" if m.low is not None and m.high is not None else "–",
             str(m.n))
            for m in found
        ],
        numeric=(1, 3),
    )  # fmt: skip
    say.result({"run": run, "raters": len(ratings), "measures": found})
