"""Parallel fifths and octaves, and the other faults of voice leading, beside those of real pieces."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bottega.core import Measure
from bottega.core.score import Score
from bottega.core.voicing import faults, moments, parallels
from bottega.judge._case import Case
from bottega.judge._music import pieces
from bottega.judge._statistics import ratio_interval

__all__ = ["measure"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("music",)


def _counts(scores: Sequence[Score]) -> list[tuple[int, int, int, int]]:
    """Of each piece of several single lines: parallels, moves of two voices, crossings, moments."""
    out = []
    for score in scores:
        lines = score.voices()
        if lines is None or len(lines) < 2:
            continue
        found = moments(lines)
        parallel, moves = parallels(found)
        crossing = len({f.tick for f in faults(lines) if f.rule == "crossing"})
        out.append((len(parallel), moves, crossing, len(found)))
    return [row for row in out if row[1]]


def measure(case: Case) -> list[Measure]:
    """``parallels_per_100_moves`` of two voices, and ``crossings_per_100_chords``; ceilings are those of held-out pieces.

    A move is two voices that go on to other pitches at the same time; it is parallel where both intervals are fifths, or
    both octaves (unisons). Pieces of which a part plays two notes at once have no lines and are left out.
    """
    made, held = _counts(pieces(case, "samples")), _counts(pieces(case, "held"))
    if not made or not held:
        return []
    out = []
    for name, top, bottom, what in (
        ("parallels_per_100_moves", 0, 1, "parallel fifths and octaves in 100 moves of two voices"),
        ("crossings_per_100_chords", 2, 3, "chords of 100 in which a voice lies above a higher one"),
    ):
        value, low, high = ratio_interval(
            torch.tensor([100.0 * row[top] for row in made]), torch.tensor([float(row[bottom]) for row in made])
        )
        best = 100 * sum(row[top] for row in held) / sum(row[bottom] for row in held)
        out.append(
            Measure(
                name, value, max(0.0, low), high, n=len(made), seed=case.seed, better="lower", ceiling=best, note=what
            )
        )
    return out
