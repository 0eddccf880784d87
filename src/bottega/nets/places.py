"""Whole numbers as places: each counts from the start of its own levels or names, as in a picture or a row of a table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bottega.core import Spec

__all__ = ["Places"]


class Places(nn.Module):
    """The places of one example of a token Spec: ``(B, *shape)`` to ``(B, places)`` and back.

    Attributes:
        most: the widest place's number of levels or names.
        beyond: True where a place has no such level, ``(places, most)``.

    >>> places = Places(Spec((1, 2, 2), vocab=3))
    >>> places.enter(torch.ones(5, 1, 2, 2, dtype=torch.long)).shape, places.most
    (torch.Size([5, 4]), 3)
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.shape = spec.shape
        starts = torch.tensor([b.start for b in spec.blocks] or [0] * spec.dims)
        widths = torch.tensor([b.width for b in spec.blocks] or [spec.vocab] * spec.dims)
        self.most = int(widths.max())
        self.register_buffer("starts", starts, persistent=False)
        self.register_buffer("beyond", torch.arange(self.most) >= widths[:, None], persistent=False)

    def __len__(self) -> int:
        return len(self.starts)

    def enter(self, x: Tensor) -> Tensor:
        """Examples ``(B, *shape)`` -> numbers counted from each place's start, ``(B, places)``."""
        return x.flatten(1) - self.starts

    def leave(self, local: Tensor) -> Tensor:
        """The inverse of ``enter``."""
        return (local + self.starts).view(-1, *self.shape)
