"""The fundamental frequency of sound over time, by YIN."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["HIGH_HZ", "LEAST", "LOW_HZ", "SEMITONE", "UNVOICED", "pitch_hz", "pitch_scaled", "yin"]

LOW_HZ, HIGH_HZ = 55.0, 500.0
LEAST, UNVOICED = -0.8, -1.0
SEMITONE = (1 - LEAST) * math.log(2) / 12 / math.log(HIGH_HZ / LOW_HZ)
"""How far a semitone lies in ``pitch_scaled``."""


def yin(
    x: Tensor, rate: int, hop: int, low_hz: float = LOW_HZ, high_hz: float = HIGH_HZ, threshold: float = 0.2
) -> Tensor:
    """F0 in Hz at each frame, 0 where nothing is voiced: ``(n,) -> (1 + n // hop,)``.

    De Cheveigné and Kawahara 2002, "YIN, a fundamental frequency estimator": the first lag at which the cumulative mean
    normalised difference falls below ``threshold``, brought to a parabola's lowest point. Frames are centred; one whose
    level is 40 dB below the loudest is not voiced, and a voiced stretch of one frame is none.

    Args:
        x: samples; frames are of two and a half periods of ``low_hz``.
        rate: samples a second.
        hop: samples from frame to frame.
        low_hz: the lowest F0 that is looked for.
        high_hz: the highest.
        threshold: of the difference; higher calls more voiced.

    >>> at = torch.arange(16000) / 16000
    >>> f0 = yin(torch.sin(2 * torch.pi * 200 * at), 16000, 256)
    >>> len(f0), round(f0[30].item())
    (63, 200)
    """
    most, least = int(rate / low_hz) + 2, max(2, int(rate / high_hz))
    half = int(1.25 * rate / low_hz)
    frames = F.pad(x.float(), (half, half + most + hop)).unfold(0, 2 * half + most, hop)[: 1 + x.shape[-1] // hop]
    width = 2 * half
    head = frames[:, :width]
    size = 1 << (frames.shape[1] + width).bit_length()
    cross = torch.fft.irfft(torch.fft.rfft(frames, size) * torch.fft.rfft(head, size).conj(), size)[:, :most]
    energy = F.pad(frames.double().square().cumsum(1), (1, 0))
    own = (energy[:, width : width + most] - energy[:, :most]).float()
    difference = (own[:, :1] + own - 2 * cross).clamp_min(0)
    lags = torch.arange(1, most, device=x.device)
    normal = difference[:, 1:] * lags / difference[:, 1:].cumsum(1).clamp_min(1e-9)  # of lags 1, 2 ...
    inner = normal[:, 1:-1]
    dip = (inner <= normal[:, :-2]) & (inner < normal[:, 2:]) & (lags[1:-1] >= least)
    good = dip & (inner < threshold)
    any_good = good.any(1)
    at = torch.where(any_good, good.float().argmax(1), 0) + 1
    rows = torch.arange(len(at), device=x.device)
    a, b, c = normal[rows, at - 1], normal[rows, at], normal[rows, at + 1]
    lag = lags[at] + 0.5 * (a - c) / (a - 2 * b + c).clamp_min(1e-9)
    level = head.square().mean(1)
    voiced = any_good & (level > 1e-4 * level.max().clamp_min(1e-9))
    beside = F.pad(voiced.float(), (1, 1)).unfold(0, 3, 1).sum(1) > 1
    return torch.where(voiced & beside, rate / lag, 0.0)


def pitch_scaled(f0: Tensor) -> Tensor:
    """F0 in Hz as a number: log from ``LOW_HZ`` (-0.8) to ``HIGH_HZ`` (1); -1 where it is 0.

    >>> [round(v, 4) for v in pitch_scaled(torch.tensor([0.0, 55.0, 500.0])).tolist()]
    [-1.0, -0.8, 1.0]
    """
    v = LEAST + (1 - LEAST) * (f0.clamp_min(1) / LOW_HZ).log() / math.log(HIGH_HZ / LOW_HZ)
    return torch.where(f0 > 0, v.clamp(LEAST, 1), UNVOICED)


def pitch_hz(value: Tensor) -> Tensor:
    """The inverse of ``pitch_scaled``; 0 where the number is nearer to -1 than to -0.8."""
    hz = LOW_HZ * ((value - LEAST) / (1 - LEAST) * math.log(HIGH_HZ / LOW_HZ)).exp()
    return torch.where(value > (UNVOICED + LEAST) / 2, hz, 0.0)
