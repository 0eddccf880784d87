"""Nats of a frame of 88 keys: JSB chorales in the shared split, Nottingham tunes of which a tenth is held out.

A frame is the set of keys that sound in a step: a quarter for the chorales, as Boulanger-Lewandowski et al. (2012,
arXiv:1206.6392) cut them, an eighth for Nottingham. A GPT says the notes of each frame from the top down and then that the
frame is over, so its likelihood of a frame is exact; all frames count, the first too, and the end of a piece. Rows of at most
``codec.length`` tokens know nothing of the rows before them. Published, frames as 88 independent bits given the past: TCN
8.10, LSTM 8.45 (chorales), TCN 3.07, LSTM 3.29 (Nottingham, test part of another cut; Bai et al. 2018, arXiv:1803.01271).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bottega
from benchmarks._common import keep, kept, options, scored, shared, told
from bottega.codecs.music import MusicCodec
from bottega.core import Item

PUBLISHED = {
    "jsb": {"tcn": 8.10, "lstm": 8.45, "wanted": 7.0},
    "nottingham": {"tcn": 3.07, "lstm": 3.29, "wanted": 2.9},
}
NOTTINGHAM = {"codec.steps": 2, "codec.length": 1024, "family.dropout": 0.05, "train.steps": 1100, "train.batch": 4}


def per_frame(run: bottega.Run, items: Sequence[Item], name: str) -> dict[str, Any]:
    """Nats a frame of pieces that the run never saw, with a 95 % interval over pieces."""
    codec: Any = run.codec
    model: Any = run.model
    nats, frames = [], []
    for item in items:
        batch = codec.encode([item])
        nats.append(-float(scored(model.log_prob, batch, 8).sum()))
        frames.append(codec.placed(item.value)[0].length)
    each, size = np.array(nats), np.array(frames)
    value = each.sum() / size.sum()
    spread = np.sqrt(((each - value * size) ** 2).sum()) / size.sum()  # of a ratio
    plan = run.recipe
    return {
        "nats_per_frame": value, "low": value - 1.96 * spread, "high": value + 1.96 * spread, "pieces": len(items),
        "frames": int(size.sum()), "bound": "exact", **PUBLISHED[name], **told(run),
        "model": f"gpt, {plan.family.get('size')} layers over notes within frames", "steps_a_quarter": codec.steps,
        "transposed_by_up_to": codec.transpose,
    }  # fmt: skip


def jsb(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train on the train part, score the validation part."""
    with gzip.open(shared() / "jsb_chorales" / "jsb-chorales-quarter.json.gz") as file:
        parts = json.load(file)
    for part, pieces in parts.items():
        (folder / f"{part}.json").write_text(json.dumps({part: pieces}))
    run = bottega.train("frames", folder / "train.json", (args.runs or folder) / "jsb", steps=args.steps, seed=args.seed,
                        set={"data.held": 0.0}, judge=False)  # fmt: skip
    return per_frame(run, run.codec.read(folder / "valid.json"), "jsb")


def nottingham(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train on nine tenths of the tunes; tunes whose notes are equal up to transposition stay on one side."""
    source = shared() / "nottingham" / "nottingham_midi.zip"
    split: dict[str, Path] = {part: folder / part for part in ("train", "valid")}
    for place in split.values():
        place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(source) as archive:
        for item in MusicCodec().read(source):
            shape = [(n.onset, n.pitch - item.value.notes[0].pitch) for n in item.value.notes]
            held = int(hashlib.sha256(json.dumps(shape).encode()).hexdigest(), 16) % 10 == 0
            (split["valid" if held else "train"] / Path(item.name).name).write_bytes(archive.read(item.name))
    run = bottega.train("frames", split["train"], (args.runs or folder) / "nottingham", steps=args.steps, seed=args.seed,
                        set={"data.held": 0.0, **NOTTINGHAM}, judge=False)  # fmt: skip
    return per_frame(run, run.codec.read(split["valid"]), "nottingham")


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("chorales", __doc__, "", "--only jsb --runs runs/frames", "--only jsb --steps 100")
    parser.add_argument("--only", choices=("jsb", "nottingham"))
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    parser.add_argument("--steps", type=int, help="of training, instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    result = kept("chorales")
    for name, measure in (("jsb", jsb), ("nottingham", nottingham)):
        if args.only in {None, name}:
            with tempfile.TemporaryDirectory() as folder:
                result[name] = measure(args, Path(folder))
            keep("chorales", result, args)
