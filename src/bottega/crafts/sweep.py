"""One recipe at several values of one setting: what each costs and leaves out, and where it breaks down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bottega.core import BottegaError, RecipeError, Rng
from bottega.crafts._rows import CHUNK, held_items
from bottega.judge.codes import COLLAPSED
from bottega.workshop.recipe import parse_value
from bottega.workshop.run import Run, Tell, train

__all__ = ["Point", "collapsed", "curve", "measured", "sweep"]


@dataclass(frozen=True)
class Point:
    """A run at one value of the setting, measured on pieces that it never saw.

    Attributes:
        value: of the setting.
        run: the folder of the run.
        rate_nats: what a code costs, a mean over pieces.
        distortion_nats: what is left to say of a piece given its code; with the rate it adds up to minus the bound.
        active: code numbers in use; None where the model does not say.
        units: code numbers in all.
        collapsed: why the run is called collapsed; empty when it is not.
    """

    value: Any
    run: Path
    rate_nats: float
    distortion_nats: float
    active: int | None
    units: int
    collapsed: str


def collapsed(active: int | None, units: int) -> str:
    """What is to be said when fewer than a tenth of the code numbers are in use, else nothing.

    >>> collapsed(2, 40), collapsed(4, 40), collapsed(None, 40)
    ('posterior collapse: 2 of 40 code numbers are in use', '', '')
    """
    if active is None or active >= COLLAPSED * units:
        return ""
    return f"posterior collapse: {active} of {units} code numbers are in use"


@torch.no_grad()
def measured(run: Run, value: Any, data: str | Path | None = None, most: int = 500) -> Point:
    """Rate, distortion and active units of a run on pieces that it kept back.

    Raises:
        BottegaError: the run's model has no rate.
    """
    model: Any = run.model.eval()
    if not hasattr(model, "rate_distortion"):
        raise BottegaError(
            f"a {run.recipe.family['name']} has no rate and distortion; sweep a vae, hvae, vqvae or compressor"
        )
    batch = run.codec.encode(list(held_items(run, data, most))).to(run.device)
    rng, parts = Rng(0, device=run.device), batch.split(-(-len(batch) // CHUNK))
    pairs = [model.rate_distortion(part, rng) for part in parts]
    rate, distortion = (torch.cat([pair[k] for pair in pairs]).double().mean().item() for k in (0, 1))
    active = int(model.active_units(batch).sum()) if hasattr(model, "active_units") else None
    units = model.latent.dims
    return Point(value, run.path, rate, distortion, active, units, collapsed(active, units))


def sweep(
    recipe: str | Path,
    key: str,
    values: Sequence[str],
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    steps: int | None = None,
    device: str = "auto",
    progress: Tell | None = None,
) -> tuple[list[Point], Path]:
    """Train ``recipe`` once for each value of ``key``, measure each, and draw the rate-distortion curve.

    Args:
        recipe: a shipped name or a TOML file.
        key: of the setting, ``family.beta`` say.
        values: as ``--set`` takes them.
        data: what to train on instead of what the recipe names.
        out: the folder of the runs; ``runs/<recipe>-<key>`` by default. Runs that stand there are gone on with.
        steps: of each run.
        device: as for ``train``.
        progress: told as for ``train``.

    Returns:
        A point for each value, and the picture of the curve.

    Raises:
        RecipeError: fewer than two values, or what ``train`` raises.
    """
    if len(set(values)) < 2:
        raise RecipeError(f"a sweep needs at least two values of {key}; write 0.5,1,2")
    stem = Path(str(recipe)).stem
    folder = Path(out) if out is not None else Path("runs") / f"{stem}-{key.rpartition('.')[2]}"
    points = []
    for value in values:
        run = train(
            recipe, data, folder / f"{key.rpartition('.')[2]}-{value}", set={key: value}, steps=steps, device=device,
            judge=False, progress=progress,
        )  # fmt: skip
        points.append(measured(run, parse_value(value), data))
    return points, curve(points, key, folder / "rate-distortion.png")


def curve(points: Sequence[Point], key: str, path: Path) -> Path:
    """Draw distortion against rate, each point with its value; hollow where the posterior collapsed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.2), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ordered = sorted(points, key=lambda p: p.rate_nats)
    axes.plot([p.rate_nats for p in ordered], [p.distortion_nats for p in ordered], color="#e4ddd0", zorder=1)
    for p in ordered:
        axes.scatter(
            p.rate_nats,
            p.distortion_nats,
            42,
            facecolor="none" if p.collapsed else "#a3401a",
            edgecolor="#a3401a",
            zorder=2,
        )
        axes.annotate(f"{p.value}", (p.rate_nats, p.distortion_nats), (6, 5), textcoords="offset points", fontsize=9)
    axes.set_xlabel("rate: nats that a code costs")
    axes.set_ylabel("distortion: nats left to say")
    axes.set_title(key, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
