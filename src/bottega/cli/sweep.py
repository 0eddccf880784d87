"""``bottega sweep``: one recipe at several values of one setting, or at a learning rate that rises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet

__all__ = ["sweep"]

PANEL, PLACE = "Make", 15
EXAMPLES = """\
  bottega sweep digits-vae family.beta 0.25,1,4,16
  bottega sweep photos-compressor family.sigma 0.02,0.05,0.1,0.2 --data my/photos --steps 1000
  bottega sweep digits-gan optim.lr 1e-5..1e-1              one short run of a rising rate, for any recipe
"""


def sweep(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe, or a TOML file.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="The setting, as --set names it: family.beta.")],
    values: Annotated[str, typer.Argument(metavar="VALUES", help="Its values, with commas between; for optim.lr also a range, 1e-5..1e-1.")],
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="What to train on; what the recipe names by default.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Of each run; the recipe's by default, and 300 for a range.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the runs go; runs/RECIPE-KEY by default.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train a recipe at several values of one setting and show what each costs and leaves out.

    For models whose loss is a rate and a distortion. Prints both in nats on pieces that were kept back, with the number
    of code numbers in use, warns of a posterior that collapsed (under a tenth in use), and draws the curve.

    With optim.lr and a range it makes the learning-rate range test, for any recipe: a few steps while the rate rises. It
    says at which rate the loss (where players are at odds: the distance of samples to data) was lowest, where training
    broke down, and suggests a quarter of the best. Nothing is kept but the drawing.
    """
    from bottega.crafts import sweep as craft

    say = Out(as_json, quiet)
    if ".." in values:
        _range(recipe, key, values, data, steps, out, device, say)
        return
    with say.progress() as progress:
        points, picture = craft.sweep(
            recipe, key, [v.strip() for v in values.split(",") if v.strip()], data=data, out=out, steps=steps,
            device=device, progress=progress,
        )  # fmt: skip
    if not as_json:
        rows = [
            (str(p.value), f"{p.rate_nats:.2f}", f"{p.distortion_nats:.2f}", f"{p.rate_nats + p.distortion_nats:.2f}",
             "" if p.active is None else f"{p.active} of {p.units}") for p in points
        ]  # fmt: skip
        say.table((key, "rate, nats", "distortion, nats", "sum", "code numbers in use"), rows, numeric=(1, 2, 3))
    for p in points:
        if p.collapsed:
            say.note(f"{key} = {p.value}: {p.collapsed}; lower family.beta, or set family.free_bits")
    say.note(f"drawn in {picture}")
    say.result({"key": key, "points": [p.__dict__ for p in points], "picture": picture})


def _range(
    recipe: str, key: str, values: str, data: str | None, steps: int | None, out: Path | None, device: str, say: Out
) -> None:
    from bottega.crafts import rates as craft

    low, high = craft.range_of(values)
    if key != "optim.lr":
        raise typer.BadParameter(f"a range is for optim.lr; write the values of {key} with commas between")
    with say.progress() as progress:
        found = craft.rate_range(recipe, low, high, data=data, steps=steps or 300, device=device, progress=progress)
    stem = Path(recipe).stem
    picture = craft.draw(found, stem, (out or Path("runs") / f"{stem}-lr") / "rates.png")
    broke = "not up to there" if found.diverged is None else f"{found.diverged:.2g}"
    if not say.as_json:
        say.pairs([("suggested optim.lr", f"{found.suggested:.2g}"), (f"lowest {found.measure} at", f"{found.best:.2g}"),
                   ("broke down at", broke)])  # fmt: skip
    say.note(f"drawn in {picture}; train with --set optim.lr={found.suggested:.1e}")
    say.result({"key": key, **found.__dict__, "picture": picture})
