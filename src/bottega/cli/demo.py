"""``bottega demo``: three models on real data, judged, with pieces and one page, in minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet

if TYPE_CHECKING:
    from bottega.workshop.run import Progress

__all__ = ["demo"]

PANEL, PLACE = "Begin", 0
EXAMPLES = """\
  bottega demo
  bottega demo --out /tmp/look --seed 1
  bottega demo --music                     a chorale gone on with and harmonised, to be heard
"""


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the runs and the page go.")] = Path("runs"),
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of all three; the recipes' own by default.")] = None,
    music: Annotated[bool, typer.Option("--music", help="Instead, a model of chorales: one goes on, and one melody is harmonised.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train, judge and sample three models on real data, in minutes.

    Handwritten digits by diffusion, English text by a GPT, a table by a table model: each trained on data that comes
    with the installation, judged against held-out data, sampled, and shown together on one page. Needs no network.
    """
    from bottega.workshop.demo import demo as play
    from bottega.workshop.figures import figure_with_unit, interval, span
    from bottega.workshop.report import key_measures

    say = Out(as_json, quiet)
    if music:
        _music(say, out, seed or 0, device)
        return
    say.note("Three models on real data: a few minutes on two cores. Ctrl-C stops; the same command goes on.\n")
    try:
        with say.progress() as watch:
            shown = play(out, seed=seed, device=device, progress=None if watch is None else named(watch))
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{str(stop) or 'stopped'}; run the same command again to go on") from None
    told = []
    for run, pieces in zip(shown.runs, shown.pieces, strict=True):
        e = run.evidence
        say.say(f"\n{run.path}  {run.recipe.about}")
        say.say(
            f"  {e.cost.parameters:,} parameters, {run.step:,} steps in {span(e.cost.seconds)}; {len(pieces)} file(s) in {pieces[0].parent}"
        )
        for m in key_measures(e.measures, 3):
            parts = [f"  {m.name} {figure_with_unit(m)}"]
            parts += [f"95 %: {interval(m.low, m.high)}"] if m.low is not None else []
            parts += [f"real held-out data: {m.ceiling:.4g}"] if m.ceiling is not None else []
            say.say(", ".join(parts))
        if pieces[0].suffix == ".txt":
            words = " ".join(pieces[0].read_text(encoding="utf-8").split())
            say.say(f"  it writes: {words[:200]}…")
        told.append({"run": run.path, "weights": run.weights_hash, "seconds": e.cost.seconds, "pieces": pieces, "measures": e.measures})  # fmt: skip
    first = shown.runs[0].path
    say.note(
        f"\nOpen {shown.page}\n\nNext:\n"
        f"  bottega sample {first} --seeds 0-35 --cond 7     more of them, as you like\n"
        "  bottega train my/folder                          a model of your own pictures, text or table\n"
        "  bottega recipes                                  what else there is"
    )
    say.result({"page": shown.page, "runs": told})


def _music(say: Out, out: Path, seed: int, device: str) -> None:
    """A model of chorales: what it wrote, with figures."""
    from bottega.crafts.compose_demo import BARS_GIVEN
    from bottega.crafts.compose_demo import demo as play
    from bottega.workshop.figures import span

    say.note("A model of Bach's chorales: about three minutes on two cores. Ctrl-C stops; the same command goes on.\n")
    try:
        with say.progress() as watch:
            heard = play(out, seed=seed, device=device, tell=watch or (lambda _: None))
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{str(stop) or 'stopped'}; run the same command again to go on") from None
    real = heard.corpus
    say.say(f"{heard.run.path}  {heard.run.recipe.about}, {heard.run.step:,} steps; {span(sum(heard.seconds))} in all")
    say.say(f"{heard.name}, which it never saw: gone on with behind bar {BARS_GIVEN}, and its melody set twice")
    rows = [("the training chorales", f"{100 * real['in_key']:.1f}", f"{real['parallels_per_100_moves']:.2f}", "", "")]
    made = [("continued", heard.continued), *((f"harmonised {k}", one) for k, one in enumerate(heard.harmonised, 1))]
    for name, one in made:
        said = one.said
        rows.append((name, f"{100 * said['in_key']:.1f}", f"{said['parallels_per_100_moves']:.2f}", str(said["faults"]), f"{said['nats_per_note']:.2f}"))  # fmt: skip
    say.table(("", "in key, %", "parallels in 100 moves", "faults", "nats a note"), rows, numeric=(1, 2, 3, 4))
    for path in heard.files:
        say.say(str(path))
    say.note("\nNext:\n"
             f"  bottega compose harmonise {heard.run.path} {heard.files[-1]} -n 5     other settings\n"
             "  bottega compose --help                                     what else there is")  # fmt: skip
    say.result({"run": heard.run.path, "chorale": heard.name, "corpus": real, "seconds": heard.seconds,
                "pieces": [{"what": name, **one.said} for name, one in made], "files": heard.files})  # fmt: skip


def named(watch: Callable[[Progress], None]) -> Callable[[str, Progress], None]:
    """A watch that tells which of the three is at work."""
    return lambda name, at: watch(replace(at, phase=f"{name} {at.phase}"))
