"""Whether the words that were asked for are heard, by a recogniser that was trained on other voices."""

from __future__ import annotations

import torch

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._listener import bootstrap, word_errors
from bottega.judge._spoken import ear_of, heard_by, mels_of, parts_of_voices, words_of

__all__ = ["measure"]

needs: tuple[str, ...] = ("samples", "spoken")
media: tuple[str, ...] = ("audio",)

_MOST = 64


def measure(case: Case) -> list[Measure]:
    """``word_accuracy``: 1 less words put in, left out and changed, over the words of samples.

    The recogniser hears the mel bands of every other voice's real training recordings; samples of the remaining voices are
    judged, and ``ceiling`` is the same of real held-out recordings of those. Its vocabulary is closed: all words of the
    training data, any behind any.
    """
    layout = case.facts["speech"]
    net, loop = ear_of(case)
    _, judged = parts_of_voices(case)

    def accuracy(x: torch.Tensor, cond: torch.Tensor) -> tuple[float, float, float, int, int]:
        rows = [i for i, v in enumerate(cond[:, 0].tolist()) if v in judged][:_MOST]
        if not rows:
            return float("nan"), 0.0, 1.0, 0, 0
        said = [words_of(layout, c)[0] for c in cond[rows].cpu()]
        heard = heard_by(net, loop, mels_of(layout, x[rows]))
        errors = [word_errors(s, h) for s, h in zip(said, heard, strict=True)]
        counts = [len(s) for s in said]
        return *bootstrap(errors, counts, case.seed), len(rows), sum(counts)

    assert case.sample_cond is not None
    value, low, high, n, words = accuracy(case.samples, case.sample_cond)
    if not n:
        return []
    assert case.held.cond is not None
    real = accuracy(case.held.x, case.held.cond)
    note = (
        f"{words} words of {n} sentences, in voices that the recogniser was not trained on; a vocabulary of {loop.real}"
    )
    return [Measure("word_accuracy", value, low, high, n=n, seed=case.seed, better="higher",
                    ceiling=real[0] if real[3] else None, note=note)]  # fmt: skip
