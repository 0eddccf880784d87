"""The network in which style and content are seen, trained here from the built-in photographs, once for a machine."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bottega.core import Rng
from bottega.data import builtin
from bottega.data._kept import cache_folder
from bottega.nets.vgg import SMALL, Vgg, load_vgg
from bottega.workshop.run import Progress, Tell

__all__ = ["features", "learn", "photographs", "train_features"]

STEPS, BATCH, PATCH = 400, 24, 32
_REGION = 96  # pixels of a square of a photograph that is one class


def photographs() -> list[Tensor]:
    """The built-in photographs whole, each ``(3, H, W)`` in [-1, 1]."""
    patches: dict[str, list[tuple[int, int, Tensor]]] = defaultdict(list)
    for item in builtin.load("photos").items:
        name, _, place = item.name.partition("@")
        left, top = map(int, place.split(","))
        patches[name].append((left, top, torch.from_numpy(item.value).permute(2, 0, 1)))
    out = []
    for found in patches.values():
        side = found[0][2].shape[-1]
        photo = torch.zeros(3, max(t for _, t, _ in found) + side, max(x for x, _, _ in found) + side)
        for left, top, patch in found:
            photo[:, top : top + side, left : left + side] = patch.float() / 127.5 - 1
        out.append(photo)
    return out


def learn(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Rng], Tensor],
    rng: Rng,
    steps: int,
    tell: Tell,
    note: str,
    lr: float = 2e-3,
) -> None:
    """Minimise ``loss(rng)`` by AdamW with warm-up and cosine decay."""
    optim = torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-3, fused=True)
    warm = max(1, steps // 20)
    plan = torch.optim.lr_scheduler.LambdaLR(
        optim, lambda s: min((s + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * s / steps))
    )
    for step in range(steps):
        optim.zero_grad()
        found = loss(rng)
        found.backward()  # type: ignore[no-untyped-call]
        optim.step()
        plan.step()
        tell(Progress("train", step + 1, steps, {"loss": found.item()}, note=note))


def train_features(steps: int = STEPS, tell: Tell = lambda _: None) -> Vgg:
    """A network that knows from which part of which photograph a patch was cut, however it was turned and lit.

    Exemplar classes after Dosovitskiy et al. 2014, arXiv:1406.6909: every square of 96 pixels of the photographs is a
    class; patches of 32 pixels are cut from it at scales of 1 to 2, mirrored, and changed in brightness, contrast and
    tint. Afterwards every filter is scaled to a mean of one, as Gatys et al. did.
    """
    regions = [
        photo[:, top : top + _REGION, left : left + _REGION]
        for photo in photographs()
        for top in range(0, photo.shape[1] - _REGION + 1, _REGION)
        for left in range(0, photo.shape[2] - _REGION + 1, _REGION)
    ]
    with torch.random.fork_rng(devices=[]):  # torch's layers draw their first weights from the global stream
        torch.manual_seed(0)
        net = Vgg(SMALL)
        head = nn.Linear(2 * SMALL[-1][-1], len(regions))

    def some(rng: Rng) -> tuple[Tensor, Tensor]:
        which = rng.integers(len(regions), BATCH)
        out = []
        for k in which.tolist():
            side = PATCH + int(rng.integers(PATCH + 1, 1))
            top, left = rng.integers(_REGION - side + 1, 2).tolist()
            cut = regions[k][None, :, top : top + side, left : left + side]
            out.append(F.interpolate(cut, size=(PATCH, PATCH), mode="bilinear", antialias=True)[0])
        x = torch.stack(out)
        x = torch.where(rng.uniform(BATCH, 1, 1, 1) < 0.5, x.flip(3), x)
        lit = x * (0.6 + 0.8 * rng.uniform(BATCH, 1, 1, 1)) + 0.4 * (rng.uniform(BATCH, 3, 1, 1) - 0.5)
        return (lit + 0.05 * rng.normal(*lit.shape)).clamp(-1, 1), which

    def loss(rng: Rng) -> Tensor:
        x, which = some(rng)
        last = net.maps(x, net.names[-1:])[net.names[-1]]
        seen = torch.cat([last.mean((2, 3)), last.amax((2, 3))], 1)
        return F.cross_entropy(head(seen), which)

    learn([*net.parameters(), *head.parameters()], loss, Rng(0), steps, tell, "learning to see from photographs")
    net.requires_grad_(False).eval()
    rng = Rng(1)
    net.even_out(torch.cat([some(rng)[0] for _ in range(8)]))
    return net


def features(weights: str | Path | None = None, *, steps: int = STEPS, tell: Tell = lambda _: None) -> Vgg:
    """The feature network: VGG-19 with the user's ``weights`` (safetensors), else our own, trained once and kept.

    Raises:
        CheckpointError: the weights cannot be read.
    """
    if weights is not None:
        return load_vgg(weights)
    key = hashlib.sha256(repr((SMALL, steps, BATCH, PATCH, builtin.load("photos").about)).encode()).hexdigest()[:12]
    path = cache_folder() / f"features-{key}.safetensors"
    with torch.random.fork_rng(devices=[]):
        net = Vgg(SMALL)
    try:
        net.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):  # not yet trained, or a file that was cut short
        net = train_features(steps, tell)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        save_file(net.state_dict(), part)
        os.replace(part, path)
    net.weights = hashlib.sha256(path.read_bytes()).hexdigest()
    return net.eval().requires_grad_(False)
