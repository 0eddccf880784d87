"""Muon in the number format that the processor multiplies fast.

torch's own (2.13) always takes bfloat16, which a processor without such units computes fifty times slower than float32.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bottega.training.precision import bf16_is_fast

__all__ = ["Muon", "orthogonal"]


def orthogonal(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Matrices ``(n, rows, columns)`` with their singular values brought near 1 by Newton-Schulz steps, in their own format.

    Jordan et al. 2024: ``X <- a X + (b A + c A A) X`` with ``A = X X'``, after division by the Frobenius norm. Its
    singular values end between about 0.7 and 1.2, not at 1.
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Muon):
    """torch's Muon (arguments, state and checkpoints are its own), whose matrices of one shape go through one product.

    The Newton-Schulz steps are made in bfloat16 where that is fast (see ``precision.bf16_is_fast``), else in float32.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every matrix by its orthogonalised momentum."""
        if closure is not None:
            with torch.enable_grad():
                closure = closure()
        for group in self.param_groups:
            like: dict[tuple[Any, ...], list[tuple[Tensor, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    like.setdefault((p.shape, p.device, p.dtype), []).append((p, p.grad))
            for (shape, device, dtype), pairs in like.items():
                moves = []
                for p, grad in pairs:
                    state = self.state[p]
                    if "momentum_buffer" not in state:
                        state["momentum_buffer"] = torch.zeros_like(grad)
                    buffer = state["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
                    moves.append(grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer)
                fast = torch.bfloat16 if bf16_is_fast(device) else torch.promote_types(dtype, torch.float32)
                update = orthogonal(
                    torch.stack(moves).to(fast), group["ns_coefficients"], group["ns_steps"], group["eps"]
                )
                if group["adjust_lr_fn"] == "match_rms_adamw":
                    rate = group["lr"] * 0.2 * math.sqrt(max(shape))
                else:
                    rate = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
                for (p, _), move in zip(pairs, update.to(dtype), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(move, alpha=-rate)
        return closure
