"""Vocoder: from mel bands and F0 back to waves, by pulses and noise that a network shapes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.convnext import Stack
from bottega.nets.pitch import LEAST, UNVOICED, pitch_hz, pitch_scaled, yin
from bottega.nets.spectrogram import LogMel, band_centres, istft, stft
from bottega.nets.throat import minimum_phase, pulses

__all__ = ["Vocoder"]

_MIDDLE, _SPREAD = -25.0, 25.0  # dB of mel bands, about
_LOUDEST = 6.0  # of log gains
_WEIGHTS = {"magnitude": 1.0, "convergence": 1.0, "mel": 0.1}


class Vocoder(Family):
    """Waves of mel bands and F0: pulses at F0 and noise, each through a filter that ConvNeXt blocks say frame by frame.

    A source and a filter as in neural source-filter models (Wang et al. 2019, arXiv:1904.12088) and DDSP (Engel et al. 2020,
    arXiv:2001.04643, harmonics plus filtered noise); the filters act in the spectrum, one inverse transform makes the wave, and the
    voiced one has the least phase that its magnitudes allow. So the pitch of what comes out is the F0 that is asked for,
    whatever the mel bands say. The network begins at the mel bands themselves and learns what is to be changed, without critics, by
    spectra of three lengths of window (Yamamoto et al. 2020, arXiv:1910.11480, equations 3 to 6) and the error of its mel bands in
    decibels. It hears the sound's own mel bands and F0 (``nets.pitch.yin``), so that any recordings will do; ``encode`` and
    ``decode`` are the two halves.

    Args:
        spec: waveforms ``(1, T)``, ``T`` a multiple of ``hop``.
        size: channels inside.
        depth: blocks.
        rate: Hz, the codec's.
        window: samples of a frame, a power of two; shorter where examples are.
        hop: samples from frame to frame.
        mels: bands.
    """

    hears: ClassVar[bool] = True
    aside: ClassVar[frozenset[str]] = frozenset({"prior"})
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    spread: Tensor

    def __init__(
        self, spec: Spec, *, size: int = 192, depth: int = 4, rate: int = 16000, window: int = 1024, hop: int = 256, mels: int = 80
    ) -> None:  # fmt: skip
        super().__init__(spec)
        if min(size, depth, rate, mels) < 1 or window < 4 or window & (window - 1) or not 1 <= hop <= window // 2:
            raise RecipeError(f"size={size}, depth={depth}, rate={rate}, mels={mels}, window={window}, hop={hop}: at least 1, a power of two, half of it at most")  # fmt: skip
        length = spec.shape[1]
        while window > max(8, length):
            window //= 2
        hop, mels = min(hop, window // 4), min(mels, max(2, window // 8))
        self.rate, self.window, self.hop, self.mels, self.length = rate, window, hop, mels, length
        self.frames = 1 + length // hop
        self.latent = Spec((mels + 1, self.frames))
        self.ear = LogMel(rate, window, hop, mels)
        bins = window // 2 + 1
        self.read = nn.Conv1d(mels + 1, size, 7, padding=3)
        self.see = nn.Linear(2 * bins, size)
        self.body = Stack(size, depth, 7)
        self.norm, self.say = nn.LayerNorm(size), nn.Linear(size, 2 * bins)
        self.say.readout = True  # type: ignore[assignment]
        with torch.no_grad():
            self.say.weight.mul_(0.1)
            self.say.bias.copy_(torch.cat([torch.zeros(bins), torch.full((bins,), -1.0)]))
        self.register_buffer("spread", _between_bands(mels, bins, rate), persistent=False)
        self.middle, self.wide = nn.Parameter(torch.zeros(mels + 1)), nn.Parameter(torch.zeros(mels + 1))
        self.lengths = [w for w in (window // 2, window, 2 * window) if w <= 2 * length and w >= 8]

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Waveforms of which nothing else is known."""
        if spec.is_tokens or len(spec.shape) != 2 or spec.shape[0] != 1 or spec.shape[1] < 16:
            return "it makes waveforms (1, T); set codec.form = 'wave'"
        return "" if spec.cond is None else "it reads a sound's mel bands and nothing else; set codec.labels = 'none'"

    def _heard(self, x: Tensor) -> Tensor:
        """Waves ``(B, T)`` -> scaled mel bands and, below them, F0 as ``pitch_scaled`` has it: ``(B, mels + 1, frames)``."""
        with torch.no_grad():
            f0 = torch.stack([yin(row, self.rate, self.hop) for row in x.detach().float()])
        return torch.cat([self._bands(x), pitch_scaled(f0)[:, None]], 1)

    def _bands(self, x: Tensor) -> Tensor:
        return (self.ear(x.float()) - _MIDDLE) / _SPREAD

    def _waves(self, z: Tensor, length: int, noise: Tensor) -> Tensor:
        """``(B, mels + 1, frames)`` as ``_heard`` gives it and noise ``(B, length)`` -> ``(B, length)``."""
        bands, pitch = z[:, : self.mels].float(), z[:, self.mels].float()
        source = pulses(pitch_hz(pitch), self.hop, self.rate, length)
        voice, breath = (stft(s, self.window, self.hop) for s in (source, noise.float()))  # (B, bins, frames)
        sizes = torch.cat([voice, breath], 1).abs().clamp_min(1e-2).log().mT
        h = self.read(z).mT + self.see(sizes / 3)
        h = self.body(h, torch.ones_like(h[:, :, :1]))
        base = self._envelope(bands, pitch) - 0.5 * math.log(0.375 * self.window)
        gains = self.say(self.norm(h)).float() + torch.cat([base, base], 2)
        pulse, hiss = gains.clamp(max=_LOUDEST).chunk(2, 2)
        made = voice * minimum_phase(pulse).mT + breath * hiss.exp().mT
        return istft(made, self.window, self.hop, length)

    def _envelope(self, bands: Tensor, pitch: Tensor) -> Tensor:
        """Log amplitudes of bins ``(B, frames, bins)``, the power averaged over F0 about each (Morise 2015, CheapTrick, section 2.2).

        Low bands are narrower than the harmonics lie apart: without it the bands' own F0 would be heard beside the one asked for.
        """
        with torch.autocast(bands.device.type, enabled=False):
            between = self.spread @ (bands * (_SPREAD / 10) + _MIDDLE / 10)
        power = between.mT.mul(math.log(10)).exp()  # (B, frames, bins)
        summed = F.pad(power.cumsum(2), (1, 0))
        half = (pitch_hz(pitch) * (self.window / self.rate / 2)).clamp_min(0.5)[:, :, None]
        at = torch.arange(power.shape[2], device=power.device) + 0.5
        low, high = (at - half).clamp_min(0), (at + half).clamp_max(power.shape[2])

        def until(where: Tensor) -> Tensor:
            whole = where.long().clamp_max(power.shape[2] - 1)
            return summed.gather(2, whole) + (where - whole) * power.gather(2, whole)

        return 0.5 * ((until(high) - until(low)) / (high - low)).clamp_min(1e-12).log()

    def waves(self, db: Tensor, hz: Tensor) -> Tensor:
        """Mel bands in decibels and F0 in Hz (0: no voice) of any number of frames -> samples within [-1, 1].

        Args:
            db: ``(B, mels, t)``.
            hz: ``(B, t)``.

        Returns:
            ``(B, t * hop)``.
        """
        with torch.no_grad():
            z = torch.cat([(db.float() - _MIDDLE) / _SPREAD, pitch_scaled(hz)[:, None]], 1)
            return self._plain(F.pad(z, (0, 1), mode="replicate"), db.shape[2] * self.hop)

    def _plain(self, z: Tensor, length: int) -> Tensor:
        """Always with the same noise, so that equal bands give equal sounds."""
        noise = Rng(0, device=z.device, source="cpu").normal(length)
        return self._waves(z.float(), length, noise.expand(len(z), -1)).clamp(-1, 1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Errors of log magnitudes and of magnitudes at three lengths of window, of mel bands; ``prior`` of what ``sample`` draws."""
        x = batch.x[:, 0].float()
        z = self._heard(x)
        made = self._waves(z, self.length, rng.normal(len(x), self.length))
        magnitude, convergence = x.new_zeros(len(x)), x.new_zeros(len(x))
        for window in self.lengths:
            a, b = (stft(y, window, max(1, window // 4)).abs().clamp_min(1e-4) for y in (made, x))
            magnitude = magnitude + (a.log() - b.log()).abs().mean((1, 2)) / len(self.lengths)
            norm = torch.linalg.vector_norm
            convergence = convergence + norm(a - b, dim=(1, 2)) / norm(b, dim=(1, 2)) / len(self.lengths)
        mel = (self._bands(made) - z[:, : self.mels]).abs().mean((1, 2)) * _SPREAD
        parts = {"magnitude": magnitude, "convergence": convergence, "mel": mel}
        out = {name: _WEIGHTS[name] * value for name, value in parts.items()}
        pitch = z[:, self.mels]
        sure = (pitch > (UNVOICED + LEAST) / 2).float()
        high = torch.where(sure.any(1), (pitch * sure).sum(1) / sure.sum(1).clamp_min(1), 0.0)
        frame = torch.cat([z[:, : self.mels].detach().mean(2), high[:, None]], 1)
        off = (frame - self.middle) * (-self.wide).exp()
        out["prior"] = (0.5 * off.square() + self.wide + 0.5 * math.log(math.tau)).sum(1)
        return Terms(out)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        """Held sounds ``(n, 1, T)`` of the colours and heights that recordings have on average: a vocoder knows nothing of what is said."""
        z = self.middle + self.wide.exp() * rng.normal(n, self.mels + 1)
        z[:, self.mels].clamp_(LEAST, 1)
        noise = rng.normal(n, self.length)
        return self._waves(z[:, :, None].expand(-1, -1, self.frames), self.length, noise)[:, None].clamp(-1, 1)

    @torch.no_grad()
    def encode(self, batch: Batch) -> Tensor:
        """Scaled mel bands, about -2 to 2, and F0, -1 where there is no voice: ``(B, mels + 1, frames)``."""
        return self._heard(batch.x[:, 0])

    @torch.no_grad()
    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """What ``encode`` gave -> waves ``(B, 1, T)``."""
        return self._plain(z, self.length)[:, None]


def _between_bands(mels: int, bins: int, rate: int) -> Tensor:
    """``(bins, mels)``: decibels of each bin from those of the two bands beside it."""
    centres = band_centres(rate, mels)
    at = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    above = torch.searchsorted(centres, at).clamp(1, mels - 1)
    part = ((at - centres[above - 1]) / (centres[above] - centres[above - 1])).clamp(0, 1)
    out = torch.zeros(bins, mels, dtype=torch.float64)
    rows = torch.arange(bins)
    out[rows, above] += part
    out[rows, above - 1] += 1 - part
    return out.float()
