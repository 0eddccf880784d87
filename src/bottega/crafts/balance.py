"""Made pieces for the classes of which there are few, and whether a classifier that learns from them gets better.

>>> done = balance("runs/digits", out="more")                      # doctest: +SKIP
>>> done.rare, [(way.name, way.f1) for way in done.ways]           # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import Tensor
from torch.nn import functional as F

from bottega.core import Batch, BottegaError, DataError, Rng
from bottega.core.files import write_atomically
from bottega.judge import Case
from bottega.judge._nets import ConvNet, fit, steps_for
from bottega.judge._rows import Features
from bottega.judge.memorisation import copied
from bottega.judge.table_utility import predict
from bottega.workshop.build import find_data
from bottega.workshop.pieces import Pieces
from bottega.workshop.run import Run, load
from bottega.workshop.training import divide

__all__ = ["Balanced", "Class", "Way", "balance", "f1_of"]

RARE = 0.5  # a class with fewer than this share of the commonest one's pieces is called rare
_TRIES = 4  # so many times as many pieces as are needed are made at most, when copies are refused
_LEARNERS = 3  # classifiers of each kind, of different seeds; their scores are averaged
_DRAWS = 200  # of the bootstrap


@dataclass(frozen=True)
class Class:
    """One class of the training part.

    Attributes:
        name: as the data says it.
        real: training pieces.
        held: pieces that it is tested on.
        made: pieces that were added.
        copies_of_train, copies_of_held: made pieces refused as near-exact copies.
    """

    name: str
    real: int
    held: int
    made: int
    copies_of_train: int
    copies_of_held: int


@dataclass(frozen=True)
class Way:
    """What a classifier does on held-out pieces after learning in one way.

    Attributes:
        name: ``"real"``, ``"weighted"`` (real pieces, each class counting the same) or ``"balanced"`` (real and made).
        f1, low, high: F1 of the rare classes, their mean, and its 95 % interval over draws of the held-out pieces.
        accuracy: over all classes.
    """

    name: str
    f1: float
    low: float
    high: float
    accuracy: float


@dataclass(frozen=True)
class Balanced:
    """What was made and what it was good for.

    Attributes:
        rare: names of the rare classes.
        classes: all classes.
        ways: real, weighted, balanced.
        gain, gain_low, gain_high: F1 of balanced less that of real, paired over the same held-out pieces; 95 % interval.
        files: what was written.
    """

    rare: list[str]
    classes: list[Class]
    ways: list[Way]
    gain: float
    gain_low: float
    gain_high: float
    files: list[Path]


def f1_of(truth: NDArray[Any], said: NDArray[Any], classes: Sequence[int]) -> float:
    """The mean F1 of some classes.

    >>> f1_of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), [1])
    0.8
    """
    return float(f1_score(truth, said, labels=list(classes), average="macro", zero_division=0))


def balance(
    run: Run | str | Path,
    *,
    data: str | Path | None = None,
    test: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
) -> Balanced:
    """Make pieces of every class that has fewer than the commonest until all have as many, and test what that is good for.

    The same small classifier (a convolutional network for pictures, boosted trees for rows) learns from the real training
    pieces, from those with each class weighing the same, and from real and made ones together. Nothing that it is tested
    on was seen by the run: made pieces that are near-exact copies of a training or a test piece (``judge.memorisation``)
    are refused and made anew.

    Args:
        run: of a model that can be asked for a class.
        data: what it was trained on, where that has moved.
        test: labelled pieces to test on; what the run kept back by default.
        out: a folder for the made pieces; ``balance`` in the run's by default.
        seed: of the pieces and the classifiers.

    Raises:
        BottegaError: the run makes no pictures or rows by class.
        DataError: nothing to test a rare class on, or no class is rare.
    """
    run = run if isinstance(run, Run) else load(run)
    given = run.spec.cond
    if run.codec.medium not in {"image", "table"} or given is None or not given.is_tokens or given.shape:
        raise BottegaError(
            f"{run.path.name} makes no pictures or rows by class; train with labels (class folders), or codec.cond = COLUMN"
        )
    parts = divide(run.recipe, find_data(run.recipe, data or run.header["data_argument"] or None, run.codec))
    tested = list(run.codec.read(test)) if test is not None else parts.held
    train, held = (_known(run.codec.encode(items)) for items in (parts.train, tested))
    assert train.cond is not None
    assert held.cond is not None
    count, tests = (b.cond.bincount(minlength=given.vocab).tolist() for b in (train, held))  # type: ignore[union-attr]
    every = train.x[:1].expand(given.vocab, *train.x.shape[1:])
    asked = [item.cond for item in run.codec.decode(every, torch.arange(given.vocab))]
    names = [str(value) for value in asked]
    count = [0 if value is None else n for value, n in zip(asked, count, strict=True)]  # a gap in a column is no class
    most = max(count)
    rare = [k for k, n in enumerate(count) if 0 < n < RARE * most]
    if not rare:
        raise DataError(f"no class of {run.path.name} has fewer than half as many pieces as the commonest ({most})")
    if missing := [names[k] for k in rare if not tests[k]]:
        raise DataError(f"there is no piece to test class {missing[0]!r} on; name labelled ones with --test")
    folder = Path(out) if out is not None else run.path / "balance"
    made: list[Pieces] = []
    classes = []
    for k, name in enumerate(names):
        pieces, copies = _fill(run, asked[k], most - count[k] if count[k] else 0, train, held, seed + 1_000_003 * k)
        made += [pieces] if len(pieces) else []
        classes.append(Class(name, count[k], tests[k], len(pieces), *copies))
    files = _write(run, made, folder, [c.name for c in classes if c.made])
    labels = torch.tensor([k for k, c in enumerate(classes) for _ in range(c.made)], dtype=torch.long)
    more = Batch(torch.cat([train.x, *(p.x for p in made)]), torch.cat([train.cond, labels]))
    learn = _pictures if run.codec.medium == "image" else _rows
    truth = held.cond.numpy()
    said = {
        "real": [learn(run, train, held, False, seed + i) for i in range(_LEARNERS)],
        "weighted": [learn(run, train, held, True, seed + i) for i in range(_LEARNERS)],
        "balanced": [learn(run, more, held, False, seed + i) for i in range(_LEARNERS)],
    }
    draws = np.random.default_rng(abs(seed)).integers(len(truth), size=(_DRAWS, len(truth)))
    draws = draws[[all((truth[rows] == k).any() for k in rare) for rows in draws]]
    scores = {
        name: np.array([np.mean([f1_of(truth[rows], guess[rows], rare) for guess in some]) for rows in draws])
        for name, some in said.items()
    }
    ways = [
        Way(
            name, float(np.mean([f1_of(truth, guess, rare) for guess in some])),
            *(float(v) for v in np.quantile(scores[name], [0.025, 0.975])),
            float(np.mean([(guess == truth).mean() for guess in some])),
        )
        for name, some in said.items()
    ]  # fmt: skip
    low, high = np.quantile(scores["balanced"] - scores["real"], [0.025, 0.975])
    done = Balanced([names[k] for k in rare], classes, ways, ways[2].f1 - ways[0].f1, float(low), float(high), files)
    told = asdict(done) | {
        "files": [str(path.relative_to(folder)) for path in files],
        "run": run.path.name,
        "seed": seed,
    }
    write_atomically(folder / "balance.json", json.dumps(told, indent=1))
    return done


def _known(batch: Batch) -> Batch:
    """The rows whose class is known."""
    assert batch.cond is not None
    return batch.take(batch.cond >= 0)


def _fill(run: Run, name: Any, wanted: int, train: Batch, held: Batch, seed: int) -> tuple[Pieces, tuple[int, int]]:
    """``wanted`` pieces of a class that are no copies, and how many were copies of training and of test pieces."""
    kept: list[Pieces] = []
    copies, got, tried = [0, 0], 0, 0
    while got < wanted and tried < _TRIES * wanted:
        some = run.sample(wanted - got, seed=seed + tried, cond=name)
        tried += len(some)
        bad = [_copies(run, some.x, real, train) for real in (train, held)]
        copies = [before + int(now.sum()) for before, now in zip(copies, bad, strict=True)]
        good = (~(bad[0] | bad[1])).nonzero()[:, 0].tolist()
        kept.append(Pieces(run, [some.items[i] for i in good], [some.seeds[i] for i in good], some.x[good]))
        got += len(good)
    x = torch.cat([p.x for p in kept]) if kept else train.x[:0]
    whole = Pieces(run, [i for p in kept for i in p.items], [s for p in kept for s in p.seeds], x)
    return whole, (copies[0], copies[1])


def _copies(run: Run, x: Tensor, real: Batch, train: Batch) -> Tensor:
    case = Case(run.codec.medium, run.spec, real, train, x, decode=run.codec.decode)
    return copied(case, "samples")


def _write(run: Run, made: Sequence[Pieces], folder: Path, names: Sequence[str]) -> list[Path]:
    """A folder for each class of pictures, as ``bottega train`` reads them; one table of all rows."""
    if run.codec.medium == "image":
        return [path for pieces, name in zip(made, names, strict=True) for path in pieces.save(folder / name)]
    if not made:
        return []
    items = [item for pieces in made for item in pieces.items]
    seeds = [seed for pieces in made for seed in pieces.seeds]
    return Pieces(run, items, seeds, torch.cat([p.x for p in made])).save(folder)


# ---- the classifiers -----------------------------------------------------------------------------------------------------


def _pictures(run: Run, learn: Batch, held: Batch, weigh: bool, seed: int) -> NDArray[np.int64]:
    """What a small convolutional network says of each held-out picture, ``(N,)``."""
    assert run.spec.cond is not None
    assert learn.cond is not None
    classes, x, y = run.spec.cond.vocab, run.spec.as_real(learn.x), learn.cond
    weight = len(y) / (y.bincount(minlength=classes).clamp_min(1) * classes) if weigh else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ConvNet(run.spec.shape, classes, dropout=0.3)

    def loss(rng: Rng) -> Tensor:
        rows = rng.integers(len(x), 64)
        return F.cross_entropy(net(x[rows], rng), y[rows], weight)

    fit(net, loss, Rng(seed), steps_for(len(x), run.spec.shape, 64, epochs=20))
    with torch.no_grad():
        return torch.cat([net(part).argmax(1) for part in run.spec.as_real(held.x).split(512)]).numpy()


def _rows(run: Run, learn: Batch, held: Batch, weigh: bool, seed: int) -> NDArray[np.int64]:
    """What boosted trees say of each held-out row, ``(N,)``."""
    known, asked = ([item.value for item in run.codec.decode(b.x, b.cond)] for b in (learn, held))
    column: str = run.codec.cond  # type: ignore[attr-defined]
    said = predict(Features.of(known, asked), known, asked, column, seed, balanced=weigh)
    return run.codec.encode_cond(said.tolist()).numpy()
