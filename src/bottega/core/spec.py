"""Spec: what one example is. A codec says it, a family accepts it or says why not."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """A run of coordinates that belong together: one column of a table.

    For real examples (``spec.vocab == 0``) the block covers coordinates ``[start, start + width)`` of ``x``:
    a ``"scalar"`` is one number in [-1, 1]; a ``"choice"`` is a one-hot vector; a ``"mixture"`` is one number followed
    by the one-hot of its mode (mode-specific normalisation, Xu et al. 2019, arXiv:1907.00503, section 4.2).
    For tokens (``spec.vocab > 0``) block *i* is position *i* of ``x`` and its tokens lie in ``[start, start + width)``.
    """

    name: str
    kind: Literal["scalar", "choice", "mixture"]
    start: int
    width: int


@dataclass(frozen=True)
class Spec:
    """One example, without the batch axis.

    Attributes:
        shape: ``(3, 32, 32)`` a picture, ``(256,)`` a text, ``(columns,)`` a row; channels come first.
        vocab: 0 for real numbers in [-1, 1]; k for whole numbers in [0, k).
        ordinal: True when the k tokens are ordered levels (pixels), False when they are names (letters).
        blocks: the columns of a table; empty for everything else.
        cond: what an example may be conditioned on; None for nothing. A class is a whole number, -1 where nobody knows it:
            families take such a row for one of which nothing is known.

    >>> Spec((1, 8, 8)).dims, Spec((16,), vocab=256).is_tokens
    (64, True)
    """

    shape: tuple[int, ...]
    vocab: int = 0
    ordinal: bool = False
    blocks: tuple[Block, ...] = ()
    cond: Spec | None = None

    @property
    def dims(self) -> int:
        """How many numbers one example holds."""
        return prod(self.shape)

    @property
    def is_tokens(self) -> bool:
        """Whether examples are whole numbers."""
        return self.vocab > 0

    @property
    def is_image(self) -> bool:
        """Whether examples are ``(channels, height, width)``."""
        return len(self.shape) == 3

    @property
    def is_wave(self) -> bool:
        """Whether examples are waveforms ``(channels, samples)``, real numbers."""
        return len(self.shape) == 2 and not self.is_tokens

    @property
    def given_picture(self) -> bool:
        """Whether what is known of an example is a picture, ``(channels, height, width)`` real numbers in [-1, 1]."""
        return self.cond is not None and self.cond.is_image and not self.cond.is_tokens

    @property
    def given_sound(self) -> bool:
        """Whether what is known of an example is a sound, ``(channels, samples)`` real numbers in [-1, 1]."""
        return self.cond is not None and self.cond.is_wave

    @property
    def given_text(self) -> bool:
        """Whether what is known of an example is a text: a sequence of tokens, padded with the last one."""
        return self.cond is not None and self.cond.is_text

    @property
    def is_sequence(self) -> bool:
        """Whether examples are token sequences ``(length,)``."""
        return self.is_tokens and len(self.shape) == 1

    @property
    def is_text(self) -> bool:
        """Whether examples are token sequences whose tokens are names: no levels of a measure, no columns of a table."""
        return self.is_sequence and not self.ordinal and not self.blocks

    def as_real(self, x: Tensor) -> Tensor:
        """Ordered levels ``0..vocab-1`` as real numbers in [-1, 1]; real examples as they are."""
        if not self.is_tokens:
            return x
        return x.to(torch.get_default_dtype()) * (2 / (self.vocab - 1)) - 1

    def as_tokens(self, x: Tensor) -> Tensor:
        """The inverse of ``as_real``: the nearest level of each number, int64."""
        if not self.is_tokens:
            return x
        return ((x + 1) * ((self.vocab - 1) / 2)).round().clamp(0, self.vocab - 1).long()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form, the inverse of ``from_dict``."""
        out: dict[str, Any] = {"shape": list(self.shape), "vocab": self.vocab, "ordinal": self.ordinal}
        out["blocks"] = [[b.name, b.kind, b.start, b.width] for b in self.blocks]
        out["cond"] = None if self.cond is None else self.cond.to_dict()
        return out

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Spec:
        """A Spec from its ``to_dict`` form."""
        cond = data.get("cond")
        return cls(
            tuple(data["shape"]),
            data.get("vocab", 0),
            data.get("ordinal", False),
            tuple(Block(*b) for b in data.get("blocks", ())),
            None if cond is None else cls.from_dict(cond),
        )

    def __str__(self) -> str:
        what = f"whole numbers in [0, {self.vocab})" if self.vocab else "real numbers"
        extra = f", {len(self.blocks)} columns" if self.blocks else ""
        given = "" if self.cond is None else f", given {self.cond}"
        return f"{tuple(self.shape)} {what}{extra}{given}"
