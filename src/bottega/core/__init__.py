"""The contract: what a batch, a loss, a turn, a family and a codec are.

Imports torch and nothing of ours; everything else in the house imports this room. Names are imported on first use, so
that ``bottega.core.errors`` and ``bottega.core.registry`` can be had without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bottega.core.batch import Batch
    from bottega.core.contract import (
        Attribution,
        Classifies,
        Codec,
        Edits,
        Encoded,
        Encodes,
        Explains,
        Family,
        Item,
        Represents,
        Scores,
        Source,
        Streams,
        Translates,
        has,
    )
    from bottega.core.conversation import Conversation, Message
    from bottega.core.errors import (
        BottegaError,
        CheckpointError,
        DataError,
        DivergedError,
        OutputError,
        RecipeError,
        SpecError,
        nearest,
    )
    from bottega.core.knobs import passes_on
    from bottega.core.measure import Measure, mean_interval
    from bottega.core.registry import lookup, names
    from bottega.core.rng import Rng
    from bottega.core.sound import Sound
    from bottega.core.spec import Block, Spec
    from bottega.core.terms import Terms
    from bottega.core.turn import Turn

_HOMES = {
    "batch": ("Batch",),
    "contract": (
        "Attribution",
        "Classifies",
        "Codec",
        "Edits",
        "Encoded",
        "Encodes",
        "Explains",
        "Family",
        "Item",
        "Represents",
        "Scores",
        "Source",
        "Streams",
        "Translates",
        "has",
    ),
    "conversation": ("Conversation", "Message"),
    "errors": (
        "BottegaError",
        "CheckpointError",
        "DataError",
        "DivergedError",
        "OutputError",
        "RecipeError",
        "SpecError",
        "nearest",
    ),
    "knobs": ("passes_on",),
    "measure": ("Measure", "mean_interval"),
    "registry": ("lookup", "names"),
    "rng": ("Rng",),
    "sound": ("Sound",),
    "spec": ("Block", "Spec"),
    "terms": ("Terms",),
    "turn": ("Turn",),
}

__all__ = [
    "Attribution",
    "Batch",
    "Block",
    "BottegaError",
    "CheckpointError",
    "Classifies",
    "Codec",
    "Conversation",
    "DataError",
    "DivergedError",
    "Edits",
    "Encoded",
    "Encodes",
    "Explains",
    "Family",
    "Item",
    "Measure",
    "Message",
    "OutputError",
    "RecipeError",
    "Represents",
    "Rng",
    "Scores",
    "Sound",
    "Source",
    "Spec",
    "SpecError",
    "Streams",
    "Terms",
    "Translates",
    "Turn",
    "has",
    "lookup",
    "mean_interval",
    "names",
    "nearest",
    "passes_on",
]


def __getattr__(name: str) -> Any:
    """Import ``name`` from its module on first use."""
    for home, offered in _HOMES.items():
        if name in offered:
            value = getattr(import_module(f"bottega.core.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'bottega.core' has no attribute {name!r}")
