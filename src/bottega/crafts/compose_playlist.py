"""Playlists by taste: pieces ranked for a listener from what listeners played, and new pieces near that taste."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError, Item, RecipeError
from bottega.core.score import Score, estimate_key

__all__ = ["Ranker", "World", "features", "made_listeners", "ndcg", "near_taste", "popularity", "read_plays"]


def read_plays(path: Path) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Listeners, pieces and how often each played each, ``(listeners, pieces)``, of a CSV ``listener,piece[,plays]``.

    Raises:
        DataError: no such columns, or a number that is none.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}); give columns listener,piece,plays") from error
    if not rows or not {"listener", "piece"} <= set(rows[0]):
        raise DataError(f"{path} has no columns listener and piece; give listener,piece,plays")
    counts: dict[tuple[str, str], float] = defaultdict(float)
    for number, row in enumerate(rows, 2):
        try:
            plays = float(row.get("plays") or 1)
        except ValueError:
            plays = -1.0
        if not 0 <= plays < 1e9 or not row["listener"] or not row["piece"]:
            raise DataError(f"{path}, line {number}: {row.get('plays')!r} is no number of plays, or a name is missing")
        counts[row["listener"], row["piece"]] += plays
    who, what = sorted({a for a, _ in counts}), sorted({b for _, b in counts})
    at, place = {n: k for k, n in enumerate(who)}, {n: k for k, n in enumerate(what)}
    out = np.zeros((len(who), len(what)))
    for (a, b), plays in counts.items():
        out[at[a], place[b]] = plays
    return who, what, out


class Ranker:
    """Weighted matrix factorisation of plays (Hu, Koren & Volinsky 2008, "Collaborative filtering for implicit feedback").

    A play is a preference of 1 held with confidence ``1 + alpha ln(1 + plays)``, no play one of 0 held with 1; vectors of
    listeners and pieces are found by alternating least squares.

    Args:
        plays: ``(listeners, pieces)``, at least 0.
        factors: length of the vectors.
        alpha: how much a play counts.
        weight: of the squared vectors.
        rounds: of alternation.
        seed: of the first vectors.
    """

    def __init__(
        self, plays: NDArray[np.float64], *, factors: int = 12, alpha: float = 10.0, weight: float = 1.0,
        rounds: int = 12, seed: int = 0,
    ) -> None:  # fmt: skip
        if plays.ndim != 2 or min(plays.shape) < 2 or not (plays >= 0).all() or factors < 1 or rounds < 1:
            raise RecipeError(f"plays of shape {plays.shape}: at least two listeners and two pieces, none below 0")
        self.plays = plays
        chance = np.random.default_rng(seed)
        self.listeners = chance.normal(0, 0.1, (plays.shape[0], factors))
        self.pieces = chance.normal(0, 0.1, (plays.shape[1], factors))
        more = alpha * np.log1p(plays)
        for _ in range(rounds):
            self.listeners = _solved(self.pieces, more, weight)
            self.pieces = _solved(self.listeners, more.T, weight)
        self.listeners = _solved(self.pieces, more, weight)

    def rank(self, listener: int, *, unheard: bool = True) -> list[int]:
        """Pieces, the best first; without those that the listener knows."""
        scores = self.pieces @ self.listeners[listener]
        if unheard:
            scores = np.where(self.plays[listener] > 0, -np.inf, scores)
        order = np.argsort(-scores, kind="stable")
        return [int(k) for k in order if np.isfinite(scores[k])]


def _solved(other: NDArray[np.float64], more: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Of each row of ``more`` the vector of least squares: (Y'CY + wI) x = Y'Cp."""
    whole = other.T @ other + weight * np.eye(other.shape[1])
    out = np.zeros((len(more), other.shape[1]))
    for i, row in enumerate(more):
        some = np.flatnonzero(row)
        y = other[some]
        out[i] = np.linalg.solve(whole + (y.T * row[some]) @ y, y.T @ (1 + row[some]))
    return out


def popularity(plays: NDArray[np.float64], listener: int) -> list[int]:
    """Unheard pieces by how many listeners played them, the most first."""
    heard = (plays > 0).sum(0).astype(float)
    order = np.argsort(-np.where(plays[listener] > 0, -np.inf, heard), kind="stable")
    return [int(k) for k in order if not plays[listener, k]]


