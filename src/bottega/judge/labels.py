"""Labels of held-out texts: macro-F1 of classes, F1 of spans, exact match and F1 of answers, beside counting words."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from bottega.core import Batch, Item, Measure, Rng
from bottega.judge._case import Case

if TYPE_CHECKING:
    from bottega.judge._plain_labels import Spans

__all__ = ["measure", "answer_score", "macro_f1", "span_counts"]

needs: tuple[str, ...] = ("model", "references")
media: tuple[str, ...] = ("labels",)

_CHUNK, _RESAMPLES = 128, 500
_MOST = {"class": 20_000, "other": 5000}  # training texts that the baseline learns from
Statistic = Callable[[NDArray[Any]], float]


def macro_f1(true: NDArray[Any], told: NDArray[Any]) -> float:
    """Mean over the classes that are there, or are told, of ``2 hits / (true + told)``.

    >>> round(macro_f1(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])), 4)  # (2/3 + 2/3 + 1) / 3
    0.7778
    """
    most = int(max(true.max(), told.max())) + 1
    hits = np.bincount(true[true == told], minlength=most)
    both = np.bincount(true, minlength=most) + np.bincount(told, minlength=most)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


def span_counts(true: Spans, told: Spans) -> tuple[int, int, int, int, int, int]:
    """Hits, true and told spans (start, end and name equal), then the same of single characters and their names.

    >>> span_counts([(0, 4, "who")], [(0, 3, "who")])
    (0, 1, 1, 3, 4, 3)
    """
    a, b = set(true), set(told)
    single = [{(i, name) for start, end, name in spans for i in range(start, end)} for spans in (true, told)]
    return len(a & b), len(a), len(b), len(single[0] & single[1]), len(single[0]), len(single[1])


def _said(text: str) -> list[str]:
    """Words as SQuAD compares them: small letters, without punctuation and articles."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def answer_score(true: str | None, told: str | None) -> tuple[float, float]:
    """Exact match and F1 of words, as SQuAD 2.0's own script counts them (Rajpurkar et al. 2018, arXiv:1806.03822).

    None is no answer: then both are one where there is none, and zero where there is one.

    >>> answer_score("the Denver Broncos", "Denver Broncos."), answer_score("Denver Broncos", "Broncos"), answer_score(None, "x")
    ((1.0, 1.0), (0.0, 0.666...), (0.0, 0.0))
    """
    a, b = ([] if t is None else _said(t) for t in (true, told))
    if not a or not b:
        return float(a == b), float(a == b)
    same = sum((Counter(a) & Counter(b)).values())
    return float(a == b), 2 * same / (len(a) + len(b))


def _told(case: Case, held: Batch) -> list[Item]:
    """What the model says of held-out texts, its likeliest labels."""
    assert case.model is not None
    assert case.decode is not None
    was, rng = case.model.training, case.rng("labels")
    case.model.eval()
    out: list[Item] = []
    with torch.no_grad():
        for part in held.split(math.ceil(len(held) / _CHUNK)):
            assert part.cond is not None
            x = case.model.sample(len(part), rng, part.cond.to(case.device), temperature=0.0)
            out += case.decode(x.cpu(), part.cond.cpu())
    case.model.train(was)
    return out


def _pair(name: str, own: Statistic, plain: Statistic, n: int, case: Case, what: str, how: str) -> list[Measure]:
    """A score, that of the plain baseline, and their difference with the interval of a paired bootstrap."""
    draw = case.rng(name)
    every = np.arange(n)
    picks = [draw.integers(n, n).cpu().numpy() for _ in range(_RESAMPLES)]
    mine, theirs = (np.array([f(rows) for rows in picks]) for f in (own, plain))
    value, base = own(every), plain(every)
    shared: dict[str, Any] = {"n": n, "seed": case.seed}

    def ends(values: NDArray[Any], at: float) -> tuple[float, float]:
        low, high = np.quantile(values, [0.025, 0.975])
        return min(float(low), at), max(float(high), at)

    gain, span = value - base, ends(mine - theirs, value - base)
    verdict = "beaten" if span[0] > 0 else "not beaten"
    return [
        Measure(name, value, *ends(mine, value), **shared, better="higher", note=what),
        Measure(f"{name}_plain", base, *ends(theirs, base), **shared, note=f"the same by {how}"),
        Measure(f"{name}_gain", gain, *span, **shared, better="higher",
                note=f"above {how}, by a paired bootstrap: the baseline is {verdict}"),
    ]  # fmt: skip


def _some(batch: Batch, most: int, rng: Rng) -> Batch:
    return batch if len(batch) <= most else batch.take(rng.permutation(len(batch))[:most].to(batch.x.device))


