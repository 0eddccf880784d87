"""Convolutions and group norms of pictures whose channels lie together, in bfloat16 on a processor.

Convolutions take about half the time there (``channels_last``): oneDNN need not turn pictures over before and after each.
torch's own group normalisation takes several times as long where a group has fewer than 16 channels, so it is written out here
for those as sums over pixels and one product for each pixel. For everything else both are torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["Conv2d", "GroupNorm", "Still", "together"]

_Made = TypeVar("_Made")


def together(x: Tensor) -> Tensor:
    """Pictures ``(B, C, H, W)`` with the channels of a pixel beside each other, where that is the faster way: bfloat16 on a CPU.

    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     together(torch.zeros(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)
    True
    """
    return x.contiguous(memory_format=torch.channels_last) if _bfloat16(x) else x


def _bfloat16(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class Still(nn.Module):
    """A layer that keeps what it makes of its weights while they stay as they are and nothing is learned."""

    _kept: tuple[tuple[int, ...], Any] | None = None

    def kept(self, make: Callable[[], _Made]) -> _Made:
        """What ``make()`` gives, from before where it still holds."""
        mine = list(self.parameters(recurse=False))
        if torch.is_grad_enabled() or any(p.is_inference() for p in mine):
            self._kept = None  # fused optimisers change weights and do not count it as a version
            return make()
        now = tuple(n for p in mine for n in (p.data_ptr(), p._version))
        if self._kept is None or self._kept[0] != now:
            self._kept = (now, make())
        made: _Made = self._kept[1]
        return made


class Conv2d(Still, nn.Conv2d):
    """``nn.Conv2d`` whose weights are packed for oneDNN while nothing is learned and pictures lie channels-last."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W) -> (B, out, H', W')``."""
        if torch.is_grad_enabled() or not _bfloat16(x) or not _lies_together(x):
            self._kept = None
            return super().forward(x)
        how = self.padding, self.stride, self.dilation, self.groups
        weight, bias = self.kept(lambda: (
            torch.ops.mkldnn._reorder_convolution_weight(self.weight.bfloat16(), *how, list(x.shape)),
            None if self.bias is None else self.bias.bfloat16(),
        ))  # fmt: skip
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x.bfloat16(), weight, bias, *how, "none", [], "")
        return out


def _lies_together(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm`` that also takes a scale and a shift of each channel of each row (Dhariwal & Nichol 2021, section 3).

    >>> norm, x = GroupNorm(2, 4), torch.randn(3, 4, 5, 5)
    >>> bool((norm(x, torch.ones(3, 4), torch.zeros(3, 4)) - 2 * norm(x)).abs().max() < 1e-5)
    True
    """

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)``, ``(B, C)``, ``(B, C)`` -> ``norm(x) * (1 + scale) + shift``."""
        narrow = x.ndim == 4 and x.shape[1] < 16 * self.num_groups and x.shape[2] * x.shape[3] >= 16
        if narrow and x.dtype == torch.bfloat16 and x.device.type == "cpu" and _lies_together(x):
            out: Tensor = _ByPixels.apply(x, self.weight, self.bias, scale, shift, self.num_groups, self.eps)
            return out
        y = F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        return (
            y
            if scale is None or shift is None
            else torch.addcmul(shift[..., None, None], y, 1 + scale[..., None, None])
        )


def _sums(flat: Tensor) -> Tensor:
    """Sums over pixels, ``(B, pixels, C) -> (B, C)`` float32.

    Added up by products with ones, which AMX takes in a third of the time of ``sum`` with a type; those round what they give to
    eight bits, so few pixels are added at a time, and their sums in float32.
    """
    b, pixels, c = flat.shape
    some = math.gcd(pixels, 64)
    parts = torch.bmm(flat.new_ones(1, 1, 1).expand(b * (pixels // some), 1, some), flat.view(-1, some, c))
    return parts.view(b, -1, c).sum(1, dtype=torch.float32)


class _ByPixels(torch.autograd.Function):
    """The same for channels that lie together: what is done to a channel of a row is one factor and one addend.

    With ``h`` the normalised pixels and ``d`` the gradient of what comes out, all that goes back is made of ``sum d`` and
    ``sum d h`` over the pixels of a channel. Sums over a group are taken in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, shift: Tensor | None, groups: int, eps: float
    ) -> Tensor:  # fmt: skip
        b, c, height, width = x.shape
        flat, many = x.permute(0, 2, 3, 1).reshape(b, height * width, c), height * width * (c // groups)
        mean = _sums(flat).view(b, groups, -1).sum(-1, keepdim=True) / many
        square = _sums(flat * flat).view(b, groups, -1).sum(-1, keepdim=True) / many
        rate = (square - mean * mean).clamp_min_(0).add_(eps).rsqrt_()
        more = weight if scale is None else weight * (1 + scale.float())  # (C) or (B, C)
        factor = (rate * more.view(-1, groups, c // groups)).view(b, 1, c)
        addend = (bias if scale is None else bias * (1 + scale.float())).view(-1, 1, c)
        addend = addend - (mean * factor.view(b, groups, -1)).view(b, 1, c)
        if shift is not None:
            addend = addend + shift.float()[:, None]
        ctx.save_for_backward(x, weight, bias, scale, mean, rate)
        out = torch.addcmul(addend.to(x.dtype), flat, factor.to(x.dtype))
        return out.view(b, height, width, c).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, scale, mean, rate = ctx.saved_tensors
        b, c, height, width = x.shape
        groups, pixels = mean.shape[1], height * width
        flat, d = (t.permute(0, 2, 3, 1).reshape(b, pixels, c).contiguous() for t in (x, grads[0]))
        all_d = _sums(d).view(b, groups, -1)
        all_dh = (_sums(d * flat).view(b, groups, -1) - mean * all_d) * rate
        one = 1 if scale is None else 1 + scale.float().view(b, groups, -1)
        w = weight.view(groups, -1)
        many = pixels * (c // groups)
        of_d, of_dh = (all_d * w * one).sum(-1, keepdim=True) / many, (all_dh * w * one).sum(-1, keepdim=True) / many
        slope = -rate * rate * of_dh

        def each(t: Tensor) -> Tensor:
            return t.expand(b, groups, c // groups).reshape(b, 1, c).to(x.dtype)

        dx = torch.addcmul(each(-rate * of_d - slope * mean), flat, each(slope)).addcmul_(d, each(rate * w * one))
        to_scale = to_shift = None
        if scale is not None:
            to_scale = (all_dh * w + all_d * bias.view(groups, -1)).view(b, c).to(scale.dtype)
            to_shift = all_d.view(b, c).to(scale.dtype)
        return (
            dx.view(b, height, width, c).permute(0, 3, 1, 2), (all_dh * one).sum(0).view(c), (all_d * one).sum(0).view(c),
            to_scale, to_shift, None, None,
        )  # fmt: skip
