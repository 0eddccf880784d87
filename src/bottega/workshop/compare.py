"""Several runs on the same data: one table, their samples side by side, and the classical comparison of VAE and GAN."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bottega.core import Batch, BottegaError, Encodes, Item, Rng, Scores, Spec, has
from bottega.core.files import write_atomically
from bottega.judge import Case, run_all
from bottega.workshop.build import find_data
from bottega.workshop.evidence import Evidence, MeasurePart
from bottega.workshop.figures import figure, figure_with_unit, interval, span, title
from bottega.workshop.judging import CACHE, MOST_TRAIN, rows_of
from bottega.workshop.report import Sheet, sheet, templates
from bottega.workshop.run import LOG, Run, load
from bottega.workshop.training import divide

__all__ = ["Comparison", "Row", "compare"]

_SHOWN = 16  # samples of each run that stand side by side
DISTANCES = "distances are root mean squares over the numbers of an example, which lie in [-1, 1]"
_PROBES = 256  # held-out examples and samples for the rows that are measured here


@dataclass(frozen=True)
class Row:
    """One measure of every run; ``best`` is the place of the best, None when it is open."""

    judge: str
    name: str
    better: str
    cells: list[MeasurePart]
    best: int | None


@dataclass(frozen=True)
class Comparison:
    """What was found; every table, page and JSON is a view of it.

    Attributes:
        names, paths: of the runs.
        evidences: theirs.
        glance: one line for each run: likelihood with its bound, what its samples are like, what it cost.
        rows: the measures that all runs have.
        book: the five rows of the classical comparison of VAE and GAN, ``(feature, one text for each run)``.
        sheets: samples of each run from the same seeds.
        notes: what a reader must know to read the table rightly.
    """

    names: list[str]
    paths: list[Path]
    evidences: list[Evidence]
    glance: list[list[str]]
    rows: list[Row]
    book: list[tuple[str, list[str]]]
    sheets: list[Sheet]
    notes: list[str] = field(default_factory=list)

    def costs(self) -> list[tuple[str, list[str]]]:
        """What each run is and cost, ``(name, one text for each run)``."""
        es = self.evidences
        return [
            ("family", [e.recipe.get("family", {}).get("name", "–") for e in es]),
            ("parameters", [f"{e.cost.parameters:,}" for e in es]),
            ("steps", [f"{e.run.step:,}" for e in es]),
            ("training time", [span(e.cost.seconds) for e in es]),
        ]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """``(title, columns, rows)`` for the terminal; ``*`` marks a value whose interval lies clear of the others'."""
        measured = [[name, *cells] for name, cells in self.costs()]
        for row in self.rows:
            cells = [
                f"{figure_with_unit(m)}{' *' if row.best == i else ''}"
                + (f"  [{interval(m.low, m.high)}]" if m.low is not None else "")
                for i, m in enumerate(row.cells)
            ]
            measured.append([f"{row.name}{f' ({row.better})' if row.better else ''}", *cells])
        out = [("At a glance", ["", *GLANCE], self.glance)]
        if self.rows:
            out.append(("Measured", ["", *self.names], measured))
        if self.book:
            out.append((f"VAE and GAN ({DISTANCES})", ["", *self.names], [[name, *cells] for name, cells in self.book]))
        return out

    def table(self) -> str:
        """The tables as Markdown."""
        out = []
        for heading, columns, rows in self.tables():
            lines = [columns, ["---"] * len(columns), *rows]
            out.append(
                f"**{heading}**\n\n" + "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)
            )
        return "\n\n".join(out) + "\n"

    def json(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return {
            "runs": [
                {"name": name, "weights": e.run.weights, "data": e.data.fingerprint, "cost": e.cost.model_dump()}
                for name, e in zip(self.names, self.evidences, strict=True)
            ],
            "measures": [
                {"judge": r.judge, "name": r.name, "better": r.better, "best": None if r.best is None else self.names[r.best],
                 "values": {n: m.model_dump(exclude={"judge", "name", "better"}) for n, m in zip(self.names, r.cells, strict=True)}}
                for r in self.rows
            ],
            "glance": [dict(zip(["run", *GLANCE], row, strict=True)) for row in self.glance],
            "vae_and_gan": {feature: dict(zip(self.names, cells, strict=True)) for feature, cells in self.book},
            "notes": self.notes,
        }  # fmt: skip

    def html(self, path: str | Path) -> Path:
        """Write the comparison as a self-contained page; raises OutputError."""
        path = Path(path)
        write_atomically(
            path,
            templates()
            .get_template("compare.html.j2")
            .render(c=self, data=self.evidences[0].data, distances=DISTANCES, columns=GLANCE),
        )
        return path


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def compare(
    runs: Sequence[str | Path | Run], *, force: bool = False, device: str = "auto", seed: int = 0, anew: int = 0
) -> Comparison:
    """Compare two or more judged runs on the same data.

    Args:
        runs: folders of runs, or runs.
        force: compare although their data differ; the table says so.
        device: where runs that are given as folders are loaded.
        seed: the first seed of the samples shown; each run gets the same.
        anew: pictures: so many new samples of each run are judged in one feature network, as pictures and whatever the
            models' own kind of numbers is; 0 takes what each run's evidence says.

    Raises:
        BottegaError: fewer than two runs, one was not judged, their data differ, or they have no measure in common.
    """
    if len(runs) < 2:
        raise BottegaError(f"{len(runs)} run cannot be compared; give two or more")
    loaded = [run if isinstance(run, Run) else load(run, device=device) for run in runs]
    names = [run.path.name for run in loaded]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in loaded]
    evidences = [run.evidence for run in loaded]
    for run, evidence in zip(loaded, evidences, strict=True):
        if not evidence.measures:
            raise BottegaError(f"{run.path} was not judged; bottega judge {run.path} does it")
    notes = _same_data(names, evidences, force)
    rows = _rows(evidences, notes)
    if not rows and not anew:
        raise BottegaError(
            f"{' and '.join(names)} have no measure in common; judge them with the same judges and features"
        )
    paths = [run.path for run in loaded]
    book = _book(loaded, evidences, seed)
    fresh = _anew(loaded, anew, seed, notes) if anew else None
    glance = _glance(names, evidences, fresh, notes)
    return Comparison(names, paths, evidences, glance, rows, book, _sheets(loaded, names, seed), notes)


