"""What a message wants, and whether it wants anything that is known: trained from examples alone, offline, on a processor.

Several readers look at a message, each in its own way, and their scores are added:

- linear SVMs (Joachims 1998) on TF-IDF of words and neighbouring pairs with letter sequences within words; of words and all
  pairs of a message with the same; and of letter sequences across words;
- kernel ridge regression with ``exp(2 (cosine - 1))`` on words, and on word vectors that the examples themselves give
  (positive pointwise mutual information, Levy and Goldberg 2014).

Whether it is in scope is learned without any message that is not: in three-fold cross-validation some intents are left out
altogether, and what was said for them plays the part (leave-intents-out). Confidence is the probability, by logistic
regression on what the readers say, that the message is of a known intent and the first one is right. The threshold is
where what is kept and what is left out are best together, or gives up as much of the accuracy in scope as ``give_up`` says;
it never sees test data.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.core.errors import CheckpointError, DataError

__all__ = ["Guess", "Intents"]

_FOLDS = 3
_KERNEL = 12_000  # examples, up to which each view has its own kernel
_CACHE = 3  # changes where trained numbers mean something else
Floats = NDArray[np.float32]
_TOKEN = re.compile(r"\w+|[?!]")
_LINEAR = (("pairs", "letters"), ("combined", "letters"), ("across",))
_RIDGE = ("words", "vectors")


@dataclass(frozen=True)
class Guess:
    """What a message is taken for.

    Attributes:
        intent: the likeliest.
        confidence: probability that this is right and the message is in scope at all.
        second: the next.
    """

    intent: str
    confidence: float
    second: str = ""


def _standard(scores: Floats) -> Floats:
    """Rows of mean 0 and deviation 1, so that readers can be added."""
    return (scores - scores.mean(1, keepdims=True)) / (scores.std(1, keepdims=True) + 1e-6)


def _combined(text: str) -> list[str]:
    """Words, and all pairs of them, wherever they stand; of long messages those of the beginning."""
    words = sorted(set(_TOKEN.findall(text.lower())[:60]))
    return words + [f"{a} {b}" for i, a in enumerate(words) for b in words[i + 1 :]]


def _tfidf(kind: str, texts: int) -> Any:
    """One way to count; of many examples what only one of them has is left out where there is most of it."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    plain: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
    rare = 2 if texts > 1000 else 1
    if kind == "letters":
        return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), strip_accents="unicode", **plain)
    if kind == "across":
        return TfidfVectorizer(analyzer="char", ngram_range=(3, 6), strip_accents="unicode", min_df=rare, **plain)
    if kind == "combined":
        return TfidfVectorizer(analyzer=_combined, min_df=rare, **plain)
    pairs = (1, 2) if kind == "pairs" else (1, 1)
    return TfidfVectorizer(ngram_range=pairs, strip_accents="unicode", token_pattern=r"(?u)\b\w+\b", **plain)


class _Views:
    """A message as TF-IDF of words, pairs and letters, and as the mean of word vectors; rows have length 1 or less."""

    kinds = ("words", "pairs", "letters", "combined", "across")

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.utils.extmath import randomized_svd

        self.count(texts)
        x = self.words.transform(texts)
        seen = (x > 0).astype(np.float32)
        together = (seen.T @ seen).toarray()
        n = np.maximum(together.diagonal(), 1e-9)
        with np.errstate(divide="ignore"):
            ppmi = np.maximum(np.log(together * len(texts) / np.outer(n, n)), 0.0)
        u, s, _ = randomized_svd(ppmi, min(150, len(n)), random_state=0)
        self.vectors = (u * np.sqrt(s)).astype(np.float32)

    def count(self, texts: Sequence[str]) -> None:
        """What is only counted, and not trained."""
        self.by = {kind: _tfidf(kind, len(texts)).fit(texts) for kind in self.kinds}
        self.words = self.by["words"]

    def __call__(self, texts: Sequence[str]) -> dict[str, Any]:
        from scipy.sparse import diags
        from sklearn.preprocessing import normalize

        x = self.words.transform(texts)
        known = self.known(texts)
        mean = normalize(x @ self.vectors) * known[:, None]
        rest = {kind: self.by[kind].transform(texts) for kind in self.kinds[1:]}
        return {"words": diags(known) @ x, "vectors": mean, **rest}

    def known(self, texts: Sequence[str]) -> Floats:
        """What share of a text's length its known words have, ``(B,)``; words that no example has are as rare as can be.

        Without it a text of unknown words and one known one would look just like an example of that word.
        """
        said, weight = self.words.build_analyzer(), self.words.idf_
        vocabulary, rare = self.words.vocabulary_, float(weight.max()) ** 2
        out = np.ones(len(texts), np.float32)
        for i, text in enumerate(texts):
            tokens = set(said(text))
            have = sum(weight[vocabulary[t]] ** 2 for t in tokens if t in vocabulary)
            lack = rare * sum(t not in vocabulary for t in tokens)
            out[i] = (have / (have + lack)) ** 0.5 if have + lack else 0.0
        return out


