"""Changes of sound for ``augment``: waveforms, mu-law levels, log-mel spectra, and the rows of codec ``speech``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bottega.core import Batch, Rng, Spec
from bottega.nets.mu_law import mu_law, mu_law_inverse
from bottega.nets.spectrogram import band_centres

__all__ = ["SOUNDS", "Sounds", "are_notes"]

GAIN_DB = 6.0
NOISE_DB = (10.0, 30.0)  # signal to noise
STRETCH = 1.1
_TAPS = 8  # of the windowed sinc, on each side


@dataclass(frozen=True)
class Sounds:
    """How examples hold sound.

    Attributes:
        form: ``"wave"``: ``(1, samples)`` in [-1, 1]; ``"mulaw"``: levels ``(samples,)``; ``"mel"``: decibels
            ``(1, bands, frames)`` from -1 (``range_db`` below the loudest) to 1; ``"speech"``: the same with rows of F0,
            level and place below the bands.
        rate: samples a second, Hz.
        mels: bands of a spectrum; 0 of waveforms.
        range_db: between -1 and 1 of a spectrum.
        labels: the names of classes or words that are known of examples.
    """

    form: str
    rate: int
    mels: int = 0
    range_db: float = 80.0
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, codec: Any) -> Sounds | None:
        """As a fitted codec holds it; None where it does not say (the codes of another model, for example)."""
        labels = tuple(str(name) for name in [*getattr(codec, "classes", ()), *getattr(codec, "words", ())])
        mels, range_db = getattr(codec, "mels", 0), getattr(codec, "range_db", 80.0)
        form = getattr(codec, "form", None)
        if form is None and mels and codec.spec.is_image and codec.spec.shape[1] > mels:
            return cls("speech", codec.rate, mels, range_db)
        if form not in {"wave", "mulaw", "mel"}:
            return None
        return cls(form, codec.used_rate, mels if form == "mel" else 0, range_db, labels)

    def heard(self, x: Tensor) -> Tensor:
        """Examples as real samples ``(B, 1, n)`` or spectra ``(B, 1, bands, frames)``."""
        if self.form == "mulaw":
            return mu_law_inverse(x)[:, None]
        return x

    def held(self, y: Tensor) -> Tensor:
        """The inverse of ``heard``, within range."""
        y = y.clamp(-1, 1)
        if self.form == "mulaw":
            return mu_law(y[:, 0])
        return y

    @property
    def is_wave(self) -> bool:
        """Whether ``heard`` gives samples; 0 is silence there and -1 in spectra."""
        return self.form in {"wave", "mulaw"}


def are_notes(labels: Sequence[str]) -> bool:
    """Whether all labels name pitches: ``c4``, ``F#3``, ``440 Hz``, or MIDI's numbers from 21 to 108.

    >>> are_notes(["c4", "eb4"]), are_notes(["60", "62"]), are_notes(["0", "1", "9"]), are_notes(["dog", "a4"])
    (True, True, False, False)
    """
    if labels and all(re.fullmatch(r"\d+", name) for name in labels):
        return all(21 <= int(name) <= 108 for name in labels)
    return bool(labels) and all(re.fullmatch(r"(?i)[a-h](#|b|s|is|es)?-?\d|\d+(\.\d+)? ?hz", name.strip()) for name in labels)  # fmt: skip


def _both(batch: Batch, spec: Spec, sounds: Sounds, change: Callable[[Tensor], Tensor]) -> Batch:
    """The change made to examples, and to the sound that is known of each in the same way."""
    cond = batch.cond
    if spec.given_sound and cond is not None:
        cond = change(cond).clamp(-1, 1)
    return Batch(sounds.held(change(sounds.heard(batch.x))), cond, batch.mask)


def _gain(batch: Batch, rng: Rng, spec: Spec, sounds: Sounds) -> Batch:
    """Up to 6 dB louder or softer, never beyond full scale; keeps labels unless they name a loudness."""
    db = (2 * rng.uniform(len(batch)) - 1) * GAIN_DB
    if sounds.is_wave:
        peak = sounds.heard(batch.x).abs().flatten(1).amax(1)
        if spec.given_sound and batch.cond is not None:
            peak = torch.maximum(peak, batch.cond.abs().flatten(1).amax(1))
        db = torch.minimum(db, -20 * peak.clamp_min(1e-6).log10().clamp_max(0))
        return _both(batch, spec, sounds, lambda y: y * (10 ** (db / 20)).view(-1, 1, 1))
    rows = [*range(sounds.mels), sounds.mels + 1] if sounds.form == "speech" else list(range(sounds.mels))
    x = batch.x.clone()
    some = x[:, :, rows]
    room = (1 - some.flatten(1).amax(1)) * sounds.range_db / 2
    step = (torch.minimum(db, room) * 2 / sounds.range_db).view(-1, 1, 1, 1)
    x[:, :, rows] = torch.where(some > -1, some + step, some).clamp(
        -1, 1
    )  # the floor is silence, however loud the rest
    return Batch(x, batch.cond, batch.mask)


def _noise(batch: Batch, rng: Rng, spec: Spec, sounds: Sounds) -> Batch:
    """Noise 10 to 30 dB below the sound's mean power, of any colour in waveforms, white in spectra; keeps labels."""
    low, high = NOISE_DB
    ratio = 10 ** ((low + (high - low) * rng.uniform(len(batch))) / 10)
    y = sounds.heard(batch.x)
    if sounds.is_wave:
        spectrum = torch.fft.rfft(rng.normal(*y.shape))
        bins = torch.arange(spectrum.shape[-1], device=y.device).clamp_min(1)
        made = torch.fft.irfft(spectrum * bins ** (-rng.uniform(len(batch), 1, 1)), y.shape[-1])
        made = made / made.square().mean(-1, keepdim=True).clamp_min(1e-12).sqrt()
        power = y.square().mean(-1, keepdim=True) / ratio.view(-1, 1, 1)
        return Batch(sounds.held(y + made.to(y.dtype) * power.sqrt()), batch.cond, batch.mask)
    # bands of equal area (Slaney) hold equal power of white noise; its phase to the sound's is anyone's
    scale = sounds.range_db / 20
    sound = 10 ** ((y - 1) * scale) * (y > -1)  # so 0 dB is the loudest band of the data
    amount = (sound.mean((1, 2, 3)) / ratio / 2).view(-1, 1, 1, 1).sqrt()
    z = rng.normal(*y.shape, 2).to(y.dtype)
    both = (sound.sqrt() + amount * z[..., 0]).square() + (amount * z[..., 1]).square()
    return Batch(sounds.held(both.clamp_min(1e-20).log10() / scale + 1), batch.cond, batch.mask)