def _same_data(names: Sequence[str], evidences: Sequence[Evidence], force: bool) -> list[str]:
    notes = []
    first = evidences[0]
    for name, other in zip(names[1:], evidences[1:], strict=True):
        if other.data.fingerprint != first.data.fingerprint:
            told = (
                f"{names[0]} was trained on {first.data.name} ({first.data.fingerprint[:12]}), "
                f"{name} on {other.data.name} ({other.data.fingerprint[:12]})"
            )
            if not force:
                raise BottegaError(f"{told}; numbers on different data do not compare: train on the same, or --force")
            notes.append(f"{told}: numbers on different data do not compare.")
        elif _split(other) != _split(first):
            notes.append(
                f"{names[0]} and {name} hold out different parts of the data (train.seed or data.held differ)."
            )
    return notes


def _split(evidence: Evidence) -> tuple[Any, ...]:
    recipe = evidence.recipe
    return (recipe.get("train", {}).get("seed"), recipe.get("data", {}).get("held"), evidence.data.held_rows)


def _rows(evidences: Sequence[Evidence], notes: list[str]) -> list[Row]:
    """The measures that all have by the same features, in the order of the first; a note names those that differ."""
    found = [{(m.judge, m.name): m for m in e.measures} for e in evidences]
    rows, apart, spaces, sizes = [], [], [], []
    for key, m in found[0].items():
        if all(key in other for other in found):
            cells = [other[key] for other in found]
            if len({cell.features for cell in cells}) > 1:
                apart.append(title(key[1]))
                spaces += [cell.features or "features not named" for cell in cells]
                continue
            unequal = bool(m.features) and len({cell.n for cell in cells}) > 1
            if unequal:
                sizes.append(title(key[1]))
            rows.append(Row(key[0], key[1], m.better, cells, None if unequal else _best(cells)))
    if apart:
        notes.append(
            f"{', '.join(apart)}: measured in different features, so not compared ({'; '.join(dict.fromkeys(spaces))})."
        )
    if sizes:
        notes.append(
            f"{', '.join(sizes)}: measured on different numbers of samples, on which they depend, so none is called best; "
            "judge all with the same judge.n, or use --anew N."
        )
    return rows


