"""Formal languages of known entropy: a counter, a copy, and a hidden Markov model."""

from __future__ import annotations

import math
import re

import numpy as np

from bottega.core import DataError
from bottega.data._draw import LICENCE, SOURCE, Draw, at_least_one, items_of
from bottega.data.dataset import Dataset

__all__ = ["copying", "counting", "hidden"]


def counting(*, n: int = 2_000, longest: int = 20, seed: int = 0) -> Dataset:
    """``a^k b^k``, the language that needs a counter; k from 1 to ``longest``, all equally likely.

    Args:
        n: texts.
        longest: the largest k.
        seed: of the draws.
    """
    at_least_one("counting", n=n, longest=longest)
    draw = Draw(seed)
    rows = [("a" * k + "b" * k, None) for k in (draw.between(1, longest) for _ in range(n))]

    def is_member(text: str) -> bool:
        k = len(text) // 2
        return 1 <= k <= longest and text == "a" * k + "b" * k

    def rest(begun: str) -> str:
        """What must follow a beginning that has its first b; DataError for other texts."""
        found = re.fullmatch(r"(a+)(b+)", begun)
        if found is None or len(found[2]) > len(found[1]):
            raise DataError(f"{begun!r} does not say what follows; give a beginning such as 'aaab'")
        return "b" * (len(found[1]) - len(found[2]))

    truth = {
        "entropy_nats": math.log(longest),  # of a text: of k
        "log_prob": lambda text: -math.log(longest) if is_member(text) else -math.inf,
        "is_member": is_member,
        "rest": rest,
        "begun": ["a" * k + "b" for k in range(1, longest + 1)],
    }
    return Dataset("counting", "text", items_of(rows, "text"), LICENCE, SOURCE,
                   f"a^k b^k with k from 1 to {longest}", truth)  # fmt: skip


def copying(*, n: int = 10_000, longest: int = 20, letters: int = 4, seed: int = 0) -> Dataset:
    """``bad=bad``: up to ``longest`` letters, and the same again; the language that needs a memory.

    Args:
        n: texts.
        longest: the most letters; lengths from 1 are all equally likely.
        letters: how many different ones, up to 26.
        seed: of the draws.
    """
    at_least_one("copying", n=n, longest=longest, letters=letters)
    if letters > 26:
        raise DataError(f"copying with letters={letters}: the alphabet has 26")
    alphabet = "abcdefghijklmnopqrstuvwxyz"[:letters]
    draw = Draw(seed)

    def word(k: int) -> str:
        return "".join(draw.of(alphabet) for _ in range(k))

    words = [word(draw.between(1, longest)) for _ in range(n)]
    known = set(words)

    def is_member(text: str) -> bool:
        first, equals, again = text.partition("=")
        return bool(equals) and first == again and 1 <= len(first) <= longest and set(first) <= set(alphabet)

    def log_prob(text: str) -> float:
        """Nats; minus infinity outside the language."""
        return -math.log(longest) - text.index("=") * math.log(letters) if is_member(text) else -math.inf

    def unseen(k: int, length: int, seed: int = 1) -> list[str]:
        """``k`` words of a length that are in no item."""
        found, more = [], Draw(seed + 7919)
        for _ in range(100 * k):
            one = "".join(more.of(alphabet) for _ in range(length))
            if one not in known:
                found.append(one)
            if len(found) == k:
                return found
        raise DataError(f"next to all words of {length} letters are among the items; ask for longer ones")

    truth = {
        "entropy_nats": math.log(longest) + (longest + 1) / 2 * math.log(letters),
        "log_prob": log_prob,
        "is_member": is_member,
        "rest": lambda begun: begun.partition("=")[0][len(begun.partition("=")[2]) :],
        "unseen": unseen,
    }
    return Dataset("copying", "text", items_of([(f"{w}={w}", None) for w in words], "text"), LICENCE, SOURCE,
                   f"up to {longest} of {letters} letters, and the same again", truth)  # fmt: skip


HIDDEN_START = np.array([0.6, 0.3, 0.1])
HIDDEN_MOVES = np.array([[0.85, 0.10, 0.05], [0.10, 0.80, 0.10], [0.15, 0.05, 0.80]])
HIDDEN_LETTERS = np.array(
    [[0.60, 0.25, 0.05, 0.05, 0.05], [0.05, 0.10, 0.70, 0.10, 0.05], [0.05, 0.05, 0.05, 0.25, 0.60]]
)


def hidden(*, n: int = 500, length: int = 60, seed: int = 0) -> Dataset:
    """Texts of a hidden Markov model with three states and the letters a to e, all of the same length.

    Args:
        n: texts.
        length: letters in each.
        seed: of the draws.
    """
    at_least_one("hidden", n=n, length=length)
    draw, rows, paths = Draw(seed), [], []
    for _ in range(n):
        path = [draw.weighed(HIDDEN_START)]
        while len(path) < length:
            path.append(draw.weighed(HIDDEN_MOVES[path[-1]]))
        rows.append(("".join("abcde"[draw.weighed(HIDDEN_LETTERS[s])] for s in path), None))
        paths.append(path)

    def log_prob(text: str) -> float:
        """Nats, by the forward recursion; minus infinity for other letters or another length."""
        if len(text) != length or not set(text) <= set("abcde"):
            return -math.inf
        at, nats = HIDDEN_START, 0.0
        for i, letter in enumerate(text):
            at = (at if i == 0 else at @ HIDDEN_MOVES) * HIDDEN_LETTERS[:, "abcde".index(letter)]
            nats += math.log(at.sum())
            at = at / at.sum()
        return nats

    truth = {
        "start": HIDDEN_START, "moves": HIDDEN_MOVES, "letters": HIDDEN_LETTERS, "paths": paths, "log_prob": log_prob,
        "is_member": lambda text: log_prob(text) > -math.inf,
    }  # fmt: skip
    return Dataset("hidden", "text", items_of(rows, "text"), LICENCE, SOURCE,
                   "texts of a known hidden Markov model of three states", truth)  # fmt: skip
