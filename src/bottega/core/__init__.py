"""The contract: what a batch, a loss, a turn, a family and a codec are.

Imports torch and nothing of ours; everything else in the house imports this room.
"""

from bottega.core.batch import Batch
from bottega.core.contract import Codec, Edits, Encodes, Family, Item, Scores, Source, Streams, has
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
from bottega.core.measure import Measure, mean_interval
from bottega.core.registry import lookup, names
from bottega.core.rng import Rng
from bottega.core.spec import Block, Spec
from bottega.core.terms import Terms
from bottega.core.turn import Turn

__all__ = [
    "Batch",
    "Block",
    "BottegaError",
    "CheckpointError",
    "Codec",
    "DataError",
    "DivergedError",
    "Edits",
    "Encodes",
    "Family",
    "Item",
    "Measure",
    "OutputError",
    "RecipeError",
    "Rng",
    "Scores",
    "Source",
    "Spec",
    "SpecError",
    "Streams",
    "Terms",
    "Turn",
    "has",
    "lookup",
    "mean_interval",
    "names",
    "nearest",
]
