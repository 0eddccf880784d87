"""What every benchmark needs: alternating pairs, medians, trained runs' held-out rows, and a place for results."""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bottega import Run
from bottega.core import Batch, Family, Rng, Source
from bottega.data.stream import Stream
from bottega.workshop.build import find_data, make_codec, make_family
from bottega.workshop.evidence import machine, software
from bottega.workshop.judging import rows_of
from bottega.workshop.recipe import Recipe, load_recipe
from bottega.workshop.training import divide

RESULTS = Path(__file__).parent / "results"


def shared() -> Path:
    """The data sets beside the project; exits naming what is missing."""
    path = Path(os.environ.get("BOTTEGA_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not path.is_dir():
        raise SystemExit(f"this benchmark needs the data sets beside the project ({path}); set BOTTEGA_SHARED")
    return path


def options(name: str, about: str | None, *examples: str) -> argparse.ArgumentParser:
    """A parser for one benchmark's options, its examples shown by ``--help``."""
    return argparse.ArgumentParser(
        f"python -m benchmarks {name}",
        description=about,
        epilog="examples:\n" + "\n".join(f"  python -m benchmarks {name} {words}".rstrip() for words in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def pairs(
    a: Callable[[], object], b: Callable[[], object], rounds: int = 11, warm: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:  # fmt: skip
    """Seconds of ``a`` and ``b``, alternating; ``ratio`` is the median of a/b pair by pair.

    ``clock`` may be ``time.process_time`` where other work shares the processors.
    """
    times: list[tuple[float, float]] = []
    for i in range(rounds + warm):
        row = []
        for work in (a, b) if i % 2 == 0 else (b, a):
            began = clock()
            work()
            row.append(clock() - began)
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


def prepare(
    recipe: str, data: Path | None = None, changes: Mapping[str, Any] | None = None
) -> tuple[Recipe, Family, Callable[[], Stream]]:
    """A recipe, a model of it with fresh weights, and what makes a fresh stream of its training batches."""
    plan = load_recipe(recipe, changes)
    codec = make_codec(plan.codec)
    train = divide(plan, find_data(plan, data, codec)).train
    source = codec.fit(train).source(train, train=True)
    model = make_family(plan.family, codec.spec, plan.train.seed)
    return plan, model, lambda: Stream(source, plan.train.batch, seed=plan.train.seed)


def held_rows(run: Run, most: int) -> Batch:
    """Up to ``most`` encoded rows that the run kept back."""
    data = find_data(run.recipe, run.header["data_argument"] or None, run.codec)
    return rows_of(run.codec, divide(run.recipe, data).held, most, seed=0)


def binary_mnist(rows: int = 0) -> tuple[Source, Batch]:
    """MNIST's training pictures as recipe ``mnist-vae`` has them (pixels drawn once), and up to 2,000 that it keeps back.

    ``rows`` reads no more pictures than that.
    """
    path = shared() / "mnist" / "mnist_train.npz"
    plan = load_recipe("mnist-vae", {"data.limit": rows} if rows else None)
    codec = make_codec(plan.codec)
    parts = divide(plan, find_data(plan, path, codec))
    source = codec.fit(parts.train).source(parts.train, train=True)
    return source, rows_of(codec, parts.held, 2000, seed=0)


@torch.no_grad()
def scored(score: Callable[[Batch, Rng], Tensor], batch: Batch, rows: int = 250) -> Tensor:
    """``score`` (``model.log_prob``, ``model.iwae``) of every example, ``(N,)`` float64, so many rows at once."""
    rng = Rng(0)
    return torch.cat([score(part, rng).double() for part in batch.split(math.ceil(len(batch) / rows))])


def told(run: Run) -> dict[str, Any]:
    """What a run says of its training."""
    return {"steps": run.step, "minutes": round(run.header["seconds"] / 60, 2), "parameters": run.header["parameters"]}


def kept(name: str) -> dict[str, Any]:
    """The result that ``results/<name>.json`` holds, empty where there is none yet."""
    path = RESULTS / f"{name}.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"] if path.exists() else {}
    return result


def keep(name: str, result: Any, args: argparse.Namespace | None = None, *, beside: bool = False) -> None:
    """Print a result and write ``results/<name>.json`` with the options it was measured under.

    Of a path only its name is written: where it lay is this machine's business. ``beside`` leaves what the file holds and adds the result's entries, each with its own date, machine and options.
    """
    how = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine("cuda" if torch.cuda.is_available() else "cpu").model_dump(),
        "threads": torch.get_num_threads(),
        "software": software(),
        "options": {k: v.name if isinstance(v, Path) else v for k, v in vars(args or argparse.Namespace()).items()},
    }
    path = RESULTS / f"{name}.json"
    if beside and path.exists():
        row = json.loads(path.read_text(encoding="utf-8"))
        row["result"] |= {key: value | {"measured": how} for key, value in result.items()}
    else:
        row = {"benchmark": name, **how, "result": result}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(row, indent=1, default=str) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1), flush=True)
