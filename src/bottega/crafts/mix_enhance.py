"""Recordings cleared of noise by a trained model, of any length, rate and channels, block by block as they arrive."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bottega.codecs._sound_files import resampled
from bottega.core import BottegaError, DataError, RecipeError, Sound
from bottega.nets.spectrogram import fitted
from bottega.workshop.run import Run

__all__ = ["Enhanced", "Live", "enhance", "pump"]

_FULL = 32768  # what full scale is in 16 bits


@dataclass(frozen=True)
class Enhanced:
    """A cleared recording.

    Attributes:
        sound: at the recording's own rate and length.
        latency_ms: from a sound to its cleared form, if it were heard live.
        real_time_factor: seconds of work for a second of one channel.
        lowered_db: the level of what was taken away, in dB to the recording.
        above_hz: what lies above this was left out; 0 where the model hears all.
    """

    sound: Sound
    latency_ms: float
    real_time_factor: float
    lowered_db: float
    above_hz: float


def enhance(run: Run, sound: Sound, *, block: int = 1024, wet: float = 1.0) -> Enhanced:
    """Take the noise out of a recording.

    Each channel passes the model's listener in blocks, so memory does not grow with the length, and what comes out is what
    would come out live, brought back in time. The model works at its own rate: what lies above half of it is not in the result,
    unless ``wet`` is below 1.

    Args:
        run: of a family with a listener (``enhancer``).
        sound: any rate, length and channels.
        block: samples at the model's rate that it hears at once; the result is the same for any.
        wet: how much of the cleared sound, the rest is the recording.

    Raises:
        BottegaError: the run's model clears no sound.
        DataError: samples that are no numbers, or none.
        RecipeError: a number is out of range.
    """
    model = _model(run, block, wet)
    if not sound.samples.shape[1] or not np.isfinite(sound.samples).all():
        raise DataError("the recording holds no samples, or some that are no numbers; export it anew")
    rate = run.codec.used_rate
    rows, began = [], time.perf_counter()
    for channel in sound.samples:
        x = torch.from_numpy(np.ascontiguousarray(resampled(channel, sound.rate, rate)))[None].to(run.device)
        ear = model.listener(1)
        made = [ear.hear(part)[0] for part in x.split(block, 1)] + [ear.end()[0]]
        back = torch.from_numpy(resampled(torch.cat(made).cpu().numpy(), rate, sound.rate))
        rows.append(fitted(back, sound.samples.shape[1]).numpy())  # there and back may gain or lose a sample
    spent = time.perf_counter() - began
    cleared = np.stack(rows)
    out = (wet * cleared + (1 - wet) * sound.samples).astype(np.float32)
    taken, whole = (float(np.mean(np.square(x, dtype=np.float64))) for x in (sound.samples - out, sound.samples))
    lowered = 10 * float(np.log10(max(taken, 1e-20) / max(whole, 1e-20)))
    above = rate / 2 if sound.rate > rate and wet == 1 else 0.0
    latency = 1000 * ear.latency / rate
    return Enhanced(Sound(out, sound.rate), latency, spent / sound.seconds / sound.channels, lowered, above)


def _model(run: Run, block: int, wet: float) -> Any:
    model: Any = run.model
    if run.codec.medium != "audio" or not hasattr(model, "listener"):
        raise BottegaError(
            f"a {run.recipe.family['name']} of {run.codec.medium} clears no recordings; train family enhancer on clean ones"
        )
    if block < 1:
        raise RecipeError(f"block is {block}; give at least 1 sample")
    if not 0 <= wet <= 1:
        raise RecipeError(f"wet is {wet:g}; give 0 to 1")
    return model.eval()


class Live:
    """One channel cleared while it is recorded, at the model's own rate.

    What comes out is what ``enhance`` makes of the whole with the same block, ``latency`` samples later; the sum of all parts,
    ``end`` included, is as long as what went in.

    Args:
        run: of a family with a listener (``enhancer``).
        block: samples that the model hears at once; 0 takes a quarter of its window, the fewest that it can use.
        wet: how much of the cleared sound, the rest is the recording.

    Raises:
        BottegaError: the run's model clears no sound.
        RecipeError: a number is out of range.
    """

    def __init__(self, run: Run, *, block: int = 0, wet: float = 1.0) -> None:
        model = _model(run, block or 1, wet)
        self.rate: int = run.codec.used_rate
        self.block, self.wet, self.device = block or getattr(model, "hop", 256), wet, run.device
        self.ear = model.listener(1)
        self.waiting = np.zeros(0, np.float32)  # less than a block
        self.dry: deque[NDArray[np.float32]] = deque()  # what was heard and is not given back yet

    @property
    def latency(self) -> int:
        """The most samples between a sound and its cleared form: the model's window, and what a block waits for."""
        return int(self.ear.latency) + self.block - 1

    def hear(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n,)`` samples in [-1, 1] -> those that are ready ``(n',)``."""
        self.waiting = np.concatenate([self.waiting, samples.astype(np.float32)])
        whole = len(self.waiting) // self.block * self.block
        now, self.waiting = self.waiting[:whole], self.waiting[whole:]
        return self._mixed([self._heard(part) for part in now.reshape(-1, self.block)])

    def end(self) -> NDArray[np.float32]:
        """The rest ``(n',)``: there comes nothing more."""
        rest, self.waiting = self.waiting, self.waiting[:0]
        parts = [self._heard(rest)] if len(rest) else []
        return self._mixed([*parts, self.ear.end()[0].cpu().numpy()])

    def _heard(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.wet < 1:
            self.dry.append(part)
        made: NDArray[np.float32] = self.ear.hear(torch.from_numpy(part)[None].to(self.device))[0].cpu().numpy()
        return made

    def _mixed(self, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        made = np.concatenate([np.zeros(0, np.float32), *parts])
        if self.wet == 1 or not len(made):
            return made
        dry = np.concatenate(list(self.dry))
        self.dry = deque([dry[len(made) :]])
        return (self.wet * made + (1 - self.wet) * dry[: len(made)]).astype(np.float32)


def pump(live: Live, read: Callable[[], bytes], write: Callable[[bytes], object]) -> tuple[int, int, int]:
    """Raw 16-bit samples (little endian, one channel) through ``live`` as they arrive, until there are no more.

    Stopped by ``KeyboardInterrupt``, what was heard is still given back before it is raised again.

    Args:
        live: what clears them.
        read: gives what there is, at least a byte; nothing at the end. A part may end within a sample.
        write: takes what is ready.

    Returns:
        Samples heard; samples that left beyond full scale and were cut off there; bytes that were half a sample at the end.
    """
    half, heard, clipped = b"", 0, 0

    def give(made: NDArray[np.float32]) -> None:
        nonlocal clipped
        levels = np.rint(made.astype(np.float64) * _FULL)
        cut = np.clip(levels, -_FULL, _FULL - 1)
        clipped += int((levels != cut).sum())
        if len(cut):
            write(cut.astype("<i2").tobytes())

    try:
        while data := read():
            data = half + data
            whole = len(data) // 2 * 2
            half = data[whole:]
            heard += whole // 2
            give(live.hear(np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(_FULL)))
    except KeyboardInterrupt:
        give(live.end())
        raise
    give(live.end())
    return heard, clipped, len(half)
