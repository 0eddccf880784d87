"""``bottega reward``: a run goes on learning from a reward, or from what people preferred."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run

__all__ = ["reward"]

PANEL, PLACE = "Make", 13
EXAMPLES = """\
  bottega reward runs/grammar --reward length:40              texts of about 40 characters
  bottega reward runs/text --reward avoids:very,really --reward repetition --kl 3
  bottega reward runs/text --reward mine.py:score             your own function, text -> number
  bottega reward runs/text --reward class:runs/reviews=good   what a judge run calls good
  bottega reward runs/text --pairs preferred.jsonl            {"prompt": ..., "chosen": ..., "rejected": ...}
"""


def reward(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run to begin from; it stays as it is.")],
    rewards: Annotated[list[str], typer.Option("--reward", metavar="NAME", help="length:N, words:N, contains:A,B, avoids:A,B, regex:P, json, repetition, class:RUN=LABEL, member:WORLD, or file.py:function; again for a sum, 0.5*NAME for half.")] = [],  # noqa: B006
    pairs: Annotated[Path | None, typer.Option("--pairs", metavar="FILE", help="A .jsonl of preferences to learn from in place of rewards (DPO).")] = None,
    kl: Annotated[float, typer.Option("--kl", metavar="NATS", help="How far from the start it may go, for each piece.")] = 5.0,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Of the optimiser.")] = 200,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=2, help="Pieces, or pairs, in each step.")] = 64,
    lr: Annotated[float, typer.Option("--lr", metavar="X", help="Learning rate; 0 is a tenth of the run's own.")] = 0.0,
    pull: Annotated[float, typer.Option("--pull", metavar="X", help="What a nat from the start costs, in standard deviations of the reward; 0 is nothing, and --kl only stops it.")] = 0.1,
    beta: Annotated[float, typer.Option("--beta", metavar="X", help="Of --pairs: larger stays nearer to the start.")] = 0.1,
    prompts: Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help="A prompt on each line, for runs that are given one; their own training texts by default.")] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=2, help="Pieces to measure by, before and after.")] = 512,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The folder of the new run; RUN-reward or RUN-preferred by default.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Let a run learn from a reward (REINFORCE) or from pairs of preferences (DPO), near to what it was.

    For every family with an exact likelihood. The result is a new run that says what the reward was before and after, and
    how far it went; weights further away than --kl are never kept. The same command again goes on after Ctrl-C.
    """
    from bottega.workshop.report import measure_rows
    from bottega.workshop.rewarding import Feedback
    from bottega.workshop.rewarding import reward as play
    from bottega.workshop.run import load

    say = Out(as_json, quiet)
    plan = Feedback(
        tuple(rewards), str(pairs or ""), kl, steps, batch, lr, pull, beta, str(prompts or ""), n, seed,
    )  # fmt: skip
    try:
        with say.progress() as watch:
            made = play(load(whole_run(run), device=device), plan, out, progress=watch)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{str(stop) or 'stopped'}; run the same command again to go on") from None
    evidence = made.evidence
    measures = [m for m in evidence.measures if m.judge == "reward"]
    if not as_json:
        say.say(f"{made.path}  {made.step:,} steps from {run}")
        rows = [row for row in measure_rows(evidence) if row[0] in {m.name for m in measures}]
        say.table(("measure", "value", "95 % interval", "held-out data", "n"), rows, numeric=(1, 3, 4))
        for note in evidence.notes:
            say.say(note)
    say.note(
        f"\nbottega sample {made.path} -n 16 --show   makes new pieces\nbottega judge {made.path}   measures the rest of it"
    )
    say.result({
        "run": made.path, "start": run, "step": made.step, "weights": made.weights_hash, "measures": measures,
        "notes": evidence.notes,
    })  # fmt: skip
