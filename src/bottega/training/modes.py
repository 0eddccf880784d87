"""Modes of real examples, and how samples fall on them: what the stability monitor sees of a generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, Rng, Spec

__all__ = ["Look", "Modes"]

_ROWS, _FEW, _SIDE, _AXES = 1024, 400, 8, 16
_FEWEST, _MOST = 4, 12  # how many clusters are tried where no classes say how many there are
_SHARE = 0.1  # a mode with less than this part of its fair share is missing


@dataclass(frozen=True)
class Look:
    """What was seen of some samples.

    Attributes:
        distance: energy distance to real examples (Székely & Rizzo 2013), ``2 E|x-y| - E|x-x'| - E|y-y'|``, divided by
            ``E|y-y'|`` of real ones: 0 for the same distribution, about 1 and more for another.
        spread: ``E|x-x'| / E|y-y'|``: 0 when all samples are one, 1 when they vary as real examples do.
        missing: modes with less than a tenth of their fair share.
    """

    distance: float
    spread: float
    missing: tuple[int, ...]


class Modes:
    """Clusters of real examples in a small space: pictures at 8 x 8, everything along its 16 main axes.

    As many clusters as there are classes, where ``cond`` is one; otherwise as many as have the best silhouette
    (Rousseeuw 1987), 4 to 12. k-means++ (Arthur & Vassilvitskii 2007) on up to 1024 rows, the silhouette on 400 of them.

    Args:
        spec: of the examples.
        real: training rows.

    Attributes:
        count: how many modes there are.
        shares: the share of real rows in each, ``(count,)``.
        typical: the real row nearest to each centre, ``count`` row numbers.
        classes: the class that most rows of each mode have, and their share; None where there are no classes.
    """

    def __init__(self, spec: Spec, real: Batch) -> None:
        real = real.take(slice(_ROWS))
        self.spec, self.real = spec, real
        raw = self._raw(real.x)
        self.mean = raw.mean(0)
        values, axes = torch.linalg.eigh((raw - self.mean).T @ (raw - self.mean) / len(raw))
        total = values.clamp_min(0).sum().sqrt().clamp_min(1e-12)
        self.axes = axes[:, -_AXES:] / total
        x = (raw - self.mean) @ self.axes
        self.scale = torch.cdist(x, x).mean().clamp_min(1e-12)
        self.points = x
        label, vocab = None, 0
        if spec.cond is not None and spec.cond.is_tokens and spec.cond.shape == () and real.cond is not None:
            label, vocab = real.cond.cpu(), spec.cond.vocab
        few = x[:_FEW]
        k = min(max(vocab, _FEWEST), 2 * _MOST) if vocab else max(
            (k for k in range(_FEWEST, _MOST + 1) if k < len(few)), key=lambda k: _silhouette(few, _clusters(few, k)), default=1
        )  # fmt: skip
        self.centres = _clusters(x, min(k, len(x)))
        mode = self._mode(x)
        self.count = len(self.centres)
        self.shares = mode.bincount(minlength=self.count) / len(x)
        self.typical = torch.cdist(self.centres, x).argmin(1).tolist()
        away = torch.cdist(x, self.centres).gather(1, mode[:, None])[:, 0]
        self.reach = torch.stack(
            [away[mode == i].max() if (mode == i).any() else away.max() for i in range(self.count)]
        )
        self.classes: list[tuple[int, float]] | None = None
        if label is not None:
            table = torch.zeros(self.count, vocab).index_put_((mode, label.clamp_min(0)), (label >= 0).float(), True)
            top = table.max(1)
            self.classes = list(
                zip(top.indices.tolist(), (top.values / table.sum(1).clamp_min(1)).tolist(), strict=True)
            )

    def look(self, x: Tensor) -> Look:
        """What samples ``(N, *spec.shape)`` are like; one that lies far from every mode counts for none."""
        raw = self._raw(x)
        if not torch.isfinite(raw).all():
            return Look(float("inf"), 0.0, tuple(range(self.count)))
        ours = (raw - self.mean) @ self.axes
        between, within = torch.cdist(ours, self.points).mean(), torch.cdist(ours, ours).mean()
        mode = self._mode(ours)
        near = torch.cdist(ours, self.centres).gather(1, mode[:, None])[:, 0] <= 2 * self.reach[mode]
        share = mode[near].bincount(minlength=self.count) / len(x)
        missing = ((share < _SHARE * self.shares) & (self.shares * len(x) >= 10)).nonzero()[:, 0]
        distance = (2 * between - within - self.scale) / self.scale
        return Look(distance.item(), (within / self.scale).item(), tuple(missing.tolist()))

    def _raw(self, x: Tensor) -> Tensor:
        """``(N, *spec.shape) -> (N, D)``, float64 on the CPU, so that every machine sees the same."""
        x = self.spec.as_real(x).detach().cpu().double()
        if self.spec.is_image:
            x = F.adaptive_avg_pool2d(x, (min(_SIDE, x.shape[2]), min(_SIDE, x.shape[3])))
        return x.flatten(1)

    def _mode(self, x: Tensor) -> Tensor:
        return torch.cdist(x, self.centres).argmin(1)


def _clusters(x: Tensor, k: int) -> Tensor:
    """Centres ``(k, D)`` of the best of three k-means."""
    best, lowest = x[:k], float("inf")
    for seed in range(3):
        rng = Rng(seed)
        centres = x[rng.integers(len(x), 1)]
        while len(centres) < k:
            gap = torch.cdist(x, centres).min(1).values.square().cumsum(0)
            at = int(torch.searchsorted(gap, rng.uniform(1).double() * gap[-1]).clamp_max(len(x) - 1))
            centres = torch.cat([centres, x[at : at + 1]])
        for _ in range(15):
            member = F.one_hot(torch.cdist(x, centres).argmin(1), k).to(x.dtype)
            size = member.sum(0)[:, None]
            centres = torch.where(size > 0, member.T @ x / size.clamp_min(1), centres)
        inertia = torch.cdist(x, centres).min(1).values.square().sum().item()
        if inertia < lowest:
            best, lowest = centres, inertia
    return best


def _silhouette(x: Tensor, centres: Tensor) -> float:
    """Mean over rows of ``(b - a) / max(a, b)``: ``a`` the mean distance within, ``b`` to the nearest other cluster."""
    mode, far = torch.cdist(x, centres).argmin(1), torch.cdist(x, x)
    one_hot = F.one_hot(mode, len(centres)).to(x.dtype)
    size = one_hot.sum(0)
    mean = (far @ one_hot) / size.clamp_min(1)
    own = (far @ one_hot).gather(1, mode[:, None])[:, 0] / (size[mode] - 1).clamp_min(1)
    other = mean.masked_fill((one_hot > 0) | (size == 0), float("inf")).min(1).values
    return ((other - own) / torch.maximum(own, other).clamp_min(1e-12)).mean().item()
