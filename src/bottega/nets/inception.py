"""Inception-v3 up to its 2048 pooled features, in the variant by which Fréchet Inception distances are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import SpecError
from bottega.nets.own_weights import read_weights

__all__ = ["FEATURES", "Inception", "load_inception"]

FEATURES = 2048  # numbers for each picture
SIDE = 299  # what every picture is resized to
BATCH = 32  # pictures at once: the widest map of one is 5.5 MB

Step = tuple[str, int, int, int]  # name, channels out, height and width of the kernel
Chain = Sequence[tuple[Step, ...]]  # links in a row; the steps of one link stand side by side


class _Conv(nn.Module):
    """Convolution without bias, batch normalisation by stored statistics, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if pad else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Chains of convolutions and a pool side by side, their channels joined.

    Args:
        inputs: channels in.
        chains: as in the paper's figures; the last link of a chain may have two steps.
        pool: ``"average"`` (over what is inside the picture, 3 x 3), ``"max"`` (3 x 3), either followed by a 1 x 1
            convolution; or ``"halve"``: max 3 x 3 of stride 2, as are then the last steps of all chains, unpadded.
        pooled: channels after the pool's convolution.
    """

    def __init__(self, inputs: int, chains: Sequence[Chain], pool: str, pooled: int = 0) -> None:
        super().__init__()
        self.pool = pool
        self.chains = [[[step[0] for step in link] for link in chain] for chain in chains]
        self.outputs = pooled or inputs
        for chain in chains:
            width = inputs
            for link in chain:
                halve = pool == "halve" and link is chain[-1]
                for name, channels, height, breadth in link:
                    self.add_module(name, _Conv(width, channels, (height, breadth), 2 if halve else 1, pad=not halve))
                width = sum(step[1] for step in link)
            self.outputs += width
        if pooled:
            self.branch_pool = _Conv(inputs, pooled, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for chain in self.chains:
            h = x
            for link in chain:
                h = torch.cat([self.get_submodule(name)(h) for name in link], 1)
            out.append(h)
        if self.pool == "halve":
            return torch.cat([*out, F.max_pool2d(x, 3, 2)], 1)
        if self.pool == "max":
            pooled = F.max_pool2d(x, 3, 1, 1)
        else:
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([*out, self.branch_pool(pooled)], 1)


def _at_35(inputs: int, pooled: int) -> _Mixed:
    """Figure 5 of the paper, with the 5 x 5 convolution left whole in one branch."""
    return _Mixed(
        inputs,
        [
            [(("branch1x1", 64, 1, 1),)],
            [(("branch5x5_1", 48, 1, 1),), (("branch5x5_2", 64, 5, 5),)],
            [(("branch3x3dbl_1", 64, 1, 1),), (("branch3x3dbl_2", 96, 3, 3),), (("branch3x3dbl_3", 96, 3, 3),)],
        ],
        "average",
        pooled,
    )


def _to_17(inputs: int) -> _Mixed:
    """Figure 10: a smaller picture with more channels."""
    return _Mixed(
        inputs,
        [
            [(("branch3x3", 384, 3, 3),)],
            [(("branch3x3dbl_1", 64, 1, 1),), (("branch3x3dbl_2", 96, 3, 3),), (("branch3x3dbl_3", 96, 3, 3),)],
        ],
        "halve",
    )


def _at_17(inputs: int, width: int) -> _Mixed:
    """Figure 6: 7 x 7 convolutions as 1 x 7 and 7 x 1."""
    return _Mixed(
        inputs,
        [
            [(("branch1x1", 192, 1, 1),)],
            [(("branch7x7_1", width, 1, 1),), (("branch7x7_2", width, 1, 7),), (("branch7x7_3", 192, 7, 1),)],
            [
                (("branch7x7dbl_1", width, 1, 1),),
                (("branch7x7dbl_2", width, 7, 1),),
                (("branch7x7dbl_3", width, 1, 7),),
                (("branch7x7dbl_4", width, 7, 1),),
                (("branch7x7dbl_5", 192, 1, 7),),
            ],
        ],
        "average",
        192,
    )


def _to_8(inputs: int) -> _Mixed:
    """Smaller once more, one branch by way of 7 x 7."""
    return _Mixed(
        inputs,
        [
            [(("branch3x3_1", 192, 1, 1),), (("branch3x3_2", 320, 3, 3),)],
            [
                (("branch7x7x3_1", 192, 1, 1),),
                (("branch7x7x3_2", 192, 1, 7),),
                (("branch7x7x3_3", 192, 7, 1),),
                (("branch7x7x3_4", 192, 3, 3),),
            ],
        ],
        "halve",
    )


def _at_8(inputs: int, pool: str) -> _Mixed:
    """Figure 7: branches that end in 1 x 3 and 3 x 1 side by side."""
    return _Mixed(
        inputs,
        [
            [(("branch1x1", 320, 1, 1),)],
            [(("branch3x3_1", 384, 1, 1),), (("branch3x3_2a", 384, 1, 3), ("branch3x3_2b", 384, 3, 1))],
            [
                (("branch3x3dbl_1", 448, 1, 1),),
                (("branch3x3dbl_2", 384, 3, 3),),
                (("branch3x3dbl_3a", 384, 1, 3), ("branch3x3dbl_3b", 384, 3, 1)),
            ],
        ],
        pool,
        192,
    )


class Inception(nn.Module):
    """Pictures ``(N, C, H, W)`` in [-1, 1] to features ``(N, 2048)``, for measuring only: it is never trained here.

    Szegedy et al. 2015, arXiv:1512.00567, as the TensorFlow graph of 2015-12-05 has it, which Heusel et al. 2017,
    arXiv:1706.08500, took their features from. It differs from later ones in two ways: average pools count only what
    lies inside the picture, and the last block pools by the maximum. Parameters are named as in the weights that people
    have (those of pytorch-fid, torchvision and timm), so that these load as they are; others than those of 2015-12-05
    give features, but not those of published figures.

    Pictures of one channel are repeated to three. Values are cut to [-1, 1], as they are when a picture is saved, and
    every picture is resized to 299 x 299, bilinear, without smoothing (as the usual PyTorch implementations do). Where
    larger pictures shrink, clean-fid (Parmar et al. 2022, arXiv:2104.11222) smooths first and finds other distances.

    Raises:
        SpecError: what comes in is not pictures of one or three channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, (3, 3), 2, pad=False)
        self.Conv2d_2a_3x3 = _Conv(32, 32, (3, 3), pad=False)
        self.Conv2d_2b_3x3 = _Conv(32, 64, (3, 3))
        self.Conv2d_3b_1x1 = _Conv(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = _Conv(80, 192, (3, 3), pad=False)
        self.Mixed_5b = _at_35(192, 32)
        self.Mixed_5c = _at_35(256, 64)
        self.Mixed_5d = _at_35(288, 64)
        self.Mixed_6a = _to_17(288)
        self.Mixed_6b = _at_17(768, 128)
        self.Mixed_6c = _at_17(768, 160)
        self.Mixed_6d = _at_17(768, 160)
        self.Mixed_6e = _at_17(768, 192)
        self.Mixed_7a = _to_8(768)
        self.Mixed_7b = _at_8(1280, "average")
        self.Mixed_7c = _at_8(2048, "max")
        self.weights = ""  # SHA-256 of the file they were read from
        self.eval().requires_grad_(False)

    @property
    def about(self) -> str:
        """Which features these are, for notes: features of other weights are other features."""
        return f"{FEATURES} Inception features, weights {self.weights[:12]}"

    def maps(self, x: Tensor) -> Tensor:
        """The last maps ``(N, 2048, h, w)`` of pictures ``(N, 3, H, W)`` as they are; 8 x 8 for 299 x 299."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W) -> (N, 2048)``, any N, H and W; C is 1 or 3."""
        if x.ndim != 4 or x.shape[1] not in {1, 3}:
            raise SpecError(
                f"examples of shape {tuple(x.shape[1:])} are not pictures of 1 or 3 channels; Inception features need those"
            )
        out = []
        for some in x.float().clamp(-1, 1).split(BATCH):
            wide = F.interpolate(some, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
            out.append(self.maps(wide.expand(-1, 3, -1, -1)).mean((2, 3)))
        return torch.cat(out)

    def train(self, mode: bool = True) -> Inception:
        """Stays in evaluation mode, whatever is asked."""
        return super().train(False)


def load_inception(path: str | Path) -> Inception:
    """The network with the weights of a safetensors file; a classifier's own tensors (``fc``, ``AuxLogits``) are left out.

    Args:
        path: tensors named ``Conv2d_1a_3x3.conv.weight``, ``Mixed_5b.branch1x1.bn.running_mean``, ..., of any float kind.

    Raises:
        CheckpointError: no such file, a pickle, damaged, or a tensor is missing or has another shape.
    """
    with torch.device("meta"):  # the layers' first weights are never used, and would draw from the global stream
        net = Inception()
    own = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    counters = {name: torch.zeros((), dtype=torch.int64) for name in own if name.endswith("num_batches_tracked")}
    weights, digest = read_weights(path, {k: shape for k, shape in own.items() if k not in counters}, "Inception-v3")
    weights |= counters
    net.load_state_dict(weights, assign=True)
    net.requires_grad_(False)
    net.weights = digest
    return net
