"""The body that suits a Spec: convolutions for pictures, a multi-layer perceptron for everything else."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Rng, Spec
from bottega.nets.condition import Condition
from bottega.nets.conv import ImageDecoder, ImageEncoder
from bottega.nets.mlp import MLP

__all__ = ["Critic", "choices", "decoder", "encoder", "finish", "soft"]


def _perceptron(inputs: int, outputs: int, hidden: tuple[int, ...], leaky: bool) -> MLP:
    """An MLP; ``leaky`` makes it able to bend sharply from the start, which the players of a GAN need.

    SiLU with torch's small initial weights begins nearly linear, and neither player then resolves narrow modes (ring of
    eight Gaussians, 1500 steps: 50 % of samples near a mode, against 80 % and more with leaky, orthogonal layers).
    """
    net = MLP(inputs, outputs, hidden)
    if leaky:
        for i, layer in enumerate(net.layers):
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, 1.4)
            else:
                net.layers[i] = nn.LeakyReLU(0.2)
    return net


class VectorEncoder(nn.Module):
    """Any example, flattened, and a vector of what is known: ``(B, *shape), (B, context) -> (B, outputs)``."""

    def __init__(self, dims: int, hidden: tuple[int, ...], outputs: int, context: int, leaky: bool) -> None:
        super().__init__()
        self.net = _perceptron(dims + context, outputs, hidden, leaky)

    @property
    def last(self) -> nn.Linear:
        """The layer that reads ``features``."""
        return self.net.last

    def features(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """What the last layer reads, ``(B, *shape), (B, context) -> (B, features)``."""
        x = x.flatten(1)
        return self.net.layers(x if h is None else torch.cat([x, h], 1))

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """``(B, *shape), (B, context) -> (B, outputs)``."""
        return self.last(self.features(x, h))


class VectorDecoder(nn.Module):
    """A vector to an example: ``(B, inputs) -> (B, channels, *shape)``."""

    def __init__(
        self, shape: tuple[int, ...], hidden: tuple[int, ...], inputs: int, channels: int, leaky: bool
    ) -> None:
        super().__init__()
        self.shape = (channels, *shape)
        self.net = _perceptron(inputs, channels * torch.Size(shape).numel(), hidden, leaky)

    def forward(self, z: Tensor) -> Tensor:
        """``(B, inputs) -> (B, channels, *shape)``."""
        return self.net(z).unflatten(1, self.shape)


class _Planes(nn.Module):
    """An ImageDecoder whose channels are told apart: ``(B, inputs) -> (B, channels, C, H, W)``."""

    def __init__(self, shape: tuple[int, ...], width: int, inputs: int, channels: int, depth: int, norm: bool) -> None:
        super().__init__()
        c, height, wide = shape
        self.net, self.planes = ImageDecoder((channels * c, height, wide), width, inputs, depth, norm), (channels, c)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z).unflatten(1, self.planes)


def encoder(
    spec: Spec, width: int, outputs: int, *, context: int = 0, depth: int = 1, norm: bool = True, leaky: bool = False
) -> nn.Module:
    """A network ``(B, *spec.shape) real, (B, context) -> (B, outputs)``.

    Args:
        spec: of the examples; pictures get convolutions of ``width`` channels, all else ``depth + 1`` hidden layers of
            ``4 * width``.
        width: base width.
        outputs: width of the result.
        context: width of a second input, what is known of an example; 0 for none.
        depth: residual blocks at each size of a picture, or hidden layers less one.
        norm: group normalisation in convolutions.
        leaky: leaky ReLU and orthogonal weights in perceptrons.

    >>> encoder(Spec((3, 9, 12)), 8, 5, context=2)(torch.zeros(4, 3, 9, 12), torch.zeros(4, 2)).shape
    torch.Size([4, 5])
    """
    if spec.is_image:
        c, h, w = spec.shape
        return ImageEncoder((c, h, w), width, outputs, context, depth, norm)
    return VectorEncoder(spec.dims, (4 * width,) * (depth + 1), outputs, context, leaky)


def decoder(
    spec: Spec, width: int, inputs: int, channels: int = 1, *, depth: int = 1, norm: bool = True, leaky: bool = False
) -> nn.Module:
    """A network ``(B, inputs) -> (B, channels, *spec.shape)``, ``channels`` numbers for each coordinate of an example.

    >>> decoder(Spec((3, 9, 12)), 8, 5, 2)(torch.zeros(4, 5)).shape, decoder(Spec((7,)), 8, 5)(torch.zeros(4, 5)).shape
    (torch.Size([4, 2, 3, 9, 12]), torch.Size([4, 1, 7]))
    """
    if spec.is_image:
        return _Planes(spec.shape, width, inputs, channels, depth, norm)
    return VectorDecoder(spec.shape, (4 * width,) * (depth + 1), inputs, channels, leaky)


class Critic(nn.Module):
    """One number for each example, given what is known of it: a projection critic.

    ``f(x, c) = a . phi(x) + c . phi(x) / sqrt(width)`` with ``c`` an embedding (Miyato & Koyama 2018, arXiv:1802.05637,
    eq. 3). No normalisation, so that the gradient at an example is the gradient of that example alone.

    Args:
        spec: of the examples, and of what is known of them.
        width: base width of the body; ``phi`` has ``4 * width`` numbers.
        depth: as in ``encoder``.
        group: rows in a row whose features' mean standard deviation each of them also sees (Karras et al. 2018,
            arXiv:1710.10196, section 3), so that pieces which are all alike give themselves away; 0 leaves rows alone.
    """

    def __init__(self, spec: Spec, width: int, *, depth: int = 1, group: int = 0) -> None:
        super().__init__()
        features = 4 * width
        self.group = group
        self.crowd = nn.Linear(1, features, bias=False) if group else None
        self.body = encoder(spec, width, features, depth=depth, norm=False, leaky=True)
        self.score = nn.Linear(features, 1, bias=False)  # no difference of two scores would reach it
        self.score.readout = True  # type: ignore[assignment]
        self.known = Condition(spec.cond, features)
        self.scale = features**-0.5

    def forward(self, x: Tensor, cond: Tensor | None = None, drop: Tensor | None = None) -> Tensor:
        """``(B, *spec.shape)`` real, ``(B, *spec.cond.shape)``, which rows forget it ``(B,)`` -> ``(B,)`` float32."""
        return self.look(x, cond, drop)[0]

    def look(self, x: Tensor, cond: Tensor | None = None, drop: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The number, and the features of ``x`` in float32 from which it is read, ``(B, features)``."""
        seen = self.body.features(x)
        said = self.body.last(seen)
        phi = F.silu(said if self.crowd is None else said + self.crowd(self._spread(seen)).to(said.dtype))
        out = self.score(phi).float()[:, 0]
        if self.known.spec is not None:
            out = out + (self.known(cond, len(x), drop) * phi).float().sum(1) * self.scale
        return out, seen.float()

    def _spread(self, seen: Tensor) -> Tensor:
        """How far features ``(B, ...)`` of each group lie apart, ``(B, 1)`` float32; a last group that is not full joins another."""
        groups = seen.float().flatten(1).tensor_split(max(1, len(seen) // self.group))
        each = [(g.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(g), 1) for g in groups]
        return torch.cat(each)

    def slope(self, x: Tensor, cond: Tensor | None = None, drop: Tensor | None = None) -> Tensor:
        """``|grad_x f|^2`` of each example, ``(B,)``, in float32: a norm of bfloat16 gradients is too coarse."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.detach().float().requires_grad_()
            (grad,) = torch.autograd.grad(self(x, cond, drop).sum(), x, create_graph=True)
        return grad.square().flatten(1).sum(1)


def choices(spec: Spec) -> Iterator[slice]:
    """The coordinates of each one-hot vector in a table's row: choices, and the modes of mixtures.

    >>> from bottega.core import Block
    >>> list(choices(Spec((6,), blocks=(Block("a", "scalar", 0, 1), Block("b", "mixture", 1, 3), Block("c", "choice", 4, 2)))))
    [slice(2, 4, None), slice(4, 6, None)]
    """
    for block in spec.blocks:
        if block.kind != "scalar":
            yield slice(block.start + (block.kind == "mixture"), block.start + block.width)


_GUMBEL = 0.2  # temperature of soft one-hots in training (Xu et al. 2019, arXiv:1907.00503, section 4.4)


def soft(spec: Spec, x: Tensor, rng: Rng) -> Tensor:
    """Numbers of a network, ``(B, *spec.shape)``, as examples that a critic's gradient passes through.

    Pictures and levels in [-1, 1]; one-hot blocks as Gumbel-softmax, probabilities close to one and zero. ``finish`` makes
    them whole.
    """
    if not spec.blocks:
        return x.tanh() if spec.is_image or spec.is_tokens else x
    gumbel = -torch.log(-torch.log(rng.uniform(*x.shape).clamp(1e-20, 1 - 1e-7)))
    parts, at = [], 0
    for part in choices(spec):
        parts += [x[:, at : part.start], ((x[:, part] + gumbel[:, part]) / _GUMBEL).softmax(1)]
        at = part.stop
    return torch.cat([*parts, x[:, at:]], 1)


def finish(spec: Spec, x: Tensor) -> Tensor:
    """Real numbers a network made, ``(B, *spec.shape)``, as examples: the nearest levels, the largest of each one-hot."""
    if spec.is_tokens:
        return spec.as_tokens(x)
    if not spec.blocks:
        return x
    out = x.clone()
    for part in choices(spec):
        out[:, part] = F.one_hot(x[:, part].argmax(1), part.stop - part.start).to(x.dtype)
    return out
