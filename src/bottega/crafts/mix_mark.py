"""The mark of what the desk makes: a synthesis is machine-made throughout, a treatment says that software chose it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bottega.trust.mark import mark, read

__all__ = ["ALGORITHMIC", "TREATED", "desk_mark"]

TREATED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
"""IPTC's Digital Source Type of media that an algorithm altered."""
ALGORITHMIC = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"
"""IPTC's Digital Source Type of media made by an algorithm that learned from no media."""


def desk_mark(task: str, sources: Sequence[Path] = (), seed: int = 0, weights: str = "") -> dict[str, str]:
    """The mark of what a task of the desk made.

    Args:
        task: its name, ``master`` say.
        sources: what it was made of. Where one carries a mark of a model, its weights and its source type go on.
        seed: of a synthesis.
        weights: the hash of a model that had a part in it; the weights of a source come first.
    """
    said = mark(weights, seed, recipe=f"mix {task}") | {"digital_source_type": TREATED if sources else ALGORITHMIC}
    for before in (read(path) for path in sources if path.is_file()):
        if before.get("weights"):
            return said | {key: before[key] for key in ("weights", "seed", "digital_source_type") if key in before}
    return said
