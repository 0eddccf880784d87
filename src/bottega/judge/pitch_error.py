"""How far the melody of speech that is made anew is from the real one."""

from __future__ import annotations

import numpy as np
import torch

from bottega.core import Measure, mean_interval
from bottega.judge._case import Case
from bottega.judge._spoken import mels_of, paired, remade
from bottega.nets.pitch import pitch_hz, yin

__all__ = ["measure"]

needs: tuple[str, ...] = ("model", "spoken")
media: tuple[str, ...] = ("audio",)


def measure(case: Case) -> list[Measure]:
    """``f0_error_cents`` and ``voicing_error``: held-out sentences said again, brought to samples, F0 by YIN, frames paired by time warping.

    The first is the root mean square over frames that are voiced in both; the second the share of frames voiced in one only.
    """
    layout = case.facts["speech"]
    assert case.decode is not None
    real, made, cond = remade(case)
    cents, voicing = [], []
    for k, (a, b) in enumerate(zip(mels_of(layout, made), mels_of(layout, real), strict=True)):
        sound = case.decode(made[k : k + 1].cpu(), cond[k : k + 1].cpu())[0].value
        f0 = yin(torch.from_numpy(np.ascontiguousarray(sound.mono())), layout["rate"], layout["hop"])
        one, two = paired(a, b)
        x = f0[torch.from_numpy(one).clamp(max=len(f0) - 1)]
        y = pitch_hz(real[k, 0, layout["mels"]].cpu())[torch.from_numpy(two)]
        both = (x > 0) & (y > 0)
        voicing.append(float(((x > 0) != (y > 0)).float().mean()))
        if both.any():
            cents.append(float((1200 * (x / y)[both].log2()).square().mean().sqrt()))
    out = []
    note = f"{len(voicing)} held-out sentences said again and brought to samples; F0 by YIN"
    for name, values in (("f0_error_cents", cents), ("voicing_error", voicing)):
        if values:
            value, low, high = mean_interval(torch.tensor(values))
            out.append(Measure(name, value, low, high, n=len(values), seed=case.seed, better="lower", note=note))
    return out
