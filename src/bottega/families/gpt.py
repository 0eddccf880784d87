"""GPT: the next token, given those before it (Radford et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Attribution, Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets import explain, huggingface
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.pages import PagedReader
from bottega.nets.text_encoder import mean_of_real, without_tail
from bottega.nets.transformer import TiedReadOut, Transformer
from bottega.samplers.causal import LeftToRight
from bottega.samplers.steps import CachedStep

__all__ = ["GPT"]


class GPT(LeftToRight, Family):
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
        norm, feed, positions, bias, qkv_bias, hidden, head, eps: of the body, see ``nets.transformer``; ``norm="layer",
            feed="gelu_tanh", positions="learned", bias=True`` is GPT-2's.
        context: how many positions it sees when it writes, and how many learned ones there are; at least as many as a row
            has tokens, which 0 means.
        tied: whether it reads out with its embedding, or with a matrix of its own.
        bos: the token that stands at the start; -1 means a vector of its own, which is no token.
        begins: whether the start also stands before what is given. GPT-2 goes on from a prompt alone, Llama from a start
            and the prompt.
    """

    foreign: ClassVar[frozenset[str]] = frozenset(huggingface.KNOWN)
    bound: Bound = "exact"
    reads_given: ClassVar[bool] = True
    contract_size: ClassVar[int] = 2

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
        norm: Literal["rms", "layer"] = "rms",
        feed: Literal["swiglu", "geglu", "gelu", "gelu_tanh", "relu"] = "swiglu",
        positions: Literal["rotary", "learned", "none"] = "rotary",
        bias: bool = False,
        qkv_bias: bool = False,
        hidden: int = 0,
        head: int = 0,
        eps: float = 1e-5,
        context: int = 0,
        tied: bool = True,
        bos: int = -1,
        begins: bool = True,
    ) -> None:
        super().__init__(spec)
        check_drop(drop)
        if size < 1 or not 0 <= dropout < 1:
            raise RecipeError(f"size={size}, dropout={dropout}: size must be at least 1, dropout in [0, 1)")
        heads, depth = heads or size, depth or size
        width = width or heads * (32 if size < 8 else 64)
        try:
            self.body = Transformer(
                width, depth, heads, kv_heads=kv_heads, head=head, hidden=hidden, theta=theta, eps=eps, norm=norm, feed=feed,
                positions=positions, length=max(context, spec.dims), bias=bias, qkv_bias=qkv_bias,
            )  # fmt: skip
        except ValueError as error:
            raise RecipeError(f"gpt: {error}") from None
        self.dropout, self.drop, self.length = dropout, drop, spec.dims
        self.sees = max(context, spec.dims)
        if not -1 <= bos < spec.vocab:
            raise RecipeError(f"family.bos is {bos}; it must be a token, 0 to {spec.vocab - 1}, or -1 for none")
        self.start, self.begins = bos if bos >= 0 else spec.vocab, begins
        self.embed = nn.Embedding(spec.vocab + (bos < 0), width)  # the last one is the start where no token is
        nn.init.normal_(self.embed.weight, std=0.02)
        self.read_out: nn.Module = (
            TiedReadOut(self.embed, spec.vocab) if tied else nn.Linear(width, spec.vocab, bias=False)
        )
        if isinstance(self.read_out, nn.Linear):
            nn.init.normal_(self.read_out.weight, std=0.02)
            self.read_out.readout = True  # type: ignore[assignment]
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
        logits = self.read_out(h).float()
        if self.spec.blocks:
            logits = logits.masked_fill(~self.allowed[start : start + h.shape[1]], float("-inf"))
        return logits

    def _states(self, batch: Batch, rng: Rng, *, training: bool) -> tuple[Tensor, Tensor]:
        """What each token is said from, ``(B, dims, width)``; and which tokens are real, ``(B, dims)``."""
        x = batch.x.flatten(1)
        n = len(x)
        real = torch.ones_like(x, dtype=torch.bool)
        if batch.mask is not None:
            real = batch.mask.expand(batch.x.shape).flatten(1)
        forget = rng.uniform(n) < self.drop if training and self.spec.cond is not None else None
        given = self.condition(batch.cond, n, forget)
        inputs = F.pad(x[:, :-1], (1, 0), value=self.start)
        return self.body(self._stream(inputs, 0, given), dropout=self.dropout if training else 0.0, rng=rng), real

    def _nll(self, batch: Batch, rng: Rng, *, training: bool) -> tuple[Tensor, Tensor]:
        """Nats of each token, ``(B, dims)``, zero on padding; and which are real. What no row needs is not read."""
        dims, batch = batch.x[0].numel(), without_tail(batch)
        h, real = self._states(batch, rng, training=training)
        x = batch.x.flatten(1)
        nll = F.cross_entropy(self._logits(h, 0).flatten(0, 1), x.flatten(), reduction="none").view(x.shape)
        more = (0, dims - x.shape[1])
        return F.pad(nll.masked_fill(~real, 0.0), more), F.pad(real, more)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the real tokens; weighted by their number, so that means are nats for each token."""
        nll, real = self._nll(batch, rng, training=True)
        return Terms({"nll": nll.sum(1)}, weight=real.sum(1).float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats of the real tokens of each row, exact."""
        return -self._nll(batch, rng, training=False)[0].sum(1)

    def represent(self, batch: Batch) -> Tensor:
        """``(B, width)``: the mean of the states that its real tokens are said from."""
        return mean_of_real(*self._states(batch, Rng(0), training=False))

    def attribute(self, batch: Batch, at: Tensor, *, by: str = "integrated", points: int = 32) -> Attribution:
        """How many nats each token adds to those of the token at ``at`` ``(B,)``; only those before it can.

        Args:
            batch: the pieces.
            at: places in the flattened pieces.
            by: ``"integrated"`` gradients, or ``"gradient"`` times input; see ``nets.explain``.
            points: of the integral.
        """
        place = at[:, None]

        def score() -> Tensor:
            return -self._nll(batch, Rng(0), training=False)[0].gather(1, place)[:, 0]

        found = explain.attribute([self.embed], score, self.spec.vocab, still=1, by=by, points=points)
        return found._replace(parts=F.pad(found.parts[:, 1:], (0, 1)))  # without the start; the last is not read

    @torch.no_grad()
    def attend(self, batch: Batch) -> Tensor:
        """``(B, layers, heads, dims, dims)``: what the place that says token i took of token j; the start's share is left out."""
        x = batch.x.flatten(1)
        maps: list[Tensor] = []
        inputs = F.pad(x[:, :-1], (1, 0), value=self.start)
        self.body(self._stream(inputs, 0, self.condition(batch.cond, len(x))), maps=maps)
        return F.pad(torch.stack(maps, 1)[..., 1:], (0, 1))

    def _read(self, tokens: Tensor, cache: Any, last: int | Tensor | None, given: Tensor) -> Tensor:
        """Logits behind fresh tokens, as ``samplers.steps.CachedStep`` wants them."""
        start = cache.filled
        h = self.body(self._stream(tokens, start, given), cache=cache)
        if isinstance(last, Tensor):
            h = h[torch.arange(len(h), device=h.device), last][:, None]
        elif last is not None:
            h, start = h[:, last : last + 1], start + last
        return self._logits(h, start)

    def step(
        self, n: int, cond: Tensor | None = None, guidance: float = 1.0, *, prompted: bool = False, most: int = 0
    ) -> CachedStep:
        """Beyond what it ``sees`` it reads the later half again; ``prompted`` matters to a model whose start is not said."""
        twice = guidance != 1 and cond is not None and self.spec.cond is not None
        room = min(self.sees, most + 1) if most else self.sees
        return CachedStep(
            self._read,
            lambda rows: self.body.cache(rows, room),
            n,
            length=self.sees,
            begin=None if prompted and not self.begins else self.start,
            state=(self.condition(cond, n),),
            blank=(self.condition(None, n),) if twice else None,
            guidance=guidance,
            device=self.embed.weight.device,
        )

    def paged(self, limit: int, *, block: int = 32) -> PagedReader:
        """One pass over rows at different places, for servers: rows come and go at every token; see ``nets.pages``.

        Args:
            limit: blocks of keys and values at most.
            block: positions in a block.
        """
        return PagedReader(
            self.body, self.embed, self.read_out, limit=limit, block=block, sees=self.sees, start=self.start,
            begins=self.begins, given=None if self.spec.cond is None else lambda cond: self.condition(cond, 1)[0],
        )  # fmt: skip

    # ---- other people's files --------------------------------------------------------------------------------------

    @staticmethod
    def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
        """The ``[family]`` table of a Hugging Face ``config.json``; see ``nets.huggingface``."""
        return {"name": "gpt", **huggingface.settings_of(config)}

    def take_weights(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        """Weights by the names that a Hugging Face directory gives them; see ``nets.huggingface``."""
        load = huggingface.weights_of(tensors, config, self.body.depth)
        self.load_state_dict(huggingface.checked(load, self.state_dict()))

    def to_huggingface(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """``config.json`` and weights by which ``transformers`` has the same logits.

        Raises:
            RecipeError: no such model is known there.
        """
        if self.spec.cond is not None or self.placed:
            raise RecipeError("only texts without conditions can be written as a Hugging Face model")
        start = self.start if self.start < self.spec.vocab else None
        return huggingface.written(self.body, self.embed.weight, self.read_out, self.spec.vocab, self.sees, start)
