"""The next token of many rows at once, each with knobs of its own; row by row what ``samplers.tokens.Chooser`` picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bottega.core import RecipeError
from bottega.samplers.tokens import filter_logits, pick

__all__ = ["Knobs", "Rows", "choose"]

_FEW = 256  # of the likeliest tokens, which mostly hold top_p


@dataclass(frozen=True)
class Knobs:
    """How one row draws; see ``samplers.tokens`` for what each knob does.

    Args:
        temperature: 0 takes the likeliest token.
        top_k: see ``filter_logits``.
        top_p: see ``filter_logits``.
        min_p: see ``filter_logits``.
        repetition_penalty: see ``penalise``; the prompt counts.
        frequency_penalty: see ``discourage``; the prompt does not count.
        presence_penalty: see ``discourage``.
        bias: token -> what is added to its logit (OpenAI's ``logit_bias``).

    Raises:
        RecipeError: a knob is out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        filters = {name: getattr(self, name) for name in ("temperature", "top_k", "top_p", "min_p")}
        filter_logits(torch.zeros(1, 2), **filters)
        if not self.repetition_penalty > 0:
            raise RecipeError(
                f"repetition_penalty is {self.repetition_penalty}; it must be above 0, and 1 changes nothing"
            )

    @property
    def remembers(self) -> bool:
        """Whether it depends on what the row holds."""
        return self.repetition_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0

    def weigh(self, logits: Tensor, seen: Tensor | None, made: Tensor | None) -> Tensor:
        """Logits ``(vocab,)`` of one row with penalties and bias; ``seen`` and ``made`` count the tokens that it holds and made."""
        if self.repetition_penalty != 1:
            assert seen is not None
            less = torch.where(logits > 0, logits / self.repetition_penalty, logits * self.repetition_penalty)
            logits = torch.where(seen > 0, less, logits)
        if self.frequency_penalty or self.presence_penalty:
            assert made is not None
            logits = logits - self.frequency_penalty * made - self.presence_penalty * (made > 0)
        if self.bias:
            logits = logits.clone()
            logits[list(self.bias)] += torch.tensor(list(self.bias.values()), dtype=logits.dtype, device=logits.device)
        return logits


class Rows:
    """The knobs of some rows as tensors, so that all are filtered in one go.

    Args:
        knobs: one for each row.
    """

    def __init__(self, knobs: Sequence[Knobs]) -> None:
        def column(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor([getattr(k, name) for k in knobs], dtype=dtype)[:, None]

        temperature = column("temperature")
        self.greedy = temperature[:, 0] == 0
        self.any_greedy, self.all_greedy = bool(self.greedy.any()), bool(self.greedy.all())
        self.temperature = (
            None if all(k.temperature in (0, 1) for k in knobs) else temperature.masked_fill(temperature == 0, 1.0)
        )
        self.top_k = column("top_k", torch.long) if any(k.top_k for k in knobs) else None
        self.top_p = column("top_p") if any(k.top_p < 1 for k in knobs) else None
        self.min_p = column("min_p") if any(k.min_p for k in knobs) else None


def choose(logits: Tensor, u: Tensor, rows: Rows) -> Tensor:
    """A token for each row by its number: ``(n, vocab)``, ``(n,)`` in [0, 1) -> ``(n,)``."""
    best = logits.argmax(-1) if rows.any_greedy else None
    if best is not None and rows.all_greedy:
        return best
    logits = logits if rows.temperature is None else logits / rows.temperature
    if rows.top_k is not None:
        logits = _top_k(logits, rows.top_k)
    if rows.top_p is not None:
        logits = _top_p(logits, rows.top_p)
    if rows.min_p is not None:
        p = logits.softmax(-1)
        logits = logits.masked_fill(p < rows.min_p * p.amax(-1, keepdim=True), float("-inf"))
    token = pick(logits, u)
    return token if best is None else torch.where(rows.greedy, best, token)


def _top_k(logits: Tensor, k: Tensor) -> Tensor:
    vocab = logits.shape[-1]
    most = min(int(k.max()), vocab)
    least = logits.topk(most, -1).values.gather(1, k.clamp(1, most) - 1)
    return logits.masked_fill((logits < least) & (k > 0) & (k < vocab), float("-inf"))


def _top_p(logits: Tensor, top_p: Tensor) -> Tensor:
    """Sorting a vocabulary is slow, so the likeliest few are looked at first; where they do not hold the mass, all."""
    p = logits.softmax(-1)
    ranked = p.topk(min(_FEW, p.shape[-1]), -1).values
    before = ranked.cumsum(-1) - ranked
    if ranked.shape[-1] < p.shape[-1] and bool(((before[:, -1:] < top_p) & (top_p < 1)).any()):
        ranked = p.sort(-1, descending=True).values
        before = ranked.cumsum(-1) - ranked
    least = ranked.gather(-1, (before < top_p).sum(-1, keepdim=True) - 1)
    return logits.masked_fill((p < least) & (top_p < 1), float("-inf"))
