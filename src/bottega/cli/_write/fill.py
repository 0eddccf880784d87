"""``bottega write fill``: the gaps of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, Sets, knobs, whole_run
from bottega.cli._write._texts import apart

__all__ = ["fill"]

PANEL, PLACE = "With a run", 22
EXAMPLES = """\
  bottega write fill runs/english "The ___ statement is used to" -n 5
  bottega write fill runs/gaps "a [] in the []" --blank "[]" --longest 2 --set temperature=0.7
"""
_APART = apart(blank="--blank", longest="--longest", tries="--tries")
_APART |= dict.fromkeys(("max_new", "stop", "long", "overflow"), "a gap takes at most --longest tokens")


def fill(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of texts that fills gaps, or its model.safetensors.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A text with gaps.")],
    blank: Annotated[str, typer.Option("--blank", metavar="MARK", help="How a gap is written.")] = "___",
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many ways, the best first.")] = 1,
    longest: Annotated[int, typer.Option("--longest", metavar="N", min=1, help="How many tokens a gap takes at most.")] = 6,
    tries: Annotated[int, typer.Option("--tries", metavar="N", min=1, help="Drafts of each length to choose from.")] = 16,
    seed: Seed = 0,
    set_: Sets = [],  # noqa: B006
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Fill the gaps of a text, the ways that make the whole likeliest first.

    Drafts of every length are drawn from the model and scored with all that stands around them. Settings are those of
    the model's `edit`: temperature, top_k and others.
    """
    from bottega.crafts.write_fill import fill as craft
    from bottega.workshop.run import load

    say, wanted = Out(as_json, quiet), knobs(set_, _APART)
    made = load(whole_run(run), device=device)
    found = craft(made, text, blank=blank, n=n, longest=longest, tries=tries, seed=seed, **wanted)
    for one in found:
        say.say(one.text)
    say.result({"run": made.path, "weights": made.weights_hash, "seed": seed, "texts": [one.text for one in found],
                "parts": [one.parts for one in found], "logprobs": [one.logprob for one in found]})  # fmt: skip
