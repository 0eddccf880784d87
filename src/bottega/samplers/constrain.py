"""Text in a given form: a JSON schema, a regular expression, a grammar, one of some choices (llguidance)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.core import BottegaError, RecipeError

__all__ = ["Form", "choices", "json_schema", "lark", "parsed_schema", "regex"]


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise BottegaError(
            "text in a given form needs llguidance; install it with: pip install 'bottega[text]'"
        ) from error
    return llguidance


def parsed_schema(schema: dict[str, Any] | str) -> dict[str, Any]:
    """A JSON schema, or its JSON, as an object.

    Raises:
        RecipeError: it is not JSON, holds an infinite number, is nested too deep to be read, or is no object.
    """
    try:
        if isinstance(schema, str):
            schema = json.loads(schema)
        said = json.dumps(schema, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"the schema is not JSON: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise RecipeError("the schema is nested too deep to be read; make it flatter") from error
    if not isinstance(schema, dict):
        raise RecipeError(f"the schema is {said[:80]}; give an object such as {{'type': 'object'}}")
    return schema


def json_schema(schema: dict[str, Any] | str) -> str:
    """The grammar of the JSON texts that a schema allows, written without spaces.

    Raises:
        RecipeError: it is no schema.
    """
    return str(
        _library().LLMatcher.grammar_from_json_schema(parsed_schema(schema), overrides={"whitespace_flexible": False})
    )


def regex(pattern: str) -> str:
    """The grammar of the texts that match a regular expression from beginning to end (Rust's dialect, no look-around)."""
    return str(_library().LLMatcher.grammar_from_regex(pattern))


def lark(grammar: str) -> str:
    """The grammar that Lark's notation says; what is written begins at ``start``."""
    return str(_library().LLMatcher.grammar_from_lark(grammar))


def choices(options: Sequence[str]) -> str:
    """The grammar of some strings, one of which is written.

    Raises:
        RecipeError: there are none, or one is empty.
    """
    if not options or not all(isinstance(o, str) and o for o in options):
        raise RecipeError(f"choices are {list(options)!r}; give at least one string, none of them empty")
    return lark("start: " + " | ".join(json.dumps(o, ensure_ascii=False) for o in options))


class _Words:
    """What llguidance wants to know of a tokeniser."""

    def __init__(self, spelling: Sequence[bytes], end: int) -> None:
        self.eos_token_id, self.bos_token_id, self.special_token_ids = end, None, [end]
        self.tokens = list(spelling)
        self.number = {word: k for k, word in enumerate(spelling) if word}
        self.longest = max(map(len, spelling))
        self.known: dict[bytes, list[int]] = {}

    def __call__(self, text: bytes | str) -> list[int]:
        """The longest tokens, one after another; bytes that none begins with are left out."""
        data = text.encode("utf-8") if isinstance(text, str) else bytes(text)
        if data in self.known:  # it is asked the same again and again
            return self.known[data]
        out: list[int] = []
        at = 0
        while at < len(data):
            for size in range(min(self.longest, len(data) - at), 0, -1):
                if (k := self.number.get(data[at : at + size])) is not None:
                    out.append(k)
                    at += size
                    break
            else:
                at += 1
        if len(self.known) < 4096:
            self.known[data] = out
        return out


@lru_cache(maxsize=4)
def _tokenizer(spelling: tuple[bytes, ...], end: int) -> Any:
    library = _library()
    return library.LLTokenizer(library.TokenizerWrapper(_Words(spelling, end)), n_vocab=len(spelling), eos_token=end)


def _one_line(message: str) -> str:
    return " ".join(message.split("<backtrace>")[0].split("<state>")[0].split())[:300]


class Form:
    """A guide that lets only such tokens follow as keep a text within a grammar, and ends it where it is complete.

    A row ends within ``most`` tokens: as they run out, a short way to the end is looked for now and then, and taken while
    it still fits. So rows are whole also of a model that would go on for ever; where none could be ended in time after all
    (a choice led into a part that takes long to leave), the row is cut and its end is called ``"length"``.

    Args:
        grammar: by ``json_schema``, ``regex``, ``lark`` or ``choices``.
        spelling: the bytes of each token.
        end: the token that ends a text.
        most: how many tokens a row may have, ``end`` not counted; 0 for no bound, and no promise.

    Raises:
        RecipeError: the grammar says nothing that could be written, not with these tokens, or not in so few.
    """

    why = "complete"

    def __init__(self, grammar: str, spelling: Sequence[bytes], end: int, most: int = 0) -> None:
        self.library, self.spelling, self.end, self.most = _library(), spelling, end, most
        self.vocab = len(spelling)
        self.tokenizer = _tokenizer(tuple(spelling), end)
        self.start = self.library.LLMatcher(self.tokenizer, grammar, log_level=0)
        if self.start.is_error():
            raise RecipeError(f"nothing can be written in this form: {_one_line(self.start.get_error())}")
        self.matchers: dict[int, Any] = {}
        self.made: dict[int, int] = {}
        self.words = -(-self.vocab // 32)
        self.bits = np.zeros((0, self.words), np.int32)
        self.plans: dict[int, list[int]] = {}  # the rest of a row that has no more time, last token first
        self.choice: dict[int, bool] = {}  # whether a row, late, has few ways to go on
        self.looks: dict[int, int] = {}  # at how many tokens of a row its end is looked for again
        self.ranks = (self._ranks(_CLOSE), self._ranks(_QUOTE))
        self.shortest = self._ending(self.start)
        if most and len(self.shortest) > most:
            raise RecipeError(
                f"the shortest text found in this form has {len(self.shortest)} tokens, but only {most} may be made; raise max_new"
            )

    def _broken(self, matcher: Any) -> NoReturn:
        if len({word for word in self.spelling if len(word) == 1}) < 256:
            raise RecipeError(_LACKING)
        raise RecipeError(f"the form cannot be kept any longer: {_one_line(matcher.get_error())}")

    def _matcher(self, row: int) -> Any:
        if row not in self.matchers:
            self.matchers[row] = self.start.deep_copy()
        return self.matchers[row]

    def bar(self, rows: Tensor, logits: Tensor) -> Tensor:
        """Minus infinity where a token would leave the grammar."""
        numbers = rows.tolist()
        if len(self.bits) < len(numbers):
            self.bits = np.zeros((len(numbers), self.words), np.int32)
        place = self.bits.ctypes.data
        for k, row in enumerate(numbers):
            self._fill(self._matcher(row), place + 4 * self.words * k)
        allowed = self._unpacked(self.bits[: len(numbers)])
        if self.most:
            for k, row in enumerate(numbers):
                self._hurry(row, allowed[k])
        mask = torch.from_numpy(allowed).to(logits.device)
        if not bool(mask.any(1).all()):
            raise RecipeError(_LACKING)
        return logits.masked_fill(~mask, float("-inf"))

    def _fill(self, matcher: Any, place: int) -> None:
        matcher.unsafe_compute_mask_ptr(place, 4 * self.words)
        if matcher.is_error():
            self._broken(matcher)

    def _unpacked(self, bits: NDArray[np.int32]) -> NDArray[np.bool_]:
        """``(m, words)`` -> ``(m, vocab)``."""
        return np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")[:, : self.vocab].astype(bool)

    def see(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Whether these rows are complete: nothing can follow any more."""
        over = []
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            matcher = self._matcher(row)
            if token != self.end:
                if not matcher.consume_token(token):
                    self._broken(matcher)
                self.made[row] = self.made.get(row, 0) + 1
            whole = matcher.is_stopped() or self.made.get(row, 0) == self.most
            over.append(whole and matcher.is_accepting())
        return torch.tensor(over, dtype=torch.bool, device=rows.device)

    def whole(self, row: int) -> bool:
        """Whether the text of that row is complete."""
        return bool(self._matcher(row).is_accepting())

    def accepts(self, tokens: Sequence[int]) -> bool:
        """Whether these tokens, ``end`` not among them, are a complete text, whatever row made them."""
        matcher = self.start.deep_copy()
        return all(matcher.consume_token(token) for token in tokens) and bool(matcher.is_accepting())

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order."""
        numbers = rows.tolist()
        self.matchers = {k: self._matcher(row).deep_copy() for k, row in enumerate(numbers)}
        self.made = {k: self.made.get(row, 0) for k, row in enumerate(numbers)}
        self.plans = {k: list(self.plans[row]) for k, row in enumerate(numbers) if row in self.plans}
        self.looks = {k: self.looks.get(row, 0) for k, row in enumerate(numbers)}
        self.choice = {k: self.choice.get(row, False) for k, row in enumerate(numbers)}

    # ---- ending in time --------------------------------------------------------------------------------------------

    def _hurry(self, row: int, allowed: NDArray[np.bool_]) -> None:
        """Where time is up, leave only the token that leads to the end."""
        made = self.made.get(row, 0)
        if row not in self.plans:
            self.choice[row] = False
            if self.most - made > len(self.shortest) + _LATE:
                return
            self.choice[row] = 1 < int(allowed.sum()) <= _FEW
            if made < self.looks.get(row, 0):
                return
            plan = self._ending(self._matcher(row))
            if not self._look(row, made, len(plan)):
                self.plans[row] = plan[::-1]
        if row in self.plans:
            allowed[:] = False
            allowed[self.plans[row].pop() if self.plans[row] else self.end] = True

    def _look(self, row: int, made: int, need: int) -> bool:
        """Whether a row of so many tokens that needs so many more has time; and when it is to be looked at again."""
        spare = self.most - made - need - 8  # a character of several bytes, or an escape, costs no more than that
        self.looks[row] = made + 1 + spare // 4
        return spare > 0

    def amend(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The tokens ``(m,)``, but where one leads into a part that cannot be ended in time, the way to the end."""
        for k, (row, token) in enumerate(zip(rows.tolist(), tokens.tolist(), strict=True)):
            if row in self.plans or token == self.end or not self.choice.get(row):
                continue
            made, matcher = self.made.get(row, 0), self._matcher(row)
            trial = matcher.deep_copy()
            trial.consume_token(token)
            need = len(self._ending(trial))
            if need > self.most - made - 1:
                self.plans[row] = self._ending(matcher)[::-1]
                tokens[k] = self.plans[row].pop() if self.plans[row] else self.end
            elif need + 8 < self.most - made - 1:
                self._look(row, made + 1, need)
        return tokens

    def _ending(self, matcher: Any) -> list[int]:
        """Tokens that complete the text, few of them: closing tokens first, or, where that goes in circles, each in turn."""
        for limit in (256, _LONGEST):
            for turns in (False, True):
                if (out := self._try(matcher.deep_copy(), limit, turns)) is not None:
                    return out
        raise RecipeError(f"no text of up to {_LONGEST} tokens was found in this form; give one that can be ended")

    def _try(self, trial: Any, limit: int, turns: bool) -> list[int] | None:
        out: list[int] = []
        tried: dict[bytes, set[int]] = {}
        bits = np.zeros((1, self.words), np.int32)
        place = bits.ctypes.data
        while len(out) < limit:
            if trial.is_accepting():
                return out
            if forced := trial.compute_ff_tokens():
                trial.consume_tokens(forced)
                out += forced
                continue
            self._fill(trial, place)
            allowed = [k for k in self._unpacked(bits)[0].nonzero()[0].tolist() if k != self.end]
            if not allowed:
                raise RecipeError(_LACKING)
            ranks = self.ranks[len(allowed) > _FREE]
            seen = tried.setdefault(bits.tobytes(), set()) if turns else set()
            token = min((k for k in allowed if k not in seen), key=ranks.__getitem__, default=None)
            if token is None:
                seen.clear()
                token = min(allowed, key=ranks.__getitem__)
            seen.add(token)
            trial.consume_token(token)
            out.append(token)
        return None

    def _ranks(self, closing: bytes) -> list[tuple[int, int, int]]:
        """For each token how soon it leads to the end, as a guess."""
        out = []
        for k, word in enumerate(self.spelling):
            first = closing.find(word[:1]) if word else -1
            out.append((first if first >= 0 else len(closing), len(word), k))
        return out


_LACKING = "the form asks for characters that this tokeniser does not have; use one of bytes or BPE, which has them all"
_LATE, _FEW = 48, 16  # from how many tokens before time is up one looks; how many tokens are a choice
_LONGEST, _FREE = 4096, 48  # tokens that an end may need; allowed tokens from which on it is free text, as in a string
_CLOSE, _QUOTE = b'}]),":\n.!?0123456789nftae', b"\"'\n.!?})]"  # what ends things outside of strings, and inside
