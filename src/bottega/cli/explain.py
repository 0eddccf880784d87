"""``bottega explain``: which tokens moved what a run says, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run

__all__ = ["explain"]

PANEL, PLACE = "Judge", 26
EXAMPLES = """\
  bottega explain runs/english "The statement is" --more 12    explains the text and the 12 tokens that follow it
  bottega explain runs/german "A dog runs." --out why.html     what a translation was made of
"""


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that makes text, or its model.safetensors.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is explained; for translations and summaries, the source.")],
    said: Annotated[str, typer.Option("--said", metavar="TEXT", help="What it says of the source; its likeliest answer by default.")] = "",
    more: Annotated[int, typer.Option("--more", metavar="N", min=0, help="Let the model add so many tokens first.")] = 0,
    points: Annotated[int, typer.Option("--points", metavar="N", min=1, help="Of the integral: more are nearer and slower.")] = 32,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The page; RUN/explained.html by default.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Show which tokens moved each token of a text, and what every head looked at.

    The page is one file: point at a token, and what moved it is coloured, by integrated gradients, by gradient times input,
    or by the attention of any layer and head.
    """
    from bottega.crafts import explain as craft
    from bottega.workshop.run import load

    say = Out(as_json, quiet)
    with say.progress() as watch:
        found = craft.explain(
            load(whole_run(run), device=device), text, said=said, more=more, points=points, seed=seed, progress=watch
        )
    page = found.write(out or whole_run(run) / "explained.html")
    rows = []
    for i, token in enumerate(found.said):
        causes = "  ".join(f"{text.strip() or repr(text)} {nats:+.2f}" for _, text, nats in found.causes(i, 3))
        rows.append((repr(token)[1:-1], craft.surprise(found.scores[i]), f"{found.gains[i]:+.2f}", causes))
    say.table(("token", "probability", "nats gained", "by"), rows, numeric=(1, 2))
    say.note(f"{page}: point at a token; parts miss their sums by {found.gap():.2g} nats (median)")
    say.result(
        {"run": run, "page": page, "tokens": found.tokens, "given": found.given, "scores": found.scores, "gains": found.gains,
         "gap": found.gap(), "causes": [found.causes(i) for i in range(len(found.said))]}
    )  # fmt: skip
