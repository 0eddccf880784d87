"""How good a run is when it makes its pieces in fewer steps, and how long that takes: the table by which one chooses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bottega.core import BottegaError, Measure, Rng
from bottega.judge import Case, run_all
from bottega.workshop.build import find_data
from bottega.workshop.judging import MOST_TRAIN, _facts, rows_of
from bottega.workshop.run import CHUNK, Progress, Run, Tell, knobs_of
from bottega.workshop.training import divide

__all__ = ["JUDGES", "Row", "steps_table"]

JUDGES = ("frechet", "recognise")


@dataclass(frozen=True)
class Row:
    """One way to make pieces: the sampler ("" where there is no choice), its steps, ms for each piece, what was measured."""

    sampler: str
    steps: int
    sample_ms: float
    measures: list[Measure]


def steps_table(
    run: Run,
    counts: Sequence[int] = (1, 2, 4, 10, 24, 50),
    samplers: Sequence[str] = (),
    *,
    n: int = 500,
    seed: int = 0,
    progress: Tell | None = None,
) -> list[Row]:
    """Quality and milliseconds for each number of steps.

    The samples of every row begin from the same noise, under the same conditions; quality is against the run's own
    training data, milliseconds are those of one piece in batches of up to 250.

    Args:
        run: whose family's ``sample`` has a knob ``steps``.
        counts: numbers of steps.
        samplers: for a family that has the knob ``sampler``; its default where none is named.
        n: samples in each row.
        seed: of the samples and the judges.
        progress: told before every row.

    Raises:
        BottegaError: the family does not make its pieces in steps.
        RecipeError: it has no such sampler, or cannot make that many steps; told before the first row.
    """
    tell = progress or (lambda _: None)
    known = knobs_of(run.model.sample, skip=3)
    if "steps" not in known:
        raise BottegaError(f"a {run.recipe.family['name']} makes its pieces at once; there are no steps to choose")
    ways: list[dict[str, Any]] = (
        [{"sampler": name} for name in samplers or (known["sampler"],)] if "sampler" in known else [{}]
    )
    if samplers and "sampler" not in known:
        raise BottegaError(f"a {run.recipe.family['name']} has one way to make its pieces; leave the samplers out")
    tell(Progress("steps", note="trying all samplers and steps on a piece each"))
    for way in ways:
        for count in counts:
            run.sample(1, seed=seed, steps=count, **way)
    tell(Progress("steps", note="reading the data"))
    dataset = find_data(run.recipe, run.header["data_argument"] or None, run.codec)
    parts = divide(run.recipe, dataset)
    train = rows_of(run.codec, parts.train, MOST_TRAIN, seed).to(run.device)
    held = rows_of(run.codec, parts.held, max(n, 2), seed).to(run.device)
    cond = None if train.cond is None else train.cond[Rng(seed).integers(len(train), n)]
    case = Case(
        run.codec.medium, run.spec, train, held, train.x[:0], cond, run.model, run.codec.decode, seed, run.device,
        _facts(run, dataset.truth, parts.held),
    )  # fmt: skip
    run.model.eval()
    rows: list[Row] = []
    for way in ways:
        for count in counts:
            tell(
                Progress(
                    "steps", len(rows), len(ways) * len(counts), note=f"{way.get('sampler', '')} {count} steps".strip()
                )
            )
            rng = Rng(seed, device=run.device).fork("judged samples")
            began, made = time.perf_counter(), []
            for first in range(0, n, CHUNK):
                many = min(CHUNK, n - first)
                given = None if cond is None else cond[first : first + many]
                made.append(run.model.sample(many, rng, given, steps=count, **way).cpu())
            spent = time.perf_counter() - began
            shared = {k: v for k, v in case.cache.items() if not k.endswith("of samples")}
            found, _ = run_all(replace(case, samples=torch.cat(made).to(run.device), cache=shared), JUDGES)
            case.cache.update({k: v for k, v in shared.items() if not k.endswith("of samples")})
            rows.append(Row(way.get("sampler", ""), count, 1000 * spent / n, found))
    return rows
