"""A plan of a sound: how loud its bands are, step after step, as whole numbers, and a network that draws such plans."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Rng, Spec
from bottega.nets.condition import Condition
from bottega.nets.masked_mlp import MaskedMLP
from bottega.nets.spectrogram import decibels, mel_filters, stft
from bottega.nets.transformer import Transformer

__all__ = ["ORDER", "PLANNED", "BandPlan"]

PLANNED = 16
"""Levels of a band: 4 dB each, the lowest is all below -72 dB of a sine of full scale, the highest all above -16."""

_TOP, _STEP = -14.0, 4.0
ORDER = 16
"""Samples from which the next one is predicted: two for each formant below 4 kHz, and some for the tilt."""

_FINER = 4  # filters in a step, between its plan and the next one's
_NOMINAL = 8000  # Hz; a network is not told the rate of its sound, and the mel scale wants one


class BandPlan(nn.Module):
    """``p(plan | condition)``, exact: a causal transformer over steps, and within a step each band given the lower ones.

    A piece is planned coarsely and then made finely (Dieleman, van den Oord and Simonyan 2018, arXiv:1806.10474); the coarse part is
    not learned here but measured, so that a sound has one plan and a joint probability of both bounds the sound's from below.
    Steps by a recurrent or causal network and their notes or bands by a masked one: Boulanger-Lewandowski et al. 2012
    (arXiv:1206.6392, section 4), with MADE (arXiv:1502.03509) for the inner part.

    Args:
        length: samples of a piece.
        hop: samples of a step, a multiple of 4 and at least 16; spectra are of twice as many, centred on the step's begin.
        bands: of a mel scale as that of sound at 8 kHz.
        cond: what is known of a piece, or None.
        width: of the transformer, a multiple of 32.
        depth: its layers.
        dropout: the chance that a number added to its stream is forgotten in training.
    """

    filters: Tensor
    drawn: Tensor
    rank: Tensor

    def __init__(
        self, length: int, hop: int, bands: int, cond: Spec | None, *, width: int = 128, depth: int = 4, dropout: float = 0.1
    ) -> None:  # fmt: skip
        super().__init__()
        self.hop, self.bands, self.steps, self.dropout = hop, bands, -(-length // hop), dropout
        filters = mel_filters(_NOMINAL, 2 * hop, bands)
        self.register_buffer("filters", filters / filters.sum(1, keepdim=True), persistent=False)
        tops = filters.argmax(1).tolist()
        bins = np.arange(hop + 1)
        drawn = np.stack([np.interp(bins, tops, row) for row in np.eye(bands)])
        self.register_buffer("drawn", torch.from_numpy(drawn), persistent=False)
        self.register_buffer("rank", torch.arange(bands)[None], persistent=False)
        self.given = Condition(cond, width)
        self.enter = nn.Linear(bands, width)
        self.place = nn.Parameter(0.1 * torch.randn(self.steps, width))
        self.body = Transformer(width, depth, width // 32)
        self.within = MaskedMLP(bands, 1, PLANNED, 256, 1, width)

    def measure(self, x: Tensor) -> Tensor:
        """The plan ``(n, steps, bands)`` of sounds ``(n, T)``, whole numbers below ``PLANNED``."""
        with torch.autocast(x.device.type, enabled=False):  # a plan is the same in training and later
            x = F.pad(x.float(), (0, self.steps * self.hop - x.shape[1]))
            spectra = stft(x, 2 * self.hop, self.hop)[..., : self.steps].abs() * (2 / self.hop)
            power = self.filters.float() @ spectra.square()
        return ((decibels(power).mT - _TOP) / _STEP + PLANNED - 1).round().clamp(0, PLANNED - 1).long()

    @torch.no_grad()
    def filters_of(self, plan: Tensor, samples: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Of each of ``t`` samples what predicts it from those before, ``(n, t, 16)``, and how far off that is, ``(n, t)``.

        Powers of the bands are drawn out over the bins; their transform is the autocorrelation, whose normal equations give the
        predictor and the deviation of its errors (Makhoul 1975, "Linear prediction: a tutorial review"), anew in each quarter
        of a step.
        """
        db = _TOP + _STEP * (plan.mT.double() - PLANNED + 1)
        db = F.pad(db, (0, 1), mode="replicate")
        db = F.interpolate(db, size=_FINER * self.steps + 1, mode="linear", align_corners=True)[..., :-1]
        lags = torch.fft.irfft(10 ** ((db.mT @ self.drawn) / 10))[..., : ORDER + 1] * (self.hop / 3)
        at = torch.arange(ORDER + 1, device=lags.device)
        lags = lags * torch.exp(-2e-4 * at.square())  # wider formants, so that the equations are well posed
        lags[..., 0] *= 1.0001
        square = lags[..., (at[1:, None] - at[1:]).abs()]
        taps = torch.linalg.solve(square, lags[..., 1:])
        error = (lags[..., 0] - (taps * lags[..., 1:]).sum(-1)).clamp_min(1e-10).sqrt()
        when = torch.arange(samples.start, samples.stop, device=lags.device) // (self.hop // _FINER)
        when = when.clamp_max(_FINER * self.steps - 1)
        return taps[:, when].to(dtype), error[:, when].to(dtype)

    @staticmethod
    def whitened(x: Tensor, taps: Tensor, error: Tensor) -> Tensor:
        """What predictors leave of samples, in their deviations: ``(n, 16 + t)``, of which 16 went before, to ``(n, t)``."""
        past = x.unfold(1, ORDER, 1)[:, :-1].flip(-1)
        return (x[:, ORDER:] - (past * taps).sum(-1)) / error

    @staticmethod
    def coloured(
        e: Tensor, taps: Tensor, error: Tensor, past: Tensor, kept: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The samples that leave ``e``, and the last 16 of them; ``past`` ``(n, 16)`` went before, ``kept`` ones stay."""
        length = e.shape[1]
        x = torch.cat([past, e * error], 1)
        taps = taps.flip(-1)  # in the order of time
        for t in range(length):
            x[:, t + ORDER] += (x[:, t : t + ORDER] * taps[:, t]).sum(1)
            if kept is not None:
                x[:, t + ORDER] = torch.where(kept[1][:, t], kept[0][:, t], x[:, t + ORDER])
        return x[:, ORDER:], x[:, length:]

    @staticmethod
    def scaled(plan: Tensor) -> Tensor:
        """Levels as numbers from -1 to 1."""
        return plan * (2 / (PLANNED - 1)) - 1

    def log_prob(self, plan: Tensor, cond: Tensor | None, drop: Tensor | None = None, rng: Rng | None = None) -> Tensor:
        """Nats of plans, ``(n,)``; with ``rng`` as in training, where ``drop`` ``(n,)`` says whose condition is hidden."""
        logits = self._logits(plan, cond, drop, rng)
        return -F.cross_entropy(logits.flatten(0, 2), plan.flatten(), reduction="none").view(len(plan), -1).sum(1)

    def _logits(self, plan: Tensor, cond: Tensor | None, drop: Tensor | None, rng: Rng | None) -> Tensor:
        """Of each level given all before it, ``(n, steps, bands, PLANNED)``."""
        n = len(plan)
        told = self.scaled(plan).to(self.place.dtype)
        h = F.pad(self.enter(told[:, :-1]), (0, 0, 1, 0)) + self.place + self.given(cond, n, drop)[:, None]
        h = self.body(h, dropout=0.0 if rng is None else self.dropout, rng=rng).flatten(0, 1)
        logits = self.within(told.flatten(0, 1), self.rank, torch.zeros(len(h), dtype=torch.long, device=h.device), h)
        return logits.float().view(n, self.steps, self.bands, PLANNED)

    @torch.no_grad()
    def draw(
        self, n: int, rng: Rng, cond: Tensor | None, temperature: float, guidance: float,
        kept: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """New plans ``(n, steps, bands)``; of ``kept`` plans, ``(n, steps)`` says which steps stay."""
        twice = guidance != 1 and cond is not None and self.given.spec is not None
        given = self.given(cond, n)
        if twice:
            given = torch.cat([given, self.given(None, n)])
        cache = self.body.cache(len(given), self.steps)
        plan = torch.zeros(n, self.steps, self.bands, dtype=torch.long, device=given.device)
        before = torch.zeros_like(given)
        for t in range(self.steps):
            h = self.body((before + self.place[t] + given)[:, None], cache=cache)[:, 0]
            u = rng.uniform(n, self.bands).double().to(given.device)
            within = self.within.begin(len(h), self.rank[0], h)
            told = torch.zeros(len(h), self.bands, dtype=h.dtype, device=h.device)
            for b in range(self.bands):
                logits = self.within.next_place(within, told, b)
                if twice:
                    asked, free = logits.chunk(2)
                    logits = free + guidance * (asked - free)
                below = (logits.double() / temperature).softmax(1).cumsum(1)
                level = (below < u[:, b : b + 1]).sum(1).clamp_max(PLANNED - 1)
                if kept is not None:
                    level = torch.where(kept[1][:, t], kept[0][:, t, b], level)
                plan[:, t, b] = level
                told[:, b] = self.scaled(level).repeat(len(h) // n)
            before = self.enter(told)
        return plan
