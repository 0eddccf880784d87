"""``bottega recall``: what a run remembers of a conversation, by its length."""

from __future__ import annotations

from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, numbers
from bottega.cli._write._texts import writer

__all__ = ["recall"]

PANEL, PLACE = "Judge", 25
EXAMPLES = """\
  bottega recall runs/dialogues                             after 0, 2, 4, 8, 16 and 32 turns of other talk
  bottega recall runs/dialogues --turns 0,10,50 -n 200 --changes 0.5
  bottega recall http://localhost:8000/v1 --model qwen -n 20
"""


def recall(
    run: Annotated[str, typer.Argument(metavar="RUN|URL", help="The folder of a run that writes text, its model.safetensors, or the address of an OpenAI-compatible endpoint.")],
    turns: Annotated[str, typer.Option("--turns", metavar="LIST", help="Turns of other talk between telling and asking.")] = "0,2,4,8,16,32",
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="Conversations for each.")] = 50,
    facts: Annotated[int, typer.Option("--facts", metavar="N", min=1, max=6, help="Facts told in each.")] = 3,
    changes: Annotated[float, typer.Option("--changes", metavar="SHARE", help="Conversations in which the fact was told twice, differently.")] = 0.0,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Which model of an endpoint.")] = "",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Tell a model facts, talk of other things, ask for one: how often is it right, and how often does it contradict?

    The conversations are made, in lines of A and B, so that the answers are known. A conversation longer than the model
    reads is cut at its beginning, as it would be in use; the table says from which length on.
    """
    from bottega.crafts import recall as craft

    say = Out(as_json, quiet)
    who = craft.speaker(writer(run, model, device=device))
    rows = craft.recall(who, numbers(turns, "--turns", "number of turns"), n=n, facts=facts, changes=changes, seed=seed)
    say.table(
        ("turns", "recalled", "95 %", "contradicts what it was told", "contradicts itself", "names nothing", "tokens"),
        [
            (str(r.turns), f"{r.recalled.value:.2f}", f"{r.recalled.low:.2f} to {r.recalled.high:.2f}",
             f"{r.contradicted.value:.2f}", f"{r.wavered.value:.2f} of {r.wavered.n}", f"{r.silent:.2f}",
             f"{r.tokens or '–'}{' (cut)' if r.tokens > r.room else ''}")
            for r in rows
        ],
        numeric=(0, 1, 3, 4, 5, 6),
    )  # fmt: skip
    reads = f"; {run} reads {rows[0].room} tokens" if rows[0].room else ""
    say.note(f"{n} conversations for each number of turns{reads}")
    say.result({"run": run, "n": n, "seed": seed, "reads": rows[0].room, "rows": rows})
