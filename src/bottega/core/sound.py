"""Sound: a recording outside the models, its samples and how many of them make a second."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sound"]


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
