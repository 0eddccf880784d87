"""Labels of texts by counting words and a linear model: what anything larger must beat."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

__all__ = ["Spans", "answers_by_words", "classes_by_words", "spans_by_words"]

Spans = list[tuple[int, int, str]]

_WORD = re.compile(r"\w+|[^\w\s]")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def _fitted(line: Any, x: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return line.fit(x, y)


def classes_by_words(texts: Sequence[str], labels: Sequence[int], held: Sequence[str]) -> list[int]:
    """Classes of held-out texts by logistic regression on TF-IDF of words, pairs of words and character 2- to 5-grams.

    Classes weigh alike (``class_weight="balanced"``), as macro-F1 counts them.
    """
    if len(set(labels)) < 2:
        return [labels[0]] * len(held)
    words = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]", max_features=100_000
    )
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=100_000)
    line = make_pipeline(make_union(words, letters), LogisticRegression(C=3.0, max_iter=200, class_weight="balanced"))
    return [int(k) for k in _fitted(line, list(texts), list(labels)).predict(list(held))]


def _seen(words: list[str]) -> list[dict[str, Any]]:
    """What a linear tagger sees of each word: itself, its neighbours, its shape and its ends."""

    def shape(word: str) -> str:
        return re.sub(r"(.)\1+", r"\1", re.sub(r"\d", "9", re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", word))))

    around = ["<<", "<", *words, ">", ">>"]
    out = []
    for i, word in enumerate(words):
        near = {f"{k - 2}={around[i + k].lower()}": 1 for k in range(5)}
        pairs = {f"{a}+{b}": 1 for a, b in pairwise([around[i + 1].lower(), word.lower(), around[i + 3].lower()])}
        ends = {f"end={word[-3:].lower()}": 1, f"begin={word[:3].lower()}": 1}
        shapes = {f"shape{k}={shape(around[i + 2 + k])}": 1 for k in (-1, 0, 1)}
        out.append(near | pairs | ends | shapes)
    return out


def spans_by_words(texts: Sequence[str], spans: Sequence[Spans], held: Sequence[str]) -> list[Spans]:
    """Tagged spans of held-out texts by logistic regression on each word and those beside it, as BIO tags of words."""
    x: list[dict[str, Any]] = []
    y: list[str] = []
    for text, here in zip(texts, spans, strict=True):
        found = list(_WORD.finditer(text))
        x += _seen([m[0] for m in found])
        last = None
        for m in found:
            inside = next((s for s in here if s[0] < m.end() and m.start() < s[1]), None)
            y.append("O" if inside is None else f"{'I' if inside is last else 'B'}-{inside[2]}")
            last = inside
    if len(set(y)) < 2:
        return [[] for _ in held]
    line = _fitted(make_pipeline(DictVectorizer(), LogisticRegression(C=10.0, max_iter=100)), x, y)
    out: list[Spans] = []
    for text in held:
        found, here, before = list(_WORD.finditer(text)), [], ""
        tags = line.predict(_seen([m[0] for m in found])) if found else []
        for m, tag in zip(found, tags, strict=True):
            name = str(tag)[2:]
            if tag != "O" and str(tag)[0] == "I" and before == name and here:
                here[-1] = (here[-1][0], m.end(), name)
            elif tag != "O":
                here.append((m.start(), m.end(), name))
            before = name
        out.append(here)
    return out


def answers_by_words(
    questions: Sequence[str], passages: Sequence[str], answers: Sequence[tuple[int, int] | None],
    held: Sequence[tuple[str, str]],
) -> list[tuple[int, int] | None]:  # fmt: skip
    """Places of answers: logistic regression on runs of words in the sentences nearest to the question by TF-IDF.

    A run is seen by its sentence's likeness and rank, its length and shape with the question's first words, how much of it
    the question says, and how far the question's words are; the likeliest is the answer, and none where
    no answer was likelier in training (where some questions have none).
    """
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+").fit([*questions, *passages])
    rng = np.random.default_rng(0)
    x: list[dict[str, float]] = []
    y: list[int] = []
    for question, passage, answer in zip(questions, passages, answers, strict=True):
        runs = _runs(vectors, question, passage)
        right = [k for k, (place, _) in enumerate(runs) if place == answer]
        wrong = [k for k in range(len(runs)) if k not in right]
        for k in [*right, *rng.permutation(wrong)[:30].tolist()]:
            x.append(runs[k][1])
            y.append(int(k in right))
    if len(set(y)) < 2:
        return [None] * len(held)
    line = _fitted(make_pipeline(DictVectorizer(), LogisticRegression(C=1.0, max_iter=300)), x, y)

    def best(question: str, passage: str) -> tuple[float, tuple[int, int] | None]:
        runs = _runs(vectors, question, passage)
        if not runs:
            return -np.inf, None
        scores = line.decision_function([seen for _, seen in runs])
        return float(scores.max()), runs[int(scores.argmax())][0]

    edge = -np.inf
    if any(answer is None for answer in answers):  # the edge that divides the training questions best
        scored = sorted((best(q, p)[0], a is not None) for q, p, a in zip(questions, passages, answers, strict=True))
        right = np.cumsum([0] + [1 if not has else -1 for _, has in scored])
        k = int(right.argmax())
        edge = scored[k - 1][0] if k else -np.inf
    return [place if score > edge else None for score, place in (best(q, p) for q, p in held)]


def _runs(vectors: Any, question: str, passage: str) -> list[tuple[tuple[int, int], dict[str, float]]]:
    bounds = [0, *(m.end() for m in _SENTENCE.finditer(passage)), len(passage)]
    sentences = [(a, passage[a:b]) for a, b in pairwise(bounds) if passage[a:b].strip()]
    if not sentences:
        return []
    asked = set(_WORD.findall(question.lower()))
    kind = next((w for w in _WORD.findall(question.lower()) if w[:2] == "wh" or w == "how"), "none")
    if kind in {"how", "what", "which"}:
        following = re.search(rf"\b{kind}\s+(\w+)", question.lower())
        kind += f" {following[1]}" if following else ""
    like = (vectors.transform([question]) @ vectors.transform([s for _, s in sentences]).T).toarray()[0]
    out = []
    for rank, k in enumerate(np.argsort(-like)[:3].tolist()):
        start, text = sentences[k]
        found = list(_WORD.finditer(text))
        hits = [i for i, m in enumerate(found) if m[0].lower() in asked and len(m[0]) > 3]
        for i in range(len(found)):
            for j in range(i, min(i + 6, len(found))):
                words = [m[0] for m in found[i : j + 1]]
                if not words[0].isalnum() or not words[-1].isalnum():
                    continue
                shape = (
                    "9" if any(w[0].isdigit() for w in words) else "A" if all(w[0].isupper() for w in words) else "a"
                )
                said = sum(w.lower() in asked for w in words) / len(words)
                away = min((max(i - h, h - j, 0) for h in hits), default=20)
                seen = {
                    f"rank{rank}": 1.0, "like": float(like[k]), f"length{len(words)}": 1.0, f"{kind}|{shape}": 1.0,
                    f"{kind}|length{len(words)}": 1.0, shape: 1.0, "said": said, "away": min(away, 20) / 10,
                    "small": sum(len(w) < 4 and w.islower() for w in (words[0], words[-1])) / 2,
                    f"before={found[i - 1][0].lower() if i else '<'}": 1.0,
                    f"after={found[j + 1][0].lower() if j + 1 < len(found) else '>'}": 1.0,
                }  # fmt: skip
                out.append(((start + found[i].start(), start + found[j].end()), seen))
    return out
