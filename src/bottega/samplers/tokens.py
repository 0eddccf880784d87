"""Making token sequences left to right: which tokens may follow, and the loop that picks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bottega.core import RecipeError, Rng

__all__ = ["Step", "filter_logits", "generate", "penalise", "pick"]

Step = Callable[[Tensor], Tensor]
"""``step(fresh)``: the tokens that follow those of earlier calls, ``(n, t)``, ``t >= 0`` in the first call and 1 or more
later; returns the logits of the next position, ``(n, vocab)``. It keeps its own cache."""


def filter_logits(
    logits: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> Tensor:
    """Logits ``(..., vocab)`` divided by ``temperature``, with the tokens that may not follow at minus infinity.

    Args:
        logits: unnormalised log-probabilities.
        temperature: above 1 flatter, below 1 sharper; 0 leaves the likeliest token only.
        top_k: leave the k likeliest; 0 leaves all (Fan et al. 2018, arXiv:1805.04833).
        top_p: leave the smallest set of likeliest tokens that holds this mass (Holtzman et al. 2019, arXiv:1904.09751).
        min_p: leave tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024, arXiv:2407.01082).

    Raises:
        RecipeError: a knob is out of range.

    >>> filter_logits(torch.tensor([2.0, 1.0, 0.0]), top_k=2)
    tensor([2., 1., -inf])
    """
    if temperature < 0 or top_k < 0 or not 0 < top_p <= 1 or not 0 <= min_p <= 1:
        raise RecipeError(
            f"temperature={temperature}, top_k={top_k}, top_p={top_p}, min_p={min_p}: "
            "temperature and top_k must be at least 0, top_p in (0, 1], min_p in [0, 1]"
        )
    nothing = float("-inf")
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, nothing).scatter(-1, best, 0.0)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, -1).values[..., -1:], nothing)
    if top_p < 1:
        p, order = logits.softmax(-1).sort(-1, descending=True)
        out = (p.cumsum(-1) - p) >= top_p  # the mass before a token is already enough
        logits = logits.masked_fill(torch.zeros_like(out).scatter(-1, order, out), nothing)
    if min_p > 0:
        p = logits.softmax(-1)
        logits = logits.masked_fill(p < min_p * p.amax(-1, keepdim=True), nothing)
    return logits


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens already ``seen`` ``(n, vocab)`` less likely: positive logits are divided, negative multiplied.

    Keskar et al. 2019, arXiv:1909.05858, section 4.1; 1 changes nothing.

    Raises:
        RecipeError: ``penalty`` is not above 0.
    """
    if not penalty > 0:
        raise RecipeError(f"repetition_penalty is {penalty}; it must be above 0, and 1 changes nothing")
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def pick(logits: Tensor, u: Tensor) -> Tensor:
    """The token at which the cumulative probability passes ``u``: ``(n, vocab)``, ``(n,)`` in [0, 1) -> ``(n,)``.

    One number for each token makes a draw depend on its row and position only, however the work is batched.
    """
    mass = logits.double().softmax(-1).cumsum(-1)
    at = u.double()[:, None] * mass[:, -1:]
    return torch.searchsorted(mass, at, right=True)[:, 0]


@torch.no_grad()
def generate(
    step: Step,
    given: Tensor,
    keep: Tensor,
    rng: Rng,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    stop: int | None = None,
) -> Iterator[Tensor]:
    """Make ``(n, length)`` tokens from left to right; yields what is new, ``(n, t)`` at a time.

    Args:
        step: the model, see ``Step``.
        given: ``(n, length)`` tokens, of which those are used that ``keep`` names.
        keep: ``(n, length)`` bool; kept positions are forced. What all rows keep at the start is read in one step.
        rng: one number for each row and position, drawn at once.
        temperature: see ``filter_logits``.
        top_k: see ``filter_logits``.
        top_p: see ``filter_logits``.
        min_p: see ``filter_logits``.
        repetition_penalty: see ``penalise``; the given tokens count as seen.
        stop: once a row has made this token, the rest of the row is this token (kept positions excepted).
    """
    n, length = given.shape
    u = rng.uniform(n, length)
    open_columns = (~keep).any(0).nonzero()
    start = int(open_columns[0]) if len(open_columns) else length
    fresh, done, seen = given[:, :start], torch.zeros(n, dtype=torch.bool, device=given.device), None
    if start:
        yield fresh
    for i in range(start, length):
        logits = step(fresh)
        if repetition_penalty != 1:
            seen = torch.zeros_like(logits, dtype=torch.bool) if seen is None else seen
            logits = penalise(logits, seen.scatter_(1, fresh, True), repetition_penalty)
        logits = filter_logits(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        token = pick(logits, u[:, i])
        if stop is not None:
            token = token.masked_fill(done, stop)
            done = done | ((token == stop) & ~keep[:, i])
        fresh = torch.where(keep[:, i], given[:, i], token)[:, None]
        yield fresh
        if i + 1 < length and bool(done.all()):  # nothing is drawn any more, so ending early changes no row
            yield torch.where(keep[:, i + 1 :], given[:, i + 1 :], torch.full_like(given[:, i + 1 :], stop or 0))
            return
