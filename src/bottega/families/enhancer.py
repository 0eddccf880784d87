"""Enhancer: what was said, from a recording with noise, as it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.spectrogram import decibels, mel_filters

__all__ = ["Enhancer", "Listener"]

_BANDS = 48


class Enhancer(Family):
    """Complex filters over the last frames of a spectrum, from a network that remembers what it heard; nothing is drawn.

    The plan is DeepFilterNet's (Schröter et al. 2022, arXiv:2110.05588, equation 2), in one stage: for each bin of each
    frame, ``Y_k = sum_j C_jk X_(k-j)`` with ``taps`` complex weights that a GRU gives, which reads the levels of mel
    bands. Frames lie behind each other and none is looked ahead to, so a recording may be worked on as it arrives
    (``listener``): what comes out is what the whole recording gives, one window later.

    It learns to lower ``10 log10(|x - y|^2 / |x|^2)``, in dB: minus the signal-to-noise ratio of what comes out.

    Args:
        spec: waveforms ``(1, T)`` of which a waveform of the same size is known: ``codec.degrade = "noise"``.
        size: the width of the GRU; weights grow with its square.
        depth: layers of the GRU.
        window: samples of a frame, a power of two; frames lie a quarter of it apart.
        rate: Hz, for the bands that are heard; the codec's.
        taps: frames that a filter sees.
    """

    certain: bool = True
    hears: ClassVar[bool] = True
    variants: ClassVar[dict[str, dict[str, Any]]] = {"one tap": {"taps": 1, "depth": 2}}

    def __init__(
        self, spec: Spec, *, size: int = 128, depth: int = 2, window: int = 256, rate: int = 8000, taps: int = 3
    ) -> None:
        super().__init__(spec)
        if min(size, depth, taps, rate) < 1 or window < 8 or window & (window - 1):
            raise RecipeError(
                f"family.size={size}, depth={depth}, taps={taps}, rate={rate}, window={window}: at least 1, and the window a "
                "power of two of at least 8"
            )
        while window > max(8, spec.shape[1] // 2):
            window //= 2
        self.window, self.hop, self.taps, bins = window, window // 4, taps, window // 2 + 1
        bands = _BANDS
        while True:  # short windows have few bins, and each band needs one
            try:
                filters = mel_filters(rate, window, bands)
                break
            except RecipeError:
                bands //= 2
        self.register_buffer("filters", filters / filters.sum(1, keepdim=True), persistent=False)
        self.register_buffer("slope", torch.hann_window(window).sqrt(), persistent=False)
        self.read = nn.Sequential(nn.Linear(bands, size), nn.SiLU())
        self.body = nn.GRU(size, size, depth, batch_first=True)
        self.say = nn.Linear(2 * size, 2 * taps * bins)
        self.say.readout = True  # type: ignore[assignment]
        with torch.no_grad():
            self.say.weight.mul_(0.1)
            self.say.bias.zero_()
            self.say.bias.view(2, taps, bins)[0, 0] = 0.7  # begins by letting most of the sound through

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Waveforms of which a waveform of the same size is known."""
        if spec.is_tokens or len(spec.shape) != 2 or spec.shape[0] != 1 or spec.shape[1] < 16:
            return "it clears waveforms (1, T); set codec.form = 'wave'"
        if not spec.given_sound or spec.cond is None or spec.cond.shape != spec.shape:
            return "it needs the noisy sound as what is known; set codec.degrade = 'noise'"
        return ""

    def _frames(self, x: Tensor) -> Tensor:
        """Samples ``(B, (K + 3) hop)`` as spectra ``(B, K, bins)``."""
        return torch.fft.rfft(x.unfold(-1, self.window, self.hop) * self.slope)

    def _filtered(self, s: Tensor, past: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Spectra ``(B, K, bins)``, and ``taps - 1`` before them -> the filtered ones, and the network's state."""
        level = decibels(s.abs().square() @ self.filters.T.to(s.real.dtype))
        h = self.read((level + 40) / 20)
        out, state = self.body(h, state)
        weights = self.say(torch.cat([out, h], -1)).float().unflatten(-1, (2, self.taps, -1))
        weights = torch.complex(weights[:, :, 0], weights[:, :, 1])  # (B, K, taps, bins)
        late = torch.cat([past, s], 1).unfold(1, self.taps, 1).movedim(-1, 2).flip(2)  # now first
        return (weights * late).sum(2), state

    def _sound(self, s: Tensor) -> Tensor:
        """Spectra ``(B, K, bins)`` as samples ``(B, (K + 3) hop)``, frames added up where they overlap."""
        parts = torch.fft.irfft(s, self.window) * self.slope / 2
        whole = (s.shape[1] + 3) * self.hop
        return F.fold(parts.mT, (1, whole), (1, self.window), stride=(1, self.hop))[:, 0, 0]

    def clear(self, x: Tensor) -> Tensor:
        """Recordings ``(B, T)`` of any length -> what was said in them, ``(B, T)``."""
        t = x.shape[1]
        whole = -(-t // self.hop) * self.hop
        s = self._frames(F.pad(x.float(), (3 * self.hop, whole - t + 3 * self.hop)))
        past = s.new_zeros(len(s), self.taps - 1, s.shape[2])
        return self._sound(self._filtered(s, past, None)[0])[:, 3 * self.hop : 3 * self.hop + t]

    def listener(self, n: int = 1) -> Listener:
        """Hears ``n`` recordings block by block."""
        return Listener(self, n)

    def _known(self, cond: Tensor | None, n: int) -> Tensor:
        return self.slope.new_zeros(n, self.spec.shape[1]) if cond is None else cond[:, 0]

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``noise``: dB of what is wrong, below what is right. Levels are moved by up to 10 dB either way."""
        gain = 10 ** (rng.uniform(len(batch), 1) - 0.5)
        x = batch.x[:, 0] * gain
        made = self.clear(self._known(batch.cond, len(x)) * gain)
        wrong, right = (x - made).square().mean(1), x.square().mean(1)
        return Terms({"noise": 10 * ((wrong + 1e-8).log10() - (right + 1e-8).log10())})

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        """What was said in ``cond`` ``(n, 1, T)``, ``(n, 1, T)``; ``rng`` is not drawn from, and of nothing comes nothing."""
        return self.clear(self._known(cond, n))[:, None]

    @torch.no_grad()
    def stream(self, n: int, rng: Rng, cond: Tensor | None = None) -> Iterator[Tensor]:
        """The same in parts ``(n, 1, t)`` as ``cond`` arrives."""
        ear, x = self.listener(n), self._known(cond, n)
        for block in x.split(max(1, min(8 * self.hop, x.shape[1] // 4)), 1):
            if (part := ear.hear(block)).shape[1]:
                yield part[:, None]
        yield ear.end()[:, None]


class Listener:
    """Clears recordings block by block; blocks may have any length. A window of silence before and after is understood."""

    def __init__(self, model: Enhancer, n: int) -> None:
        self.model = model
        zeros = model.slope.new_zeros
        self.held = zeros(n, 3 * model.hop)  # samples whose frames are not all there yet
        self.past = torch.zeros(n, model.taps - 1, model.window // 2 + 1, dtype=torch.complex64, device=zeros(1).device)
        self.tail = zeros(n, 3 * model.hop)  # what later frames add to
        self.state: Tensor | None = None
        self.skip, self.heard, self.given = 3 * model.hop, 0, 0

    @property
    def latency(self) -> int:
        """Samples between a sound and its cleared form."""
        return self.model.window

    @torch.no_grad()
    def hear(self, block: Tensor) -> Tensor:
        """``(n, t)`` samples -> those that are ready ``(n, t')``: all but the last window's, as ``clear`` has them."""
        self.heard += block.shape[1]
        return self._ready(block.float())

    def _ready(self, block: Tensor) -> Tensor:
        model = self.model
        x = torch.cat([self.held, block], 1)
        frames = (x.shape[1] - model.window) // model.hop + 1
        if frames < 1:
            self.held = x
            return x[:, :0]
        s = model._frames(x[:, : (frames + 3) * model.hop])
        self.held = x[:, frames * model.hop :]
        made, self.state = model._filtered(s, self.past, self.state)
        if model.taps > 1:
            self.past = torch.cat([self.past, s], 1)[:, 1 - model.taps :]
        sound = model._sound(made)
        sound[:, : self.tail.shape[1]] += self.tail
        ready, self.tail = sound[:, : frames * model.hop], sound[:, frames * model.hop :]
        cut = min(self.skip, ready.shape[1])
        self.skip -= cut
        self.given += ready.shape[1] - cut
        return ready[:, cut:]

    @torch.no_grad()
    def end(self) -> Tensor:
        """The rest, ``(n, t')``: there comes nothing more."""
        hop = self.model.hop
        missing = -self.heard % hop + 3 * hop
        left = self.heard - self.given
        return self._ready(self.held.new_zeros(len(self.held), missing))[:, :left]
