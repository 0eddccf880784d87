"""Table utility: what a classifier learns from made rows, tested on real ones (train on synthetic, test on real)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._rows import Features, Rows, made_rows, some_rows, target_of, truth

__all__ = ["measure", "predict"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("table",)

MOST = 50_000  # rows to learn from or to test on
CLASSES = 20  # a whole-number target with more values than this is a quantity


def measure(case: Case) -> list[Measure]:
    """One measure of made rows as training data for ``facts["target"]``, tested on held-out real rows.

    ``utility_f1`` of the rarer class when the target has two values, ``utility_accuracy`` when it has more,
    ``utility_r2`` when it is a quantity (Esteban et al. 2017, arXiv:1706.02633, section 4.2, "TSTR"). The ceiling is the same
    learner trained on as many real training rows. Empty when no target was named, or no row to learn from has it.
    """
    if not case.facts.get("target"):
        return []
    held = some_rows(case, case.held, "table_utility held", MOST)
    fake = made_rows(case, MOST)
    real = some_rows(case, case.train, "table_utility train", len(fake))
    features = Features.of(held, fake, real)
    target, why = target_of(case, features, held)
    if why:
        return []
    fake, real, held = ([row for row in rows if row[target] is not None] for rows in (fake, real, held))
    if not fake or not real:  # the target is a gap in every row
        return []
    answers = truth(held, target)
    kind, score = _score(truth(real, target), answers)
    guesses, ideal = (predict(features, rows, held, target, case.seed, kind == "r2") for rows in (fake, real))
    rng = np.random.default_rng(case.seed)
    draws = [rng.integers(len(held), size=len(held)) for _ in range(200)]
    low, high = np.quantile([score(answers[rows], guesses[rows]) for rows in draws], [0.025, 0.975])
    short = (
        f"; only {len(fake)} made rows, the training part has {len(case.train)}" if len(fake) < len(case.train) else ""
    )
    note = f"boosted trees learn {target!r} from {len(fake)} made rows, tested on {len(held)} held-out real rows{short}"
    return [
        Measure(f"utility_{kind}", score(answers, guesses), float(low), float(high), n=len(held), seed=case.seed, better="higher",
                ceiling=score(answers, ideal), note=note)
    ]  # fmt: skip


def _score(real: np.ndarray, held: np.ndarray) -> tuple[str, Callable[[np.ndarray, np.ndarray], float]]:
    """The measure that suits the target: its name, and ``(answers, guesses) -> number``."""
    counts = Counter(real.tolist())
    named = all(isinstance(v, str | bool) for v in counts)
    if not named and (len(counts) > CLASSES or any(isinstance(v, float) for v in counts)):

        def r2(answers: np.ndarray, guesses: np.ndarray) -> float:
            a = answers.astype(np.float64)
            return float(1 - ((a - guesses) ** 2).sum() / max(((a - a.mean()) ** 2).sum(), 1e-12))

        return "r2", r2
    if len(counts | Counter(held.tolist())) == 2:
        rare = min(counts, key=lambda v: counts[v])

        def f1(answers: np.ndarray, guesses: np.ndarray) -> float:
            hit = float(((answers == rare) & (guesses == rare)).sum())
            return 2 * hit / max(float((answers == rare).sum() + (guesses == rare).sum()), 1.0)

        return "f1", f1
    return "accuracy", lambda answers, guesses: float((answers == guesses).mean())


def predict(
    features: Features, learn: Rows, held: Rows, target: str, seed: int, quantity: bool = False, balanced: bool = False
) -> np.ndarray:
    """What ``HistGradientBoosting`` (Ke et al. 2017), trained on ``learn``, says of ``target`` for each held-out row.

    ``balanced``: each class weighs the same in learning, however few its rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x, asked = features.matrix(learn, target), features.matrix(held, target)
    known = truth(learn, target)
    settings: dict[str, Any] = {"categorical_features": features.categorical(target), "random_state": seed}
    if quantity:
        return HistGradientBoostingRegressor(**settings).fit(x, known.astype(np.float64)).predict(asked)
    names = sorted(set(known.tolist()), key=str)
    if len(names) == 1:  # the generator knows one answer only, and so does who learns from it
        return np.array([names[0]] * len(held), dtype=object)
    codes = np.array([names.index(v) for v in known.tolist()])
    if balanced:
        settings["class_weight"] = "balanced"
    guesses = HistGradientBoostingClassifier(**settings).fit(x, codes).predict(asked)
    return np.array([names[i] for i in guesses], dtype=object)
