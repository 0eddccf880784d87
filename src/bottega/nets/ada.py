"""Adaptive discriminator augmentation: what a critic sees is changed as often as it takes to keep it from memorising."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bottega.core import Rng

__all__ = ["Adaptive", "coloured", "cut", "mirrored", "moved"]

_AGREED, _MOST, _MEMORY = 0.6, 0.8, 0.1  # target of r_t; beyond 0.8 changes leak into samples; of the running mean


class Adaptive(nn.Module):
    """Changes pictures, each row by its own draws, each change with probability ``p``, which follows the critic.

    Flips, quarter turns and shifts of whole pixels; brightness, contrast and saturation; a square cut out. What is made
    and what is real go through the same changes, and gradients pass through them, so that the generator learns pictures
    that look real after them; as long as each change is sometimes left out, these are unchanged ones. How often depends
    on the mean sign of the critic's number on real pictures, ``r``: 0 for a critic that cannot tell, 1 for one that knows
    every picture. ``p`` rises while ``r`` is above 0.6 and falls below (Karras et al. 2020, arXiv:2006.06676, sections
    2.2 and 3).

    Args:
        images: over so many real pictures ``p`` moves by 1 at most.

    Attributes:
        p: how often each change is made, a buffer, in [0, 0.8].
        r: the running mean of the signs, a buffer.
    """

    p: Tensor
    r: Tensor

    def __init__(self, images: float = 50_000.0) -> None:
        super().__init__()
        self.images = images
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("r", torch.zeros(()))
        self._seen: list[Tensor] = []

    def forward(self, x: Tensor, rng: Rng) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] to the same shape; the same where ``p`` is 0."""
        n, side = len(x), x.shape[2:]
        on = rng.uniform(n, 7) < self.p
        draw, odd = rng.uniform(n, 6), rng.normal(n, 3)
        turns = (4 * draw[:, 0]).long() if side[0] == side[1] else 2 * (2 * draw[:, 0]).long()
        reach = torch.tensor([max(1, s // 8) for s in side], device=x.device)
        shift = ((2 * reach + 1) * draw[:, 1:3]).long() - reach
        x = moved(x, on[:, 0] & (draw[:, 5] < 0.5), turns * on[:, 1], shift * on[:, 2:3])
        x = coloured(x, 0.2 * odd[:, 0] * on[:, 3], (0.5 * odd[:, 1] * on[:, 4]).exp2(), (odd[:, 2] * on[:, 5]).exp2())
        return cut(x, draw[:, 3:5], on[:, 6])

    def watch(self, real: Tensor) -> None:
        """Remember what the critic says of real pictures, ``(B,)``, until ``settle``; nothing outside training."""
        if self.training:
            self._seen.append(real.detach().sign())

    @torch.no_grad()
    def settle(self) -> None:
        """Move ``r`` and ``p`` by what was seen since the last call."""
        for signs in self._seen:
            self.r.lerp_(signs.mean(), _MEMORY)
            self.p.add_((self.r - _AGREED).sign() * len(signs) / self.images).clamp_(0, _MOST)
        self.forget()

    def forget(self) -> None:
        """Drop what was seen since the last ``settle``: the step is undone."""
        self._seen.clear()


def moved(x: Tensor, flip: Tensor, turns: Tensor, shift: Tensor) -> Tensor:
    """Mirrored left to right where ``flip`` (B,), turned anticlockwise by quarter ``turns`` (B,), shifted by ``(B, 2)`` pixels.

    A picture that is no square is turned by two quarters only. What comes in at an edge is mirrored.

    >>> x = torch.arange(4.0).view(1, 1, 2, 2)
    >>> moved(x, torch.tensor([True]), torch.tensor([1]), torch.zeros(1, 2).long()).equal(x.flip(3).rot90(1, (2, 3)))
    True
    """
    n, _, height, width = x.shape
    row = torch.arange(height, device=x.device).view(1, -1, 1) - shift[:, 0].view(-1, 1, 1)
    column = torch.arange(width, device=x.device).view(1, 1, -1) - shift[:, 1].view(-1, 1, 1)
    row, column = torch.broadcast_tensors(mirrored(row, height), mirrored(column, width))
    quarter, half = (turns % 2 == 1).view(-1, 1, 1), (turns >= 2).view(-1, 1, 1)
    row, column = torch.where(quarter, column, row), torch.where(quarter, width - 1 - row, column)
    row, column = torch.where(half, height - 1 - row, row), torch.where(half, width - 1 - column, column)
    column = torch.where(flip.view(-1, 1, 1), width - 1 - column, column)
    place = (row * width + column).view(n, 1, -1).expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, place).view_as(x)


def coloured(x: Tensor, brighter: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """``contrast x + brighter``, and colours ``saturation`` times as far from their grey; ``(B,)`` each. Alpha stays."""
    colours = x[:, :3] if x.shape[1] == 4 else x
    wide = (-1, 1, 1, 1)
    colours = colours * contrast.view(wide) + brighter.view(wide)
    if colours.shape[1] == 3:
        grey = colours.mean(1, keepdim=True)
        colours = colours + (saturation.view(wide) - 1) * (colours - grey)
    return torch.cat([colours, x[:, 3:]], 1) if x.shape[1] == 4 else colours


def cut(x: Tensor, centre: Tensor, on: Tensor) -> Tensor:
    """Mid-grey in a rectangle of half of each side around ``centre`` (B, 2), a share of the sides, where ``on`` (B,)."""
    inside = on.view(-1, 1, 1)
    for axis, side in enumerate(x.shape[2:]):
        place = (torch.arange(side, device=x.device) + 0.5) / side
        near = (place - centre[:, axis, None]).abs() < 0.25
        inside = inside & near.view(len(x), *((-1, 1) if axis == 0 else (1, -1)))
    return x.masked_fill(inside[:, None], 0.0)


def mirrored(place: Tensor, side: int) -> Tensor:
    """Places that may lie beyond the edges, ``-side < place < 2 side - 1``, as places in a picture mirrored there.

    >>> mirrored(torch.arange(-2, 6), 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    place = place.abs()
    return torch.where(place > side - 1, 2 * (side - 1) - place, place)
