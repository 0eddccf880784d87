"""GPT: the next token, given those before it (Radford et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, passes_on
from bottega.core.measure import Bound
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.transformer import Transformer
from bottega.samplers.tokens import Step, generate

__all__ = ["GPT"]


class GPT(Family):
    """A causal transformer over tokens: ``log p(x) = sum_i log p(x_i | x_<i)``, exact.

    Texts are sequences. Pictures of whole-number levels and grids of codes are read row by row, with a learned vector
    for each place. Rows of a table are one token for each column: logits outside a column's tokens are minus infinity,
    in training as in sampling. The input of the first position is a vector of its own (the start), so every token has a
    probability; a window cut from a long text begins with it too. The body is Llama's (see ``nets.transformer``), and
    reads out with its embedding.

    Args:
        spec: ``Spec((L,), vocab=V)``, tokens of any other shape, or table rows as tokens.
        size: the dial: ``size`` layers of ``size`` heads, each head 32 wide below size 8 and 64 from there on. 4 is
            nanoGPT's CPU model (4 layers, 4 heads, 128 wide, 0.8 million weights), 12 is as GPT-2 small (768 wide).
        width: of the stream; 0 follows from ``size``.
        depth: layers; 0 follows from ``size``.
        heads: of queries; 0 follows from ``size``.
        kv_heads: of keys and values, dividing ``heads``; 0 means as many.
        dropout: the chance that a number added to the stream is forgotten in training.
        drop: the chance that ``cond`` is forgotten in training, so that ``cond=None`` and guidance work.
        theta: of the rotary positions.
    """

    bound: Bound = "exact"

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 4,
        width: int = 0,
        depth: int = 0,
        heads: int = 0,
        kv_heads: int = 0,
        dropout: float = 0.0,
        drop: float = 0.1,
        theta: float = 10000.0,
    ) -> None:
        super().__init__(spec)
        check_drop(drop)
        if size < 1 or not 0 <= dropout < 1:
            raise RecipeError(f"size={size}, dropout={dropout}: size must be at least 1, dropout in [0, 1)")
        heads, depth = heads or size, depth or size
        width = width or heads * (32 if size < 8 else 64)
        try:
            self.body = Transformer(width, depth, heads, kv_heads=kv_heads, theta=theta)
        except ValueError as error:
            raise RecipeError(f"gpt: {error}") from None
        self.dropout, self.drop, self.length = dropout, drop, spec.dims
        self.embed = nn.Embedding(spec.vocab + 1, width)  # the last one is the start
        nn.init.normal_(self.embed.weight, std=0.02)
        self.condition = Condition(spec.cond, width)
        self.placed = bool(spec.blocks) or not spec.is_sequence
        if self.placed:
            self.place = nn.Parameter(0.02 * torch.randn(spec.dims, width))
        if spec.blocks:
            token = torch.arange(spec.vocab)
            allowed = torch.stack([(token >= b.start) & (token < b.start + b.width) for b in spec.blocks])
            self.register_buffer("allowed", allowed, persistent=False)  # (columns, vocab)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Any whole numbers."""
        if not spec.is_tokens:
            return "it wants tokens, not real numbers; set levels in [codec] for pictures, or encode tables as tokens"
        if spec.blocks and len(spec.blocks) != spec.dims:
            return f"the table has {len(spec.blocks)} columns but {spec.dims} tokens; give one token for each column"
        if spec.given_text and (spec.is_text or not spec.shape):
            return "one vector of a given text keeps too little; use family seq2seq for texts, reader for labels"
        return no_picture(spec)

    def _stream(self, tokens: Tensor, start: int, given: Tensor) -> Tensor:
        """Embeddings ``(B, t, width)`` of input tokens ``(B, t)`` for positions ``start ..``."""
        x = self.embed(tokens) + given[:, None]
        return x + self.place[start : start + tokens.shape[1]] if self.placed else x

    def _logits(self, h: Tensor, start: int) -> Tensor:
        """``(B, t, width) -> (B, t, vocab)`` for positions ``start ..``, float32."""
        logits = F.linear(h, self.embed.weight[: self.spec.vocab]).float()
        if self.spec.blocks:
            logits = logits.masked_fill(~self.allowed[start : start + h.shape[1]], float("-inf"))
        return logits

    def _nll(self, batch: Batch, rng: Rng, *, training: bool) -> tuple[Tensor, Tensor]:
        """Nats of each token, ``(B, dims)``, zero on padding; and which are real."""
        x = batch.x.flatten(1)
        n = len(x)
        real = torch.ones_like(x, dtype=torch.bool)
        if batch.mask is not None:
            real = batch.mask.expand(batch.x.shape).flatten(1)
        forget = rng.uniform(n) < self.drop if training and self.spec.cond is not None else None
        given = self.condition(batch.cond, n, forget)
        inputs = F.pad(x[:, :-1], (1, 0), value=self.spec.vocab)
        h = self.body(self._stream(inputs, 0, given), dropout=self.dropout if training else 0.0, rng=rng)
        nll = F.cross_entropy(self._logits(h, 0).transpose(1, 2), x, reduction="none")
        return nll.masked_fill(~real, 0.0), real

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the real tokens; weighted by their number, so that means are nats for each token."""
        nll, real = self._nll(batch, rng, training=True)
        return Terms({"nll": nll.sum(1)}, weight=real.sum(1).float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats of the real tokens of each row, exact."""
        return -self._nll(batch, rng, training=False)[0].sum(1)

    def _step(self, n: int, cond: Tensor | None, guidance: float) -> Step:
        """The model as ``generate`` wants it, with a cache; beyond ``length`` tokens it reads the later half again."""
        twice = guidance != 1 and cond is not None and self.spec.cond is not None
        given = self.condition(cond, n)
        if twice:
            given = torch.cat([given, self.condition(None, n)])
        rows = len(given)
        cache = self.body.cache(rows, self.length)
        history = torch.full((n, 1), self.spec.vocab, device=given.device)

        def step(fresh: Tensor) -> Tensor:
            nonlocal cache, history
            inputs = torch.cat([history, fresh], 1) if cache.filled == 0 else fresh
            history = torch.cat([history, fresh], 1)
            if cache.filled + inputs.shape[1] > self.length:
                tail = history[:, history.shape[1] - self.length // 2 :]
                inputs = torch.cat([tail.new_full((n, 1), self.spec.vocab), tail], 1)
                history, cache = inputs, self.body.cache(rows, self.length)
            start = cache.filled
            stream = self._stream(inputs.repeat(rows // n, 1), start, given)
            last = self.body(stream, cache=cache)[:, -1:]
            logits = self._logits(last, start + inputs.shape[1] - 1)[:, 0]
            if not twice:
                return logits
            known, blank = logits.chunk(2)
            mixed = blank + guidance * (known - blank)
            return torch.where(known.isinf(), known, mixed)

        return step

    @passes_on(generate)
    @torch.no_grad()
    def stream(
        self,
        n: int,
        rng: Rng,
        cond: Tensor | None = None,
        *,
        batch: Batch | None = None,
        keep: Tensor | None = None,
        max_new: int | None = None,
        guidance: float = 1.0,
        **knobs: Any,
    ) -> Iterator[Tensor]:
        """Yields ``(n, t)`` tokens in reading order as they are made; joined they are what ``sample`` (``edit``) returns.

        Args:
            n: how many rows.
            rng: one stream, or one for each row.
            cond: ``(n, *spec.cond.shape)`` or None.
            batch: a piece to go on from or to fill, with ``keep``; see ``edit``.
            keep: bool, broadcastable to ``batch.x``: what stays.
            max_new: sequences only: how many tokens to make; by default ``spec.shape[0]`` (behind a given piece: none).
            guidance: 1 is conditional, 0 unconditional, above 1 follows ``cond`` harder (logits are extrapolated).
            knobs: ``temperature``, ``top_k``, ``top_p``, ``min_p``, ``repetition_penalty``, ``stop``; see
                ``samplers.tokens.generate``.
        """
        if max_new is not None and self.placed:
            raise RecipeError(f"max_new is {max_new}, but only texts have it; rows and pictures have a fixed size")
        if max_new is not None and max_new < 1:
            raise RecipeError(f"max_new is {max_new}; it must be at least 1")
        device = self.embed.weight.device
        if batch is None:
            more = self.length if max_new is None else max_new
            x = torch.zeros(n, 0, dtype=torch.long, device=device)
            kept = torch.zeros(n, 0, dtype=torch.bool, device=device)
        else:
            more = max_new or 0
            x = batch.x.flatten(1)
            kept = torch.ones_like(batch.x, dtype=torch.bool) if keep is None else keep.expand(batch.x.shape)
            kept = kept.flatten(1)
        yield from generate(
            self._step(n, cond, guidance), F.pad(x, (0, more)), F.pad(kept, (0, more), value=False), rng, **knobs
        )

    @passes_on(generate)
    @torch.no_grad()
    def sample(
        self,
        n: int,
        rng: Rng,
        cond: Tensor | None = None,
        *,
        max_new: int | None = None,
        guidance: float = 1.0,
        **knobs: Any,
    ) -> Tensor:
        """``(n, *spec.shape)`` tokens, int64; with ``max_new``, ``(n, max_new)``. Knobs are those of ``stream``."""
        made = torch.cat(list(self.stream(n, rng, cond, max_new=max_new, guidance=guidance, **knobs)), 1)
        return made.reshape(n, *self.spec.shape) if self.placed else made

    @passes_on(generate)
    @torch.no_grad()
    def edit(
        self,
        batch: Batch,
        keep: Tensor,
        rng: Rng,
        *,
        max_new: int | None = None,
        guidance: float = 1.0,
        **knobs: Any,
    ) -> Tensor:
        """Kept tokens stay; the others are made from left to right, each given all before it (not those after it).

        ``batch.x`` may be shorter or longer than the Spec's length; ``max_new`` adds so many tokens at its end, so a
        prompt is ``edit(Batch(prompt), torch.ones_like(prompt, dtype=torch.bool), rng, max_new=100)``.

        Args:
            batch: the pieces, with ``cond`` where known.
            keep: bool, broadcastable to ``batch.x``.
            rng: one stream, or one for each row.
            max_new: how many tokens to add at the end; none by default.
            guidance: as in ``stream``.
            knobs: as in ``stream``.

        Returns:
            ``(B, *spec.shape)``, or ``(B, length + max_new)``.
        """
        parts = self.stream(
            len(batch), rng, batch.cond, batch=batch, keep=keep, max_new=max_new, guidance=guidance, **knobs
        )
        made = torch.cat(list(parts), 1)
        return made.reshape(batch.x.shape) if self.placed else made
