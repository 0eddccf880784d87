"""Background noise for what is to be cleaned: any colour, slowly rising and falling, at a known signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from bottega.core import Rng

__all__ = ["noisy", "rumble"]


def rumble(rng: Rng, n: int, length: int) -> Tensor:
    """``(n, length)`` noise of mean power one: its spectrum falls as ``f^-a``, ``a`` from 0 (white) to 2 (brown).

    In every second row its level rises and falls, up to 4 times in the length; a quarter of the rows also hum (a tone and
    its overtones).
    """
    spectrum = torch.fft.rfft(rng.normal(n, length))
    bins = torch.arange(spectrum.shape[1], device=spectrum.device).clamp_min(1)
    colour = 2 * rng.uniform(n, 1)
    out = torch.fft.irfft(spectrum * bins ** (-colour / 2), length)
    out = out / out.square().mean(1, keepdim=True).clamp_min(1e-12).sqrt()
    u = rng.uniform(n, 6)
    at = torch.arange(length, device=out.device) / length
    wave = 1 + 0.8 * torch.sin(2 * torch.pi * (4 * u[:, :1] * at + u[:, 1:2]))
    out = torch.where(u[:, 2:3] < 0.5, wave, torch.ones_like(wave)) * out
    pitch = 0.006 + 0.01 * u[:, 3:4]  # cycles a sample
    tone = sum(torch.sin(2 * torch.pi * k * pitch * at * length + k) / k for k in (1, 2, 3))
    out = torch.where(u[:, 4:5] < 0.25, out + 0.7 * tone, out)
    return out / out.square().mean(1, keepdim=True).clamp_min(1e-12).sqrt()


def noisy(x: Tensor, rng: Rng, low_db: float, high_db: float) -> Tensor:
    """``x`` ``(n, length)`` plus noise, the ratio of their powers drawn evenly in decibels between the two."""
    noise = rumble(rng, *x.shape)
    ratio = low_db + (high_db - low_db) * rng.uniform(len(x), 1)
    power = x.square().mean(1, keepdim=True).clamp_min(1e-8)
    return x + noise * (power / 10 ** (ratio / 10)).sqrt()
