"""Adult census rows: what boosted trees learn from made rows, tested on real ones, beside peers in the same protocol.

Train on made rows, test on held-out real rows (F1 of the rarer class of ``Class``, income above 50K). Every generator
learns from the same training rows and makes as many; trees that learn from the real training rows are the ceiling.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bottega
from benchmarks._common import keep, options, shared
from bottega.core import Item
from bottega.judge._rows import Features, truth
from bottega.judge.table_utility import predict
from bottega.workshop.build import find_data
from bottega.workshop.training import divide

TARGET, GAP = "Class", "(gap)"
Rows = list[Mapping[str, Any]]


def bayes_net(train: Rows, n: int, seed: int, _: argparse.Namespace) -> Rows:
    """A Bayesian network by pgmpy: hill climbing by BIC, at most three parents; numbers in 10 bins of equal mass."""
    import pandas as pd
    from pgmpy.causal_discovery import HillClimbSearch
    from pgmpy.models import DiscreteBayesianNetwork
    from pgmpy.parameter_estimator import DiscreteBayesianEstimator

    frame, rng = pd.DataFrame(train), np.random.default_rng(seed)
    frame = frame.fillna(GAP)
    bins: dict[str, Callable[[Any], Any]] = {}
    for name in frame.select_dtypes("number"):
        if frame[name].nunique() > 16:
            values = frame[name].to_numpy()
            frame[name] = np.searchsorted(np.unique(np.quantile(values, np.arange(1, 10) / 10)), values)
            bins[name] = {k: values[frame[name] == k] for k in frame[name].unique()}.__getitem__
    frame = frame.astype(str)
    search = HillClimbSearch(scoring_method="bic-d", max_indegree=3, return_type="dag", show_progress=False).fit(frame)
    net = DiscreteBayesianNetwork(search.causal_graph_.edges())
    net.add_nodes_from(frame.columns)
    net.fit(frame, DiscreteBayesianEstimator(prior_type="BDeu", equivalent_sample_size=10))
    made = net.simulate(n, seed=seed, show_progress=False)
    back = {k: {str(v): v for v in {row[k] for row in train}} | {GAP: None} for k in train[0] if k not in bins}
    return [
        {k: rng.choice(bins[k](int(row[k]))).item() if k in bins else back[k][row[k]] for k in train[0]}
        for row in made.to_dict("records")
    ]


def _sdv(kind: str) -> Callable[[Rows, int, int, argparse.Namespace], Rows]:
    def make(train: Rows, n: int, seed: int, args: argparse.Namespace) -> Rows:
        import ctgan
        import pandas as pd
        import torch

        torch.manual_seed(seed)
        np.random.seed(seed)  # their only source of randomness
        names = [k for k in train[0] if any(isinstance(row[k], str) for row in train)] + [TARGET]
        model = getattr(ctgan, kind)(epochs=args.epochs)
        model.fit(pd.DataFrame(train).fillna(GAP), names)
        return [{k: None if v == GAP else v for k, v in row.items()} for row in model.sample(n).to_dict("records")]

    return make


PEERS = {"bayes_net": ("pgmpy", bayes_net), "ctgan": ("ctgan", _sdv("CTGAN")), "tvae": ("ctgan", _sdv("TVAE"))}


def measured(made: Rows, train: Rows, held: Rows, seed: int) -> dict[str, Any]:
    """F1 of the rarer class, values that no training row could have, and rows that equal a training row."""
    answers = truth(held, TARGET)
    values, counts = np.unique([row[TARGET] for row in train], return_counts=True)
    rare = values[counts.argmin()].item()
    guesses = predict(Features.of(held, made, train), made, held, TARGET, seed)
    hit = int(((answers == rare) & (guesses == rare)).sum())
    asked = int((answers == rare).sum() + (guesses == rare).sum())
    wrong = dict.fromkeys(("kind", "range", "category"), 0)
    for name in train[0]:
        column = [row[name] for row in train]
        kinds, seen = {type(v) for v in column}, set(column)
        words = str in kinds or bool in kinds  # a gap is a category like another
        low, high = (0, 0) if words else (min(seen - {None}), max(seen - {None}))
        for row in made:
            value = row[name]
            wrong["kind"] += type(value) not in kinds
            if words:
                wrong["category"] += value not in seen
            elif value is not None and not low <= value <= high:
                wrong["range"] += 1
    known = {tuple(row[k] for k in train[0]) for row in train}
    copies = sum(tuple(row[k] for k in train[0]) in known for row in made) / len(made)
    return {"f1": 2 * hit / max(asked, 1), "rows": len(made), "violations": wrong, "copied_share": copies}


def one(seed: int, args: argparse.Namespace, peers: Sequence[str]) -> dict[str, Any]:
    """Everything for one seed of the split, the weights and the trees."""
    with tempfile.TemporaryDirectory() as folder:
        run = bottega.train("adult", args.data, Path(folder) / "run", steps=args.steps, seed=seed, judge=False)
        parts = divide(run.recipe, find_data(run.recipe, args.data, run.codec))

        def rows(items: Sequence[Item]) -> Rows:
            return [item.value for item in items]

        train, held = rows(parts.train), rows(parts.held)
        n = args.rows or len(train)
        began = time.perf_counter()
        made = rows(run.sample(n, seed=seed).items)
        seconds = {"train": run.header["seconds"], "sample": round(time.perf_counter() - began, 1)}
        out = {"bottega": {**measured(made, train, held, seed), "seconds": seconds}}
        judged = run.judge(only=["memorisation"], n=min(n, 5000), seed=seed).measures
        out["bottega"]["memorisation"] = {
            m.name: {"value": m.value, "interval": [m.low, m.high], "held_out": m.ceiling} for m in judged
        }
    some = [train[i] for i in np.random.default_rng(seed).permutation(len(train))[:n]]
    ceiling = measured(some, train, held, seed)
    out["real"] = {"f1": ceiling["f1"], "rows": n, "copied_share": measured(held, train, held, seed)["copied_share"]}
    for name in peers:
        began = time.perf_counter()
        made = PEERS[name][1](train, n, seed, args)
        out[name] = {"seconds": round(time.perf_counter() - began, 1), **measured(made, train, held, seed)}
    for name, row in out.items():
        print(f"seed {seed} {name}: F1 {row['f1']:.3f}, copied {row['copied_share']:.4f}", flush=True)
    return out


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    examples = ("", "--seeds 0 --peers bayes_net", "--seeds 0 --peers", "--steps 20 --rows 1000 --seeds 0 --peers")
    parser = options("adult", __doc__, *examples)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="of training, instead of the recipe's")
    parser.add_argument("--rows", type=int, help="made rows; by default as many as there are to train on")
    parser.add_argument(
        "--peers", nargs="*", choices=tuple(PEERS), default=list(PEERS), help="all by default; missing ones are named"
    )
    parser.add_argument("--epochs", type=int, default=10, help="of CTGAN and TVAE")
    parser.add_argument("--data", type=Path, help="the table; by default the one beside the project")
    args = parser.parse_args(argv)
    args.data = args.data or shared() / "fairness_tables" / "adult.csv.gz"
    missing = {name for name in args.peers if importlib.util.find_spec(PEERS[name][0]) is None}
    for name in sorted(missing):
        print(f"{name} is left out: pip install {PEERS[name][0]}")
    warnings.filterwarnings("ignore", module="pgmpy")
    seeds = {seed: one(seed, args, [p for p in args.peers if p not in missing]) for seed in args.seeds}
    medians = {name: statistics.median(s[name]["f1"] for s in seeds.values()) for name in seeds[args.seeds[0]]}
    slowest = max(s["bottega"]["seconds"]["train"] for s in seeds.values())
    wanted = {"f1": 0.60, "train_seconds": 120, "violations": 0}
    broken = sum(sum(s["bottega"]["violations"].values()) for s in seeds.values())
    reached = medians["bottega"] >= 0.60 and slowest <= 120 and broken == 0
    keep(
        "adult",
        {"median_f1": medians, "slowest_train_seconds": slowest, "wanted": wanted, "reached": reached, "seeds": seeds},
        args,
    )
