"""Pieces between two pieces, and pieces with more of something: ways through the codes of a model of music."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
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

__all__ = ["ATTRIBUTES", "Known", "Way", "attribute", "blend", "direction", "move", "survey"]

MOST = 2000  # training pieces that directions are found from
NEAR = 300  # of those, as many as are near


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
        at: where each stands: shares of the way, or how many spreads (standard deviations of all codes along its direction).
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
        _rows(run, torch.stack([_arc(z[0], z[1], t.item()) for t in at])),
        at.tolist(),
        list(ATTRIBUTES),
        [first, last],
        [0, n - 1],
    )


@dataclass(frozen=True)
class Known:
    """What training pieces have of an attribute.

    Attributes:
        codes: ``(N, latent)``.
        values: ``(N,)``, of the pieces as the codec says them.
    """

    codes: Tensor
    values: Tensor


def survey(run: Run, name: str) -> Known:
    """Codes of the training pieces, and what each has of an attribute.

    Raises:
        BottegaError, DataError, RecipeError: no codes; the training data is gone, has too few pieces, or all have as much; no
            such attribute.
    """
    measure = attribute(name)
    need_codes(run)
    items = divide(run.recipe, find_data(run.recipe, run.header["data_argument"] or None, run.codec)).train
    some = [items[i] for i in Rng(0).permutation(len(items))[:MOST].tolist()]
    batch = run.codec.encode(some)
    scores = [item.value for item in run.codec.decode(batch.x)]  # what the codes can say, row by row
    if len(scores) < 8:
        raise DataError(f"{run.path} was trained on {len(scores)} pieces; a direction takes 8 at least")
    known = Known(codes_of(run, batch).flatten(1), torch.tensor([measure(s) for s in scores], dtype=torch.float32))
    if known.values.min() == known.values.max():
        raise DataError(f"all training pieces of {run.path} have the same {name}; there is no direction to it")
    return known


def direction(known: Known, z: Tensor | None = None) -> tuple[Tensor, float]:
    """The unit vector in the codes along which an attribute grows, and the spread of training pieces along it.

    The mean code of the quarter of the pieces that have most of it, less that of the quarter that have least, and in both
    all that have as much as its last (an attribute vector, Roberts et al. 2018, arXiv:1803.05428, section 5.4).

    Args:
        known: of ``survey``.
        z: a code, ``(latent,)``: only the pieces nearest to it count, ``NEAR`` or as many more as it takes for two to differ.

    Raises:
        DataError: the codes of pieces that have much and little are the same.
    """
    codes, values = known.codes, known.values
    if z is not None:
        near, some = (codes - z).square().sum(1).argsort(), NEAR
        while some < len(values) and values[near[:some]].min() == values[near[:some]].max():
            some *= 2
        codes, values = codes[near[:some]], values[near[:some]]
    low, high = values.quantile(torch.tensor([0.25, 0.75]), interpolation="nearest")
    apart = codes[values >= high].mean(0) - codes[values <= low].mean(0)
    size = apart.norm()
    if not size > 0:
        raise DataError(
            "pieces that have much and pieces that have little have the same codes; train the run for longer"
        )
    unit = apart / size
    return unit, (known.codes @ unit).std().item()


def move(
    run: Run, piece: Score, name: str, *, n: int = 5, most: float = 2.0, tries: int = 9, known: Known | None = None
) -> Way:
    """The piece with less and more of an attribute: its code moved by up to ``most`` spreads either way.

    There are two ways: along the direction that the nearest training pieces show, and along that of all. About each of ``n``
    even steps, ``tries`` codes of either way are decoded and measured, and one a step is taken: so that the attribute falls
    as seldom as can be, stands still as seldom as can be, and the steps are as even as can be, in this order. A step that
    falls nevertheless stays where the one before it is, seen from the middle. So an attribute never goes the wrong way, but
    may not move, and that it does not is chosen from what was heard. An odd ``n`` has the piece itself in the middle.

    Args:
        run: of music with codes of real numbers.
        piece: what is moved.
        name: of the attribute.
        n: how many pieces.
        most: how far, in spreads of the training pieces.
        tries: codes about each step; 1 chooses nothing and goes in even steps along the direction of the nearest.
        known: what ``survey`` found, for those who move many pieces; by default it is looked for, in the training data.

    Raises:
        BottegaError, DataError, RecipeError: as ``survey``, ``direction`` and ``blend``.
    """
    if n < 2:
        raise RecipeError(f"n is {n}; a way has two ends at least")
    if not most > 0:
        raise RecipeError(f"most is {most}; a way has a length above 0")
    if tries < 1:
        raise RecipeError(f"tries is {tries}; a step takes one code at least")
    measure = attribute(name)
    known = survey(run, name) if known is None else known
    z = _codes(run, [piece])[0]
    even = torch.linspace(-most, most, n)
    off = (torch.arange(tries) - (tries - 1) / 2) / (tries + 1)  # shares of a step, -0.5 to 0.5
    at = (even[:, None] + off * 2 * most / (n - 1)).masked_fill(even[:, None] == 0, 0.0)
    ways = [direction(known, z)] + [direction(known)] * (tries > 1)
    codes = torch.cat([z + at[..., None] * spread * unit for unit, spread in ways], 1)  # (n, candidates, latent)
    rows = _rows(run, codes.flatten(0, 1))
    stands, best = list(range(n)), [0] * n
    if tries > 1:
        values = torch.tensor([measure(item.value) for item in run.codec.decode(rows)], dtype=torch.float64).view(n, -1)
        best = _rising(values, off.abs().repeat(len(ways)))
        stands = _staying(values[range(n), best].tolist())
    rows, at = rows.unflatten(0, codes.shape[:2])[range(n), best], at.repeat(1, len(ways))[range(n), best]
    return _way(run, rows[stands], at[stands].tolist(), [name], [piece], [], z[None])


def _rising(values: Tensor, off: Tensor) -> list[int]:
    """Of each row of ``(n, m)`` values one: with the fewest falls, then the fewest rows as high as the one before, then the least ``off``.

    ``off`` is ``(m,)``, at most 0.5 each.
    """
    n = len(values)
    cost = off / n  # less than 1 altogether
    before: list[Tensor] = []
    for low, high in pairwise(values):
        rise = high - low[:, None]
        step = torch.where(rise > 0, 0.0, torch.where(rise == 0, 1.0, float(n)))
        cost, back = (cost[:, None] + step).min(0)
        cost = cost + off / n
        before.append(back)
    best = [int(cost.argmin())]
    for back in reversed(before):
        best.append(int(back[best[-1]]))
    return best[::-1]


def _staying(values: Sequence[float]) -> list[int]:
    """Which of the values each step has: its own, or that of the step before, seen from the middle, where its own goes the wrong way."""
    stands, middle = list(range(len(values))), len(values) // 2
    for k in range(middle + 1, len(values)):
        if values[k] < values[stands[k - 1]]:
            stands[k] = stands[k - 1]
    for k in reversed(range(middle)):
        if values[k] > values[stands[k + 1]]:
            stands[k] = stands[k + 1]
    return stands


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


def _rows(run: Run, z: Tensor) -> Tensor:
    """``(N, latent) -> (N, L)``."""
    return decoded(run, z.unflatten(1, run.model.latent.shape))  # type: ignore[operator,union-attr]


def _way(
    run: Run, rows: Tensor, at: list[float], names: Sequence[str], given: Sequence[Score], ends: Sequence[int],
    own: Tensor | None = None,
) -> Way:  # fmt: skip
    """The pieces of rows; how near the ``given`` ones come back, as the pieces ``ends`` or by codes of their ``own``."""
    scores = [item.value for item in run.codec.decode(rows)]
    again = [scores[k] for k in ends]
    if own is not None:
        again = [i.value for i in run.codec.decode(_rows(run, own))]
    heard = [run.codec.decode(run.codec.encode([Item(s, name="the piece")]).x[:1])[0].value for s in given]
    kept = [1 - differ(a, b) for a, b in zip(heard, again, strict=True)]
    pieces = [Made(s, 0, math.nan, [], (0, s.length)) for s in scores]
    return Way(pieces, at, {name: [attribute(name)(s) for s in scores] for name in names}, kept)
