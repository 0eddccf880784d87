"""Drafts: cheap guesses of the next tokens, read by the model in one step, kept as far as it would have said the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from bottega.core import RecipeError
from bottega.samplers.steps import Rewinds, Takes
from bottega.samplers.tokens import Chooser, Guide, Notes, filter_logits, pick

__all__ = ["Draft", "Lookup", "ModelDraft", "speculate"]


class Draft(Protocol):
    """What guesses."""

    def propose(self, text: Tensor, lengths: Tensor, u: Tensor, filters: dict[str, Any]) -> Tensor:
        """``(m, k)`` tokens that may follow, -1 behind the last of a row.

        Args:
            text: ``(m, width)`` what rows hold, -1 behind it.
            lengths: ``(m,)`` how much.
            u: ``(m, k)`` the numbers that the model will draw these tokens by.
            filters: temperature, top_k, top_p and min_p, as the model will use them.
        """

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order."""


class Lookup:
    """Guesses that what followed the last few tokens before will follow again: quotes, names, code (Saxena 2023).

    Args:
        longest: how many of the last tokens are looked for at most; fewer are where they are not found.
    """

    def __init__(self, longest: int = 3) -> None:
        self.longest = longest

    def propose(self, text: Tensor, lengths: Tensor, u: Tensor, filters: dict[str, Any]) -> Tensor:
        """What followed the latest earlier place."""
        k = u.shape[1]
        out = torch.full((len(text), k), -1, dtype=torch.long, device=text.device)
        for i, length in enumerate(lengths.tolist()):
            row = text[i, :length]
            for size in range(min(self.longest, length - 1), 0, -1):
                runs = row[:-1].unfold(0, size, 1)  # the last run itself has nothing behind it
                found = (runs == row[-size:]).all(1).nonzero()
                if len(found):
                    after = int(found[-1]) + size
                    guess = row[after : after + k]
                    out[i, : len(guess)] = guess
                    break
        return out

    def take(self, rows: Tensor) -> None:
        """Rows are found in the text itself."""


