"""``bottega write generate``: text from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, Sets, settings, whole_run

__all__ = ["generate"]

PANEL, PLACE = "With a run", 20
EXAMPLES = """\
  bottega write generate runs/english "The statement" --set temperature=0.8
  bottega write generate runs/english -n 3 --max-new 60 --stop '.'
"""


def generate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that writes text, or its model.safetensors.")],
    prompt: Annotated[str, typer.Argument(metavar="TEXT", help="What the text goes on from; nothing by default.")] = "",
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many texts.")] = 1,
    max_new: Annotated[int | None, typer.Option("--max-new", metavar="N", min=1, help="At most so many tokens.")] = None,
    stop: Annotated[list[str], typer.Option("--stop", metavar="TEXT", help="End before this string, which is never shown; may be given many times.")] = [],  # noqa: B006
    long: Annotated[str, typer.Option("--long", metavar="HOW", help="A prompt longer than the model reads: error, or slide (only its end is read).")] = "error",
    seed: Seed = 0,
    set_: Sets = [],  # noqa: B006
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write text with a run, shown as it is made.

    Settings are those of the model's sampler: temperature, top_k, top_p, min_p, repetition_penalty.
    """
    from bottega.crafts import write as craft
    from bottega.workshop.recipe import parse_value
    from bottega.workshop.run import load

    say, made = Out(as_json, quiet), load(whole_run(run), device=device)
    knobs: dict[str, Any] = {key: parse_value(value) for key, value in settings(set_).items()}
    knobs |= {"max_new": max_new, "stop": stop, "long": long}
    if n == 1 and not as_json:
        print(prompt, end="", flush=True)
        for part in craft.stream(made, prompt, seed=seed, **knobs):
            print(part, end="", flush=True)
        print()
        return
    texts = craft.generate(made, prompt, n=n, seed=seed, **knobs)
    for text in texts:
        say.say(f"{prompt}{text}\n")
    say.result({"run": made.path, "weights": made.weights_hash, "prompt": prompt,
                "seeds": list(range(seed, seed + n)), "texts": texts})  # fmt: skip