def _best(cells: Sequence[MeasurePart]) -> int | None:
    """The best, when its 95 % interval lies clear of every other's and all are of the same kind."""
    better = cells[0].better
    if not better or len({(m.bound, m.better) for m in cells}) > 1:
        return None
    sign = 1 if better == "higher" else -1
    order = sorted(range(len(cells)), key=lambda i: -sign * cells[i].value)
    top = cells[order[0]]
    for i in order[1:]:
        other = cells[i]
        if None in (top.low, top.high, other.low, other.high):
            return None
        if not (top.low > other.high if sign > 0 else top.high < other.low):  # type: ignore[operator]
            return None
    return order[0]


# At a glance ------------------------------------------------------------------------------------------------------------

GLANCE = (
    "likelihood", "Fréchet distance", "precision", "recall", "coverage", "copies", "parameters", "training", "ms a sample",
)  # fmt: skip
_LOOKS = ("frechet_distance", "precision", "recall", "coverage", "memorised_share")


def _glance(
    names: Sequence[str],
    evidences: Sequence[Evidence],
    fresh: Sequence[dict[str, float]] | None,
    notes: list[str],
) -> list[list[str]]:
    """One line for each run; a dash where it has no such figure, or none in the features of the others."""
    found = [{m.name: m for m in e.measures} for e in evidences]
    hidden = set()
    if fresh is None:
        for look in _LOOKS:
            spaces = {m[look].features for m in found if look in m}
            if len(spaces) > 1:
                hidden.add(look)
        if hidden:
            notes.append(
                f"{', '.join(title(look) for look in _LOOKS if look in hidden)}: in other features for each run, so left "
                "out at a glance; --anew N measures them in the same."
            )
    out = []
    for i, (name, evidence) in enumerate(zip(names, evidences, strict=True)):
        own = {look: found[i][look].value for look in _LOOKS if look in found[i] and look not in hidden}
        looks = own if fresh is None else fresh[i]
        speed = found[i]["sample_ms"].value if "sample_ms" in found[i] else None
        if fresh is not None:
            speed = fresh[i]["sample_ms"]
        out.append(
            [
                name, _likelihood(found[i], _of_codes(evidence)), *(figure(looks.get(look)) for look in _LOOKS),
                f"{evidence.cost.parameters:,}", span(evidence.cost.seconds), figure(speed),
            ]
        )  # fmt: skip
    kinds = {row[1].split(" ", 1)[1] for row in out if " " in row[1]}
    if len(kinds) > 1:
        notes.append("Likelihoods in other units, or of other bounds, do not compare.")
    return out


def _of_codes(evidence: Evidence) -> bool:
    """Whether the run models the codes of another run, so that its likelihood is of codes and says nothing of pieces."""
    return bool(evidence.recipe.get("codec", {}).get("name") == "latent")


def _likelihood(measures: dict[str, MeasurePart], coded: bool = False) -> str:
    """The tightest figure of how likely held-out data are, with its unit and bound; a dash where there is none.

    An upper bound of the bits is what a lower bound of the likelihood gives; importance weighting tightens it.
    """
    for name, unit in (("bits_per_dim", "bits/dim"), ("iwae_nats", "nats"), ("nll_nats", "nats")):
        if name in measures:
            m = measures[name]
            tight = measures.get("iwae_nats") if name == "bits_per_dim" else None
            nats = measures.get("nll_nats")
            value = m.value
            if tight is not None and nats is not None and nats.value > 0:
                value *= tight.value / nats.value
            return f"{figure(value)} {unit}{' of codes' * coded} ({m.bound or 'exact'})"
    return "–"


