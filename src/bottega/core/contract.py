"""Family and Codec, the two halves of the contract, and the capabilities a family may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from bottega.core.batch import Batch
from bottega.core.errors import SpecError
from bottega.core.measure import Bound
from bottega.core.rng import Rng
from bottega.core.spec import Spec
from bottega.core.terms import Terms
from bottega.core.turn import Turn


class Family(nn.Module):
    """A set of players; most families have one, and then only ``loss`` and ``sample`` to write.

    A constructor takes the Spec of the examples, then keyword arguments with defaults: they are the recipe's
    ``[family]`` table and its only documentation. One of them is the dial ``size``, from which the rest follows.

    Class attributes:
        coupled: why rows of a batch see each other in the loss (batch norm, InfoNCE); empty when they do not.
        reworks: knobs of ``edit`` that rework a whole piece, so that nothing is kept unless a mask says so.
        labelled_share: how much of what it sees in training should say its class, where few rows do: they are repeated.
        certain: whether what is given says what is made, so that nothing is drawn (a sound that is cleared of noise).
        hears: whether it has networks of sound, where it also takes what is no sound.
        aside: parts of the loss that reach nothing else (a prior of detached codes); early stopping looks past them.
        game: whether several players answer to one another, so that a training can fail by their balance and is watched.
        reads_given: whether tokens that a mask leaves out count as given: what comes behind them is said from them too. So
            answers can be learned, and questions only read.
    """

    coupled: ClassVar[str] = ""
    reworks: ClassVar[frozenset[str]] = frozenset()
    labelled_share: ClassVar[float] = 0.0
    aside: ClassVar[frozenset[str]] = frozenset()
    game: ClassVar[bool] = True
    reads_given: ClassVar[bool] = False
    certain: bool = False
    hears: ClassVar[bool] = False

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        if why := type(self).accepts(spec):
            raise SpecError(f"{type(self).__name__} cannot model {spec}: {why}")
        self.spec = spec

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Empty when this family can model such examples; otherwise why not, and what would."""
        raise NotImplementedError

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """The objective, one number per example; nats where that means anything."""
        raise NotImplementedError

    def turns(self) -> tuple[Turn, ...]:
        """Who moves, in which order, in one step."""
        return (Turn("", self.loss),)

    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, **knobs: Any) -> Tensor:
        """``n`` new examples, ``(n, *spec.shape)``; ``cond`` is ``(n, *spec.cond.shape)`` or None for unconditional."""
        raise NotImplementedError

    def settle(self, step: int) -> None:
        """The hook after every step: anneal a weight, follow a singular value, move a teacher."""

    def forget(self) -> None:
        """Drop what losses noted for ``settle`` in a step that is undone: every part that notes has a ``forget`` too."""
        for part in self.modules():
            if part is not self and (drop := getattr(part, "forget", None)) is not None:
                drop()


