"""How far the spectra of speech that is made anew are from the real ones, frame by frame that say the same."""

from __future__ import annotations

import torch
from torch import Tensor

from bottega.core import Measure, mean_interval
from bottega.judge._case import Case
from bottega.judge._spoken import mels_of, paired, remade

__all__ = ["measure", "log_spectral_distance"]

needs: tuple[str, ...] = ("model", "spoken")
media: tuple[str, ...] = ("audio",)


def log_spectral_distance(a: Tensor, b: Tensor) -> float:
    """Root of the mean squared difference of two spectra ``(T, bands)`` in dB, the mean over frames (Gray and Markel 1976).

    >>> log_spectral_distance(torch.zeros(4, 3), torch.full((4, 3), 2.0))
    2.0
    """
    return float((a - b).square().mean(1).sqrt().mean())


def measure(case: Case) -> list[Measure]:
    """``log_spectral_distance_db`` of mel bands: held-out sentences said again, their frames paired by time warping."""
    layout = case.facts["speech"]
    real, made, _ = remade(case)
    floor = layout["top_db"] - layout["range_db"]
    values = []
    for a, b in zip(mels_of(layout, made), mels_of(layout, real), strict=True):
        one, two = paired(a, b)
        values.append(log_spectral_distance(a.cpu().clamp_min(floor)[one], b.cpu().clamp_min(floor)[two]))
    value, low, high = mean_interval(torch.tensor(values))
    note = f"{len(values)} held-out sentences said again; frames paired by dynamic time warping of cepstra"
    return [
        Measure("log_spectral_distance_db", value, low, high, n=len(values), seed=case.seed, better="lower", note=note)
    ]
