"""Which frames of a recording are which sounds: learned from recordings and their sounds alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Aligner", "monotonic", "monotonic_many"]


def monotonic(score: Tensor, optional: Tensor | None = None) -> Tensor:
    """The likeliest way through: how many frames each token takes, ``(L,)`` for scores ``(L, T)``.

    Monotonic alignment search (Kim et al. 2020, arXiv:2005.11129, algorithm 1), with tokens that may be passed over: the
    short pauses between words. Every other token takes at least one frame.

    Args:
        score: log-likelihood of frame t under token i; ``T`` is at least the number of tokens that must be there.
        optional: ``(L,)`` bool; the first and last token and two in a row may not be.

    >>> monotonic(torch.tensor([[0.0, 0, -9, -9], [-9.0, -9, 0, -9], [-9.0, -9, -9, 0]])).tolist()
    [2, 1, 1]
    """
    return monotonic_many([score], [torch.zeros(len(score), dtype=torch.bool) if optional is None else optional])[0]


def monotonic_many(scores: Sequence[Tensor], optional: Sequence[Tensor]) -> list[Tensor]:
    """``monotonic`` of many recordings at once, which takes hardly longer than one."""
    most, last = max(len(s) for s in scores), max(s.shape[1] for s in scores)
    by_frame = np.full((last, len(scores), most), -1e4)
    jump = np.zeros((len(scores), most), bool)  # over the token before
    for k, (score, skip) in enumerate(zip(scores, optional, strict=True)):
        n, frames = score.shape
        if int((~skip).sum()) > frames:
            raise ValueError(f"{int((~skip).sum())} tokens do not fit into {frames} frames")
        by_frame[:frames, k, :n] = score.double().numpy().T
        jump[k, 1:n] = skip.numpy()[:-1]
    best = np.full((len(scores), most), -np.inf)
    best[:, 0] = by_frame[0, :, 0]
    came = np.zeros((last, len(scores), most), np.int8)
    step, over = np.full_like(best, -np.inf), np.full_like(best, -np.inf)
    for t in range(1, last):
        step[:, 1:], over[:, 2:] = best[:, :-1], np.where(jump[:, 2:], best[:, :-2], -np.inf)
        nearer = np.maximum(best, step)
        came[t] = np.where(over > nearer, 2, step > best)
        best = np.maximum(nearer, over) + by_frame[t]
    rows, at = np.arange(len(scores)), np.array([len(s) - 1 for s in scores])
    there, out = np.array([s.shape[1] for s in scores]), np.zeros((len(scores), most), np.int64)
    for t in range(last - 1, -1, -1):
        real = t < there
        out[rows, at] += real
        at -= came[t, rows, at] * real
    return [torch.from_numpy(row[: len(s)].copy()) for row, s in zip(out, scores, strict=True)]


class Aligner:
    """A Gaussian for each kind of token over cepstra and their slopes; trained from even cuts by its own alignments.

    The flat start of speech recognition (Young et al., The HTK Book, section 8.3) with one state for a sound: cut each recording evenly, count
    means and variances, align, count again.

    Args:
        kinds: of tokens.
        size: of a frame's features.
    """

    def __init__(self, kinds: int, size: int) -> None:
        self.mean, self.var = torch.zeros(kinds, size), torch.ones(kinds, size)

    def scores(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Log-likelihoods ``(L, T)`` of frames ``(T, D)`` under tokens ``(L,)``."""
        inverse = 1 / self.var[tokens]
        constant = (self.var[tokens].log() + self.mean[tokens].square() * inverse).sum(1)
        return -0.5 * (inverse @ x.square().T - 2 * (self.mean[tokens] * inverse) @ x.T + constant[:, None])

    def align(self, rows: Sequence[tuple[Tensor, Tensor, Tensor]]) -> list[Tensor]:
        """Frames of each token, ``(L,)``, of each ``(frames (T, D), tokens (L,), optional (L,))``."""
        out: list[Tensor] = []
        for first in range(0, len(rows), 128):
            some = rows[first : first + 128]
            out += monotonic_many(
                [self.scores(x, tokens) for x, tokens, _ in some], [optional for *_, optional in some]
            )
        return out

    def learn(self, rows: Sequence[tuple[Tensor, Tensor, Tensor]], rounds: int = 8) -> None:
        """From ``(frames (T, D), tokens (L,), optional (L,))`` of each recording.

        The tokens at the ends are silence: a first guess gives them the frames there that are 30 dB below the loudest, as
        the first feature (the level) says.
        """
        cuts = [_even(x, tokens, optional) for x, tokens, optional in rows]
        for round_ in range(rounds):
            self._count(rows, cuts)
            if round_ < rounds - 1:
                cuts = self.align(rows)

    def _count(self, rows: Sequence[tuple[Tensor, Tensor, Tensor]], cuts: Sequence[Tensor]) -> None:
        kinds, size = self.mean.shape
        count, total, square = torch.zeros(kinds), torch.zeros(kinds, size), torch.zeros(kinds, size)
        for (x, tokens, _), cut in zip(rows, cuts, strict=True):
            each = tokens.repeat_interleave(cut)
            count.index_add_(0, each, torch.ones(len(each)))
            total.index_add_(0, each, x)
            square.index_add_(0, each, x.square())
        every = total.sum(0) / count.sum(), square.sum(0) / count.sum()
        prior = 10.0  # frames of anything: kinds that are rare stay near to what all are
        spread = (every[1] - every[0].square()).clamp_min(1e-3)
        self.mean = (total + prior * every[0]) / (count + prior)[:, None]
        inside = square - count[:, None] * (total / count.clamp_min(1)[:, None]).square()
        self.var = ((inside + prior * spread) / (count + prior)[:, None]).clamp_min(0.05 * spread)


def _even(x: Tensor, tokens: Tensor, optional: Tensor) -> Tensor:
    loud = (x[:, 0] > x[:, 0].max() - 30).nonzero()[:, 0]
    need = int((~optional).sum())
    first, last = int(loud[0]), len(x) - 1 - int(loud[-1])
    first, last = max(1, first), max(1, last)
    if len(x) - first - last < need - 2:
        first = last = 1
    out = torch.zeros(len(tokens), dtype=torch.int64)
    inner = (~optional).nonzero()[1:-1, 0]
    middle = len(x) - first - last
    if len(inner):
        edges = torch.linspace(0, middle, len(inner) + 1).round().long()
        out[inner] = edges.diff()
    else:
        first += middle
    out[0], out[-1] = first, last
    return out