def _shift(batch: Batch, rng: Rng, spec: Spec, sounds: Sounds) -> Batch:
    """Earlier or later by up to an eighth of the time, silence moving in; keeps labels, cuts what stands at the edge."""
    n = batch.x.shape[-1]
    reach = max(1, n // 8)
    by = rng.integers(2 * reach + 1, len(batch)) - reach
    at = torch.arange(n, device=batch.x.device) - by[:, None]
    there = (at >= 0) & (at < n)
    silence = 0.0 if sounds.is_wave else -1.0

    def moved(y: Tensor) -> Tensor:
        view = (-1, *[1] * (y.ndim - 2), n)
        return torch.where(there.view(view), y.gather(-1, at.clamp(0, n - 1).view(view).expand_as(y)), silence)

    return _both(batch, spec, sounds, moved)


def _span(rng: Rng, rows: int, n: int, most: int) -> Tensor:
    """Where a mask of 0 to ``most`` of ``n`` places lies: ``(rows, n)`` bool (Park et al. 2019, section 2)."""
    width = rng.integers(most + 1, rows)
    first = (rng.uniform(rows) * (n - width + 1)).floor()
    at = torch.arange(n, device=width.device)
    return (at >= first[:, None]) & (at < (first + width)[:, None])


def _time_mask(batch: Batch, rng: Rng, spec: Spec, sounds: Sounds) -> Batch:
    """Up to an eighth of the time at the mean (SpecAugment; silence in waveforms); keeps labels. For what is read, not made."""
    n = batch.x.shape[-1]
    gone = _span(rng, len(batch), n, max(1, n // 8))

    def masked(y: Tensor) -> Tensor:
        fill = torch.zeros_like(y) if sounds.is_wave else y.mean((1, 2, 3), keepdim=True).expand_as(y)
        return torch.where(gone.view(-1, *[1] * (y.ndim - 2), n), fill, y)

    return _both(batch, spec, sounds, masked)


def _frequency_mask(batch: Batch, rng: Rng, spec: Spec, sounds: Sounds) -> Batch:
    """Up to a fifth of the mel scale at the mean (SpecAugment; taken out of waveforms); keeps labels. For what is read, not made."""
    if not sounds.is_wave:
        gone = _span(rng, len(batch), sounds.mels, max(1, sounds.mels // 5))[:, None, :, None]
        return _both(batch, spec, sounds, lambda y: torch.where(gone, y.mean((1, 2, 3), keepdim=True), y))
    bands = 64
    gone = _span(rng, len(batch), bands, bands // 5)
    n = batch.x.shape[-1]
    bins = torch.linspace(0, sounds.rate / 2, n // 2 + 1, device=batch.x.device)
    band = torch.searchsorted(band_centres(sounds.rate, bands).to(bins), bins).clamp_max(bands - 1)
    keep = (~gone)[:, None, band]
    return _both(batch, spec, sounds, lambda y: torch.fft.irfft(torch.fft.rfft(y) * keep, n))


def _pitch(batch: Batch, rng: Rng, spec: Spec, sounds: Sounds) -> Batch:
    """Pitch and formants higher or lower by up to 10 %, waveforms also faster or slower; not where labels are notes.

    Waveforms are resampled about their middle (speed perturbation: Ko et al. 2015, "Audio augmentation for speech
    recognition"), the frequency axis of spectra stretched (Jaitly and Hinton 2013, "Vocal tract length perturbation").
    """
    factor = STRETCH ** (2 * rng.uniform(len(batch)) - 1)
    if sounds.is_wave:
        return _both(batch, spec, sounds, lambda y: _played(y, factor))
    centres = band_centres(sounds.rate, sounds.mels).to(batch.x.device, torch.float64)
    wanted = centres / factor[:, None].double()  # where each band's content was
    above = torch.searchsorted(centres, wanted).clamp(1, sounds.mels - 1)
    part = ((wanted - centres[above - 1]) / (centres[above] - centres[above - 1])).clamp(0, 1)
    beyond = wanted > sounds.rate / 2

    def stretched(y: Tensor) -> Tensor:
        low, high = (y.gather(2, k[:, None, :, None].expand_as(y)) for k in (above - 1, above))
        out = torch.lerp(low, high, part[:, None, :, None].to(y.dtype).expand_as(y))
        return torch.where(beyond[:, None, :, None], -1.0, out)

    return _both(batch, spec, sounds, stretched)


def _played(y: Tensor, factor: Tensor) -> Tensor:
    """Samples ``(B, 1, n)`` so many times as fast ``(B,)``, silence beyond the ends; a windowed sinc below both rates' halves."""
    n = y.shape[-1]
    factor = factor.to(y.dtype)[:, None]
    at = (n - 1) / 2 + (torch.arange(n, device=y.device, dtype=y.dtype) - (n - 1) / 2) * factor
    whole = at.floor()
    cut = (1 / factor).clamp_max(1)  # or what is played faster would fold
    out = torch.zeros_like(y[:, 0])
    for k in range(-_TAPS + 1, _TAPS + 1):
        from_ = whole + k
        away = at - from_
        weight = cut * torch.sinc(cut * away) * torch.cos(math.pi / 2 * away / (_TAPS + 1)).square()
        there = (from_ >= 0) & (from_ < n)
        out += torch.where(there, y[:, 0].gather(1, from_.long().clamp(0, n - 1)) * weight, 0.0)
    return out[:, None]


SOUNDS: dict[str, Callable[[Batch, Rng, Spec, Sounds], Batch]] = {
    "gain": _gain,
    "noise": _noise,
    "shift": _shift,
    "time_mask": _time_mask,
    "frequency_mask": _frequency_mask,
    "pitch": _pitch,
}
