"""Two hundred lines: what a trained language model learns from them, whole and by adapters, and what it forgets.

Recipe `english` is trained on the built-in language reference, and goes on learning from 200 lines of another kind (turns of
a play; with `--data` any text of a line each). The run's own notes say perplexity before and after, of lines that it never saw and of what it knew.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bottega
from benchmarks._common import keep, options, shared
from bottega import Run

WAYS: dict[str, dict[str, Any]] = {
    "whole": {"optim.lr": 1e-3},
    "adapters of rank 8": {"optim.lr": 3e-3, "train.lora": 8},
}


def lines(path: Path, n: int) -> list[str]:
    """The first ``n`` paragraphs of a text that are longer than a few words, each in a line."""
    parts = [" ".join(part.split()) for part in path.read_text(encoding="utf-8").split("\n\n")]
    return [part for part in parts if len(part) > 60][:n]


def told(run: Run, of: str) -> dict[str, float]:
    """Perplexity before and after, as the run notes it."""
    (note,) = [note for note in run.evidence.notes if note.startswith(f"perplexity of {of}")]
    before, after = (float(x) for x in re.findall(r": ([\d.e+]+) before, ([\d.e+]+) after", note)[0])
    return {"before": before, "after": after, "change": after / before - 1}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("finetune", __doc__, "", "--runs runs/finetune", "--base-steps 20 --steps 5")
    parser.add_argument("--base-steps", type=int, help="of the model that goes on learning, instead of the recipe's")
    parser.add_argument("--steps", type=int, default=60, help="of going on")
    parser.add_argument("--n", type=int, default=200, help="lines, of which a tenth is kept back")
    parser.add_argument("--data", type=Path, help="paragraphs; by default tiny_shakespeare beside the project")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args = parser.parse_args(argv)
    source = args.data or shared() / "tiny_shakespeare" / "train.txt"
    result: dict[str, Any] = {"wanted": "perplexity of the new domain at least 20 % lower"}
    with tempfile.TemporaryDirectory() as folder:
        here = args.runs or Path(folder)
        here.mkdir(parents=True, exist_ok=True)
        base = bottega.train("english", out=here / "base", steps=args.base_steps, judge=False)
        file = here / "lines.jsonl"
        file.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines(source, args.n)), encoding="utf-8")
        own = {f"codec.{k}": v for k, v in base.recipe.codec.items() if k != "name"}
        own |= {f"family.{k}": v for k, v in base.recipe.family.items() if k != "name"}
        own |= {"optim.name": "adamw", "optim.schedule": "linear", "optim.warmup": 0.1, "train.ema": 0.0,
                "train.checks": 0, "train.start": str(base.path), "train.remember": "english"}  # fmt: skip
        for name, changes in WAYS.items():
            run = bottega.train(
                "english", file, here / name.replace(" ", "-"), steps=args.steps, set=own | changes, judge=False
            )
            new = told(run, "the held-out text")
            result[name] = {
                "new": new, "known": told(run, "english"), "reached": new["change"] <= -0.2, "steps": run.step,
                "seconds": run.header["seconds"],
            }  # fmt: skip
            print(name, result[name], flush=True)
    keep("finetune", result, args)
