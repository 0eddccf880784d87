"""Shorter texts: sentences chosen by classical rankings or by a reader that learned to, and whether a summary invents."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bottega.codecs._files import json_rows, read_bytes
from bottega.codecs._text_files import csv_rows, utf8
from bottega.core import BottegaError, DataError, Measure, OutputError, RecipeError, nearest
from bottega.crafts._claim_words import sentences

__all__ = [
    "KEEP",
    "METHODS",
    "Scored",
    "Summary",
    "choose",
    "invented",
    "placed",
    "read_pairs",
    "relevance",
    "score",
    "split",
    "summarise",
    "teach",
    "words",
    "write_rows",
]

KEEP, LEAVE = "keep", "leave"  # what a reader of sentences tells apart


@dataclass(frozen=True)
class Summary:
    """Sentences of a text, in its order.

    Attributes:
        text: the sentences.
        chosen: their numbers.
        ratio: words of the summary over words of the text.
        method: by which they were ranked.
    """

    text: str
    chosen: list[int]
    ratio: float
    method: str


def words(text: str) -> list[str]:
    """Words as they are counted: letters and digits with inner apostrophes and hyphens.

    >>> words("It's 3.5 well-known, isn’t it?")
    ["It's", '3.5', 'well-known', 'isn’t', 'it']
    """
    return re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*", text)


def split(text: str) -> list[str]:
    """The sentences of a text, without headings, lists and code."""
    out = []
    for _, sentence in sentences(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        plain = " ".join(sentence.split())
        if (
            re.match(r"[\"'“‘(]*[^\W_a-z]", plain)
            and not re.match(r"(\d+[.)]\s|=+$)", plain)
            and re.search(r"[.!?][\"'”)]*$", plain)
        ):
            out.append(plain)
    return out


def summarise(text: str, *, ratio: float = 0.2, method: str = "textrank", most: int = 0) -> Summary:
    """Whole sentences of ``text``, at most ``ratio`` of its words.

    Args:
        text: with at least two sentences.
        ratio: words of the summary over words of the text, at most. Only where the shortest sentence is longer than that
            may it be more: a summary has at least one.
        method: ``"textrank"`` (Mihalcea and Tarau 2004: sentences that others resemble), ``"centroid"`` (Radev et al. 2004:
            TF-IDF nearest the whole text's), or ``"lead"`` (the first).
        most: the best so many sentences in place of a share of the words; 0 for the share.

    Raises:
        DataError: fewer than two sentences.
        RecipeError: no such method, a ratio outside (0, 1), or ``most`` below 0.
    """
    if method not in METHODS:
        raise RecipeError(f"method is {method!r}{nearest(method, METHODS)}")
    return choose(split(text), METHODS[method], ratio=ratio, most=most, name=method)


def choose(
    parts: Sequence[str], ranking: Callable[[Sequence[str]], NDArray[np.float64]], *, ratio: float = 0.2, most: int = 0,
    name: str = "",
) -> Summary:  # fmt: skip
    """The sentences that a ranking puts first, in the order of the text; arguments and errors as of ``summarise``.

    Args:
        parts: the sentences.
        ranking: a number for each, higher is better.
        ratio: see ``summarise``.
        most: see ``summarise``.
        name: of the ranking, told in the result.
    """
    if not 0 < ratio < 1:
        raise RecipeError(f"ratio is {ratio}; it is the share of words that stays, above 0 and below 1")
    if most < 0:
        raise RecipeError(f"sentences is {most}; it is how many stay, at least 1, or 0 for a share of the words")
    if len(parts) < 2:
        raise DataError(f"the text has {len(parts)} sentences; a summary needs at least two to choose from")
    length = [len(words(part)) for part in parts]
    rank = ranking(parts)
    if most:
        best = sorted(sorted(range(len(parts)), key=lambda i: (-rank[i], i))[:most])
        share = sum(length[i] for i in best) / max(1, sum(length))
        return Summary(" ".join(parts[i] for i in best), best, share, name)
    room = ratio * sum(length)
    order = sorted(range(len(parts)), key=lambda i: (-rank[i], i))
    least = (
        float(np.quantile(rank, 1 - ratio)) if name != "lead" else -math.inf
    )  # room is not filled with what says little
    least = min(least, float(np.median(rank)))
    chosen: list[int] = []
    used = 0
    for i in order:
        if used + length[i] <= room and rank[i] >= least:
            chosen.append(i)
            used += length[i]
        elif name == "lead":
            break
    if not chosen:
        chosen = [min(range(len(parts)), key=lambda i: (length[i], i))] if name != "lead" else [0]
        used = length[chosen[0]]
    chosen.sort()
    return Summary(" ".join(parts[i] for i in chosen), chosen, used / sum(length), name)


def placed(parts: Sequence[str]) -> list[str]:
    """Sentences as a reader of sentences sees them: each with its place, since where a sentence stands tells much.

    >>> placed(["We do this.", "It works."])
    ['1/2 We do this.', '2/2 It works.']
    """
    return [f"{i}/{len(parts)} {part}" for i, part in enumerate(parts, 1)]


def teach(texts: Sequence[Sequence[str]], summaries: Sequence[Sequence[str]], *, most: int = 3) -> list[dict[str, str]]:
    """What a reader learns to choose sentences by: each sentence of each text (``text``) and whether it stays (``label``).

    Sentences stay that, taken together, are most like a summary that a person wrote: one after another the one that adds
    most to the mean F1 of ROUGE-1 and ROUGE-L, while any does (Nallapati et al. 2017, arXiv:1611.04230, 3.1). Where a
    text has several summaries, the one that can be matched best counts.

    Args:
        texts: the sentences of each text.
        summaries: what people wrote of each; one or several.
        most: so many sentences of a text stay at most.

    Raises:
        BottegaError: rouge-score is not installed.
        DataError: no texts, or not as many texts as summaries.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise BottegaError("ROUGE needs rouge-score; pip install 'bottega[text]'") from error
    if not texts or len(texts) != len(summaries):
        raise DataError(f"there are {len(texts)} texts and {len(summaries)} summaries; give a summary of each text")
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)

    def like(said: str, wanted: Sequence[str]) -> float:
        return max(sum(f.fmeasure for f in scorer.score(one, said).values()) / 2 for one in wanted)

    rows = []
    for parts, wanted in zip(texts, summaries, strict=True):
        kept: list[int] = []
        best = 0.0
        while len(kept) < most:
            tries = [
                (like(" ".join(parts[j] for j in sorted([*kept, i])), wanted), -i)
                for i in range(len(parts))
                if i not in kept
            ]
            score, at = max(tries, default=(0.0, 0))
            if score <= best:
                break
            kept, best = [*kept, -at], score
        rows += [{"text": said, "label": KEEP if i in kept else LEAVE} for i, said in enumerate(placed(parts))]
    return rows


