"""A model as the samplers want it: tokens in, logits of what follows out, with a memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["CachedStep", "Rewinds", "StateStep", "Step", "Takes"]

Step = Callable[[Tensor], Tensor]
"""``step(fresh)``: the tokens that follow those of earlier calls, ``(n, t)``, ``t >= 0`` in the first call and 1 or more
later; returns the logits of the next position, ``(n, vocab)``. It keeps its own cache. A number below 0 is no token but
padding behind the tokens of a row that has fewer; only steps that also ``Takes`` know it."""


@runtime_checkable
class Takes(Protocol):
    """A step whose rows can be dropped, put in another order and branched: beams, and rows that are done."""

    def take(self, rows: Tensor) -> None:
        """Go on with these rows ``(m,)`` in this order."""


@runtime_checkable
class Rewinds(Protocol):
    """A step that says the logits behind every fresh token and can take tokens back: what drafts need."""

    def read(self, fresh: Tensor) -> Tensor:
        """``(n, t)`` tokens, -1 where a row has none -> ``(n, t, vocab)``, logits behind each."""

    def back(self, counts: Tensor) -> None:
        """Forget the last tokens of each row, as many as ``counts`` ``(n,)`` says."""

    def room(self) -> int:
        """How many tokens more can be read as they are, before the window moves."""


class StateStep:
    """A step over a model that remembers the past in a state of fixed size: it sees as far back as its state does.

    Args:
        read: ``read(tokens (m, t), counts (m,), *state)`` -> the state, where of each row the first ``counts`` tokens are
            real; tensors ``(m, ...)``.
        say: ``say(*state)`` -> logits of the next position, ``(m, vocab)``.
        state: before the first token, ``(n, ...)``.
        blank: the same for nobody in particular; with it rows are read twice and logits extrapolated from it.
        guidance: how far: 1 is ``state``, 0 ``blank``.
    """

    def __init__(
        self,
        read: Callable[..., tuple[Tensor, ...]],
        say: Callable[..., Tensor],
        state: tuple[Tensor, ...],
        blank: tuple[Tensor, ...] | None = None,
        guidance: float = 1.0,
    ) -> None:
        self.reader, self.say, self.state, self.guidance = read, say, state, guidance
        self.n, self.twice = len(state[0]), blank is not None
        if blank is not None:
            self.state = tuple(torch.cat(pair) for pair in zip(state, blank, strict=True))

    def __call__(self, fresh: Tensor) -> Tensor:
        """``(n, t)`` tokens -> logits of the next position, ``(n, vocab)``."""
        if fresh.shape[1]:
            fresh = fresh.repeat(2, 1) if self.twice else fresh
            self.state = self.reader(fresh.clamp_min(0), (fresh >= 0).sum(1), *self.state)
        logits = self.say(*self.state)
        return _extrapolated(logits, self.guidance) if self.twice else logits

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order."""
        wide = torch.cat([rows, rows + self.n]) if self.twice else rows
        self.state, self.n = tuple(part[wide] for part in self.state), len(rows)


