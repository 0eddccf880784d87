"""Recordings that were cut off at a level, which stand in flat tops: looked for before something is learned from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bottega.core import Item, Sound

__all__ = ["clipped_note", "flat_tops"]

_MUCH = 0.0005  # share of samples from which on a recording counts as clipped, as in ``bottega mix repair``
_QUIET = 0.1  # a channel that peaks below this has no tops to speak of


def flat_tops(sound: Sound) -> float:
    """Share of samples, 0 to 1, that stand with both neighbours at their channel's peak (within 0.01 %); of the worst channel."""
    worst = 0.0
    for x in np.abs(sound.samples):
        if len(x) < 3 or not x.max() > _QUIET:
            continue
        top = x >= 0.9999 * x.max()
        worst = max(worst, float((top[:-2] & top[1:-1] & top[2:]).mean()))
    return worst


def clipped_note(items: Sequence[Item]) -> str:
    """How many of the recordings clip, and which is the first; empty where none does."""
    names = [
        item.name or "one without a name"
        for item in items
        if isinstance(item.value, Sound) and flat_tops(item.value) > _MUCH
    ]
    if not names:
        return ""
    return (
        f"{len(names)} of {len(items)} recordings clip (flat tops), the first: {names[0]}; what is learned clips, too: "
        "record with less gain, or mend them with bottega mix repair"
    )
