"""Recordings that clip are looked for before something is learned from them."""

from __future__ import annotations

from collections.abc import Sequence

from bottega.core import Item, Sound
from bottega.nets.clipping import CLIPPED, clipping_percent

__all__ = ["clipped_note"]


def clipped_note(items: Sequence[Item]) -> str:
    """How many of the recordings clip, and which is the first; empty where none does."""
    names = [
        item.name or "one without a name"
        for item in items
        if isinstance(item.value, Sound) and clipping_percent(item.value) > CLIPPED
    ]
    if not names:
        return ""
    return (
        f"{len(names)} of {len(items)} recordings clip (flat tops), the first: {names[0]}; what is learned clips, too: "
        "record them anew with less gain, or leave them out"
    )