class CachedStep:
    """A step over a causal reader with a cache; rows may be of unequal length, and each is what it would be alone.

    A row longer than the window goes on from its later half, read anew behind ``begin``.

    Args:
        read: ``read(tokens (m, t), cache, last, *state)`` -> logits ``(m, 1, vocab)`` behind position ``last`` (a number, or
            ``(m,)``), or ``(m, t, vocab)`` behind all where it is None. Extends the cache.
        cache: makes an empty cache for so many rows.
        n: how many rows.
        length: how many positions the reader sees at most, ``begin`` included.
        begin: the token before the first; None where there is none.
        state: what is known of each row, tensors ``(n, ...)`` (a condition, an encoder's output).
        blank: the same for nobody in particular; with it rows are read twice and logits extrapolated from it.
        guidance: how far: 1 is ``state``, 0 ``blank``.
    """

    def __init__(
        self,
        read: Callable[..., Tensor],
        cache: Callable[[int], Any],
        n: int,
        *,
        length: int,
        begin: int | None = None,
        state: tuple[Tensor, ...] = (),
        blank: tuple[Tensor, ...] | None = None,
        guidance: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.reader, self.make, self.n, self.length, self.begin = read, cache, n, length, begin
        self.guidance, self.twice = guidance, blank is not None
        self.state = state
        if blank is not None:
            self.state = tuple(torch.cat(pair) for pair in zip(state, blank, strict=True))
        self.device = torch.device(device)
        self.cache: Any = None
        self.history = torch.zeros(n, 0, dtype=torch.long, device=self.device)  # -1 where a row has no token

    def __call__(self, fresh: Tensor) -> Tensor:
        """``(n, t)`` tokens -> logits of the next position, ``(n, vocab)``."""
        return self._advance(fresh, every=False)[:, 0]

    def read(self, fresh: Tensor) -> Tensor:
        """``(n, t)`` tokens -> logits behind each, ``(n, t, vocab)``."""
        return self._advance(fresh, every=True)

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order."""
        wide = self._both(rows)
        self.state = tuple(part[wide] for part in self.state)
        if self.cache is not None:
            self.cache.take(wide)
        self.history, self.n = self.history[rows], len(rows)

    def back(self, counts: Tensor) -> None:
        """Forget the last tokens of each row."""
        self.cache.back(counts.repeat(2) if self.twice else counts)
        real = self.history >= 0
        behind = real.flip(1).cumsum(1).flip(1)  # of a token: how many there are from it on
        self.history = self.history.masked_fill(real & (behind <= counts[:, None]), -1)

    def room(self) -> int:
        """How many tokens more fit before the window moves."""
        if self.cache is None:
            return self.length - (self.begin is not None)
        return self.length - int(self.cache.filled)

    def alike(self, fresh: Tensor) -> Tensor:
        """A number for each row ``(n,)``, the same for rows that begin with the same tokens ``(n, t)`` and state."""
        state = [part[: self.n].flatten(1).double() for part in self.state]
        known: dict[bytes, int] = {}
        keys = [row.tobytes() for row in torch.cat([fresh.double(), *state], 1).cpu().numpy()]
        return torch.tensor([known.setdefault(key, len(known)) for key in keys], device=self.device)

    def _both(self, rows: Tensor) -> Tensor:
        """The rows of the cache that these rows have: with guidance, those of the blank reading too."""
        return torch.cat([rows, rows + self.n]) if self.twice else rows

    def _advance(self, fresh: Tensor, *, every: bool) -> Tensor:
        padded = bool((fresh < 0).any())
        self.history = torch.cat([self.history, fresh], 1)
        first = self.cache is None
        if first:
            return self._begin(fresh, padded, every=every)
        counts = (fresh >= 0).sum(1) if padded else None
        if counts is None and self.cache.filled + fresh.shape[1] <= self.length:
            return self._read(fresh, self.cache, None, self.state, self.twice, every=every)
        over = self.cache.lengths[: self.n] + (fresh.shape[1] if counts is None else counts) > self.length
        if not bool(over.any()):
            return self._read(fresh, self.cache, counts, self.state, self.twice, every=every)
        if bool(over.all()):
            self.cache = None
            return self._again(torch.arange(self.n, device=self.device), fresh, every=every)
        slid = over.nonzero()[:, 0]
        still = fresh.masked_fill(over[:, None], -1)
        out = self._read(still, self.cache, (still >= 0).sum(1), self.state, self.twice, every=every)
        out[slid] = self._again(slid, fresh[slid], every=every).to(out.dtype)
        return out

    def _begin(self, fresh: Tensor, padded: bool, *, every: bool) -> Tensor:
        """The first call: rows that begin alike are read once."""
        counts = (fresh >= 0).sum(1)
        if int(counts.max() if len(counts) else 0) + (self.begin is not None) > self.length:
            if padded or every:
                return self._ragged_again(fresh, every=every)
            return self._again(torch.arange(self.n, device=self.device), fresh, every=every)
        rows, inverse = torch.arange(self.n, device=self.device), None
        if fresh.shape[1] >= 8 and self.n > 1 and not self.twice:
            alike = self.alike(fresh)
            if int(alike.max()) + 1 < self.n:
                inverse = alike
                rows = torch.stack([(alike == k).nonzero()[0, 0] for k in range(int(alike.max()) + 1)])
        wide = self._both(rows)
        self.cache = self.make(len(wide))
        state = tuple(part[wide] for part in self.state)
        out = self._read(
            *self._behind_begin(fresh[rows], counts[rows] if padded else None), state, self.twice, every=every
        )
        out = out[:, -fresh.shape[1] :] if every else out
        if inverse is not None:
            self.cache.take(inverse)
            out = out[inverse]
        return out

    def _behind_begin(self, fresh: Tensor, counts: Tensor | None) -> tuple[Tensor, Any, Tensor | None]:
        if self.begin is not None:
            fresh = torch.cat([fresh.new_full((len(fresh), 1), self.begin), fresh], 1)
            counts = None if counts is None else counts + 1
        return fresh, self.cache, counts

    def _tail(self, rows: Tensor) -> Tensor:
        """What rows go on from when their window moves: ``begin`` and the later half, ``(m, t)``."""
        keep = self.length // 2
        tails = torch.stack([row[row >= 0][-keep:] for row in self.history[rows]])
        if self.begin is not None:
            tails = torch.cat([tails.new_full((len(tails), 1), self.begin), tails], 1)
        return tails

    def _again(self, rows: Tensor, fresh: Tensor, *, every: bool) -> Tensor:
        """The window of these rows moves: they are read again from their later half."""
        tails, wide = self._tail(rows), self._both(rows)
        cache = self.make(len(wide))
        state = tuple(part[wide] for part in self.state)
        out = self._read(tails, cache, None, state, self.twice, every=every)
        if self.cache is None and len(rows) == self.n:
            self.cache = cache
        else:
            if self.cache is None:
                self.cache = self.make(len(self._both(torch.arange(self.n, device=self.device))))
            self.cache.renew(wide, cache)
        return out[:, -fresh.shape[1] :] if every else out

    def _ragged_again(self, fresh: Tensor, *, every: bool) -> Tensor:
        """The first call where some rows are longer than the window: each is read as it would be alone."""
        if every:
            raise ValueError("a prompt longer than the window is read by a call, not by read")
        parts = []
        self.cache = self.make(len(self._both(torch.arange(self.n, device=self.device))))
        for i, row in enumerate(fresh):
            alone, row = torch.tensor([i], device=self.device), row[row >= 0][None]
            if row.shape[1] + (self.begin is not None) > self.length:
                parts.append(self._again(alone, row, every=False))
                continue
            wide, own = self._both(alone), self.make(2 if self.twice else 1)
            state = tuple(part[wide] for part in self.state)
            tokens = self._behind_begin(row, None)[0]
            parts.append(self._read(tokens, own, None, state, self.twice, every=False))
            self.cache.renew(wide, own)
        return torch.cat(parts)

    def _read(
        self, tokens: Tensor, cache: Any, counts: Tensor | None, state: tuple[Tensor, ...], twice: bool, *, every: bool
    ) -> Tensor:
        last: int | Tensor | None = tokens.shape[1] - 1 if counts is None else (counts - 1).clamp_min(0)
        tokens = tokens.clamp_min(0)
        if twice:
            tokens = tokens.repeat(2, 1)
            counts = None if counts is None else counts.repeat(2)
            last = last.repeat(2) if isinstance(last, Tensor) else last
        cache.expect(counts)
        logits = self.reader(tokens, cache, None if every else last, *state)
        return _extrapolated(logits, self.guidance) if twice else logits


def _extrapolated(logits: Tensor, guidance: float) -> Tensor:
    """Of logits of rows with a condition and of the same without, ``(2 n, ...)``, those that move ``guidance`` times as far."""
    known, free = logits.chunk(2)
    return torch.where(known.isinf(), known, free + guidance * (known - free))
