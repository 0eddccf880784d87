"""How fast the model makes and scores examples, on this machine."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import torch

from bottega.core import Measure, Scores, has
from bottega.judge._case import Case

__all__ = ["measure"]

needs: tuple[str, ...] = ("model",)
media: tuple[str, ...] = ()

_BATCH = 16
_TIMES = 6  # the median of six lies between the least and the most with 97 %, whatever the distribution
_SECONDS = 4.0  # for each measure; a slow model is timed fewer times


def _timed(work: Callable[[], object], device: torch.device) -> list[float]:
    """Seconds of up to six calls after one that warms up."""

    def once() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    spent, times = once(), []
    while len(times) < _TIMES and (not times or spent + times[-1] < _SECONDS):
        times.append(once())
        spent += times[-1]
    return times


def measure(case: Case) -> list[Measure]:
    """``sample_ms`` for one sample alone, ``samples_per_second`` in a batch, and ``score_ms`` for each scored example."""
    model, device = case.model, case.device
    assert model is not None
    before = model.training
    model.eval()
    rng, knobs = case.rng("speed"), case.facts.get("knobs", {})
    cond = case.sample_cond

    def some(n: int) -> Callable[[], object]:
        asked = None if cond is None else cond[torch.arange(n, device=cond.device) % len(cond)].to(device)
        return lambda: model.sample(n, rng, asked, **knobs).cpu()

    where = device.type if device.type != "cpu" else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    out = [
        _milliseconds("sample_ms", _timed(some(1), device), 1, f"one sample alone on {where}", case.seed),
        _rate(_timed(some(_BATCH), device), f"in batches of {_BATCH} on {where}", case.seed),
    ]
    if has(model, Scores):
        batch = case.held.take(slice(0, _BATCH)).to(device)
        with torch.no_grad():
            times = _timed(lambda: model.log_prob(batch, rng).cpu(), device)  # type: ignore[operator]
        out.append(_milliseconds("score_ms", times, len(batch), f"each of {len(batch)} examples on {where}", case.seed))
    model.train(before)
    return out


def _note(times: list[float], note: str) -> str:
    tail = "" if len(times) == _TIMES else "; too slow to time six times, so no interval"
    return f"{note}, median of {len(times)} after warm-up{tail}"


def _milliseconds(name: str, times: list[float], each: int, note: str, seed: int) -> Measure:
    whole = len(times) == _TIMES
    low, high = (1000 * min(times) / each, 1000 * max(times) / each) if whole else (None, None)
    value = 1000 * statistics.median(times) / each
    return Measure(name, value, low, high, n=len(times), seed=seed, better="lower", note=_note(times, note))


def _rate(times: list[float], note: str, seed: int) -> Measure:
    whole = len(times) == _TIMES
    low, high = (_BATCH / max(times), _BATCH / min(times)) if whole else (None, None)
    value = _BATCH / statistics.median(times)
    return Measure(
        "samples_per_second", value, low, high, n=len(times), seed=seed, better="higher", note=_note(times, note)
    )
