"""Sequence to sequence: a text given a text, by an encoder and a decoder (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, passes_on
from bottega.core.measure import Bound
from bottega.nets.condition import check_drop
from bottega.nets.text_encoder import TextEncoder, trim
from bottega.nets.transformer import Transformer
from bottega.samplers.tokens import Step, generate

__all__ = ["Seq2Seq"]


class Seq2Seq(Family):
    """An encoder reads what is given, a decoder says ``log p(x | given) = sum_i log p(x_i | x_<i, given)``, exact.

    Vaswani et al. 2017, arXiv:1706.03762, with today's layers: norms before each part, gated feed-forwards, and rotary
    positions or T5's relative ones (see ``nets.transformer``). Where texts and what is given have one vocabulary, one
    table embeds both and reads out (Press & Wolf 2016, arXiv:1608.05859). Without a condition it is a language model.

    Args:
        spec: ``Spec((L,), vocab=V, cond=Spec((S,), vocab=W))``; what is given is padded with its last token.
        size: the dial: ``size`` heads of 32, and a third as many layers on either side.
        width: of the stream; 0 follows from ``size``.
        depth: layers of the encoder, and of the decoder; 0 follows from ``size``.
        heads: of queries; 0 follows from ``size``.
        positions: ``"rotary"``, ``"relative"`` or ``"learned"``.
        feed: ``"swiglu"``, ``"geglu"``, ``"gelu"`` or ``"relu"``.
        norm: ``"rms"`` or ``"layer"``.
        dropout: the chance that a number added to the stream is forgotten in training.
        smooth: how much of the target's mass is spread evenly over all tokens (Szegedy et al. 2015, arXiv:1512.00567).
        drop: the chance that what is given is forgotten in training, so that ``cond=None`` means something.
    """

    bound: Bound = "exact"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "t5": {"positions": "relative", "feed": "relu"},
        "learned": {"positions": "learned", "norm": "layer", "smooth": 0.1, "dropout": 0.1, "drop": 0.1},
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 6,
        width: int = 0,
        depth: int = 0,
        heads: int = 0,
        positions: Literal["rotary", "relative", "learned"] = "rotary",
        feed: Literal["swiglu", "geglu", "gelu", "relu"] = "swiglu",
        norm: Literal["rms", "layer"] = "rms",
        dropout: float = 0.0,
        smooth: float = 0.0,
        drop: float = 0.0,
    ) -> None:
        super().__init__(spec)
        check_drop(drop)
        if size < 1 or not 0 <= dropout < 1 or not 0 <= smooth < 1:
            raise RecipeError(
                f"size={size}, dropout={dropout}, smooth={smooth}: size must be at least 1, the others in [0, 1)"
            )
        assert spec.cond is not None
        heads, depth = heads or size, depth or max(1, size // 3)
        width = width or 32 * heads
        own: dict[str, Any] = {"positions": positions, "feed": feed, "norm": norm}
        try:
            self.encoder = TextEncoder(spec.cond.vocab, spec.cond.dims, width, depth, heads, **own)
            self.decoder = Transformer(width, depth, heads, memory=width, length=spec.dims, **own)
        except ValueError as error:
            raise RecipeError(f"seq2seq: {error}") from None
        self.dropout, self.smooth, self.drop, self.length = dropout, smooth, drop, spec.dims
        self.shared = spec.vocab == spec.cond.vocab
        if not self.shared:
            self.embed = nn.Embedding(spec.vocab + 1, width)  # the last one is the start
            nn.init.normal_(self.embed.weight, std=0.02)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Texts of which a text is known."""
        if not spec.is_text:
            return "it makes texts, token sequences; use family gpt for other tokens"
        if not spec.given_text:
            return "it makes a text of a given text; name the column that is given in codec.given, or use family gpt"
        return ""

    @property
    def table(self) -> nn.Embedding:
        """What embeds and reads out the tokens of examples; token ``spec.vocab`` is the start."""
        return self.encoder.embed if self.shared else self.embed

    def _read(
        self, cond: Tensor | None, n: int, forget: Tensor | None = None, dropout: float = 0.0, rng: Rng | None = None
    ) -> tuple[Tensor, Tensor]:
        """The encoder's output ``(n, 1 + S, width)`` and which of it is real."""
        tokens, real = self.encoder.known(cond, n, forget, whole=rng is not None and rng.per_row)
        return self.encoder(tokens, real, dropout=dropout, rng=rng), F.pad(real, (1, 0), value=True)

    def _nll(self, batch: Batch, rng: Rng, *, training: bool) -> tuple[Tensor, Tensor, Tensor]:
        """For each row: nats of its real tokens, the same were all tokens right alike, and how many there are."""
        x, n = batch.x, len(batch)
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        if not rng.per_row:  # what a row draws must not depend on others
            x, real = trim(x, real)
        forget = rng.uniform(n) < self.drop if training and self.drop else None
        p = self.dropout if training else 0.0
        memory, seen = self._read(batch.cond, n, forget, p, rng)
        stream = self.table(F.pad(x[:, :-1], (1, 0), value=self.spec.vocab))
        h = self.decoder(stream, memory=memory, memory_mask=seen, dropout=p, rng=rng)
        rows = torch.arange(n, device=x.device)[:, None].expand(x.shape)[real]
        logits = F.linear(h[real], self.table.weight[: self.spec.vocab]).float()
        each = torch.stack([F.cross_entropy(logits, x[real], reduction="none"), logits.logsumexp(1) - logits.mean(1)])
        total = torch.zeros(2, n, device=x.device).index_add(1, rows, each)
        return total[0], total[1], real.sum(1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the real tokens; weighted by their number, so that means are nats for each token."""
        nll, even, count = self._nll(batch, rng, training=True)
        parts = {"nll": nll}
        if self.smooth:
            parts["smooth"] = self.smooth * (even - nll)
        return Terms(parts, weight=count.float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats of the real tokens of each row given what is known of it, exact."""
        return -self._nll(batch, rng, training=False)[0]

    def _step(self, n: int, cond: Tensor | None, length: int) -> Step:
        """The model as ``generate`` wants it: what is given is read once, and kept as the decoder's keys and values."""
        memory, seen = self._read(cond, n)
        cache = self.decoder.cache(n, length)
        start = torch.full((n, 1), self.spec.vocab, device=memory.device)

        def step(fresh: Tensor) -> Tensor:
            first = cache.filled == 0
            stream = self.table(torch.cat([start, fresh], 1) if first else fresh)
            h = self.decoder(stream, cache=cache, memory=memory if first else None, memory_mask=seen)[:, -1]
            return F.linear(h, self.table.weight[: self.spec.vocab]).float()

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
        **knobs: Any,
    ) -> Iterator[Tensor]:
        """Yields ``(n, t)`` tokens in reading order as they are made; joined they are what ``sample`` (``edit``) returns.

        Args:
            n: how many rows.
            rng: one stream, or one for each row.
            cond: ``(n, S)`` tokens of what is given, or None.
            batch: a piece to go on from or to fill, with ``keep``; see ``edit``.
            keep: bool, broadcastable to ``batch.x``: what stays.
            max_new: how many tokens to make; by default ``spec.shape[0]``, which is the most in all.
            knobs: see ``samplers.tokens.generate``.
        """
        x = torch.zeros(n, 0, dtype=torch.long, device=self.table.weight.device) if batch is None else batch.x
        kept = torch.ones_like(x, dtype=torch.bool) if keep is None else keep.expand(x.shape)
        more = max_new if max_new is not None else self.length if batch is None else 0
        if max_new is not None and not 1 <= max_new <= self.length - x.shape[1]:
            raise RecipeError(
                f"max_new is {max_new}, behind {x.shape[1]} tokens; it must be at least 1, and {self.length} in all"
            )
        whole, open_ = F.pad(x, (0, more)), F.pad(kept, (0, more), value=False)
        yield from generate(self._step(n, cond, whole.shape[1]), whole, open_, rng, **knobs)

    @passes_on(generate)
    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, max_new: int | None = None, **knobs: Any
    ) -> Tensor:
        """``(n, *spec.shape)`` tokens, int64; with ``max_new``, ``(n, max_new)``. Knobs are those of ``stream``."""
        return torch.cat(list(self.stream(n, rng, cond, max_new=max_new, **knobs)), 1)

    @passes_on(generate)
    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng, *, max_new: int | None = None, **knobs: Any) -> Tensor:
        """Kept tokens stay; the others are made from left to right, each given all before it and what is given.

        Args:
            batch: the pieces, with ``cond``.
            keep: bool, broadcastable to ``batch.x``.
            rng: one stream, or one for each row.
            max_new: how many tokens to add at the end; none by default.
            knobs: as in ``stream``.
        """
        parts = self.stream(len(batch), rng, batch.cond, batch=batch, keep=keep, max_new=max_new, **knobs)
        return torch.cat(list(parts), 1)
