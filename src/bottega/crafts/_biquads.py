"""Second-order filters of an equaliser: their coefficients and what they do at a frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bottega.core import RecipeError, nearest
from bottega.crafts._ears import Wave, db

__all__ = ["Band", "Kind", "biquad", "in_range", "response_db"]

Kind = Literal["peak", "low_shelf", "high_shelf", "low_pass", "high_pass", "notch"]


def in_range(what: str, **ranges: tuple[float, float, float]) -> None:
    """Raise RecipeError for the first of ``name=(value, least, most)`` that lies outside."""
    for name, (value, least, most) in ranges.items():
        if not least <= value <= most:
            raise RecipeError(f"{what}: {name} is {value:g}; give {least:g} to {most:g}")


@dataclass(frozen=True)
class Band:
    """One filter of an equaliser.

    Attributes:
        kind: peak, low_shelf, high_shelf, low_pass, high_pass or notch.
        hz: its middle or corner.
        gain_db: of a peak or shelf.
        q: the higher, the narrower.
    """

    kind: Kind
    hz: float
    gain_db: float = 0.0
    q: float = 0.7071


def biquad(band: Band, rate: int) -> Wave:
    """A second-order section ``(6,)`` for ``scipy.signal.sosfilt``.

    Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients" (W3C note, 2021).

    Raises:
        RecipeError: no such kind, a frequency outside of 0 to half the rate, or a gain or q out of reason.
    """
    known = ("peak", "low_shelf", "high_shelf", "low_pass", "high_pass", "notch")
    if band.kind not in known:
        raise RecipeError(f"a filter's kind is {band.kind!r}{nearest(band.kind, known)}")
    if not 0 < band.hz < rate / 2:
        raise RecipeError(f"{band.kind}: hz is {band.hz:g}; give more than 0 and less than {rate / 2:g}, half the rate")
    in_range(band.kind, gain_db=(band.gain_db, -60, 60), q=(band.q, 0.05, 200))
    w = math.tau * band.hz / rate
    a, c, alpha = 10 ** (band.gain_db / 40), math.cos(w), math.sin(w) / (2 * band.q)
    if band.kind == "peak":
        rows = (1 + alpha * a, -2 * c, 1 - alpha * a, 1 + alpha / a, -2 * c, 1 - alpha / a)
    elif band.kind == "notch":
        rows = (1, -2 * c, 1, 1 + alpha, -2 * c, 1 - alpha)
    elif band.kind in {"low_pass", "high_pass"}:
        side = 1 if band.kind == "low_pass" else -1
        b = (1 - side * c) / 2
        rows = (b, 2 * side * b, b, 1 + alpha, -2 * c, 1 - alpha)
    else:
        side, root = (1 if band.kind == "low_shelf" else -1), 2 * math.sqrt(a) * alpha
        rows = (
            a * ((a + 1) - side * (a - 1) * c + root), side * 2 * a * ((a - 1) - side * (a + 1) * c),
            a * ((a + 1) - side * (a - 1) * c - root), (a + 1) + side * (a - 1) * c + root,
            -side * 2 * ((a - 1) + side * (a + 1) * c), (a + 1) + side * (a - 1) * c - root,
        )  # fmt: skip
    return np.array(rows) / rows[3]


def response_db(bands: Sequence[Band], hz: Wave, rate: int) -> Wave:
    """What an equaliser does at frequencies ``(k,)``, in dB."""
    z = np.exp(-1j * math.tau * np.asarray(hz) / rate)
    total = np.zeros(len(z))
    for b0, b1, b2, a0, a1, a2 in (biquad(band, rate) for band in bands):
        total += db(np.abs((b0 + b1 * z + b2 * z * z) / (a0 + a1 * z + a2 * z * z)) ** 2)
    return total
