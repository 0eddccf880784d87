"""Spoken digits asked for by digit and speaker (FSDD, six speakers): does one hear the digit and the speaker that were asked for?

Two classifiers, of digits and of speakers, are trained on the real recordings that the recipe trains on and checked on those
that it keeps back; both hear sounds only: what a model makes is written out as samples first, spectra by Griffin-Lim.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bottega
from benchmarks._common import keep, options, shared, told
from bottega import Run
from bottega.codecs.audio import AudioCodec
from bottega.core import Batch, Item, Rng, Spec
from bottega.core.measure import wilson
from bottega.judge import Case
from bottega.judge._recogniser import recogniser
from bottega.workshop.build import find_data
from bottega.workshop.training import divide

RECIPES = {"diffusion": "spoken", "wavenet": "spoken-wavenet"}
WANTED = 0.85
CHUNK = 60


class Ears:
    """A classifier for each part of what was asked: of digits, of speakers."""

    def __init__(self, train: Sequence[Item], held: Sequence[Item], cache: Path | None) -> None:
        self.codec = AudioCodec(rate=8000, seconds=0.64, window=512, hop=80, mels=64, level="peak", labels="none").fit(
            train
        )
        self.parts: dict[str, tuple[list[str], Callable[[Tensor], Tensor]]] = {}
        self.real: dict[str, Any] = {}
        for k, part in enumerate(("digit", "speaker")):
            names = sorted({str(item.cond).split()[k] for item in train})
            spec = Spec(self.codec.spec.shape, cond=Spec((), vocab=len(names)))
            batches = [
                Batch(self.codec.encode(items).x, torch.tensor([names.index(str(i.cond).split()[k]) for i in items]))
                for items in (train, held)
            ]
            facts = {"cache_dir": cache, "fingerprint": f"spoken-{part}"} if cache else {}
            heard = recogniser(Case("audio", spec, *batches, batches[1].x, facts=facts))
            self.parts[part], self.real[part] = (names, heard.probs), {"accuracy": heard.accuracy, "n": heard.held}

    def judge(self, items: Sequence[Item], asked: Sequence[str]) -> dict[str, Any]:
        """The share of ``items`` in which each part of what was ``asked`` is heard."""
        x, found = self.codec.encode(items).x, {}
        for k, (part, (names, probs)) in enumerate(self.parts.items()):
            wanted = torch.tensor([names.index(one.split()[k]) for one in asked])
            share, n = (probs(x).argmax(1) == wanted).double().mean().item(), len(wanted)
            found[part] = {"recognised": share, "interval": list(wilson(share, n)), "n": n, "wanted": WANTED}
        return found


def said(run: Run, asked: Sequence[str], **knobs: Any) -> tuple[list[Item], float]:
    """A piece for each of ``asked``, and seconds of each."""
    run.model.eval()
    cond, began = run.codec.encode_cond(list(asked)), time.perf_counter()
    parts = [run.model.sample(len(some), Rng(1 + k), some, **knobs) for k, some in enumerate(cond.split(CHUNK))]
    seconds = (time.perf_counter() - began) / len(asked)
    return [item for part in parts for item in run.codec.decode(part)], seconds


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    examples = ("--runs runs/spoken", "--only diffusion --guidance 2", "--steps 5 --each 1")
    parser = options("spoken", __doc__, *examples)
    parser.add_argument("--only", nargs="+", choices=tuple(RECIPES), default=list(RECIPES))
    parser.add_argument("--steps", type=int, help="of training, instead of the recipe's")
    parser.add_argument("--each", type=int, default=10, help="pieces of each digit and speaker")
    parser.add_argument("--guidance", type=float, default=1.0, help="of sampling")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--data", type=Path, help="recordings named like 7_jackson_32.wav; by default FSDD beside the project"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/spoken"), help="keep the runs here; a stopped one goes on"
    )
    args = parser.parse_args(argv)
    args.data = args.data or shared() / "fsdd" / "fsdd_train_wav.zip"
    ears = None
    for name in args.only:
        run = bottega.train(RECIPES[name], args.data, args.runs / name, steps=args.steps, seed=args.seed, judge=False)
        if ears is None:
            parts = divide(run.recipe, find_data(run.recipe, str(args.data), run.codec))
            ears = Ears(list(parts.train), list(parts.held), args.runs)
            asked = sorted({str(item.cond) for item in parts.train}) * args.each
        items, seconds = said(run, asked, guidance=args.guidance)
        run.codec.show(
            [Item(i.value, a) for i, a in zip(items[:16], asked[:16], strict=True)], args.runs / f"{name}.png"
        )
        found = ears.judge(items, asked)
        row = {**told(run), **found, "real": ears.real, "seconds_a_piece": seconds, "guidance": args.guidance}
        keep("spoken", {name: row}, args, beside=True)
