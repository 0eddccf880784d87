"""People rate texts without knowing whose they are; then how good, how sure, and whether a machine's proxy agrees.

>>> sheet("runs/english").write("ratings")                                 # doctest: +SKIP
>>> weigh(read_sheet("ratings"), ["ratings/anna.json", "ratings/ben.json"])    # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from bottega.core import BottegaError, DataError, Item, Measure, RecipeError, Rng, mean_interval
from bottega.core.files import write_atomically
from bottega.judge._agreement import Level, cohen_kappa, fleiss_kappa, krippendorff_alpha
from bottega.judge.coherence import Neighbours, cut, shuffles, told_apart
from bottega.workshop.build import find_data
from bottega.workshop.judging import rows_of
from bottega.workshop.report import templates
from bottega.workshop.run import Run, load
from bottega.workshop.training import divide

__all__ = ["MADE", "REAL", "Sheet", "Text", "proxy", "read_sheet", "sheet", "weigh"]

SCALES = {
    "fluency": "Is each sentence well formed?",
    "coherence": "Do the sentences belong together, in this order?",
}
GIVEN_SCALE = {"relevance": "Does it say what the given text says, and nothing else?"}
MADE, REAL = "made", "real"
_RESAMPLES = 500


@dataclass(frozen=True)
class Text:
    """One text on the sheet.

    Attributes:
        key: what ratings call it; says nothing of where it comes from.
        text: itself.
        source: ``"made"``, ``"real"``, or any name.
        given: what it was made of (a translation's source); empty for most.
        proxy: the automatic coherence, 0 to 1; None for texts of fewer than four sentences.
    """

    key: str
    text: str
    source: str
    given: str = ""
    proxy: float | None = None


@dataclass(frozen=True)
class Sheet:
    """Texts in the order in which they are rated, and the scales from 1 to 5. ``key.json`` alone says whose each is."""

    name: str
    texts: list[Text]
    scales: dict[str, str] = field(default_factory=lambda: dict(SCALES))

    @property
    def mark(self) -> str:
        """What ratings and sheet know each other by."""
        return hashlib.sha256("".join(text.key for text in self.texts).encode()).hexdigest()[:16]

    def write(self, folder: Path | str) -> Path:
        """``key.json``, and ``rate.html`` for raters, which has no source in it; returns the page. Raises OutputError."""
        folder = Path(folder)
        write_atomically(folder / "key.json", json.dumps(asdict(self), indent=1, ensure_ascii=False))
        page = (
            templates()
            .get_template("rate.html.j2")
            .render(
                texts=[{"key": t.key, "text": t.text, "given": t.given} for t in self.texts],
                scales=self.scales,
                mark=self.mark,
            )
        )
        write_atomically(folder / "rate.html", page)
        return folder / "rate.html"


def proxy(texts: Sequence[str], rng: Rng, *, known: Sequence[str] = ()) -> list[float | None]:
    """The coherence of each text by itself: the share of 20 shuffles of its sentences whose neighbours are less alike.

    Args:
        texts: to be judged; None for those of fewer than four sentences.
        rng: of the shuffles.
        known: texts that say which words are common; the texts themselves by default.
    """
    parts = [["".join(text[i] for i in places) for places in cut(list(text))] for text in texts]
    common = [s for text in known for s in ("".join(text[i] for i in p) for p in cut(list(text)))] or sum(parts, [])
    if not any(any(c.isalnum() for c in s) for s in common):
        return [None] * len(texts)
    near = Neighbours(common)
    return [told_apart(near.likeness(p), shuffles(len(p), 20, rng)) if len(p) >= 4 else None for p in parts]


def of_texts(
    name: str, sources: Mapping[str, Sequence[str]], *, given: Mapping[str, Sequence[str]] | None = None, seed: int = 0
) -> Sheet:
    """A sheet of anybody's texts, in a drawn order.

    Args:
        name: of the sheet.
        sources: texts by where they come from.
        given: for each source what its texts were made of, in the same order.
        seed: of the order.

    Raises:
        DataError: fewer than two texts.
    """
    said = [(source, text.strip(), (given or {}).get(source, [""] * len(texts))[i].strip())
            for source, texts in sources.items() for i, text in enumerate(texts) if text.strip()]  # fmt: skip
    if len(said) < 2:
        raise DataError(f"{len(said)} texts to rate; give at least two")
    values = proxy([text for _, text, _ in said], Rng(seed).fork("proxy"))
    rows = Rng(seed).permutation(len(said)).tolist()
    keys = [hashlib.sha256(f"{seed} {i} {said[i][1]}".encode()).hexdigest()[:12] for i in range(len(said))]
    texts_ = [Text(keys[i], said[i][1], said[i][0], said[i][2], values[i]) for i in rows]
    scales = SCALES | (GIVEN_SCALE if given else {})
    return Sheet(name, texts_, scales)


def sheet(run: Run | Path | str, *, n: int = 20, seed: int = 0, data: str | None = None, **knobs: Any) -> Sheet:
    """``n`` texts that a run made and ``n`` real ones that it never saw, mixed.

    Args:
        run: that makes text.
        n: of each.
        seed: of the texts and of their order.
        data: what the run was trained on, where that has moved.
        **knobs: of the family's ``sample`` (``temperature``, ...).

    Raises:
        BottegaError: the run makes no text.
        DataError: nothing was held out.
    """
    run = run if isinstance(run, Run) else load(run)
    if run.codec.medium != "text":
        raise BottegaError(f"{run.path.name} makes {run.codec.medium}; rate pictures by bottega review")
    if n < 1:
        raise RecipeError(f"n is {n}; at least one text of each is rated")
    dataset = find_data(run.recipe, data or run.header["data_argument"] or None, run.codec)
    held = rows_of(run.codec, divide(run.recipe, dataset).held, n, seed)
    real: Sequence[Item] = run.codec.decode(held.x)
    sources = {REAL: [str(item.value) for item in real]}
    if not run.spec.given_text:
        sources[MADE] = [str(item.value) for item in run.sample(n, seed=seed, **knobs).items]
        return of_texts(run.path.name, sources, seed=seed)
    assert held.cond is not None
    with torch.no_grad():
        made = run.model.sample(len(held), Rng.for_rows(range(seed, seed + len(held)), run.device),
                                held.cond.to(run.device), **({"temperature": 0.0} | knobs))  # fmt: skip
    sources[MADE] = [str(item.value) for item in run.codec.decode(made.cpu())]
    asked = [str(item.value) for item in run.codec.decode(held.cond)]
    return of_texts(run.path.name, sources, given={MADE: asked, REAL: asked}, seed=seed)


def read_sheet(folder: Path | str) -> Sheet:
    """The sheet that lies in a folder; raises DataError when there is none, or it is damaged."""
    path = Path(folder) / "key.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Sheet(told["name"], [Text(**text) for text in told["texts"]], told["scales"])
    except OSError as error:
        raise DataError(f"there is no sheet in {folder}; bottega rate RUN makes it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); make the sheet again") from error


def read_ratings(path: Path | str, of: Sheet) -> dict[str, dict[str, int]]:
    """What one person said: text by key -> scale -> 1 to 5.

    Raises:
        DataError: not what the page saved, or of another sheet.
    """
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        mark, said = told["sheet"], told["ratings"]
        found = {str(k): {str(s): int(v) for s, v in row.items()} for k, row in said.items()}
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; save it from rate.html") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no ratings ({error}); save it from rate.html") from error
    if mark != of.mark:
        raise DataError(
            f"{path} rates another sheet than {of.name!r} of these texts; use the page that lies beside key.json"
        )
    known = {text.key for text in of.texts}
    for key, row in found.items():
        if key not in known or not row.keys() <= of.scales.keys() or not all(1 <= v <= 5 for v in row.values()):
            raise DataError(f"{path} rates {key!r} as {row}, which is not on this sheet; save it from rate.html")
    return found


def weigh(of: Sheet, files: Sequence[Path | str], *, level: Level = "ordinal", seed: int = 0) -> list[Measure]:
    """What people said, how far they agree, and whether the automatic proxy agrees with them.

    For each scale and source the mean rating; with at least two raters Krippendorff's alpha (ordinal, missing ratings
    allowed), with two Cohen's kappa with squared weights, and Fleiss' kappa where all rated all; and Spearman's rank
    correlation of a text's mean rating with its proxy, where that is known of at least five. Intervals resample texts.

    Raises:
        DataError: no ratings, or not of this sheet.
    """
    people = [read_ratings(path, of) for path in files]
    if not people:
        raise DataError("no ratings were given; save them from rate.html, one file for each rater")
    rng, out = Rng(seed), []
    for scale in of.scales:
        x = np.array([[row.get(text.key, {}).get(scale, math.nan) for text in of.texts] for row in people], np.float64)
        if np.isnan(x).all():
            raise DataError(f"nobody rated {scale}; save the ratings again when at least one text is rated")
        out += (
            _means(of, x, scale, seed) + _agreement(x, scale, level, rng, seed) + _with_proxy(of, x, scale, rng, seed)
        )
    return out


def _means(of: Sheet, x: NDArray[np.float64], scale: str, seed: int) -> list[Measure]:
    out = []
    for source in sorted({text.source for text in of.texts}):
        columns = [i for i, text in enumerate(of.texts) if text.source == source and not np.isnan(x[:, i]).all()]
        if columns:
            value, low, high = mean_interval(torch.from_numpy(np.nanmean(x[:, columns], 0)))
            low, high = (max(1.0, low), min(5.0, high)) if len(columns) > 1 else (1.0, 5.0)
            note = f"mean of texts' mean ratings from 1 to 5 by {len(x)} raters, who did not know the source"
            out.append(
                Measure(f"{scale}_{source}", value, low, high, n=len(columns), seed=seed, better="higher", note=note)
            )
    return out


def _agreement(x: NDArray[np.float64], scale: str, level: Level, rng: Rng, seed: int) -> list[Measure]:
    if len(x) < 2:
        return []
    twice = np.flatnonzero((~np.isnan(x)).sum(0) > 1)
    out = []

    def add(name: str, of: Any, columns: NDArray[Any], note: str) -> None:
        value = of(x[:, columns]) if len(columns) > 1 else math.nan
        if math.isnan(value):
            return
        picks = [columns[rng.integers(len(columns), len(columns)).numpy()] for _ in range(_RESAMPLES)]
        drawn = np.array([of(x[:, pick]) for pick in picks])
        low, high = np.quantile(drawn[~np.isnan(drawn)], [0.025, 0.975]).tolist()
        out.append(Measure(f"{scale}_{name}", value, min(low, value), max(high, value), n=len(columns), seed=seed,
                           better="higher", note=f"{note}; 1 is full agreement, 0 chance"))  # fmt: skip

    add("alpha", lambda t: krippendorff_alpha(t, level), twice, f"Krippendorff's alpha ({level}) of {len(x)} raters")
    whole = np.flatnonzero(~np.isnan(x).any(0))
    if len(x) == 2:
        add(
            "kappa",
            lambda t: cohen_kappa(t[0], t[1], "ordinal"),
            whole,
            "Cohen's kappa, squared weights, of two raters",
        )
    elif len(whole):
        counts = lambda t: np.stack([(t == v).sum(0) for v in range(1, 6)], 1).astype(float)  # noqa: E731
        add("kappa", lambda t: fleiss_kappa(counts(t)), whole, f"Fleiss' kappa of {len(x)} raters, values as names")
    return out


def _with_proxy(of: Sheet, x: NDArray[np.float64], scale: str, rng: Rng, seed: int) -> list[Measure]:
    columns = np.array([i for i, t in enumerate(of.texts) if t.proxy is not None and not np.isnan(x[:, i]).all()], int)
    if scale != "coherence" or len(columns) < 5:
        return []
    said = np.nanmean(x[:, columns], 0)
    told = np.array([of.texts[i].proxy for i in columns], np.float64)
    if len(set(said)) < 2 or len(set(told)) < 2:
        return []
    value = float(spearmanr(said, told).statistic)
    drawn = []
    for _ in range(_RESAMPLES):
        pick = rng.integers(len(columns), len(columns)).numpy()
        if len(set(said[pick])) > 1 and len(set(told[pick])) > 1:
            drawn.append(float(spearmanr(said[pick], told[pick]).statistic))
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    note = (
        "Spearman's rank correlation of texts' mean ratings with the automatic coherence; 0 says that it tells nothing"
    )
    return [Measure("coherence_proxy_agreement", value, min(low, value), max(high, value), n=len(columns), seed=seed,
                    better="higher", note=note)]  # fmt: skip
