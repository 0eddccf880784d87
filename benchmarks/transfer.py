"""What unlabelled texts are worth to a reader of few labels: a bert, its encoder moved to a reader, and the same reader anew.

A bert learns reviews of the made world without their sentiment. Then a reader learns from ``--labels`` labelled reviews,
once with the bert's encoder (``train.start``) and once with fresh weights; codec, labels, order, size and optimiser are
the same. Accuracy is looked at every ``--every`` steps on 500 reviews that neither saw. Beside them stands a logistic
regression on the bert's frozen features of the same labels, and one on counted words.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.feature_extraction.text import CountVectorizer

import bottega
from benchmarks._common import keep, options
from bottega.codecs.labelled import LabelledCodec
from bottega.core import Encoded, Item, Rng
from bottega.data import worlds
from bottega.data.stream import Stream
from bottega.judge.codes import probe
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from bottega.workshop.build import begin_with, make_family

TARGET = 0.9  # of held-out accuracy
TEXT = {"tokenizer": "bpe", "vocab": 512, "length": 64}


def pretrained(args: argparse.Namespace, folder: Path) -> bottega.Run:
    """A bert of ``--texts`` reviews without their sentiment."""
    texts = [item.value for item in worlds.load("reviews", n=args.texts, seed=101).items]
    (folder / "reviews.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    lines = [f"{k} = {json.dumps(v)}" for k, v in {"name": "text", "unit": "item", **TEXT}.items()]
    (folder / "bert.toml").write_text(
        "[codec]\n" + "\n".join(lines) + f'\n[family]\nname = "bert"\nsize = {args.size}\n[optim]\nlr = 2e-3\n'
        f"[train]\nsteps = {args.pretrain}\nbatch = 32\nema = 0.0\nchecks = 4\n"
    )
    return bottega.train(folder / "bert.toml", folder / "reviews.jsonl", folder / "bert", judge=False)


def read(args: argparse.Namespace, seed: int, bert: bottega.Run, held: Sequence[Item], start: bool) -> list[float]:
    """Held-out accuracy every ``--every`` steps, the first before any."""
    items = worlds.load("reviews", n=args.labels, task="label", seed=seed).items
    codec = LabelledCodec(kind="class", length=TEXT["length"], long="cut")  # type: ignore[arg-type]
    codec.adopt(bert.recipe.codec, bert.header["codec"])
    codec.fit(items)
    model: Any = make_family({"name": "reader", "size": args.size}, codec.spec, seed)
    if start:
        begin_with(model, bert.model.cpu(), "the bert")
    asked, curve = codec.encode(held), []

    def look() -> None:
        with torch.no_grad():
            said = torch.cat([model.classify(part).argmax(1) for part in asked.split(4)])
        curve.append((said == asked.x).double().mean().item())

    def watch(step: int, _: Any) -> None:
        if (step + 1) % args.every == 0:
            look()

    look()
    stream = Stream(Encoded(codec.encode(items)), 16, seed=seed)
    optims = make_optims(model, args.steps, {"lr": 1e-3, "schedule": "constant"})
    fit(model, stream, optims, steps=args.steps, rng=Rng(seed), watch=watch)
    return curve


def probes(args: argparse.Namespace, seed: int, bert: bottega.Run, held: Sequence[Item]) -> dict[str, float]:
    """Accuracy of a logistic regression on frozen features, and on counted words, of the same labels."""
    items = worlds.load("reviews", n=args.labels, task="label", seed=seed).items
    labels, answers = (torch.tensor([i.value == "positive" for i in some]) for some in (items, held))
    texts, asked = ([i.cond for i in some] for some in (items, held))
    words = CountVectorizer(ngram_range=(1, 2)).fit(texts)
    counted = [torch.from_numpy(words.transform(some).toarray()).double() for some in (texts, asked)]
    frozen = [bert.features(some).double() for some in (texts, asked)]
    return {
        "frozen_features": probe(frozen[0], labels, frozen[1], answers),
        "counted_words_and_pairs": probe(counted[0], labels, counted[1], answers),
    }


def steps_to(curve: Sequence[float], goal: float, every: int) -> int | None:
    """Steps until accuracy is first at ``goal``; None where it never is."""
    return next((i * every for i, right in enumerate(curve) if right >= goal), None)


def main(argv: Sequence[str] | None = None) -> None:
    """Run it and keep the result."""
    parser = options("transfer", __doc__, "", "--pretrain 200 --steps 50 --seeds 0")
    parser.add_argument("--texts", type=int, default=6000, help="reviews without labels")
    parser.add_argument("--pretrain", type=int, default=900, help="steps of the bert")
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--steps", type=int, default=150, help="of each reader")
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--size", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args(argv)
    held = worlds.load("reviews", n=500, task="label", seed=999).items
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bert = pretrained(args, Path(folder))
        for seed in args.seeds:
            curves = {
                name: read(args, seed, bert, held, start) for name, start in (("started", True), ("scratch", False))
            }
            best = max(curves["scratch"])
            rows.append({
                "seed": seed,
                **{f"{name}_steps_to_target": steps_to(c, TARGET, args.every) for name, c in curves.items()},
                **{f"{name}_accuracy": round(c[-1], 4) for name, c in curves.items()},
                "scratch_best": best,
                "scratch_steps_to_its_best": steps_to(curves["scratch"], best, args.every),
                "started_steps_to_scratch_best": steps_to(curves["started"], best, args.every),
                **probes(args, seed, bert, held),
                "curves": curves,
            })  # fmt: skip
            print(json.dumps({k: v for k, v in rows[-1].items() if k != "curves"}), flush=True)
        ratios = [
            r["started_steps_to_scratch_best"] / r["scratch_steps_to_its_best"]
            if r["started_steps_to_scratch_best"] is not None and r["scratch_steps_to_its_best"] else None
            for r in rows
        ]  # fmt: skip
        middle = statistics.median([float("inf") if r is None else r for r in ratios])  # never is longer than any time
        keep("transfer", {
            "target": TARGET,
            "wanted": "at most 0.5 of scratch's steps",
            "steps_share_to_what_scratch_reaches": ratios,
            "median_share": None if middle == float("inf") else middle,
            "held_out": len(held),
            "bert_seconds": bert.header["seconds"],
            "bert_nats": bert.header["last_losses"],
            "parameters": bert.header["parameters"],
            "seeds": rows,
        }, args)  # fmt: skip


if __name__ == "__main__":
    main()
