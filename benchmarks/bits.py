"""Bits a byte of texts that no training saw: a GPT, counted n-grams of the same tokens, and xz.

Three texts: CPython's language reference (recipe ``english``), source of its standard library (``code``), both built in, and
3,600 functions of that library that lie beside the project, without their docstrings (``py_docstrings``, by recipe ``code``).
The n-grams are the family ``ngram`` on the same split and tokens, with room for all of them and one pass over the text, which
suits it best. xz (LZMA2, its strongest setting) says how many bytes the
held-out texts add to the training text behind which they are packed: what a general compressor that has read it, and every
held-out text before, needs. The models know of each window nothing that stands before it (``sliding``: half a window).
"""

from __future__ import annotations

import argparse
import lzma
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bottega
from benchmarks._common import keep, kept, options, shared, told
from bottega import Run
from bottega.workshop.build import find_data
from bottega.workshop.training import divide

COUNTED = {"family.name": "ngram", "family.size": 1024, "optim.name": "adamw", "optim.lr": 3e-2}
TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "english": ("english", {}),
    "code": ("code", {}),
    "functions": ("code", {"codec.column": "code", "codec.unit": "item"}),
}


def packed(run: Run) -> dict[str, Any]:
    """Bits a byte of the held-out texts of a run, packed by xz behind those it learned from."""
    parts = divide(run.recipe, find_data(run.recipe, run.header["data_argument"] or None, run.codec))
    known, new = ("\n".join(str(item.value) for item in part).encode() for part in (parts.train, parts.held))

    def size(text: bytes) -> int:
        return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))

    return {
        "bits_a_byte": 8 * (size(known + new) - size(known)) / len(new),
        "bytes": len(new),
        "known_bytes": len(known),
    }


def one_pass(run: Run) -> int:
    """How many steps read the training text of a run once."""
    parts = divide(run.recipe, find_data(run.recipe, run.header["data_argument"] or None, run.codec))
    codec: Any = run.codec
    tokens = sum(len(found) for found in codec.tokens([item.value for item in parts.train]))
    return math.ceil(tokens / (run.recipe.train.batch * run.spec.shape[0]))


def evaluated(name: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One text by all three."""
    recipe, changes = TEXTS[name]
    data = shared() / "py_docstrings" / "functions.jsonl.gz" if name == "functions" else None
    out: dict[str, Any] = {}
    steps = args.steps
    for kind, more in {"gpt": {}, "ngram": COUNTED}.items():
        where = folder / f"{name}-{kind}"
        run = bottega.train(recipe, data, where, set={**changes, **more}, steps=steps, judge=False)
        steps = steps or one_pass(run)
        found = {m.name: m for m in run.judge(only=["likelihood"]).measures}
        bits, whole = found["bits_per_byte"], found.get("bits_per_byte_sliding")
        out[kind] = {**told(run), "bits_a_byte": bits.value, "interval": [bits.low, bits.high], "note": bits.note}
        if whole is not None:
            out[kind]["sliding"] = {"bits_a_byte": whole.value, "interval": [whole.low, whole.high]}
        if kind == "gpt":
            out["xz"] = packed(run)
        print(name, kind, out[kind]["bits_a_byte"], flush=True)
    return {**out, "reached": out["gpt"]["interval"][1] < out["ngram"]["interval"][0]}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("bits", __doc__, "--runs runs/bits", "--only functions", "--steps 20")
    parser.add_argument("--only", nargs="+", choices=list(TEXTS), default=list(TEXTS))
    parser.add_argument("--steps", type=int, help="of every training, instead of the recipes'")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args = parser.parse_args(argv)
    result = kept("bits") | {"wanted": "a GPT needs fewer bits than counted n-grams, the intervals apart"}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            result[name] = evaluated(name, args, args.runs or Path(folder))
            keep("bits", result, args)


if __name__ == "__main__":
    main()