@dataclass(frozen=True)
class Scored:
    """How near one way of summarising comes to what people wrote.

    Attributes:
        method: the way.
        rouge: ``rouge_1``, ``rouge_2`` and ``rouge_l``, F1 with their intervals over texts.
        ratio: words of its summaries over words of the texts, the mean over texts.
        over: of how many texts more stayed than was asked for, since their shortest sentence is longer.
    """

    method: str
    rouge: tuple[Measure, ...]
    ratio: float
    over: int


def score(
    texts: Sequence[Sequence[str]],
    summaries: Sequence[Sequence[str]],
    *,
    ratio: float = 0.2,
    most: int = 0,
    own: Mapping[str, Callable[[Sequence[str]], str]] | None = None,
    seed: int = 0,
) -> list[Scored]:
    """ROUGE (Lin 2004) of each method, and of ways of your own, against summaries that people wrote of the same texts.

    Args:
        texts: the sentences of each text, two or more.
        summaries: what people wrote of each; one or several, of which the best counts.
        ratio: see ``summarise``; every method has as much room.
        most: see ``summarise``.
        own: other ways by name, each from the sentences of a text to its summary.
        seed: resamples texts for the intervals.

    Raises:
        BottegaError: rouge-score is not installed.
        DataError: no texts, or not as many texts as summaries.
        RecipeError: a ratio outside (0, 1), or ``most`` below 0.
    """
    from bottega.core import Rng
    from bottega.judge.rouge import rouge

    if not texts or len(texts) != len(summaries):
        raise DataError(f"there are {len(texts)} texts and {len(summaries)} summaries; give a summary of each text")
    ways: dict[str, Callable[[Sequence[str]], str]] = {
        name: lambda parts, name=name: choose(parts, METHODS[name], ratio=ratio, most=most, name=name).text  # type: ignore[misc]
        for name in METHODS
    }
    out = []
    for name, way in {**ways, **(own or {})}.items():
        said = [way(parts) for parts in texts]
        share = [len(words(one)) / max(1, len(words(" ".join(parts)))) for one, parts in zip(said, texts, strict=True)]
        over = 0 if most else sum(x > ratio + 1e-9 for x in share)
        found = rouge(said, summaries, Rng(seed), seed=seed)
        out.append(Scored(name, tuple(found), float(np.mean(share)), over))
    return out


