"""Reader: labels of a text that is given: its class, a tag for each token, or where in it the answer stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Attribution, Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets import explain
from bottega.nets.condition import check_drop
from bottega.nets.text_encoder import TextEncoder, mean_of_real
from bottega.samplers.tokens import filter_logits, pick

__all__ = ["Reader"]

_FAR = 20.0  # nats by which a place that is padding is less likely: impossible, and yet finite


class Reader(Family):
    """An encoder of a given text and a read-out on top (Devlin et al. 2018, arXiv:1810.04805, section 4).

    What an example is, its Spec says: ``Spec((), vocab=K)`` one of K classes, told from the start of the text and the mean
    of its tokens; ``Spec((S,), vocab=T)`` one of T tags for each of its S tokens; ``Spec((2,), vocab=S)`` the first and the
    last token of a span, each told by itself (the text's first token twice means that there is none), in a passage that an
    end parts from its question; of each token it is told which of both it is in and whether the other says it, too (the
    "exact match" of Chen et al. 2017, arXiv:1704.00051, section 3.2). ``log_prob`` is exact. It may
    begin with a ``bert`` of the same tokens and size (``train.start``).

    Args:
        spec: labels given a text, ``cond=Spec((S,), vocab=V)``, padded with its last token.
        size: the dial: ``size`` heads of 32, and half as many layers.
        width: of the stream; 0 follows from ``size``.
        depth: layers; 0 follows from ``size``.
        heads: of queries; 0 follows from ``size``.
        norm: ``"rms"`` or ``"layer"``.
        order: ``"pre"`` or ``"post"``.
        feed: ``"swiglu"``, ``"geglu"``, ``"gelu"``, ``"gelu_tanh"`` or ``"relu"``.
        positions: ``"rotary"``, ``"learned"`` or ``"relative"``.
        dropout: the chance that a number added to the stream is forgotten in training.
        lose: the chance that a token of the text is shown as a blank in training, so that no word decides alone.
        smooth: how much of the target's mass is spread evenly over all labels in training.
        drop: the chance that the text is forgotten in training, so that ``cond=None`` means something.
        hidden, eps, bias: of the transformer, see ``nets.transformer``.
        context, segments, marks, end: see ``nets.text_encoder.TextEncoder``; as the ``bert`` has them that it begins with.
    """

    free: ClassVar[frozenset[str]] = frozenset({"dropout", "lose", "smooth", "drop"})  # what weights do not decide
    bound: Bound = "exact"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"norm": "layer", "order": "post", "feed": "gelu", "positions": "learned"},
        "careful": {"dropout": 0.1, "lose": 0.1, "smooth": 0.1, "drop": 0.1},
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 6,
        width: int = 0,
        depth: int = 0,
        heads: int = 0,
        norm: Literal["rms", "layer"] = "rms",
        order: Literal["pre", "post"] = "pre",
        feed: Literal["swiglu", "geglu", "gelu", "gelu_tanh", "relu"] = "swiglu",
        positions: Literal["rotary", "learned", "relative"] = "rotary",
        dropout: float = 0.0,
        lose: float = 0.0,
        smooth: float = 0.0,
        drop: float = 0.0,
        hidden: int = 0,
        eps: float = 1e-5,
        bias: bool = False,
        context: int = 0,
        segments: int = 0,
        marks: Sequence[int] = (),
        end: int = -1,
    ) -> None:
        super().__init__(spec)
        check_drop(drop)
        if size < 1 or not all(0 <= v < 1 for v in (dropout, lose, smooth)):
            raise RecipeError(
                f"size={size}, dropout={dropout}, lose={lose}, smooth={smooth}: size must be at least 1, the others in [0, 1)"
            )
        assert spec.cond is not None
        self.kind = kind(spec)
        heads, depth = heads or size, depth or max(1, size // 2)
        width = width or 32 * heads
        try:
            self.encoder = TextEncoder(
                spec.cond.vocab, spec.cond.dims, width, depth, heads, norm=norm, order=order, feed=feed,
                positions=positions, hidden=hidden, eps=eps, bias=bias, context=context, segments=segments, marks=marks,
                end=end,
            )  # fmt: skip
        except ValueError as error:
            raise RecipeError(f"reader: {error}") from None
        self.dropout, self.lose, self.smooth, self.drop = dropout, lose, smooth, drop
        self.turn = nn.Linear(2 * width if self.kind == "class" else width, width)
        self.tell = nn.Linear(width, 2 if self.kind == "span" else spec.vocab)
        self.tell.readout = True  # type: ignore[assignment]
        if self.kind == "span":
            self.role = nn.Embedding(4, width)
            nn.init.normal_(self.role.weight, std=0.02)
        if self.kind != "class":
            self.lacks = {"Classifies"}

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Labels of a text that is given."""
        if not spec.is_tokens or not spec.given_text:
            return "it tells labels of a given text; read the data with [codec] name = 'labelled'"
        if not kind(spec):
            return f"labels are one class, a tag for each of the {spec.cond.dims} tokens, or the two ends of a span"  # type: ignore[union-attr]
        return ""

    def adopt(self, start: Family, name: str) -> str:
        """Begin with the encoder of a BERT; returns a sentence that says what was taken (``train.start``).

        Raises:
            RecipeError: it is no BERT, or one of another size or other tokens.
        """
        theirs = getattr(start, "encoder", None)
        if not isinstance(theirs, TextEncoder):
            raise RecipeError(f"train.start is {name}, of family {type(start).__name__}; a reader begins with a bert")
        mine, given = self.encoder.state_dict(), theirs.state_dict()
        for key in sorted(mine.keys() | given.keys()):
            here, there = (tuple(s[key].shape) if key in s else "absent" for s in (mine, given))
            if here != there and key != "body.place":
                raise RecipeError(
                    f"train.start is {name}, where encoder.{key} is {there} and here {here}; set [family] and [codec] as there"
                )
        place = given.get("body.place")
        if place is not None and len(place) < len(mine["body.place"]):
            raise RecipeError(
                f"train.start is {name}, which has {len(place) - 1} learned positions; set codec.length to at most that"
            )
        if place is not None:
            given["body.place"] = place[: len(mine["body.place"])]
        self.encoder.load_state_dict(given)
        return f"began with the encoder of {name}"

    def _logits(self, cond: Tensor | None, n: int, rng: Rng | None = None) -> Tensor:
        """``(n, K)`` for a class, ``(n, S, T)`` for tags, ``(n, 2, S)`` for a span; float32. Training where ``rng`` is."""
        forget = rng.uniform(n) < self.drop if rng is not None and self.drop else None
        tokens, real = self.encoder.known(cond, n, forget, whole=rng is not None and rng.per_row)
        roles = self._roles(tokens)
        if rng is not None and self.lose:
            lost = rng.uniform(n, self.spec.cond.dims) < self.lose  # type: ignore[union-attr]
            tokens = tokens.masked_fill(lost[:, : tokens.shape[1]], self.encoder.blank)
        h = self.encoder(tokens, real, roles, dropout=0.0 if rng is None else self.dropout, rng=rng)
        if self.kind == "class":
            seen = real[..., None]
            mean = (h[:, 1:] * seen).sum(1) / seen.sum(1)
            return self.tell(F.gelu(self.turn(torch.cat([h[:, 0], mean], 1)))).float()
        logits = self.tell(F.gelu(self.turn(h[:, 1:]))).float()
        rest = self.spec.cond.dims - tokens.shape[1]  # type: ignore[union-attr]
        if self.kind == "tags":
            return F.pad(logits, (0, 0, 0, rest))
        ends = logits.masked_fill(~real[..., None], -_FAR).transpose(1, 2)
        return F.pad(ends, (0, rest), value=-_FAR)

    def _roles(self, tokens: Tensor) -> Tensor | None:
        """``(B, S, width)``: of question or passage, and whether the other says it; None where there is no question."""
        if self.kind != "span":
            return None
        passage = (tokens == self.encoder.end).cumsum(1) > 0
        other = passage[:, :, None] != passage[:, None]  # what fills up is of the passage, and no question holds it
        said = ((tokens[:, :, None] == tokens[:, None]) & other).any(2)
        return self.role(passage.long() + 2 * said)

    def _nll(self, batch: Batch, rng: Rng | None) -> tuple[Tensor, Tensor, Tensor]:
        """For each row: nats of its labels, the same were all labels right alike, and how many labels it has."""
        n, x = len(batch), batch.x.reshape(len(batch), -1)
        logits = self._logits(batch.cond, n, rng)
        logits = logits.reshape(n, x.shape[1], -1)
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        log_p = logits.log_softmax(-1)
        nll = -log_p.gather(2, x[..., None])[..., 0]
        return (nll * real).sum(1), (-log_p.mean(2) * real).sum(1), real.sum(1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the labels; weighted by their number."""
        nll, even, count = self._nll(batch, rng)
        parts = {"nll": nll}
        if self.smooth:
            parts["smooth"] = self.smooth * (even - nll)
        return Terms(parts, weight=count.float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats of the labels given the text, exact."""
        return -self._nll(batch, None)[0]

    def attribute(self, batch: Batch, at: Tensor, *, by: str = "integrated", points: int = 32) -> Attribution:
        """How many nats each token of the text adds to those of the label at ``at`` ``(B,)``; labels add nothing.

        That a token stands in the question as well is known of it at either end of the line.

        Args:
            batch: labels and their texts.
            at: places in the labels; 0 for a class.
            by: ``"integrated"`` gradients, or ``"gradient"`` times input; see ``nets.explain``.
            points: of the integral.
        """
        alone = torch.arange(self.spec.dims, device=at.device) == at[:, None]
        one = Batch(batch.x.reshape(len(batch), -1), batch.cond, alone)
        vocab = self.spec.cond.vocab  # type: ignore[union-attr]
        found = explain.attribute(
            [self.encoder.embed],
            lambda: -self._nll(one, None)[0],
            vocab,
            marks=self.encoder.marks,
            by=by,
            points=points,
        )
        most = self.spec.cond.dims + self.spec.dims  # type: ignore[union-attr]
        return found._replace(parts=F.pad(found.parts[:, 1:], (0, most + 1 - found.parts.shape[1])))

    @torch.no_grad()
    def attend(self, batch: Batch) -> Tensor:
        """``(B, layers, heads, labels, given + labels)``: what the place of each label took of each token of the text.

        A class is told from the start and the mean of all places (here: the start), a tag from its token, the ends of a
        span from the tokens that are its ends.
        """
        maps: list[Tensor] = []
        tokens, real = self.encoder.known(batch.cond, len(batch))
        self.encoder(tokens, real, self._roles(tokens), maps=maps)
        every = torch.stack(maps, 1)
        if self.kind == "class":
            rows = every[..., :1, 1:]
        elif self.kind == "tags":
            rows = F.pad(every[..., 1:, 1:], (0, 0, 0, self.spec.dims + 1 - every.shape[-1]))
        else:
            place = 1 + batch.x.clamp(max=every.shape[-1] - 2)
            index = place[:, None, None, :, None].expand(*every.shape[:3], 2, every.shape[-1])
            rows = every.gather(3, index)[..., 1:]
        most = self.spec.cond.dims + self.spec.dims  # type: ignore[union-attr]
        return F.pad(rows, (0, most - rows.shape[-1]))

    def represent(self, batch: Batch) -> Tensor:
        """``(B, width)``: the mean of the vectors of the text's tokens; ``batch.x`` is not looked at."""
        tokens, real = self.encoder.known(batch.cond, len(batch))
        return mean_of_real(self.encoder(tokens, real, self._roles(tokens))[:, 1:], real)

    def classify(self, batch: Batch) -> Tensor:
        """``(B, classes)`` log probabilities in nats of the classes of ``batch.cond``; ``batch.x`` is not looked at."""
        return self._logits(batch.cond, len(batch)).log_softmax(1)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)`` labels of the given texts, int64; ``temperature=0`` is the likeliest.

        At temperature 0 a span is the likeliest whose last token is not before its first.
        """
        logits = self._logits(cond, n)
        if self.kind == "span" and temperature == 0:
            return self.spans(logits)
        u = rng.uniform(n, self.spec.dims)
        rows = filter_logits(logits.reshape(n * self.spec.dims, -1), temperature=temperature)
        return pick(rows, u.flatten()).view(n, *self.spec.shape)

    @staticmethod
    def spans(logits: Tensor, longest: int = 0) -> Tensor:
        """The likeliest span of each row of ``(n, 2, S)``, first token not behind last: ``(n, 2)``.

        Args:
            logits: of the two ends.
            longest: the most tokens of a span; 0 sets no limit.
        """
        first, last = logits.log_softmax(-1).unbind(1)
        size = first.shape[1]
        within = torch.ones(size, size, dtype=torch.bool, device=logits.device).triu()
        if longest:
            within &= within.tril(longest - 1)
        best = (first[:, :, None] + last[:, None]).masked_fill(~within, -torch.inf).flatten(1).argmax(1)
        return torch.stack([best // size, best % size], 1)


def kind(spec: Spec) -> str:
    """``"class"``, ``"tags"``, ``"span"``, or nothing where labels are none of these."""
    assert spec.cond is not None
    if spec.shape == ():
        return "class"
    if spec.shape == spec.cond.shape:
        return "tags"
    return "span" if spec.shape == (2,) and spec.vocab == spec.cond.dims else ""
