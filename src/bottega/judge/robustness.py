"""How far samples move when their noise or their condition moves a little."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bottega.core import Measure, Rng
from bottega.judge._case import Case
from bottega.judge._features import about_features, features
from bottega.judge._statistics import ratio_interval

__all__ = ["measure", "Shaken"]

needs: tuple[str, ...] = ("model", "samples", "features")
media: tuple[str, ...] = ()

_ROWS = 64
SHARE = 0.1  # of other noise that is mixed in
WORST = 0.95


class Shaken(Rng):
    """The draws of one Rng with a little of another's: each is distributed as before and correlated with the first.

    Normal draws are ``sqrt(1 - share^2) z + share z'``; uniform ones are mixed so as normal draws and taken back, and so
    are choices, which are made of them. Whole numbers stay.

    Args:
        seeds: one for each row, of the draws themselves.
        others: one for each row, of what is mixed in.
        share: in [0, 1]; 0 is the first Rng, 1 the second.
        device: where drawn tensors land.

    >>> import torch
    >>> torch.equal(Shaken([1, 2], [3, 4], 0.0).normal(2, 3), Rng(1, 2).normal(2, 3))
    True
    """

    def __init__(
        self, seeds: Sequence[int], others: Sequence[int], share: float, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(*seeds, device=device, source="cpu")
        self.per_row = True
        self.other, self.share = Rng.for_rows(others, device), share

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws."""
        return math.sqrt(1 - self.share**2) * super().normal(*shape) + self.share * self.other.normal(*shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform draws in [0, 1)."""
        edge = 1e-12
        z, w = (
            torch.special.ndtri(u.double().clamp(edge, 1 - edge))
            for u in (super().uniform(*shape), self.other.uniform(*shape))
        )
        mixed = math.sqrt(1 - self.share**2) * z + self.share * w
        return torch.special.ndtr(mixed).float().clamp_max(1 - 2**-24)


def measure(case: Case) -> list[Measure]:
    """Ratios of what comes out to what goes in; 1 is a linear map, more reacts more strongly.

    ``noise_gain``: all draws of a sample are mixed with a tenth of others; how far it moves, as a part of how far samples
    of independent draws lie apart, over how far the draws moved as such a part. ``noise_gain_worst``: the same for the
    row that only 5 % exceed, a local Lipschitz constant in these units. ``condition_effect``: another condition under the
    same draws moves a sample so many times as far as other draws under the same condition; 0 is a condition that is not
    heard. ``condition_gain``, where the condition is made of real numbers: a tenth of the way to another condition, as for
    noise. Distances are in the feature space of the judges. Families whose samples do not depend on draws have no gain.
    """
    model, cond = case.model, case.sample_cond
    assert model is not None
    n, knobs, training = min(_ROWS, len(case.samples)), case.facts.get("knobs", {}), model.training
    cond = None if cond is None else cond[:n].to(case.device)
    first = case.seed + 7_000_000
    seeds, others = range(first, first + n), range(first + n, first + 2 * n)
    model.eval()

    def made(rng: Rng, cond: Tensor | None) -> Tensor:
        return features(case, model.sample(n, rng, cond, **knobs))

    plain = made(Shaken(seeds, others, 0.0, case.device), cond)

    def moved(rng: Rng, cond: Tensor | None) -> Tensor:
        return (made(rng, cond) - plain).square().sum(1)

    about = about_features(case)
    apart = moved(Shaken(seeds, others, 1.0, case.device), cond)
    if not (apart > 0).any():
        model.train(training)
        return []
    out = []

    def told(name: str, far: Tensor, scale: float, near: Tensor, note: str) -> None:
        value, low, high = (math.sqrt(max(v, 0.0)) / scale for v in ratio_interval(far, near))
        note = f"{note}; {n} samples, {about}"
        out.append(Measure(name, value, low, high, n=n, seed=case.seed, features=about, note=note))

    shaken = moved(Shaken(seeds, others, SHARE, case.device), cond)
    step = math.sqrt(1 - math.sqrt(1 - SHARE**2))  # as a part of the distance of independent draws
    told(
        "noise_gain",
        shaken,
        step,
        apart,
        f"a tenth of other noise moves a sample so far against a linear map ({SHARE:g})",
    )
    each = (shaken / apart.mean()).sqrt() / step
    out.append(
        Measure(
            "noise_gain_worst", torch.quantile(each, WORST).item(), n=n, seed=case.seed, features=about,
            note=f"noise_gain of the sample that only 5 % exceed, no interval; {about}",
        )
    )  # fmt: skip
    if cond is not None and case.spec.cond is not None:
        label = case.spec.cond.is_tokens and not case.spec.cond.shape
        other = torch.where(cond >= 0, (cond + 1) % case.spec.cond.vocab, cond) if label else cond.roll(1, 0)
        swapped = moved(Shaken(seeds, others, 0.0, case.device), other)
        told(
            "condition_effect",
            swapped,
            1.0,
            apart,
            "another condition moves a sample so many times as far as other noise",
        )
        if not case.spec.cond.is_tokens and (swapped > 0).any():
            near = moved(Shaken(seeds, others, 0.0, case.device), cond + SHARE * (other - cond))
            told(
                "condition_gain", near, SHARE, swapped, "a tenth of the way to another condition, against a linear map"
            )
    model.train(training)
    return out
