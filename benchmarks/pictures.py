"""What the book's chapters on autoencoders and diffusion promise of pictures, on built-in and made ones.

Digits are read by a support vector machine of scikit-learn, which no model and no judge has seen: digits of a class by a
conditional VAE, versions of one digit, halves filled in by diffusion. Faces of people who were never seen are told apart
by a VAE's codes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.svm import SVC
from torch import Tensor

import bottega
from benchmarks._common import held_rows, keep, options
from bottega import Run
from bottega.core import Batch, Rng
from bottega.crafts import explore
from bottega.data import worlds
from bottega.data.builtin import load
from bottega.judge._statistics import wilson
from bottega.judge.codes import equal_error_rate
from bottega.workshop.build import find_data
from bottega.workshop.training import divide


class Reader:
    """A support vector machine on the digits that a run was trained on."""

    def __init__(self, run: Run) -> None:
        self.run = run
        train = run.codec.encode(divide(run.recipe, find_data(run.recipe, None, run.codec)).train)
        assert train.cond is not None
        self.svm = SVC(gamma=0.5).fit(self._rows(train.x), train.cond.numpy())

    def _rows(self, x: Tensor) -> Any:
        return self.run.spec.as_real(x).flatten(1).numpy() / 2

    def share(self, x: Tensor, asked: Tensor) -> dict[str, Any]:
        """How many are read as what was asked for, with a 95 % interval."""
        right = int((self.svm.predict(self._rows(x)) == asked.numpy()).sum())
        low, high = wilson(right / len(x), len(x))
        return {"share": round(right / len(x), 4), "interval": [round(low, 4), round(high, 4)], "pictures": len(x)}


def classes(run: Run, n: int) -> dict[str, Any]:
    """Row B13: digits of a class."""
    reader, held = Reader(run), held_rows(run, 10_000)
    assert held.cond is not None
    asked = torch.arange(n) % 10
    with torch.no_grad():
        made = reader.share(run.model.sample(n, Rng(0), asked), asked)
    return {**made, "real": reader.share(held.x, held.cond)["share"], "wanted": 0.9, "reached": made["share"] >= 0.9}


def versions(run: Run, n: int) -> dict[str, Any]:
    """Row B14: versions of one held-out digit stay that digit, and differ."""
    reader = Reader(run)
    items = list(divide(run.recipe, load("digits")).held)
    found = [explore.vary(run, item, items, 8) for item in items[: n // 8]]
    codes = run.codec.encode([piece for one in found for piece in one.items])
    asked = run.codec.encode(items[: n // 8]).cond
    assert asked is not None
    made = reader.share(codes.x, asked.repeat_interleave(8))
    apart = sum(one.apart for one in found) / len(found)
    held = held_rows(run, 10_000)
    assert held.cond is not None
    real = run.spec.as_real(held.x).flatten(1)
    within = (
        torch.stack([torch.pdist(real[held.cond == k]).mean() for k in range(10)]).mean().item() / real.shape[1] ** 0.5
    )
    return {
        **made, "apart": apart, "real_digits_of_a_class_apart": within,
        "wanted": "0.9, and a quarter as far apart as real digits of a class",
        "reached": made["share"] >= 0.9 and apart >= 0.25 * within,
    }  # fmt: skip


def halves(run: Run, n: int) -> dict[str, Any]:
    """Row E5: of held-out digits one half is kept, the other made anew in their class."""
    reader, held = Reader(run), held_rows(run, n)
    assert held.cond is not None
    keep_left = torch.zeros(1, *run.spec.shape, dtype=torch.bool)
    keep_left[..., : run.spec.shape[2] // 2] = True
    out: dict[str, Any] = {}
    for side, mask in (("left", keep_left), ("top", keep_left.mT)):
        made = run.model.edit(held, mask, Rng.for_rows(range(len(held))))  # type: ignore[operator]
        blank = torch.where(mask, held.x, -torch.ones_like(held.x))
        out[f"{side}_kept"] = {
            **reader.share(made, held.cond),
            "with_the_other_half_blank": reader.share(blank, held.cond)["share"],
            "kept_to_the_bit": torch.equal(torch.where(mask, made, held.x), held.x),
        }
    good = all(row["share"] >= 0.8 and row["kept_to_the_bit"] for row in out.values())
    return {**out, "real": reader.share(held.x, held.cond)["share"], "wanted": 0.8, "reached": good}


def strangers(run: Run, n: int) -> dict[str, Any]:
    """Row B15: are two pictures of one person? Of 40 people whom the run never saw."""
    batch = run.codec.encode([*worlds.load("faces", n=n, people=40, seed=1_000).items])
    who = torch.arange(n) % 40
    with torch.no_grad():
        codes = torch.cat([run.model.encode(part) for part in Batch(batch.x).split(8)])  # type: ignore[operator]
    by_codes, by_pixels = (equal_error_rate(x.flatten(1).double(), who) for x in (codes, batch.x))
    evidence = run.judge(only=["codes"])
    probe = evidence.find("probe_accuracy")
    assert probe is not None
    assert probe.ceiling is not None
    return {
        "equal_error_rate": by_codes, "equal_error_rate_of_pixels": by_pixels, "pictures": n,
        "probe_of_100_labels": probe.value, "probe_of_pixels": probe.ceiling,
        "wanted": "above the pixels' probe", "reached": probe.value > probe.ceiling,
    }  # fmt: skip


CLAIMS = {
    "classes": ("digits-vae", classes, 2000),
    "versions": ("digits-vae", versions, 1440),
    "halves": ("digits-diffusion", halves, 180),
    "strangers": ("faces-vae", strangers, 1000),
}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("pictures", __doc__, "", "--only classes halves", "--runs runs/pictures")
    parser.add_argument("--only", nargs="+", choices=tuple(CLAIMS), default=list(CLAIMS))
    parser.add_argument("--steps", type=int, help="instead of the recipes', to try the benchmark")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Run] = {}
        result = {}
        for name in args.only:
            recipe, measure, n = CLAIMS[name]
            if recipe not in runs:
                runs[recipe] = bottega.train(
                    recipe, out=(args.runs or Path(folder)) / recipe, steps=args.steps, judge=False
                )
            result[name] = {"recipe": recipe, **measure(runs[recipe], n)}
    keep("pictures", result, args)
