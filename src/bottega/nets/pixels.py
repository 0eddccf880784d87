"""Convolutions and group norms of pictures whose channels lie together, in bfloat16 on a processor.

Convolutions take about half the time there (``channels_last``): oneDNN need not turn pictures over before and after each.
Where many channels stand at few pixels its gradients take up to twenty times as long as the same sums as products of
matrices, so in training those are products. torch's own group normalisation takes several times as long where a group has
fewer than 16 channels (its gradient always, itself below 32 x 32 pixels), so it is written out here for those as sums over
pixels and one product for each pixel. All else is torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["Conv2d", "ConvTranspose2d", "GroupNorm", "Still", "together", "transposed"]

_Made = TypeVar("_Made")
_Pair = tuple[int, int]
_LARGE = 1024  # pixels from which torch normalises groups in a third of the time that written out sums take


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
        and x.dtype != torch.float64  # which autocast leaves alone
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
    """``nn.Conv2d`` for pictures that lie channels-last in bfloat16.

    In training, where pixels are few for so many channels, products of matrices; while nothing is learned weights stay packed
    for oneDNN.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W) -> (B, out, H', W')``."""
        if not _bfloat16(x) or not _lies_together(x):
            self._kept = None
            return super().forward(x)
        if torch.is_grad_enabled():
            self._kept = None
            if _plain(self) and x.shape[1] == self.in_channels:
                size = _sizes(x.shape[2:], self.kernel_size, self.stride, self.padding)
                if _few(size, self.weight, self.stride):
                    out: Tensor = _Gathered.apply(x, self.weight, self.bias, self.stride, self.padding)
                    return out
            return super().forward(x)
        how = self.padding, self.stride, self.dilation, self.groups
        weight, bias = self.kept(lambda: (
            torch.ops.mkldnn._reorder_convolution_weight(self.weight.bfloat16(), *how, list(x.shape)),
            None if self.bias is None else self.bias.bfloat16(),
        ))  # fmt: skip
        out = torch.ops.mkldnn._convolution_pointwise(x.bfloat16(), weight, bias, *how, "none", [], "")
        return out


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d``, likewise as products in training where pixels are few."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """``(B, in, H, W) -> (B, out, H', W')``."""
        if output_size is not None or not _plain(self):
            return super().forward(x, output_size)
        how: Any = self.stride, self.padding, self.output_padding
        return transposed(x, self.weight, self.bias, *how)


def transposed(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: _Pair, padding: _Pair, output_padding: _Pair = (0, 0)
) -> Tensor:
    """``F.conv_transpose2d`` of pictures ``(B, in, H, W)`` with weights ``(in, out, k, l)``.

    >>> x, weight = torch.randn(2, 64, 4, 3), torch.randn(64, 512, 4, 4)
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     a = transposed(together(x), weight, None, (2, 2), (1, 1)).float()
    >>> b = F.conv_transpose2d(x, weight, None, 2, 1)
    >>> a.shape, bool((a - b).norm() < 0.01 * b.norm())
    (torch.Size([2, 512, 8, 6]), True)
    """
    fits = (
        x.ndim == 4
        and x.shape[1] == weight.shape[0]
        and all(m < s for m, s in zip(output_padding, stride, strict=True))
    )
    if torch.is_grad_enabled() and _bfloat16(x) and _lies_together(x) and fits and _few(x.shape[2:], weight, stride):
        out: Tensor = _Scattered.apply(x, weight, bias, stride, padding, output_padding)
        return out
    return F.conv_transpose2d(x, weight, bias, stride, padding, output_padding)


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether a layer has one group, no holes and zeros around."""
    return (
        layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and isinstance(layer.padding, tuple)
    )


def _few(size: Sequence[int], weight: Tensor, stride: _Pair) -> bool:
    """Whether products are faster where a kernel meets ``size`` patches of a picture.

    As measured on AMX with 64 to 1,024 channels, 16 and 64 rows, strides 1 and 2: patches take the longer the more they
    overlap. At 128 channels and stride 1 both take as long at 5 x 5 pixels, at 512 at 8 x 8.
    """
    pixels, kernel = size[0] * size[1], weight.shape[2] * weight.shape[3]
    return (
        min(size) > 0
        and kernel > 1
        and 3 * pixels**2 * kernel <= weight.shape[0] * weight.shape[1] * stride[0] * stride[1]
    )


def _sizes(size: Sequence[int], kernel: Any, stride: Any, padding: Any) -> _Pair:
    """Height and width that come out of a convolution."""
    height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))
    return height, width


def _flat(weight: Tensor) -> Tensor:
    """Weights ``(a, b, k, l)`` as a bfloat16 matrix ``(a, k l b)``; those that lie channels-last are only rounded."""
    return weight.bfloat16().permute(0, 2, 3, 1).reshape(len(weight), -1)


def _starts(kernel: _Pair, stride: _Pair, size: _Pair) -> list[tuple[slice, slice]]:
    """For each place of a kernel, which pixels of the padded picture it meets when it moves over ``size`` places."""
    return [
        (slice(i, i + stride[0] * (size[0] - 1) + 1, stride[0]), slice(j, j + stride[1] * (size[1] - 1) + 1, stride[1]))
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]


def _gather(x: Tensor, kernel: _Pair, stride: _Pair, padding: _Pair, size: _Pair) -> Tensor:
    """The patches that a kernel meets, ``(B, C, H, W) -> (B h w, k l C)`` with ``size`` ``(h, w)``."""
    flat = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    parts = [flat[:, rows, columns] for rows, columns in _starts(kernel, stride, size)]
    return torch.cat(parts, -1).view(len(x) * size[0] * size[1], kernel[0] * kernel[1] * x.shape[1])


