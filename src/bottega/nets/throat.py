"""A source and a filter, as a throat has them: pulses at a fundamental frequency, and spectra that shape them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["minimum_phase", "pulses"]


def pulses(hz: Tensor, hop: int, rate: int, length: int) -> Tensor:
    """Band-limited pulses at ``hz``, of power 1 where there is a voice and 0 elsewhere: ``(B, frames) -> (B, length)``.

    All harmonics up to half the rate with equal amplitudes, by the closed sum of cosines (Dirichlet's kernel); the highest fades in
    and out as F0 moves, so that none begins with a click. F0 runs straight from frame to frame, on a scale of ratios.

    Args:
        hz: F0 of each frame, 0 where nothing is voiced; frame ``k`` lies at sample ``k * hop``.
        hop: samples from frame to frame.
        rate: samples a second.
        length: samples that are wanted.

    >>> x = pulses(torch.full((1, 65), 200.0), 64, 16000, 4096)
    >>> power = torch.fft.rfft(x[0, :4000]).abs()
    >>> int(power[10:].argmax() + 10) % 50, round(x.square().mean().item(), 1)
    (0, 1.0)
    """
    voiced = hz > 0
    log = _nearest(torch.where(voiced, hz.clamp_min(1).double().log2(), 0.0), voiced)
    weight = (
        torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0], dtype=log.dtype, device=hz.device)[None, None] / 9
    )  # as one glides, not steps
    log = F.conv1d(F.pad(log[:, None], (2, 2), mode="replicate"), weight)[:, 0]
    at = torch.arange(length, device=hz.device) / hop
    low = at.long().clamp(max=hz.shape[1] - 1)
    high, part = (low + 1).clamp(max=hz.shape[1] - 1), (at - low).clamp(0, 1).double()
    f0 = torch.exp2(log[:, low] + part * (log[:, high] - log[:, low])).clamp(1, rate / 4)
    gate = voiced.double()
    gate = gate[:, low] + part * (gate[:, high] - gate[:, low])
    cycle = (f0 / rate).cumsum(1) % 1
    most = 0.495 * rate / f0
    whole = most.floor()
    sine = (torch.pi * cycle).sin()
    top = (torch.pi * (2 * whole + 1) * cycle).sin()
    summed = torch.where(sine.abs() > 1e-6, top / (2 * sine.clamp_min(1e-6)) - 0.5, whole)
    summed = summed + (most - whole) * (2 * torch.pi * (whole + 1) * cycle).cos()
    return (gate * summed * (2 / most).sqrt()).float()


def _nearest(value: Tensor, known: Tensor) -> Tensor:
    """Log2 of Hz ``(B, T)`` where they are known, elsewhere the last known one, before the first the first; 128 Hz where none is."""
    t = torch.arange(value.shape[1], device=value.device)
    before = torch.where(known, t, -1).cummax(1).values
    first = known.float().argmax(1, keepdim=True)
    out = value.gather(1, torch.where(before >= 0, before, first))
    return torch.where(known.any(1, keepdim=True), out, 7.0)


def minimum_phase(log_gain: Tensor) -> Tensor:
    """Log magnitudes of bins ``(..., bins)`` -> the complex filter of the least delay that has them.

    By the folded cepstrum (Oppenheim and Schafer 1975, section 10.5): what a tube without a second way round does to a sound.

    >>> gain = torch.tensor([[2.0, 1.5, 1.0, 0.5, 0.25]])
    >>> torch.allclose(minimum_phase(gain.log()).abs(), gain)
    True
    """
    n = 2 * (log_gain.shape[-1] - 1)
    cepstrum = torch.fft.irfft(log_gain, n)
    fold = torch.full((n,), 2.0, device=log_gain.device)
    fold[n // 2 + 1 :] = 0
    fold[0] = fold[n // 2] = 1
    return torch.fft.rfft(cepstrum * fold).exp()