@runtime_checkable
class Scores(Protocol):
    """Says how likely examples are."""

    bound: Bound

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats; exact, a lower bound or an estimate, as ``bound`` says."""


@runtime_checkable
class Encodes(Protocol):
    """Has a code for each example. ``latent`` is the Spec of one code."""

    latent: Spec

    def encode(self, batch: Batch) -> Tensor:
        """``(B, *latent.shape)``; deterministic (a posterior's mean, a flow's base point, a codebook's index)."""

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, *latent.shape) -> (B, *spec.shape)``, deterministic."""


@runtime_checkable
class Represents(Protocol):
    """Turns an example into numbers that say what it is, with no way back."""

    def represent(self, batch: Batch) -> Tensor:
        """``(B, D)`` real numbers, deterministic, row by row; of labels of a text, and texts of a text, of what is given."""


@runtime_checkable
class Streams(Protocol):
    """Makes a piece part by part."""

    def stream(self, n: int, rng: Rng, cond: Tensor | None = None, **knobs: Any) -> Iterator[Tensor]:
        """Yields what is new in each part, ``(n, ...)``; together they are what ``sample`` returns."""


@runtime_checkable
class Edits(Protocol):
    """Makes the missing part of a piece: inpainting, infilling, completion, continuation."""

    def edit(self, batch: Batch, keep: Tensor, rng: Rng, **knobs: Any) -> Tensor:
        """``(B, *spec.shape)``, equal to ``batch.x`` wherever ``keep`` (bool, broadcastable to ``x``) is True."""


@runtime_checkable
class Translates(Protocol):
    """Says a piece in another class: a horse as a zebra, a photograph as a drawing."""

    def translate(self, batch: Batch, cond: Tensor, rng: Rng, **knobs: Any) -> Tensor:
        """``(B, *spec.shape)`` in the classes ``cond``; rows that ``batch.cond`` says are there already stay as they are."""


@runtime_checkable
class Classifies(Protocol):
    """Says which class an example is of."""

    def classify(self, batch: Batch) -> Tensor:
        """``(B, classes)`` log probabilities in nats; ``batch.cond`` is not looked at."""


class Attribution(NamedTuple):
    """What of a piece moved what a model says of one of its places.

    Attributes:
        parts: ``(B, n)``, how many nats each token adds: those of the text that was given (``spec.cond``), where there is
            one, then those of ``x``, flattened. Tokens that are not looked at add nothing.
        score: ``(B,)`` nats, the log probability of what stands at the place.
        base: ``(B,)`` nats, the same where nothing is known of any token. ``parts`` sum to ``score - base``, by
            integrated gradients as nearly as its points allow.
    """

    parts: Tensor
    score: Tensor
    base: Tensor


@runtime_checkable
class Explains(Protocol):
    """Says which tokens moved what it says."""

    def attribute(self, batch: Batch, at: Tensor, *, by: str = "integrated", points: int = 32) -> Attribution:
        """Of the token at place ``at`` ``(B,)`` of each flattened ``x``; ``by`` is ``"integrated"`` or ``"gradient"``.

        A family that looks by attention also has ``attend(batch) -> (B, layers, heads, dims, n)``: how much the place
        from which each token of ``x`` is said took of each of the ``n`` tokens of ``Attribution.parts``; what a place
        took of no token (of the start) is left out.
        """


def has(model: object, capability: type) -> bool:
    """Whether ``model`` has a capability (``Scores``, ``Encodes``, ``Edits``, ``Classifies`` ...): having the methods is it.

    A family whose class has the method but whose settings take it away says so by ``lacks: set[str]``.
    """
    return isinstance(model, capability) and capability.__name__ not in getattr(model, "lacks", ())


@dataclass(frozen=True)
class Item:
    """One piece outside the models: a picture as uint8 ``(height, width, channels)``, a str, a dict of a row's values.

    Attributes:
        value: the piece.
        cond: what is known of it, as a person says it (a class name, a caption); None when nothing is.
        name: where it came from, for messages and manifests.
        group: pieces of one group (a patient, an author) never stand on both sides of a split.
    """

    value: Any
    cond: Any = None
    name: str = ""
    group: str | None = None


class Source(Protocol):
    """Training rows by number: an encoded batch, or windows cut from a long text when asked for.

    A source whose rows are drawn afresh each time that training sees them also has ``draw(rows, rng) -> Batch``.
    """

    def __len__(self) -> int:
        """How many rows there are."""

    def take(self, rows: Tensor) -> Batch:
        """The rows of those numbers, int64 ``(B,)``."""


@dataclass(frozen=True)
class Encoded:
    """Rows that fit in memory, as one encoded batch."""

    batch: Batch

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: Tensor) -> Batch:
        """The rows of those numbers, int64 ``(B,)``."""
        return self.batch.take(rows)


class Codec(Protocol):
    """One modality: files to tensors and back. Constructor arguments are the recipe's ``[codec]`` table.

    ``spec`` holds after ``fit`` (or ``load_state``). ``medium`` names what judges and servers need to know.
    """

    spec: Spec
    medium: str

    def read(self, source: str | Path) -> Sequence[Item]:
        """Pieces from a file or folder; raises DataError naming the bad file and the mend."""

    def fit(self, items: Sequence[Item]) -> Self:
        """Learn vocabulary, quantiles, ranges, class names; returns self."""

    def encode(self, items: Sequence[Item]) -> Batch:
        """Pieces to examples, one row each (long texts: one row for each window)."""

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """Rows for training, or for judging (``train=False``: each part of the data exactly once)."""

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """What a person asked for (class names, captions) as ``(B, *spec.cond.shape)``; RecipeError when unknown."""

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """The inverse of ``encode``."""

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One piece as a file, ``mark`` in the format's own metadata; returns the path with its ending."""

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """The picture people look at: a grid, a page, a map; returns the path with its ending."""

    def state(self) -> dict[str, Any]:
        """What ``fit`` learned, JSON-ready; goes into the header of the weights file."""

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``; returns self."""
