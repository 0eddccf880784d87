"""SampleRNN: nats a sample beside the frequency of the levels, and the memory that a long clip takes (row I12).

Trains recipe ``tones-samplernn`` and says, of recordings that were held back, the mean negative log probability of a sample in nats: under
the model; under the frequency of each mu-law level in the training part (unigram); under that of each level given the one before (bigram).
Both counts have one added to each. Then how often samples are heard as the note that was asked for, by the world's own reader of pitch, and
the most memory a process takes that draws a clip of one second and one of a minute, each in a process of its own, beside the size of
what the stream keeps from part to part.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bottega
from benchmarks._common import keep, options, scored, told
from bottega import Run
from bottega.core import Rng, mean_interval
from bottega.core.measure import wilson
from bottega.workshop.build import find_data
from bottega.workshop.training import divide

RECIPE = "tones-samplernn"
SECONDS = (1, 60)


def nats(counts: Tensor, x: Tensor, before: Tensor | None = None) -> Tensor:
    """``(N, T)``: minus the log of how often each level was counted, one added, in all or (``(k, k)``) after the one before."""
    log = ((counts + 1) / (counts + 1).sum(-1, keepdim=True)).log()
    return -(log[x] if before is None else log[before, x])


def _mean(each: Tensor) -> dict[str, Any]:
    """Of recordings ``(N,)``."""
    value, low, high = mean_interval(each.double())
    return {"nats_a_sample": value, "low": low, "high": high, "n": len(each)}


def likelihoods(run: Run) -> dict[str, Any]:
    """Held-out nats a sample of the model and of what counting says."""
    codec: Any = run.codec
    parts = divide(run.recipe, find_data(run.recipe, None, codec))
    train, held = codec.encode(parts.train).x, codec.encode(parts.held)
    k, x = run.spec.vocab, held.x
    quiet = torch.full_like(x[:, :1], k // 2)  # silence before the first sample, as the model has it
    before = [torch.cat([quiet[:1].expand(len(t), 1), t[:, :-1]], 1) for t in (train, x)]
    pairs = torch.bincount((before[0] * k + train).flatten(), minlength=k * k).view(k, k).double()
    model: Any = run.model
    return {
        "model": _mean(-scored(model.log_prob, held, 32) / x.shape[1]),
        "unigram": _mean(nats(torch.bincount(train.flatten(), minlength=k).double(), x).mean(1)),
        "bigram": _mean(nats(pairs, x, before[1]).mean(1)),
    }


def heard(run: Run, n: int) -> dict[str, Any]:
    """How often samples are the note that was asked for."""
    codec: Any = run.codec
    model: Any = run.model
    truth = find_data(run.recipe, None, codec).truth
    names = codec.classes
    cond = torch.arange(n) % len(names)
    began = time.process_time()
    items = codec.decode(model.sample(n, Rng(0), cond), cond)
    spent = time.process_time() - began
    share = truth["good"]([i.value for i in items], [i.cond for i in items])
    low, high = wilson(share, n)
    return {"share": share, "low": low, "high": high, "n": n, "processor_seconds": spent}


def kept_bytes(stream: Iterator[Tensor]) -> int:
    """Bytes of all tensors that a suspended stream holds, those inside it included; parameters are none of them."""
    found: dict[int, int] = {}
    at: Any = stream
    while at is not None and at.gi_frame is not None:
        waiting = list(at.gi_frame.f_locals.values())
        while waiting:
            value = waiting.pop()
            if isinstance(value, Tensor):
                found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            elif isinstance(value, list | tuple):
                waiting += value
        at = at.gi_yieldfrom
    return sum(found.values())


def drawn(path: Path, seconds: int) -> dict[str, Any]:
    """Draw one clip in this process and say what that took."""
    run = bottega.load(path)
    model: Any = run.model.eval()
    codec: Any = run.codec
    began, most, samples = time.process_time(), 0, 0
    stream = model.stream(1, Rng(0), torch.zeros(1, dtype=torch.long), length=seconds * codec.used_rate)
    for part in stream:
        most, samples = max(most, kept_bytes(stream)), samples + part.shape[1]
    return {
        "samples": samples, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "stream_keeps_bytes": most,
        "processor_seconds_a_second": (time.process_time() - began) / seconds,
    }  # fmt: skip


def memory(path: Path) -> dict[str, Any]:
    """Each clip in a process of its own."""
    out: dict[str, Any] = {}
    for seconds in SECONDS:
        command = [sys.executable, "-m", "benchmarks", "samplernn", "--draw", str(seconds), "--run", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        out[f"{seconds} s"] = json.loads(done.stdout.strip().splitlines()[-1])
    return out


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("samplernn", __doc__, "", "--n 16")
    parser.add_argument("--n", type=int, default=64, help="samples that are listened to")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept; a stopped one goes on")
    parser.add_argument("--draw", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.draw:
        print(json.dumps(drawn(args.run, args.draw)))
        return
    run = bottega.train(RECIPE, None, args.runs / RECIPE, judge=False)
    run.model.eval()
    result = told(run) | {"held_out": likelihoods(run)}
    print(result, flush=True)
    result |= {"note_as_asked": heard(run, args.n)}
    print(result, flush=True)
    keep("samplernn", result | {"a_clip_of": memory(run.path)}, args)


if __name__ == "__main__":
    main()
