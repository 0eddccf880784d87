"""Invertible layers of normalising flows. Each maps ``x -> (z, log |det dz/dx|)`` and has an exact ``inverse``.

Axis 1 is the one that layers split and mix: coordinates ``(B, D)`` or channels ``(B, C, H, W)``. Log-determinants are
``(B,)``, in nats, float32 also under bfloat16 autocast.

Flows are many small steps, so time goes where kernels are started. Couplings split and join neighbouring coordinates
(views, no gathering), and the matrices of all steps of a chain, with their scales and shifts, are made at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ActNorm", "Chain", "Coupling", "Mixes", "Scale", "rational_quadratic_spline", "squeeze", "unsqueeze"]

Transform = Literal["additive", "affine", "spline"]

BINS, BOUND = 8, 3.0  # of splines; the identity outside [-BOUND, BOUND]
_LEAST = 1e-3  # width, height and slope of a bin
_PER = {"additive": 1, "affine": 2, "spline": 3 * BINS - 1}  # numbers that map one coordinate


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
    sizes = torch.softmax(raw[..., : 2 * bins].unflatten(-1, (2, bins)), -1)
    inner = (_LEAST + (1 - _LEAST * bins) * sizes).cumsum(-1)[..., :-1] * (2 * BOUND) - BOUND
    knots = F.pad(F.pad(inner, (1, 0), value=-BOUND), (0, 1), value=BOUND)  # (..., 2, bins + 1), of x and of y
    slopes = F.pad(_LEAST + F.softplus(raw[..., 2 * bins :] + math.log(math.expm1(1 - _LEAST))), (1, 1), value=1.0)
    inside = (x > -BOUND) & (x < BOUND)
    held = torch.where(inside, x, 0.0)
    index = (held[..., None] >= inner[..., 1 if inverse else 0, :]).sum(-1)[..., None, None]
    table = torch.cat([knots, slopes[..., None, :]], -2)
    ends = table.gather(-1, torch.cat([index, index + 1], -1).expand(*table.shape[:-1], 2))  # (..., 3, 2)
    x0, y0, d0 = ends[..., 0].unbind(-1)
    x1, y1, d1 = ends[..., 1].unbind(-1)
    width, height = x1 - x0, y1 - y0
    s = height / width
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
    """Conditioner of a picture: channels and what is known to channels, ``(B, C, H, W), (B, context) -> (B, outputs, H, W)``.

    3 x 3, 1 x 1, 3 x 3, with ReLU between (Kingma & Dhariwal 2018, arXiv:1807.03039, section 4).
    """

    def __init__(self, inputs: int, outputs: int, width: int, context: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        self.last = nn.Conv2d(width, outputs, 3, padding=1)
        self.context = nn.Linear(context, width) if context else None
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        y = self.mix(F.relu(self.first(x)))
        if self.context is not None:
            y = y + self.context(h)[:, :, None, None]
        return self.last(F.relu(y))


class _Dense(torch.autograd.Function):
    """Two hidden layers with SiLU as one step of autograd, whose bookkeeping costs small couplings more than their products.

    Once differentiable.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The output, then what the derivative needs: both hidden layers before and after SiLU."""
        with torch.autocast(x.device.type, enabled=False):
            p1 = torch.addmm(b1, x, w1.T)
            a1 = F.silu(p1)
            p2 = torch.addmm(b2, a1, w2.T)
            a2 = F.silu(p2)
            return torch.addmm(b3, a2, w3.T), p1, a1, p2, a2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the derivative needs."""
        x, w1, _, w2, _, w3, _ = inputs
        ctx.save_for_backward(x, w1, w2, w3, *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
        """The chain rule, layer by layer."""
        if g is None:
            return (None,) * 7
        x, w1, w2, w3, p1, a1, p2, a2 = ctx.saved_tensors
        g2 = torch.ops.aten.silu_backward(g @ w3, p2)
        g1 = torch.ops.aten.silu_backward(g2 @ w2, p1)
        to_x = g1 @ w1 if ctx.needs_input_grad[0] else None
        return to_x, g1.T @ x, g1.sum(0), g2.T @ a1, g2.sum(0), g.T @ a2, g.sum(0)


class _Affine(torch.autograd.Function):
    """``move exp(s) + t`` before what stays, ``s = 2 tanh(r / 2)``, and the sum of ``s``, as one step of autograd."""

    generate_vmap_rule = True

    @staticmethod
    def forward(still: Tensor, move: Tensor, raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``z``, ``log |det|``, then what the derivative needs: ``s`` and ``exp(s)``."""
        r, t = raw.chunk(2, 1)
        s = (0.5 * r).tanh_().mul_(2)
        size = s.exp()
        return torch.cat([torch.addcmul(t, move, size), still], 1), _total(s), s, size

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the derivative needs."""
        ctx.width = output[0].shape[1]
        ctx.save_for_backward(inputs[1], *output[2:])
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor | None, volume: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
        """The chain rule; ``ds/dr = 1 - s^2 / 4``."""
        move, s, size = ctx.saved_tensors
        g = move.new_zeros(len(move), ctx.width, *move.shape[2:]) if g is None else g
        volume = move.new_zeros(len(move)) if volume is None else volume
        to_out, to_still = g.split([move.shape[1], g.shape[1] - move.shape[1]], 1)
        to_move = to_out * size
        to_s = torch.addcmul(volume.view(-1, *[1] * (s.ndim - 1)), to_move, move)
        to_r = torch.addcmul(to_s, to_s, s * s, value=-0.25)
        return to_still, to_move, torch.cat([to_r, to_out], 1)


class _AffineChain(torch.autograd.Function):
    """Affine couplings of coordinates one after the other, conditioners and all, as one step of autograd.

    Small conditioners wait for autograd's records as long as for their products, so there is one record, and stacked weights
    get their gradients at once. Once differentiable.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, h: Tensor | None, stays: int, orders: list[Tensor | None], steps: int, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        """``z``, ``log |det|``, then what the derivative needs: eight tensors of every coupling.

        Args:
            x: ``(B, D)``.
            h: what is known, ``(B, context)``.
            stays: coordinates that stay in each coupling.
            orders: of the coordinates before each coupling and at the end; None for as they are.
            steps: how many couplings.
            weights: of ``_Vectors``, stacked.
        """
        kept: list[Tensor] = []
        gain = x.new_zeros(len(x))
        with torch.autocast(x.device.type, enabled=False):
            for order, (w1, b1, w2, b2, w3, b3) in zip(orders, _each(steps, weights), strict=False):
                x = x if order is None else x[:, order]
                still, move = x[:, :stays], x[:, stays:]
                given = still if h is None else torch.cat([still, h], 1)
                p1 = torch.addmm(b1, given, w1.T)
                a1 = F.silu(p1)
                p2 = torch.addmm(b2, a1, w2.T)
                a2 = F.silu(p2)
                r, t = torch.addmm(b3, a2, w3.T).chunk(2, 1)
                s = (0.5 * r).tanh_().mul_(2)
                size = s.exp()
                x = torch.cat([torch.addcmul(t, move, size), still], 1)
                gain = gain + s.sum(1)
                kept += [given.clone(), p1, a1, p2, a2, move.clone(), s, size]
        return (x.clone() if orders[-1] is None else x[:, orders[-1]], gain, *kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the derivative needs."""
        x, h, ctx.stays, ctx.orders, ctx.steps, *weights = inputs
        ctx.known = 0 if h is None else h.shape[1]
        ctx.save_for_backward(*weights, *output[2:])
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor | None, volume: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
        """The chain rule, coupling by coupling; ``s = 2 tanh(r / 2)``, so ``ds/dr = 1 - s^2 / 4``."""
        weights, kept, stays = ctx.saved_tensors[:6], ctx.saved_tensors[6:], ctx.stays
        last = kept[-1]
        g = last.new_zeros(len(last), stays + last.shape[1]) if g is None else _back(g, ctx.orders[-1])
        volume = last.new_zeros(len(last)) if volume is None else volume
        of_weights: list[list[Tensor]] = [[] for _ in weights]
        to_h: Tensor | None = None
        each = _each(ctx.steps, weights)
        for k in reversed(range(ctx.steps)):
            w1, _, w2, _, w3, _ = each[k]
            given, p1, a1, p2, a2, move, s, size = kept[8 * k : 8 * k + 8]
            to_out, to_still = g[:, : move.shape[1]], g[:, move.shape[1] :]
            to_move = to_out * size
            to_s = torch.addcmul(volume[:, None], to_move, move)
            raw = torch.cat([torch.addcmul(to_s, to_s, s * s, value=-0.25), to_out], 1)
            g2 = torch.ops.aten.silu_backward(raw @ w3, p2)
            g1 = torch.ops.aten.silu_backward(g2 @ w2, p1)
            for found, part in zip(
                of_weights, (g1.T @ given, g1.sum(0), g2.T @ a1, g2.sum(0), raw.T @ a2, raw.sum(0)), strict=True
            ):
                found.append(part)
            to_given = g1 @ w1
            if ctx.known:
                to_h = to_given[:, stays:] if to_h is None else to_h + to_given[:, stays:]
            g = _back(torch.cat([to_still + to_given[:, :stays], to_move], 1), ctx.orders[k])
        stacked = [torch.stack(found[::-1]).view_as(w) for found, w in zip(of_weights, weights, strict=True)]
        return g, to_h, None, None, None, *stacked


def _back(g: Tensor, order: Tensor | None) -> Tensor:
    return g if order is None else g[:, order.argsort()]


def _each(steps: int, weights: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Weights and biases of every conditioner, of stacked ones."""
    return list(zip(*(w.view(steps, -1, *w.shape[2:]).unbind() for w in weights), strict=True))


class _Vectors(nn.Module):
    """Conditioners of all couplings of a chain of coordinates, ``(B, inputs) -> (B, outputs)`` each.

    Their weights are stacked, so that the optimiser and the gradient's norm see six tensors, however long the chain.
    """

    def __init__(self, steps: int, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.steps = steps

        even = [  # as nn.Linear begins
            nn.Parameter(nn.init.uniform_(torch.empty(*shape), -(fan**-0.5), fan**-0.5))
            for fan, shape in (
                (inputs, (steps, width, inputs)),
                (inputs, (steps * width,)),
                (width, (steps, width, width)),
                (width, (steps * width,)),
            )
        ]
        self.first, self.first_bias, self.second, self.second_bias = even
        self.last = nn.Parameter(torch.zeros(steps, outputs, width))
        self.last_bias = nn.Parameter(torch.zeros(steps * outputs))

    def stacked(self) -> tuple[Tensor, ...]:
        """Weights and biases of all conditioners."""
        return self.first, self.first_bias, self.second, self.second_bias, self.last, self.last_bias


def _coupled(
    x: Tensor, stays: int, transform: Transform, say: Callable[[Tensor], Tensor], inverse: bool
) -> tuple[Tensor, Tensor]:
    """One coupling, or its inverse: ``say`` gives the numbers of the map from what stays."""
    moves = x.shape[1] - stays
    if inverse:
        move, still = x.split([moves, stays], 1)
    else:
        still, move = x.split([stays, moves], 1)
    raw = say(still).to(x.dtype)  # from bfloat16
    if transform == "affine" and not inverse:
        z, gain, *_ = _Affine.apply(still, move, raw)
        return z, gain
    log_slope = None
    if transform == "additive":
        out = move - raw if inverse else move + raw
    elif transform == "affine":
        r, t = raw.chunk(2, 1)
        log_slope = -2 * torch.tanh(0.5 * r)
        out = (move - t) * log_slope.exp()
    else:
        out, log_slope = rational_quadratic_spline(move, raw.unflatten(1, (moves, -1)).movedim(2, -1), inverse)
    z = torch.cat([still, out] if inverse else [out, still], 1)
    return z, x.new_zeros(len(x)) if log_slope is None else _total(log_slope)


class Coupling(nn.Module):
    """The first channels of a picture stay and say how each of the others is mapped; what moved comes out before what stayed.

    A new one changes no number.

    Additive: ``z = x + t`` (Dinh et al. 2014, arXiv:1410.8516, eq. 9). Affine: ``z = x exp(s) + t`` (Dinh et al. 2016,
    arXiv:1605.08803, eq. 7), ``|s| < 2`` so that no step explodes. Spline: a rational-quadratic spline for each.

    Args:
        stays: how many channels stay.
        moves: how many are mapped.
        transform: ``"additive"``, ``"affine"`` or ``"spline"``.
        width: of the conditioner's two hidden layers.
        context: width of the vector of what is known; 0 for none.
    """

    def __init__(self, stays: int, moves: int, transform: Transform, width: int, *, context: int = 0) -> None:
        super().__init__()
        self.stays, self.transform = stays, transform
        self.net = _Planes(stays, _PER[transform] * moves, width, context)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x -> z`` given what is known ``(B, context)``, and ``log |det dz/dx|`` ``(B,)``."""
        return _coupled(x, self.stays, self.transform, lambda still: self.net(still, h), inverse=False)

    def inverse(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        """``z -> x``."""
        return _coupled(z, self.stays, self.transform, lambda still: self.net(still, h), inverse=True)[0]


def _total(x: Tensor) -> Tensor:
    """The sum over all axes but the first, without bringing pictures into another order of memory."""
    return x.sum(tuple(range(1, x.ndim)))


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


class Mixes(nn.Module):
    """Steps of a chain: each scales, shifts and mixes all coordinates or channels by an invertible matrix.

    Step *k* is ``x -> W_k (exp(a_k) (x + b_k))``, activation normalisation and the invertible 1 x 1 convolution of Kingma
    & Dhariwal 2018 (arXiv:1807.03039, sections 3.1 and 3.2) in one product, with ``W = P L (U + diag(s))``. W starts as a
    random rotation; the permutation P is fixed, and so are the signs of s. The scale starts as the identity, not from
    the statistics of a first batch: those would couple that batch's rows. Examples in [-1, 1] are close enough to unit
    scale. The parameters of all steps are stacked, ``(steps, C, C)``, so that their matrices are made in a dozen kernels.

    Args:
        steps: how many.
        channels: C.
    """

    def __init__(self, steps: int, channels: int) -> None:
        super().__init__()
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(steps, channels, channels))[0])
        diagonal = upper.diagonal(dim1=1, dim2=2)
        self.register_buffer("order", p.contiguous())
        self.register_buffer("sign", diagonal.sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_size = nn.Parameter(diagonal.abs().log().flatten())
        self.shift, self.log_scale = (nn.Parameter(torch.zeros(steps * channels)) for _ in range(2))

    def _factors(self) -> tuple[Tensor, Tensor]:
        """``P L`` and ``(U + diag(s)) diag(exp(a))``, ``(steps, C, C)`` each."""
        eye = torch.eye(self.lower.shape[1], device=self.lower.device, dtype=self.lower.dtype)
        upper = self.upper.triu(1) + torch.diag_embed(self.sign * self.log_size.exp().view_as(self.sign))
        return self.order @ (self.lower.tril(-1) + eye), upper * self.log_scale.exp().view_as(self.sign)[:, None]

    def maps(self) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Matrix ``(C, C)`` and shift ``(C,)`` of every step, and ``log |det|`` of all steps together at one place."""
        with torch.autocast(self.lower.device.type, enabled=False):  # the map must be the one whose volume is counted
            left, right = self._factors()
            matrices = left @ right
            shifts = (matrices @ self.shift.view_as(self.sign)[..., None])[..., 0]
            return list(matrices.unbind()), list(shifts.unbind()), self.log_size.sum() + self.log_scale.sum()

    def inverses(self) -> tuple[list[Tensor], list[Tensor]]:
        """Matrix and shift of the inverse of every step, solved in double precision."""
        left, right = (f.double() for f in self._factors())
        eye = torch.eye(left.shape[1], device=left.device, dtype=left.dtype)
        half = torch.linalg.solve_triangular(self.order.double().mT @ left, self.order.double().mT @ eye, upper=False)
        inverse = torch.linalg.solve_triangular(right, half, upper=True).to(self.lower.dtype)
        return list(inverse.unbind()), list((-self.shift).view_as(self.sign).unbind())

    @staticmethod
    def apply(x: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
        """``x -> matrix x + shift`` over axis 1, never in reduced precision."""
        with torch.autocast(x.device.type, enabled=False):
            if x.ndim == 2:
                return F.linear(x, matrix, shift)
            return F.conv2d(x, matrix[:, :, None, None], shift)


class Chain(nn.Module):
    """Couplings one after the other, at one size: mixed by matrices, or over fixed orders of the coordinates.

    Args:
        shape: of what enters, ``(D,)`` or ``(C, H, W)``.
        stays: for every coupling which coordinates or channels stay, bool ``(D,)`` or ``(C,)``: some, not all, and of
            coordinates as many every time.
        transform: ``"additive"``, ``"affine"`` or ``"spline"``.
        width: of the conditioners.
        mix: whether a scale, a shift and a matrix stand before each coupling, and a scale and a shift at the end.
        context: width of the vector of what is known; 0 for none.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        stays: list[Tensor],
        transform: Transform,
        width: int,
        *,
        mix: bool,
        context: int = 0,
    ) -> None:
        super().__init__()
        counts = [int(s.sum()) for s in stays]
        self.transform, self.stays = transform, counts
        if len(shape) == 3:
            self.couplings: Any = nn.ModuleList(
                Coupling(k, shape[0] - k, transform, width, context=context) for k in counts
            )
        else:
            self.vectors = _Vectors(len(stays), counts[0] + context, _PER[transform] * (shape[0] - counts[0]), width)
            self.couplings = None
        self.mixes, self.end = (Mixes(len(stays), shape[0]), ActNorm(shape[0])) if mix else (None, None)
        at = torch.arange(shape[0])  # which coordinate stands at each place
        natural, orders = at, []
        for s in stays if not mix else ():
            wanted = torch.cat([s.nonzero()[:, 0], (~s).nonzero()[:, 0]])
            orders.append(at.argsort()[wanted])
            at = wanted.roll(-int(s.sum()))  # a coupling gives what moved before what stayed
        orders.append(at.argsort()[natural])
        self.moved = [not torch.equal(order, natural) for order in orders]
        for k, order in enumerate(orders):
            self.register_buffer(f"order{k}", order, persistent=False)
            self.register_buffer(f"back{k}", order.argsort(), persistent=False)

    def _says(self, h: Tensor | None) -> list[Callable[[Tensor], Tensor]]:
        """The conditioner of every coupling, given what is known."""
        if self.couplings is not None:
            return [lambda still, net=c.net: net(still, h) for c in self.couplings]

        def say(still: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
            x = still if h is None else torch.cat([still, h.to(still.dtype)], 1)
            out: Tensor = _Dense.apply(x, *weights)[0]
            return out

        return [lambda still, w=w: say(still, w) for w in _each(self.vectors.steps, self.vectors.stacked())]

    def _between(self, x: Tensor, k: int, inverse: bool = False) -> Tensor:
        return x[:, getattr(self, f"back{k}" if inverse else f"order{k}")] if self.moved[k] else x

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x -> z`` given what is known ``(B, context)``, and ``log |det dz/dx|`` ``(B,)``."""
        if self.couplings is None and self.mixes is None and self.transform == "affine":
            orders = [getattr(self, f"order{k}") if moved else None for k, moved in enumerate(self.moved)]
            known = None if h is None else h.to(x.dtype)
            z, gain, *_ = _AffineChain.apply(
                x, known, self.stays[0], orders, self.vectors.steps, *self.vectors.stacked()
            )
            return z, gain
        gains, says = [], self._says(h)
        if self.mixes is None:
            for k, stays in enumerate(self.stays):
                x, gain = _coupled(self._between(x, k), stays, self.transform, says[k], inverse=False)
                gains.append(gain)
            return self._between(x, len(gains)), torch.stack(gains).sum(0)
        matrices, shifts, volume = self.mixes.maps()
        for k, stays in enumerate(self.stays):
            x = self.mixes.apply(x, matrices[k], shifts[k])
            x, gain = _coupled(x, stays, self.transform, says[k], inverse=False)
            gains.append(gain)
        x, gain = self.end(x)
        return x, torch.stack([*gains, gain]).sum(0) + volume * x[0, 0].numel()

    def inverse(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        """``z -> x``."""
        last, says = len(self.stays), self._says(h)
        matrices, shifts = ([], []) if self.mixes is None else self.mixes.inverses()
        z = self._between(z, last, inverse=True) if self.end is None else self.end.inverse(z)
        for k in reversed(range(last)):
            z = _coupled(z, self.stays[k], self.transform, says[k], inverse=True)[0]
            if self.mixes is None:
                z = self._between(z, k, inverse=True)
            else:
                z = self.mixes.apply(z, matrices[k], shifts[k])
        return z
