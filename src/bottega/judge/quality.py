"""How natural single pictures look beside real ones, with no picture to compare each to."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._statistics import auc, wilson

__all__ = ["measure", "Naturalness", "bands", "statistics"]

needs: tuple[str, ...] = ("samples", "features")
media: tuple[str, ...] = ("image",)

LEAST = 16  # pixels of a side: fewer have no statistics to speak of
_EDGE = 0.05  # of held-out real pictures count as unnatural
_MOST = 2000


@lru_cache
def _shapes() -> tuple[Tensor, Tensor]:
    """Shapes of a generalised Gaussian from 0.2 to 10, and ``Gamma(2/a)^2 / (Gamma(1/a) Gamma(3/a))`` of each, rising."""
    a = torch.arange(0.2, 10.001, 0.001, dtype=torch.float64)
    log = 2 * torch.lgamma(2 / a) - torch.lgamma(1 / a) - torch.lgamma(3 / a)
    return a, log.exp()


def _shape_of(ratio: Tensor) -> Tensor:
    shapes, ratios = _shapes()
    return shapes[
        torch.searchsorted(ratios, ratio.clamp(ratios[0].item(), ratios[-1].item())).clamp_max(len(shapes) - 1)
    ]


def _sided(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right spread of an asymmetric generalised Gaussian, by moments: ``(N, D) -> (N,)`` each.

    Lasmar et al. 2009, as Mittal et al. 2012, IEEE TIP 21(12), section III use it.
    """
    left, right = (x < 0).double(), (x > 0).double()
    low = ((x * left).square().sum(1) / left.sum(1).clamp_min(1)).sqrt().clamp_min(1e-6)
    high = ((x * right).square().sum(1) / right.sum(1).clamp_min(1)).sqrt().clamp_min(1e-6)
    g = low / high
    r = x.abs().mean(1).square() / x.square().mean(1).clamp_min(1e-12)
    return _shape_of(r * (g**3 + 1) * (g + 1) / (g**2 + 1).square()), low, high