class _Kernel:
    """Kernel ridge regression of one view, or of the mean of several."""

    def __init__(self, views: tuple[str, ...]) -> None:
        self.views = views

    def fit(self, x: dict[str, Any], y: Floats) -> _Kernel:
        from scipy.linalg import cho_factor, cho_solve

        self.hold(x)
        k = self.kernel(x)
        k[np.diag_indices(len(k))] += 0.15
        self.alpha = cho_solve(
            cho_factor(k, lower=True, overwrite_a=True, check_finite=False), y, check_finite=False
        ).astype(np.float32)
        return self

    def hold(self, x: dict[str, Any]) -> None:
        """Keep the examples, which every message is compared with."""
        self.turned = {
            n: x[n].T.tocsr() if hasattr(x[n], "tocsr") else np.ascontiguousarray(x[n].T) for n in self.views
        }

    def kernel(self, x: dict[str, Any]) -> Floats:
        total: Any = 0.0
        for name in self.views:
            like = x[name] @ self.turned[name]
            total = total + (like.toarray() if hasattr(like, "toarray") else like)
        return np.exp((2.0 / len(self.views)) * total - 2.0).astype(np.float32)

    def scores(self, x: dict[str, Any]) -> Floats:
        return self.kernel(x) @ self.alpha

    def nearest(self, x: dict[str, Any]) -> Floats:
        """Cosine of the nearest example, ``(B,)``."""
        return 1 + 0.5 * np.log(np.maximum(self.kernel(x).max(1), 1e-9))


class _Linear:
    """A linear SVM, one against all others, on some views side by side."""

    def __init__(self, views: tuple[str, ...]) -> None:
        self.views = views

    def fit(self, x: dict[str, Any], of: NDArray[np.int64]) -> _Linear:
        from sklearn.svm import LinearSVC

        model = LinearSVC(C=1.0, tol=1e-3, random_state=0).fit(self.rows(x), of)
        weights, bias = model.coef_, model.intercept_
        if len(weights) == 1:  # of two classes the library keeps one row
            weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
        self.weights, self.bias = np.ascontiguousarray(weights.T, np.float32), bias.astype(np.float32)
        return self

    def rows(self, x: dict[str, Any]) -> Any:
        from scipy.sparse import hstack

        return hstack([x[name] for name in self.views]).tocsr() if len(self.views) > 1 else x[self.views[0]]

    def scores(self, x: dict[str, Any]) -> Floats:
        at, total = 0, self.bias
        for name in self.views:  # part by part: nothing is put together for one message
            wide = x[name].shape[1]
            total = total + x[name] @ self.weights[at : at + wide]
            at += wide
        return np.asarray(total)


