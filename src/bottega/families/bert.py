"""BERT: what stands under a mask, given both sides, and whether one text follows another (Devlin et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Attribution, Batch, CheckpointError, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets import explain, huggingface, huggingface_bert
from bottega.nets.condition import Condition, check_drop
from bottega.nets.text_encoder import TextEncoder
from bottega.nets.transformer import ACTIVATIONS
from bottega.samplers.tokens import filter_logits, pick

__all__ = ["BERT"]


class BERT(Family):
    """A masked language model: tokens are hidden, and told from those on both sides of them.

    Devlin et al. 2018, arXiv:1810.04805: of the tokens that are to be told (``hide`` of all, at least one a row) four in
    five are shown as a blank, one in ten as another token and one in ten as they are. Where examples have a class, it is
    told from the vector that stands before the text: with ``codec.unit = "pair"`` the class says whether the second
    line follows the first, which is the paper's next-sentence prediction. Half of the time the class is shown instead,
    so that a class can be asked for. The layers are today's (see ``nets.transformer``); ``norm``, ``order``, ``feed`` and
    ``positions`` set them back to the paper's.

    It fills in what is missing (``edit``), gives each text a vector (``encode``, the mean over its tokens), and may be
    where a ``reader`` begins (``train.start``). ``log_prob`` is the pseudo log-likelihood, each token given all others
    (Salazar et al. 2019, arXiv:1910.14659), an estimate that is no bound.

    Args:
        spec: ``Spec((L,), vocab=V)``, with a class or without.
        size: the dial: ``size`` heads of 32, and half as many layers.
        width: of the stream; 0 follows from ``size``.
        depth: layers; 0 follows from ``size``.
        heads: of queries; 0 follows from ``size``.
        hide: the share of tokens that are to be told.
        norm: ``"rms"`` or ``"layer"``.
        order: ``"pre"`` or ``"post"``.
        feed: ``"swiglu"``, ``"geglu"``, ``"gelu"``, ``"gelu_tanh"`` or ``"relu"``.
        positions: ``"rotary"``, ``"learned"`` or ``"relative"``.
        dropout: the chance that a number added to the stream is forgotten in training.
        drop: the chance that a class is not shown, and told.
        hidden, eps, bias: of the transformer, see ``nets.transformer``.
        context, segments, marks, end: see ``nets.text_encoder.TextEncoder``; ``marks`` are the numbers of [CLS], [MASK]
            and [PAD] where they are tokens of the vocabulary, and texts are then closed by ``end``, [SEP].
        normed: whether what tells tokens has a norm, and a bias for each of them (the paper's head).
        tells: False for an encoder alone, which tells no tokens: it gives vectors, and a ``reader`` may begin with it.
    """

    foreign: ClassVar[frozenset[str]] = frozenset(huggingface_bert.KNOWN)
    bases: ClassVar[dict[str, str]] = {
        "text": "bert",
        "labelled": "reader",
    }  # who can begin with a directory: codec -> family
    free: ClassVar[frozenset[str]] = frozenset({"hide", "dropout", "drop"})  # what its weights do not decide
    bound: Bound = "estimate"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"norm": "layer", "order": "post", "feed": "gelu", "positions": "learned"}
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 6,
        width: int = 0,
        depth: int = 0,
        heads: int = 0,
        hide: float = 0.15,
        norm: Literal["rms", "layer"] = "rms",
        order: Literal["pre", "post"] = "pre",
        feed: Literal["swiglu", "geglu", "gelu", "gelu_tanh", "relu"] = "swiglu",
        positions: Literal["rotary", "learned", "relative"] = "rotary",
        dropout: float = 0.0,
        drop: float = 0.5,
        hidden: int = 0,
        eps: float = 1e-5,
        bias: bool = False,
        context: int = 0,
        segments: int = 0,
        marks: Sequence[int] = (),
        end: int = -1,
        normed: bool = False,
        tells: bool = True,
    ) -> None:
        super().__init__(spec)
        check_drop(drop)
        if size < 1 or not 0 <= dropout < 1 or not 0 < hide <= 1:
            raise RecipeError(
                f"size={size}, dropout={dropout}, hide={hide}: size must be at least 1, dropout in [0, 1), hide in (0, 1]"
            )
        heads, depth = heads or size, depth or max(1, size // 2)
        width = width or 32 * heads
        try:
            self.encoder = TextEncoder(
                spec.vocab, spec.dims, width, depth, heads, norm=norm, order=order, feed=feed, positions=positions,
                hidden=hidden, eps=eps, bias=bias, context=context, segments=segments, marks=marks, end=end,
            )  # fmt: skip
        except ValueError as error:
            raise RecipeError(f"bert: {error}") from None
        self.hide, self.dropout, self.drop = hide, dropout, drop
        self.closes, self.tells = bool(marks), tells  # whether a text is read with its end
        if tells:
            self.turn = nn.Linear(width, width)  # the paper's transform before the read-out
        self.turn_norm, self.act = None, F.gelu
        if normed and tells:
            self.turn_norm, self.act = nn.LayerNorm(width, eps), ACTIVATIONS[feed]
            self.out_bias = nn.Parameter(torch.zeros(spec.vocab))
        self.condition = Condition(spec.cond, width)
        self.latent = Spec((width,))
        self.lacks = {"Classifies"}
        if spec.cond is not None:
            self.tell = nn.Linear(width, spec.cond.vocab)
            self.tell.readout = True  # type: ignore[assignment]
            self.lacks = set()
        if not tells:
            self.lacks |= {"Scores", "Edits", "Encodes"}

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Texts, with a class or without."""
        if not spec.is_text:
            return "it reads texts, token sequences; use family gpt for other tokens"
        if spec.cond is not None and (spec.cond.shape or not spec.cond.is_tokens):
            return "of a text it knows a class only; use family seq2seq for texts of which a text is given"
        return ""

    def _heard(self, x: Tensor, real: Tensor | None, given: Tensor, p: float = 0.0, rng: Rng | None = None) -> Tensor:
        """``(B, T)`` tokens, the special ones too -> ``(B, 1 + T, width)``."""
        return self.encoder(x, real, given if self.spec.cond is not None else None, dropout=p, rng=rng)

    def _logits(self, h: Tensor) -> Tensor:
        """``(..., width) -> (..., vocab)``, float32."""
        if not self.tells:
            raise RecipeError(
                "this bert is an encoder alone and tells no tokens (family.tells); begin a reader with it"
            )
        h, weight = self.act(self.turn(h)), self.encoder.embed.weight[: self.spec.vocab]
        return (
            F.linear(h, weight) if self.turn_norm is None else F.linear(self.turn_norm(h), weight, self.out_bias)
        ).float()

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the tokens to be told, as many a row as are real, and of the class; weighted by the real tokens.

        A row's nats are those of its hidden tokens times real / hidden, so that means are nats for each told token.
        """
        x, n = batch.x, len(batch)
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        u, how, other = rng.uniform(n, x.shape[1]), rng.uniform(n, x.shape[1]), rng.integers(self.spec.vocab, *x.shape)
        u = u.masked_fill(~real, 2.0)
        hidden = (u < self.hide) | (u == u.amin(1, keepdim=True))
        hidden &= real
        shown = torch.where(how < 0.8, self.encoder.blank, torch.where(how < 0.9, other, x))
        forget = rng.uniform(n) < self.drop if self.spec.cond is not None else None
        given = self.condition(batch.cond, n, forget)
        h = self._heard(torch.where(hidden, shown, x), real, given, self.dropout, rng)
        rows = torch.arange(n, device=x.device)[:, None].expand(x.shape)[hidden]
        nll = F.cross_entropy(self._logits(h[:, 1:][hidden]), x[hidden], reduction="none")
        count = real.sum(1).float()
        told = torch.zeros(n, device=x.device).index_add(0, rows, nll) * count / hidden.sum(1)
        parts = {"nll": told}
        if self.spec.cond is not None:
            klass = torch.full((n,), -1, device=x.device) if batch.cond is None else batch.cond
            nll = F.cross_entropy(self.tell(h[:, 0]).float(), klass.clamp_min(0), reduction="none")
            assert forget is not None
            parts["class"] = count * torch.where(forget & (klass >= 0), nll, 0.0)
        return Terms(parts, weight=count)

    def classify(self, batch: Batch) -> Tensor:
        """``(B, classes)`` log probabilities in nats; ``batch.cond`` is not looked at."""
        h = self._heard(batch.x, batch.mask, self.condition(None, len(batch)))
        return self.tell(h[:, 0]).float().log_softmax(1)

    def attribute(self, batch: Batch, at: Tensor, *, by: str = "integrated", points: int = 32) -> Attribution:
        """How many nats each token adds to those of the token at ``at`` ``(B,)``, which is hidden.

        Args:
            batch: the texts.
            at: places in them.
            by: ``"integrated"`` gradients, or ``"gradient"`` times input; see ``nets.explain``.
            points: of the integral.
        """
        place, given = at[:, None], self.condition(batch.cond, len(batch)).detach()
        real = None if batch.mask is None else batch.mask.expand(batch.x.shape)
        hidden = batch.x.scatter(1, place, self.encoder.blank)
        rows = torch.arange(len(batch), device=at.device)

        def score() -> Tensor:
            logits = self._logits(self._heard(hidden, real, given)[rows, 1 + at])
            return logits.log_softmax(1).gather(1, batch.x.gather(1, place))[:, 0]

        found = explain.attribute(
            [self.encoder.embed], score, self.spec.vocab, marks=self.encoder.marks, by=by, points=points
        )
        return found._replace(parts=found.parts[:, 1:])

    @torch.no_grad()
    def attend(self, batch: Batch) -> Tensor:
        """``(B, layers, heads, length, length)``: what each place took of each token, with no token hidden."""
        maps: list[Tensor] = []
        real = None if batch.mask is None else batch.mask.expand(batch.x.shape)
        given = self.condition(batch.cond, len(batch)) if self.spec.cond is not None else None
        self.encoder(batch.x, real, given, maps=maps)
        return torch.stack(maps, 1)[..., 1:, 1:]

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats: the sum over real tokens of the log probability of each given all others; an estimate."""
        x, n = batch.x, len(batch)
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        given = self.condition(batch.cond, n)
        total = torch.zeros(n, device=x.device)
        for i in range(x.shape[1]):
            at = real[:, i].nonzero()[:, 0]
            if not len(at):
                continue
            hidden = x[at].clone()
            hidden[:, i] = self.encoder.blank
            logits = self._logits(self._heard(hidden, real[at], given[at])[:, 1 + i])
            total = total.index_add(0, at, -F.cross_entropy(logits, x[at, i], reduction="none"))
        return total

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, steps: int = 0, temperature: float = 1.0, top_k: int = 0,
        top_p: float = 1.0,
    ) -> Tensor:  # fmt: skip
        """``(n, L)`` tokens, from blanks alone; knobs as in ``edit``."""
        x = torch.zeros(n, *self.spec.shape, dtype=torch.long, device=self.encoder.embed.weight.device)
        nothing = torch.zeros_like(x, dtype=torch.bool)
        return self.edit(Batch(x, cond), nothing, rng, steps=steps, temperature=temperature, top_k=top_k, top_p=top_p)

    @torch.no_grad()
    def edit(
        self, batch: Batch, keep: Tensor, rng: Rng, *, steps: int = 0, temperature: float = 1.0, top_k: int = 0,
        top_p: float = 1.0,
    ) -> Tensor:  # fmt: skip
        """Kept tokens stay; the others are filled in, in a random order, each given all that stands already.

        In few steps several are told at once, each without the others (Ghazvininejad et al. 2019, arXiv:1904.09324).

        Args:
            batch: the pieces, with ``cond`` where known.
            keep: bool, broadcastable to ``batch.x``.
            rng: one stream, or one for each row.
            steps: in how many steps; 0 means one for each token of a row.
            temperature: see ``samplers.tokens.filter_logits``; 0 takes the likeliest.
            top_k: see there.
            top_p: see there.

        Raises:
            RecipeError: a knob is out of range.
        """
        x, n = batch.x, len(batch)
        length = x.shape[1]
        if steps < 0:
            raise RecipeError(f"steps is {steps}; it must be at least 1, or 0 for one step a token")
        open_ = ~keep.expand(x.shape)
        order, u = rng.uniform(n, length), rng.uniform(n, length)
        place = torch.where(open_, order, 2.0).argsort(1).argsort(1)  # the turn of each open token
        steps = min(steps or length, length)
        at_once = -(-length // steps)
        x = torch.where(open_, self.encoder.blank, x)
        given = self.condition(batch.cond, n)
        for step in range(steps):
            now = open_ & (place >= step * at_once) & (place < (step + 1) * at_once)
            rows = now.any(1).nonzero()[:, 0]
            if not len(rows):
                break
            real = None if batch.mask is None else batch.mask.expand(x.shape)[rows]
            logits = self._logits(self._heard(x[rows], real, given[rows])[:, 1:][now[rows]])
            logits = filter_logits(logits, temperature=temperature, top_k=top_k, top_p=top_p)
            x[now] = pick(logits, u[now])
        return x

    def encode(self, batch: Batch) -> Tensor:
        """``(B, width)``: the mean of the vectors of a text's tokens."""
        h = self._heard(batch.x, batch.mask, self.condition(batch.cond, len(batch)))[:, 1:]
        if batch.mask is None:
            return h.mean(1)
        real = batch.mask.expand(batch.x.shape)[..., None]
        return (h * real).sum(1) / real.sum(1)

    def represent(self, batch: Batch) -> Tensor:
        """``(B, width)``: as ``encode``."""
        return self.encode(batch)

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, width) -> (B, L)``: at every place the token that the vector alone says likeliest; a bag, not a text."""
        return self._logits(z).argmax(1)[:, None].expand(-1, *self.spec.shape).contiguous()

    # ---- other people's files --------------------------------------------------------------------------------------

    @staticmethod
    def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
        """The ``[family]`` table of a Hugging Face ``config.json``; see ``nets.huggingface_bert``."""
        return {"name": "bert", **huggingface_bert.settings_of(config)}

    @staticmethod
    def reads(config: Mapping[str, Any]) -> dict[str, Any]:
        """What the ``[codec]`` table of such a directory says of rows: one position is the start's."""
        return {"length": huggingface_bert.settings_of(config)["context"] - 1}

    @staticmethod
    def marked(tokens: Any) -> dict[str, Any]:
        """What the ``[family]`` table of such a directory says of its tokenizer's marks.

        Raises:
            CheckpointError: the tokenizer names no start, or no mask.
        """
        marks = {name: tokens.number(f"{name}_token") for name in ("cls", "mask", "pad")}
        if lost := [name for name, number in marks.items() if number < 0]:
            raise CheckpointError(
                f"the tokenizer does not say which token is its {lost[0]}; add {lost[0]}_token to tokenizer_config.json"
            )
        return {"marks": list(marks.values()), "end": tokens.end}

    def take_weights(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        """Weights by the names that a Hugging Face directory gives them; see ``nets.huggingface_bert``."""
        load = huggingface_bert.weights_of(tensors, config, self.encoder.body.depth, self.tells)
        self.load_state_dict(huggingface.checked(load, self.state_dict()))

    def to_huggingface(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """``config.json`` and weights by which ``transformers`` has the same logits.

        Raises:
            RecipeError: a BERT has another arithmetic or other marks.
        """
        if self.spec.cond is not None or not self.closes or (self.tells and self.turn_norm is None):
            raise RecipeError(
                "only a bert that began with another's directory can be written as one: its marks are tokens, its head has a "
                "norm (family.marks, family.normed), and it knows no classes"
            )
        turn = (self.turn, self.turn_norm, self.out_bias) if self.tells else None
        return huggingface_bert.written(self.encoder, turn)  # type: ignore[arg-type]
