"""How much of each sample is said by the others: self-BLEU."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from bottega.core import Measure, mean_interval
from bottega.judge._case import Case
from bottega.judge._features import Which, words

__all__ = ["measure", "self_bleu"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("text",)

_MOST = 1000
_LEAST = 4  # words; a text must hold a 4-gram
_WORD = re.compile(r"\w+|[^\w\s]")
_SMOOTH = 0.1  # what stands for no match at all: Chen and Cherry 2014, method 1


def self_bleu(texts: Sequence[Sequence[str]], order: int = 4) -> Tensor:
    """BLEU of each text with all the others as its references, ``(N,)`` in [0, 1] (Zhu et al. 2018, arXiv:1802.01886).

    Sentence BLEU with the closest length's brevity penalty and Chen and Cherry's smoothing 1, as in nltk.

    Args:
        texts: of words; at least two.
        order: the longest n-grams that count.

    >>> self_bleu([["a", "b", "c", "d"], ["a", "b", "c", "d"], ["e", "f", "g", "h"]]).tolist()
    [1.0, 1.0, 0.0]
    """
    grams = [[Counter(zip(*(t[i:] for i in range(n)), strict=False)) for t in texts] for n in range(1, order + 1)]
    precisions = torch.zeros(order, len(texts), dtype=torch.float64)
    for n, counts in enumerate(grams):
        most: dict[
            tuple[str, ...], tuple[int, int, int]
        ] = {}  # the largest count, whose it is, the largest of the others
        for i, count in enumerate(counts):
            for gram, k in count.items():
                best, whose, second = most.get(gram, (0, -1, 0))
                most[gram] = (k, i, best) if k > best else (best, whose, max(second, k))
        for i, count in enumerate(counts):
            hits = 0
            for gram, k in count.items():
                best, whose, second = most[gram]
                hits += min(k, second if whose == i else best)
            total = max(1, sum(count.values()))
            if hits == 0 and n == 0:
                precisions[:, i] = 0.0
                break
            precisions[n, i] = (hits or _SMOOTH) / total
    none = precisions[0] == 0
    score = precisions.clamp_min(1e-300).log().mean(0).exp().masked_fill(none, 0.0)
    return score * torch.tensor(_brevity([len(t) for t in texts]), dtype=torch.float64)


def _brevity(lengths: list[int]) -> list[float]:
    order = sorted(lengths)
    out = []
    for length in lengths:
        at = bisect_left(order, length)
        others = [order[k] for k in (at - 1, at + 1) if 0 <= k < len(order)]  # its own place is `at`
        closest = min(others, key=lambda other: (abs(other - length), other))
        out.append(1.0 if length > closest else math.exp(1 - closest / length) if length else 0.0)
    return out


def _texts(case: Case, which: Which) -> list[list[str]]:
    """Texts as words where the codec can say them, else as tokens."""
    x = words(case, which)
    if case.decode is None:
        found = [[str(t) for t in row.tolist() if t >= 0] for row in x]
    elif case.sample_mask is not None:  # what was given says nothing of the model
        found = [_WORD.findall(str(case.decode(row[row >= 0][None])[0].value)) for row in x.cpu() if (row >= 0).any()]
    else:
        rows = case.samples if which == "samples" else case.held.x
        found = [_WORD.findall(str(item.value)) for item in case.decode(rows.cpu())]
    return [text for text in found if len(text) >= _LEAST]


def measure(case: Case) -> list[Measure]:
    """``self_bleu`` in words; near the held-out texts' own (the ceiling) is right, far above it is a model that repeats."""
    made, held = (_texts(case, which) for which in ("samples", "held"))
    n = min(len(made), len(held), _MOST)
    if n < 2:
        return []
    rows = case.rng("self_bleu")
    some = [[texts[i] for i in rows.permutation(len(texts))[:n].tolist()] for texts in (made, held)]
    value, low, high = mean_interval(self_bleu(some[0]))
    best = self_bleu(some[1]).mean().item()
    note = f"mean BLEU-4 in words of a sample against the {n - 1} others; it grows with their number, so the ceiling has as many"
    return [Measure("self_bleu", value, max(0.0, low), min(1.0, high), n=n, seed=case.seed, ceiling=best, note=note)]
