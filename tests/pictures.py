"""Small pictures whose truth is known, and the few lines that train a model on them."""

from __future__ import annotations

import struct
import zlib

import torch
import torch.nn.functional as F

from bottega.core import Encoded, Rng
from bottega.data.stream import Stream
from bottega.training.loop import fit
from bottega.training.optim import make_optims


def trained(model, batch, steps, *, lr=2e-3, size=16):
    optims = make_optims(model, steps, {"lr": lr, "beta1": 0.5, "weight_decay": 0.0})
    return fit(model, Stream(Encoded(batch), size), optims, steps=steps, rng=Rng(0), clip=1.0)


def made(family, spec, seed=0, **settings):
    torch.manual_seed(seed)
    return family(spec, **settings)


def discs(n, seed, side=16):
    """Filled discs and squares, ``(n, 1, side, side)`` in {-0.8, 0.8}."""
    rng = Rng(seed)
    place = torch.arange(side).float() + 0.5
    centre, radius = (0.35 + 0.3 * rng.uniform(n, 2)) * side, (0.15 + 0.15 * rng.uniform(n, 1, 1)) * side
    dy, dx = place[:, None] - centre[:, 0, None, None], place - centre[:, 1, None, None]
    square = (rng.uniform(n) < 0.5)[:, None, None]
    inside = torch.where(square, torch.maximum(dy.abs(), dx.abs()) <= 0.9 * radius, dy**2 + dx**2 <= radius**2)
    return torch.where(inside, 0.8, -0.8)[:, None]


def edges(x):
    """Where a pixel differs from one beside it: a sketch of the outline."""
    high = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-0.8), 3, 1)
    return torch.where(high > x, 0.8, -0.8)


def vast(path, side=20_000):
    """A whole PNG or GIF (two frames) of black, ``side`` x ``side``, of a megabyte at most; returns ``path``."""
    if path.suffix == ".gif":
        screen = struct.pack("<HH", side, side)
        frame = b"," + bytes(4) + screen + b"\0\2\2\x4c\x01\0"
        path.write_bytes(b"GIF89a" + screen + b"\x80\0\0" + bytes(3) + b"\xff" * 3 + 2 * frame + b";")
        return path
    packer = zlib.compressobj(9)
    line = b"\x00" + bytes(side)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path
