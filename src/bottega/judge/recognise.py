"""Would an independent classifier, trained on real examples only, recognise the samples?"""

from __future__ import annotations

import math

import torch
from scipy.stats import entropy
from torch import Tensor

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._recogniser import recogniser
from bottega.judge._statistics import wilson

__all__ = ["measure"]

needs: tuple[str, ...] = ("samples", "labels")
media: tuple[str, ...] = ()

_SURE = 0.9


def _sure(probs: Tensor) -> Tensor:
    """Which rows ``(N, classes + 1)`` are given one class with at least 90 %; "none of these" is no class."""
    return probs[:, :-1].max(1).values >= _SURE


def _spread(classes: Tensor, count: int) -> tuple[float, float, int]:
    """Entropy of the classes over that of the uniform, share of the rarest class, and how many are present."""
    seen = torch.bincount(classes, minlength=count).double()
    if seen.sum() == 0:
        return 0.0, 0.0, 0
    even = float(entropy(seen.numpy()) / math.log(count)) if count > 1 else 1.0
    return even, (seen.min() / seen.sum()).item(), int((seen > 0).sum())


def measure(case: Case) -> list[Measure]:
    """Recognised share, agreement with the class that was asked for, and how evenly the classes are present.

    ``ceiling`` is the same of real held-out examples; for agreement it is the classifier's own accuracy on them.
    A class is present when a sample is recognised as it with at least 90 %.
    """
    eye = recogniser(case)
    assert case.spec.cond is not None
    classes, made, n = case.spec.cond.vocab, eye.probs(case.samples), len(case.samples)
    held = eye.probs(case.held.x)
    told = f"the classifier is right on {eye.accuracy:.1%} of {eye.held} held-out examples"

    def share(name: str, value: float, of: int, ceiling: float, note: str) -> Measure:
        low, high = wilson(value, of)
        return Measure(
            name, value, low, high, n=of, seed=case.seed, better="higher", ceiling=ceiling, note=f"{note}; {told}"
        )

    out = [
        share(
            "recognised",
            _sure(made).double().mean().item(),
            n,
            _sure(held).double().mean().item(),
            f"share given one class with at least {_SURE:.0%}",
        )
    ]
    if case.sample_cond is not None:
        asked = case.sample_cond.cpu()
        known = asked >= 0
        if known.any():
            right = (made[known].argmax(1) == asked[known]).double().mean().item()
            out.append(
                share(
                    "class_agreement", right, int(known.sum()), eye.accuracy, "share recognised as what was asked for"
                )
            )
    even, rarest, present = _spread(made[_sure(made), :-1].argmax(1), classes)
    even_real, rarest_real, present_real = _spread(held[_sure(held), :-1].argmax(1), classes)
    note = f"over {int(_sure(made).sum())} recognised samples"
    for name, value, best in (
        ("class_evenness", even, even_real),
        ("rarest_class_share", rarest, rarest_real),
        ("classes_present", float(present), float(present_real)),
    ):
        extra = " (1: all equally often)" if name == "class_evenness" else f" of {classes} classes"
        out.append(
            Measure(
                name,
                value,
                n=n,
                seed=case.seed,
                better="higher",
                ceiling=best,
                note=f"{note}{extra}; no interval: a count, not a mean",
            )
        )
    return out
