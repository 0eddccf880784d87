"""Whether sound is made as fast as it is heard."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from bottega.core import Measure
from bottega.judge._case import Case

__all__ = ["measure", "real_time_factor"]

needs: tuple[str, ...] = ("model",)
media: tuple[str, ...] = ("audio",)

_TIMES = 6  # as judge/speed has it: the median of six lies between the least and the most with 97 %
_SECONDS = 6.0


def real_time_factor(
    work: Callable[[], object], seconds: float, times: int = _TIMES, clock: Callable[[], float] = time.perf_counter,
    most_seconds: float = _SECONDS,
) -> list[float]:  # fmt: skip
    """Seconds of work for a second of sound, of each call after one that warms up; below 1 keeps up.

    Args:
        work: makes or treats the sound.
        seconds: the sound lasts.
        times: calls, fewer where they take long.
        clock: ``time.process_time`` where other work shares the processors.
        most_seconds: no call begins that would end later.
    """

    def once() -> float:
        began = clock()
        work()
        return clock() - began

    spent, out = once(), []
    while len(out) < times and (not out or spent + out[-1] < most_seconds):
        out.append(once())
        spent += out[-1]
    return [took / seconds for took in out]


def measure(case: Case) -> list[Measure]:
    """``real_time_factor``: seconds that it takes to make one sound and bring it to samples, over the seconds it lasts."""
    model, device, decode = case.model, case.device, case.decode
    assert model is not None
    assert decode is not None
    before = model.training
    model.eval()
    rng, knobs = case.rng("real time"), case.facts.get("knobs", {})
    cond = None if case.sample_cond is None else case.sample_cond[:1].to(device)

    def one() -> float:
        return float(decode(model.sample(1, rng, cond, **knobs).cpu())[0].value.seconds)

    factors = real_time_factor(one, one())
    model.train(before)
    whole = len(factors) == _TIMES
    low, high = (min(factors), max(factors)) if whole else (None, None)
    where = device.type if device.type != "cpu" else f"the CPU, {torch.get_num_threads()} threads"
    note = f"one sound alone on {where}, median of {len(factors)} after warm-up"
    return [
        Measure("real_time_factor", statistics.median(factors), low, high, n=len(factors), seed=case.seed, better="lower",
                note=note + ("" if whole else "; too slow to time six times, so no interval"))
    ]  # fmt: skip
