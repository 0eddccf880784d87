"""Sequence to sequence: a text given a text, by an encoder and a decoder (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Attribution, Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets import explain, huggingface, huggingface_t5
from bottega.nets.condition import check_drop
from bottega.nets.text_encoder import TextEncoder, mean_of_real, trim
from bottega.nets.transformer import Cache, Transformer
from bottega.samplers.causal import LeftToRight
from bottega.samplers.steps import CachedStep

__all__ = ["Seq2Seq"]


class Seq2Seq(LeftToRight, Family):
    """An encoder reads what is given, a decoder says ``log p(x | given) = sum_i log p(x_i | x_<i, given)``, exact.

    Vaswani et al. 2017, arXiv:1706.03762, with today's layers: norms before each part, gated feed-forwards, and rotary
    positions or T5's relative ones (see ``nets.transformer``). Where texts and what is given have one vocabulary, one
    table embeds both and reads out (Press & Wolf 2016, arXiv:1608.05859). Without a condition it is a language model.

    Args:
        spec: ``Spec((L,), vocab=V, cond=Spec((S,), vocab=W))``; what is given is padded with its last token.
        size: the dial: ``size`` heads of 32, and a third as many layers on either side.
        width: of the stream; 0 follows from ``size``.
        depth: layers of the encoder, and of the decoder; 0 follows from ``size``.
        decoder_depth: layers of the decoder, where they are others.
        heads: of queries; 0 follows from ``size``.
        positions: ``"rotary"``, ``"relative"`` or ``"learned"``.
        feed: ``"swiglu"``, ``"geglu"``, ``"gelu"``, ``"gelu_tanh"`` or ``"relu"``.
        norm: ``"rms"`` or ``"layer"``.
        head, hidden, eps: of the transformers, see ``nets.transformer``.
        dropout: the chance that a number added to the stream is forgotten in training.
        smooth: how much of the target's mass is spread evenly over all tokens (Szegedy et al. 2015, arXiv:1512.00567).
        drop: the chance that what is given is forgotten in training, so that ``cond=None`` means something.
        waits: learn to begin before the given text has ended (multipath wait-k: Elbayad et al. 2020, arXiv:2005.08595): the
            encoder looks only back, and in training token i sees the first ``i + k`` given tokens, ``k`` drawn for each row
            from 1 to the longest text of the batch. Likelihoods and samples are those of whole texts.
        tied: whether it reads out with its embedding, or with a matrix of its own (T5 1.1).
        scaled: whether what is read out is multiplied with ``width**-0.5`` before (the first T5).
        bos: the token that stands at the start; -1 means a vector of its own, which is no token.
        begins: whether the start also stands before what is given; not so in T5.
        end: the token that texts are closed and padded with; -1 means the last one.
    """

    foreign: ClassVar[frozenset[str]] = frozenset(huggingface_t5.KNOWN)
    bases: ClassVar[dict[str, str]] = {"text": "seq2seq"}  # who can begin with such a directory: codec -> family
    free: ClassVar[frozenset[str]] = frozenset({"dropout", "smooth", "drop"})  # what its weights do not decide
    bound: Bound = "exact"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "t5": {"positions": "relative", "feed": "relu"},
        "learned": {"positions": "learned", "norm": "layer", "smooth": 0.1, "dropout": 0.1, "drop": 0.1},
        "waits": {"waits": True},
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 6,
        width: int = 0,
        depth: int = 0,
        decoder_depth: int = 0,
        heads: int = 0,
        positions: Literal["rotary", "relative", "learned"] = "rotary",
        feed: Literal["swiglu", "geglu", "gelu", "gelu_tanh", "relu"] = "swiglu",
        norm: Literal["rms", "layer"] = "rms",
        head: int = 0,
        hidden: int = 0,
        eps: float = 1e-5,
        dropout: float = 0.0,
        smooth: float = 0.0,
        drop: float = 0.0,
        waits: bool = False,
        tied: bool = True,
        scaled: bool = False,
        bos: int = -1,
        begins: bool = True,
        end: int = -1,
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
        self.waits, self.shared = waits, spec.vocab == spec.cond.vocab
        if not -1 <= bos < spec.vocab or (bos >= 0 and not self.shared):
            raise RecipeError(
                f"family.bos is {bos}; it must be a token of both texts, 0 to {spec.vocab - 1}, or -1 for none"
            )
        own: dict[str, Any] = {
            "positions": positions, "feed": feed, "norm": norm, "head": head, "hidden": hidden, "eps": eps,
        }  # fmt: skip
        try:
            self.encoder = TextEncoder(
                spec.cond.vocab, spec.cond.dims, width, depth, heads, causal=waits, end=end, begins=begins,
                marks=() if bos < 0 else (bos, bos, bos), **own,
            )  # fmt: skip
            self.decoder = Transformer(width, decoder_depth or depth, heads, memory=width, length=spec.dims, **own)
        except ValueError as error:
            raise RecipeError(f"seq2seq: {error}") from None
        self.dropout, self.smooth, self.drop, self.longest = dropout, smooth, drop, spec.dims
        self.start, self.begins, self.scale = bos if bos >= 0 else spec.vocab, begins, width**-0.5 if scaled else 1.0
        self.read_out = None if tied else nn.Linear(width, spec.vocab, bias=False)
        if self.read_out is not None:
            nn.init.normal_(self.read_out.weight, std=0.02)
            self.read_out.readout = True  # type: ignore[assignment]
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
        """What embeds the tokens of examples, and reads them out where both are tied."""
        return self.encoder.embed if self.shared else self.embed

    def _logits(self, h: Tensor) -> Tensor:
        """``(..., width) -> (..., vocab)``, float32."""
        weight = self.table.weight[: self.spec.vocab] if self.read_out is None else self.read_out.weight
        return F.linear(h if self.scale == 1 else h * self.scale, weight).float()

    def _read(
        self, cond: Tensor | None, n: int, forget: Tensor | None = None, dropout: float = 0.0, rng: Rng | None = None
    ) -> tuple[Tensor, Tensor]:
        """The encoder's output ``(n, lead + S, width)`` and which of it is real."""
        tokens, real = self.encoder.known(cond, n, forget, whole=rng is not None and rng.per_row)
        return self.encoder(tokens, real, dropout=dropout, rng=rng), F.pad(real, (self.encoder.lead, 0), value=True)

    def _nll(self, batch: Batch, rng: Rng, *, training: bool) -> tuple[Tensor, Tensor, Tensor]:
        """For each row: nats of its real tokens, the same were all tokens right alike, and how many there are."""
        x, n = batch.x, len(batch)
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        if not rng.per_row:  # what a row draws must not depend on others
            x, real = trim(x, real)
        forget = rng.uniform(n) < self.drop if training and self.drop else None
        p = self.dropout if training else 0.0
        memory, seen = self._read(batch.cond, n, forget, p, rng)
        if training and self.waits:
            ahead = (
                self.encoder.lead + (rng.uniform(n) * (seen.shape[1] - self.encoder.lead)).long()
            )  # what the first sees
            place = torch.arange(x.shape[1], device=x.device)[:, None]
            seen = seen[:, None] & (torch.arange(seen.shape[1], device=x.device) <= place + ahead[:, None, None])
        stream = self.table(F.pad(x[:, :-1], (1, 0), value=self.start))
        h = self.decoder(stream, memory=memory, memory_mask=seen, dropout=p, rng=rng)
        at = real.flatten().nonzero()[:, 0]
        count = len(at)
        at = F.pad(at, (0, -count % 256))  # few shapes, as in ``trim``; what stands behind is not counted
        logits = self._logits(h.flatten(0, 1)[at])
        every = logits.logsumexp(1)
        each = torch.stack([every - logits.gather(1, x.flatten()[at, None])[:, 0], every - logits.mean(1)])
        total = torch.zeros(2, n, device=x.device).index_add(1, at[:count] // x.shape[1], each[:, :count])
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

    def represent(self, batch: Batch) -> Tensor:
        """``(B, width)``: the mean of the encoder's vectors of the tokens that are given."""
        memory, seen = self._read(batch.cond, len(batch))
        return mean_of_real(memory[:, self.encoder.lead :], seen[:, self.encoder.lead :])

    def attribute(self, batch: Batch, at: Tensor, *, by: str = "integrated", points: int = 32) -> Attribution:
        """How many nats each given token, then each token before it, adds to those of the token at ``at`` ``(B,)``.

        Args:
            batch: texts and the texts that were given.
            at: places in the former.
            by: ``"integrated"`` gradients, or ``"gradient"`` times input; see ``nets.explain``.
            points: of the integral.
        """
        alone = torch.arange(self.spec.dims, device=at.device) == at[:, None]
        one, rng = Batch(batch.x, batch.cond, alone), Rng(0, device=at.device)
        embeds = list(dict.fromkeys([self.encoder.embed, self.table]))
        found = explain.attribute(
            embeds, lambda: -self._nll(one, rng, training=False)[0], self.spec.vocab, marks=self.encoder.marks, by=by,
            points=points,
        )  # fmt: skip
        read = trim(batch.x, alone)[0].shape[1]
        given, said = (
            found.parts[:, self.encoder.lead : -read],
            found.parts[:, 1 - read :] if read > 1 else found.parts[:, :0],
        )
        most = self.spec.cond.dims  # type: ignore[union-attr]
        parts = [F.pad(given, (0, most - given.shape[1])), F.pad(said, (0, self.spec.dims - said.shape[1]))]
        return found._replace(parts=torch.cat(parts, 1))

    @torch.no_grad()
    def attend(self, batch: Batch) -> Tensor:
        """``(B, layers, heads, length, given + length)``: what the place that says a token took of each token.

        Given tokens and tokens before it are looked at by two attentions of a layer, each of which sums to one with what
        it takes of its start.
        """
        maps: list[Tensor] = []
        memory, seen = self._read(batch.cond, len(batch))
        stream = self.table(F.pad(batch.x[:, :-1], (1, 0), value=self.start))
        self.decoder(stream, memory=memory, memory_mask=seen, maps=maps)
        own, given = (torch.stack(maps[k::2], 1)[..., lead:] for k, lead in ((0, 1), (1, self.encoder.lead)))
        most = self.spec.cond.dims  # type: ignore[union-attr]
        return torch.cat([F.pad(given, (0, most - given.shape[-1])), F.pad(own, (0, 1))], -1)

    def step(
        self, n: int, cond: Tensor | None = None, guidance: float = 1.0, *, prompted: bool = False, most: int = 0
    ) -> CachedStep:
        """What is given is read once, and kept as the decoder's keys and values."""

        def read(tokens: Tensor, cache: Any, last: int | Tensor | None, memory: Tensor, seen: Tensor) -> Tensor:
            h = self.decoder(self.table(tokens), cache=cache, memory=memory, memory_mask=seen)
            if isinstance(last, Tensor):
                h = h[torch.arange(len(h), device=h.device), last][:, None]
            elif last is not None:
                h = h[:, last : last + 1]
            return self._logits(h)

        def cache(rows: int) -> Cache:
            return self.decoder.cache(rows, self.spec.dims)

        blank, device = None, self.table.weight.device
        if guidance != 1 and cond is not None:
            forget = torch.arange(2 * n, device=device) >= n
            memory, seen = self._read(torch.cat([cond, cond]), 2 * n, forget)
            state, blank = (memory[:n], seen[:n]), (memory[n:], seen[n:])
        else:
            state = self._read(cond, n)
        return CachedStep(
            read, cache, n, length=self.spec.dims, begin=self.start, state=state, blank=blank, guidance=guidance,
            device=device,
        )  # fmt: skip

    # ---- other people's files --------------------------------------------------------------------------------------

    @staticmethod
    def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
        """The ``[family]`` table of a Hugging Face ``config.json``; see ``nets.huggingface_t5``."""
        return {"name": "seq2seq", **huggingface_t5.settings_of(config)}

    @staticmethod
    def reads(config: Mapping[str, Any]) -> dict[str, Any]:
        """What the ``[codec]`` table of such a directory says of rows; positions are relative, so nothing but memory ends them."""
        most = int(config.get("n_positions") or 512)
        return {"unit": "item", "given": "given", "length": min(most, 256), "given_length": most}

    @staticmethod
    def marked(tokens: Any) -> dict[str, Any]:
        """What the ``[family]`` table of such a directory says of its tokenizer's marks."""
        begins = tokens.begins  # T5's own sets nothing before a text; ours, written as one, does
        return {"end": tokens.end, "begins": begins >= 0} | ({"bos": begins} if begins >= 0 else {})

    def take_weights(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        """Weights by the names that a Hugging Face directory gives them; see ``nets.huggingface_t5``."""
        load = huggingface_t5.weights_of(tensors, self.encoder.body, self.decoder, self.read_out is None)
        self.load_state_dict(huggingface.checked(load, self.state_dict()))

    def to_huggingface(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """``config.json`` and weights by which ``transformers`` has the same logits.

        Raises:
            RecipeError: a T5 has another arithmetic, or one vocabulary where this model has two.
        """
        if not self.shared:
            raise RecipeError("a T5 has one vocabulary for both texts, and here there are two; it cannot be written")
        encoder = self.encoder
        padding = encoder.nothing if self.start < self.spec.vocab else encoder.end
        length = max(self.spec.dims, self.spec.cond.dims)  # type: ignore[union-attr]
        return huggingface_t5.written(
            encoder.body, self.decoder, encoder.embed.weight, self.read_out, scale=self.scale, start=self.start,
            end=encoder.end, padding=padding, length=length,
        )  # fmt: skip
