"""Tokens as they are spelt: strings that end a text, and text that comes a whole character at a time."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bottega.core import RecipeError

__all__ = ["Stops", "Writer", "cut", "stop_strings"]


def stop_strings(stop: Any) -> list[str]:
    r"""What ends a text, as people give it: one string, or several; None is none.

    Raises:
        RecipeError: something else, or an empty string, which would end every text.

    >>> stop_strings("\n\n"), stop_strings(["###", "END"]), stop_strings(None)
    (['\n\n'], ['###', 'END'], [])
    """
    some = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(some, list | tuple) or not all(isinstance(s, str) for s in some):
        raise RecipeError(f"stop is {stop!r}; give a string, or a list of strings")
    if "" in some:
        raise RecipeError("stop holds an empty string, which ends every text before it begins; leave it out")
    return list(some)


def cut(text: str, stops: Sequence[str]) -> str:
    """``text`` up to the stop that is complete first.

    >>> cut("one. two", [". ", "two"])
    'one'
    """
    data = text.encode("utf-8")
    at = _first(data, [s.encode("utf-8") for s in stops])
    return text if at < 0 else data[:at].decode("utf-8")


def _first(data: bytes | bytearray, stops: Sequence[bytes], since: int = 0) -> int:
    """Where the stop begins that is complete first; -1 where none is. What tokens the bytes came in makes no difference."""
    found = [(at + len(s), at) for s in stops if (at := data.find(s, max(0, since - len(s) + 1))) >= 0]
    return min(found)[1] if found else -1


class Stops:
    """A guide that ends a row once its bytes hold one of some strings, however tokens straddle it.

    Only what is made counts, not the prompt. The tokens of the string stand in the row, ``Writer`` leaves it out of the
    text.

    Args:
        stops: the strings.
        spelling: the bytes of each token.
    """

    why = "stop"

    def __init__(self, stops: Sequence[str], spelling: Sequence[bytes]) -> None:
        self.stops, self.spelling = [s.encode("utf-8") for s in stops], spelling
        self.longest = max(map(len, self.stops), default=0)
        self.tails: dict[int, bytes] = {}

    def bar(self, rows: Tensor, logits: Tensor) -> Tensor:
        """Every token may follow."""
        return logits

    def amend(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """What was chosen stays."""
        return tokens

    def see(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Whether these rows hold a stop now."""
        over = []
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            data = self.tails.get(row, b"") + self.spelling[token]
            over.append(_first(data, self.stops) >= 0)
            self.tails[row] = data[-(self.longest - 1) :] if self.longest > 1 else b""
        return torch.tensor(over, dtype=torch.bool, device=rows.device)

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order."""
        self.tails = {k: self.tails.get(row, b"") for k, row in enumerate(rows.tolist())}


class Writer:
    """Tokens of one row in, text out: whole characters only, and nothing that may yet turn out to be a stop.

    Args:
        spelling: the bytes of each token.
        stops: strings that end the text and are not part of it.
        end: the token that ends it; None for none.
        lead: what its first token is spelt with and is no part of it, if it begins so; see ``TextCodec.lead``.

    Attributes:
        why: why it is over: ``"end"``, ``"stop"``, ``"length"``; empty while it goes on.
        dropped: how many bytes of ``lead`` there were.

    >>> writer = Writer([bytes([k]) for k in range(256)], stops=["END"])
    >>> [writer.push(b) for b in "häENDe".encode()], writer.close(), writer.why
    (['h', '', 'ä', '', '', '', ''], '', 'stop')
    """

    def __init__(
        self, spelling: Sequence[bytes], stops: Sequence[str] = (), end: int | None = None, lead: str = ""
    ) -> None:
        self.spelling, self.end = spelling, end
        self.lead, self.dropped = lead.encode("utf-8"), 0
        self.stops = [s.encode("utf-8") for s in stops]
        self.held = bytearray()
        self.decoder: Any = codecs.getincrementaldecoder("utf-8")("replace")
        self.why = ""

    def push(self, token: int) -> str:
        """The text that is certain now; empty once the text is over."""
        if self.why:
            return ""
        if token == self.end:
            return self._over("end")
        since, fresh = len(self.held), self.spelling[token]
        if self.lead and fresh:
            self.dropped = len(self.lead) if fresh.startswith(self.lead) else 0
            fresh, self.lead = fresh[self.dropped :], b""
        self.held += fresh
        at = _first(self.held, self.stops, since)
        if at >= 0:
            del self.held[at:]
            return self._over("stop")
        wait = self._pending()
        sure = bytes(self.held[: len(self.held) - wait])
        del self.held[: len(sure)]
        out: str = self.decoder.decode(sure)
        return out

    def close(self) -> str:
        """What was held back and is no stop after all; bytes that are no UTF-8 become U+FFFD."""
        return "" if self.why else self._over("length")

    def _over(self, why: str) -> str:
        self.why = why
        out: str = self.decoder.decode(bytes(self.held), True)
        self.held.clear()
        return out

    def _pending(self) -> int:
        """How many of the last bytes may be the beginning of a stop."""
        for stop_size in range(min(len(self.held), max(map(len, self.stops), default=1) - 1), 0, -1):
            tail = bytes(self.held[-stop_size:])
            if any(s.startswith(tail) for s in self.stops):
                return stop_size
        return 0
