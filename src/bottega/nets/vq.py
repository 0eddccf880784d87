"""A codebook: vectors to the nearest of K learned ones, which follow the vectors that choose them."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Codebook"]


class Codebook(nn.Module):
    """K unit vectors; a vector is said by the number of the nearest (van den Oord et al. 2017, arXiv:1711.00937).

    Vectors are brought to length one first, so that the nearest is the one of the smallest angle and no code is favoured
    for its length (Yu et al. 2021, arXiv:2110.04627, section 3.2). Codes are no parameters: each is the moving average of
    the vectors that chose it (appendix A.1). A forward pass only notes what was chosen; ``settle`` moves the codes, with
    the noted vectors of all ranks, so a loss changes nothing and does not depend on how its batch was cut.

    A code that nothing chooses any more is given the place of a recent vector (Dhariwal et al. 2020, arXiv:2005.00341,
    section 3.1); before the first ``settle`` all are.

    Args:
        codes: K.
        width: of a code.
        decay: of the moving averages.
        idle: a code whose average use falls below this share of an even use is given another place.
    """

    def __init__(self, codes: int, width: int, decay: float = 0.98, idle: float = 0.02) -> None:
        super().__init__()
        self.decay, self.idle = decay, idle
        start = F.normalize(torch.randn(codes, width), dim=1)
        self.register_buffer("vectors", start)
        self.register_buffer("total", start.clone())
        self.register_buffer("use", torch.zeros(codes))  # 0 everywhere: nothing was ever chosen
        self._noted: list[tuple[Tensor, Tensor]] = []

    def nearest(self, z: Tensor) -> Tensor:
        """``(..., width) -> (...)`` numbers of codes, int64."""
        return (F.normalize(z.float(), dim=-1) @ self.vectors.T).argmax(-1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(..., width)`` -> the nearest codes with the gradient passed straight through, their numbers, squared errors.

        The squared error ``|unit(z) - code|^2``, ``(...)``, is what a commitment loss holds down; its gradient reaches ``z``.
        """
        unit = F.normalize(z.float(), dim=-1)
        index = self.nearest(unit)
        code = self.vectors[index]
        if self.training and torch.is_grad_enabled():
            self._noted.append((unit.detach().flatten(0, -2), index.flatten()))
        return unit + (code - unit).detach(), index, (unit - code).square().sum(-1)

    def forget(self) -> None:
        """Drop the vectors noted since the last ``settle``: the step is undone."""
        self._noted.clear()

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Move the codes towards the vectors noted since the last time."""
        if not self._noted:
            return
        unit = torch.cat([u for u, _ in self._noted])
        index = torch.cat([i for _, i in self._noted])
        self.forget()
        codes = len(self.vectors)
        used = torch.bincount(index, minlength=codes).to(unit)
        total = torch.zeros_like(self.total).index_add_(0, index, unit)
        # a spread of recent vectors, another one at each step: where codes that nothing chooses go
        fresh = unit[(torch.arange(codes, device=unit.device) * 7919 + step * 104729) % len(unit)]
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(used)
            dist.all_reduce(total)
            dist.broadcast(fresh, 0)
        first = not self.use.any()
        if first:
            self.use.fill_(used.sum() / codes)
            self.total.copy_(fresh * self.use[:, None])
        else:
            self.use.lerp_(used, 1 - self.decay)
            self.total.lerp_(total, 1 - self.decay)
            even = self.use.sum() / codes
            dead = self.use < self.idle * even
            self.use[dead] = even
            self.total[dead] = fresh[dead] * even
        self.vectors.copy_(F.normalize(self.total, dim=1))
