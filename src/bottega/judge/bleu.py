"""BLEU and chrF of what is written for held-out sources, by sacreBLEU, with its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bottega.core import BottegaError, Measure
from bottega.judge._case import Case
from bottega.judge._written import written

__all__ = ["measure", "bleu", "chrf"]

needs: tuple[str, ...] = ("model", "references")
media: tuple[str, ...] = ("text",)
libraries: tuple[str, ...] = ("sacrebleu",)

_RESAMPLES = 500


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]], *, seed: int = 0, **settings: Any) -> Measure:
    """Corpus BLEU, 0 to 100 (Papineni et al. 2002; sacreBLEU: Post 2018, arXiv:1804.08771), with a bootstrap interval.

    Args:
        texts: what was written, one for each source.
        references: for each source, what people wrote; one text or several.
        seed: noted in the measure; sacreBLEU's resampling has its own.
        **settings: of ``sacrebleu.metrics.BLEU`` (``tokenize``, ``lowercase``, ...).

    Raises:
        BottegaError: sacrebleu is not installed.
    """
    return _corpus("BLEU", "bleu", texts, references, seed, settings)


def chrf(texts: Sequence[str], references: Sequence[Sequence[str]], *, seed: int = 0, **settings: Any) -> Measure:
    """Corpus chrF2, 0 to 100 (Popovic 2015); arguments as those of ``bleu``, settings of ``sacrebleu.metrics.CHRF``."""
    return _corpus("CHRF", "chrf", texts, references, seed, settings)


def _corpus(
    metric: str,
    name: str,
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
    seed: int,
    settings: dict[str, Any],
) -> Measure:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise BottegaError(f"{name} needs sacrebleu; pip install 'bottega[text]'") from error
    if len(texts) != len(references) or not texts:
        raise ValueError(f"{len(texts)} texts, {len(references)} sources; give one text for each, at least one")
    most = max(map(len, references))
    columns = [[row[k] if k < len(row) else None for row in references] for k in range(most)]
    judge = getattr(metrics, metric)(**settings)
    score = judge.corpus_score(list(texts), columns, n_bootstrap=_RESAMPLES)
    note = f"{judge.get_signature()}; the interval resamples sources"
    value, low, high = score.score, score._mean - score._ci, score._mean + score._ci
    low, high = max(0.0, min(value, low)), min(100.0, max(value, high))
    return Measure(name, value, low, high, n=len(texts), seed=seed, better="higher", note=note)


def measure(case: Case) -> list[Measure]:
    """``bleu`` and ``chrf`` of the model's likeliest text for each held-out source."""
    texts, references = written(case)
    return [bleu(texts, references, seed=case.seed), chrf(texts, references, seed=case.seed)]
