"""``bottega show``: what a run is, or what made a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._shared import Json, Out, Quiet

if TYPE_CHECKING:
    from bottega.workshop.run import Run

__all__ = ["show"]

PANEL, PLACE = "Judge", 23
EXAMPLES = """\
  bottega show runs/digits-diffusion                              recipe, data, what it can do, measures
  bottega show runs/digits-diffusion --page                       and write its page and card again
  bottega show runs/digits-diffusion/pieces/digits-diffusion-0.png   what made this picture
  bottega show said.wav                                           its mark, and the watermark in its sound
"""


def show(
    what: Annotated[Path, typer.Argument(metavar="FILE|RUN", help="A run, a weights file, or a piece.")],
    page: Annotated[bool, typer.Option("--page", help="Write report.html and card.md again from the evidence.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Say what a run is and can do, or which weights and seed made a file."""
    say = Out(as_json, quiet)
    if what.is_dir() or what.suffix == ".safetensors":
        _run(say, what, page)
    else:
        _piece(say, what)


def _run(say: Out, path: Path, page: bool) -> None:
    from bottega.core import Edits, Encodes, Represents, Scores, Streams, Translates, has
    from bottega.workshop.run import knobs_of, load

    run = load(path, device="cpu")
    can = ["sample", *(verb for verb, capability in (("edit", Edits), ("score", Scores), ("encode", Encodes), ("represent", Represents),
           ("stream", Streams), ("translate", Translates)) if has(run.model, capability))]  # fmt: skip
    evidence = run.evidence
    if page:
        from bottega.workshop.card import write_card
        from bottega.workshop.report import write_report

        for written in (write_report(run.path, evidence), write_card(run.path, evidence)):
            say.note(f"wrote {written}")
    knobs = knobs_of(run.model.sample, 3)
    if not say.as_json:
        _tell(say, run, can, knobs)
    say.result({"run": run.path, "recipe": run.recipe.to_dict(), "can": can, "knobs": knobs, "evidence": evidence})


def _steps(run: Run) -> str:
    """How many were trained, and of how many where training is not over."""
    asked = run.recipe.train.steps
    over = run.header["stopped"] or run.step >= asked
    return f"{run.step:,} steps" if over else f"{run.step:,} of {asked:,} steps (the same command goes on)"


def _tell(say: Out, run: Run, can: list[str], knobs: dict[str, Any]) -> None:
    from bottega.workshop.figures import span
    from bottega.workshop.report import measure_rows

    e = run.evidence
    rows = [
        ("run", f"{run.path}, recipe {run.recipe.name}"),
        ("about", run.recipe.about),
        ("data", f"{e.data.name}: {e.data.train_rows:,} rows, {e.data.held_rows:,} held out; {e.data.licence}"),
        ("model", f"{run.recipe.family['name']}, {e.cost.parameters:,} parameters"),
        ("trained", f"{_steps(run)} in {span(e.cost.seconds)} on {e.machine.device}"),
        ("weights", run.weights_hash),
        ("can", ", ".join(can)),
        ("knobs", "  ".join(f"{k}={v}" for k, v in knobs.items()) or "none"),
    ]
    say.pairs([(name, value) for name, value in rows if value])
    if e.measures:
        say.say()
        say.table(("measure", "value", "95 % interval", "held-out data", "n"), measure_rows(e), numeric=(1, 3, 4))
    else:
        say.note(f"not judged yet; bottega judge {run.path} does it")
    for note in e.notes:
        say.say(note)


def _piece(say: Out, path: Path) -> None:
    from bottega.trust.mark import read

    found = read(path)
    heard, why = _watermark(path)
    if not say.as_json:
        if found:
            say.say(str(path))
            say.pairs(list(found.items()))
        else:
            say.say(f"{path} carries no mark: nothing in it says who or what made it")
        if why:
            say.say(f"watermark  {why}")
    say.result({"file": path, "marked": bool(found), "mark": found, "watermark": heard})


def _watermark(path: Path) -> tuple[dict[str, Any] | None, str]:
    """What is heard in a sound of the watermark that spoken sounds have, and that in words; nothing of other files."""
    import importlib.util

    from bottega.codecs._sound_files import SUFFIXES, read_sound
    from bottega.trust.watermark import SURE, find_watermark, unheard

    if path.suffix.lower() not in SUFFIXES:
        return None, ""
    if importlib.util.find_spec("soundfile") is None:
        return None, "not looked for: sound needs soundfile; pip install 'bottega[audio]'"
    sound = read_sound(path)
    if why := unheard(sound):
        return None, f"not looked for: {why}"
    there, deviations = find_watermark(sound)
    told = {"found": there, "deviations": round(deviations, 2), "sure": SURE}
    return told, f"{'found' if there else 'not found'}: its pattern stands out by {deviations:.1f} standard deviations, {SURE:g} count as found"  # fmt: skip
