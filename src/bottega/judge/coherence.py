"""Do sentences follow each other? A text's own order of sentences against shuffles of it."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from bottega.core import Batch, Measure, Rng, Scores, has
from bottega.judge._case import Case
from bottega.judge._features import Which, words
from bottega.judge._statistics import bootstrap

__all__ = ["measure", "Neighbours", "cut", "order_told", "shuffles", "told_apart"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("text",)

_MOST, _SHUFFLES, _CHUNK = 300, 10, 64
_ENOUGH = 8  # texts of four sentences or more; of fewer nothing is said
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*(?=\s)|(?=\n)")


def cut(strings: list[str]) -> list[list[int]]:
    r"""The places of tokens, sentence by sentence; ``strings`` are the tokens' own texts, white space before each word.

    A sentence ends where white space follows a full stop, question or exclamation mark, and at the end of a line.

    >>> cut(["A", " b", ".", " C", "?", "\n", "d"])
    [[0, 1, 2], [3, 4], [5, 6]]
    """
    begins, text = {}, ""
    for i, string in enumerate(strings):
        begins.setdefault(len(text), i)
        text += string
    cuts = sorted({begins[m.end()] for m in _END.finditer(text) if begins.get(m.end(), 0)})
    parts = [list(range(a, b)) for a, b in pairwise([0, *cuts, len(strings)])]
    out: list[list[int]] = []
    for part in parts:  # what holds no letter is no sentence
        if out and not any(c.isalnum() for i in part for c in strings[i]):
            out[-1] += part
        else:
            out.append(part)
    return out


def shuffles(sentences: int, times: int, rng: Rng) -> list[list[int]]:
    """Other orders of sentences, the first and the last in their places (they may be cut off); none is the true order.

    >>> shuffles(4, 2, Rng(0))
    [[0, 2, 1, 3], [0, 2, 1, 3]]
    """
    inner, found = sentences - 2, []
    while len(found) < times:
        order = [0, *(1 + i for i in rng.permutation(inner).tolist()), sentences - 1]
        if order != list(range(sentences)):
            found.append(order)
    return found


class Neighbours:
    """Likeness of sentences that stand side by side: cosine of their TF-IDF vectors.

    Args:
        sentences: what says which words are common.
    """

    def __init__(self, sentences: list[str]) -> None:
        self.vectors = TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True).fit(sentences)

    def likeness(self, sentences: list[str]) -> np.ndarray:
        """``(S, S)``."""
        v = self.vectors.transform(sentences)
        return (v @ v.T).toarray()


def told_apart(likeness: np.ndarray, orders: list[list[int]]) -> float:
    """The share of ``orders`` whose neighbours are less alike than those of the true order; ties count half."""

    def score(order: list[int]) -> float:
        return float(sum(likeness[a, b] for a, b in pairwise(order)))

    own = score(list(range(len(likeness))))
    other = [score(order) for order in orders]
    return sum(1.0 if own > s + 1e-12 else 0.5 if abs(own - s) <= 1e-12 else 0.0 for s in other) / len(other)


def _pieces(case: Case, which: Which, strings: list[str]) -> list[tuple[int, list[list[int]]]]:
    """Rows of at least four sentences, and their sentences as places of tokens."""
    found = []
    for i, row in enumerate(words(case, which).cpu().tolist()):
        at = [place for place, t in enumerate(row) if t >= 0]
        parts = [[at[k] for k in part] for part in cut([strings[row[place]] for place in at])]
        if len(parts) >= 4:
            found.append((i, parts))
    return found


def _strings(case: Case) -> list[str]:
    """Each token's own text; the padding token has none."""
    assert case.decode is not None
    every = torch.arange(case.spec.vocab)[:, None]
    return [str(item.value) for item in case.decode(every)]


@torch.no_grad()
def order_told(case: Case, rows: list[tuple[int, list[list[int]]]], rng: Rng, times: int = 4) -> Tensor:
    """For each held-out text the share of shuffles that the model finds less likely than the true order, ``(N,)``.

    Shuffles have the same tokens, so that their likelihoods compare.
    """
    model: Any = case.model
    x = case.held.x.cpu()
    many, owner = [], []
    for i, parts in rows:
        flat = [t for part in parts for t in part]
        for order in [list(range(len(parts))), *shuffles(len(parts), times, rng)]:
            row = x[i].clone()
            row[flat] = x[i][[t for k in order for t in parts[k]]]
            many.append(row)
            owner.append(i)
    who = torch.tensor(owner)
    cond, mask = (
        None if t is None else t.expand(len(x), *t.shape[1:]).cpu()[who] for t in (case.held.cond, case.held.mask)
    )
    batch = Batch(torch.stack(many), cond, mask)
    was = model.training
    model.eval()
    parts_of = batch.split(math.ceil(len(batch) / _CHUNK))
    p = torch.cat([model.log_prob(part.to(case.device), rng).double().cpu() for part in parts_of])
    model.train(was)
    p = p.view(len(rows), 1 + times)
    more = (p[:, :1] > p[:, 1:]).double() + 0.5 * (p[:, :1] == p[:, 1:]).double()
    return more.mean(1)


def measure(case: Case) -> list[Measure]:
    """``coherence`` of the samples, and ``order_told`` by a model that scores; both 0.5 where order means nothing.

    ``coherence`` is the share of shuffles of a sample's inner sentences whose neighbours are less alike (cosine of
    TF-IDF) than in the sample's own order; the ceiling is that of held-out texts. It is a proxy: it sees that words are
    taken up again, not whether what is said is true or makes sense. ``order_told`` asks the model itself, about held-out
    texts. Rows of fewer than four sentences are left out; where fewer than 8 remain nothing is said.
    """
    if case.decode is None or not case.spec.is_text:
        return []
    strings = _strings(case)
    rng, values = case.rng("coherence"), {}
    read = {which: _pieces(case, which, strings)[:_MOST] for which in ("train", "held", "samples")}

    def sentences(which: Which, row: tuple[int, list[list[int]]]) -> list[str]:
        tokens = getattr(case, which).x[row[0]] if which != "samples" else case.samples[row[0]]
        said = tokens.tolist()
        return ["".join(strings[said[t]] for t in part) for part in row[1]]

    known = [s for row in read["train"] for s in sentences("train", row)]
    if not any(re.search(r"\w", s) for s in known):
        return []
    near = Neighbours(known)
    for which in ("held", "samples"):
        values[which] = torch.tensor(
            [
                told_apart(near.likeness(sentences(which, row)), shuffles(len(row[1]), _SHUFFLES, rng))
                for row in read[which]
            ]
        )
    out = []
    if len(values["samples"]) >= _ENOUGH:
        best = values["held"].mean().item() if len(values["held"]) >= _ENOUGH else None
        note = "share of shuffled orders of a text's sentences whose neighbours are less alike than in its own; 0.5 is no order"
        out.append(
            Measure("coherence", *bootstrap(values["samples"], rng), n=len(values["samples"]), seed=case.seed, better="higher",
                    ceiling=best, note=note)
        )  # fmt: skip
    if has(case.model, Scores) and len(read["held"]) >= _ENOUGH:
        told = order_told(case, read["held"], case.rng("order_told"))
        note = (
            "share of shuffled orders of a held-out text's sentences that the model finds less likely than the true one"
        )
        out.append(
            Measure("order_told", *bootstrap(told, rng), n=len(told), seed=case.seed, better="higher", note=note)
        )
    return out
