"""Pieces between two pieces, and pieces with more of something: ways through the codes of a model of music."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bottega.core import BottegaError, DataError, Item, RecipeError, Rng, nearest
from bottega.core.score import Score
from bottega.crafts._rows import codes_of, decoded, need_codes
from bottega.crafts.compose import Made, differ
from bottega.workshop.build import find_data
from bottega.workshop.run import Run
from bottega.workshop.training import divide

__all__ = ["ATTRIBUTES", "Way", "attribute", "blend", "direction", "move"]

MOST = 2000  # training pieces that a direction is found from


def _steps(score: Score) -> list[int]:
    """Semitones from note to note of the highest line."""
    lines = [line for line in score.lines() if line]
    high = max(lines, key=lambda line: sum(n.pitch for n in line) / len(line), default=[])
    return [abs(b.pitch - a.pitch) for a, b in zip(high, high[1:], strict=False)]


ATTRIBUTES: dict[str, Callable[[Score], float]] = {
    "density": lambda s: s.density,
    "height": lambda s: sum(n.pitch * n.duration for n in s.notes) / max(1, sum(n.duration for n in s.notes)),
    "leaps": lambda s: sum(_steps(s)) / max(1, len(_steps(s))),
}
"""What pieces may have more of: notes a quarter, mean pitch (MIDI number, weighed by time), semitones a step of the highest line."""


@dataclass(frozen=True)
class Way:
    """Pieces on a way through the codes.

    Attributes:
        pieces: in order; of a blend from the first piece to the last, of a move from the least to the most.
        at: where each stands: shares of the way, or how many spreads (standard deviations of all codes along the direction).
        attribute: ``density``, ``height`` or ``leaps`` of each piece, ``{}`` of the names that were asked for.
        kept: of the given pieces, the share of moments whose pitch classes come back from their codes.
    """

    pieces: list[Made]
    at: list[float]
    attribute: dict[str, list[float]]
    kept: list[float]


def attribute(name: str) -> Callable[[Score], float]:
    """What is measured of a score; raises RecipeError with the nearest name where there is none."""
    if name not in ATTRIBUTES:
        raise RecipeError(f"no attribute called {name!r}{nearest(name, ATTRIBUTES)}")
    return ATTRIBUTES[name]


def blend(run: Run, first: Score, last: Score, *, n: int = 5) -> Way:
    """Pieces that lie between two: codes on the arc from one to the other (spherical, White 2016, arXiv:1609.04468), decoded.

    Args:
        run: of music with codes of real numbers (``musicvae``).
        first: where the way begins; of a piece longer than a row the beginning.
        last: where it ends.
        n: how many pieces, the two ends' own decodings among them.

    Raises:
        BottegaError: the run has no such codes.
        DataError: a piece that the codec cannot code.
        RecipeError: fewer than two pieces.
    """
    if n < 2:
        raise RecipeError(f"n is {n}; a way has two ends at least")
    z = _codes(run, [first, last])
    at = torch.linspace(0, 1, n)
    return _way(
        run,
        torch.stack([_arc(z[0], z[1], t.item()) for t in at]),
        at.tolist(),
        list(ATTRIBUTES),
        [first, last],
        [0, n - 1],
    )


def direction(run: Run, name: str) -> tuple[Tensor, float]:
    """The unit vector in the codes along which an attribute grows, and the spread of training pieces along it.

    The mean code of the quarter of the training pieces that have most of it, less that of the quarter that have least (an
    attribute vector, Roberts et al. 2018, arXiv:1803.05428, section 5.4).

    Raises:
        BottegaError, DataError, RecipeError: no codes; the training data is gone or has too few pieces; no such attribute.
    """
    measure = attribute(name)
    need_codes(run)
    items = divide(run.recipe, find_data(run.recipe, run.header["data_argument"] or None, run.codec)).train
    some = [items[i] for i in Rng(0).permutation(len(items))[:MOST].tolist()]
    batch = run.codec.encode(some)
    scores = [item.value for item in run.codec.decode(batch.x)]  # what the codes can say, row by row
    if len(scores) < 8:
        raise DataError(f"{run.path} was trained on {len(scores)} pieces; a direction takes 8 at least")
    values, z = torch.tensor([measure(s) for s in scores]), codes_of(run, batch).flatten(1)
    order, quarter = values.argsort(), len(scores) // 4
    apart = z[order[-quarter:]].mean(0) - z[order[:quarter]].mean(0)
    size = apart.norm()
    if not size > 0:
        raise DataError(f"all training pieces of {run.path} have the same {name}; there is no direction to it")
    unit = apart / size
    return unit, (z @ unit).std().item()


def move(
    run: Run, piece: Score, name: str, *, n: int = 5, most: float = 2.0, along: tuple[Tensor, float] | None = None
) -> Way:
    """The piece with less and more of an attribute: its code moved along ``direction`` by up to ``most`` spreads either way.

    Args:
        run: of music with codes of real numbers.
        piece: what is moved.
        name: of the attribute.
        n: how many pieces.
        most: how far, in spreads of the training pieces.
        along: what ``direction`` found, for those who move many pieces; by default it is looked for, in the training data.

    Raises:
        BottegaError, DataError, RecipeError: as ``direction`` and ``blend``.
    """
    if n < 2:
        raise RecipeError(f"n is {n}; a way has two ends at least")
    if not most > 0:
        raise RecipeError(f"most is {most}; a way has a length above 0")
    unit, spread = direction(run, name) if along is None else along
    z = _codes(run, [piece])
    at = torch.linspace(-most, most, n)
    moved = z + at[:, None] * spread * unit
    return _way(run, moved, at.tolist(), [name], [piece], [], z)


def _codes(run: Run, scores: Sequence[Score]) -> Tensor:
    """``(N, latent)``, of each piece the first row."""
    if run.codec.medium != "music":
        raise BottegaError(f"{run.recipe.name} models {run.codec.medium}, not music; use a run of music with codes")
    need_codes(run)
    codec: Any = run.codec
    which = ["the piece"] if len(scores) == 1 else ["the first piece", "the last piece"]
    if codec.kind == "voices":
        for score, name in zip(scores, which, strict=True):
            try:
                codec.lines(score)
            except DataError as error:
                lines = score.voices()
                has = (
                    "a part with chords of several sizes"
                    if lines is None
                    else f"{len(lines)} voice" + "s" * (len(lines) != 1)
                )
                raise DataError(
                    f"{name} has {has}, and {run.recipe.name} takes {codec.voices} single voices; give a piece of {codec.voices}"
                ) from error
    items = [Item(s, name=name) for s, name in zip(scores, which, strict=True)]
    return torch.cat([codes_of(run, run.codec.encode([item])).flatten(1)[:1] for item in items])


def _arc(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Between two codes along a great circle, its radius changing evenly."""
    one, two = a.norm(), b.norm()
    cosine = (a @ b / (one * two).clamp_min(1e-9)).clamp(-1, 1)
    angle = torch.acos(cosine)
    if angle < 1e-4 or angle > math.pi - 1e-4:
        return torch.lerp(a, b, t)
    unit = (torch.sin((1 - t) * angle) * a / one + torch.sin(t * angle) * b / two) / torch.sin(angle)
    out: Tensor = unit * torch.lerp(one, two, t)
    return out


def _way(
    run: Run, z: Tensor, at: list[float], names: Sequence[str], given: Sequence[Score], ends: Sequence[int],
    own: Tensor | None = None,
) -> Way:  # fmt: skip
    """The pieces of codes; how near the ``given`` ones come back, as the pieces ``ends`` or by codes of their ``own``."""
    rows = decoded(run, z.unflatten(1, run.model.latent.shape))  # type: ignore[operator,union-attr]
    scores = [item.value for item in run.codec.decode(rows)]
    again = [scores[k] for k in ends]
    if own is not None:
        again = [i.value for i in run.codec.decode(decoded(run, own.unflatten(1, run.model.latent.shape)))]  # type: ignore[operator,union-attr]
    heard = [run.codec.decode(run.codec.encode([Item(s, name="the piece")]).x[:1])[0].value for s in given]
    kept = [1 - differ(a, b) for a, b in zip(heard, again, strict=True)]
    pieces = [Made(s, 0, math.nan, [], (0, s.length)) for s in scores]
    return Way(pieces, at, {name: [attribute(name)(s) for s in scores] for name in names}, kept)
