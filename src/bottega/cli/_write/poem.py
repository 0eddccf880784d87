"""``bottega write poem``: verse in a form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run
from bottega.cli._write._texts import Model, Timeout, Way, deliver, given, writer

__all__ = ["poem"]

PANEL, PLACE = "In a form", 10
EXAMPLES = """\
  bottega write poem sonnet --topic winter --seed 3
  bottega write poem limerick
  bottega write poem couplet --run runs/shakespeare --prompt "KING:"
  bottega write poem quatrain --topic city --choose runs/english
  bottega write poem sonnet --check mine.txt
"""


def poem(
    form: Annotated[str, typer.Argument(metavar="FORM", help="couplet, quatrain, limerick, sonnet or haiku.")],
    topic: Annotated[str, typer.Option("--topic", metavar="NAME", help="sea, city or winter; of the grammar's lines.")] = "sea",
    run: Annotated[str, typer.Option("--run", metavar="RUN|URL", help="A language model that writes the lines, in place of the grammar; an OpenAI-compatible endpoint by its address.")] = "",
    prompt: Annotated[str, typer.Option("--prompt", metavar="TEXT", help="What the model goes on from.")] = "",
    choose: Annotated[Path | None, typer.Option("--choose", metavar="RUN", help="A language model that chooses among the grammar's lines.")] = None,
    model: Model = "",
    way: Way = "chat",
    timeout: Timeout = 60.0,
    tries: Annotated[int | None, typer.Option("--tries", metavar="N", min=1, help="At most so many lines are made; by default 20000, at an endpoint 400.")] = None,
    check: Annotated[str | None, typer.Option("--check", metavar="FILE|TEXT", help="Write nothing: say whether this keeps the form.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the poem there.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write verse whose syllables, stresses and rhymes are counted; only what keeps the form is shown.

    Sounds come from a pronunciation dictionary (pip install 'bottega[text]'), for other words from espeak-ng where it is
    installed, else from their spelling. With --check the status is 2 when the form is not kept. English.
    """
    from bottega.crafts import write_poem as craft
    from bottega.crafts.write_sounds import dictionary

    say = Out(as_json, quiet)
    if not dictionary():
        say.note("no pronunciation dictionary; sounds are guessed from spelling (pip install 'bottega[text]')")
    if check is not None:
        seen = craft.check_poem(given(check, "the poem"), form)
        for fault in seen.faults:
            say.say(fault)
        say.note(f"{'keeps' if seen.ok else 'does not keep'} the form of a {form}: {craft.FORMS[form].about}")
        say.result(seen.__dict__)
        if not seen.ok:
            raise typer.Exit(2)
        return
    writes = writer(run, model, way, timeout, device) if run else None
    chooser = None
    if choose is not None:
        from bottega.crafts.write_report import chooser as order
        from bottega.workshop.run import load

        chooser = order(load(whole_run(choose), device=device))
    made = craft.poem(form, topic=topic, run=writes, prompt=prompt, choose=chooser, tries=tries, seed=seed)
    path = deliver(say, made.text, out, {"task": f"poem, {form}", "seed": str(seed)})
    say.note(f"{made.lines_tried} lines made, {made.lines_kept} of them in metre")
    if made.check.guessed:
        say.note(f"sounds guessed from spelling: {', '.join(made.check.guessed)}")
    say.result({"text": made.text, "form": form, "source": made.source, "lines_tried": made.lines_tried,
                "lines_kept": made.lines_kept, "scansion": made.check.scansion, "guessed": made.check.guessed, "file": path})  # fmt: skip
