"""Invertible layers of normalising flows. Each maps ``x -> (z, log |det dz/dx|)`` and has an exact ``inverse``.

Axis 1 is the one that layers split and mix: coordinates ``(B, D)`` or channels ``(B, C, H, W)``. Log-determinants are
``(B,)``, in nats, float32 also under bfloat16 autocast.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.nets.conv import ResBlock
from bottega.nets.mlp import MLP

__all__ = ["ActNorm", "Coupling", "Mix", "Scale", "rational_quadratic_spline", "squeeze", "unsqueeze"]

Transform = Literal["additive", "affine", "spline"]

BINS, BOUND = 8, 3.0  # of splines; the identity outside [-BOUND, BOUND]
_LEAST = 1e-3  # width, height and slope of a bin


def squeeze(x: Tensor) -> Tensor:
    """Each 2 x 2 patch becomes channels: ``(B, C, H, W) -> (B, 4 C, H / 2, W / 2)``."""
    return F.pixel_unshuffle(x, 2)


def unsqueeze(z: Tensor) -> Tensor:
    """The inverse of ``squeeze``."""
    return F.pixel_shuffle(z, 2)


def rational_quadratic_spline(x: Tensor, raw: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """A monotone map of each number, the identity outside [-3, 3] (Durkan et al. 2019, arXiv:1906.04032, section 3.1).

    Args:
        x: numbers, any shape.
        raw: ``(*x.shape, 3 K - 1)``: unnormalised widths and heights of K bins, slopes at the K - 1 inner knots. Zeros
            are the identity.
        inverse: map back.

    Returns:
        The mapped numbers and the logarithm of the derivative of the map, both shaped as ``x``.
    """
    bins = (raw.shape[-1] + 1) // 3
    widths, heights, slopes = raw.split([bins, bins, bins - 1], -1)

    def knots(raw: Tensor) -> Tensor:
        parts = _LEAST + (1 - _LEAST * bins) * torch.softmax(raw, -1)
        inner = 2 * BOUND * parts.cumsum(-1)[..., :-1] - BOUND
        ends = inner.new_full((*inner.shape[:-1], 1), BOUND)
        return torch.cat([-ends, inner, ends], -1)

    slopes = _LEAST + F.softplus(slopes + math.log(math.expm1(1 - _LEAST)))
    slopes = F.pad(slopes, (1, 1), value=1.0)
    at_x, at_y = knots(widths), knots(heights)
    inside = (x > -BOUND) & (x < BOUND)
    held = torch.where(inside, x, 0.0)
    index = (held[..., None] >= (at_y if inverse else at_x)[..., 1:-1]).sum(-1, keepdim=True)

    def pick(values: Tensor, shift: int = 0) -> Tensor:
        return values.gather(-1, index + shift)[..., 0]

    x0, y0 = pick(at_x), pick(at_y)
    width, height = pick(at_x, 1) - x0, pick(at_y, 1) - y0
    d0, d1, s = pick(slopes), pick(slopes, 1), height / width
    bend = d0 + d1 - 2 * s
    if inverse:  # the root of eq. 6-8 that lies in [0, 1], in the form that does not cancel
        rise = held - y0
        a, b, c = height * (s - d0) + rise * bend, height * d0 - rise * bend, -s * rise
        xi = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
        out = x0 + xi * width
    else:
        xi = (held - x0) / width
    across = xi * (1 - xi)
    floor = s + bend * across
    if not inverse:
        out = y0 + height * (s * xi.square() + d0 * across) / floor  # eq. 4
    slope = s.square() * (d1 * xi.square() + 2 * s * across + d0 * (1 - xi).square()) / floor.square()  # eq. 5
    log_slope = slope.log()
    return torch.where(inside, out, x), torch.where(inside, -log_slope if inverse else log_slope, 0.0)


class _Planes(nn.Module):
    """Conditioner of a picture: channels and what is known to channels, ``(B, C, H, W), (B, context) -> (B, outputs, H, W)``."""

    def __init__(self, inputs: int, outputs: int, width: int, context: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.block = ResBlock(width, context)
        self.last = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        return self.last(F.silu(self.block(self.first(x), h)))


class _Vector(nn.Module):
    """Conditioner of coordinates: ``(B, D), (B, context) -> (B, outputs)``."""

    def __init__(self, inputs: int, outputs: int, width: int, context: int) -> None:
        super().__init__()
        self.net = MLP(inputs + context, outputs, (4 * width, 4 * width), zero=True)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        return self.net(x if h is None else torch.cat([x, h], 1))


class Coupling(nn.Module):
    """Part of the coordinates stays and says how each of the others is mapped; the identity when new.

    Additive: ``z = x + t`` (Dinh et al. 2014, arXiv:1410.8516, eq. 9). Affine: ``z = x exp(s) + t`` (Dinh et al. 2016,
    arXiv:1605.08803, eq. 7), ``|s| < 2`` so that no step explodes. Spline: a rational-quadratic spline for each.

    Args:
        stays: bool ``(D,)`` or ``(C,)``; both values must occur.
        transform: ``"additive"``, ``"affine"`` or ``"spline"``.
        width: of the conditioner; vectors get two hidden layers of ``4 * width``.
        picture: whether examples are ``(C, H, W)``.
        context: width of the vector of what is known; 0 for none.
    """

    def __init__(
        self, stays: Tensor, transform: Transform, width: int, *, picture: bool = False, context: int = 0
    ) -> None:
        super().__init__()
        self.register_buffer("staying", stays.nonzero()[:, 0], persistent=False)
        self.register_buffer("moving", (~stays).nonzero()[:, 0], persistent=False)
        self.transform, self.per = transform, {"additive": 1, "affine": 2, "spline": 3 * BINS - 1}[transform]
        net = _Planes if picture else _Vector
        self.net = net(len(self.staying), self.per * len(self.moving), width, context)

    def _map(self, x: Tensor, h: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        move = x[:, self.moving]
        raw = self.net(x[:, self.staying], h).float().unflatten(1, (len(self.moving), self.per)).movedim(2, -1)
        if self.transform == "additive":
            out, log_slope = move - raw[..., 0] if inverse else move + raw[..., 0], None
        elif self.transform == "affine":
            s = 2 * torch.tanh(raw[..., 0] / 2)
            out, log_slope = ((move - raw[..., 1]) * (-s).exp(), -s) if inverse else (move * s.exp() + raw[..., 1], s)
        else:
            out, log_slope = rational_quadratic_spline(move, raw, inverse)
        z = x.index_copy(1, self.moving, out)
        return z, x.new_zeros(len(x)) if log_slope is None else log_slope.flatten(1).sum(1)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x -> z`` given what is known ``(B, context)``, and ``log |det dz/dx|`` ``(B,)``."""
        return self._map(x, h, inverse=False)

    def inverse(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        """``z -> x``."""
        return self._map(z, h, inverse=True)[0]


class ActNorm(nn.Module):
    """One shift and scale for each coordinate or channel (Kingma & Dhariwal 2018, arXiv:1807.03039, section 3.1).

    It starts as the identity, not from the statistics of a first batch: those would couple that batch's rows. Examples
    in [-1, 1] are close enough to unit scale.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift, self.log_scale = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def _shaped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *[1] * (x.ndim - 2))
        return self.shift.view(shape), self.log_scale.view(shape)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x -> z`` and ``log |det dz/dx|`` ``(B,)``."""
        shift, log_scale = self._shaped(x)
        return (x + shift) * log_scale.exp(), (self.log_scale.sum() * x[0, 0].numel()).expand(len(x))

    def inverse(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        """``z -> x``."""
        shift, log_scale = self._shaped(z)
        return z * (-log_scale).exp() - shift


class Scale(nn.Module):
    """One factor for each number of an example: the last layer of NICE (arXiv:1410.8516, section 3.3)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x -> z`` and ``log |det dz/dx|`` ``(B,)``."""
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        """``z -> x``."""
        return z * (-self.log_scale).exp()


class Mix(nn.Module):
    """An invertible matrix over coordinates or channels, ``W = P L (U + diag(s))`` (arXiv:1807.03039, section 3.2).

    On pictures it is the invertible 1 x 1 convolution. It starts as a random rotation; the permutation P is fixed, and so
    are the signs of s.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels))[0])
        diagonal = upper.diagonal()
        self.register_buffer("order", p)
        self.register_buffer("sign", diagonal.sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(diagonal.abs().log())

    def _triangles(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(len(self.sign), device=self.sign.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x -> z`` and ``log |det dz/dx|`` ``(B,)``."""
        with torch.autocast(x.device.type, enabled=False):  # the map must be the one whose determinant is counted
            lower, upper = self._triangles()
            z = torch.einsum("ij,bj...->bi...", self.order @ lower @ upper, x)
        return z, (self.log_scale.sum() * x[0, 0].numel()).expand(len(x))

    def inverse(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        """``z -> x``."""
        with torch.autocast(z.device.type, enabled=False):
            lower, upper = self._triangles()
            flat = self.order.T @ z.reshape(*z.shape[:2], -1)  # (B, C, H W) or (B, D, 1)
            half = torch.linalg.solve_triangular(lower, flat, upper=False)
            return torch.linalg.solve_triangular(upper, half, upper=True).view_as(z)