def statistics(x: Tensor) -> Tensor:
    """Statistics of natural scenes: pictures ``(N, C, H, W)`` in [-1, 1] to ``(N, 38)``.

    Mittal et al. 2013, "Making a completely blind image quality analyzer" (NIQE): brightness less its local mean, divided
    by its local deviation, is nearly Gaussian in photographs, and its products with neighbours are not; noise, blur and
    blocks change the shape and spread of both. At two scales of the whole picture, and the contrast of each.
    """
    grey = _grey(x)
    place = torch.arange(7, dtype=torch.float64, device=x.device) - 3
    line = torch.exp(-(place**2) / (2 * (7 / 6) ** 2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]
    out = []
    for scale in (1, 2):
        if scale == 2:
            grey = F.avg_pool2d(grey, 2)
        wide = F.pad(grey, (3, 3, 3, 3), "replicate")
        mean = F.conv2d(wide, window)
        deviation = (F.conv2d(wide.square(), window) - mean.square()).clamp_min(0).sqrt()
        m = (grey - mean) / (deviation + 1)
        shape, low, high = _sided(m.flatten(1))
        out += [shape, (low + high) / 2, deviation.mean((1, 2, 3)).log1p()]
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            a = m[:, :, : m.shape[2] - dy, max(0, -dx) : m.shape[3] - max(0, dx)]
            b = m[:, :, dy:, max(0, dx) : m.shape[3] - max(0, -dx)]
            shape, low, high = _sided((a * b).flatten(1))
            middle = (high - low) * torch.exp(
                torch.lgamma(2 / shape) - 0.5 * torch.lgamma(1 / shape) - 0.5 * torch.lgamma(3 / shape)
            )
            out += [shape, middle, low.log(), high.log()]
    return torch.stack(out, 1)


def bands(x: Tensor) -> Tensor:
    """How strong the detail of pictures ``(N, C, H, W)`` in [-1, 1] is at four scales, ``(N, 4)``, logarithms.

    In photographs it falls with scale in much the same way (Field 1987); noise has more of the finest, blur less.
    """
    y, out = _grey(x), []
    for _ in range(3):
        small = F.avg_pool2d(y, 2)
        rest = y[:, :, : 2 * small.shape[2], : 2 * small.shape[3]] - small.repeat_interleave(2, 2).repeat_interleave(
            2, 3
        )
        out.append(rest.square().mean((1, 2, 3)).sqrt())
        y = small
    out.append(y.flatten(1).std(1))
    return (torch.stack(out, 1) + 0.5).log()


def _grey(x: Tensor) -> Tensor:
    """Brightness from 0 to 255, ``(N, 1, H, W)`` float64."""
    weights = x.new_tensor([0.299, 0.587, 0.114]) if x.shape[1] >= 3 else x.new_ones(1)
    return ((x[:, : len(weights)] + 1) * 127.5 * weights.view(1, -1, 1, 1)).sum(1, keepdim=True).double()


class Naturalness:
    """A Gaussian of the statistics of real pictures; how far a picture lies from it is how unnatural it looks.

    Three views: the statistics of scenes as they are, where what lies far out is seen; the same bent (asinh), where flat
    skies and deep forests, which also lie far out, no longer hide an odd mixture; and how strong the detail is at each
    scale, where noise and blur break the law of photographs. Each distance is divided by the one that 5 % of the real
    pictures exceed, and the largest counts.

    Args:
        real: pictures ``(N, C, H, W)`` in [-1, 1] that are as they should be.

    >>> from bottega.core import Rng
    >>> real = F.avg_pool2d(Rng(0).uniform(80, 1, 36, 36) * 2 - 1, 5, 1)
    >>> natural = Naturalness(real[:60])
    >>> noisy = (real[60:] + 0.3 * Rng(1).normal(20, 1, 32, 32)).clamp(-1, 1)
    >>> bool(natural.distance(noisy).min() > natural.distance(real[60:]).max())
    True
    """

    def __init__(self, real: Tensor) -> None:
        self.views = [_View(_of(real, statistics)), _View(_of(real, statistics), bent=True), _View(_of(real, bands))]

    def distance(self, x: Tensor) -> Tensor:
        """How unnatural each picture looks, ``(N, C, H, W) -> (N,)`` float64; most real ones lie below 1."""
        fine, coarse = _of(x, statistics), _of(x, bands)
        return torch.stack([view(seen) for view, seen in zip(self.views, (fine, fine, coarse), strict=True)]).amax(0)


class _View:
    """A Gaussian of some statistics ``(N, D)`` of real pictures; distances in units of what 5 % of them exceed."""

    def __init__(self, seen: Tensor, bent: bool = False) -> None:
        self.bent = bent
        self.middle = seen.median(0).values
        spread = torch.quantile(seen, 0.9, 0) - torch.quantile(seen, 0.1, 0)
        self.scale = (spread / 2.563).clamp_min(1e-3)  # of a normal, 2.563 standard deviations lie between these
        z = self._z(seen)
        self.mean = z.mean(0)
        away = z - self.mean
        cov = away.T @ away / len(z)
        trust = len(z) / (len(z) + 2 * z.shape[1])  # few pictures say little of how statistics go together
        own = (1 - trust) * cov.diag().diag() + 1e-3 * torch.eye(z.shape[1], dtype=z.dtype)
        self.precision, self.edge = torch.linalg.inv(trust * cov + own), torch.ones((), dtype=z.dtype)
        self.edge = torch.quantile(self(seen), 1 - _EDGE)

    def _z(self, seen: Tensor) -> Tensor:
        z = (seen - self.middle) / self.scale
        return torch.asinh(z) if self.bent else z

    def __call__(self, seen: Tensor) -> Tensor:
        away = self._z(seen) - self.mean
        return torch.einsum("nd,de,ne->n", away, self.precision, away).clamp_min(0).sqrt() / self.edge


def _of(x: Tensor, what: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([what(part.cpu()) for part in x.split(256)])


def measure(case: Case) -> list[Measure]:
    """``natural_share``: samples no less natural than all but 5 % of held-out pictures are; real pictures have 0.95.

    ``real_fake_margin``: the chance that a sample looks less natural than a held-out picture; 0.5 when they cannot be told
    apart so, 1 when all samples are worse, and below 0.5 when they are blander than the real ones. Nothing for pictures
    smaller than 16 pixels a side, nor for codes of pictures, which have no brightness.
    """
    if case.facts.get("coded") or not case.spec.is_image or min(case.spec.shape[1:]) < LEAST:
        return []
    real = {
        name: case.spec.as_real(x)
        for name, x in (("train", case.train.x), ("held", case.held.x), ("made", case.samples))
    }
    natural = Naturalness(real["train"][:_MOST])
    held, made = natural.distance(real["held"][:_MOST]), natural.distance(real["made"][:_MOST])
    edge = torch.quantile(held, 1 - _EDGE)
    share = (made <= edge).double().mean().item()
    low, high = wilson(share, len(made) * len(held) / (len(made) + len(held)))  # the edge is uncertain, too
    margin, margin_low, margin_high = auc(made, held)
    note = f"scene statistics (NIQE) of {len(made)} samples beside {len(held)} held-out pictures, fitted on training pictures"
    n, seed = len(made), case.seed
    return [
        Measure("natural_share", share, low, high, n=n, seed=seed, better="higher", ceiling=1 - _EDGE, note=note),
        Measure(
            "real_fake_margin", margin, margin_low, margin_high, n=n, seed=seed, better="lower", ceiling=0.5, note=note
        ),
    ]
