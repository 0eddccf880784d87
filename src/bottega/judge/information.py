"""Entropy, cross-entropy and KL divergence, and how far the samples' values are distributed from the real ones'."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from bottega.core import Measure, Rng
from bottega.judge._case import Case
from bottega.judge._distributions import Bernoulli, Multinomial, Normal, Poisson
from bottega.judge._features import words
from bottega.judge._statistics import Z

__all__ = [
    "measure",
    "Bernoulli",
    "Distribution",
    "Multinomial",
    "Normal",
    "Poisson",
    "cross_entropy",
    "entropy",
    "entropy_of_counts",
    "js",
    "kl",
    "kl_monte_carlo",
]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("text", "image")

_BINS, _RESAMPLES = 32, 20


class Distribution(Protocol):
    """What can be drawn from and scored."""

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Nats of each, ``(N,)``."""


def entropy(p: Tensor) -> Tensor:
    """``-sum p log p`` along the last axis, nats; 0 log 0 is 0.

    >>> round(entropy(torch.tensor([0.5, 0.25, 0.25])).item(), 4)  # 1.5 bits
    1.0397
    """
    return -torch.xlogy(p, p).sum(-1)


def cross_entropy(p: Tensor, q: Tensor) -> Tensor:
    """``-sum p log q`` along the last axis, nats; infinite where q forbids what p allows.

    >>> cross_entropy(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])).item()
    0.693...
    """
    return -torch.xlogy(p, q).sum(-1)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """``KL(p || q) = sum p log (p / q)`` along the last axis, nats; not symmetric, never negative.

    >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    >>> round(kl(p, q).item(), 4), round(kl(q, p).item(), 4)
    (0.5108, 0.3681)
    """
    return cross_entropy(p, q) - entropy(p)


def js(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence, nats: the mean KL of both to their mixture; from 0 to log 2 (Lin 1991)."""
    mixed = (p + q) / 2
    return (kl(p, mixed) + kl(q, mixed)) / 2


def kl_monte_carlo(p: Distribution, q: Distribution, n: int, rng: Rng) -> tuple[float, float]:
    """``E_p log p(x) - log q(x)`` from ``n`` draws, and its standard error; nats."""
    x = p.sample(n, rng)
    each = (p.log_prob(x) - q.log_prob(x)).double()
    return each.mean().item(), (each.std() / n**0.5).item()


def entropy_of_counts(counts: Tensor) -> float:
    """Entropy of a source from how often it said each symbol, ``(K,)``, nats.

    The plug-in estimate plus Miller and Madow's correction ``(K' - 1) / 2N`` (1955) for K' symbols seen in N draws.
    """
    total = counts.sum().double()
    return (entropy(counts.double() / total) + ((counts > 0).sum() - 1) / (2 * total)).item()


def _counts(case: Case, x: Tensor) -> Tensor:
    """How often each example holds each value: ``(N, ...) -> (N, K)``; tokens, or 32 bins of [-1, 1]."""
    if case.spec.is_tokens and not case.spec.ordinal:
        index, size = x.flatten(1).cpu(), case.spec.vocab
    else:
        level = (case.spec.as_real(x).flatten(1).cpu() + 1) / 2 * _BINS
        index, size = level.long().clamp(0, _BINS - 1), _BINS
    counts = torch.zeros(len(x), size + 1, dtype=torch.float64)
    real = index >= 0
    return counts.scatter_add_(1, index.masked_fill(~real, size), real.double())[:, :size]


def measure(case: Case) -> list[Measure]:
    """``value_entropy_nats`` of single tokens or pixels, and ``value_js_nats``: how far they are from the training ones'.

    ``ceiling`` is the same of held-out examples. Neither looks at how values stand together.
    """
    train, held, made = (_counts(case, words(case, which)) for which in ("train", "held", "samples"))
    real = train.sum(0) / train.sum()
    rng, n = case.rng("information"), len(made)

    def both(counts: Tensor) -> tuple[float, float]:
        total = counts.sum(0)
        return entropy_of_counts(total), js(total / total.sum(), real).item()

    value, best = both(made), both(held)
    again = torch.tensor([both(made[rng.integers(n, n).cpu()]) for _ in range(_RESAMPLES)])
    half = Z * again.double().std(0)
    what = "tokens" if case.spec.is_tokens and not case.spec.ordinal else f"pixel values in {_BINS} bins"
    notes = (f"entropy of single {what}", f"Jensen-Shannon divergence of single {what} from the training examples'")
    return [
        Measure(
            name,
            value[i],
            max(0.0, value[i] - half[i].item()),
            value[i] + half[i].item(),
            n=n,
            seed=case.seed,
            bound="estimate",
            better="lower" if i else "",
            ceiling=best[i],
            note=notes[i],
        )
        for i, name in enumerate(("value_entropy_nats", "value_js_nats"))
    ]
