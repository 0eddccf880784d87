"""Are samples like real examples, and are all real examples matched? Nearest-neighbour precision and recall."""

from __future__ import annotations

import torch
from torch import Tensor

from bottega.core import Measure, mean_interval
from bottega.judge._case import Case
from bottega.judge._features import about_features, features_of
from bottega.judge._statistics import draw, nearest, wilson

__all__ = ["measure", "prdc"]

needs: tuple[str, ...] = ("samples", "features")
media: tuple[str, ...] = ()

_REFERENCE = 2000


def prdc(real: Tensor, made: Tensor, k: int = 3, k_density: int = 5) -> dict[str, Tensor]:
    """Precision, recall, density and coverage, each as one number per example (their means are the measures).

    A ball around each example reaches to its k-th nearest neighbour among its own kind. Precision: a sample lies in
    some real ball; recall: a real example lies in some sample's ball (Kynkäänniemi et al. 2019, arXiv:1904.06991,
    equations 1 and 2). Density: in how many real balls a sample lies, over k; coverage: a real ball holds a sample
    (Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4); its authors choose k = 5.

    Args:
        real: features of real examples, ``(R, D)``, R > k.
        made: features of samples, ``(N, D)``, N > k.
        k: of precision and recall.
        k_density: of density and coverage.

    Returns:
        ``precision`` and ``density`` ``(N,)``, ``recall`` and ``coverage`` ``(R,)``.
    """
    real, made = real.double(), made.double()
    most = min(max(k, k_density), len(real) - 1)
    reach = nearest(real, real, most, skip_self=True)
    real_k, real_d = reach[:, min(k, most) - 1], reach[:, min(k_density, most) - 1]
    made_k = nearest(made, made, min(k, len(made) - 1), skip_self=True)[:, -1]
    gap = torch.cdist(made, real)
    return {
        "precision": (gap <= real_k).any(1).double(),
        "recall": (gap <= made_k[:, None]).any(0).double(),
        "density": (gap <= real_d).double().sum(1) / min(k_density, most),
        "coverage": (gap.min(0).values <= real_d).double(),
    }


_NOTES = {
    "precision": "share of samples as near to real examples as real examples are to each other",
    "recall": "share of real examples that samples come as near to as samples come to each other",
    "density": "how densely real examples stand around samples; not bounded by one",
    "coverage": "share of real examples with a sample in their neighbourhood",
}


def measure(case: Case) -> list[Measure]:
    """The four numbers against training examples; ``ceiling`` is as many real held-out examples in the samples' place."""
    rng = case.rng("precision_recall")
    train, held, made = (features_of(case, which) for which in ("train", "held", "samples"))
    real = draw(train, _REFERENCE, rng.permutation(len(train)))
    n = min(len(held), len(made), _REFERENCE)
    found = prdc(real, draw(made, n, rng.permutation(len(made))))
    best = prdc(real, draw(held, n, rng.permutation(len(held))))
    out = []
    for name, each in found.items():
        mean, low, high = mean_interval(each)
        if name != "density":
            low, high = wilson(mean, len(each))
        out.append(
            Measure(
                name,
                mean,
                low,
                high,
                n=n,
                seed=case.seed,
                better="higher",
                ceiling=best[name].mean().item(),
                features=about_features(case),
                note=f"{_NOTES[name]}; {n} samples against {len(real)} training examples; {about_features(case)}",
            )
        )
    return out
