"""Fréchet distance between real and generated examples in feature space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._features import about_features, features_of
from bottega.judge._statistics import Z, draw

__all__ = ["measure", "frechet", "moments", "sqrt_psd"]

needs: tuple[str, ...] = ("samples", "features")
media: tuple[str, ...] = ()

_RESAMPLES = 20


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and unbiased covariance ``(D, D)`` of rows ``(N, D)``, float64."""
    x = x.double()
    mean = x.mean(0)
    return mean, (x - mean).T @ (x - mean) / (len(x) - 1)


def sqrt_psd(matrix: Tensor) -> Tensor:
    """The symmetric square root of a symmetric positive semi-definite matrix ``(D, D)``."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def frechet(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor, root_a: Tensor | None = None) -> float:
    """``|m_a - m_b|² + tr(C_a + C_b - 2 (C_a^½ C_b C_a^½)^½)`` between two Gaussians.

    Dowson and Landau 1982; as a measure of generators Heusel et al. 2017, arXiv:1706.08500, equation 6. The trace of
    the root is the sum of the roots of a symmetric matrix's eigenvalues, so nothing complex can appear.

    >>> one, two = torch.eye(3), 4 * torch.eye(3)
    >>> frechet(torch.zeros(3), one, torch.ones(3), two)  # 3 for the means, 3 * (2 - 1)² for the covariances
    6.0
    """
    a, b = cov_a.double(), cov_b.double()
    root = sqrt_psd(a) if root_a is None else root_a
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp_min(0).sqrt().sum()
    gap = (mean_a.double() - mean_b.double()).square().sum()
    return (gap + a.trace() + b.trace() - 2 * cross).item()


def measure(case: Case) -> list[Measure]:
    """Distance of samples to the training examples; ``ceiling`` is that of as many real held-out examples.

    Fréchet distance grows as fewer examples are used (Chong and Forsyth 2020, arXiv:1911.07023), so samples and
    held-out examples are compared at the same number; more samples are used in parts of that size and averaged.
    """
    train, held, made = (features_of(case, which) for which in ("train", "held", "samples"))
    n = min(len(held), len(made))
    rng = case.rng("frechet")
    mean, cov = moments(train)
    root = sqrt_psd(cov)

    def distance(x: Tensor) -> float:
        return frechet(mean, cov, *moments(x), root)

    made = made[rng.permutation(len(made)).cpu()]
    parts = [made[i : i + n] for i in range(0, len(made) - n + 1, n)][:10]
    value = sum(map(distance, parts)) / len(parts)
    ceiling = distance(draw(held, n, rng.permutation(len(held))))
    again = torch.tensor([distance(parts[0][rng.integers(n, n).cpu()]) for _ in range(_RESAMPLES)])
    half = Z * again.double().std().item() / math.sqrt(len(parts))
    return [
        Measure(
            "frechet_distance",
            value,
            max(0.0, value - half),
            value + half,
            n=n * len(parts),
            seed=case.seed,
            better="lower",
            ceiling=ceiling,
            features=about_features(case),
            note=f"{about_features(case)}, {n} examples at a time against {len(train)} training examples; "
            "comparable only between runs on the same data at the same number",
        )
    ]
