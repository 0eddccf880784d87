"""Recurrent networks: the next token, given a state that has read those before it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence as pack

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, nearest
from bottega.core.measure import Bound
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.text_encoder import mean_of_real
from bottega.samplers.causal import LeftToRight
from bottega.samplers.steps import StateStep

__all__ = ["RNN"]

_KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class RNN(LeftToRight, Family):
    """``log p(x) = sum_i log p(x_i | h_{i-1})``, exact; the state ``h`` is all that is remembered of the past.

    ``"lstm"`` (Hochreiter & Schmidhuber 1997, its forget gates open at the start: Jozefowicz et al. 2015), ``"gru"`` (Cho
    et al. 2014, arXiv:1406.1078) or ``"rnn"``, the plain network of Elman (1990). Making a token costs the same however
    long the text is, and a text may be longer than those of the training.

    Args:
        spec: ``Spec((L,), vocab=V)``, texts.
        size: the width of the state, of each layer; weights grow with its square.
        kind: ``"lstm"``, ``"gru"`` or ``"rnn"``.
        depth: layers.
        dropout: the chance that a number that enters or leaves the layers is forgotten in training.
        drop: the chance that ``cond`` is forgotten in training, so that ``cond=None`` and guidance work.
    """

    bound: Bound = "exact"
    reads_given: ClassVar[bool] = True
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "gru": {"kind": "gru"}, "plain": {"kind": "rnn", "depth": 2}, "dropout": {"dropout": 0.2},
    }  # fmt: skip

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 128,
        kind: str = "lstm",
        depth: int = 1,
        dropout: float = 0.0,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        check_drop(drop)
        if size < 1 or depth < 1 or not 0 <= dropout < 1:
            raise RecipeError(
                f"size={size}, depth={depth}, dropout={dropout}: size and depth must be at least 1, dropout in [0, 1)"
            )
        if kind not in _KINDS:
            raise RecipeError(f"family.kind is {kind!r}{nearest(kind, _KINDS)}")
        self.dropout, self.drop = dropout, drop
        self.embed = nn.Embedding(spec.vocab + 1, size)  # the last one is the start
        self.condition = Condition(spec.cond, size)
        self.body = _KINDS[kind](size, size, depth, batch_first=True)
        if kind == "lstm":
            with torch.no_grad():
                for layer in range(depth):
                    getattr(self.body, f"bias_ih_l{layer}")[size : 2 * size] = 1.0
        self.read = nn.Linear(size, spec.vocab)
        self.read.readout = True  # type: ignore[assignment]

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Texts: sequences of tokens that are names."""
        if not spec.is_text:
            return "it reads texts, token after token; use gpt for rows of a table and pixelcnn for pictures"
        if spec.given_text:
            return "one vector of a given text keeps too little; use family seq2seq for texts, reader for labels"
        return no_picture(spec)

    def _forget(self, x: Tensor, rng: Rng | None) -> Tensor:
        if rng is None or not self.dropout:
            return x
        return x * (rng.uniform(*x.shape) >= self.dropout) / (1 - self.dropout)

    def logits(self, x: Tensor, cond: Tensor | None, drop: Tensor | None = None, rng: Rng | None = None) -> Tensor:
        """``(B, T)`` tokens -> logits ``(B, T, vocab)`` of each of them given those before it, float32."""
        return self.read(self._forget(self._states(x, cond, drop, rng), rng)).float()

    def _states(self, x: Tensor, cond: Tensor | None, drop: Tensor | None = None, rng: Rng | None = None) -> Tensor:
        """What each token is said from, ``(B, T, size)``."""
        inputs = F.pad(x[:, :-1], (1, 0), value=self.spec.vocab)
        stream = self.embed(inputs) + self.condition(cond, len(x), drop)[:, None]
        with _in_float32(stream.device):
            h: Tensor = self.body(self._forget(stream, rng))[0]
        return h

    def _nll(self, batch: Batch, rng: Rng, *, training: bool) -> tuple[Tensor, Tensor]:
        """Nats of each token ``(B, L)``, zero on padding; and which are real."""
        x = batch.x
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        drop = rng.uniform(len(x)) < self.drop if training and self.spec.cond is not None else None
        logits = self.logits(x, batch.cond, drop, rng if training else None)
        return F.cross_entropy(logits.transpose(1, 2), x, reduction="none").masked_fill(~real, 0.0), real

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the real tokens; weighted by their number, so that means are nats for each token."""
        nll, real = self._nll(batch, rng, training=True)
        return Terms({"nll": nll.sum(1)}, weight=real.sum(1).float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats of the real tokens of each row, exact; ``rng`` is not drawn from."""
        return -self._nll(batch, rng, training=False)[0].sum(1)

    def represent(self, batch: Batch) -> Tensor:
        """``(B, size)``: the mean of the states that its real tokens are said from."""
        real = None if batch.mask is None else batch.mask.expand(batch.x.shape)
        return mean_of_real(self._states(batch.x, batch.cond), real)

    def step(
        self, n: int, cond: Tensor | None = None, guidance: float = 1.0, *, prompted: bool = False, most: int = 0
    ) -> StateStep:
        """Reads each token once and keeps the states of all layers."""

        def read(tokens: Tensor, counts: Tensor, given: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            stream = self.embed(tokens) + given[:, None]
            before = tuple(part.transpose(0, 1).contiguous() for part in state)  # layers first, as torch has them
            short = bool((counts < tokens.shape[1]).any())
            packed = (
                pack(stream, counts.clamp_min(1).cpu(), batch_first=True, enforce_sorted=False) if short else stream
            )
            with _in_float32(tokens.device):
                after = self.body(packed, before if len(before) == 2 else before[0])[1]
            behind = [part.transpose(0, 1) for part in (after if len(before) == 2 else (after,))]
            some = (counts > 0)[:, None, None]
            return given, *(torch.where(some, new, old) for new, old in zip(behind, state, strict=True))

        def say(given: Tensor, h: Tensor, *cell: Tensor) -> Tensor:
            return self.read(h[:, -1]).float()

        def begun(cond: Tensor | None) -> tuple[Tensor, ...]:
            given = self.condition(cond, n)
            nothing = given.new_zeros(n, self.body.num_layers, self.body.hidden_size)
            start = torch.full((n, 1), self.spec.vocab, device=given.device)
            state = (nothing, nothing) if self.body.mode == "LSTM" else (nothing,)
            return read(start, torch.ones_like(start[:, 0]), given, *state)

        twice = guidance != 1 and cond is not None and self.spec.cond is not None
        return StateStep(read, say, begun(cond), begun(None) if twice else None, guidance)


def _in_float32(device: torch.device) -> AbstractContextManager[object]:
    """No autocast on a processor without bfloat16 units: oneDNN has no recurrent layers in bfloat16 for it."""
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.autocast("cpu", enabled=False)
    return nullcontext()
