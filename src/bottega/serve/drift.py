"""Output drift: whether what a model serves now is still what it was judged on.

Reference are samples as the judges draw them. What is served lies in a sliding window; when it is full its distance from the
reference is compared with that of windows of the same size drawn from the reference itself, so that chance is no drift.
Every medium is watched by the Fréchet distance between features of the judges (Heusel et al. 2017); texts also by the
population stability index of their lengths and of their tokens (Siddiqi 2006, chapter 6; from 0.25 on it is called major).

A window says that outputs are others, not that the model is worse: callers who all ask for one class move it too.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bottega.core import Batch, BottegaError, Item, Rng
from bottega.judge._case import Case
from bottega.judge._features import features
from bottega.judge.frechet import frechet, moments, sqrt_psd

if TYPE_CHECKING:
    from bottega.workshop.run import Run

__all__ = ["Drift", "Reading", "Sentinel", "Watch", "psi"]

WINDOW = 200
REFERENCE = 800
_DRAWS = 60  # windows from the reference that say what chance does
_SPREAD = 5.0  # standard deviations above their mean
_MAJOR = 0.25
_DIRECTIONS = 32
_COMMON = 31  # tokens that have a bin of their own


@dataclass(frozen=True)
class Reading:
    """One measure of one model.

    Attributes:
        model, medium: which, and of what.
        measure: ``"frechet"``, ``"length"`` or ``"tokens"``.
        value: of the last full window; 0 before there is one.
        limit: above which it is drift.
        drifted: whether it is.
        n: pieces in the window.
    """

    model: str
    medium: str
    measure: str
    value: float
    limit: float
    drifted: bool
    n: int


def psi(counts: Tensor, reference: Tensor) -> float:
    """Population stability index between counts ``(K,)`` of the same bins: ``sum (p - q) ln(p / q)``, half a count added to each.

    >>> psi(torch.tensor([50, 50]), torch.tensor([500, 500]))
    0.0
    >>> round(psi(torch.tensor([90, 10]), torch.tensor([500, 500])), 2)
    0.85
    """
    p, q = ((x.double() + 0.5) / (x.double() + 0.5).sum() for x in (counts, reference))
    return float(((p - q) * (p / q).log()).sum())


class Sentinel:
    """Compares windows with a reference by one statistic, and knows what chance does to it.

    Args:
        reference: rows ``(N, ...)``, at least twice a window.
        statistic: of a window and of rows it is compared with.
        window: rows of a window.
        least: the limit is never below.
        seed: of the windows that are drawn from the reference.
    """

    def __init__(
        self, reference: Tensor, statistic: Callable[[Tensor, Tensor], float], window: int, least: float = 0.0, seed: int = 0
    ) -> None:  # fmt: skip
        if len(reference) < 2 * window:
            raise ValueError(
                f"a reference of {len(reference)} rows is too small for windows of {window}; take twice as many"
            )
        self.reference, self.statistic = reference, statistic
        rng = Rng(seed).fork("drift")
        drawn = []
        for _ in range(_DRAWS):
            order = rng.permutation(len(reference))
            drawn.append(statistic(reference[order[:window]], reference[order[window:]]))
        chance = torch.tensor(drawn, dtype=torch.float64)
        self.limit = max(least, float(chance.mean() + _SPREAD * chance.std()))

    def value(self, window: Tensor) -> float:
        """The statistic of a window against the whole reference."""
        return self.statistic(window, self.reference)


def _frechet(window: Tensor, reference: Tensor) -> float:
    mean, cov = moments(reference)
    return frechet(mean, cov, *moments(window), sqrt_psd(cov))


def _directions(reference: Tensor) -> Callable[[Tensor], Tensor]:
    """Features ``(N, D)`` along the directions in which the reference varies most, and how far they lie beside all those.

    Each has a variance of one, so that what is between groups does not drown what is within them. The last sees what never occurs in the reference, which would be lost along its own directions.
    """
    mean = reference.mean(0)
    scale = (reference - mean).std(0).clamp_min(1e-6)
    centred = (reference - mean) / scale
    _, values, rows = torch.linalg.svd(centred, full_matrices=False)
    kept = min(_DIRECTIONS, int((values > 1e-3 * values[0]).sum()))
    basis, spread = rows[:kept].T, values[:kept] / math.sqrt(len(reference) - 1)

    def away(y: Tensor) -> Tensor:
        beyond: Tensor = y - y @ basis @ basis.T
        return beyond.square().sum(1).sqrt()

    beside = away(centred)
    least = float(beside.std().clamp_min(1e-3))

    def project(x: Tensor) -> Tensor:
        y = (x - mean) / scale
        return torch.cat([y @ basis / spread, ((away(y) - beside.mean()) / least)[:, None]], 1)

    return project


class Drift:
    """Watches what one model serves.

    Args:
        model: its name.
        medium: of its pieces.
        reference: features ``(N, D)``.
        tokens: of the reference's texts, each ``(L,)``; None for what is no text.
        look: pieces to features and, of texts, tokens.
        window: pieces of a window.
    """

    def __init__(
        self, model: str, medium: str, reference: Tensor, tokens: Sequence[Tensor] | None,
        look: Callable[[Sequence[Item]], tuple[Tensor, Sequence[Tensor] | None]], window: int = WINDOW,
    ) -> None:  # fmt: skip
        self.model, self.medium, self.look, self.window = model, medium, look, window
        self.project = _directions(reference.double())
        self.sentinels = {"frechet": Sentinel(self.project(reference.double()), _frechet, window)}
        self._counts: Callable[[Sequence[Tensor]], dict[str, Tensor]] | None = None
        if tokens is not None:
            self._counts = _bins(tokens)
            for name, rows in self._counts(tokens).items():
                self.sentinels[name] = Sentinel(rows, lambda a, b: psi(a.sum(0), b.sum(0)), window, _MAJOR)
        self._waiting: deque[Item] = deque(maxlen=window)
        self._rows: dict[str, Tensor] = {}
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}

    @classmethod
    def of(cls, run: Run, name: str = "", *, window: int = WINDOW, n: int = REFERENCE, seed: int = 0) -> Drift:
        """For a run, by the data it was trained on and ``n`` samples of it. Takes as long as judging it does.

        Raises:
            BottegaError: its data are not there, or it makes what cannot be compared piece by piece.
        """
        from bottega.workshop.build import find_data
        from bottega.workshop.judging import case_of

        if getattr(run.codec, "answers_only", False):
            raise BottegaError(f"{run.recipe.name} answers what it is asked, so its drift cannot be told from its callers'; leave it out")  # fmt: skip
        dataset = find_data(run.recipe, run.header["data_argument"] or None, run.codec)
        case, _ = case_of(run, dataset, n, seed)
        items = list(run.codec.decode(case.samples.cpu(), None if case.sample_cond is None else case.sample_cond.cpu()))
        look = _look(run, case)
        reference, tokens = look(items)
        return cls(name or run.path.name, run.codec.medium, reference, tokens, look, window)

    def served(self, items: Iterable[Item]) -> None:
        """Note what was served; costs nothing now."""
        with self._lock:
            self._waiting.extend(items)

    def check(self) -> list[Reading]:
        """Look at what was served since the last time; for a thread of its own."""
        with self._lock:
            items = list(self._waiting)
            self._waiting.clear()
        if items:
            found, tokens = self.look(items)
            new = {"frechet": self.project(found.double())}
            if self._counts is not None and tokens is not None:
                new |= self._counts(tokens)
            for name, rows in new.items():
                before = self._rows.get(name)
                self._rows[name] = (rows if before is None else torch.cat([before, rows]))[-self.window :]
            if len(self._rows["frechet"]) == self.window:
                self._values = {name: one.value(self._rows[name]) for name, one in self.sentinels.items()}
        return self.readings()

    def readings(self) -> list[Reading]:
        """As they were when last looked at."""
        rows = self._rows.get("frechet")
        n = 0 if rows is None else len(rows)
        return [
            Reading(
                self.model, self.medium, name, value := self._values.get(name, 0.0), one.limit, value > one.limit, n
            )
            for name, one in self.sentinels.items()
        ]


def _look(run: Run, case: Case) -> Callable[[Sequence[Item]], tuple[Tensor, Sequence[Tensor] | None]]:
    """What turns pieces of a run, made or served, into features and tokens: each into one row, by the run's codec."""
    spec = run.spec

    def look(items: Sequence[Item]) -> tuple[Tensor, Sequence[Tensor] | None]:
        rows = [run.codec.encode([item]) for item in items]
        batch = Batch.cat([row.take(slice(0, 1)) for row in rows if len(row)])
        x, mask = batch.x, batch.mask
        is_text = spec.is_text and not spec.blocks
        if is_text and mask is not None:
            mask = mask.expand_as(x)
            x = x.masked_fill(~mask, -1)
        tokens = [row[row >= 0] for row in x] if is_text else None
        return features(case, x), tokens

    return look