def measure(case: Case) -> list[Measure]:
    """Each score of held-out texts, that of a linear model on counted words, and whether the latter is beaten.

    Classes: ``class_accuracy``, ``macro_f1``. Tags: ``span_f1`` (start, end and name equal), ``span_f1_part`` (of single
    characters). Answers: ``exact_match``, ``answer_f1`` (SQuAD 2.0's), and where some questions have none ``abstain_f1``,
    how well the model tells those. The baseline learns from the same training texts (at most 20,000, and 5,000 for spans and answers). A row counts for
    itself: of a passage in several windows each window.
    """
    if case.decode is None or case.train.cond is None or case.held.cond is None:
        return []
    from bottega.judge._plain_labels import classes_by_words, spans_by_words  # scikit-learn, slow to import

    most = _MOST["class" if case.spec.shape == () else "other"]
    held = Batch(case.held.x.cpu(), case.held.cond.cpu())
    train = _some(Batch(case.train.x.cpu(), case.train.cond.cpu()), most, case.rng("labels rows"))
    true, known = (list(case.decode(b.x, b.cond)) for b in (held, train))
    told = _told(case, held)
    texts, seen = ([str(item.cond) for item in items] for items in (true, known))
    if case.spec.shape == ():
        plain = classes_by_words(seen, train.x.tolist(), texts)
        return _classes(
            case, held.x.numpy(), [str(i.value) for i in true], [str(i.value) for i in told], np.array(plain)
        )
    if case.spec.shape == (2,):
        return _answers(case, true, told, known)
    plain_spans = spans_by_words(seen, [item.value for item in known], texts)
    return _spans(case, [i.value for i in true], [i.value for i in told], plain_spans)


def _classes(case: Case, true: NDArray[Any], names: list[str], said: list[str], plain: NDArray[Any]) -> list[Measure]:
    number = {name: int(k) for name, k in zip(names, true, strict=True)}
    most = case.spec.vocab
    told = np.array([number.get(name, most) for name in said])  # a class that no held-out text has
    how = "logistic regression on TF-IDF of words and letters"
    right, base = true == told, true == plain
    out = _pair("macro_f1", lambda r: macro_f1(true[r], told[r]), lambda r: macro_f1(true[r], plain[r]), len(true), case,
                f"mean F1 over {len(number)} classes of {len(true)} held-out texts", how)  # fmt: skip
    return out + _pair("class_accuracy", lambda r: float(right[r].mean()), lambda r: float(base[r].mean()), len(true), case,
                       "share of held-out texts whose class is told", how)  # fmt: skip


def _spans(case: Case, true: list[Spans], told: list[Spans], plain: list[Spans]) -> list[Measure]:
    counts = [np.array([span_counts(a, b) for a, b in zip(true, other, strict=True)]) for other in (told, plain)]

    def f1(which: int, first: int) -> Statistic:
        def score(rows: NDArray[Any]) -> float:
            hits, real, said = counts[which][rows][:, first : first + 3].sum(0)
            return float(2 * hits / max(1, real + said))

        return score

    how = "logistic regression on each word and its neighbours"
    n = sum(len(spans) for spans in true)
    exact = f"F1 of {n} spans in {len(true)} held-out texts: start, end and name equal"
    part = "F1 of single characters with their names: spans that are found in part count in part"
    return _pair("span_f1", f1(0, 0), f1(1, 0), len(true), case, exact, how) + _pair(
        "span_f1_part", f1(0, 3), f1(1, 3), len(true), case, part, how
    )


def _answers(case: Case, true: Sequence[Item], told: Sequence[Item], known: Sequence[Item]) -> list[Measure]:
    def halves(item: Item) -> tuple[str, str]:
        question, _, passage = str(item.cond).partition("\n")
        return question, passage

    def said(place: tuple[int, int] | None, item: Item) -> str | None:
        return None if place is None else halves(item)[1][place[0] : place[1]]

    from bottega.judge._plain_labels import answers_by_words

    asked = [halves(item) for item in known]
    plain = answers_by_words(
        [q for q, _ in asked], [p for _, p in asked], [i.value for i in known], [halves(i) for i in true]
    )
    right = [said(item.value, item) for item in true]
    both = [
        np.array([answer_score(a, said(place, item)) for a, place, item in zip(right, places, true, strict=True)])
        for places in ([item.value for item in told], plain)
    ]
    how = "logistic regression on runs of words in the sentences nearest to the question by TF-IDF"
    n, none = len(true), sum(a is None for a in right)
    out: list[Measure] = []
    for k, (name, what) in enumerate((("exact_match", "exact match"), ("answer_f1", "F1 of words"))):
        out += _pair(name, lambda r, k=k: float(both[0][r, k].mean()), lambda r, k=k: float(both[1][r, k].mean()), n, case,
                     f"{what} as SQuAD 2.0 counts it, over {n} held-out questions, {none} of which have no answer", how)  # fmt: skip
    if none:
        real = np.array([a is None for a in right])
        silent = [np.array([p is None for p in places]) for places in ([item.value for item in told], plain)]

        def f1(which: int) -> Statistic:
            return lambda r: float(2 * (real & silent[which])[r].sum() / max(1, real[r].sum() + silent[which][r].sum()))

        out += _pair(
            "abstain_f1", f1(0), f1(1), n, case, f"F1 of telling the {none} questions that have no answer", how
        )
    return out
