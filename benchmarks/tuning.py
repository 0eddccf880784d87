"""Dialogues of one's own: what a trained language model learns from logs, whole and by adapters, and what it forgets.

Recipe `english` is trained on the built-in language reference, and goes on learning by recipe `chat`, as one command does,
from real short conversations (the English ones of chatterbot; with `--data` any logs). The runs' own evidence says perplexity of
held-out answers and of what was known, and F1 of written answers, before and after. Then the weights before are put back.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bottega
from benchmarks._common import keep, options, shared, told
from bottega import Run
from bottega.workshop.build import find_data
from bottega.workshop.training import divide
from bottega.workshop.versions import rollback

WAYS: dict[str, dict[str, Any]] = {"whole": {}, "adapters of rank 8": {"train.lora": 8, "optim.lr": 3e-3}}


def logs(source: Path, target: Path) -> Path:
    """The English conversations in the form of OpenAI's."""
    rows = []
    for line in gzip.decompress(source.read_bytes()).decode("utf-8").splitlines():
        one = json.loads(line)
        if one["lang"] == "english" and len(one["turns"]) > 1:
            said = [t.strip() for t in one["turns"] if t.strip()]
            rows.append([{"role": ("user", "assistant")[k % 2], "content": t} for k, t in enumerate(said)])
    target.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows if len(row) > 1), encoding="utf-8")
    return target


def seen_before(run: Run, source: Path) -> float:
    """The share of held-out answers that stand in the training's conversations, too, word for word."""
    parts = divide(run.recipe, find_data(run.recipe, source, run.codec))
    train, held = (
        [m.content for item in items for m in item.value.messages if m.role == "assistant"]
        for items in (parts.train, parts.held)
    )
    known = set(train)
    return sum(answer in known for answer in held) / len(held)


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("tuning", __doc__, "", "--runs runs/tuning", "--base-steps 20 --steps 5")
    parser.add_argument("--base-steps", type=int, help="of the model that goes on learning, instead of the recipe's")
    parser.add_argument("--steps", type=int, help="of going on, instead of the recipe's")
    parser.add_argument("--data", type=Path, help="logs; by default chatterbot beside the project")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args = parser.parse_args(argv)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        here = args.runs or Path(folder)
        here.mkdir(parents=True, exist_ok=True)
        base = bottega.train("english", out=here / "base", steps=args.base_steps, judge=False)
        source = args.data or logs(shared() / "chatterbot" / "conversations.jsonl.gz", here / "logs.jsonl")
        for name, changes in WAYS.items():
            out = here / name.replace(" ", "-")
            changes = {"codec.long": "skip", **changes}  # a few answers are longer than what the base reads at once
            run = bottega.train("chat", source, out, steps=args.steps, base=str(base.path), set=changes, judge=False)
            found = run.evidence.tuning
            result[name] = {
                **told(run), "conversations": run.header["data"]["rows"],
                "held_out_answers_seen": seen_before(run, source), "measures": found["measures"],
                "some": found["answers"][:6], "notes": run.evidence.notes,
            }  # fmt: skip
            print(name, *run.evidence.notes, sep="\n  ", flush=True)
            back = Path(folder) / f"{out.name}-back"  # a copy, so that a kept run stays as it is
            shutil.copytree(out, back)
            rollback(back)
            result[name]["back_to_the_bit"] = bottega.load(back).weights_hash == base.weights_hash
    keep("tuning", result, args)