def read_pairs(path: Path, columns: str) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of texts, and their summaries, from two columns of a ``.jsonl``, ``.csv`` or ``.tsv``, also gzipped.

    Args:
        path: the file.
        columns: ``"text,summary"``. A text may be a list of sentences, a summary a list of several.

    Raises:
        DataError: no such file or column, not UTF-8, nothing in it.
        RecipeError: not two columns.
    """
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 2 or not all(names):
        raise RecipeError(f"columns is {columns!r}; name two, that of the text and that of its summary: text,summary")
    suffix = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]).removesuffix(".gz")
    if suffix not in {".jsonl", ".csv", ".tsv"} or not path.is_file():
        raise DataError(f"{path} is no file of texts with summaries; give a .jsonl, .csv or .tsv, also gzipped")
    said = utf8(str(path), read_bytes(path))
    if suffix == ".jsonl":
        broken, other = " is not JSON ({}); write one object on each line", " is {}, not an object"
        rows = list(json_rows(said.split("\n"), path, broken=broken, other=other))
    else:
        rows = csv_rows(said, str(path), "\t" if suffix == ".tsv" else ",")
    texts, summaries = [], []
    for number, row in rows:
        for name in names:
            if name not in row:
                raise DataError(f"{path}, line {number}: no column {name!r}{nearest(name, row)}; set --columns")
        text, wanted = (row[name] for name in names)
        parts = split(text) if isinstance(text, str) else [str(part).strip() for part in text or []]
        each = [one for one in ([wanted] if isinstance(wanted, str) else wanted or []) if str(one).strip()]
        if len(parts) > 1 and each:  # there is nothing to choose in a single sentence
            texts.append(parts)
            summaries.append([str(one) for one in each])
    if not texts:
        raise DataError(f"{path} holds no text of two sentences or more with a summary")
    return texts, summaries


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write JSON lines; returns the path.

    Raises:
        OutputError: it cannot be written, or its name has another ending.
    """
    if path.suffix != ".jsonl":
        raise OutputError(f"{path} is written as JSON lines; let its name end in .jsonl")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    return path


def _lead(parts: Sequence[str]) -> NDArray[np.float64]:
    return -np.arange(len(parts), dtype=np.float64)


