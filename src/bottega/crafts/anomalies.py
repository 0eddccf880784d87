"""Which pieces are unlike what a run was trained on, at a chosen rate of false alarms, and where in a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, BottegaError, DataError, Encodes, Item, RecipeError, Rng, Scores, has
from bottega.crafts._rows import CHUNK, codes_of, decoded, held_items
from bottega.workshop.run import Run

__all__ = ["Detector", "Finding", "calibration_error", "detector", "heat_item", "p_values", "ranking", "threshold"]

_DRAWS = 16  # of a bound that is random
_USUAL = 10  # pieces that say, at the least, what error is usual


@dataclass(frozen=True)
class Finding:
    """What is said of one piece.

    Attributes:
        name: the piece.
        score: how unlike; nats, a squared error in units of the usual one, or the heat of the hottest place.
        doubt: standard error of the score where it rests on random draws, else 0.
        p: the share of ordinary pieces that score as high or higher, itself included; below the false-alarm rate it is one.
        anomaly: whether the score is above the threshold.
    """

    name: str
    score: float
    doubt: float
    p: float
    anomaly: bool


@dataclass
class Detector:
    """A run, and how ordinary pieces that it never saw score.

    The threshold is the conformal quantile of their scores (Vovk et al. 2005; Bates et al. 2023, arXiv:2104.08279,
    section 2): an ordinary piece exceeds it with probability at most ``false_alarms``, whatever the model is worth. A bad
    model finds fewer anomalies; it does not raise more alarms. The score must be settled before it meets those pieces: by
    ``"error"`` or ``"place"`` a part of them, half where they are enough, says what error is usual, and only the others the
    threshold.

    Args:
        run: whose model says what is usual.
        held: ordinary pieces that it never saw.
        false_alarms: the share of ordinary pieces that may be called anomalies.
        by: ``"likelihood"`` (minus ``log_prob``), ``"error"`` (squared error through the code and back, each coordinate in
            units of its usual error), ``"place"`` (pictures: the hottest place of ``heat``, for anomalies that are small and
            pictures that differ much), or ``"auto"``: the likelihood where the model gives one.

    Raises:
        BottegaError: the model can do neither.
        DataError: too few ordinary pieces for so low a rate.
        RecipeError: a rate that is none.
    """

    run: Run
    held: Sequence[Item]
    false_alarms: float = 0.05
    by: Literal["auto", "likelihood", "error", "place"] = "auto"
    scores: Tensor = field(init=False)

    def __post_init__(self) -> None:
        model, name = self.run.model, self.run.recipe.family["name"]
        if not 0 < self.false_alarms < 1:
            raise RecipeError(f"false_alarms is {self.false_alarms}; it is a share between 0 and 1, 0.05 say")
        codes = has(model, Encodes)
        can = {"likelihood": has(model, Scores), "error": codes, "place": codes and self.run.spec.is_image}
        if self.by == "auto":
            self.by = "likelihood" if can["likelihood"] else "error"
        if self.by not in can:
            raise RecipeError(f"by is {self.by!r}; use 'likelihood', 'error', 'place' or 'auto'")
        if not can[self.by]:
            what = {"likelihood": "no likelihood", "error": "no codes, so no error"}.get(self.by, "no places")
            raise BottegaError(f"a {name} has {what} to judge by; use a run of vae, autoencoder or flow")
        quantile = math.ceil(1 / self.false_alarms) - 1
        splits = self.by != "likelihood"
        least = quantile + (_USUAL if splits else 0)
        if len(self.held) < least:
            raise DataError(
                f"{len(self.held)} ordinary pieces are too few for a false-alarm rate of {self.false_alarms}: {least} are needed; "
                "give more data, or a higher rate"
            )
        batch = known = self._rows(self.held)
        if splits:  # conformal only where the scores' pieces had no part in what the score is
            order = Rng(0).permutation(len(batch))
            first = min(len(batch) // 2, len(batch) - quantile)
            known, batch = batch.take(order[:first]), batch.take(order[first:])
        if codes:
            error = self._error(known)
            self.usual = error.mean(0).clamp_min(1e-6)
            self.spread = (error / self.usual).std(0).clamp_min(1e-6)
        self.scores = self._score(batch)[0]
        self.threshold = threshold(self.scores, self.false_alarms)

    def _rows(self, items: Sequence[Item]) -> Batch:
        """Without what is known of each: a piece is asked whether it fits the data, not whether it fits its label."""
        rows = self.run.codec.encode([Item(item.value, None, item.name) for item in items])
        return Batch(rows.x, None, rows.mask)

    def _error(self, batch: Batch) -> Tensor:
        """Squared error of each coordinate through the code and back, ``(N, *spec.shape)``."""
        spec = self.run.spec
        back = decoded(self.run, codes_of(self.run, batch))
        return (spec.as_real(back) - spec.as_real(batch.x)).square()

    @torch.no_grad()
    def _score(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Score and its standard error, ``(N,)`` each."""
        if self.by != "likelihood":
            error = self._error(batch)
            each = self._heat(error) if self.by == "place" else error / self.usual
            score = each.flatten(1).amax(1) if self.by == "place" else each.flatten(1).mean(1)
            return score.double(), torch.zeros(len(score), dtype=torch.float64)
        model: Any = self.run.model.eval()
        draws = 1 if model.bound == "exact" else _DRAWS
        found = []
        for k in range(draws):
            rng = Rng(k, device=self.run.device)
            parts = batch.split(-(-len(batch) // CHUNK))
            found.append(-torch.cat([model.log_prob(part.to(self.run.device), rng).double().cpu() for part in parts]))
        each = torch.stack(found)
        doubt = each.std(0) / math.sqrt(draws) if draws > 1 else torch.zeros_like(each[0])
        return each.mean(0), doubt

    def look(self, items: Sequence[Item]) -> list[Finding]:
        """What is to be said of each piece."""
        score, doubt = self._score(self._rows(items))
        p = p_values(score, self.scores)
        rows = zip(items, score.tolist(), doubt.tolist(), p.tolist(), strict=True)
        return [
            Finding(item.name or f"piece {i}", s, d, q, s > self.threshold) for i, (item, s, d, q) in enumerate(rows)
        ]

    def heat(self, items: Sequence[Item]) -> Tensor:
        """Where pictures are unlike: ``(N, H, W)``, the error in standard deviations above the usual one at that place.

        Smoothed by a mean over a tenth of the shorter side, at least 3 x 3, since an anomaly is seldom a single pixel.

        Raises:
            BottegaError: not pictures, or a model without codes.
        """
        if not self.run.spec.is_image or not hasattr(self, "usual"):
            raise BottegaError(
                "a heat map needs pictures and a model with codes; use a run of vae or autoencoder on pictures"
            )
        return self._heat(self._error(self._rows(items)))

    def _heat(self, error: Tensor) -> Tensor:
        above = ((error / self.usual - 1) / self.spread).mean(1, keepdim=True)
        side = max(3, min(error.shape[2:]) // 10 | 1)
        return F.avg_pool2d(above, side, 1, side // 2, count_include_pad=False)[:, 0]

    def calibration(self) -> float:
        """How far the p-values of one half of the ordinary pieces, by the other half, are from uniform (see below)."""
        half = len(self.scores) // 2
        return calibration_error(p_values(self.scores[:half], self.scores[half:]))


def detector(run: Run, data: str | Path | None = None, *, most: int = 2000, **settings: Any) -> Detector:
    """A detector by the pieces that the run kept back; settings as of ``Detector``."""
    return Detector(run, held_items(run, data, most), **settings)


def threshold(scores: Tensor, false_alarms: float) -> float:
    """The ``ceil((n + 1)(1 - rate))``-th smallest of ``n`` ordinary scores.

    >>> threshold(torch.arange(1.0, 100.0), 0.05)
    95.0
    """
    n = len(scores)
    rank = math.ceil((n + 1) * (1 - false_alarms) - 1e-9)
    return scores.sort().values[min(rank, n) - 1].item()


def p_values(scores: Tensor, ordinary: Tensor) -> Tensor:
    """``(1 + how many ordinary scores are as high) / (n + 1)`` for each score: uniform if the piece is ordinary.

    >>> p_values(torch.tensor([0.5, 9.0]), torch.tensor([1.0, 2.0, 3.0])).tolist()
    [1.0, 0.25]
    """
    above = (ordinary[None] >= scores[:, None]).sum(1)
    return (1 + above).double() / (len(ordinary) + 1)


def calibration_error(p: Tensor, bins: int = 10) -> float:
    """Mean distance between how often p falls below each tenth and that tenth: 0 when p is uniform, as it should be.

    >>> [round(calibration_error(p), 3) for p in ((torch.arange(1000) + 0.5) / 1000, torch.ones(50))]
    [0.0, 0.45]
    """
    at = torch.arange(1, bins, dtype=p.dtype) / bins
    return ((p[:, None] <= at).double().mean(0) - at).abs().sum().item() / bins


def ranking(ordinary: Tensor, strange: Tensor) -> float:
    """Area under the ROC curve: how often a strange piece scores above an ordinary one (ties count half).

    >>> ranking(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))
    0.875
    """
    above = (strange[:, None] > ordinary).double() + 0.5 * (strange[:, None] == ordinary).double()
    return above.mean().item()


def heat_item(item: Item, heat: Tensor, most: float = 6.0) -> Item:
    """A picture with its heat laid over it in red: none below one standard deviation, all of it from ``most`` on."""
    value = np.asarray(item.value)[..., :3].astype(np.float32)
    grey = value.mean(-1, keepdims=True).repeat(3, -1)
    shown = F.interpolate(heat[None, None], grey.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    amount = ((shown - 1) / (most - 1)).clamp(0, 1).numpy()[..., None]
    red = np.array([214, 40, 20], np.float32)
    return Item((grey * (1 - amount) + red * amount).round().astype(np.uint8), item.cond, item.name)