class ModelDraft:
    """Guesses by a smaller model of the same tokens, which draws by the same numbers (Leviathan et al. 2022, 2211.17192).

    Args:
        step: the smaller model, a step of as many rows that can ``take`` rows and go ``back``.
    """

    def __init__(self, step: Any) -> None:
        if not isinstance(step, Rewinds) or not isinstance(step, Takes):
            raise RecipeError("this model cannot take back what it has read, so it cannot draft for another")
        self.step: Any = step
        self.known: Tensor | None = None  # (m, t), what it has read, -1 behind

    def propose(self, text: Tensor, lengths: Tensor, u: Tensor, filters: dict[str, Any]) -> Tensor:
        """Reads what is new, then goes on alone."""
        width = text.shape[1]
        fresh = torch.full_like(text, -1)
        if self.known is None:
            same = torch.zeros_like(lengths)
        else:
            equal = (self.known == text) & (text >= 0)
            same = equal.long().cumprod(1).sum(1)
            # one token at least is read, so that there are logits behind it
            same = torch.minimum(same, lengths - 1)
            self.step.back((self.known >= 0).sum(1) - same)
        for i, (first, last) in enumerate(zip(same.tolist(), lengths.tolist(), strict=True)):
            fresh[i, : last - first] = text[i, first:last]
        fresh = fresh[:, : int((lengths - same).max())]
        known = text.clone()
        out = torch.full_like(u, -1, dtype=torch.long)
        at = torch.arange(len(text), device=text.device)
        for j in range(u.shape[1]):
            logits = self.step(fresh)
            if filters["temperature"] == 0:
                out[:, j] = logits.argmax(-1)
            else:
                out[:, j] = pick(filter_logits(logits, **filters), u[:, j])
            fresh = out[:, j : j + 1]
            if j + 1 < u.shape[1]:
                place = lengths + j
                inside = place < width
                known[at[inside], place[inside]] = out[inside, j]
                fresh = fresh.masked_fill(~inside[:, None], -1)
        self.known = known
        return out

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order."""
        self.step.take(rows)
        self.known = None if self.known is None else self.known[rows]


@torch.no_grad()
def speculate(
    step: Any,
    draft: Draft,
    prompt: Tensor,
    more: int,
    u: Tensor,
    guides: Sequence[Guide] = (),
    notes: Notes | None = None,
    *,
    drafts: int = 5,
    **knobs: Any,
) -> Iterator[Tensor]:
    """The tokens that ``generate`` would make, in fewer steps of the model; yields ``(n, t)`` as all rows have them.

    The model reads what the draft guesses in one step, draws at every place by the number that belongs to it, and keeps
    what it drew up to the first place where the guess was another. So every token, greedy or drawn, is the one that it
    would have made without drafts; only rounding tells a read of many positions from many reads of one.

    Args:
        step: the model, which can ``read`` and go ``back``.
        draft: what guesses.
        prompt: ``(n, t)`` tokens, -1 behind those of shorter ones.
        more: how many tokens to make.
        u: ``(n, more)`` the numbers to draw by.
        guides: see ``samplers.tokens.generate``.
        notes: see there.
        drafts: how many tokens to guess at most; fewer after guesses that were wrong.
        **knobs: those of ``generate``.

    Raises:
        RecipeError: the model cannot go back, or a knob is out of range.
    """
    if drafts < 1:
        raise RecipeError(f"drafts is {drafts}; it must be at least 1")
    if not isinstance(step, Rewinds):
        raise RecipeError("this model cannot take back what it has read, so drafts mean nothing to it; leave them out")
    n, device, fill = len(prompt), prompt.device, knobs.get("stop") or 0
    chooser = Chooser(torch.cat([prompt, prompt.new_full((n, more), -1)], 1), guides, notes, **knobs)
    out = torch.full((n, more), fill, dtype=torch.long, device=device)
    made = torch.zeros(n, dtype=torch.long, device=device)
    live, told, guess = torch.arange(n, device=device), 0, max(1, drafts // 2)

    def choose(rows: Tensor, logits: Tensor) -> Tensor:
        token = chooser.choose(rows, logits, u[rows, made[rows]])
        chooser.note(rows, token, logits)
        out[rows, made[rows]] = token
        made[rows] += 1
        return token

    logits = step(prompt)
    if more:
        choose(live, logits)
    while True:
        ready = more if len(live) == 0 else int(made.masked_fill(chooser.done, more).min())
        if ready > told:
            yield out[:, told:ready]
            told = ready
        stay = (~chooser.done[live] & (made[live] < more)).nonzero()[:, 0]
        if not len(stay):
            if told < more:
                yield out[:, told:]
            return
        if len(stay) < len(live):
            step.take(stay)
            draft.take(stay)
            live = live[stay]
        k = min(guess, step.room() - 1, more - 1 - int(made[live].min()))
        lengths = chooser.lengths[live]
        last = chooser.text[live, lengths - 1][:, None]
        some = torch.full((len(live), max(k, 0)), -1, dtype=torch.long, device=device)
        if k > 0:
            places = (made[live][:, None] + torch.arange(k, device=device)).clamp_max(more - 1)
            some = draft.propose(chooser.text[live], lengths, u[live[:, None], places], chooser.filters)
        some = some[:, : int((some >= 0).sum(1).max()) if len(some) else 0]
        logits = step.read(torch.cat([last, some], 1))
        going = torch.arange(len(live), device=device)
        right = torch.zeros(len(live), dtype=torch.long, device=device)
        for j in range(some.shape[1] + 1):
            rows = live[going]
            token = choose(rows, logits[going, j])
            if j == some.shape[1]:
                break
            good = (some[going, j] == token) & ~chooser.done[rows] & (made[rows] < more)
            going = going[good]
            right[going] += 1
            if not len(going):
                break
        step.back((some >= 0).sum(1) - right)
        guess = min(drafts, guess + 2) if bool((right == some.shape[1]).all()) else max(1, guess - 1)
