"""Statically binarised MNIST in nats an image: importance-weighted bounds, exact likelihoods, the papers' figures.

A tenth of the 60,000 training images of MNIST is kept back and the recipes train on the others; each pixel is on
with the probability of its grey level, drawn once (Salakhutdinov & Murray 2008).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bottega
from benchmarks._common import held_rows, keep, kept, options, scored, shared
from bottega.core import mean_interval

# Cited, not measured here: nats an image on MNIST's own 10,000 test images, after training on 50,000 to 60,000.
PUBLISHED = {
    "VAE, one layer, k = 50 (Burda et al. 2015, arXiv:1509.00519, table 1; pixels drawn anew)": "86.76, a bound",
    "IWAE, one layer, k = 50 (the same)": "84.78, a bound",
    "NADE (Larochelle & Murray 2011)": "88.33, exact",
    "MADE, two layers, 32 masks (Germain et al. 2015, arXiv:1502.03509)": "86.64, exact",
    "PixelCNN (van den Oord et al. 2016, arXiv:1601.06759, table 4)": "81.30, exact",
}
WANTED = {"vae": 89.0, "iwae": 87.0, "hvae": 87.0, "made": 86.0, "pixelcnn": 84.0}  # in an hour each
EXACT = {"made", "pixelcnn"}


def one(family: str, args: Any, folder: Path) -> dict[str, Any]:
    """Train the recipe on the images that are not kept back, and score those that are."""
    began = time.perf_counter()
    run = bottega.train(f"mnist-{family}", args.data, folder / family, steps=args.steps, seed=args.seed, judge=False)
    wall = time.perf_counter() - began
    model: Any = run.model
    held = held_rows(run, args.test or (6_000 if family in EXACT else 2_000))
    began = time.perf_counter()
    if family in EXACT:
        score, bound = model.log_prob, "exact"
    else:
        score, bound = lambda b, rng: model.iwae(b, rng, args.k), f"upper, by IWAE with k = {args.k}"
    nats, low, high = mean_interval(-scored(score, held))
    minutes = run.header["seconds"] / 60
    return {
        "nats": nats,
        "interval": [low, high],
        "bound": bound,
        "images": len(held),
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "train_minutes": round(minutes, 2),
        "with_reading_minutes": round(wall / 60, 2),
        "score_minutes": round((time.perf_counter() - began) / 60, 2),
        "steps": run.step,
        "parameters": run.header["parameters"],
        "precision": run.header["precision"],
        "wanted": {"nats": WANTED[family], "minutes": 60},
        "reached": nats <= WANTED[family] and minutes <= 60,
    }


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    examples = ("", "--only pixelcnn hvae --runs runs/mnist", "--only vae --steps 100 --test 100 --k 50")
    parser = options("mnist", __doc__, *examples)
    parser.add_argument("--only", nargs="+", choices=tuple(WANTED), default=list(WANTED))
    parser.add_argument("--steps", type=int, help="instead of the recipes', to try the benchmark")
    parser.add_argument("--test", type=int, help="held-out images that are scored (2,000 for bounds, 6,000 otherwise)")
    parser.add_argument("--k", type=int, default=500, help="importance samples of a bound")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the order")
    parser.add_argument("--data", type=Path, help="MNIST as .npz or IDX; by default the one beside the project")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args = parser.parse_args(argv)
    args.data = args.data or shared() / "mnist" / "mnist_train.npz"
    with tempfile.TemporaryDirectory() as folder:
        found = {f: one(f, args, args.runs or Path(folder)) for f in args.only}
    before = kept("mnist")  # families that were measured at another time
    keep("mnist", {**{f: before[f] for f in WANTED if f in before}, **found, "published": PUBLISHED}, args)
