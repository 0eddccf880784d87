"""What the judges of music share: the scores of a case, histograms, and a walk of chance in the rhythm of real pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.core.score import HIGHEST, LOWEST, Note, Score, estimate_key
from bottega.judge._case import Case
from bottega.judge._features import Which

__all__ = ["MOST", "pieces", "random_walk", "variation"]

MOST = 300  # pieces that are looked at


def pieces(case: Case, which: Which) -> list[Score]:
    """The scores of training examples, held-out examples or samples that sound, at most ``MOST``."""
    name = f"scores of {which}"
    if name not in case.cache:
        x = case.samples if which == "samples" else getattr(case, which).x
        assert case.decode is not None
        found = [item.value for item in case.decode(x[:MOST].cpu())] if len(x) else []
        case.cache[name] = [score for score in found if score.notes]
    return case.cache[name]  # type: ignore[no-any-return]


def pitched(score: Score) -> list[Note]:
    """Its notes without drums."""
    drums = {i for i, p in enumerate(score.parts) if p.drums}
    return [n for n in score.notes if n.part not in drums]


def degrees(score: Score) -> NDArray[np.float64]:
    """How long each pitch class above the tonic sounds, ``(12,)``, as shares.

    The key is the one that is heard, so that pieces in other keys compare.
    """
    out, tonic = np.zeros(12), estimate_key(score).tonic
    for n in pitched(score):
        out[(n.pitch - tonic) % 12] += n.duration
    return out / max(out.sum(), 1e-12)


def intervals(score: Score) -> NDArray[np.float64]:
    """Counts of the steps of each part from its highest note to that of the next onset, ``(27,)``: -13 or less to 13 or more."""
    out = np.zeros(27)
    for line in score.lines():
        top: dict[int, int] = {}
        for n in line:
            top[n.onset] = max(n.pitch, top.get(n.onset, 0))
        heard = [top[t] for t in sorted(top)]
        for a, b in zip(heard, heard[1:], strict=False):
            out[min(26, max(0, b - a + 13))] += 1
    return out


def variation(p: Any, q: Any) -> float:
    """Total variation distance of two histograms, 0 to 1.

    >>> variation(np.array([2.0, 0.0]), np.array([1.0, 1.0]))
    0.5
    """
    p, q = np.asarray(p, float), np.asarray(q, float)
    return float(0.5 * np.abs(p / max(p.sum(), 1e-12) - q / max(q.sum(), 1e-12)).sum())


def random_walk(score: Score, rng: np.random.Generator) -> Score:
    """The piece's rhythm with pitches that walk by chance: each part by -2 to 2 semitones from note to note, from its own first."""
    at: dict[int, int] = {}
    notes = []
    for n in score.notes:
        pitch = at.get(n.part, n.pitch) + (int(rng.integers(-2, 3)) if n.part in at else 0)
        at[n.part] = min(HIGHEST, max(LOWEST, pitch))
        notes.append(n._replace(pitch=at[n.part]))
    return score.with_notes(notes, keys=())


def walks(case: Case, real: Sequence[Score]) -> list[Score]:
    """A walk in the rhythm of each of these."""
    if "walks" not in case.cache:
        chance = np.random.default_rng(case.seed)
        case.cache["walks"] = [random_walk(score, chance) for score in real]
    return case.cache["walks"]  # type: ignore[no-any-return]
