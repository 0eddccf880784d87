"""The generator of a StyleGAN: a mapping network, and a synthesis network that one style steers at each layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Rng, Spec
from bottega.nets.condition import Condition
from bottega.nets.conv import levels

__all__ = ["Dense", "Mapping", "Modulated", "Planes", "Synthesis"]

_SLOPE, _GAIN = 0.2, 2**0.5  # of the leaky ReLU, and what keeps the variance through it
_EMPTY = 1e-2  # power below which a plane counts as empty, and is not raised to one


class Dense(nn.Linear):
    """A linear layer with an equalised learning rate (Karras et al. 2018, arXiv:1710.10196, section 4.1).

    Its weights are standard normal numbers and are scaled when used, so that Adam moves every layer at the same pace.

    Args:
        inputs, outputs: widths.
        bias: what the biases begin at.
        pace: of learning, against other layers.
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, pace: float = 1.0) -> None:
        super().__init__(inputs, outputs)
        self.gain, self.pace = pace * inputs**-0.5, pace
        nn.init.normal_(self.weight, std=1 / pace)
        nn.init.constant_(self.bias, bias / pace)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs) -> (..., outputs)``."""
        return F.linear(x, self.weight * self.gain, self.bias * self.pace)


class Modulated(nn.Module):
    """A convolution whose input channels a style scales (Karras et al. 2020, arXiv:1912.04958, equations 1 and 3).

    For each row the weights are ``w' = s_i w_oikl``, divided by ``sqrt(sum_ikl w'^2)`` for each output channel. Scaling the
    input by ``s`` and the output by one over that root is the same, and all rows then share one convolution.

    Args:
        inputs, outputs: channels.
        kernel: its side, odd.
        context: width of the vector that the style is made from.
        demodulate: whether weights are divided; a layer that makes colours is not.

    >>> layer = Modulated(3, 4, 3, 5)
    >>> x, w = torch.randn(2, 3, 6, 7), torch.randn(2, 5)
    >>> own = layer.weight * layer.style(w)[:, None, :, None, None]
    >>> own = own / own.square().sum((2, 3, 4), keepdim=True).sqrt()
    >>> each = [F.conv2d(a[None], k, padding=1) for a, k in zip(x, own)]
    >>> bool((layer(x, w) - torch.cat(each)).abs().max() < 1e-5)
    True
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, context: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.style = Dense(context, inputs, bias=1.0)
        self.gain, self.demodulate = (inputs * kernel**2) ** -0.5, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """``(B, inputs, H, W), (B, context) -> (B, outputs, H, W)``."""
        style = self.style(w)
        y = F.conv2d(x * style[:, :, None, None], self.weight * self.gain, padding=self.weight.shape[-1] // 2)
        if not self.demodulate:
            return y
        with torch.autocast(x.device.type, enabled=False):  # a root of sums of squares, in full precision
            power = style.float().square() @ (self.weight * self.gain).square().sum((2, 3)).T
        return y * (power + 1e-8).rsqrt().to(y.dtype)[:, :, None, None]


class Planes(nn.Module):
    """Grey planes of unit power, whose colours a style alone decides: ``(B, inputs, H, W), (B, context) -> (B, C, pH, pW)``.

    Each plane is a convolution without a style, divided by its root mean square over the picture, so that what earlier
    styles do to the size of features does not reach the colours; each pixel is the sum over planes of their colours.

    Args:
        inputs: channels.
        outputs: C.
        planes: how many.
        patch: p, the side of the patch made from each place.
        context: width of the style.

    >>> layer = Planes(3, 4, 2, 2, 5)
    >>> x, w = torch.randn(2, 3, 6, 7), torch.randn(2, 5)
    >>> layer(x, w).shape, bool((layer(70 * x, w) - layer(7 * x, w)).abs().max() < 1e-2)
    (torch.Size([2, 4, 12, 14]), True)
    """

    def __init__(self, inputs: int, outputs: int, planes: int, patch: int, context: int) -> None:
        super().__init__()
        kernel = 2 * patch - 1
        self.weight = nn.Parameter(torch.randn(planes * patch**2, inputs, kernel, kernel))
        self.style = Dense(context, outputs * planes)
        self.gain, self.planes, self.patch = (inputs * kernel**2) ** -0.5, planes, patch

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """``(B, inputs, H, W), (B, context) -> (B, outputs, patch * H, patch * W)``."""
        y = F.conv2d(x, self.weight * self.gain, padding=self.weight.shape[-1] // 2)
        y = F.pixel_shuffle(y, self.patch).float()
        y = y * (y.square().mean((2, 3), keepdim=True) + _EMPTY).rsqrt()
        colours = self.style(w).float().unflatten(1, (-1, self.planes)) * self.planes**-0.5
        return torch.einsum("bcp,bphw->bchw", colours, y)


class Mapping(nn.Module):
    """Latent numbers, and what is known, to a style: ``(n, width) -> (n, width)``.

    What is known is added to the normalised latent, so that the network has the same weights with classes and without.

    Args:
        cond: the Spec of what is known, or None.
        width: of latent and style.
        depth: layers.
        pace: of learning, against the synthesis network; the papers' 0.01 is for runs a hundred times as long.
    """

    def __init__(self, cond: Spec | None, width: int, depth: int, pace: float = 0.1) -> None:
        super().__init__()
        self.known = Condition(cond, width)
        self.layers = nn.ModuleList(Dense(width, width, pace=pace) for _ in range(depth))

    def forward(self, z: Tensor, cond: Tensor | None, drop: Tensor | None = None) -> Tensor:
        """``(n, width), (n, *cond.shape), (n,) bool -> (n, width)``."""
        h = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt() + self.known(cond, len(z), drop)
        for layer in self.layers:
            h = F.leaky_relu(layer(h), _SLOPE) * _GAIN
        return h


class _Layer(nn.Module):
    """A modulated convolution, enlargement to ``size`` where that is another, noise, and a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, context: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv, self.size = Modulated(inputs, outputs, 3, context), size
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor, rng: Rng) -> Tensor:
        y = self.conv(x, w)
        if y.shape[2:] != self.size:
            y = F.interpolate(y, self.size, mode="bilinear")
        y = y + (self.strength * rng.normal(len(y), 1, *self.size)).to(y.dtype) + self.bias[:, None, None].to(y.dtype)
        return F.leaky_relu(y, _SLOPE) * _GAIN


class Synthesis(nn.Module):
    """Styles to a picture: ``(n, layers, context) -> (n, C, H, W)``.

    A learned constant at the smallest size; at every size one or two convolutions, and colours that are added to the
    enlarged colours of the size before ("skip" generator, Karras et al. 2020, section 4.1). Colours of all sizes take the
    last style, so that it alone can change them; in the paper each size has its own. Sizes are those of
    ``nets.conv.levels``; the largest may make a 2 x 2 patch from each place.

    Args:
        shape: ``(C, H, W)``.
        width: channels at the largest size; twice as many at all smaller ones.
        context: width of a style.
        planes: colours of each size come from so many ``Planes``; 0 makes them from all channels, as in the paper.

    Attributes:
        layers: how many styles it takes: one for each convolution, coarse first, and one for colours.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, context: int, planes: int = 0) -> None:
        super().__init__()
        channels, *self.sides = shape
        sizes = levels(*self.sides)[::-1]
        self.channels, patch = channels, 1 if sizes[-1] == tuple(self.sides) else 2
        widths = [2 * width] * (len(sizes) - 1) + [width]
        self.constant = nn.Parameter(torch.randn(1, widths[0], *sizes[0]))
        self.first = _Layer(widths[0], widths[0], context, sizes[0])
        self.larger = nn.ModuleList(
            nn.ModuleList([_Layer(a, b, context, size), _Layer(b, b, context, size)])
            for a, b, size in zip(widths, widths[1:], sizes[1:], strict=False)
        )
        patches = [1] * (len(sizes) - 1) + [patch]
        self.colours = nn.ModuleList(
            Planes(w, channels, planes, p, context)
            if planes
            else Modulated(w, channels * p**2, 2 * p - 1, context, demodulate=False)
            for w, p in zip(widths, patches, strict=True)
        )
        self.base = nn.Parameter(torch.zeros(channels, 1, 1))
        self.layers = 2 * len(sizes)

    def forward(self, styles: Tensor, rng: Rng) -> Tensor:
        """``(n, layers, context) -> (n, C, H, W)`` in [-1, 1]; the noise of each layer is drawn from ``rng``."""
        w = styles.unbind(1)
        x = self.constant.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.first(x, w[0], rng)
        out = self.colours[0](x, w[-1])
        for i, (enlarge, refine) in enumerate(self.larger):
            x = refine(enlarge(x, w[2 * i + 1], rng), w[2 * i + 2], rng)
            colours = self.colours[i + 1](x, w[-1])
            if colours.shape[1] != self.channels:
                colours = F.pixel_shuffle(colours, 2)
            out = F.interpolate(out, colours.shape[2:], mode="bilinear") + colours
        out = (out.float() + self.base).tanh()  # a flat ground, or none, stays free of noise
        return out[:, :, : self.sides[0], : self.sides[1]]
