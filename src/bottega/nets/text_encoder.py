"""A text read from both sides: one vector for each token, and one for the whole."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Rng
from bottega.nets.transformer import Transformer

__all__ = ["TextEncoder", "mean_of_real", "said", "trim", "without_tail"]


def said(tokens: Tensor, end: int) -> Tensor:
    """Which positions of ``(B, S)`` are real where a text is padded with ``end``: all up to the first of those ends.

    An ``end`` between two texts of a row is real.

    >>> said(torch.tensor([[4, 9, 5, 9, 9, 9]]), 9).tolist()
    [[True, True, True, True, False, False]]
    """
    more = (tokens != end).int().flip(1).cummax(1).values.flip(1).bool()  # whether anything but ends is still to come
    return F.pad(more[:, :-1], (1, 0), value=True)


def trim(tokens: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Both without the columns that are padding in every row; as many as a multiple of 8 where there are so many.

    A processor's kernels are made, and kept, for each shape that they meet: few shapes are fast and take little memory.

    >>> trim(torch.zeros(2, 20), torch.arange(20).expand(2, 20) < 11)[0].shape
    torch.Size([2, 16])
    """
    most = int(real.any(0).nonzero()[-1]) + 1 if bool(real.any()) else 1
    most += -most % 8
    return tokens[:, :most], real[:, :most]


def mean_of_real(h: Tensor, real: Tensor | None) -> Tensor:
    """``(B, T, D)``, and which places are real ``(B, T)`` (None: all), to the mean over those, ``(B, D)`` float32.

    >>> mean_of_real(torch.arange(3.0).view(1, 3, 1), torch.tensor([[True, True, False]])).tolist()
    [[0.5]]
    """
    if real is None:
        return h.float().mean(1)
    seen = real[..., None]
    return (h.float() * seen).sum(1) / seen.sum(1).clamp_min(1)


def without_tail(batch: Batch) -> Batch:
    """Sequences ``(B, T)`` without the last columns that the mask leaves out in every row: a causal model needs none of them.

    >>> rows = Batch(torch.zeros(2, 20), mask=(torch.arange(20) < 11).expand(2, 20))
    >>> without_tail(rows).x.shape
    torch.Size([2, 16])
    """
    if batch.mask is None or batch.x.ndim != 2:
        return batch
    x, mask = trim(batch.x, batch.mask.expand(batch.x.shape))
    return Batch(x, batch.cond, mask)


class TextEncoder(nn.Module):
    """Token embeddings and a transformer where positions see each other; a start stands before each text.

    Beside those of the vocabulary there are three tokens: ``start``, ``blank`` (what is masked in training and filled in)
    and ``nothing`` (the text of which nothing is known).

    Args:
        vocab: tokens of the texts are below it; the last one is the end that texts are padded with.
        length: the most tokens of a text.
        width, depth, heads: of the transformer.
        causal: whether a position sees only itself and those before it, so that more of a text changes no vector.
        settings: others of the transformer.

    >>> net = TextEncoder(11, 8, 16, 1, 2)
    >>> net(torch.zeros(3, 5, dtype=torch.long)).shape
    torch.Size([3, 6, 16])
    """

    def __init__(
        self, vocab: int, length: int, width: int, depth: int, heads: int, *, causal: bool = False, **settings: Any
    ) -> None:
        super().__init__()
        self.vocab, self.start, self.blank, self.nothing = vocab, vocab, vocab + 1, vocab + 2
        self.embed = nn.Embedding(vocab + 3, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.body = Transformer(width, depth, heads, causal=causal, length=length + 1, **settings)

    def forward(
        self,
        tokens: Tensor,
        real: Tensor | None = None,
        given: Tensor | None = None,
        *,
        dropout: float = 0.0,
        rng: Rng | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """``(B, S) -> (B, 1 + S, width)``; the first vector is the start's.

        Args:
            tokens: of the texts.
            real: ``(B, S)``, False where a row is padded.
            given: ``(B, width)``, added to every token, or ``(B, S, width)``, to each its own.
            dropout: see ``Transformer``.
            rng: needed with ``dropout``.
            maps: see ``Transformer``.
        """
        stream = self.embed(F.pad(tokens, (1, 0), value=self.start))
        if given is not None:
            stream = stream + (given[:, None] if given.ndim == 2 else F.pad(given, (0, 0, 1, 0)))
        mask = None if real is None else F.pad(real, (1, 0), value=True)
        return self.body(stream, mask=mask, dropout=dropout, rng=rng, maps=maps)

    def known(
        self, cond: Tensor | None, n: int, forget: Tensor | None = None, *, whole: bool = False
    ) -> tuple[Tensor, Tensor]:
        """What is known of ``n`` examples as texts and which tokens are real; of rows to ``forget``, ``nothing`` is.

        Padding that all rows have is cut off, unless the ``whole`` is wanted: what a row draws must not depend on others.
        """
        if cond is None:
            tokens = torch.full((n, 1), self.nothing, device=self.embed.weight.device)
            return tokens, torch.ones_like(tokens, dtype=torch.bool)
        real = said(cond, self.vocab - 1)
        if forget is not None:
            cond = cond.masked_fill(forget[:, None], self.nothing)
            real = real & ~(forget[:, None] & (torch.arange(cond.shape[1], device=cond.device) > 0))
        return (cond, real) if whole else trim(cond, real)