def _bins(texts: Sequence[Tensor]) -> Callable[[Sequence[Tensor]], dict[str, Tensor]]:
    """What counts lengths by the tenths of the reference, and tokens by its most frequent ones and all others."""
    lengths = torch.tensor([len(t) for t in texts], dtype=torch.float64)
    edges = torch.quantile(lengths, torch.linspace(0.1, 0.9, 9, dtype=torch.float64))
    edges = torch.unique(edges)
    seen = torch.cat([t for t in texts if len(t)]) if any(len(t) for t in texts) else torch.zeros(1, dtype=torch.long)
    common = torch.bincount(seen).argsort(descending=True)[:_COMMON]

    def count(some: Sequence[Tensor]) -> dict[str, Tensor]:
        size = torch.tensor([len(t) for t in some], dtype=torch.float64)
        by_length = torch.nn.functional.one_hot(torch.bucketize(size, edges), len(edges) + 1)
        by_token = torch.zeros(len(some), len(common) + 1, dtype=torch.float64)
        for i, text in enumerate(some):
            hits = (text[:, None] == common[None]).sum(0).double()
            by_token[i, :-1], by_token[i, -1] = hits, len(text) - hits.sum()
            by_token[i] /= max(1, len(text))  # a text counts once, however long it is
        return {"length": by_length, "tokens": by_token}

    return count


class Watch:
    """The drift of all models of a server; readings for ``Metrics.watch_drift``."""

    def __init__(self) -> None:
        self._drifts: dict[str, Drift] = {}

    def add(self, drift: Drift) -> None:
        """Watch a model."""
        self._drifts[drift.model] = drift

    def served(self, model: str, items: Iterable[Item]) -> None:
        """Note what a model served; nothing where it is not watched."""
        if (drift := self._drifts.get(model)) is not None:
            drift.served(items)

    def check(self) -> list[Reading]:
        """Look at what was served since the last time, of all models; for a thread, once a minute, say."""
        return [reading for drift in list(self._drifts.values()) for reading in drift.check()]

    def readings(self) -> list[Mapping[str, Any]]:
        """As they were when last looked at."""
        return [asdict(reading) for drift in list(self._drifts.values()) for reading in drift.readings()]
