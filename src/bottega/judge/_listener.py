"""The ears of the judges of speech: a recogniser of words and a network that tells voices apart, both trained here."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bottega.core import Rng
from bottega.judge._nets import fit
from bottega.nets.convnext import Stack

__all__ = [
    "Ear",
    "VoiceNet",
    "Word",
    "WordLoop",
    "bootstrap",
    "equal_error",
    "train_ear",
    "train_voices",
    "word_errors",
]

Word = tuple[int, ...]
_SHARP = 15.0


_FLOOR_DB = 55.0  # below the loudest; what is softer is the floor of a file, not of a voice


def _looked(mel: Tensor, mask: Tensor, level: bool = False) -> Tensor:
    """Decibels ``(B, T, mels)`` with the utterance's own level (and, unless ``level``, its colour) taken off."""
    top = torch.where(mask > 0, mel, -200.0).amax((1, 2), keepdim=True)
    mel = torch.maximum(mel, top - _FLOOR_DB)
    loud = mask * (mel.amax(2, keepdim=True) > top - 40)
    mean = (mel * loud).sum(1, keepdim=True) / loud.sum(1, keepdim=True).clamp_min(1)
    if level:
        mean = mean.mean(2, keepdim=True)
    return (mel - mean) / 20


class Ear(nn.Module):
    """Mel decibels to log probabilities of the sound that is said in each frame; pauses are sounds of their own.

    The acoustic model of a hybrid recogniser (Bourlard and Morgan 1994): frames are named, a search finds the words.

    Args:
        mels: bands.
        labels: sounds.
        size: channels of its ConvNeXt blocks.
        depth: how many.
    """

    def __init__(self, mels: int, labels: int, size: int = 112, depth: int = 4) -> None:
        super().__init__()
        self.read, self.body = nn.Linear(mels, size), Stack(size, depth, 9)
        self.say = nn.Linear(size, labels)

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, mels)`` in dB and how many frames are real -> ``(B, T, labels)``."""
        mask = (torch.arange(mel.shape[1], device=mel.device) < lengths[:, None])[:, :, None].float()
        return self.say(self.body(self.read(_looked(mel, mask)), mask)).log_softmax(-1)


class VoiceNet(nn.Module):
    """Mel decibels to a unit vector that says whose voice it is (Wan et al. 2018, arXiv:1710.10467, trained by a softmax of cosines)."""

    def __init__(self, mels: int, voices: int, size: int = 96, width: int = 64) -> None:
        super().__init__()
        self.read, self.body = nn.Linear(mels, size), Stack(size, 3, 5)
        self.out, self.centres = nn.Linear(2 * size, width), nn.Parameter(torch.randn(voices, width))

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, mels)`` in dB and how many frames are real -> ``(B, width)``."""
        mask = (torch.arange(mel.shape[1], device=mel.device) < lengths[:, None])[:, :, None].float()
        h = self.body(self.read(_looked(mel, mask, level=True)), mask)
        count = mask.sum(1).clamp_min(1)
        mean = h.sum(1) / count
        spread = (((h - mean[:, None]) * mask).square().sum(1) / count + 1e-5).sqrt()
        return F.normalize(self.out(torch.cat([mean, spread], 1)), dim=1)


def _changed(mel: Tensor, rng: Rng, *, voice: bool) -> Tensor:
    """Other throats and rooms: bands stretched, tilted, blurred, hidden, hissed over; of ``voice``, the throat stays."""
    t, f = mel.shape
    u = rng.uniform(9)
    if not voice:
        wider = 1 + 0.24 * (u[0] - 0.5)
        at = (torch.arange(f, device=mel.device) * wider).clamp(max=f - 1)
        low = at.floor().long()
        mel = mel[:, low] + (at - low) * (mel[:, (low + 1).clamp(max=f - 1)] - mel[:, low])
    if u[1] < 0.5:  # as what a mean of many says, and phases that do not fit, blur
        mel = F.avg_pool2d(
            mel[None, None], (3, 3 if u[1] < 0.25 else 1), 1, (1, 1 if u[1] < 0.25 else 0), count_include_pad=False
        )[0, 0]
    mel = mel + 6 * (u[2] - 0.5) * torch.linspace(-1, 1, f, device=mel.device)
    mel = mel + rng.normal(*mel.shape) * (4 * u[3])
    mel = torch.maximum(mel, mel.max() - 35 - 25 * u[4])  # a floor of noise
    mel = mel.clone()
    band = int(u[5] * (f - 8))
    mel[:, band : band + int(u[6] * 8)] = mel.mean()
    return mel


