"""ROUGE-1, ROUGE-2 and ROUGE-L of what is written for held-out sources, beside the beginning of the source itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from bottega.core import BottegaError, Measure, Rng
from bottega.judge._case import Case
from bottega.judge._statistics import bootstrap
from bottega.judge._written import written

__all__ = ["measure", "rouge"]

needs: tuple[str, ...] = ("model", "references")
media: tuple[str, ...] = ("text",)
libraries: tuple[str, ...] = ("rouge_score",)

_KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def rouge(
    texts: Sequence[str], references: Sequence[Sequence[str]], rng: Rng, *, stem: bool = True, seed: int = 0
) -> list[Measure]:
    """F1 of ``rouge_1``, ``rouge_2``, ``rouge_l`` (Lin 2004), mean over sources, by the package rouge-score.

    Where a source has several references, the best of them counts.

    Args:
        texts: what was written, one for each source.
        references: for each source, what people wrote.
        rng: resamples sources for the interval.
        stem: whether words are cut to Porter's stems first.
        seed: noted in the measures.

    Raises:
        BottegaError: rouge-score is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise BottegaError("rouge needs rouge-score; pip install 'bottega[text]'") from error
    if len(texts) != len(references) or not texts:
        raise ValueError(f"{len(texts)} texts, {len(references)} sources; give one text for each, at least one")
    scorer = RougeScorer(list(_KINDS.values()), use_stemmer=stem)
    each = [scorer.score_multi(list(real), text) for text, real in zip(texts, references, strict=True)]
    note = f"F1 by rouge-score, {'Porter stems' if stem else 'words as they are'}, the best of several references"
    return [
        Measure(name, *bootstrap(torch.tensor([e[kind].fmeasure for e in each]), rng.fork(name)), n=len(texts), seed=seed,
                better="higher", note=note)
        for name, kind in _KINDS.items()
    ]  # fmt: skip


def measure(case: Case) -> list[Measure]:
    """``rouge_1``, ``rouge_2``, ``rouge_l``; and ``rouge_l_lead``: of the source's first sentence, a summary for nothing.

    A summary is worth something where it is above the lead. (Of a translation the lead is in the other language.)
    """
    texts, references = written(case)
    found = rouge(texts, references, case.rng("rouge"), seed=case.seed)
    assert case.decode is not None
    assert case.held.cond is not None
    sources = [str(item.value) for item in case.decode(case.held.cond.cpu().unique(dim=0))]
    leads = [_SENTENCE.split(source.strip())[0] for source in sources]
    lead = rouge(leads, references, case.rng("rouge lead"), seed=case.seed)[-1]
    note = f"of the first sentence of the source, which costs nothing; {lead.note}"
    return [*found, Measure("rouge_l_lead", lead.value, lead.low, lead.high, n=lead.n, seed=case.seed, note=note)]
