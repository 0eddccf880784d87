"""The page of a run: self-contained, pictures first; a view of the evidence and never a second source."""

from __future__ import annotations

import base64
import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bottega.core.files import write_atomically
from bottega.workshop.evidence import Evidence, MeasurePart
from bottega.workshop.figures import figure, figure_with_unit, interval, rows_of, span, title, unit

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Chart", "Sheet", "charts", "measure_rows", "sheets_of", "tuning_rows", "write_index", "write_report"]

MADE, REAL = "Made by this run", "Real, held out: never seen in training"
BESIDE = "Given, what this run made of it, and the real picture, held out: never seen in training"
_MIME = {".gif": "image/gif", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".svg": "image/svg+xml"}  # fmt: skip
_CARDS = 6
LOG = "log.jsonl"
NEXT = (
    ("bottega train my/folder", "A model of your own pictures, text or table; a fitting recipe is chosen."),
    ("bottega recipes", "What else can be trained by name."),
)
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 620, 220, 56, 12, 10, 26


@dataclass(frozen=True)
class Sheet:
    """Something to look at: a picture, some text, or the first rows of a table."""

    title: str
    kind: str
    alt: str = ""
    uri: str = ""
    small: bool = False
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)


def sheet(caption: str, path: Path, alt: str = "") -> Sheet:
    """A file as a part of a page: pictures are embedded, text and CSV are shown (CSV: its first 20 rows)."""
    if path.suffix.lower() in _MIME:
        return Sheet(caption, "picture", alt or caption, embed(path), small=_width(path) < 360)
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".csv":
        return Sheet(caption, "table", rows=list(csv.reader(text.splitlines()))[:21])
    return Sheet(caption, "text", text=text[:6000].strip("\n"))


def embed(path: Path) -> str:
    """A picture as a ``data:`` address, so that the page needs no other file."""
    return f"data:{_MIME[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _width(path: Path) -> int:
    if path.suffix == ".svg":
        return 10**6
    from PIL import Image

    with Image.open(path) as picture:
        return int(picture.width)


def sheets_of(run: Path, about: str = "") -> list[Sheet]:
    """What stands in a run's ``samples/``: ``sheet.*`` is its own work, ``real.*`` the real thing beside it.

    ``beside.png`` shows both, with the picture that was given, and then stands alone.
    """
    beside = run / "samples" / "beside.png"
    if beside.exists():
        return [sheet(BESIDE, beside, f"{BESIDE}: {about}" if about else BESIDE)]
    found = []
    for stem, caption in (("sheet", MADE), ("real", REAL)):
        for suffix in (".txt", ".csv", *_MIME):  # words can be read aloud and enlarged; a picture of words cannot
            path = run / "samples" / f"{stem}{suffix}"
            if path.exists():
                found.append(sheet(caption, path, f"{caption}: {about}" if about else caption))
                break
    return found


def _steps_of(run: Path, most: int = 6) -> list[Sheet]:
    """Pictures that were made while it learned, evenly chosen."""
    paths = sorted((run / "samples").glob("step-*.png"))
    if len(paths) > most:
        paths = [paths[round(i * (len(paths) - 1) / (most - 1))] for i in range(most)]
    names = [f"{int(path.stem.removeprefix('step-')):,}" for path in paths]
    return [sheet(f"step {name}", path, f"samples at step {name}") for name, path in zip(names, paths, strict=True)]


# Measures ------------------------------------------------------------------------------------------------------------


def measure_rows(evidence: Evidence) -> list[tuple[str, str, str, str, str]]:
    """Each measure as text: name, value with unit and bound, 95 % interval, the held-out ceiling, n."""
    return [
        (m.name, figure_with_unit(m), interval(m.low, m.high), figure(m.ceiling), f"{m.n:,}" if m.n else "–")
        for m in evidence.measures
    ]


def tuning_rows(evidence: Evidence) -> list[tuple[str, str, str, str, str, str]]:
    """What was measured before and after as text: what, before, after, the change, its 95 % interval, n."""

    def change(row: Mapping[str, Any], value: float) -> str:
        return f"{value:+.1%}" if row["name"] == "perplexity" else f"{value:+.2f}"

    out = []
    for row in evidence.tuning.get("measures", ()):
        value, low, high = row["change"]
        sure = "–" if low is None or high is None else f"{change(row, low)} to {change(row, high)}"
        out.append(
            (f"{title(row['name'])} of {row['of']}", figure(row["before"][0]), figure(row["after"][0]),
             change(row, value), sure, f"{row['n']:,}")
        )  # fmt: skip
    return out


@dataclass(frozen=True)
class Bar:
    """A measure on a line from 0 to 100: the interval as a band, the value as a dot, the ceiling as a mark."""

    low: float
    high: float
    at: float
    ceiling: float | None
    ends: tuple[str, str]


