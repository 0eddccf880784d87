"""Masked diffusion on a grammar of known entropy: how many of its sentences are of the grammar, and are they different?

Valid sentences are worth nothing where they are the same ones again, so three figures stand beside them, each with that of
as many true draws: the share of the valid that are different; their entropy (from counts, with Miller and Madow's
correction, which is far below the truth at so few draws, for the model as for the truth); and the mean surprise of the
valid by the grammar itself, which is its entropy for true draws and less where common sentences are preferred.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bottega
from benchmarks._common import keep, options, scored, told
from bottega import Run
from bottega.core import Batch, Rng
from bottega.data import worlds
from bottega.judge._statistics import wilson

FRESH = 1_000_003  # seed of the fresh draws
WAYS: tuple[dict[str, Any], ...] = (
    {}, {"revise": 8}, {"revise": 16}, {"order": "sure"}, {"steps": 8}, {"steps": 4}, {"steps": 8, "revise": 8},
    {"steps": 4, "revise": 4},
)  # fmt: skip


def told_of(texts: Sequence[str], truth: dict[str, Any]) -> dict[str, Any]:
    """Validity and variety of sentences."""
    nats = [-truth["log_prob"](text) for text in texts]
    valid = [text for text, cost in zip(texts, nats, strict=True) if cost < math.inf]
    share = len(valid) / len(texts)
    counts = Counter(valid)
    p = np.array(list(counts.values())) / max(1, len(valid))
    return {
        "valid": round(share, 4),
        "interval": [round(edge, 4) for edge in wilson(share, len(texts))],
        "different_of_valid": round(len(counts) / max(1, len(valid)), 4),
        "counted_entropy_nats": round(float(-(p * np.log(p)).sum()) + (len(counts) - 1) / (2 * max(1, len(valid))), 3),
        "surprise_of_valid_nats": round(float(np.mean([cost for cost in nats if cost < math.inf])), 3),
    }


def written(run: Run, n: int, truth: dict[str, Any], knobs: dict[str, Any]) -> dict[str, Any]:
    """``n`` sentences written in one way; ``ms`` are of processor time, for a sentence in a batch of 250."""
    texts, began = [], time.process_time()
    for k in range(0, n, 250):
        x = run.model.sample(min(250, n - k), Rng(k), **knobs)
        texts += [item.value for item in run.codec.decode(x)]
    spent = time.process_time() - began
    length = run.codec.spec.dims
    passes = min(knobs.get("steps") or length, length) + knobs.get("revise", 0)
    return {**knobs, "passes": passes, **told_of(texts, truth), "ms": round(1000 * spent / n, 2)}


def filled(run: Run, n: int) -> dict[str, Any]:
    """Fresh sentences of which two neighbouring tokens are missing."""
    fresh = worlds.load("grammar", n=n, depth=1, seed=FRESH + 1)
    batch, rng = run.codec.encode(fresh.items), Rng(1)
    assert batch.mask is not None
    at = (rng.uniform(n) * (batch.mask.sum(1) - 2)).long()  # the end of a sentence is not one of them
    gap = torch.arange(batch.x.shape[1])[None] - at[:, None]
    made = run.model.edit(batch, (gap < 0) | (gap > 1), Rng(2))  # type: ignore[operator]
    share = sum(map(fresh.truth["is_member"], (item.value for item in run.codec.decode(made)))) / n
    return {"valid": round(share, 4), "interval": [round(edge, 4) for edge in wilson(share, n)], "sentences": n}


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train the recipe and write in each way."""
    began = time.process_time()
    run = bottega.train("grammar-masked", out=folder / "masked", steps=args.steps, seed=args.seed, judge=False)
    spent = time.process_time() - began
    fresh = worlds.load("grammar", n=args.n, depth=1, seed=FRESH)
    batch: Batch = run.codec.encode(fresh.items)
    bound = -scored(run.model.log_prob, batch).mean().item()  # type: ignore[operator]
    texts = [item.value for item in fresh.items]
    own = -float(np.mean([fresh.truth["log_prob"](text) for text in texts]))
    ways = []
    for knobs in WAYS:
        ways.append(written(run, args.n, fresh.truth, knobs))
        print(ways[-1], flush=True)
    return {
        **told(run),
        "processor_seconds": round(spent, 1),
        "sentences": args.n,
        "entropy_nats": round(fresh.truth["entropy_nats"], 4),
        "bound_nats_above_the_truth": round(bound - own, 4),
        "true_draws": told_of(texts, fresh.truth),
        "ways": ways,
        "two_tokens_filled_in": filled(run, 1000),
        "wanted": 0.9,
        "reached": ways[0]["valid"] >= 0.9,
    }


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("masked", __doc__, "", "--steps 200 --n 500", "--runs runs/masked")
    parser.add_argument("--steps", type=int, help="of training, instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=2000, help="sentences written in each way")
    parser.add_argument("--runs", type=Path, help="keep the run here; a stopped one goes on")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, args.runs or Path(folder))
    keep("masked", result, args)
