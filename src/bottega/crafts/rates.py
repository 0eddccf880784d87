"""The learning-rate range test: one short run whose rate rises, and what it says of the rate to take.

Smith 2015, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bottega.core import DivergedError, RecipeError, Terms, Turn
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from bottega.training.precision import pick_device, use_bf16
from bottega.workshop.recipe import load_recipe
from bottega.workshop.run import Progress, Tell
from bottega.workshop.training import Training

__all__ = ["Rates", "draw", "range_of", "rate_range", "read"]

_LOOKS = 40  # at the samples of a family with several players
_PART = 4  # the suggestion is this part of the best rate (Smith: a third or a quarter of the largest that converges)


@dataclass(frozen=True)
class Rates:
    """What a rising rate did.

    Attributes:
        measure: ``"loss"``, or ``"distance"`` of samples to data where several players have no common loss.
        rates, values: the curve, smoothed; a value is infinite from where training broke down.
        best: the rate at which the curve was lowest.
        diverged: the first rate beyond at which half of what had been gained was lost again; None when none was.
        suggested: a quarter of the best, for ``optim.lr``.
    """

    measure: str
    rates: list[float]
    values: list[float]
    best: float
    diverged: float | None
    suggested: float


def range_of(text: str) -> tuple[float, float]:
    """``"1e-5..1e-1"`` as two rates.

    Raises:
        RecipeError: it is no range of numbers above 0, the smaller first.

    >>> range_of("1e-5..0.1")
    (1e-05, 0.1)
    """
    first, _, last = text.partition("..")
    try:
        low, high = float(first), float(last)
    except ValueError:
        low = high = 0.0
    if not 0 < low < high < math.inf:
        raise RecipeError(f"{text!r} is no range of learning rates; write the smaller first, 1e-5..1e-1")
    return low, high


def rate_range(
    recipe: str | Path,
    low: float = 1e-5,
    high: float = 1.0,
    *,
    data: str | Path | None = None,
    steps: int = 300,
    device: str = "auto",
    progress: Tell | None = None,
) -> Rates:
    """Train ``recipe`` for a few steps while ``optim.lr`` rises evenly on a logarithmic scale; nothing is kept.

    Rates of single players (``[optim.critic]``), and Muon's, keep their ratio to ``optim.lr``. A training that breaks down
    ends the test there and is a result like any other.

    Args:
        recipe: a shipped name or a TOML file.
        low: the first rate.
        high: the last.
        data: what to train on instead of what the recipe names.
        steps: how many.
        device: as for ``train``.
        progress: told as for ``train``.

    Raises:
        RecipeError: fewer than 20 steps, or what ``train`` raises.
        DivergedError: training broke down at the first rates already.
    """
    if steps < 20:
        raise RecipeError(f"a range test of {steps} steps says nothing; take 100 or more")
    plan, tell = load_recipe(recipe, {"train.steps": steps, "train.monitor": True}), progress or (lambda _: None)
    with TemporaryDirectory() as folder:
        training = Training(plan, data, Path(folder), pick_device(device), tell)
        training.prepare()
    table = {k: {**v, **_FLAT} if isinstance(v, Mapping) else v for k, v in plan.optim.items()} | _FLAT
    optims = make_optims(training.model, steps, table)
    base = float(plan.optim.get("lr", 1e-3))
    rates = [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]
    at: list[float] = []
    seen: list[float] = []
    several = len(optims) > 1

    def set_rate(step: int) -> None:
        for optim in optims.values():
            optim.scale = rates[min(step, steps - 1)] / base

    def watch(step: int, played: Sequence[tuple[Turn, Terms]]) -> None:
        if not several:
            at.append(rates[step])
            seen.append(sum(sum(terms.means().values()) for _, terms in played))
        elif (step + 1) % max(1, steps // _LOOKS) == 0 and training.monitor is not None:
            at.append(rates[step])
            seen.append(training.monitor.look().distance)
        if not math.isfinite(seen[-1] if seen else 0.0):
            raise DivergedError("it is not a number")
        tell(Progress("train", step + 1, steps, {"rate": rates[step]} | ({"value": seen[-1]} if seen else {})))
        set_rate(step + 1)

    if several and training.monitor is None:
        raise RecipeError(f"{plan.name} has too few training pieces to see what its samples are like; give 64 or more")
    set_rate(0)
    broke: float | None = None
    try:
        fit(
            training.model, training.stream, optims, steps=steps, rng=training.rng, accum=plan.train.accum,
            clip=plan.train.clip, bf16=use_bf16(plan.train.precision, training.device), watch=watch,
        )  # fmt: skip
    except DivergedError:
        broke = optims[next(iter(optims))].scale * base
        if sum(map(math.isfinite, seen)) < 3:
            raise
    return read(at, seen, "distance" if several else "loss", broke)


_FLAT: dict[str, Any] = {"schedule": "constant", "warmup": 0.0}


def read(rates: Sequence[float], values: Sequence[float], measure: str, broke: float | None = None) -> Rates:
    """What a curve says.

    Args:
        rates: rising.
        values: one for each, lower is better.
        measure: what they are.
        broke: the rate at which training broke down, if it did.
    """
    fine = [(r, v) for r, v in zip(rates, values, strict=True) if math.isfinite(v)]
    keep = 0.9 if measure == "loss" else 0.5
    smooth, mean = [], 0.0
    for i, (_, v) in enumerate(fine):
        mean = keep * mean + (1 - keep) * v
        smooth.append(mean / (1 - keep ** (i + 1)))
    at = min(range(len(smooth)), key=smooth.__getitem__)
    gained = smooth[0] - smooth[at]
    lost = next((r for (r, _), v in zip(fine[at:], smooth[at:], strict=True) if v > smooth[at] + gained / 2), broke)
    best = fine[at][0]
    told = [r for r, _ in fine] + ([] if broke is None else [broke])
    return Rates(measure, told, smooth + [math.inf] * (len(told) - len(fine)), best, lost, best / _PART)


def draw(found: Rates, title: str, path: Path) -> Path:
    """The curve over the rate, with the best rate, the suggested one, and where training broke down."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.2), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    fine = [(r, v) for r, v in zip(found.rates, found.values, strict=True) if math.isfinite(v)]
    axes.plot(*zip(*fine, strict=True), color="#a3401a")
    axes.set_xscale("log")
    low, first = min(v for _, v in fine), fine[0][1]
    axes.set_ylim(low - 0.1 * (first - low or 1), first + 0.5 * (first - low or 1))
    marks = [("suggested", found.suggested, "-"), ("best", found.best, ":"), ("diverged", found.diverged, "--")]
    for name, rate, line in marks:
        if rate is not None:
            axes.axvline(rate, color="#20304f", linestyle=line, linewidth=1)
            axes.annotate(f"{name} {rate:.1e}", (rate, 0.98), (3, 0), xycoords=("data", "axes fraction"),
                          textcoords="offset points", fontsize=8, rotation=90, va="top")  # fmt: skip
    axes.set_xlabel("learning rate (optim.lr)")
    axes.set_ylabel({"loss": "training loss", "distance": "distance of samples to data"}[found.measure])
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