def _textrank(parts: Sequence[str], damping: float = 0.85) -> NDArray[np.float64]:
    """Stationary weights of a walk between sentences that share words (Mihalcea and Tarau 2004, section 5.1)."""
    sets = [{w for w in map(str.lower, words(part)) if w not in _stop()} for part in parts]
    n = len(parts)
    near = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            both = len(sets[i] & sets[j])
            scale = math.log(max(len(sets[i]), 1)) + math.log(max(len(sets[j]), 1))
            near[i, j] = near[j, i] = both / scale if both and scale > 0 else 0.0
    total = near.sum(1, keepdims=True)
    step = np.divide(near, total, out=np.full((n, n), 1 / n), where=total > 0)
    weight = np.full(n, 1 / n)
    for _ in range(200):
        fresh = (1 - damping) / n + damping * step.T @ weight
        if np.abs(fresh - weight).sum() < 1e-10:
            break
        weight = fresh
    return np.asarray(weight)


def _centroid(parts: Sequence[str]) -> NDArray[np.float64]:
    """Cosine of each sentence with the mean TF-IDF vector of all."""
    return relevance(parts, " ".join(parts))


def relevance(parts: Sequence[str], query: str) -> NDArray[np.float64]:
    """Cosine of TF-IDF vectors of each part with the query's, ``(n,)``; zero where no word is shared."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(sublinear_tf=True, stop_words=sorted(_stop()), token_pattern=r"(?u)\b\w[\w'-]*\b")
    try:
        found = vectors.fit_transform([*parts, query])
    except ValueError:  # nothing but stop words
        return np.zeros(len(parts))
    return np.asarray((found[:-1] @ found[-1].T).todense()).ravel()


METHODS: dict[str, Callable[[Sequence[str]], NDArray[np.float64]]] = {
    "textrank": _textrank,
    "centroid": _centroid,
    "lead": _lead,
}


def _stop() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


_SAID = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
         "eighteen nineteen twenty")  # fmt: skip
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "bn": 1e9, "mn": 1e6, "m": 1e6, "k": 1e3}


def _numbers(text: str) -> list[tuple[str, float]]:
    """Every number with how it is written; words up to twenty too."""
    out = []
    pattern = r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?:\s?(hundred|thousand|million|billion|bn|mn)\b|([mk])\b)?"
    for found in re.finditer(pattern, text, re.IGNORECASE):
        scale = _SCALES[(found[3] or found[4]).lower()] if found[3] or found[4] else 1.0
        out.append((found.group(), float(found[1].replace(",", "") + (found[2] or "")) * scale))
    small = {word: i for i, word in enumerate(_SAID.split())}
    for found in re.finditer(rf"\b({'|'.join(w for w in small if w != 'one')})\b", text, re.IGNORECASE):
        out.append((found.group(), float(small[found.group().lower()])))
    return out


def invented(source: str, summary: str) -> list[str]:
    """Numbers and names of a summary that its source does not have: the factual-slot check.

    A number counts as the source's when its value is there, however written (1,200, 1.2 thousand). A name is a
    capitalised word inside a sentence, or an acronym; it counts when the source has the word in any case. What is
    not there was invented; what is there may still be said of the wrong thing.

    >>> invented("Ms Lind sold 1,200 boats in May.", "In May, Lind sold 1.2 thousand boats to Norway for 5 days.")
    ['5', 'Norway']
    """
    known = {value for _, value in _numbers(source)}
    out = [said for said, value in _numbers(summary) if not any(math.isclose(value, k) for k in known)]
    have = {w.lower().removesuffix("'s").removesuffix("’s") for w in words(source)}
    for _, sentence in sentences(summary):
        for at, word in enumerate(words(sentence)):
            bare = word.removesuffix("'s").removesuffix("’s")
            named = bare[:1].isupper() and (at > 0 or bare.isupper() and len(bare) > 1)
            if named and bare != "I" and not bare.startswith(("I'", "I’")) and bare.lower() not in have:
                pieces = bare.lower().split("-")
                if len(pieces) == 1 or not all(p in have for p in pieces):
                    out.append(bare)
    return list(dict.fromkeys(out))
