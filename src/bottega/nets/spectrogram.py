"""Short-time spectra of sound and the way back: mel filters, log-mel spectra, mel inversion and fast Griffin-Lim.

All of it is differentiable and runs on whole batches; values agree with librosa's to 1e-4 of a decibel's scale, which
``tests/nets/test_spectrogram.py`` holds.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import RecipeError

__all__ = [
    "LogMel",
    "band_centres",
    "decibels",
    "fitted",
    "griffin_lim",
    "istft",
    "mel_filters",
    "spectral_convergence",
    "stft",
    "unmel",
]

FLOOR = 1e-10  # of a power before its logarithm: -100 dB


def stft(x: Tensor, window: int, hop: int) -> Tensor:
    """Complex spectra under a periodic Hann window, centred frames, zeros beyond the ends.

    Args:
        x: ``(..., n)`` real.
        window: samples of one frame.
        hop: samples from one frame to the next.

    Returns:
        ``(..., window // 2 + 1, 1 + n // hop)`` complex.
    """
    shape = x.shape[:-1]
    flat = x.reshape(-1, x.shape[-1])
    out = torch.stft(flat, window, hop, window=_hann(window, x), center=True, pad_mode="constant", return_complex=True)
    return out.reshape(*shape, *out.shape[1:])


def istft(s: Tensor, window: int, hop: int, length: int) -> Tensor:
    """The inverse of ``stft``: the least-squares signal of ``length`` samples, ``(..., bins, frames) -> (..., length)``.

    Griffin and Lim 1984, equation 6.
    """
    shape = s.shape[:-2]
    out = torch.istft(s.reshape(-1, *s.shape[-2:]), window, hop, window=_hann(window, s.real), length=length)
    return out.reshape(*shape, length)


def _hann(window: int, like: Tensor) -> Tensor:
    return torch.hann_window(window, periodic=True, dtype=like.dtype, device=like.device)


def _mel(hz: Tensor) -> Tensor:
    """Slaney's mel scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998)."""
    linear = hz * (3 / 200)
    return torch.where(hz < 1000, linear, 15 + torch.log(hz.clamp_min(1e-9) / 1000) * (27 / math.log(6.4)))


def _hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * (200 / 3), 1000 * torch.exp((mel - 15) * (math.log(6.4) / 27)))


@lru_cache(maxsize=16)
def mel_filters(rate: int, window: int, mels: int, low: float = 0.0, high: float = 0.0) -> Tensor:
    """Triangles over the bins of a spectrum, each of area one (Slaney's norm): ``(mels, window // 2 + 1)`` float32.

    Args:
        rate: of the sound, Hz.
        window: samples of a frame.
        mels: how many filters.
        low: where the first begins, Hz.
        high: where the last ends, Hz; 0 is half the rate.

    Raises:
        RecipeError: so many filters that one has no bin of the spectrum, or a range that is none.
    """
    high = high or rate / 2
    if not 0 <= low < high <= rate / 2 or mels < 1:
        raise RecipeError(
            f"{mels} mel filters from {low:g} to {high:g} Hz at a rate of {rate}; stay below {rate / 2:g} Hz"
        )
    bins = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)
    ends = _mel(torch.tensor([low, high], dtype=torch.float64))
    edges = _hz(torch.linspace(float(ends[0]), float(ends[1]), mels + 2, dtype=torch.float64))
    width = edges.diff()
    ramps = edges[:, None] - bins
    filters = torch.minimum(-ramps[:-2] / width[:-1, None], ramps[2:] / width[1:, None]).clamp_min(0)
    filters *= (2 / (edges[2:] - edges[:-2]))[:, None]
    empty = int((filters.sum(1) == 0).sum())
    if empty:
        raise RecipeError(
            f"{empty} of {mels} mel filters lie between the bins of a window of {window} samples at {rate} Hz; take fewer "
            "mels (codec.mels) or a longer window (codec.window)"
        )
    return filters.float()


def band_centres(rate: int, mels: int) -> Tensor:
    """Where the triangles of ``mel_filters`` from 0 Hz to half the rate have their tops, Hz: ``(mels,)`` float64."""
    top = _mel(torch.tensor(rate / 2, dtype=torch.float64))
    return _hz(torch.linspace(0, float(top), mels + 2, dtype=torch.float64))[1:-1]


