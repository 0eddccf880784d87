"""Terms: an objective as one number per example, named part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Terms:
    """What one player minimises: the sum of its parts, one number per example.

    The mean is never taken here: the loop divides once, by the summed weight over all micro-batches and ranks.

    Attributes:
        parts: name -> ``(B,)``, in nats where that means anything.
        weight: what an example counts for, ``(B,)`` (its target tokens, say); None is ones.
        norm: of the player's gradient before clipping, a scalar; None until the turn was played.

    >>> import torch
    >>> terms = Terms({"rec": torch.ones(2), "kl": torch.tensor([1.0, 3.0])})
    >>> terms.total.tolist(), terms.count.item(), terms.means()["kl"]
    ([2.0, 4.0], 2.0, 2.0)
    """

    parts: Mapping[str, Tensor]
    weight: Tensor | None = None
    norm: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """The objective of each example, ``(B,)``."""
        first, *rest = self.parts.values()
        for part in rest:
            first = first + part
        return first

    @property
    def count(self) -> Tensor:
        """The summed weight, a scalar; the number of examples when no weight is given."""
        if self.weight is not None:
            return self.weight.sum()
        total = next(iter(self.parts.values()))
        return torch.full((), float(len(total)), device=total.device)  # exact, where bfloat16 would round it

    def means(self) -> dict[str, float]:
        """Each part summed over examples and divided by the summed weight, for logs."""
        count = self.count.detach().clamp_min(1e-12)
        return {name: (part.detach().sum() / count).item() for name, part in self.parts.items()}
