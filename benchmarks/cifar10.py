"""CIFAR-10 in forty minutes a model: Fréchet distance of our DCGAN, of the book's networks by a plain loop, of diffusion.

All see the same pictures and are judged by the same feature network, trained here. The plain loop (`benchmarks.dcgan`) is
given as many seconds as ours took. Diffusion is also sampled in ten steps of DPM-Solver++ beside fifty of DDIM.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bottega
from benchmarks._common import keep, kept, options, prepare, shared, told
from benchmarks.dcgan import PlainLoop, trained
from bottega import Run
from bottega.core import Batch, Rng
from bottega.judge import Case, run_all
from bottega.workshop.build import find_data
from bottega.workshop.judging import rows_of
from bottega.workshop.training import divide

CHUNK = 100
SAMPLERS = {"diffusion": ("dpmpp_2m", 24), "diffusion_ddim_50": ("ddim", 50), "diffusion_dpmpp_10": ("dpmpp_2m", 10)}


class Eyes:
    """One feature network for all that is judged."""

    def __init__(self, run: Run, n: int, cache: Path) -> None:
        parts = divide(run.recipe, find_data(run.recipe, run.header["data_argument"], run.codec))
        self.train, self.held = rows_of(run.codec, parts.train, 10_000, 0), rows_of(run.codec, parts.held, n, 0)
        self.codec, self.cache = run.codec, cache

    def judge(self, made: Tensor) -> dict[str, Any]:
        """Fréchet distance, precision and recall of samples ``(N, 3, 32, 32)``, and those of real held-out pictures."""
        case = Case(
            medium="image", spec=self.codec.spec, train=Batch(self.train.x), held=Batch(self.held.x), samples=made,
            decode=self.codec.decode, facts={"cache_dir": self.cache, "fingerprint": "cifar10"},
        )  # fmt: skip
        measures, _ = run_all(case, ["frechet", "precision_recall"])
        return {m.name: {"value": m.value, "interval": [m.low, m.high], "real": m.ceiling} for m in measures}


def sampled(run: Run, n: int, **knobs: Any) -> Tensor:
    """``n`` samples, a multiple of a hundred."""
    run.model.eval()
    return torch.cat([run.model.sample(CHUNK, Rng(1 + k), **knobs) for k in range(n // CHUNK)])


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options(
        "cifar10",
        __doc__,
        "--runs runs/cifar10",
        "--only dcgan plain --runs runs/cifar10",
        "--dcgan-steps 5 --diffusion-steps 5 --n 200",
    )
    parser.add_argument(
        "--only", nargs="+", choices=("dcgan", "plain", "diffusion"), default=["dcgan", "plain", "diffusion"]
    )
    parser.add_argument("--dcgan-steps", type=int, default=640, help="as many as one core makes in forty minutes")
    parser.add_argument("--diffusion-steps", type=int, default=4400, help="as many as one core makes in forty minutes")
    parser.add_argument("--n", type=int, default=2000, help="samples and held-out pictures")
    parser.add_argument(
        "--data", type=Path, help="a folder or archive of pictures; by default the one beside the project"
    )
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args = parser.parse_args(argv)
    args.data = args.data or shared() / "cifar10" / "cifar10_train_jpg.tar.gz"
    result = kept("cifar10")  # what was measured at another time
    with tempfile.TemporaryDirectory() as folder:
        here = args.runs or Path(folder)
        book = bottega.train("ch22-dcgan", args.data, here / "dcgan", steps=args.dcgan_steps, judge=False)
        eyes = Eyes(book, args.n, here)
        if "dcgan" in args.only:
            result["dcgan"] = {**told(book), **eyes.judge(sampled(book, args.n))}
        if "plain" in args.only:
            _, _, stream = prepare("ch22-dcgan", args.data)
            plain, began = PlainLoop(stream()), time.perf_counter()
            steps = trained(plain.steps, book.header["seconds"])
            minutes = (time.perf_counter() - began) / 60
            result["plain"] = {"steps": steps, "minutes": round(minutes, 2), **eyes.judge(plain.sample(args.n))}
        if "diffusion" in args.only:
            changes = {"codec.labels": "none"}
            run = bottega.train(
                "pictures", args.data, here / "diffusion", steps=args.diffusion_steps, set=changes, judge=False
            )
            for name, (sampler, steps) in SAMPLERS.items():
                began = time.perf_counter()
                made = sampled(run, args.n, sampler=sampler, steps=steps)
                seconds = (time.perf_counter() - began) / args.n
                result[name] = {**told(run), "sampler": sampler, "sampling_steps": steps, "seconds_a_picture": seconds,
                                **eyes.judge(made)}  # fmt: skip
    keep("cifar10", result, args)
