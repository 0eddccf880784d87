"""The stability monitor on pictures: five sabotaged GANs of digits with and without it, three healthy runs it must not disturb.

The sabotages are those of ``tests/training/test_monitor.py``: a learning rate fifty times too high, a critic set to zero, an
infinite weight, a generator shrunk to a hundredth, ten steps of the generator for each of the critic. A run counts as
well when a support vector machine reads 80 % of its digits as asked and digits of a class lie at least half as far apart
as real ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bottega
from benchmarks._common import held_rows, keep, kept, options
from benchmarks.pictures import Reader
from bottega import Run
from bottega.core import DivergedError, Family, Rng
from bottega.families.gan import GAN
from bottega.workshop.training import Training

AT = 200  # the step after which something is broken


def scaled(module: nn.Module, by: float) -> None:
    """Multiply all weights."""
    for p in module.parameters():
        p.mul_(by)


def infinite(model: Any) -> None:
    """Make a critic's last weights infinite."""
    model.critic.score.weight.fill_(torch.inf)


SABOTAGE: dict[str, dict[str, Any]] = {
    "learning rate x 50": {"set": {"optim.lr": 0.025}},
    "dead critic": {"plant": lambda m: scaled(m.critic, 0.0)},
    "explosion": {"plant": infinite},
    "collapsed generator": {"plant": lambda m: scaled(m.generator, 0.01)},
    "unbalanced": {"repeat": 10},
}
HEALTHY = ("digits-gan", "digits-vaegan", "digits-ssgan")


@contextmanager
def broken(plant: Callable[[Family], None] | None = None, repeat: int = 1) -> Iterator[None]:
    """Training whose model is broken once after step ``AT``, or whose generator moves ``repeat`` times."""
    watch, turns = Training._watch, GAN.turns
    done: list[int] = []

    def watched(self: Training, step: int, played: Any) -> None:
        watch(self, step, played)
        if plant is not None and step == AT and not done:
            done.append(step)
            with torch.no_grad():
                plant(self.model)

    def many(self: GAN) -> Any:
        first = turns(self)
        return (*first[:-1], replace(first[-1], repeat=repeat))

    Training._watch, GAN.turns = watched, many  # type: ignore[method-assign]
    try:
        yield
    finally:
        Training._watch, GAN.turns = watch, turns  # type: ignore[method-assign]


def quality(run: Run, n: int = 500) -> dict[str, Any]:
    """How many digits are read as asked, and how far those of a class lie apart beside real ones."""
    asked = torch.arange(n) % 10
    with torch.no_grad():
        made = run.model.eval().sample(n, Rng(0), asked)
    held = held_rows(run, 10_000)
    assert held.cond is not None
    found = Reader(run).share(made, asked)
    ratio = apart(run.spec.as_real(made), asked) / apart(run.spec.as_real(held.x), held.cond)
    return {**found, "apart_over_real": round(ratio, 3), "well": found["share"] >= 0.8 and ratio >= 0.5}


def apart(x: Tensor, kind: Tensor) -> float:
    """Mean distance within a class."""
    return torch.stack([torch.pdist(x[kind == k].flatten(1)).mean() for k in range(10)]).mean().item()


def trained(folder: Path, steps: int, watched: bool, how: dict[str, Any]) -> dict[str, Any]:
    """One run, its notes, and what it is worth; a diverged one is worth nothing."""
    changes = {"family.size": 16, "train.monitor": watched, **how.get("set", {})}
    try:
        with broken(how.get("plant"), how.get("repeat", 1)):
            run = bottega.train("digits-gan", out=folder, steps=steps, set=changes, judge=False)
    except DivergedError as error:
        return {"well": False, "diverged": str(error)}
    return {**quality(run), "notes": run.header["notes"] if watched else []}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("rescues", __doc__, "", "--only explosion --steps 300", "--only healthy")
    parts = (*SABOTAGE, "healthy")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--steps", type=int, default=700, help="of each sabotaged run")
    parser.add_argument("--healthy-steps", type=int, default=400, help="of the recipes that nothing was done to")
    args = parser.parse_args(argv)
    result = kept("rescues")  # what was measured at another time
    for name in args.only:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            if name == "healthy":
                reference = trained(here / "reference", args.steps, True, {})
                result["healthy_at_these_steps"] = reference
                silent = {}
                for recipe in HEALTHY:
                    run = bottega.train(recipe, out=here / recipe, steps=args.healthy_steps, judge=False)
                    silent[recipe] = run.header["notes"]
                result["healthy"] = {
                    "notes": silent, "steps": args.healthy_steps, "wanted": "no note",
                    "reached": not any(silent.values()) and not reference.get("notes"),
                }  # fmt: skip
            else:
                with_it = trained(here / "watched", args.steps, True, SABOTAGE[name])
                alone = trained(here / "alone", args.steps, False, SABOTAGE[name])
                result[name] = {"watched": with_it, "alone": alone, "rescued": with_it["well"]}
            done = [row for row in SABOTAGE if row in result]
            saved = sum(result[row]["rescued"] for row in done)
            result["rescued"] = {"of": len(done), "runs": saved, "wanted": 4, "reached": saved >= 4,
                                 "would_fail_alone": sum(not result[row]["alone"]["well"] for row in done)}  # fmt: skip
            keep("rescues", result, args)