def _padded(rows: Sequence[Tensor], value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Rows of different lengths ``(T, ...)`` as one ``(B, most, ...)``, and their lengths."""
    lengths = torch.tensor([len(r) for r in rows], device=rows[0].device)
    out = rows[0].new_full((len(rows), int(lengths.max()), *rows[0].shape[1:]), value)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out, lengths


def train_ear(
    net: Ear, mels: Sequence[Tensor], sounds: Sequence[Tensor], rng: Rng, steps: int, batch: int = 12
) -> None:
    """Teach an ``Ear``: decibels ``(T, mels)`` of each recording and the sound that each frame is of, ``(T,)``; -1 is unknown."""

    def loss(rng: Rng) -> Tensor:
        rows = rng.integers(len(mels), min(batch, len(mels))).tolist()
        some, said = [], []
        for i in rows:
            t = len(mels[i])
            long = max(8, round(t * (0.85 + 0.3 * float(rng.uniform(1)))))  # another tempo
            at = (torch.arange(long, device=mels[i].device) * (t / long)).long().clamp(max=t - 1)
            some.append(_changed(mels[i][at], rng, voice=False))
            said.append(sounds[i].to(at.device)[at])
        x, lengths = _padded(some)
        target = _padded(said, -1)[0]
        return F.nll_loss(net(x, lengths).flatten(0, 1), target.flatten(), ignore_index=-1)

    fit(net, loss, rng, steps, lr=3e-3)


def train_voices(
    net: VoiceNet, mels: Sequence[Tensor], voices: Sequence[int], rng: Rng, steps: int, batch: int = 24
) -> None:
    """Teach a ``VoiceNet`` on pieces of 1 to 2 seconds (60 to 120 frames) of recordings ``(T, mels)`` of known voices."""
    known = torch.tensor(list(voices))

    def loss(rng: Rng) -> Tensor:
        rows = rng.integers(len(mels), batch).tolist()
        some = []
        for i in rows:
            long = 60 + int(rng.integers(60, 1))
            first = int(rng.integers(max(1, len(mels[i]) - long), 1))
            some.append(_changed(mels[i][first : first + long], rng, voice=True))
        cosines = net(*_padded(some)) @ F.normalize(net.centres, dim=1).T
        return F.cross_entropy(_SHARP * cosines, known.to(cosines.device)[rows])

    fit(net, loss, rng, steps, lr=3e-3)


class WordLoop:
    """The words of a closed vocabulary, any behind any, that a recording most likely holds: Viterbi over an ``Ear``'s frames.

    A word is the row of its sounds, each of which lasts at least one frame; behind a word another may begin, or a pause.

    Args:
        words: each as its sounds.
        fillers: single sounds that are no words: pauses, marks.
        penalty: nats that a new word costs.
    """

    def __init__(self, words: Sequence[Word], fillers: Sequence[int], penalty: float = 2.0) -> None:
        self.words, self.real, self.penalty = [*words, *((f,) for f in fillers)], len(words), penalty
        self.label = np.array([sound for sounds in self.words for sound in sounds])
        lengths = np.array([len(sounds) for sounds in self.words])
        self.ends = np.cumsum(lengths) - 1
        self.begins = self.ends - lengths + 1
        self.first = np.zeros(len(self.label), bool)
        self.first[self.begins] = True
        self.cost = np.where(np.arange(len(self.words)) < len(words), penalty, 0.0)

    def hear(self, log_probs: NDArray[np.float32]) -> list[Word]:
        """``(T, labels)`` of one recording -> its words."""
        score = np.full(len(self.label), -np.inf)
        link = np.zeros(len(self.label), np.int64)
        links: list[tuple[int, int]] = [(-1, -1)]
        entry, entry_link = 0.0, 0
        for frame in log_probs:
            step, step_link = np.roll(score, 1), np.roll(link, 1)
            step[self.begins], step_link[self.begins] = entry - self.cost, entry_link
            moved = step > score
            score = np.where(moved, step, score) + frame[self.label]
            link = np.where(moved, step_link, link)
            best = int(score[self.ends].argmax())
            links.append((int(link[self.ends[best]]), best))
            entry, entry_link = score[self.ends[best]], len(links) - 1
        out, at = [], len(links) - 1
        while at > 0:
            before, word = links[at]
            if 0 <= word < self.real:
                out.append(self.words[word])
            at = before
        return out[::-1]


def word_errors(said: Sequence[Word], heard: Sequence[Word]) -> int:
    """Words put in, left out and changed (Levenshtein 1966).

    >>> word_errors([(1,), (2,), (3,)], [(1,), (3,), (4,)])
    2
    """
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def bootstrap(
    errors: Sequence[float], counts: Sequence[float], seed: int = 0, times: int = 2000
) -> tuple[float, float, float]:
    """1 less the summed errors over the summed counts, and its 95 % interval over sentences (Efron 1979)."""
    e, c = np.asarray(errors, float), np.asarray(counts, float)
    rows = np.random.default_rng(seed).integers(0, len(e), (times, len(e)))
    some = 1 - e[rows].sum(1) / np.maximum(c[rows].sum(1), 1)
    low, high = np.quantile(some, [0.025, 0.975])
    value = 1 - e.sum() / max(c.sum(), 1)
    return float(value), float(min(low, value)), float(max(high, value))


def equal_error(same: NDArray[np.floating], other: NDArray[np.floating]) -> tuple[float, float]:
    """The rate at which as many of the same are refused as others are taken, and the threshold of the score.

    >>> equal_error(np.array([0.9, 0.8]), np.array([0.1, 0.2]))[0]
    0.0
    """
    levels = np.unique(np.concatenate([same, other]))
    middles = np.concatenate([levels[:1] - 1e-6, (levels[1:] + levels[:-1]) / 2, levels[-1:] + 1e-6])
    refused = np.searchsorted(np.sort(same), middles) / len(same)
    taken = 1 - np.searchsorted(np.sort(other), middles) / len(other)
    k = int(np.abs(refused - taken).argmin())
    return float((refused[k] + taken[k]) / 2), float(middles[k])


def equal_error_interval(eer: float, n: int) -> tuple[float, float]:
    """95 % of a share of ``n`` trials."""
    half = 1.96 * math.sqrt(max(eer * (1 - eer), 1e-9) / max(n, 1))
    return max(0.0, eer - half), min(1.0, eer + half)
