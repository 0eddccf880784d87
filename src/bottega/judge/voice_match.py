"""Whether samples speak in the voice that was asked for, by a network that verifies voices it was not trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._listener import VoiceNet, equal_error, equal_error_interval
from bottega.judge._spoken import mels_of, parts_of_voices, voice_net_of

__all__ = ["measure"]

needs: tuple[str, ...] = ("samples", "spoken")
media: tuple[str, ...] = ("audio",)

_MOST = 200


def embedded(net: VoiceNet, mels: list[Tensor]) -> Tensor:
    """``(N, width)`` unit vectors of recordings ``(T, mels)``."""
    with torch.no_grad():
        return torch.cat([net(m[None], torch.tensor([len(m)], device=m.device)) for m in mels])


def measure(case: Case) -> list[Measure]:
    """``speaker_eer``: the equal error rate of verifying samples against real held-out recordings.

    A trial is a sample and a real recording, of the voice that was asked for or of another; both voices are none that the
    network was trained on. ``ceiling`` is the same with real recordings in the place of samples.
    """
    layout = case.facts["speech"]
    net = voice_net_of(case)
    _, judged = parts_of_voices(case)
    assert case.held.cond is not None
    assert case.sample_cond is not None

    def some(x: Tensor, cond: Tensor) -> tuple[Tensor, np.ndarray]:
        rows = [i for i, v in enumerate(cond[:, 0].tolist()) if v in judged][:_MOST]
        return embedded(net, mels_of(layout, x[rows])), cond[rows, 0].cpu().numpy()

    real, real_voice = some(case.held.x, case.held.cond)
    made, made_voice = some(case.samples, case.sample_cond)
    if not len(real) or not len(made):
        return []

    def rate(a: Tensor, a_voice: np.ndarray, twins: bool) -> tuple[float, int]:
        scores = (a @ real.T).cpu().numpy()
        same = a_voice[:, None] == real_voice[None]
        use = ~np.eye(len(a), len(real), dtype=bool) if twins else np.ones_like(same)
        if not (same & use).any() or not (~same & use).any():
            return float("nan"), 0
        return equal_error(scores[same & use], scores[~same & use])[0], int((same & use).sum())

    value, n = rate(made, made_voice, False)
    if not n:
        return []
    low, high = equal_error_interval(value, len(made))
    ceiling = rate(real, real_voice, True)[0]
    note = f"{n} trials of one voice, {len(set(real_voice.tolist()))} voices that the network never heard; the interval takes samples for independent"
    return [Measure("speaker_eer", value, low, high, n=len(made), seed=case.seed, better="lower",
                    ceiling=None if np.isnan(ceiling) else ceiling, note=note)]  # fmt: skip
