"""The demo of music: a model of chorales trained here, a chorale that it never saw gone on with, and its melody set anew."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bottega.core import Item
from bottega.core.score import Score
from bottega.core.voicing import moments, parallels
from bottega.crafts.compose import Made, continue_, harmonise, save, save_given
from bottega.workshop.build import find_data
from bottega.workshop.run import Run, Tell, train
from bottega.workshop.training import divide

__all__ = ["Heard", "corpus", "demo"]

BARS_GIVEN, BARS_MADE = 4, 6
ACCIDENTALS = 0.25


@dataclass(frozen=True)
class Heard:
    """What the demo made.

    Attributes:
        run: the model.
        name: of the chorale.
        continued, harmonised: the pieces.
        files: all that were written.
        corpus: ``in_key`` and ``parallels_per_100_moves`` of the training chorales.
        seconds: of training, loading of data included, and of writing.
    """

    run: Run
    name: str
    continued: Made
    harmonised: list[Made]
    files: list[Path]
    corpus: dict[str, float]
    seconds: tuple[float, float]


def corpus(items: list[Item]) -> dict[str, float]:
    """``in_key``, the mean over pieces of the share of sounding time in the key, and ``parallels_per_100_moves``."""
    found, moves, shares = 0, 0, []
    for item in items:
        score: Score = item.value
        shares.append(score.in_key())
        faults, moved = parallels(moments(score.voices() or []))
        found, moves = found + len(faults), moves + moved
    return {"in_key": sum(shares) / max(1, len(shares)), "parallels_per_100_moves": 100 * found / max(1, moves)}


def demo(out: str | Path = "runs", *, seed: int = 0, device: str = "auto", tell: Tell = lambda _: None) -> Heard:
    """Train the recipe ``chorales`` at ``out/demo-chorales``, go on behind four bars of a held-out chorale, harmonise its melody.

    A second call finds the model trained.

    Args:
        out: where the run and its pieces go.
        seed: of what is written; the model's is the recipe's.
        device: as of ``train``.
        tell: told how far it is.

    Raises:
        BottegaError: the data are missing (extra ``music``), or ``out`` cannot be written.
    """
    began = time.monotonic()
    run = train("chorales", out=Path(out) / "demo-chorales", device=device, judge=False, progress=tell)
    trained = time.monotonic() - began
    parts = divide(run.recipe, find_data(run.recipe, None, run.codec))
    # one in common time whose melody a soprano can sing, the same every time
    fitting = [
        i for i in parts.held
        if all(m[2] == 4 for m in i.value.metres) and 8 <= len(i.value.bars()) <= 16 and min(n.pitch for n in i.value.voices()[0]) >= 60
    ]  # fmt: skip
    chosen = (fitting or list(parts.held))[seed % len(fitting or parts.held)]
    score: Score = chosen.value
    began = time.monotonic()
    (continued,) = continue_(
        run, score, bars=BARS_MADE, keep_bars=BARS_GIVEN, accidentals=ACCIDENTALS, seed=seed, tell=tell
    )
    tune = score.with_notes([n._replace(part=0) for n in score.voices()[0]], parts=score.parts[:1])  # type: ignore[index]
    harmonised = harmonise(run, tune, n=2, accidentals=ACCIDENTALS, seed=seed, tell=tell)
    folder = run.path / "pieces"
    files = save(run, continued, folder / f"{chosen.name}-continued")
    for number, one in enumerate(harmonised, 1):
        files += save(run, one, folder / f"{chosen.name}-harmonised-{number}")
    files += save_given(tune, folder / f"{chosen.name}-melody.mid")
    return Heard(
        run, chosen.name, continued, harmonised, files, corpus(list(parts.train)), (trained, time.monotonic() - began)
    )
