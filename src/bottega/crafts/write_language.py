"""In which language a text is written, by Bayes' rule over models of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bottega.core import Batch, BottegaError, DataError, Item, Rng, Scores, has
from bottega.workshop.run import Run

__all__ = ["Verdict", "identify"]


@dataclass(frozen=True)
class Verdict:
    """What is said of one text.

    Attributes:
        language: the likeliest class of the run.
        probability: of it, when all are equally likely beforehand.
        nats_ahead: how much likelier the text is in it than in the second.
        each: log-likelihood of the text in each, nats.
    """

    language: str
    probability: float
    nats_ahead: float
    each: dict[str, float]


def identify(run: Run, texts: Sequence[str]) -> list[Verdict]:
    """The language of each text: the class of the run in which it is likeliest.

    Any family that says how likely a text is given its class will do; n-grams of characters are hard to beat (Cavnar &
    Trenkle 1994). Long texts are scored row by row.

    Raises:
        BottegaError: the run knows no classes, or its family gives no likelihood.
        DataError: a text is empty, or has a character that a character tokeniser has never seen.
    """
    classes = list(getattr(run.codec, "classes", ()))
    if not classes or not has(run.model, Scores):
        raise BottegaError(
            f"{run.path} cannot tell languages: it needs texts with a class (codec.label) and a family with likelihoods, such "
            "as ngram; the recipe languages is one"
        )
    out = []
    for text in texts:
        if not text.strip():
            raise DataError("a text is empty, so it is in no language; write at least a word")
        rows = run.codec.encode([Item(text)]).to(run.device)
        with torch.no_grad():
            nats = [
                run.model.log_prob(Batch(rows.x, torch.full((len(rows),), k, device=run.device), rows.mask), Rng(0))  # type: ignore[operator]
                for k in range(len(classes))
            ]
        each = torch.stack([part.double().sum() for part in nats]).cpu()
        first, second = each.topk(2).values.tolist()
        best = int(each.argmax())
        p = each.softmax(0)[best].item()
        out.append(Verdict(classes[best], p, first - second, dict(zip(classes, each.tolist(), strict=True))))
    return out