def _anew(runs: Sequence[Run], n: int, seed: int, notes: list[str]) -> list[dict[str, float]]:
    """What ``n`` new samples of each run are like, all as pictures of 256 levels and in one feature network."""
    if any(run.codec.medium != "image" for run in runs):
        raise BottegaError("--anew compares pictures; leave it out for other media")
    first = runs[0]
    parts = divide(first.recipe, find_data(first.recipe, first.header["data_argument"] or None, first.codec))
    real = {
        name: _as_pictures(first.codec.decode(rows_of(first.codec, items, most, seed).x))
        for name, items, most in (("train", parts.train, MOST_TRAIN), ("held", parts.held, max(n, 2)))
    }
    shape = tuple(real["train"].shape[1:])
    cache: dict[str, Any] = {}
    out = []
    for run in runs:
        began = time.perf_counter()
        pieces = run.sample(n, seed=seed)
        each = 1000 * (time.perf_counter() - began) / n
        made = _as_pictures(pieces.items)
        if tuple(made.shape[1:]) != shape:
            raise BottegaError(
                f"{run.path.name} makes pictures of shape {tuple(made.shape[1:])} and {first.path.name} of {shape}; they cannot "
                "be judged in one network: train them at one codec.size and codec.channels"
            )
        cache = {k: v for k, v in cache.items() if k != "features of samples"}
        facts = {"cache_dir": first.path.parent / CACHE}
        case = Case(
            "image", Spec(shape), Batch(real["train"]), Batch(real["held"]), made, seed=seed, facts=facts, cache=cache
        )
        measures, skipped = run_all(case, ["frechet", "precision_recall", "memorisation"])
        if skipped:
            raise BottegaError(f"--anew {n}: {next(iter(skipped.values()))}")
        cache = case.cache
        out.append({m.name: m.value for m in measures} | {"sample_ms": each})
    notes.append(
        f"At a glance: {n} samples of each run with the seeds from {seed} on, {len(real['train'])} training and "
        f"{len(real['held'])} held-out pictures as {first.path.name} reads them, in one feature network."
    )
    return out


def _as_pictures(items: Sequence[Item]) -> torch.Tensor:
    """``(N, C, H, W)`` in [-1, 1]."""
    stack = torch.stack([torch.from_numpy(item.value) for item in items])
    return stack.permute(0, 3, 1, 2).float() / 127.5 - 1


def _sheets(runs: Sequence[Run], names: Sequence[str], seed: int) -> list[Sheet]:
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (run, name) in enumerate(zip(runs, names, strict=True)):
            n = 200 if hasattr(run.codec, "write_all") else _SHOWN
            path = run.sample(n, seed=seed).show(Path(folder) / f"run-{i}")
            out.append(sheet(name, path, f"samples of {name}, seeds {seed} to {seed + n - 1}"))
    return out


# The classical comparison: the rows of table 7.1, "Differences in GAN and VAE" ----------------------------------------


def _book(runs: Sequence[Run], evidences: Sequence[Evidence], seed: int) -> list[tuple[str, list[str]]]:
    """The five rows, measured, when one run has codes and a likelihood and another has several players; else none."""
    coded = [_players(run) == 1 and has(run.model, Encodes) and has(run.model, Scores) for run in runs]
    adversarial = [_players(run) > 1 for run in runs]
    if not (any(coded) and any(adversarial)):
        return []
    probes = [_probes(run, seed) for run in runs]
    return [
        ("training objective", [_objective(r, e) for r, e in zip(runs, evidences, strict=True)]),
        ("latent space", [_latent(r, p) for r, p in zip(runs, probes, strict=True)]),
        ("generative process", [_process(r, e, p[0], seed) for r, e, p in zip(runs, evidences, probes, strict=True)]),
        ("performance", [_performance(e) for e in evidences]),
        ("training stability", [_stability(r, e) for r, e in zip(runs, evidences, strict=True)]),
    ]


def _players(run: Run) -> int:
    return len({turn.player for turn in run.model.turns()})


def _objective(run: Run, evidence: Evidence) -> str:
    players = _players(run)
    who = "one player minimises " if players == 1 else f"{players} players in turn minimise "
    return who + ", ".join(f"{k} {figure(v[0])} → {figure(v[-1])}" for k, v in evidence.losses.items())


def _probes(run: Run, seed: int) -> tuple[Batch, torch.Tensor]:
    """Held-out examples, and as many samples, as real numbers."""
    plan = run.recipe
    dataset = find_data(plan, run.header["data_argument"] or None, run.codec)
    held = rows_of(run.codec, divide(plan, dataset).held, _PROBES, seed).to(run.device)
    made = run.sample(_PROBES, seed=seed).x
    return held, run.spec.as_real(made).flatten(1).double()


