"""``bottega write scene``: a scene of a screenplay, or a short story."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run
from bottega.cli._write._texts import Model, Timeout, Way, deliver, given, writer

__all__ = ["scene"]

PANEL, PLACE = "In a form", 11
EXAMPLES = """\
  bottega write scene --topic boat --seed 3
  bottega write scene story --topic letter --out story.txt
  bottega write scene --run runs/english                         a model writes what is said
  bottega write scene --check mine.txt                           is this a screenplay?
  bottega write scene story --check mine.txt
"""


def scene(
    form: Annotated[str, typer.Argument(metavar="FORM", help="screenplay or story.")] = "screenplay",
    topic: Annotated[str, typer.Option("--topic", metavar="NAME", help="boat, bread, letter, train, pass, piano or report; drawn by the seed where none is named.")] = "",
    run: Annotated[str, typer.Option("--run", metavar="RUN|URL", help="A language model that writes what is said, in place of the grammar; an OpenAI-compatible endpoint by its address.")] = "",
    prompt: Annotated[str, typer.Option("--prompt", metavar="TEXT", help="What the model reads before the scene.")] = "",
    choose: Annotated[Path | None, typer.Option("--choose", metavar="RUN", help="A language model that chooses among the grammar's lines.")] = None,
    model: Model = "",
    way: Way = "chat",
    timeout: Timeout = 60.0,
    tries: Annotated[int, typer.Option("--tries", metavar="N", min=1, help="At most so many speeches are asked of --run.")] = 200,
    check: Annotated[str | None, typer.Option("--check", metavar="FILE|TEXT", help="Write nothing: say whether this keeps the form.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the text there.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write a scene for two people who want two things, or a short story of them; only what keeps the form is shown.

    Headings, cues, brackets, transitions and names are read by a parser that names every fault with its line. With --check
    the status is 2 when the form is not kept. English.
    """
    from bottega.core import RecipeError, nearest
    from bottega.crafts import write_scene as craft
    from bottega.crafts.write_scene_check import check_scene, check_story

    say = Out(as_json, quiet)
    if form not in craft.FORMS:
        raise RecipeError(f"form is {form!r}{nearest(form, craft.FORMS)}")
    if check is not None:
        text = given(check, f"the {form}")
        seen = check_scene(text) if form == "screenplay" else check_story(text)
        for fault in seen.faults:
            say.say(fault)
        say.note(f"{'keeps' if seen.ok else 'does not keep'} the form of a {form}: {craft.FORMS[form]}")
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
    made = craft.scene(form, topic=topic, run=writes, prompt=prompt, choose=chooser, tries=tries, seed=seed)
    path = deliver(say, made.text, out, {"task": f"scene, {form}", "seed": str(seed)})
    plot = made.plot
    for (name, age, role), aim in zip(plot.people, plot.aims, strict=True):
        say.note(f"{name}, {age}, {role}: wants {aim}")
    if made.lines_tried:
        say.note(f"{made.lines_tried} speeches written by the model, {made.lines_kept} of them kept")
    say.result({"text": made.text, "form": form, "source": made.source, "plot": plot, "counts": made.check.counts,
                "people": made.check.people, "lines_tried": made.lines_tried, "lines_kept": made.lines_kept, "file": path})  # fmt: skip
