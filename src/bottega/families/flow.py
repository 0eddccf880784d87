"""Normalising flows: an invertible map from examples to standard normal numbers, so that densities are exact."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.coupling import Chain, Coupling, Scale, squeeze, unsqueeze

__all__ = ["Flow"]

Kind = Literal["nice", "realnvp", "glow", "spline"]

_MOST = 4096  # numbers of a vector that a matrix mixes
_EDGE = 0.05  # how far levels stay from 0 and 1 before the logit (arXiv:1605.08803, section 4.1)


class Flow(Family):
    """Change of variables: ``log p(x) = log N(f(x); 0, I) + log |det df/dx|``, with ``f`` a chain of coupling layers.

    ``"nice"`` (Dinh et al. 2014, arXiv:1410.8516) adds, and scales once at the end. ``"realnvp"`` (Dinh et al. 2016,
    arXiv:1605.08803) scales and adds, over checkerboards and channel halves in turn. ``"glow"`` (Kingma & Dhariwal 2018,
    arXiv:1807.03039) mixes all coordinates or channels by a learned invertible matrix between couplings. ``"spline"``
    (Durkan et al. 2019, arXiv:1906.04032) is Glow with rational-quadratic splines for the affine maps.

    Pictures whose sides are even are squeezed, 2 x 2 pixels to 4 channels, up to three times; except in NICE, half the
    channels leave before each next squeeze, as normal numbers whose mean and scale the other half says (multi-scale).
    Pictures with an odd side, and everything else, are treated as vectors.

    Ordered levels are made continuous by uniform noise and a logit, so ``log_prob`` is a lower bound on the log
    probability of the levels (Theis et al. 2015, arXiv:1511.01844, section 3.1). Real numbers have an exact density.

    Args:
        spec: real numbers or ordered levels, at least two of them.
        kind: ``"nice"``, ``"realnvp"``, ``"glow"`` or ``"spline"``.
        size: a quarter of the width of the conditioners' two hidden layers.
        layers: coupling layers (at each scale of a picture).
        drop: how often a row is trained without its condition, so that ``cond=None`` works, in [0, 1).
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {k: {"kind": k} for k in ("nice", "realnvp", "glow")}

    def __init__(
        self, spec: Spec, *, kind: Kind = "spline", size: int = 32, layers: int = 8, drop: float = 0.1
    ) -> None:
        super().__init__(spec)
        if kind not in {"nice", "realnvp", "glow", "spline"}:
            raise RecipeError(f"family.kind is {kind!r}; use 'nice', 'realnvp', 'glow' or 'spline'")
        if size < 1 or layers < 1:
            raise RecipeError(f"family.size is {size} and family.layers {layers}; both must be at least 1")
        check_drop(drop)
        self.bound: Bound = "lower" if spec.is_tokens else "exact"
        self.latent, self.drop = Spec((spec.dims,), cond=spec.cond), drop
        context = size if spec.cond else 0
        self.given = Condition(spec.cond, size)
        shapes = _scales(spec.shape)
        self.picture = bool(shapes)
        self.scales, self.splits = nn.ModuleList(), nn.ModuleList()
        self.shapes: list[tuple[int, ...]] = []  # of what enters the layers of each scale
        channels, mix = spec.shape[0] if self.picture else spec.dims, kind in {"glow", "spline"}
        width = 4 * size
        if not self.picture and mix and channels > _MOST:
            raise RecipeError(
                f"family.kind {kind!r} would mix {channels} numbers by matrices of {channels} x {channels}; "
                "use pictures with even sides (codec.size), or kind 'realnvp'"
            )
        transform: Any = {"nice": "additive", "spline": "spline"}.get(kind, "affine")
        for i, (height, wide) in enumerate(shapes or [(0, 0)]):
            channels *= 4 if self.picture else 1
            self.shapes.append((channels, height, wide) if self.picture else (channels,))
            stays = [_stays(channels, layer, self.picture, mix) for layer in range(layers)]
            self.scales.append(Chain(self.shapes[-1], stays, transform, width, mix=mix, context=context))
            if i + 1 < len(shapes) and kind != "nice":
                half = channels // 2  # the lower half leaves; its mean and scale are the upper half's to say
                self.splits.append(Coupling(half, channels - half, "affine", width, context=context))
                channels = half
        self.scale = Scale(self.shapes[-1]) if kind == "nice" else None

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Real numbers and ordered levels, two or more."""
        if spec.is_tokens and not spec.ordinal:
            return "its tokens are names and have no density; use gpt, or diffusion for table rows"
        if any(block.kind != "scalar" for block in spec.blocks):
            return "one-hot columns have no density; use vae, diffusion or gpt for tables with categories"
        if spec.dims < 2:
            return "a coupling needs two coordinates or more; use diffusion for a single number"
        return no_picture(spec)

    def _known(self, cond: Tensor | None, n: int, drop: Tensor | None = None) -> Tensor | None:
        return self.given(cond, n, drop) if self.spec.cond else None

    def _forward(self, x: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """Real examples ``(B, *shape)`` -> base points ``(B, dims)`` and ``log |det dz/dx|``."""
        gains, done = [], []
        x = x if self.picture else x.flatten(1)
        for i, chain in enumerate(self.scales):
            x = squeeze(x).contiguous(memory_format=torch.channels_last) if self.picture else x
            x, gain = chain(x, h)
            gains.append(gain)
            if i < len(self.splits):
                x, gain = self.splits[i](x, h)
                gains.append(gain)
                out, x = x.chunk(2, 1)
                done.append(out.flatten(1))
        if self.scale is not None:
            x, gain = self.scale(x)
            gains.append(gain)
        return torch.cat([*done, x.flatten(1)], 1), torch.stack(gains).sum(0)

    def _inverse(self, z: Tensor, h: Tensor | None) -> Tensor:
        """Base points ``(B, dims)`` -> real examples ``(B, *shape)``."""
        sizes = [math.prod(shape) // 2 for shape in self.shapes[: len(self.splits)]]
        *done, x = z.split([*sizes, z.shape[1] - sum(sizes)], 1)
        x = x.reshape(-1, *self.shapes[-1])
        if self.scale is not None:
            x = self.scale.inverse(x)
        for i in reversed(range(len(self.scales))):
            if i < len(self.splits):
                x = self.splits[i].inverse(torch.cat([done[i].view_as(x), x], 1), h)
            x = self.scales[i].inverse(x, h)
            x = unsqueeze(x) if self.picture else x
        return x.reshape(-1, *self.spec.shape)

    def _smooth(self, x: Tensor, noise: Tensor | float) -> tuple[Tensor, Tensor]:
        """Levels and noise in [0, 1) -> real numbers and the log-determinant; real examples as they are."""
        if not self.spec.is_tokens:
            return x, x.new_zeros(len(x))
        y = _EDGE + (1 - 2 * _EDGE) * (x + noise) / self.spec.vocab
        slope = math.log((1 - 2 * _EDGE) / self.spec.vocab) - y.log() - (-y).log1p()
        return torch.logit(y), slope.flatten(1).sum(1)

    def _log_prob(self, x: Tensor, h: Tensor | None, rng: Rng) -> Tensor:
        x, stretch = self._smooth(x, rng.uniform(*x.shape) if self.spec.is_tokens else 0.0)
        z, gain = self._forward(x, h)
        return gain + stretch - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """Log density of real examples (exact), or a lower bound on the log probability of levels; ``(B,)`` nats."""
        return self._log_prob(batch.x, self._known(batch.cond, len(batch)), rng)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Negative log density in nats."""
        drop = rng.uniform(len(batch)) < self.drop if self.spec.cond else None
        return Terms({"nll": -self._log_prob(batch.x, self._known(batch.cond, len(batch), drop), rng)})

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """New examples ``(n, *spec.shape)``; base points are drawn with standard deviation ``temperature``."""
        return self.decode(temperature * rng.normal(n, self.spec.dims), cond)

    def encode(self, batch: Batch) -> Tensor:
        """Base points ``(B, dims)``, standard normal where the flow fits; levels are taken at the middle of their cell."""
        return self._forward(self._smooth(batch.x, 0.5)[0], self._known(batch.cond, len(batch)))[0]

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The inverse of ``encode``: ``(B, dims) -> (B, *spec.shape)``."""
        x = self._inverse(z, self._known(cond, len(z)))
        if not self.spec.is_tokens:
            return x
        v = (torch.sigmoid(x) - _EDGE) * (self.spec.vocab / (1 - 2 * _EDGE))
        return v.floor().clamp(0, self.spec.vocab - 1).long()


def _scales(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width after each squeeze: up to three, while both sides are even and 4 or more; none for vectors."""
    if len(shape) != 3:
        return []
    height, width = shape[1:]
    out: list[tuple[int, int]] = []
    while len(out) < 3 and height % 2 == 0 and width % 2 == 0 and min(height, width) >= 4:
        height, width = height // 2, width // 2
        out.append((height, width))
    return out


def _stays(channels: int, layer: int, picture: bool, mix: bool) -> Tensor:
    """Which coordinates or channels a coupling leaves as they are: as many every time, by turns where nothing mixes them.

    Channels of a squeezed picture come as patches of four, so ``{0, 3}`` against ``{1, 2}`` is the checkerboard.
    """
    index = torch.arange(channels)
    if mix:
        return index < (channels + 1) // 2
    if not picture:
        even = index % 2 == 0
        if layer % 2 == 0:
            return even
        return ~even | (index == layer // 2 * 2 % (channels + 1)) if channels % 2 else ~even
    stays = (index % 4 == 0) | (index % 4 == 3) if layer // 2 % 2 == 0 else index < channels // 2
    return stays if layer % 2 == 0 else ~stays
