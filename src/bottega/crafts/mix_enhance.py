"""Recordings cleared of noise by a trained model, of any length, rate and channels, block by block as they arrive."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bottega.codecs._sound_files import resampled
from bottega.core import BottegaError, DataError, RecipeError, Sound
from bottega.nets.spectrogram import fitted
from bottega.workshop.run import Run

__all__ = ["Enhanced", "enhance"]


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
    model: Any = run.model
    if run.codec.medium != "audio" or not hasattr(model, "listener"):
        raise BottegaError(
            f"a {run.recipe.family['name']} of {run.codec.medium} clears no recordings; train family enhancer on clean ones"
        )
    if block < 1:
        raise RecipeError(f"block is {block}; give at least 1 sample")
    if not 0 <= wet <= 1:
        raise RecipeError(f"wet is {wet:g}; give 0 to 1")
    if not sound.samples.shape[1] or not np.isfinite(sound.samples).all():
        raise DataError("the recording holds no samples, or some that are no numbers; export it anew")
    rate = run.codec.used_rate
    model.eval()
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
