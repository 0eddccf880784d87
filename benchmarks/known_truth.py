"""Worlds whose truth is known: nats a token of a grammar against its entropy, a density of two moons against the exact one.

Both are scored on fresh draws from the truth, which nothing was trained or chosen on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bottega
from benchmarks._common import keep, kept, options, scored
from bottega.core import Batch, Rng, mean_interval
from bottega.data import worlds

FRESH = 1_000_003  # seed of the fresh draws
KINDS: dict[str, dict[str, Any]] = {
    "spline": {"set": {}, "gap": 0.05, "mass": 0.01},
    "realnvp": {"set": {}, "gap": 0.1, "mass": 0.02},
}


def grammar(steps: int | None, n: int, folder: Path) -> dict[str, Any]:
    """The recipe ``grammar``: exact nats of ``n`` fresh sentences, with their end, against what the grammar says of them."""
    run = bottega.train("grammar", out=folder / "grammar", steps=steps, judge=False)
    fresh = worlds.load("grammar", n=n, seed=FRESH)
    batch = run.codec.encode(fresh.items)
    assert batch.mask is not None
    model = -scored(run.model.log_prob, batch).sum().item()  # type: ignore[operator]
    tokens = batch.mask.sum().item()
    own = -sum(fresh.truth["log_prob"](item.value) for item in fresh.items)
    entropy = fresh.truth["entropy_nats"]
    length = fresh.truth["mean_characters"] + 1  # and the end
    # The sentences' own surprise is known exactly, so what is left is the model's: less noise than model against entropy.
    extra = (model - own) / n
    return {
        "nats_per_token": model / tokens,
        "true_entropy_per_token": entropy / length,
        "true_nats_of_these_per_token": own / tokens,
        "ratio": (entropy + extra) / entropy,
        "ratio_unpaired": (model / tokens) / (entropy / length),
        "wanted_ratio": 1.03,
        "sentences": n,
        "rows": len(batch),
        "train_seconds": run.header["seconds"],
    }


def moons(args: argparse.Namespace, folder: Path, kind: str) -> dict[str, Any]:
    """The recipe ``moons-flow`` with a kind of coupling: mean log density of fresh points against the exact one, its integral.

    Row D2 asks for affine couplings within 0.1 nats of a kernel estimate and a mass of 1 +- 0.02; the exact density, which
    no estimate can beat, stands in for the estimate. Splines have to come closer.
    """
    n, points, reach = args.n, args.points, args.reach
    run = bottega.train(
        "moons-flow", out=folder / kind, steps=args.steps, set={"family.kind": kind, **KINDS[kind]["set"]}, judge=False
    )
    fresh = worlds.load("moons", n=n, seed=FRESH)
    volume = float(np.log(run.codec.half).sum())  # the codec brings the data into [-1, 1]^2; this brings densities back
    learned = scored(run.model.log_prob, run.codec.encode(fresh.items), 2000) - volume  # type: ignore[operator]
    true = fresh.truth["log_density"](torch.from_numpy(np.stack([item.value for item in fresh.items])))
    gap, low, high = mean_interval(true - learned)
    middle = (torch.arange(points) + 0.5) * (2 * reach / points) - reach  # of the cells, the midpoint rule
    mass = 0.0
    with torch.no_grad():
        for rows in middle.split(20):
            cells = Batch(torch.cartesian_prod(rows, middle))
            mass += run.model.log_prob(cells, Rng(0)).double().exp().sum().item()  # type: ignore[operator]
    most, off = KINDS[kind]["gap"], KINDS[kind]["mass"]
    integral = mass * (2 * reach / points) ** 2
    return {
        "mean_log_density": learned.mean().item(),
        "exact_log_density": true.mean().item(),
        "gap_nats": gap,
        "gap_interval": [low, high],
        "wanted_gap": most,
        "integral": integral,
        "wanted_integral": [1 - off, 1 + off],
        "reached": gap <= most and abs(integral - 1) <= off,
        "grid": f"{points} x {points} cells over [-{reach:g}, {reach:g}]^2; the data lie in [-1, 1]^2",
        "points": n,
        "train_seconds": run.header["seconds"],
    }


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("known_truth", __doc__, "", "--only moons realnvp", "--only grammar --steps 100 --n 1000")
    parts = ("grammar", "moons", "realnvp")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--steps", type=int, help="instead of the recipes', to try the benchmark")
    parser.add_argument("--n", type=int, default=20_000, help="fresh sentences, fresh points")
    parser.add_argument("--points", type=int, default=1000, help="cells along each side of the grid")
    parser.add_argument("--reach", type=float, default=4.0, help="the grid covers [-reach, reach] in either direction")
    args = parser.parse_args(argv)
    result = kept("known_truth")  # what was measured at another time
    with tempfile.TemporaryDirectory() as folder:
        if "grammar" in args.only:
            result["grammar"] = grammar(args.steps, args.n, Path(folder))
        for name, kind in (("moons", "spline"), ("realnvp", "realnvp")):
            if name in args.only:
                result[name] = moons(args, Path(folder), kind)
    keep("known_truth", result, args)
