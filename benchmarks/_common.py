"""What every benchmark needs: alternating pairs, medians, and a place for results."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bottega.workshop.evidence import machine, software

RESULTS = Path(__file__).parent / "results"


def shared() -> Path:
    """The data sets beside the project; exits naming what is missing."""
    path = Path(os.environ.get("BOTTEGA_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not path.is_dir():
        raise SystemExit(f"this benchmark needs the data sets beside the project ({path}); set BOTTEGA_SHARED")
    return path


def pairs(a: Callable[[], object], b: Callable[[], object], rounds: int = 11, warm: int = 2) -> dict[str, Any]:
    """Seconds of ``a`` and ``b``, alternating; ``ratio`` is the median of a/b pair by pair."""
    times: list[tuple[float, float]] = []
    for i in range(rounds + warm):
        row = []
        for work in (a, b) if i % 2 == 0 else (b, a):
            began = time.perf_counter()
            work()
            row.append(time.perf_counter() - began)
        times.append((row[0], row[1]) if i % 2 == 0 else (row[1], row[0]))
    times = times[warm:]
    ratios = sorted(x / y for x, y in times)
    return {
        "a_seconds": statistics.median(x for x, _ in times),
        "b_seconds": statistics.median(y for _, y in times),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[len(ratios) // 10],
        "ratio_high": ratios[-1 - len(ratios) // 10],
        "rounds": rounds,
    }


def keep(name: str, result: Any) -> None:
    """Print a result and write ``results/<name>.json``."""
    row = {
        "benchmark": name,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine("cuda" if torch.cuda.is_available() else "cpu").model_dump(),
        "threads": torch.get_num_threads(),
        "software": software(),
        "result": result,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1), flush=True)
