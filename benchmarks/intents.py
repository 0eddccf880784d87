"""Intents from examples alone: banking77, clinc150 with what is out of scope, ten intents of twenty examples, and how fast.

Nothing of what is tested on is seen before: threshold, weights and stopping are those that `crafts/chat_intents.py` takes from
cross-validation on the training part.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from benchmarks._common import keep, options, shared
from bottega.core.measure import wilson
from bottega.crafts.chat import Bot
from bottega.crafts.chat_intents import Intents


def _share(hits: Any) -> dict[str, Any]:
    hits = np.asarray(hits, bool)
    low, high = wilson(float(hits.mean()), len(hits))
    return {"value": float(hits.mean()), "low": low, "high": high, "n": len(hits)}


def _trained(texts: Sequence[str], labels: Sequence[str], **told: Any) -> tuple[Intents, dict[str, Any]]:
    began, spent = time.perf_counter(), time.process_time()
    made = Intents(texts, labels, **told)
    return made, {
        "seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - spent, "examples": len(texts),
        "threshold": made.threshold, "accuracy_in_cross_validation": made.accuracy, "outside_found_in_cross_validation": made.found_outside,
    }  # fmt: skip


def banking77(held: float, seed: int) -> tuple[Intents, dict[str, Any]]:
    """The shared file split at random, by intent; ``held`` of it is tested on once."""
    with gzip.open(shared() / "banking77" / "train.csv.gz") as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")))
    texts, labels = [r["text"] for r in rows], [r["category"] for r in rows]
    train, test, y, right = train_test_split(texts, labels, test_size=held, stratify=labels, random_state=seed)
    made, told = _trained(train, y)
    said, _ = made.predict(test)
    return made, {"held": held, "seed": seed, "accuracy": _share(np.array(said) == np.array(right)), **told}


def clinc150() -> tuple[Intents, dict[str, Any]]:
    """Trained on `train`, tested on `val` and `oos_val`; the 100 of `oos_train` are the only examples of what is outside."""
    with gzip.open(shared() / "clinc150" / "data.json.gz") as file:
        data = json.load(file)
    texts, labels = [list(part) for part in zip(*data["train"], strict=True)]
    outside = [text for text, _ in data["oos_train"]]
    made, told = _trained(texts, labels, outside=outside, give_up=0.01)
    said, sure = made.predict([text for text, _ in data["val"]])
    right = np.array(said) == np.array([label for _, label in data["val"]])
    _, sure_outside = made.predict([text for text, _ in data["oos_val"]])
    return made, {
        "accuracy_in_scope_all": _share(right), "accuracy_in_scope": _share(right & (sure >= made.threshold)),
        "outside_recall": _share(sure_outside < made.threshold),
        "auroc": float(roc_auc_score([1] * len(sure) + [0] * len(sure_outside), np.concatenate([sure, sure_outside]))), **told,
    }  # fmt: skip


def ten_of_twenty(times: int) -> dict[str, Any]:
    """Row M1: ten intents drawn from clinc150, twenty examples each; outside is what belongs to the 140 others and to none."""
    with gzip.open(shared() / "clinc150" / "data.json.gz") as file:
        data = json.load(file)
    names = sorted({label for _, label in data["train"]})
    rng = np.random.default_rng(0)
    hits, curves = [], []
    for _ in range(times):
        some = sorted(rng.choice(names, 10, replace=False))
        texts, labels = [], []
        for name in some:
            rows = [text for text, label in data["train"] if label == name]
            texts += [rows[i] for i in rng.choice(len(rows), 20, replace=False)]
            labels += [name] * 20
        made = Intents(texts, labels)
        asked = [(text, label) for text, label in data["val"] if label in some]
        said, sure = made.predict([text for text, _ in asked])
        hits += [a == b for a, (_, b) in zip(said, asked, strict=True)]
        other = [text for text, label in data["val"] if label not in some][::10] + [text for text, _ in data["oos_val"]]
        _, away = made.predict(other)
        curves.append(float(roc_auc_score([1] * len(sure) + [0] * len(away), np.concatenate([sure, away]))))
    return {
        "draws": times,
        "accuracy": _share(hits),
        "auroc_mean": float(np.mean(curves)),
        "auroc_least": float(min(curves)),
    }


def speed(intents: Intents, texts: Sequence[str], n: int) -> dict[str, Any]:
    """Milliseconds of an intent, and of a whole canned answer of a bot with these intents, its message kept on disk."""
    alone, whole, busy = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        bot = Path(folder) / "bot"
        bot.mkdir()
        rows = "".join(
            f'[[intent]]\nname = "{_name(k)}"\nexamples = ["a{k} b", "b a{k}"]\nanswers = ["Answer {k}."]\n'
            for k in range(len(intents.names))
        )
        (bot / "bot.toml").write_text(f'name = "b"\npurpose = "p"\n{rows}', encoding="utf-8")
        made = Bot.open(bot)
        intents.names = [_name(k) for k in range(len(intents.names))]
        made.intents = intents
        for k in range(n):
            text = texts[k % len(texts)]
            began = time.perf_counter()
            intents.guess(text)
            alone.append(1000 * (time.perf_counter() - began))
            began, spent = time.perf_counter(), time.process_time()
            reply = made.reply(text, f"user {k % 7}")
            if reply.route == "canned":
                whole.append(1000 * (time.perf_counter() - began))
                busy.append(1000 * (time.process_time() - spent))
    told = {"intent": alone, "intent_and_canned_reply": whole, "processor_time_of_the_same": busy}
    return {
        name: {f"p{q}_ms": float(np.percentile(some[5:], q)) for q in (50, 95)} | {"n": len(some[5:])}
        for name, some in told.items()
    }


def _name(k: int) -> str:
    return f"i{k}"


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("intents", __doc__, "", "--only banking77", "--held 0.2")
    parser.add_argument("--only", choices=("banking77", "clinc150", "ten"), help="one of them, beside what is kept")
    parser.add_argument("--held", type=float, default=0.1, help="share of banking77's file that is tested on")
    parser.add_argument("--seed", type=int, default=0, help="of banking77's split")
    parser.add_argument("--times", type=int, default=10, help="draws of ten intents")
    args = parser.parse_args(argv)
    result: dict[str, Any] = {}
    if args.only in (None, "ten"):
        result["ten_of_twenty"] = ten_of_twenty(args.times)
    if args.only in (None, "banking77"):
        made, result["banking77"] = banking77(args.held, args.seed)
        with gzip.open(shared() / "banking77" / "train.csv.gz") as file:
            texts = [row["text"] for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8"))][:2000:7]
        result["speed"] = speed(made, texts, 200)
    if args.only in (None, "clinc150"):
        _, result["clinc150"] = clinc150()
    keep("intents", result, args, beside=args.only is not None)
