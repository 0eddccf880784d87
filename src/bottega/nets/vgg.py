"""Stacks of 3 x 3 convolutions whose maps are what style and content are measured in (Simonyan & Zisserman 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bottega.nets.own_weights import read_weights

__all__ = ["SMALL", "VGG19", "Vgg", "load_vgg"]

VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
SMALL = ((24, 24), (48, 48), (72, 72), (96,))
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours in [0, 1], as VGG-19 was trained


class Vgg(nn.Module):
    """Pictures ``(N, 3, H, W)`` in [-1, 1] to the maps after each ReLU, named ``relu2_1``: stage, then place in it.

    Between stages the picture is halved by averaging, as Gatys et al. 2015, arXiv:1508.06576, found smoother.

    Args:
        stages: for each stage the widths of its convolutions.
    """

    def __init__(self, stages: Sequence[Sequence[int]] = SMALL) -> None:
        super().__init__()
        self.stages = tuple(tuple(stage) for stage in stages)
        widths = [3, *(width for stage in self.stages for width in stage)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in zip(widths, widths[1:], strict=False))
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # He et al. 2015: no map fades with depth
            nn.init.zeros_(conv.bias)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1))
        self.weights = ""  # SHA-256 of the weights, where they were read from a file

    @property
    def names(self) -> list[str]:
        """Of all maps, from the picture on."""
        return [f"relu{s}_{k}" for s, stage in enumerate(self.stages, 1) for k in range(1, len(stage) + 1)]

    @property
    def style(self) -> list[str]:
        """The maps whose Gram matrices are a style: the first of each stage."""
        return [f"relu{s}_1" for s in range(1, len(self.stages) + 1)]

    @property
    def content(self) -> str:
        """The map that is content: the second of the last stage but one, as far as there is one."""
        return f"relu{len(self.stages) - 1}_2"

    def maps(self, x: Tensor, wanted: Sequence[str], wrap: bool = False) -> dict[str, Tensor]:
        """The named maps, computed no further than needed; ``wrap``: the picture is a torus, left meets right."""
        x, out = ((x + 1) / 2 - self.mean) / self.std, {}
        places = iter(zip(self.names, self.convs, strict=True))
        for s, stage in enumerate(self.stages):
            if s:
                x = F.avg_pool2d(x, 2)
            for _ in stage:
                name, conv = next(places)
                x = F.relu(conv(F.pad(x, (1, 1, 1, 1), "circular" if wrap else "constant")))
                if name in wanted:
                    out[name] = x
                if len(out) == len(wanted):
                    return out
        return out

    @torch.no_grad()
    def even_out(self, x: Tensor) -> None:
        """Scale every filter so that its mean over pictures ``(N, 3, H, W)`` is one, as Gatys et al. did to VGG-19.

        What the network computes stays the same up to these factors, since ReLU passes positive ones through.
        """
        factors = torch.ones(3, device=x.device)
        for name, conv in zip(self.names, self.convs, strict=True):
            conv.weight.mul_(factors[None, :, None, None])
            mean = self.maps(x, [name])[name].mean((0, 2, 3))
            mean = torch.where(mean > 0.01 * mean.mean(), mean, mean.mean())  # what never fires here may elsewhere
            conv.weight.div_(mean[:, None, None, None])
            conv.bias.div_(mean)
            factors = mean


def load_vgg(path: str | Path) -> Vgg:
    """VGG-19 with the weights of a safetensors file, named as in torchvision: ``features.0.weight``, ...

    Raises:
        CheckpointError: no such file, a pickle, damaged, or a tensor is missing or has another shape.
    """
    with torch.random.fork_rng(devices=[]):  # the layers' first weights are not used
        net = Vgg(VGG19)
    places: dict[str, Tensor] = {}  # the tensor of ours that each of theirs goes to
    place, own = 0, iter(net.convs)
    for stage in VGG19:
        for _ in stage:
            conv = next(own)
            places |= {f"features.{place}.weight": conv.weight, f"features.{place}.bias": conv.bias}
            place += 2  # a ReLU stands after each convolution
        place += 1  # and a pool after each stage
    weights, digest = read_weights(path, {name: mine.shape for name, mine in places.items()}, "VGG-19")
    with torch.no_grad():
        for name, mine in places.items():
            mine.copy_(weights[name])
    net.weights = digest
    return net.eval().requires_grad_(False)
