"""Does a model that says classes say the right ones? On held-out examples whose class is known."""

from __future__ import annotations

import torch

from bottega.core import Batch, Measure
from bottega.judge._case import Case
from bottega.judge._statistics import wilson

__all__ = ["measure"]

needs: tuple[str, ...] = ("model", "labels", "classifies")
media: tuple[str, ...] = ()


def measure(case: Case) -> list[Measure]:
    """``class_accuracy``: share of held-out examples called what they are; empty where none has a class."""
    if case.held.cond is None or not (known := case.held.cond >= 0).any():
        return []
    x, y = case.held.x[known], case.held.cond[known]
    said = torch.cat([case.model.classify(Batch(part)).argmax(1) for part in x.split(512)])  # type: ignore[union-attr, operator]
    right, n = (said == y).double().mean().item(), len(y)
    low, high = wilson(right, n)
    most = y.bincount().max().item() / n
    note = f"share of {n} held-out examples called what they are; always saying the commonest class would be right on {most:.0%}"
    return [Measure("class_accuracy", right, low, high, n=n, seed=case.seed, better="higher", note=note)]
