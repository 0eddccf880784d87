"""Vocoder: from mel bands back to waves, by a network that says magnitudes and phases and one inverse transform."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.convnext import Stack
from bottega.nets.spectrogram import LogMel, istft, stft

__all__ = ["Vocoder"]

_MIDDLE, _SPREAD = -25.0, 25.0  # dB of mel bands, about
_LOUDEST = 6.0  # of log magnitudes
_WEIGHTS = {"magnitude": 1.0, "convergence": 1.0, "mel": 0.1}


class Vocoder(Family):
    """Waves of mel bands: ConvNeXt blocks at the rate of frames, then log magnitudes and phases for one inverse transform.

    The generator is that of Vocos (Siuzdak 2023, arXiv:2306.00814, section 3); it is trained without its critics, by spectra of three
    lengths of window (Yamamoto et al. 2020, arXiv:1910.11480, equations 3 to 6) and the error of its mel bands in decibels. It reads the
    sound's own mel bands, which it computes itself, so that any recordings will do; ``encode`` and ``decode`` are the two halves.

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
        self.latent = Spec((mels, self.frames))
        self.ear = LogMel(rate, window, hop, mels)
        self.read = nn.Conv1d(mels, size, 7, padding=3)
        self.body = Stack(size, depth, 7)
        self.norm, self.say = nn.LayerNorm(size), nn.Linear(size, window + 2)
        self.say.readout = True  # type: ignore[assignment]
        with torch.no_grad():
            self.say.weight.mul_(0.3)
        self.middle, self.wide = nn.Parameter(torch.zeros(mels)), nn.Parameter(torch.zeros(mels))
        self.lengths = [w for w in (window // 2, window, 2 * window) if w <= 2 * length and w >= 8]

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Waveforms of which nothing else is known."""
        if spec.is_tokens or len(spec.shape) != 2 or spec.shape[0] != 1 or spec.shape[1] < 16:
            return "it makes waveforms (1, T); set codec.form = 'wave'"
        return "" if spec.cond is None else "it reads a sound's mel bands and nothing else; set codec.labels = 'none'"

    def _bands(self, x: Tensor) -> Tensor:
        return (self.ear(x.float()) - _MIDDLE) / _SPREAD

    def _waves(self, z: Tensor, length: int) -> Tensor:
        """Scaled bands ``(B, mels, frames)`` -> ``(B, length)``."""
        h = self.read(z).mT
        h = self.body(h, torch.ones_like(h[:, :, :1]))
        size, phase = self.say(self.norm(h)).float().mT.chunk(2, 1)  # (B, bins, frames)
        spectra = torch.polar(size.clamp(max=_LOUDEST).exp(), math.pi * phase)
        return istft(spectra, self.window, self.hop, length)

    def waves(self, db: Tensor) -> Tensor:
        """Mel bands in decibels ``(B, mels, t)`` of any number of frames -> samples ``(B, t * hop)``, within [-1, 1]."""
        with torch.no_grad():
            z = F.pad((db.float() - _MIDDLE) / _SPREAD, (0, 1), mode="replicate")
            return self._waves(z, db.shape[2] * self.hop).clamp(-1, 1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Errors of log magnitudes and of magnitudes at three lengths of window, of mel bands; ``prior`` of what ``sample`` draws."""
        x = batch.x[:, 0].float()
        z = self._bands(x)
        made = self._waves(z, self.length)
        magnitude, convergence = x.new_zeros(len(x)), x.new_zeros(len(x))
        for window in self.lengths:
            a, b = (stft(y, window, max(1, window // 4)).abs().clamp_min(1e-4) for y in (made, x))
            magnitude = magnitude + (a.log() - b.log()).abs().mean((1, 2)) / len(self.lengths)
            norm = torch.linalg.vector_norm
            convergence = convergence + norm(a - b, dim=(1, 2)) / norm(b, dim=(1, 2)) / len(self.lengths)
        mel = (self._bands(made) - z).abs().mean((1, 2)) * _SPREAD
        parts = {"magnitude": magnitude, "convergence": convergence, "mel": mel}
        out = {name: _WEIGHTS[name] * value for name, value in parts.items()}
        frame = z.detach().mean(2)
        off = (frame - self.middle) * (-self.wide).exp()
        out["prior"] = (0.5 * off.square() + self.wide + 0.5 * math.log(math.tau)).sum(1)
        return Terms(out)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        """Held sounds ``(n, 1, T)`` of the colours that recordings have on average: a vocoder knows nothing of what is said."""
        z = self.middle + self.wide.exp() * rng.normal(n, self.mels)
        return self._waves(z[:, :, None].expand(-1, -1, self.frames), self.length)[:, None].clamp(-1, 1)

    @torch.no_grad()
    def encode(self, batch: Batch) -> Tensor:
        """Scaled mel bands ``(B, mels, frames)``, about -2 to 2."""
        return self._bands(batch.x[:, 0])

    @torch.no_grad()
    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """Scaled mel bands -> waves ``(B, 1, T)``."""
        return self._waves(z.float(), self.length)[:, None].clamp(-1, 1)
