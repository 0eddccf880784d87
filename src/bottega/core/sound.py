"""Sound: a recording outside the models, its samples and how many of them make a second; and whether there is anything in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bottega.core.errors import DataError

__all__ = ["Sound", "audible"]


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording.

    Attributes:
        samples: ``(channels, n)`` float32; full scale is 1, and what lies beyond it does not fit into whole numbers.
        rate: samples in a second, Hz.

    Raises:
        ValueError: the samples have another number of axes, or the rate is not above 0.

    >>> sound = Sound(np.zeros((2, 8000), np.float32), 16000)
    >>> sound.seconds, sound.mono().shape
    (0.5, (8000,))
    """

    samples: NDArray[np.float32]
    rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.rate < 1:
            raise ValueError(f"samples {self.samples.shape} at {self.rate} Hz; give (channels, n) and a rate above 0")

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return float(self.samples.shape[1] / self.rate)

    @property
    def channels(self) -> int:
        """How many there are."""
        return int(self.samples.shape[0])

    @property
    def peak(self) -> float:
        """The largest absolute sample; 0 of nothing."""
        return float(np.abs(self.samples).max(initial=0.0))

    def mono(self) -> NDArray[np.float32]:
        """The mean of the channels, ``(n,)``."""
        one: NDArray[np.float32] = self.samples[0] if len(self.samples) == 1 else self.samples.mean(0, dtype=np.float32)
        return one

    def digest(self) -> bytes:
        """What is the same for the same recording only: 32 bytes."""
        found = hashlib.sha256(f"{self.rate} {self.samples.shape}".encode())
        found.update(np.ascontiguousarray(self.samples, np.float32).tobytes())
        return found.digest()


def audible(
    sound: Sound, what: str = "the sound", least_seconds: float = 0.0, least_peak: float = 1e-5, mono: bool = False
) -> Sound:
    """The sound, when there is something in it.

    Args:
        sound: what was given.
        what: it is called in errors, its file say.
        least_seconds: that the work needs.
        least_peak: below which it is silent; 1e-5 is -100 dB.
        mono: whether the work takes the mean of its channels.

    Raises:
        DataError: samples that are not finite, too short, silent, or channels that cancel each other where ``mono`` adds them up.
    """
    if not np.isfinite(sound.samples).all():
        raise DataError(f"{what} has samples that are not finite numbers; export it anew")
    if sound.seconds < least_seconds:
        raise DataError(f"{what} lasts {sound.seconds:.3g} seconds; give at least {least_seconds:g}")
    if sound.peak < least_peak:
        raise DataError(f"{what} is silent; give another, or leave it out")
    if mono and float(np.abs(sound.mono()).max(initial=0.0)) < least_peak:
        raise DataError(
            f"{what} is silent where its channels are added up: one is the other turned over; give one of them"
        )
    return sound