def ndcg(ranked: Sequence[int], relevant: set[int], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first ``k`` (Järvelin & Kekäläinen 2002), gains of 0 or 1.

    >>> ndcg([3, 1, 2], {3}), round(ndcg([1, 3, 2], {3}), 3)
    (1.0, 0.631)
    """
    gain = sum(1 / np.log2(i + 2) for i, piece in enumerate(ranked[:k]) if piece in relevant)
    best = sum(1 / np.log2(i + 2) for i in range(min(k, len(relevant))))
    return float(gain / best) if best else 0.0


@dataclass(frozen=True)
class World:
    """Listeners whose taste is known: what they played, and what they would play next."""

    plays: NDArray[np.float64]
    later: list[set[int]]
    tastes: NDArray[np.float64]
    pieces: NDArray[np.float64]


def made_listeners(listeners: int = 200, pieces: int = 300, tastes: int = 4, seed: int = 0) -> World:
    """A made world: a listener plays pieces in proportion to their fame times the exponential of taste times kind.

    Args:
        listeners: how many.
        pieces: how many.
        tastes: dimensions of taste.
        seed: of all draws.
    """
    chance = np.random.default_rng(seed)
    who, what = chance.normal(size=(listeners, tastes)), chance.normal(size=(pieces, tastes))
    fame = chance.normal(0, 0.7, pieces)
    plays, later = np.zeros((listeners, pieces)), []
    for i in range(listeners):
        weight = fame + what @ who[i]
        order = np.argsort(-(weight + chance.gumbel(size=pieces)))  # draws without putting back
        heard = order[:30]
        plays[i, heard[:20]] = 1 + chance.poisson(2.0, 20)
        later.append(set(heard[20:].tolist()))
    return World(plays, later, who, what)


def features(score: Score) -> NDArray[np.float64]:
    """What a piece is like, ``(9,)``: mode, tempo, density, height, width, loudness, share of leaps, voices, length of notes."""
    if not score.notes:
        raise DataError("a piece without notes is like nothing; leave it out")
    notes = score.notes
    pitches = np.array([n.pitch for n in notes], float)
    longs = np.array([n.duration for n in notes], float) / score.ticks
    steps = np.abs(
        np.concatenate([np.diff([n.pitch for n in line]) for line in score.lines() if len(line) > 1] or [np.zeros(1)])
    )
    return np.array([
        1.0 if estimate_key(score).mode == "major" else 0.0,
        np.log2(60e6 / score.tempos[0][1] / 100),
        np.log2(1e-3 + score.density),
        pitches.mean() / 12, pitches.std() / 12, np.mean([n.velocity for n in notes]) / 32,
        (steps > 2).mean(), longs.sum() * score.ticks / max(1, score.length) / 2, np.log2(longs.mean()),
    ])  # fmt: skip


def near_taste(
    known: Sequence[Item], liked: Sequence[float], new: Sequence[Item]
) -> tuple[int, float, NDArray[np.float64]]:
    """Which new piece lies nearest to a taste: the middle of known pieces, as they are liked, in units of their spread.

    A spread counts for a twentieth of what a feature usually spans at least, so that one in which all agree does not decide
    alone.

    Args:
        known: pieces that were heard.
        liked: how much, for each; at least one above 0.
        new: candidates, such as a model's.

    Returns:
        Its number, the share of known pieces that lie further away, and the distance of each candidate.

    Raises:
        DataError: nothing liked, or no candidates.
    """
    like = np.asarray(liked, float)
    if not new or not len(known) or not like.sum() > 0:
        raise DataError("a taste needs at least one piece that is liked, and at least one new piece; give both")
    seen, fresh = np.stack([features(i.value) for i in known]), np.stack([features(i.value) for i in new])
    scale = np.maximum(seen.std(0), 0.05)
    centre = (seen * like[:, None]).sum(0) / like.sum()
    away = np.linalg.norm((fresh - centre) / scale, axis=1)
    best = int(away.argmin())
    return best, float((np.linalg.norm((seen - centre) / scale, axis=1) > away[best]).mean()), away