def bar(measure: MeasurePart) -> Bar | None:
    """Where a measure, its interval and its ceiling lie on a common line; None when there is nothing to lay it against."""
    seen = [measure.value, measure.low, measure.high, measure.ceiling]
    real = [v for v in seen if v is not None and math.isfinite(v)]
    if len(real) < 2 or not math.isfinite(measure.value):
        return None
    if min(real) >= 0 and max(real) <= 1 and measure.better == "higher":
        first, last = (0.5 if min(real) >= 0.6 else 0.0), 1.0
    else:
        pad = 0.12 * (max(real) - min(real) or abs(max(real)) or 1.0)
        first, last = min(real) - pad, max(real) + pad
        first = 0.0 if min(real) >= 0 and (first < 0 or first < 0.25 * last) else first

    def place(v: float) -> float:
        return round(100 * (v - first) / (last - first), 2)

    low = measure.low if measure.low is not None and math.isfinite(measure.low) else measure.value
    high = measure.high if measure.high is not None and math.isfinite(measure.high) else measure.value
    ceiling = None if measure.ceiling is None or not math.isfinite(measure.ceiling) else place(measure.ceiling)
    return Bar(place(low), place(high), place(measure.value), ceiling, (figure(first), figure(last)))


_FIRST = ("class_accuracy", "restored_gain", "recognised", "good_share", "utility_", "bits_per_byte", "bits_per_dim", "iwae_nats", "nll_nats", "marginal_distance",
          "frechet_distance", "recall", "memorised_share", "modes_covered", "diversity", "precision", "perplexity")  # fmt: skip


def key_measures(measures: Sequence[MeasurePart], most: int = _CARDS) -> list[MeasurePart]:
    """Those a reader should see first: one of each judge, in the order of what is asked first, then their others."""

    def rank(i: int) -> tuple[int, bool, bool, int]:
        m = measures[i]
        asked = next((place for place, start in enumerate(_FIRST) if m.name.startswith(start)), len(_FIRST))
        return asked, not m.better, m.ceiling is None, i

    order = sorted(range(len(measures)), key=rank)
    judges: set[str] = set()
    first = [i for i in order if not (measures[i].judge in judges or judges.add(measures[i].judge))]  # type: ignore[func-returns-value]
    chosen = [*first, *(i for i in order if i not in first)][:most]
    return [measures[i] for i in chosen]


# Curves --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chart:
    """One term of the loss over the steps, on training and (where it was checked) on held-out data, ready to draw."""

    title: str
    lines: list[tuple[str, str]]  # label and SVG path
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    told: str
    data: dict[str, Any]
    logarithmic: bool


