"""Are the labels of given texts the right ones? The likeliest label of each held-out text, beside the one that it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from bottega.core import Batch, Item, Measure, mean_interval
from bottega.judge._case import Case
from bottega.judge._statistics import wilson

__all__ = ["measure", "span_counts"]

needs: tuple[str, ...] = ("model",)
media: tuple[str, ...] = ("labels",)


@torch.no_grad()
def measure(case: Case) -> list[Measure]:
    """Classes: ``class_accuracy`` and ``macro_f1``. Tags: ``span_f1``. Answers: ``exact_match`` and ``answer_f1``.

    ``macro_f1`` is the mean of the classes' F1. A tagged span is right where its name and both of its ends are, over all
    texts (micro). ``answer_f1`` is the mean over texts of the F1 of the characters of the answer; a text without an answer
    counts 1 where none is given (as SQuAD 2 does, Rajpurkar et al. 2018, arXiv:1806.03822).
    """
    model: Any = case.model
    model.eval()
    held = case.held
    parts = held.split(-(-len(held) // 64))
    made = torch.cat([model.sample(len(p), case.rng("reading"), p.cond, temperature=0.0) for p in parts])
    shared: dict[str, Any] = {"n": len(held), "seed": case.seed, "better": "higher"}
    if case.spec.shape == ():
        return _classes(held.x, made, case.spec.vocab, shared)
    want, got = _decoded(case, held), _decoded(case, Batch(made, held.cond))
    if case.spec.shape != (2,):
        right, said, there = span_counts(want, got)
        f1 = 2 * right / max(1, said + there)
        note = f"{right} right of {said} said and {there} there; micro, name and both ends"
        return [Measure("span_f1", f1, None, None, **shared, note=note)]
    scores = [_overlap(a.value, b.value) for a, b in zip(want, got, strict=True)]
    exact = sum(a.value == b.value for a, b in zip(want, got, strict=True))
    none = sum(item.value is None for item in want)
    note = f"{none} of {len(want)} rows have no answer"
    mean, low, high = mean_interval(torch.tensor(scores, dtype=torch.float64))
    return [
        Measure("exact_match", exact / len(want), *wilson(exact / len(want), len(want)), **shared, note=note),
        Measure("answer_f1", mean, low, high, **shared, note=note),
    ]


def _classes(want: torch.Tensor, got: torch.Tensor, classes: int, shared: dict[str, Any]) -> list[Measure]:
    right = (want == got).double().mean().item()
    f1 = []
    for k in range(classes):
        hit, said, there = ((want == k) & (got == k)).sum(), (got == k).sum(), (want == k).sum()
        if there:
            f1.append((2 * hit / (said + there)).item())
    most = want.bincount().max().item() / len(want)
    note = f"always the commonest class would be right on {most:.0%}"
    return [
        Measure("class_accuracy", right, *wilson(right, len(want)), **shared, note=note),
        Measure("macro_f1", sum(f1) / len(f1), None, None, **shared, note=f"over {len(f1)} classes"),
    ]


def _decoded(case: Case, batch: Batch) -> Sequence[Item]:
    decode: Any = case.decode
    assert batch.cond is not None
    return decode(batch.x.cpu(), batch.cond.cpu())  # type: ignore[no-any-return]


def span_counts(want: Sequence[Item], got: Sequence[Item]) -> tuple[int, int, int]:
    """How many spans are right, said, and there.

    >>> span_counts([Item([(0, 3, "who"), (4, 6, "when")])], [Item([(0, 3, "who"), (4, 7, "when")])])
    (1, 2, 2)
    """
    right = said = there = 0
    for a, b in zip(want, got, strict=True):
        mine, theirs = Counter(map(tuple, a.value)), Counter(map(tuple, b.value))
        right, said, there = right + (mine & theirs).total(), said + theirs.total(), there + mine.total()
    return right, said, there


def _overlap(a: tuple[int, int] | None, b: tuple[int, int] | None) -> float:
    if a is None or b is None:
        return float(a == b)
    both = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return 2 * both / (a[1] - a[0] + b[1] - b[0])