def _scatter(patches: Tensor, kernel: _Pair, stride: _Pair, padding: _Pair, size: _Pair, whole: torch.Size) -> Tensor:
    """Patches ``(B h w, k l C)`` added up where ``_gather`` took them, in pictures of shape ``whole``, ``(B, C, H, W)``.

    Sums are in the type of the patches: in bfloat16 they are off by 0.4 % for kernels of 3 x 3 and 0.7 % of 7 x 7, where
    torch's are by 0.3.
    """
    b, c, height, width = whole
    parts = patches.view(b, *size, kernel[0] * kernel[1], c).unbind(3)
    reach = [
        max(n + 2 * p, s * (m - 1) + k)
        for n, p, s, m, k in zip((height, width), padding, stride, size, kernel, strict=True)
    ]
    flat = patches.new_zeros(b, *reach, c)
    for (rows, columns), part in zip(_starts(kernel, stride, size), parts, strict=True):
        flat[:, rows, columns] += part
    inside = flat[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    return inside.contiguous().permute(0, 3, 1, 2)


class _Gathered(torch.autograd.Function):
    """A convolution as one product of all patches with the weights, in bfloat16; differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: _Pair, padding: _Pair) -> Tensor:
        ctx.stride, ctx.padding = stride, padding
        ctx.save_for_backward(x, weight)
        kernel = weight.shape[2], weight.shape[3]
        size = _sizes(x.shape[2:], kernel, stride, padding)
        patches = _gather(x.bfloat16(), kernel, stride, padding, size)
        y = patches @ _flat(weight).T
        if bias is not None:
            y += bias.bfloat16()
        return y.view(len(x), *size, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (outputs, inputs, *kernel), (height, width) = weight.shape, grads[0].shape[2:]
        how = tuple(kernel), ctx.stride, ctx.padding, (height, width)
        g = grads[0].bfloat16().permute(0, 2, 3, 1).reshape(-1, outputs)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = _scatter(g @ _flat(weight), *how, x.shape).to(x.dtype)
        if ctx.needs_input_grad[1]:
            to_weight = (g.T @ _gather(x.bfloat16(), *how)).to(weight.dtype)
            to_weight = to_weight.view(outputs, *kernel, inputs).permute(0, 3, 1, 2)
        to_bias = g.sum(0, dtype=torch.float32) if ctx.needs_input_grad[2] else None
        return to_x, to_weight, to_bias, None, None


class _Scattered(torch.autograd.Function):
    """A transposed convolution as one product whose patches are added up, in bfloat16; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: _Pair, padding: _Pair, output_padding: _Pair
    ) -> Tensor:
        ctx.stride, ctx.padding = stride, padding
        ctx.save_for_backward(x, weight)
        kernel, size = (weight.shape[2], weight.shape[3]), (x.shape[2], x.shape[3])
        whole = [
            s * (n - 1) + k - 2 * p + m
            for n, s, k, p, m in zip(size, stride, kernel, padding, output_padding, strict=True)
        ]
        patches = x.bfloat16().permute(0, 2, 3, 1).reshape(-1, x.shape[1]) @ _flat(weight)
        y = _scatter(patches, kernel, stride, padding, size, torch.Size((len(x), weight.shape[1], *whole)))
        return y if bias is None else y + bias.bfloat16()[:, None, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        kernel, size = (weight.shape[2], weight.shape[3]), (x.shape[2], x.shape[3])
        g = grads[0].bfloat16()
        patches = _gather(g, kernel, ctx.stride, ctx.padding, size)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = (patches @ _flat(weight).T).to(x.dtype).view(len(x), *size, x.shape[1]).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            to_weight = (x.bfloat16().permute(0, 2, 3, 1).reshape(-1, x.shape[1]).T @ patches).to(weight.dtype)
            to_weight = to_weight.view(len(weight), *kernel, weight.shape[1]).permute(0, 3, 1, 2)
        to_bias = g.sum((0, 2, 3), dtype=torch.float32) if ctx.needs_input_grad[2] else None
        return to_x, to_weight, to_bias, None, None, None


def _lies_together(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm`` that also takes a scale and a shift of each channel of each row (Dhariwal & Nichol 2021, section 3).

    >>> norm, x = GroupNorm(2, 4), torch.randn(3, 4, 5, 5)
    >>> bool((norm(x, torch.ones(3, 4), torch.zeros(3, 4)) - 2 * norm(x)).abs().max() < 1e-5)
    True
    """

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)``, ``(B, C)``, ``(B, C)`` -> ``norm(x) * (1 + scale) + shift``.

        Raises:
            ValueError: a scale without a shift, or a shift without a scale.
        """
        if (scale is None) != (shift is None):
            raise ValueError("a scale and a shift are given together")
        narrow = x.ndim == 4 and x.shape[1] < 16 * self.num_groups and x.shape[2] * x.shape[3] >= 16
        if (
            narrow
            and len(x)
            and self.affine
            and x.dtype == torch.bfloat16
            and x.device.type == "cpu"
            and _lies_together(x)
        ):
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
        pixels, many = height * width, height * width * (c // groups)
        if pixels >= _LARGE:
            out, mean, rate = torch.native_group_norm(x, weight, bias, b, c, pixels, groups, eps)
            ctx.save_for_backward(x, weight, bias, scale, mean.float()[..., None], rate.float()[..., None])
            if scale is None or shift is None:
                return out
            return torch.addcmul(shift[..., None, None], out, 1 + scale[..., None, None]).to(x.dtype)
        flat = x.permute(0, 2, 3, 1).reshape(b, pixels, c)
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