def decibels(power: Tensor) -> Tensor:
    """``10 log10`` of a power, never below -100 dB."""
    return 10 * torch.log10(power.clamp_min(FLOOR))


class LogMel(nn.Module):
    """Sound to log-mel power spectra in decibels: ``(..., n) -> (..., mels, 1 + n // hop)``.

    Args:
        rate: Hz.
        window: samples of a frame.
        hop: samples from frame to frame.
        mels: filters, from 0 Hz to half the rate.
    """

    filters: Tensor

    def __init__(self, rate: int, window: int = 1024, hop: int = 256, mels: int = 80) -> None:
        super().__init__()
        self.rate, self.window, self.hop = rate, window, hop
        self.register_buffer("filters", mel_filters(rate, window, mels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., n)`` to decibels ``(..., mels, frames)``."""
        power = stft(x, self.window, self.hop).abs().square()
        return decibels(self.filters.to(x.dtype) @ power)


def unmel(mel: Tensor, filters: Tensor, iterations: int = 100) -> Tensor:
    """The power spectrum that mel filters saw, nothing negative: ``(..., mels, frames) -> (..., bins, frames)``.

    Least squares without negative numbers by multiplicative updates, ``S <- S F^T V / (F^T F S)``, which never raise the
    error (Lee and Seung 2001, theorem 1).

    Args:
        mel: powers, at least 0.
        filters: ``(mels, bins)``.
        iterations: updates.
    """
    filters = filters.to(mel.dtype)
    scale = mel.amax((-2, -1), keepdim=True).clamp_min(1e-20)
    weight = filters.sum(0, keepdim=True).mT.clamp_min(1e-12)  # where to begin: each bin as its filters are
    top = filters.mT @ (mel / scale)
    found = top / weight / weight.clamp_min(float(weight.max()) * 1e-3)
    square = filters.mT @ filters
    for _ in range(
        iterations
    ):  # 150 dB down is nothing: smaller numbers would be denormal, which processors are slow at
        found = (found * top / (square @ found).clamp_min(1e-15)).clamp_min(1e-15)
    return found * scale


def griffin_lim(
    magnitude: Tensor, window: int, hop: int, length: int, iterations: int = 64, momentum: float = 0.99
) -> Tensor:
    """A signal whose spectrum has such magnitudes: ``(..., bins, frames) -> (..., length)``.

    The fast Griffin-Lim algorithm (Perraudin, Balazs and Sondergaard 2013, algorithm 2): projections between spectra of
    that magnitude and spectra of signals, each overshot by ``momentum``. The phases begin at random, the same for each
    row, so that what a row becomes does not depend on the others.

    Args:
        magnitude: at least 0.
        window: samples of a frame, ``2 (bins - 1)``.
        hop: samples from frame to frame.
        length: of the signal, at most ``frames * hop``.
        iterations: more are nearer.
        momentum: 0 is Griffin and Lim 1984; 0.99 the paper's advice.
    """
    start = torch.rand(magnitude.shape[-2:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turn = (math.tau * start).to(magnitude.device, magnitude.dtype)
    phase = torch.polar(torch.ones_like(turn), turn)
    before: Tensor | None = None
    for _ in range(iterations):
        back = stft(istft(magnitude * phase, window, hop, length), window, hop)[..., : magnitude.shape[-1]]
        ahead = back if before is None else back + momentum * (back - before)
        phase = ahead / ahead.abs().clamp_min(1e-12)
        before = back
    return istft(magnitude * phase, window, hop, length)


def spectral_convergence(x: Tensor, magnitude: Tensor, window: int, hop: int) -> Tensor:
    """How far a signal's magnitudes are from those asked for, ``||M - |STFT x||| / ||M||``, ``(...,)``; 0 is reached.

    Sturmel and Daudet 2011, equation 3, as a ratio.
    """
    got = stft(x, window, hop).abs()[..., : magnitude.shape[-1]]
    norm = torch.linalg.vector_norm
    return norm(magnitude - got, dim=(-2, -1)) / norm(magnitude, dim=(-2, -1)).clamp_min(1e-12)


def fitted(x: Tensor, n: int) -> Tensor:
    """``(..., m) -> (..., n)``: cut, or silence added at the end."""
    return x[..., :n] if x.shape[-1] >= n else F.pad(x, (0, n - x.shape[-1]))
