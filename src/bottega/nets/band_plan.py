"""A plan of a sound: how loud its bands are and what pitch it has, step after step, as whole numbers, and a network that draws such plans."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Rng, Spec
from bottega.nets.condition import Condition
from bottega.nets.masked_mlp import MaskedMLP
from bottega.nets.spectrogram import decibels, mel_filters, stft
from bottega.nets.transformer import Transformer

__all__ = ["ORDER", "PLANNED", "BandPlan", "Past"]

PLANNED = 16
"""Levels of a band: 4 dB each, the lowest is all below -72 dB of a sine of full scale, the highest all above -16."""

_TOP, _STEP = -14.0, 4.0
ORDER = 16
"""Samples from which the next one is predicted: two for each formant below 4 kHz, and some for the tilt."""

_FINER = 4  # filters in a step, between its plan and the next one's
_VOICE = 3  # columns behind the bands: how periodic a step is (0: not), and its pitch, roughly and finely
_SHORT, _LONG = 20, 160  # samples of the periods that are looked for: 400 to 50 Hz at 8 kHz
_SEEN = 384  # samples in which a period is looked for
_PERIODIC = 0.5  # correlation of a period with the one before it
_NOMINAL = 8000  # Hz; a network is not told the rate of its sound, and the mel scale wants one


class Past(NamedTuple):
    """What samples are predicted from: those before, ``(n, 16)``, and what their predictors left, ``(n, 162)``."""

    samples: Tensor
    left: Tensor

    @classmethod
    def silence(cls, n: int) -> Past:
        """Nothing went before ``n`` rows."""
        return cls(*(torch.zeros(n, k, dtype=torch.double) for k in (ORDER, _LONG + 2)))


class BandPlan(nn.Module):
    """``p(plan | condition)``, exact: a causal transformer over steps, and within a step each band given the lower ones.

    A piece is planned coarsely and then made finely (Dieleman, van den Oord and Simonyan 2018, arXiv:1806.10474); the coarse part is
    not learned here but measured, so that a sound has one plan and a joint probability of both bounds the sound's from below.
    A plan also says how a sample follows from those before it: by its bands from the 16 before it, as formants have it, and where
    there is a pitch what is left of it from that of a period ago (Atal and Schroeder 1970, "Adaptive predictive coding of speech
    signals"). What both leave is a whisper's or a voice's sound once noise stands in its place.
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
        self.register_buffer("rank", torch.arange(bands + _VOICE)[None], persistent=False)
        self.given = Condition(cond, width)
        self.columns = bands + _VOICE
        self.enter = nn.Linear(self.columns, width)
        self.place = nn.Parameter(0.1 * torch.randn(self.steps, width))
        self.body = Transformer(width, depth, width // 32)
        self.within = MaskedMLP(self.columns, 1, PLANNED, 256, 1, width)

    @torch.no_grad()
    def measure(self, x: Tensor) -> Tensor:
        """The plan ``(n, steps, bands + 3)`` of sounds ``(n, T)``, whole numbers below ``PLANNED``."""
        with torch.autocast(x.device.type, enabled=False):  # a plan is the same in training and later
            x = F.pad(x.float(), (0, self.steps * self.hop - x.shape[1]))
            spectra = stft(x, 2 * self.hop, self.hop)[..., : self.steps].abs() * (2 / self.hop)
            power = self.filters.float() @ spectra.square()
            levels = ((decibels(power).mT - _TOP) / _STEP + PLANNED - 1).round().clamp(0, PLANNED - 1).long()
            taps, error = self._formants(levels, slice(0, x.shape[1]), x.dtype)
            return torch.cat([levels, self._voice(_unpredicted(F.pad(x, (ORDER, 0)), taps, error), levels)], 2)

    def _voice(self, left: Tensor, levels: Tensor) -> Tensor:
        """How periodic what formants leave ``(n, T)`` is, and its pitch: ``(n, steps, 3)``.

        The period is that by which it resembles most its own past, without the highest frequencies, which hardly repeat.
        """
        shape = torch.hann_window(13, periodic=False, device=left.device)[None, None, 1:-1]
        smooth = F.conv1d(left[:, None], shape / shape.sum(), padding=5)[:, 0]
        lags = torch.arange(_SHORT, _LONG + 1, device=left.device)
        now = F.pad(smooth, (_SEEN // 2, _SEEN))
        before = F.pad(smooth, (_SEEN // 2 + _LONG, _SEEN))
        like = []
        for t in range(0, self.steps * self.hop, self.hop):
            one = now[:, t : t + _SEEN]
            many = before[:, t : t + _LONG + _SEEN].unfold(1, _SEEN, 1).flip(1)[:, _SHORT:]  # by lag
            size = (one.square().sum(1)[:, None] * many.square().sum(2)).sqrt().clamp_min(1e-6)
            like.append((many @ one[:, :, None])[..., 0] / size)
        found, at = (torch.stack(like, 1) - 8e-4 * lags).max(2)  # of a period and its double the first
        found = found + 8e-4 * lags[at]
        pitch = (torch.log2(_LONG / lags[at]) / 3 * (PLANNED**2 - 1)).round().long()
        voice = torch.stack(
            [(found * (PLANNED - 1)).round().long().clamp(0, PLANNED - 1), pitch // PLANNED, pitch % PLANNED], 2
        )
        return voice * ((found > _PERIODIC) & (levels.amax(2) > 3))[..., None]

    def _formants(self, plan: Tensor, samples: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Of each of ``t`` samples what predicts it from those before, ``(n, t, 16)``, and how far off that is, ``(n, t)``.

        Powers of the bands are drawn out over the bins; their transform is the autocorrelation, whose normal equations give the
        predictor and the deviation of its errors (Makhoul 1975, "Linear prediction: a tutorial review"), anew in each quarter
        of a step.
        """
        db = _TOP + _STEP * (plan[..., : self.bands].mT.double() - PLANNED + 1)
        lags = torch.fft.irfft(10 ** ((self._finer(db).mT @ self.drawn) / 10))[..., : ORDER + 1] * (self.hop / 3)
        at = torch.arange(ORDER + 1, device=lags.device)
        lags = lags * torch.exp(-2e-4 * at.square())  # wider formants, so that the equations are well posed
        lags[..., 0] *= 1.0001
        square = lags[..., (at[1:, None] - at[1:]).abs()]
        taps = torch.linalg.solve(square, lags[..., 1:])
        error = (lags[..., 0] - (taps * lags[..., 1:]).sum(-1)).clamp_min(1e-10).sqrt()
        when = self._when(samples, lags.device)
        return taps[:, when].to(dtype), error[:, when].to(dtype)

    def _pitch(self, plan: Tensor, samples: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Of each of ``t`` samples how much is foretold by that of a period ago, and the period in samples, ``(n, t)`` both."""
        strong, high, fine = plan[..., self.bands :].double().unbind(2)
        log = (PLANNED * high + fine) / (PLANNED**2 - 1) * 3
        for by in (1, -1):  # where there is no pitch the one beside it holds, while its strength fades
            log = torch.where((strong == 0) & (strong.roll(by, 1) > 0), log.roll(by, 1), log)
        finer = self._finer(torch.stack([strong / (PLANNED - 1), log], 1))
        when = self._when(samples, plan.device)
        strong, log = finer[..., when].unbind(1)
        return strong.clamp(0, 0.95).to(dtype), (_LONG * 2**-log).to(dtype)

    def _finer(self, x: Tensor) -> Tensor:
        """``(n, k, steps)`` by straight lines to ``(n, k, 4 steps)``."""
        x = F.pad(x, (0, 1), mode="replicate")
        return F.interpolate(x, size=_FINER * self.steps + 1, mode="linear", align_corners=True)[..., :-1]

    def _when(self, samples: slice, device: torch.device) -> Tensor:
        at = torch.arange(samples.start, samples.stop, device=device) // (self.hop // _FINER)
        return at.clamp_max(_FINER * self.steps - 1)

    @torch.no_grad()
    def left_of(self, x: Tensor, plan: Tensor) -> tuple[Tensor, Tensor]:
        """What a plan's predictors leave of sounds ``(n, T)``, in deviations, and these deviations, ``(n, T)`` both."""
        whole = slice(0, x.shape[1])
        taps, error = self._formants(plan, whole, x.dtype)
        strong, period = self._pitch(plan, whole, x.dtype)
        left = _unpredicted(F.pad(x, (ORDER, 0)), taps, error)
        at = torch.arange(x.shape[1], device=x.device) + _LONG + 2 - period
        first = at.floor().long()
        padded = F.pad(left, (_LONG + 2, 1))
        part = at - first
        ago = padded.gather(1, first) * (1 - part) + padded.gather(1, first + 1) * part
        rest = (1 - strong.square()).sqrt()
        return (left - strong * ago) / rest, error * rest

    @torch.no_grad()
    def sound_of(
        self, left: Tensor, plan: Tensor, samples: slice, past: Past, kept: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Past]:
        """The samples that leave ``left`` ``(n, t)``, and their past in turn; ``kept`` ones stay. On the processor, in float64."""
        plan = plan.cpu()
        taps, error = self._formants(plan, samples, torch.double)
        strong, period = self._pitch(plan, samples, torch.double)
        rest, length, front = (1 - strong.square()).sqrt() * left, left.shape[1], _LONG + 2
        x = torch.cat([past.samples, torch.zeros_like(rest)], 1)
        e = torch.cat([past.left, torch.zeros_like(rest)], 1)
        taps = taps.flip(-1)  # in the order of time
        at = torch.arange(length) + front - period
        first = at.floor().long()
        part, rows = at - first, torch.arange(len(x))
        for t in range(length):
            k, f = first[:, t], part[:, t]
            ago = e[rows, k] * (1 - f) + e[rows, k + 1] * f
            said = (x[:, t : t + ORDER] * taps[:, t]).sum(1)
            now = strong[:, t] * ago + rest[:, t]
            if kept is not None:
                now = torch.where(kept[1][:, t], (kept[0][:, t] - said) / error[:, t], now)
            e[:, t + front] = now
            x[:, t + ORDER] = said + error[:, t] * now
        return x[:, ORDER:], Past(x[:, length:], e[:, length:])

    @staticmethod
    def scaled(plan: Tensor) -> Tensor:
        """Levels as numbers from -1 to 1, of any shape."""
        return plan * (2 / (PLANNED - 1)) - 1

    def log_prob(self, plan: Tensor, cond: Tensor | None, drop: Tensor | None = None, rng: Rng | None = None) -> Tensor:
        """Nats of plans, ``(n,)``; with ``rng`` as in training, where ``drop`` ``(n,)`` says whose condition is hidden."""
        logits = self._logits(plan, cond, drop, rng)
        return -F.cross_entropy(logits.flatten(0, 2), plan.flatten(), reduction="none").view(len(plan), -1).sum(1)

    def _logits(self, plan: Tensor, cond: Tensor | None, drop: Tensor | None, rng: Rng | None) -> Tensor:
        """Of each level given all before it, ``(n, steps, bands + 3, PLANNED)``."""
        n = len(plan)
        told = self.scaled(plan).to(self.place.dtype)
        h = F.pad(self.enter(told[:, :-1]), (0, 0, 1, 0)) + self.place + self.given(cond, n, drop)[:, None]
        h = self.body(h, dropout=0.0 if rng is None else self.dropout, rng=rng).flatten(0, 1)
        logits = self.within(told.flatten(0, 1), self.rank, torch.zeros(len(h), dtype=torch.long, device=h.device), h)
        return logits.float().view(n, self.steps, self.columns, PLANNED)

    @torch.no_grad()
    def draw(
        self, n: int, rng: Rng, cond: Tensor | None, temperature: float, guidance: float,
        kept: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """New plans ``(n, steps, bands + 3)``; of ``kept`` plans, ``(n, steps)`` says which steps stay."""
        twice = guidance != 1 and cond is not None and self.given.spec is not None
        given = self.given(cond, n)
        if twice:
            given = torch.cat([given, self.given(None, n)])
        cache = self.body.cache(len(given), self.steps)
        plan = torch.zeros(n, self.steps, self.columns, dtype=torch.long, device=given.device)
        before = torch.zeros_like(given)
        for t in range(self.steps):
            h = self.body((before + self.place[t] + given)[:, None], cache=cache)[:, 0]
            u = rng.uniform(n, self.columns).double().to(given.device)
            within = self.within.begin(len(h), self.rank[0], h)
            told = torch.zeros(len(h), self.columns, dtype=h.dtype, device=h.device)
            for b in range(self.columns):
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


def _unpredicted(x: Tensor, taps: Tensor, error: Tensor) -> Tensor:
    """What predictors leave of samples, in their deviations: ``(n, 16 + t)``, of which 16 went before, to ``(n, t)``."""
    past = x.unfold(1, ORDER, 1)[:, :-1].flip(-1)
    return (x[:, ORDER:] - (past * taps).sum(-1)) / error
