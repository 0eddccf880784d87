"""Shorter texts: sentences chosen by three classical rankings, and whether a summary invents numbers or names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError, RecipeError, nearest
from bottega.crafts.write_check import sentences

__all__ = ["METHODS", "Summary", "invented", "relevance", "split", "summarise", "words"]


@dataclass(frozen=True)
class Summary:
    """Sentences of a text, in its order.

    Attributes:
        text: the sentences.
        chosen: their numbers.
        ratio: words of the summary over words of the text.
        method: by which they were ranked.
    """

    text: str
    chosen: list[int]
    ratio: float
    method: str


def words(text: str) -> list[str]:
    """Words as they are counted: letters and digits with inner apostrophes and hyphens.

    >>> words("It's 3.5 well-known, isn’t it?")
    ["It's", '3.5', 'well-known', 'isn’t', 'it']
    """
    return re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*", text)


def split(text: str) -> list[str]:
    """The sentences of a text, without headings, lists and code."""
    out = []
    for _, sentence in sentences(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        plain = " ".join(sentence.split())
        if (
            re.match(r"[\"'“‘(]*[^\W_a-z]", plain)
            and not re.match(r"(\d+[.)]\s|=+$)", plain)
            and re.search(r"[.!?][\"'”)]*$", plain)
        ):
            out.append(plain)
    return out


def summarise(text: str, *, ratio: float = 0.2, method: str = "textrank") -> Summary:
    """Whole sentences of ``text``, at most ``ratio`` of its words.

    Args:
        text: with at least two sentences.
        ratio: words of the summary over words of the text, at most. Only where the shortest sentence is longer than that
            may it be more: a summary has at least one.
        method: ``"textrank"`` (Mihalcea and Tarau 2004: sentences that others resemble), ``"centroid"`` (Radev et al. 2004:
            TF-IDF nearest the whole text's), or ``"lead"`` (the first).

    Raises:
        DataError: fewer than two sentences.
        RecipeError: no such method, or a ratio outside (0, 1).
    """
    if method not in METHODS:
        raise RecipeError(f"method is {method!r}{nearest(method, METHODS)}")
    if not 0 < ratio < 1:
        raise RecipeError(f"ratio is {ratio}; it is the share of words that stays, above 0 and below 1")
    parts = split(text)
    if len(parts) < 2:
        raise DataError(f"the text has {len(parts)} sentences; a summary needs at least two to choose from")
    length = [len(words(part)) for part in parts]
    room = ratio * sum(length)
    rank = METHODS[method](parts)
    order = sorted(range(len(parts)), key=lambda i: (-rank[i], i))
    least = (
        float(np.quantile(rank, 1 - ratio)) if method != "lead" else -math.inf
    )  # room is not filled with what says little
    least = min(least, float(np.median(rank)))
    chosen: list[int] = []
    used = 0
    for i in order:
        if used + length[i] <= room and rank[i] >= least:
            chosen.append(i)
            used += length[i]
        elif method == "lead":
            break
    if not chosen:
        chosen = [min(range(len(parts)), key=lambda i: (length[i], i))] if method != "lead" else [0]
        used = length[chosen[0]]
    chosen.sort()
    return Summary(" ".join(parts[i] for i in chosen), chosen, used / sum(length), method)


def _lead(parts: Sequence[str]) -> NDArray[np.float64]:
    return -np.arange(len(parts), dtype=np.float64)


def _textrank(parts: Sequence[str], damping: float = 0.85) -> NDArray[np.float64]:
    """Stationary weights of a walk between sentences that share words (Mihalcea and Tarau 2004, section 5.1)."""
    sets = [{w for w in map(str.lower, words(part)) if w not in _stop()} for part in parts]
    n = len(parts)
    near = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            both = len(sets[i] & sets[j])
            scale = math.log(max(len(sets[i]), 1)) + math.log(max(len(sets[j]), 1))
            near[i, j] = near[j, i] = both / scale if both and scale > 0 else 0.0
    total = near.sum(1, keepdims=True)
    step = np.divide(near, total, out=np.full((n, n), 1 / n), where=total > 0)
    weight = np.full(n, 1 / n)
    for _ in range(200):
        fresh = (1 - damping) / n + damping * step.T @ weight
        if np.abs(fresh - weight).sum() < 1e-10:
            break
        weight = fresh
    return np.asarray(weight)


def _centroid(parts: Sequence[str]) -> NDArray[np.float64]:
    """Cosine of each sentence with the mean TF-IDF vector of all."""
    return relevance(parts, " ".join(parts))


def relevance(parts: Sequence[str], query: str) -> NDArray[np.float64]:
    """Cosine of TF-IDF vectors of each part with the query's, ``(n,)``; zero where no word is shared."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(sublinear_tf=True, stop_words=sorted(_stop()), token_pattern=r"(?u)\b\w[\w'-]*\b")
    try:
        found = vectors.fit_transform([*parts, query])
    except ValueError:  # nothing but stop words
        return np.zeros(len(parts))
    return np.asarray((found[:-1] @ found[-1].T).todense()).ravel()


METHODS: dict[str, Callable[[Sequence[str]], NDArray[np.float64]]] = {
    "textrank": _textrank,
    "centroid": _centroid,
    "lead": _lead,
}


def _stop() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


_SAID = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
         "eighteen nineteen twenty")  # fmt: skip
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "bn": 1e9, "mn": 1e6, "m": 1e6, "k": 1e3}


def _numbers(text: str) -> list[tuple[str, float]]:
    """Every number with how it is written; words up to twenty too."""
    out = []
    pattern = r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?:\s?(hundred|thousand|million|billion|bn|mn)\b|([mk])\b)?"
    for found in re.finditer(pattern, text, re.IGNORECASE):
        scale = _SCALES[(found[3] or found[4]).lower()] if found[3] or found[4] else 1.0
        out.append((found.group(), float(found[1].replace(",", "") + (found[2] or "")) * scale))
    small = {word: i for i, word in enumerate(_SAID.split())}
    for found in re.finditer(rf"\b({'|'.join(w for w in small if w != 'one')})\b", text, re.IGNORECASE):
        out.append((found.group(), float(small[found.group().lower()])))
    return out


def invented(source: str, summary: str) -> list[str]:
    """Numbers and names of a summary that its source does not have: the factual-slot check.

    A number counts as the source's when its value is there, however written (1,200, 1.2 thousand). A name is a
    capitalised word inside a sentence, or an acronym; it counts when the source has the word in any case. What is
    not there was invented; what is there may still be said of the wrong thing.

    >>> invented("Ms Lind sold 1,200 boats in May.", "In May, Lind sold 1.2 thousand boats to Norway for 5 days.")
    ['5', 'Norway']
    """
    known = {value for _, value in _numbers(source)}
    out = [said for said, value in _numbers(summary) if not any(math.isclose(value, k) for k in known)]
    have = {w.lower().removesuffix("'s").removesuffix("’s") for w in words(source)}
    for _, sentence in sentences(summary):
        for at, word in enumerate(words(sentence)):
            bare = word.removesuffix("'s").removesuffix("’s")
            named = bare[:1].isupper() and (at > 0 or bare.isupper() and len(bare) > 1)
            if named and bare != "I" and not bare.startswith(("I'", "I’")) and bare.lower() not in have:
                pieces = bare.lower().split("-")
                if len(pieces) == 1 or not all(p in have for p in pieces):
                    out.append(bare)
    return list(dict.fromkeys(out))
