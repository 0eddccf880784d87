"""Dataset: pieces with where they come from and under which licence, and the fingerprint that goes into the evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bottega.core import Item, Sound

__all__ = ["Dataset", "fingerprint"]

Medium = Literal["image", "text", "table", "points", "labels", "music", "audio"]


@dataclass(frozen=True)
class Dataset:
    """Pieces of one medium.

    Attributes:
        name: what recipes and evidence call it.
        medium: which codec reads it.
        items: the pieces.
        licence: under which they may be used (an SPDX name where there is one).
        source: who made them and where they lie.
        about: one sentence.
        truth: what is known of a made world by construction (entropy, modes, density); empty for real data.
        target: the column of a table that is usually predicted from the others; empty when there is none.
    """

    name: str
    medium: Medium
    items: Sequence[Item]
    licence: str
    source: str
    about: str = ""
    truth: dict[str, Any] = field(default_factory=dict)
    target: str = ""


def fingerprint(items: Sequence[Item]) -> str:
    """SHA-256 over the pieces in order: values, and what is known of them; 64 hexadecimal digits.

    >>> fingerprint([Item("a")]) == fingerprint([Item("a")]) != fingerprint([Item("b")])
    True
    """
    digest = hashlib.sha256()
    for item in items:
        for part in (item.value, item.cond):
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype}{part.shape}".encode())
                digest.update(np.ascontiguousarray(part).tobytes())
            elif isinstance(part, str):
                digest.update(part.encode("utf-8", "surrogatepass"))
            elif isinstance(part, Sound):
                digest.update(part.digest())
            else:
                digest.update(json.dumps(part, default=str, sort_keys=True).encode())
            digest.update(b"\x00")
    return digest.hexdigest()
