"""The small convolutional network that judges train for themselves, and how they train and keep it."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bottega.core import Rng
from bottega.judge._case import Case

__all__ = ["ConvNet", "fit", "kept", "steps_for"]

SIDE = 32  # larger pictures are averaged down to this many pixels


class ConvNet(nn.Module):
    """Three convolutions and two linear layers (after LeCun et al. 1998; ReLU and dropout as Krizhevsky et al. 2012).

    Args:
        shape: of a picture, ``(C, H, W)``; longer sides than 32 are averaged down.
        outputs: width of the read-out.
        hidden: width of the layer before it.
        activation: a function of tensors.
        dropout: share of the hidden layer forgotten in training, drawn from the Rng given to ``forward``.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        hidden: int = 128,
        activation: Callable[[Tensor], Tensor] = F.relu,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation, self.dropout = activation, dropout
        self.shrink = math.ceil(max(shape[1:]) / SIDE)
        side = max(shape[1:]) / self.shrink
        strides = (2, 2, 1) if side > 16 else (1, 2, 2) if side > 8 else (1, 2, 1)
        widths = (shape[0], 32, 64, 64)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, s, 1) for a, b, s in zip(widths, widths[1:], strides, strict=False)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, b) for b in widths[1:])
        with torch.no_grad():
            flat = self.maps(torch.zeros(1, *shape))[-1].numel()
        self.last = nn.Linear(flat, hidden)
        self.head = nn.Linear(hidden, outputs)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each convolution sees: three ``(N, channels, h, w)``."""
        if self.shrink > 1:
            x = F.avg_pool2d(x, self.shrink, ceil_mode=True)
        out = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm(conv(x)))
            out.append(x)
        return out

    def features(self, x: Tensor) -> Tensor:
        """``(N, C, H, W) -> (N, 64 + hidden)``: texture (the second map's mean) and content (the layer before last)."""
        maps = self.maps(x)
        return torch.cat([maps[1].mean((2, 3)), self.activation(self.last(maps[-1].flatten(1)))], 1)

    def forward(self, x: Tensor, rng: Rng | None = None) -> Tensor:
        """``(N, C, H, W) -> (N, outputs)``; with an Rng, dropout is on."""
        h = self.activation(self.last(self.maps(x)[-1].flatten(1)))
        if rng is not None and self.dropout:
            h = h * (rng.uniform(*h.shape) >= self.dropout) / (1 - self.dropout)
        return self.head(h)


def steps_for(n: int, shape: tuple[int, ...], batch: int, epochs: int = 40) -> int:
    """Training steps that fit ``epochs`` over ``n`` pictures or some ten seconds on two cores, whichever is less."""
    pixels = min(SIDE, shape[1]) * min(SIDE, shape[2])
    seen = min(epochs * n, 20_000 * SIDE * SIDE // pixels, 40_000)
    return max(100, seen // batch)


def fit(net: nn.Module, loss: Callable[[Rng], Tensor], rng: Rng, steps: int, lr: float = 2e-3) -> None:
    """Minimise ``loss(rng)`` by AdamW with warm-up and cosine decay."""
    optim = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.02, fused=True)
    warm = max(1, steps // 20)
    plan = torch.optim.lr_scheduler.LambdaLR(
        optim, lambda s: min((s + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * s / steps))
    )
    for _ in range(steps):
        optim.zero_grad()
        loss(rng).backward()
        optim.step()
        plan.step()


def data_key(case: Case) -> str:
    """Sixteen hexadecimal digits of what judges' networks are trained on: the training examples and their labels."""
    if "data_key" not in case.cache:
        digest = hashlib.sha256(repr(case.spec).encode())
        for part in (case.train.x, case.train.cond):
            if part is not None:
                digest.update(part.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        case.cache["data_key"] = digest.hexdigest()[:16]
    return case.cache["data_key"]


def kept(case: Case, name: str, build: Callable[[], nn.Module], train: Callable[[nn.Module, Rng], None]) -> nn.Module:
    """A network trained once for these data: from ``case.cache``, from ``facts["cache_dir"]``, or trained now.

    Training always uses seed 0, so that two runs on the same data are judged by the same network.
    """
    if name in case.cache:
        return case.cache[name]
    with torch.random.fork_rng(devices=[]):  # torch's layers draw their first weights from the global stream
        torch.random.default_generator.manual_seed(0)
        net = build()
    net = net.to(case.device)
    folder = case.facts.get("cache_dir")
    path = None if folder is None else Path(folder) / f"{name}-{data_key(case)}.safetensors"
    if path is not None and path.exists():
        net.load_state_dict(load_file(path))
    else:
        train(net, Rng(0, device=case.device).fork(name))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}.part")
            save_file(net.state_dict(), part)
            os.replace(part, path)
    case.cache[name] = net.eval().requires_grad_(False)
    return net