def charts(log: Path) -> list[Chart]:
    """The curves in a run's ``log.jsonl``, one chart for each term; none when there is no log."""
    if not log.exists():
        return []
    series: dict[str, list[tuple[float, float]]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the last line, cut short by a kill
        for key, value in row.items():
            if key not in {"step", "seconds"} and isinstance(value, int | float) and math.isfinite(value):
                series.setdefault(key, []).append((row["step"], value))
    names = list(dict.fromkeys(key.removeprefix("held/") for key in series))
    return [_chart(name, series.get(name, []), series.get(f"held/{name}", [])) for name in names]


def _chart(name: str, train: list[tuple[float, float]], held: list[tuple[float, float]]) -> Chart:
    both = {label: points for label, points in (("training", train), ("held out", held)) if points}
    steps = [s for points in both.values() for s, _ in points]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    values = [v for points in both.values() for _, v in points]
    low, high = min(values), _robust_top(values)
    log = low > 0 and high / low > 30
    if not log:
        pad = 0.06 * (high - low or abs(high) or 1.0)
        low, high = low - pad, high + pad
    elif low == high:
        low, high = low / 2, high * 2

    def x(step: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (step - first) / (last - first), 1)

    def y(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0), 1)

    def path(points: list[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{x(s)} {y(v)}" for s, v in points)

    y_values = _log_ticks(low, high) if log else _ticks(low, high, 4)
    told = "; ".join(
        f"{label} {figure(points[0][1])} at step {points[0][0]:,.0f}, {figure(points[-1][1])} at step {points[-1][0]:,.0f}"
        for label, points in both.items()
    )
    data = {
        "series": [
            {"label": label, "at": [[x(s), y(v), s, float(f"{v:.4g}")] for s, v in points]}
            for label, points in both.items()
        ]
    }
    return Chart(
        name,
        [(label, path(points)) for label, points in both.items()],
        [(x(s), f"{s:,.0f}") for s in _ticks(first, last, 5) if s == int(s)],
        [(y(v), figure(v)) for v in y_values],
        told,
        data,
        log,
    )


def _robust_top(values: list[float]) -> float:
    """The largest value that is worth showing: a few wild ones at the start must not flatten the rest."""
    ordered = sorted(values)
    usual = ordered[min(len(ordered) - 1, int(0.98 * len(ordered)))]
    return ordered[-1] if ordered[0] > 0 or ordered[-1] - ordered[0] < 4 * (usual - ordered[0]) else usual


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers inside [low, high].

    >>> _ticks(0.0, 1.0, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [m * 10.0**e for e in exponents for m in ((1, 2, 5) if len(exponents) <= 3 else (1,))]
    return [v for v in every if low <= v <= high] or [low, high]


# Pages ---------------------------------------------------------------------------------------------------------------


@lru_cache
def templates() -> Environment:
    """The templates beside this file; every value that goes into a page is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=lambda name: name is None or ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"figure": figure, "title_of": title, "unit": unit, "span": span, "count": lambda n: f"{n:,}"}
    env.globals |= {"bar": bar, "interval": interval, "box": {"w": _WIDTH, "h": _HEIGHT, "l": _LEFT, "r": _RIGHT,
                    "t": _TOP, "b": _BOTTOM}}  # fmt: skip
    return env


def write_report(run: Path, evidence: Evidence, *, sheets: Mapping[str, Path] | None = None) -> Path:
    """Write ``report.html`` into the folder of a run and return its path.

    Args:
        run: the folder; its ``log.jsonl`` gives the curves, ``samples/step-*.png`` the pictures made while it learned.
        evidence: what the page says.
        sheets: what is shown first, caption -> picture, text or CSV file; by default ``samples/sheet.*`` and
            ``samples/real.*``.

    Raises:
        OutputError: the page cannot be written.
    """
    about = evidence.data.about or evidence.data.name
    shown = sheets_of(run, about) if sheets is None else [sheet(caption, path) for caption, path in sheets.items()]
    recipe, cards, curves = evidence.recipe, key_measures(evidence.measures), charts(run / LOG)
    page = templates().get_template("report.html.j2").render(
        e=evidence,
        about=recipe.get("about", ""),
        family=recipe.get("family", {}).get("name", ""),
        sheets=shown,
        learned=_steps_of(run),
        cards=cards,
        any_ceiling=any(m.ceiling is not None for m in cards),
        charts=curves,
        any_held=any(len(chart.lines) > 1 for chart in curves),
        tuned=tuning_rows(evidence),
        made_of={
            "Data": rows_of(evidence.data, without=("files",)),
            "Cost": rows_of(evidence.cost),
            "Machine": rows_of(evidence.machine),
            "Run": [*rows_of(evidence.run), *evidence.software.items()],
        },
        recipe=_flat({k: v for k, v in recipe.items() if k not in {"name", "about"}}),
        audits={
            name.capitalize(): _flat(part)
            for name in ("memorisation", "privacy", "bias", "robustness", "marks", "gates")
            if (part := getattr(evidence, name))
        },
    )  # fmt: skip
    path = run / "report.html"
    write_atomically(path, page)
    return path


def write_index(
    path: Path,
    runs: Sequence[Path],
    *,
    heading: str = "From the workshop",
    about: str = "",
    following: Sequence[tuple[str, str]] = NEXT,
) -> Path:
    """Write a page that shows several judged runs, each with a link to its own page; returns ``path``.

    Args:
        path: the page; the runs lie in folders below or beside it.
        runs: their folders.
        heading: what the page is.
        about: one sentence; by default what was trained and how long it took.
        following: what to do next, ``(command, what it does)``.

    Raises:
        BottegaError: a run was not judged yet.
        OutputError: the page cannot be written.
    """
    shown = []
    for run in runs:
        evidence = Evidence.read(run / "evidence.json")
        shown.append(
            {
                "e": evidence,
                "link": Path(os.path.relpath(run / "report.html", path.parent)).as_posix(),
                "about": evidence.recipe.get("about", ""),
                "sheets": sheets_of(run, evidence.data.about or evidence.data.name),
                "cards": key_measures(evidence.measures, 3),
            }
        )
    seconds = sum(entry["e"].cost.seconds for entry in shown)
    told = (
        f"{len(shown)} models, trained in {span(seconds)} on {shown[0]['e'].machine.device or 'this machine'}"
        if shown
        else ""
    )
    told += ", each judged against real data that it never saw." if shown else ""
    page = templates().get_template("index.html.j2").render(heading=heading, about=about or told, runs=shown, following=following)  # fmt: skip
    write_atomically(path, page)
    return path


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested tables as ``a.b -> text``, numbers as everywhere else."""
    out: list[tuple[str, str]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            out += _flat(value, f"{name}.")
        elif isinstance(value, float):
            out.append((name, figure(value)))
        elif value is None or value == "":
            out.append((name, "–"))
        elif isinstance(value, list | tuple):
            out.append((name, ", ".join(figure(v) if isinstance(v, float) else str(v) for v in value)))
        else:
            out.append((name, str(value)))
    return out
