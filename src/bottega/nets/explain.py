"""Which tokens moved a score: gradients of it along a line from nothing known to what stands there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bottega.core import Attribution, RecipeError

__all__ = ["WAYS", "attribute"]

WAYS = ("integrated", "gradient")


def attribute(
    embeds: Sequence[nn.Embedding],
    score: Callable[[], Tensor],
    vocab: int,
    *,
    still: int = 0,
    marks: Sequence[int] = (),
    by: str = "integrated",
    points: int = 32,
) -> Attribution:
    """How much each embedded token adds to ``score()``, from the gradient at its embedding.

    Every token below ``vocab`` is moved along the straight line from the mean embedding (a token of which nothing is
    known) to its own; others (a mask) and the first ``still`` of each call (a start) stay. ``"integrated"`` is integrated gradients (Sundararajan et al. 2017,
    arXiv:1703.01365, eq. 1) by Gauss-Legendre points, whose parts sum to the difference of the scores at both ends;
    ``"gradient"`` is gradient times input, the input counted from the mean embedding: one point, at the tokens
    themselves, and no such sum.

    Args:
        embeds: the embeddings; each of their calls during ``score()`` is ``(B, T)`` tokens, in which the parts are told.
        score: the model's own, ``(B,)``; rows must not see each other, and calls must be the same.
        vocab: numbers below it are tokens.
        still: how many tokens at the beginning of each call are none.
        marks: tokens of the vocabulary that stay as well (a start or a mask of other people's models).
        by: how.
        points: of the integral.

    Returns:
        ``parts`` are ``(B, T)``, those of several calls side by side in their order.

    Raises:
        RecipeError: ``by`` or ``points`` is none of these.
    """
    if by not in WAYS or points < 1:
        raise RecipeError(f"by={by!r}, points={points}: by is {' or '.join(WAYS)}, points at least 1")
    mean: dict[nn.Module, Tensor] = {embed: embed.weight[:vocab].detach().mean(0) for embed in embeds}
    calls: list[tuple[Tensor, Tensor]] = []  # of the last score: how far each token went, and where it stood
    at = 1.0

    def move(module: nn.Module, arguments: tuple[Any, ...], out: Tensor) -> Tensor:
        tokens = arguments[0]
        moves = (tokens < vocab) & (torch.arange(tokens.shape[1], device=tokens.device) >= still)
        moves &= ~torch.isin(tokens, torch.tensor(marks, dtype=torch.long, device=tokens.device))
        way = (out.detach() - mean[module]) * moves[..., None]
        stood = (out.detach() - (1 - at) * way).requires_grad_()
        calls.append((way, stood))
        return stood

    def slopes() -> tuple[Tensor, Tensor]:
        """The score, and by how much each token changes it along its way."""
        calls.clear()
        value = score()
        gradients = torch.autograd.grad(value.sum(), [stood for _, stood in calls])
        parts = [(g * way).sum(-1) for g, (way, _) in zip(gradients, calls, strict=True)]
        return value.detach(), torch.cat(parts, 1)

    handles = [embed.register_forward_hook(move) for embed in mean]
    try:
        with torch.enable_grad():
            value, parts = slopes()
            if by == "integrated":
                places, weights = np.polynomial.legendre.leggauss(points)
                parts = torch.zeros_like(parts)
                for place, weight in zip(places, weights, strict=True):
                    at = float(place + 1) / 2
                    parts += float(weight) / 2 * slopes()[1]
        at = 0.0
        with torch.no_grad():
            base = score()
    finally:
        for handle in handles:
            handle.remove()
    return Attribution(parts.detach(), value, base)
