"""What a trained reader says of texts: their class, the names in them, and where the answer to a question stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bottega.core import Batch, BottegaError, DataError, Rng
from bottega.crafts.write_answer import Answer, Library
from bottega.crafts.write_summary import KEEP, Summary, choose, placed
from bottega.workshop.run import Run

__all__ = ["Entity", "Feeling", "answer_by", "entities", "sentiment", "summarise_by_choice"]

_AT_ONCE = 32


@dataclass(frozen=True)
class Feeling:
    """The class of a text and how sure the model is: ``shares`` has the probability of every class."""

    text: str
    label: str
    probability: float
    shares: dict[str, float]


@dataclass(frozen=True)
class Entity:
    """A name in a text: its words, what it is, and its first and last character."""

    text: str
    label: str
    start: int
    end: int


def _need(run: Run, kind: str, does: str) -> None:
    if getattr(run.codec, "kind", "") != kind:
        raise BottegaError(
            f"{run.recipe.name} (a {run.recipe.family['name']} of {run.codec.medium}) {does}; train a reader with "
            f"codec labelled and codec.kind = {kind!r}"
        )


def _texts(texts: Sequence[str]) -> None:
    for at, text in enumerate(texts):
        if not text.strip():
            raise DataError(f"text {at + 1} is empty; write at least a word")


def sentiment(run: Run, texts: Sequence[str]) -> list[Feeling]:
    """The likeliest class of each text, by a run of codec ``labelled`` with classes.

    Raises:
        BottegaError: a run of another kind.
        DataError: an empty text.
    """
    _need(run, "class", "tells no classes of texts apart")
    _texts(texts)
    model: Any = run.model.eval()
    names: list[str] = run.codec.classes  # type: ignore[attr-defined]
    out = []
    for first in range(0, len(texts), _AT_ONCE):
        some = list(texts[first : first + _AT_ONCE])
        cond = run.codec.encode_cond(some).to(run.device)
        with torch.no_grad():
            shares = (
                model.classify(Batch(torch.zeros(len(some), dtype=torch.long, device=run.device), cond)).exp().cpu()
            )
        for text, row in zip(some, shares, strict=True):
            best = int(row.argmax())
            told = dict(zip(names, row.tolist(), strict=True))
            out.append(Feeling(text, names[best], float(row[best]), told))
    return out


def summarise_by_choice(run: Run, parts: Sequence[str], *, ratio: float = 0.2, most: int = 0) -> Summary:
    """The sentences of a text that a reader would keep, by their probability, in their order and unchanged.

    Args:
        run: of codec ``labelled`` with the classes of ``write_summary.teach``.
        parts: the sentences, see ``write_summary.split``.
        ratio: see ``write_summary.summarise``.
        most: see ``write_summary.summarise``.

    Raises:
        BottegaError: a run of another kind or with other classes.
        DataError: fewer than two sentences.
    """
    _need(run, "class", "tells no classes of texts apart")
    names: list[str] = run.codec.classes  # type: ignore[attr-defined]
    if KEEP not in names:
        raise BottegaError(
            f"{run.recipe.name} tells {', '.join(map(repr, names[:4]))} apart, not which sentences stay; train one on what "
            "`bottega write summarise PAIRS --teach FILE` makes"
        )

    def shares(said: Sequence[str]) -> NDArray[np.float64]:
        return np.array([told.shares[KEEP] for told in sentiment(run, placed(said))])

    return choose(parts, shares, ratio=ratio, most=most, name=run.recipe.name)


def entities(run: Run, texts: Sequence[str]) -> list[list[Entity]]:
    """The names in each text, by a run of codec ``labelled`` with tags; places are characters of the text as given.

    Raises:
        BottegaError: a run of another kind.
        DataError: an empty text.
    """
    _need(run, "tags", "finds no names in texts")
    _texts(texts)
    codec: Any = run.codec
    model: Any = run.model.eval()
    out: list[list[Entity]] = []
    for first in range(0, len(texts), _AT_ONCE):
        some = list(texts[first : first + _AT_ONCE])
        cond = run.codec.encode_cond(some).to(run.device)
        with torch.no_grad():
            tags = model.sample(len(some), Rng(0, device=run.device), cond, temperature=0.0).cpu()
        for text, row in zip(some, tags.tolist(), strict=True):
            # white space at an edge is not part of a name, though a token may hold it
            found = []
            for start, end, name in codec.tagged(row, text):
                inner = text[start:end]
                start += len(inner) - len(inner.lstrip())
                end -= len(inner) - len(inner.rstrip())
                if end > start:
                    found.append(Entity(text[start:end], name, start, end))
            out.append(found)
    return out


def answer_by(run: Run, question: str, library: Library, *, k: int = 5, margin: float = 0.0) -> Answer:
    """The span of a passage that a reader thinks is the answer, or none.

    The ``k`` sentences that BM25 finds nearest are read with what stands before them; of each the likeliest span is
    weighed against "there is none". The best one is taken if it is more likely than that by ``margin`` nats.

    Args:
        run: of codec ``labelled`` with spans.
        question: in the language that it was trained on.
        library: the texts; tables are not asked.
        k: how many passages are read.
        margin: how much likelier than no answer it must be.

    Raises:
        BottegaError: a run of another kind.
        DataError: an empty question.
    """
    _need(run, "span", "finds no answers in passages")
    if not question.strip():
        raise DataError("the question is empty; ask for something")
    model: Any = run.model.eval()
    codec: Any = run.codec
    best: tuple[float, Answer] | None = None
    why = "no sentence shares a word with the question"
    for _, at in library.search(question, k):
        passage = library.passages[at]
        rows, bounds, _ = codec.windows(f"{question}\n{passage.text}")
        x = torch.full((len(rows), codec.length), codec.text.end)
        for i, row in enumerate(rows):
            x[i, : min(len(row), codec.length)] = torch.from_numpy(row[: codec.length])
        x = x.to(run.device)
        with torch.no_grad():
            spans = model.sample(len(rows), Rng(0, device=run.device), x, temperature=0.0)
            likely = model.log_prob(Batch(spans, x), Rng(0, device=run.device)).cpu()
            none = model.log_prob(Batch(torch.zeros_like(spans), x), Rng(0, device=run.device)).cpu()
        for (first, last, asked), (a, b), p, q in zip(
            bounds, spans.tolist(), likely.tolist(), none.tolist(), strict=True
        ):
            a, b = a - asked, b - asked
            if not 0 <= a <= b < len(first) or p - q <= margin:
                why = "the reader finds no answer in the nearest sentences"
                continue
            start, end = int(first[a]), int(last[b])
            inner = passage.text[start:end]
            start += len(inner) - len(inner.lstrip())
            end -= len(inner) - len(inner.rstrip())
            if end > start and (best is None or p > best[0]):
                share = float(torch.tensor(p).exp())
                said = passage.text[start:end]
                best = p, Answer(said, passage.source, passage.start + start, passage.start + end, passage.text, share, "the likeliest span of the reader")  # fmt: skip
    return best[1] if best is not None else Answer("", why=why)
