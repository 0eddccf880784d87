"""A text made of a text by a run: translations, whole or word by word while the source is still being read, and summaries."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import torch

from bottega.core import Batch, BottegaError, DataError, RecipeError, Rng
from bottega.crafts.write_summary import invented
from bottega.workshop.run import Run, check_knobs

__all__ = [
    "Delayed",
    "Rewritten",
    "asked",
    "average_lagging",
    "delayed",
    "rewrite",
    "simultaneous",
    "summarise_by",
    "trade_off",
]

_AT_ONCE = 32


@dataclass(frozen=True)
class Delayed:
    """A translation that was begun before its source had ended.

    Attributes:
        text: the translation.
        read: for each of its words, how many words of the source had been read when it was written.
        seconds: for each word, from when its source words were there to when it was written.
        lagging: average lagging in words (Ma et al. 2019, arXiv:1810.08398, equation 8).
    """

    text: str
    read: list[int]
    seconds: list[float]
    lagging: float


@dataclass(frozen=True)
class Rewritten:
    """A text made of another, and what of it the other does not have.

    Attributes:
        text: the text.
        invented: numbers and names that its source does not have.
        tried: how many versions were made.
    """

    text: str
    invented: list[str]
    tried: int


def _need(run: Run) -> None:
    if run.codec.medium != "text" or not run.spec.given_text:
        name = run.recipe.family["name"]
        raise BottegaError(
            f"{run.recipe.name} (a {name} of {run.codec.medium}) makes no text of a text; train one with codec.given, "
            "which names the column that is known"
        )


def asked(run: Run, prefix: str) -> Run:
    """The same run with ``prefix`` before every text that it is given: a T5 wants its task named ("summarize: ").

    Raises:
        BottegaError: the run makes no text of a text.
    """
    _need(run)
    codec: Any = copy.copy(run.codec)
    codec.prefix = prefix
    made = copy.copy(run)
    made.codec = codec
    return made


def rewrite(run: Run, texts: Sequence[str], *, seed: int = 0, temperature: float = 0.0, **knobs: Any) -> list[str]:
    """What a run makes of each text: a translation, a summary.

    Args:
        run: of a model whose condition is a text.
        texts: UTF-8, none empty.
        seed: of text 0; text ``i`` has ``seed + i``.
        temperature: 0 takes the likeliest token each time.
        **knobs: of the family's ``sample`` (beams, top_p, ...).

    Raises:
        BottegaError: the run makes no text of a text.
        DataError: an empty text.
        RecipeError: a text that is longer than the model reads; a knob that there is not.
    """
    _need(run)
    for at, text in enumerate(texts):
        if not text.strip():
            raise DataError(f"text {at + 1} is empty; write at least a word")
    model: Any = run.model.eval()
    knobs = {"temperature": temperature, "stop": getattr(run.codec, "end", None), **knobs}
    check_knobs(model.sample, knobs, skip=3)
    out = []
    for first in range(0, len(texts), _AT_ONCE):
        some = list(texts[first : first + _AT_ONCE])
        cond = run.codec.encode_cond(some).to(run.device)
        rng = Rng.for_rows(range(seed + first, seed + first + len(some)), run.device)
        with torch.no_grad():
            x = model.sample(len(some), rng, cond, **knobs).cpu()
        out += [item.value for item in run.codec.decode(x)]
    return out


def simultaneous(run: Run, text: str, k: int = 3) -> Iterator[tuple[str, int, float]]:
    """The words of a translation as they are written: word, source words read, seconds since the last of those was there.

    Wait-k (Ma et al. 2019, arXiv:1810.08398): after ``k`` words of the source, one word is written for each that is read,
    and the rest once the source has ended. The model is any that translates whole sentences (one of ``seq2seq`` with
    ``waits`` has learned to do it from beginnings); it reads the beginning anew for each word, without an end, which only
    the whole source has. An end before the source's end is not believed: another word is read instead. Its words are the
    likeliest at each step.

    Args:
        run: of a model whose condition is a text.
        text: the source.
        k: how many words it waits.

    Raises:
        RecipeError: k below 1.
        DataError: an empty text.
    """
    _need(run)
    if k < 1:
        raise RecipeError(f"k is {k}; it waits for at least one word")
    source = text.split()
    if not source:
        raise DataError("the text is empty; write at least a word")
    model: Any = run.model.eval()
    codec: Any = run.codec
    spelling: list[bytes] = codec.spelling
    made: list[int] = []
    read, longest = min(k, len(source)), run.spec.shape[0]
    while len(made) < longest:
        began = time.perf_counter()
        cond = codec.encode_cond([" ".join(source[:read])]).to(run.device)
        if read < len(source):
            cond = cond[:, : max(1, int((cond[0] != codec.end).sum()))]
        word, ended = _next_word(model, cond, made, spelling, codec.end, longest, run.device)
        if not word or (ended and read < len(source)):
            if read == len(source):
                return
            read += 1
            continue
        made += word
        yield b"".join(spelling[t] for t in word).decode("utf-8", "replace").strip(), read, time.perf_counter() - began
        if ended:
            return
        read = min(read + 1, len(source))


def _next_word(
    model: Any,
    cond: torch.Tensor,
    made: Sequence[int],
    spelling: Sequence[bytes],
    end: int,
    longest: int,
    device: torch.device,
) -> tuple[list[int], bool]:
    """The tokens of the next word behind ``made``, and whether the text ends with it."""
    word: list[int] = []
    begun = torch.tensor([list(made)], dtype=torch.long, device=device).view(1, -1)
    given: dict[str, Any] = {}
    if made:
        given = {"batch": Batch(begun, cond), "keep": torch.ones_like(begun, dtype=torch.bool)}
    skip = len(made)
    more = longest - len(made)
    with torch.no_grad():
        for part in model.stream(1, Rng.for_rows([0], device), cond, **given, max_new=more, temperature=0.0):
            for token in part[0].tolist():
                if skip:
                    skip -= 1
                elif token == end:
                    return word, True
                elif word and spelling[token][:1].isspace():
                    return word, False
                else:
                    word.append(token)
    return word, len(made) + len(word) >= longest


def average_lagging(read: Sequence[int], source: int) -> float:
    """How many words a translation is behind its source on average, were both equally fast (Ma et al. 2019, equation 8).

    >>> average_lagging([3, 4, 5, 5, 5], 5), average_lagging([5, 5, 5, 5, 5], 5)
    (3.0, 5.0)
    """
    if not read:
        return 0.0
    rate = len(read) / source
    last = next((t for t, g in enumerate(read) if g >= source), len(read) - 1)
    return fmean(read[t] - t / rate for t in range(last + 1))


def delayed(run: Run, text: str, k: int = 3) -> Delayed:
    """A whole translation by ``simultaneous``, with its delays."""
    parts = list(simultaneous(run, text, k))
    read = [g for _, g, _ in parts]
    said = " ".join(word for word, _, _ in parts)
    return Delayed(said, read, [s for _, _, s in parts], average_lagging(read, len(text.split())))


def trade_off(run: Run, pairs: Sequence[tuple[str, str]], ks: Sequence[int] = (1, 3, 5)) -> list[dict[str, float]]:
    """Quality and delay of waiting, beside the whole sentence at once (k = 0): a row for each k.

    Each has ``k``, ``bleu`` (sacreBLEU's corpus BLEU), ``exact`` (the share that is the reference), ``lagging`` in words and
    ``seconds_a_word`` (median; for k = 0 the time of a sentence over its words, made alone).

    Args:
        run: of a model that translates.
        pairs: source and reference.
        ks: how many words to wait.

    Raises:
        BottegaError: sacreBLEU is not installed.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise BottegaError("BLEU needs sacreBLEU: pip install 'bottega[text]'") from error
    right = [b for _, b in pairs]

    def row(k: int, said: Sequence[str], lagging: float, seconds: float) -> dict[str, float]:
        bleu = sacrebleu.corpus_bleu(list(said), [right]).score
        exact = fmean(a.strip() == b.strip() for a, b in zip(said, right, strict=True))
        return {"k": k, "bleu": bleu, "exact": exact, "lagging": lagging, "seconds_a_word": seconds}

    whole, times = [], []
    for source, _ in pairs:
        began = time.perf_counter()
        whole += rewrite(run, [source])
        times.append((time.perf_counter() - began) / max(len(whole[-1].split()), 1))
    out = [row(0, whole, fmean(len(a.split()) for a, _ in pairs), median(times))]
    for k in ks:
        made = [delayed(run, source, k) for source, _ in pairs]
        seconds = [s for m in made for s in m.seconds]
        out.append(row(k, [m.text for m in made], fmean(m.lagging for m in made), median(seconds) if seconds else 0.0))
    return out


def summarise_by(run: Run, texts: Sequence[str], *, tries: int = 8, seed: int = 0, **knobs: Any) -> list[Rewritten]:
    """What a run says of each text in short, without numbers and names that the text does not have, if it can.

    The likeliest summary is taken if it invents nothing; else up to ``tries - 1`` others are drawn, and the first that
    invents nothing is taken, or the one that invents least. What it invents is told (see ``write_summary.invented``).

    Args:
        run: of a model whose condition is a text.
        texts: to be summarised.
        tries: versions of each at most.
        seed: of the draws.
        **knobs: of the family's ``sample``.
    """
    if tries < 1:
        raise RecipeError(f"tries is {tries}; it must be at least 1")
    out = []
    for text, first in zip(texts, rewrite(run, texts, seed=seed, **knobs), strict=True):
        best = Rewritten(first, invented(text, first), 1)
        if best.invented and tries > 1:
            others = rewrite(run, [text] * (tries - 1), seed=seed + 1, temperature=0.7)
            for at, other in enumerate(others):
                wrong = invented(text, other)
                if len(wrong) < len(best.invented) and other.strip():
                    best = Rewritten(other, wrong, at + 2)
                if not best.invented:
                    break
            best = Rewritten(best.text, best.invented, tries if best.invented else best.tried)
        out.append(best)
    return out
