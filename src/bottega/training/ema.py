"""A running average of the weights, which usually samples better than the last weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a model's parameters (Polyak & Juditsky 1992; Karras et al. 2022, app. F.2).

    The decay is warmed up as ``min(decay, (1 + step) / (10 + step))`` so that early weights do not linger. Buffers are not
    averaged: the model's own are used.

    Args:
        model: whose parameters are followed.
        decay: how much of the average stays at each step, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema decay must lie in [0, 1), not {decay}; 0.999 averages over about 1000 steps")
        self.decay = decay
        self.shadow = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights after ``step`` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.shadow.values()), [p.detach() for p in model.parameters()], 1 - decay)

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """The model holds the averaged weights inside, its own again afterwards."""
        own = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.load(model, self.shadow)
        try:
            yield
        finally:
            self.load(model, own)

    @staticmethod
    @torch.no_grad()
    def load(model: nn.Module, weights: dict[str, Tensor]) -> None:
        """Copy ``weights`` into the parameters of the same names."""
        for name, p in model.named_parameters():
            p.copy_(weights[name])
