"""Inception Score with a classifier of our own."""

from __future__ import annotations

import torch
from torch import Tensor

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._recogniser import recogniser
from bottega.judge._statistics import Z

__all__ = ["measure", "inception_score"]

needs: tuple[str, ...] = ("samples", "labels")
media: tuple[str, ...] = ("image",)

_RESAMPLES = 50


def inception_score(probs: Tensor) -> float:
    """``exp(E KL(p(y|x) || p(y)))`` of class probabilities ``(N, K)``; between 1 and K.

    Salimans et al. 2016, arXiv:1606.03498, section 4.

    >>> inception_score(torch.eye(4)), inception_score(torch.full((4, 4), 0.25))
    (4.0, 1.0)
    """
    probs = probs.double()
    marginal = probs.mean(0)
    return (torch.xlogy(probs, probs) - torch.xlogy(probs, marginal)).sum(1).mean().exp().item()


def _classes(probs: Tensor) -> Tensor:
    """``(N, K + 1) -> (N, K)``: what is none of the classes is spread over all of them, for it tells nothing."""
    return probs[:, :-1] + probs[:, -1:] / (probs.shape[1] - 1)


def measure(case: Case) -> list[Measure]:
    """The score of the samples; ``ceiling`` is that of real held-out examples. It cannot see copying or lost variety."""
    eye, rng = recogniser(case), case.rng("inception_score")
    made = _classes(eye.probs(case.samples))
    n = len(made)
    value = inception_score(made)
    again = torch.tensor([inception_score(made[rng.integers(n, n).cpu()]) for _ in range(_RESAMPLES)])
    half = Z * again.double().std().item()
    return [
        Measure(
            "inception_score",
            value,
            max(1.0, value - half),
            min(float(made.shape[1]), value + half),
            n=n,
            seed=case.seed,
            better="higher",
            ceiling=inception_score(_classes(eye.probs(case.held.x))),
            note=f"local classifier, right on {eye.accuracy:.1%} of {eye.held} held-out examples; "
            "not comparable with scores by the Inception network",
        )
    ]
