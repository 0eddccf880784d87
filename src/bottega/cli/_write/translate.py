"""``bottega write translate``: a text in another language, whole or as it is heard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run
from bottega.cli._write._texts import deliver, given

__all__ = ["translate"]

PANEL, PLACE = "With a run", 24
EXAMPLES = """\
  bottega write translate runs/toy "my woman heard these quick birds."
  bottega write translate runs/toy lines.txt --out lines.de.txt         a line of the file is a text
  bottega write translate runs/toy "my woman heard these quick birds." --wait 3
  bottega write translate ./t5-small "Two dogs play." --prefix "translate English to German: "
"""


def translate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run whose condition is a text (codec.given), or the Hugging Face directory of a T5.")],
    text: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="What to translate, a text on each line: a UTF-8 file, the text itself, or - for standard input.")],
    wait: Annotated[int | None, typer.Option("--wait", metavar="K", min=1, help="Begin after K words of the source, and write a word for each that follows.")] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Set before every text, as a T5 wants its task named; a run's own is codec.prefix.")] = "",
    beams: Annotated[int, typer.Option("--beams", metavar="N", min=1, help="Search with so many beams.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the translation there.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Translate each line of a text with a run; with --wait word by word, while the source is still being read.

    With --wait each word is shown as it is written, and the delay is told: how many words the translation is behind (average
    lagging), and how long a word took.
    """
    from statistics import median

    from bottega.core import RecipeError
    from bottega.crafts import write_given as craft
    from bottega.workshop.run import load

    if wait is not None and beams > 1:
        raise RecipeError(
            f"--beams {beams} and --wait {wait}: words that are shown cannot be taken back; give one of them"
        )
    say, lines = Out(as_json, quiet), [line for line in given(text).splitlines() if line.strip()]
    made = load(whole_run(run), device=device)
    made = craft.asked(made, prefix) if prefix else made
    if wait is None:
        knobs = {"beams": beams} if beams > 1 else {}
        texts = craft.rewrite(made, lines, seed=seed, **knobs)
        path = deliver(
            say, "\n".join(texts), out, {"task": "translate", "weights": made.weights_hash, "seed": str(seed)}
        )
        say.result({"run": made.path, "weights": made.weights_hash, "texts": texts, "file": path})
        return
    told = []
    for line in lines:
        words, read, seconds = [], [], []
        for word, source, took in craft.simultaneous(made, line, wait):
            words.append(word)
            read.append(source)
            seconds.append(took)
            if not as_json and out is None:
                print(word, end=" ", flush=True)
        if not as_json and out is None:
            print()
        told.append(craft.Delayed(" ".join(words), read, seconds, craft.average_lagging(read, len(line.split()))))
    times = [s for one in told for s in one.seconds]
    path = None if out is None else deliver(say, "\n".join(t.text for t in told), out, {"task": "translate", "weights": made.weights_hash})  # fmt: skip
    if times:
        lag = sum(t.lagging for t in told) / len(told)
        say.note(f"{lag:.1f} words behind on average; {1000 * median(times):.0f} ms a word (median)")
    say.result({"run": made.path, "weights": made.weights_hash, "wait": wait, "lines": told, "file": path})
