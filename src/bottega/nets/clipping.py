"""How much of a sound was cut off at a level: samples in flat tops."""

from __future__ import annotations

import numpy as np

from bottega.core import Sound

__all__ = ["CLIPPED", "clipping_percent"]

CLIPPED = 0.05
"""Percent of samples in flat tops from which on a recording counts as clipped."""


def clipping_percent(sound: Sound) -> float:
    """Share of samples, %, that stand with two neighbours at one channel's largest value (within 0.01 %), of the worst channel.

    A run of them counts where the sound leaves it steeply on both sides: a top that is round lies, seen from as far outside
    as the run is long, at most 16 times as deep as within it, and as deep within it as 0.01 % and a quantum, the least step
    from sample to sample. A slow wave at a high rate, or of few bits, stands still at its top and is not clipped.
    """
    worst = 0.0
    for samples in sound.samples:
        loud = np.abs(samples)
        top = float(loud.max(initial=0.0))
        if not 0.1 < top < np.inf or len(loud) < 3:  # too quiet to have tops, or no number
            continue
        near = loud >= (1 - 2e-4) * top
        if not (near[:-2] & near[1:-1] & near[2:]).any():  # most recordings, in a fraction of the time
            continue
        x = samples.astype(np.float64)
        steps = np.abs(np.diff(x))
        within = 1e-4 * top + min(float(steps[steps > 1e-9].min(initial=1.0)), 2**-7)
        flat = np.sign(x) * (np.abs(x) >= (1 - 1e-4) * top)
        edges = np.flatnonzero(np.diff(flat, prepend=np.nan, append=np.nan))
        kept = (np.diff(edges) >= 3) & (flat[edges[:-1]] != 0)
        begin, end = edges[:-1][kept], edges[1:][kept]
        side, long = flat[begin], end - begin
        fall = np.zeros((2, len(begin)))
        for way in 2 ** np.arange(int(long.max(initial=0)).bit_length()):
            for row, at in zip(fall, (begin - np.minimum(way, long), end - 1 + np.minimum(way, long)), strict=True):
                row[:] = np.maximum(row, top - side * x[np.clip(at, 0, len(x) - 1)])
        fall[np.stack([begin == 0, end == len(x)])] = np.inf  # what was before or comes after is not known
        cut = np.isfinite(fall).any(0) & (fall.min(0) > 20 * within)
        worst = max(worst, 100 * float((long[cut] - 2).sum()) / len(x))
    return worst
