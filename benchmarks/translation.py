"""Translation from scratch on multi30k: BLEU and chrF on the validation file, whole sentences and wait-k.

Recipe `translation` reads the training pairs; nothing else is known. Whole sentences are written greedily and by a beam;
wait-k (Ma et al. 2019) begins after k words by the same weights, which have learned to (`family.waits`). sacreBLEU, cased,
13a. Average lagging is in words.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bottega
from benchmarks._common import keep, kept, options, shared, told
from bottega import Run
from bottega.crafts.write_given import delayed, rewrite
from bottega.judge.bleu import bleu, chrf


def lines(path: Path) -> list[str]:
    """The lines of a packed file."""
    return gzip.open(path, "rt", encoding="utf8").read().splitlines()


def score(said: Sequence[str], right: Sequence[str]) -> dict[str, Any]:
    """BLEU with its interval and signature, and chrF."""
    found = bleu(said, [[r] for r in right])
    return {
        "bleu": found.value, "interval": [found.low, found.high], "chrf": chrf(said, [[r] for r in right]).value,
        "sentences": len(right), "signature": (found.note or "").partition(";")[0],
    }  # fmt: skip


def evaluated(run: Run, given: Sequence[str], right: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    """Of one run: whole sentences, greedily and by a beam, and wait-k."""
    out: dict[str, Any] = {**told(run), "waits": bool(run.recipe.family.get("waits", False))}
    for name, knobs in {"greedy": {}, f"beam {args.beams}": {"beams": args.beams}}.items():
        began = time.perf_counter()
        said = rewrite(run, given, **knobs)
        seconds = (time.perf_counter() - began) / len(given)
        out[name] = {**score(said, right), "seconds_a_sentence": seconds}
        print(name, out[name]["bleu"], flush=True)
        if name == "greedy":
            out["examples"] = [
                {"given": a, "said": b, "right": c} for a, b, c in list(zip(given, said, right, strict=True))[:5]
            ]
    for k in args.waits if out["waits"] else ():
        made = [delayed(run, text, k) for text in given[: args.most]]
        late = sum(m.lagging for m in made) / len(made)
        out[f"wait {k}"] = {**score([m.text for m in made], right[: args.most]), "lagging_words": late}
        print(f"wait {k}", out[f"wait {k}"]["bleu"], flush=True)
    return out


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options(
        "translation", __doc__, "--runs runs/translation", "--to fr --runs runs/translation", "--steps 20 --most 20"
    )
    parser.add_argument("--to", nargs="+", default=["de", "fr"], help="languages, from English")
    parser.add_argument(
        "--offline",
        nargs="*",
        default=["fr"],
        help="languages whose encoder sees the whole sentence, and so cannot wait",
    )
    parser.add_argument("--steps", type=int, help="of training, instead of the recipe's")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--waits", type=int, nargs="*", default=[1, 3, 5], help="words to wait for")
    parser.add_argument("--most", type=int, default=1014, help="sentences for wait-k")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args = parser.parse_args(argv)
    folder = shared() / "multi30k"
    result = kept("translation")
    with tempfile.TemporaryDirectory() as temporary:
        here = args.runs or Path(temporary)
        here.mkdir(parents=True, exist_ok=True)
        for to in args.to:
            for end in ("en", to):
                shutil.copy(folder / f"train.{end}.gz", here)
            changes = {"codec.column": to, "family.waits": to not in args.offline}
            run = bottega.train(
                "translation", here / f"train.{to}.gz", here / to, steps=args.steps, set=changes, judge=False
            )
            result[f"en-{to}"] = evaluated(run, lines(folder / "val.en.gz"), lines(folder / f"val.{to}.gz"), args)
            keep("translation", result, args)
