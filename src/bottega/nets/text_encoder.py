"""A text read from both sides: one vector for each token, and one for the whole."""

from __future__ import annotations

from collections.abc import Sequence
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
    and ``nothing`` (the text of which nothing is known). In other people's models they are tokens of the vocabulary.

    Args:
        vocab: tokens of the texts are below it.
        length: the most tokens of a text.
        width, depth, heads: of the transformer.
        causal: whether a position sees only itself and those before it, so that more of a text changes no vector.
        end: the token that texts are closed and padded with; -1 is the last one.
        marks: the numbers of ``start``, ``blank`` and ``nothing`` in the vocabulary; empty where they are beside it.
        begins: whether the start stands before each text.
        segments: how many vectors say of which text of a pair a token is (BERT's token types): behind the first end the
            second begins; 0 for none.
        context: how many positions there are, the start's included; at least as many as a text needs, which 0 means.
        settings: others of the transformer.

    Attributes:
        lead: how many vectors stand before those of the text, 1 or 0.

    Raises:
        ValueError: the numbers do not fit together.

    >>> net = TextEncoder(11, 8, 16, 1, 2)
    >>> net(torch.zeros(3, 5, dtype=torch.long)).shape
    torch.Size([3, 6, 16])
    """

    def __init__(
        self, vocab: int, length: int, width: int, depth: int, heads: int, *, causal: bool = False, end: int = -1,
        marks: Sequence[int] = (), begins: bool = True, segments: int = 0, context: int = 0, **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if not all(0 <= mark < vocab for mark in marks) or len(marks) not in {0, 3}:
            raise ValueError(f"marks are {list(marks)}; they are three tokens, 0 to {vocab - 1}, or none")
        if not -1 <= end < vocab or segments < 0:
            raise ValueError(f"end is {end}, segments {segments}: a token, 0 to {vocab - 1}, or -1; and at least 0")
        self.vocab, self.end, self.lead = vocab, end if end >= 0 else vocab - 1, int(begins)
        self.marks = tuple(marks) or (vocab, vocab + 1, vocab + 2)
        self.start, self.blank, self.nothing = self.marks
        self.embed = nn.Embedding(vocab if marks else vocab + 3, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.segment = nn.Embedding(segments, width) if segments else None
        if self.segment is not None:
            nn.init.normal_(self.segment.weight, std=0.02)
        self.body = Transformer(width, depth, heads, causal=causal, length=max(context, length + self.lead), **settings)

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
        """``(B, S) -> (B, lead + S, width)``; where there is a start, the first vector is the start's.

        Args:
            tokens: of the texts.
            real: ``(B, S)``, False where a row is padded.
            given: ``(B, width)``, added to every token, or ``(B, S, width)``, to each its own.
            dropout: see ``Transformer``.
            rng: needed with ``dropout``.
            maps: see ``Transformer``.
        """
        stream = self.embed(F.pad(tokens, (self.lead, 0), value=self.start))
        if self.segment is not None:
            ends = (tokens == self.end).long()
            behind = (ends.cumsum(1) - ends).clamp_max(min(1, self.segment.num_embeddings - 1))
            stream = stream + self.segment(F.pad(behind, (self.lead, 0)))
        if given is not None:
            stream = stream + (given[:, None] if given.ndim == 2 else F.pad(given, (0, 0, self.lead, 0)))
        mask = None if real is None else F.pad(real, (self.lead, 0), value=True)
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
        real = said(cond, self.end)
        if forget is not None:
            cond = cond.masked_fill(forget[:, None], self.nothing)
            real = real & ~(forget[:, None] & (torch.arange(cond.shape[1], device=cond.device) > 0))
        return (cond, real) if whole else trim(cond, real)