class _Ensemble:
    """All readers, fitted on the same examples."""

    def __init__(self, texts: Sequence[str], of: NDArray[np.int64], classes: int) -> None:
        self.classes = classes
        self.views, self.present = _Views(texts), np.unique(of)
        x = self.views(texts)
        target = np.zeros((len(texts), classes), np.float32)
        target[np.arange(len(texts)), of] = 1
        self.kernels = [_Kernel(some).fit(x, target) for some in _kernels_of(len(texts))]
        self.linear = [_Linear(some).fit(x, of) for some in _LINEAR] if len(self.present) > 1 else []

    def __call__(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Scores ``(B, classes)``, and what scope is judged by ``(B, 7)``."""
        x = self.views(texts)
        ridge = [kernel.scores(x) for kernel in self.kernels]
        margins = []
        for one in self.linear:
            part = np.full(
                (len(texts), self.classes), -1.0, np.float32
            )  # a class that is not there is as far as can be
            part[:, self.present] = one.scores(x)
            margins.append(part)
        total = np.sum([_standard(s) for s in (*ridge, *margins)], 0)
        total[:, np.setdiff1d(np.arange(self.classes), self.present)] = -99.0
        soft, hard = np.mean(ridge, 0), np.mean(margins, 0) if margins else np.mean(ridge, 0)
        (first, second), (m1, m2), (r1, r2) = (_two(s) for s in (total, hard, soft))
        told = np.stack([first, first - second, m1, m1 - m2, r1, r1 - r2, self.kernels[0].nearest(x)], 1)
        return total, told.astype(np.float32)


def _kernels_of(n: int) -> list[tuple[str, ...]]:
    return [(name,) for name in _RIDGE] if n <= _KERNEL else [_RIDGE]


def _two(scores: Floats) -> tuple[Floats, Floats]:
    """The largest and the second of each row."""
    if scores.shape[1] < 2:
        return scores[:, 0], scores[:, 0] - 1
    top = -np.partition(-scores, 1, axis=1)[:, :2]
    return top[:, 0], top[:, 1]


class Intents:
    """Readers of messages, their calibration, and the threshold; see the head of this file.

    Args:
        texts: examples.
        labels: the intent of each.
        outside: messages that are in no scope, where there are some to learn from.
        give_up: share of the accuracy in scope that may be lost to find what is not; None weighs both alike.
        seed: of the folds.
        progress: told what is being done.

    Raises:
        DataError: fewer than two examples of an intent.
    """

    def __init__(
        self, texts: Sequence[str], labels: Sequence[str], *, outside: Sequence[str] = (), give_up: float | None = None, seed: int = 0,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._set(texts, labels)
        self.calibrate(texts, outside, give_up, seed, progress)
        progress("fitting all examples")
        self.readers = _Ensemble(texts, self.of, len(self.names))

    def _set(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        counts = Counter(labels)
        if len(texts) != len(labels) or not counts or min(counts.values()) < 2:
            few = next((name for name, n in counts.items() if n < 2), "")
            raise DataError(
                f"intent {few!r} has fewer than two examples; give it more"
                if few
                else "there are no examples of intents"
            )
        self.names = sorted(counts)
        at = {name: k for k, name in enumerate(self.names)}
        self.of = np.array([at[name] for name in labels], np.int64)

    # ---- what is sure ------------------------------------------------------------------------------------------------

    def calibrate(
        self,
        texts: Sequence[str],
        outside: Sequence[str],
        give_up: float | None,
        seed: int,
        progress: Callable[[str], None],
    ) -> None:
        """Weights of the confidence, and the threshold, from folds in which examples and whole intents are left out."""
        from sklearn.linear_model import LogisticRegression

        rng = np.random.default_rng(seed)
        fold = np.zeros(len(texts), int)
        for k in range(len(self.names)):
            rows = rng.permutation(np.flatnonzero(self.of == k))
            fold[rows] = (np.arange(len(rows)) + rng.integers(_FOLDS)) % _FOLDS
        shuffled = rng.permutation(len(self.names))
        told, right, known = [], [], []
        away_from = [rng.permutation(len(outside)), np.arange(len(outside)) % _FOLDS]
        for k in range(_FOLDS):
            progress(f"cross-validation {k + 1} of {_FOLDS}")
            left = (
                shuffled[k::_FOLDS][: max(1, round(0.2 * len(self.names)))] if len(self.names) > 3 else np.zeros(0, int)
            )
            gone = np.isin(self.of, left)
            fitted = (fold != k) & ~gone
            held = (fold == k) & ~gone
            away = gone & (fold == k) if not outside else np.zeros(len(texts), bool)
            readers = _Ensemble([texts[i] for i in np.flatnonzero(fitted)], self.of[fitted], len(self.names))
            for rows, inside in ((held, True), (away, False)):
                if rows.any():
                    scores, about = readers([texts[i] for i in np.flatnonzero(rows)])
                    told.append(about)
                    right.append((scores.argmax(1) == self.of[rows]) & inside)
                    known.append(np.full(len(about), inside))
            if outside:
                some = [outside[i] for i in away_from[0][away_from[1] == k]]
                _, about = readers(some)
                told.append(about)
                right.append(np.zeros(len(about), bool))
                known.append(np.zeros(len(about), bool))
        x, y, inside = np.concatenate(told), np.concatenate(right), np.concatenate(known)
        self.mean, self.scale = x.mean(0), x.std(0) + 1e-6
        x = (x - self.mean) / self.scale
        if y.all() or not y.any():
            self.weights, self.bias = np.zeros(x.shape[1]), 3.0 if y.all() else -3.0
        else:  # in scope and out of it weigh the same, however many there are of each
            weight = np.where(inside, 1.0, inside.sum() / max(1, (~inside).sum()))
            model = LogisticRegression(C=0.3, max_iter=2000).fit(x, y, sample_weight=weight)
            self.weights, self.bias = model.coef_[0], float(model.intercept_[0])
        sure = self._sure(x)
        self.accuracy = float(y[inside].mean())
        good = np.sort(sure[y])
        if give_up is not None and len(good):
            self.threshold = float(good[int(give_up * len(good))]) - 1e-9
        elif (
            len(good) and not y.all()
        ):  # the largest sum of what is rightly kept and what is rightly left (Youden 1950)
            bad = np.sort(sure[~y & ~inside] if (~inside).any() else sure[~y])
            kept = 1 - np.searchsorted(good, good, "left") / len(good)
            left = np.searchsorted(bad, good, "left") / len(bad)
            self.threshold = float(good[int(np.argmax(kept + left))]) - 1e-9
        else:
            self.threshold = 0.5
        self.found_outside = float((sure[~inside] < self.threshold).mean()) if (~inside).any() else float("nan")

    def _sure(self, x: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-(x @ self.weights + self.bias))), np.float64)

    # ---- use ---------------------------------------------------------------------------------------------------------

    def predict(self, texts: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
        """The likeliest intent of each text, and the confidence in it."""
        scores, told = self.readers(texts)
        return [self.names[k] for k in scores.argmax(1)], self._sure((told - self.mean) / self.scale)

    def guess(self, text: str) -> Guess:
        """What one message is taken for."""
        scores, told = self.readers([text])
        order = np.argsort(-scores[0])
        sure = float(self._sure((told - self.mean) / self.scale)[0])
        return Guess(self.names[order[0]], sure, self.names[order[1]] if len(order) > 1 else "")

    # ---- files -------------------------------------------------------------------------------------------------------

    @classmethod
    def cached(cls, place: Path, texts: Sequence[str], labels: Sequence[str], **told: Any) -> Intents:
        """Trained, or read from ``place`` where the same examples were trained on: numbers as safetensors, never pickle."""
        key = hashlib.sha256(
            json.dumps([_CACHE, list(texts), list(labels), sorted(map(str, told.items()))]).encode()
        ).hexdigest()[:24]
        file = place / f"{key}.safetensors"
        if file.is_file():
            return cls.load(file, texts, labels)
        made = cls(texts, labels, **told)
        made.save(file)
        return made

    def save(self, file: Path) -> None:
        """What was trained, without the examples; raises OutputError."""
        from safetensors.numpy import save

        from bottega.core.files import write_atomically

        r = self.readers
        tensors: dict[str, Any] = {f"kernel.{k}": one.alpha for k, one in enumerate(r.kernels)}
        for k, svm in enumerate(r.linear):
            tensors |= {f"linear.{k}.weights": svm.weights, f"linear.{k}.bias": svm.bias}
        tensors |= {
            "vectors": r.views.vectors,
            "mean": self.mean,
            "scale": self.scale,
            "confidence": np.asarray(self.weights, np.float64),
        }
        head = {
            "bias": self.bias,
            "threshold": self.threshold,
            "accuracy": self.accuracy,
            "found_outside": self.found_outside,
        }
        tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        write_atomically(file, save(tensors, {"bottega_intents": json.dumps(head)}))

    @classmethod
    def load(cls, file: Path, texts: Sequence[str], labels: Sequence[str]) -> Intents:
        """What ``save`` wrote, with the examples that it was trained on; raises CheckpointError."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, "numpy") as opened:
                head = json.loads((opened.metadata() or {})["bottega_intents"])
                kept = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            made = cls.__new__(cls)
            made._set(texts, labels)
            made.mean, made.scale, made.weights = kept["mean"], kept["scale"], kept["confidence"]
            made.bias, made.threshold, made.accuracy = head["bias"], head["threshold"], head["accuracy"]
            made.found_outside = head["found_outside"]
            made.readers = _revived(texts, made.of, len(made.names), kept)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{file} holds no trained intents ({error}); delete it, and they are trained again"
            ) from error
        return made


def _revived(texts: Sequence[str], of: NDArray[np.int64], classes: int, kept: dict[str, Any]) -> _Ensemble:
    """Readers from their trained numbers; what is counted (TF-IDF) is counted again."""
    made = _Ensemble.__new__(_Ensemble)
    made.classes, made.present = classes, np.unique(of)
    made.views = _Views.__new__(_Views)
    made.views.count(texts)
    made.views.vectors = kept["vectors"]
    x = made.views(texts)
    made.kernels, made.linear = [], []
    for k, some in enumerate(_kernels_of(len(texts))):
        one = _Kernel(some)
        one.hold(x)
        one.alpha = kept[f"kernel.{k}"]
        made.kernels.append(one)
    for k, some in enumerate(_LINEAR if "linear.0.bias" in kept else ()):
        svm = _Linear(some)
        svm.weights, svm.bias = kept[f"linear.{k}.weights"], kept[f"linear.{k}.bias"]
        made.linear.append(svm)
    return made
