"""How much a sentence sounds like one of somebody in danger: a linear model of words and letter sequences, hashed.

``benchmarks/crisis.py`` learns the weights, which lie beside this file, from composed sentences and ordinary texts, and
measures them on sentences that were written before.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

__all__ = ["PLACES", "WEIGHTS", "hashed", "parts", "score"]

PLACES = 1 << 15  # of each of the two kinds of features
WEIGHTS = "_crisis.npz"
_LONGEST, _STEP = 18, 9  # words that are looked at together, and how far the next look begins


def parts(plain: str) -> Iterator[list[str]]:
    """The sentences of a text as ``chat_safety`` reads it, longer ones in stretches that overlap.

    >>> list(parts("hello there . i want out"))
    [['hello', 'there'], ['i', 'want', 'out']]
    """
    sentence: list[str] = []
    for word in [*plain.split(), "."]:
        if word not in (".", "!", "?", ";"):
            if word != ",":
                sentence.append(word)
            continue
        if sentence:
            yield sentence[:_LONGEST]
            for at in range(_STEP, len(sentence) - _STEP, _STEP):
                yield sentence[at : at + _LONGEST]
        sentence = []


def hashed(words: Sequence[str]) -> tuple[list[int], list[int]]:
    """The places of a sentence's features: one to three words in a row and two with one between; three to five letters of a word."""
    seen, letters = {f"^ {words[0]}"}, set()
    for k, word in enumerate(words):
        seen.add(word)
        if k:
            seen.add(f"{words[k - 1]} {word}")
        if k > 1:
            seen.add(f"{words[k - 2]} {words[k - 1]} {word}")
            seen.add(f"{words[k - 2]} * {word}")
        if k < 12:
            edged = f"<{word}>"
            for n in (3, 4, 5):
                letters.update(edged[i : i + n] for i in range(len(edged) - n + 1))
            letters.add(edged)
    mask = PLACES - 1
    return [zlib.crc32(s.encode()) & mask for s in seen], [PLACES + (zlib.crc32(s.encode()) & mask) for s in letters]


@lru_cache(maxsize=1)
def _weights() -> tuple[Any, float]:
    with (files("bottega.crafts") / WEIGHTS).open("rb") as file, np.load(file, allow_pickle=False) as kept:
        return kept["weights"].astype(np.float32) * float(kept["scale"]), float(kept["bias"])


def score(plain: str) -> float:
    """The log odds of the sentence that sounds most like one; below 0 for ordinary talk, minus infinity for none."""
    weights, bias = _weights()
    best = -math.inf
    for words in parts(plain):
        if len(words) < 2:
            continue  # a word alone says too little
        seen, letters = hashed(words)
        best = max(best, bias + float(weights[seen].sum()) / math.sqrt(len(seen)) + float(weights[letters].sum()) / math.sqrt(len(letters)))  # fmt: skip
    return best