@torch.no_grad()
def _latent(run: Run, probes: tuple[Batch, torch.Tensor]) -> str:
    held, made = probes
    real = run.spec.as_real(held.x).flatten(1).double().cpu()
    near = torch.cdist(real, made).min(1).values / math.sqrt(real.shape[1])
    told = f"the nearest of {len(made)} samples is {figure(near.mean().item())} away from a held-out example"
    if not has(run.model, Encodes):
        return f"no code for a given example; {told}"
    codes = run.model.encode(held)  # type: ignore[operator]
    back = run.spec.as_real(run.model.decode(codes, held.cond)).flatten(1).double().cpu()  # type: ignore[operator]
    away = (back - real).square().mean(1).sqrt().mean().item()
    flat = codes.flatten(1).double()
    active = int((flat.var(0) > 0.01).sum())  # Burda et al. 2015, arXiv:1509.00519, section 5.2
    return (
        f"{flat.shape[1]} numbers, {active} of them in use; its own code brings it back to {figure(away)} away; {told}"
    )


@torch.no_grad()
def _process(run: Run, evidence: Evidence, held: Batch, seed: int) -> str:
    run.model.eval()
    codes = None
    if run.spec.cond is not None:
        codes = run.codec.encode_cond([run.header["conditions"][0]] * 64).to(run.device)
    times = []
    for i in range(4):
        began = time.perf_counter()
        run.model.sample(64, Rng(i, device=run.device), codes).cpu()
        times.append(1000 * (time.perf_counter() - began) / 64)
    told = f"{figure(statistics.median(times[1:]))} ms for each of 64 samples"  # the first warms up
    if not has(run.model, Scores):
        return f"{told}; gives no likelihood"
    judged = next((m for m in evidence.measures if m.name.startswith(("nll", "bits_per_dim"))), None)
    if judged is not None:
        return f"{told}; {title(judged.name)} {figure_with_unit(judged)}"
    nll = -run.model.log_prob(held, Rng(seed, device=run.device)).mean().item()  # type: ignore[operator]
    bound: str = run.model.bound  # type: ignore[assignment]
    how = {"exact": "", "lower": "at most ", "upper": "at least "}.get(bound, "about ")
    return f"{told}; NLL {how}{figure(nll)} nats"


_QUALITY = ("frechet_distance", "recognised", "precision", "density")
_DIVERSITY = ("recall", "coverage", "classes", "diversity")


def _picked(evidence: Evidence, wanted: Sequence[str]) -> str:
    found = [m for name in wanted for m in evidence.measures if m.name.startswith(name)]
    return ", ".join(f"{m.name.replace('_', ' ')} {figure_with_unit(m)}" for m in found)


def _performance(evidence: Evidence) -> str:
    quality, diversity = _picked(evidence, _QUALITY), _picked(evidence, _DIVERSITY)
    return "; ".join(f"{name}: {told}" for name, told in (("quality", quality), ("diversity", diversity)) if told)


def _stability(run: Run, evidence: Evidence) -> str:
    """How far each loss strays from a straight line in the second half of training, and whether modes went missing."""
    parts = [
        f"{name} strays {figure(100 * share)} %"
        for name, share in wobble(run.path / LOG, list(evidence.losses)).items()
    ]
    told = ", ".join(parts) + " around its trend in the second half" if parts else "no log"
    lost = _picked(evidence, ("recall", "classes"))
    return f"{told}; modes kept: {lost}" if lost else told


def wobble(log: Path, terms: Sequence[str]) -> dict[str, float]:
    """For each loss: the standard deviation around a straight line over the second half of training, by its mean size."""
    if not log.exists():
        return {}
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    out = {}
    for term in terms:
        points = [(r["step"], r[term]) for r in rows if term in r and math.isfinite(r[term])]
        half = points[len(points) // 2 :]
        if len(half) < 3:
            continue
        slope, offset = statistics.linear_regression(*zip(*half, strict=True))
        rest = [v - slope * s - offset for s, v in half]
        size = statistics.fmean(abs(v) for _, v in half)
        out[term] = statistics.pstdev(rest) / size if size else 0.0
    return out
