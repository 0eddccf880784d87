"""Masked diffusion: tokens are hidden one after another in any order, and a network learns to bring them back."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.text_encoder import mean_of_real
from bottega.nets.transformer import Transformer
from bottega.samplers.tokens import filter_logits, pick

__all__ = ["Masked"]

REVISED = 0.15  # of what was made is hidden again in each pass that revises


class Masked(Family):
    """Absorbing-state diffusion over tokens (Austin et al. 2021, arXiv:2107.03006), as simplified by MDLM and SEDD.

    Noise hides tokens behind a mask, each for good and independently; the reverse process brings them back. With a network
    that is not told the time (Ou et al. 2024, arXiv:2406.03736) the bound on the likelihood is, with ``M`` drawn evenly
    from the sets of ``k`` of the ``L`` places and ``k`` evenly from 1 to ``L``,

    ``log p(x) >= E_k E_M (L / k) sum_{i in M} log p(x_i | x outside M)``

    (Hoogeboom et al. 2021, arXiv:2110.02037, eq. 7; Sahoo et al. 2024, arXiv:2406.07524, eq. 10): the mean, over orders, of
    the likelihood of a model that writes in that order. So it can fill in anything, anywhere, given all the rest.

    Texts shorter than a row are followed by a token of their own for nothing, which is learned with them, since in the
    beginning nobody knows how long a text will be; what comes behind the end is filled with the text's last token.

    Args:
        spec: texts, grids of codes, or table rows as tokens.
        size: the dial: ``size`` heads, each 32 wide, in half as many layers (2 at least).
        width: of the stream; 0 follows from ``size``.
        depth: layers; 0 follows from ``size``.
        heads: 0 follows from ``size``.
        drop: the chance that ``cond`` is forgotten in training, so that ``cond=None`` and guidance work.
        draws: how many numbers ``k`` of hidden tokens ``log_prob`` looks at, spread evenly; all where there are no more.
    """

    bound: Bound = "lower"
    variants: ClassVar[dict[str, dict[str, Any]]] = {"deep": {"depth": 3, "width": 32, "heads": 2}}

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 6,
        width: int = 0,
        depth: int = 0,
        heads: int = 0,
        drop: float = 0.1,
        draws: int = 16,
    ) -> None:
        super().__init__(spec)
        check_drop(drop)
        if size < 1 or draws < 1:
            raise RecipeError(f"family.size is {size} and family.draws {draws}; both must be at least 1")
        heads, depth = heads or size, depth or max(2, size // 2)
        width = width or 32 * heads
        try:
            self.body = Transformer(width, depth, heads, causal=False)
        except ValueError as error:
            raise RecipeError(f"masked: {error}") from None
        self.drop, self.draws, self.length = drop, draws, spec.dims
        self.hidden, self.nothing = spec.vocab, spec.vocab + 1  # tokens of our own
        self.embed = nn.Embedding(spec.vocab + 2, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.condition = Condition(spec.cond, width)
        self.ends = spec.is_text
        self.read = nn.Linear(width, spec.vocab + self.ends, bias=False)  # the last one is nothing
        self.read.readout = True  # type: ignore[assignment]
        self.place = nn.Parameter(0.02 * torch.randn(spec.dims, width))
        if spec.blocks:
            token = torch.arange(spec.vocab)
            allowed = torch.stack([(token >= b.start) & (token < b.start + b.width) for b in spec.blocks])
            self.register_buffer("allowed", allowed, persistent=False)  # (columns, vocab)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Whole numbers that are names: letters, codes, columns of a table."""
        if not spec.is_tokens or spec.ordinal or not spec.shape:
            return "it hides tokens that are names, not numbers or levels; use diffusion, and pixelcnn for levels"
        if spec.blocks and len(spec.blocks) != spec.dims:
            return f"the table has {len(spec.blocks)} columns but {spec.dims} tokens; give one token for each column"
        if spec.given_text:
            return "one vector of a given text keeps too little; use family seq2seq for texts, reader for labels"
        return no_picture(spec)

    def _states(self, x: Tensor, given: Tensor) -> Tensor:
        """What stands at each place in the last layer, ``(B, L, width)``."""
        return self.body(self.embed(x) + self.place + given[:, None])

    def represent(self, batch: Batch) -> Tensor:
        """``(B, width)``: the mean of the vectors of the real tokens, none of them hidden."""
        x = self._whole(batch)
        return mean_of_real(self._states(x, self.condition(batch.cond, len(x))), x != self.nothing)

    def logits(self, x: Tensor, given: Tensor, ask: Tensor | None = None) -> Tensor:
        """Partly hidden tokens ``(B, L)`` and what is known ``(B, width)`` -> logits ``(B, L, vocab)``, float32.

        Of texts there is one more, of nothing. With ``ask`` ``(B, L)``, of the places where it is True alone, ``(m, vocab)``.
        """
        states = self._states(x, given)
        logits = self.read(states if ask is None else states[ask]).float()
        if not self.spec.blocks:
            return logits
        allowed = self.allowed if ask is None else self.allowed.expand(len(x), -1, -1)[ask]
        return logits.masked_fill(~allowed, -math.inf)

    def _whole(self, batch: Batch) -> Tensor:
        """Tokens ``(B, L)`` with nothing where the row is padding."""
        x = batch.x.flatten(1)
        if batch.mask is None or not self.ends:
            return x
        return x.masked_fill(~batch.mask.expand(batch.x.shape).flatten(1), self.nothing)

    def _bound(self, x: Tensor, k: Tensor, order: Tensor, given: Tensor) -> Tensor:
        """``(L / k) sum over the hidden of -log p``, with those of the ``k`` lowest numbers in ``order`` hidden; ``(B,)``."""
        hide = order.argsort(1).argsort(1) < k[:, None]
        logits = self.logits(x.masked_fill(hide, self.hidden), given)
        target = x.masked_fill(x == self.nothing, self.spec.vocab)
        nll = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
        return nll.masked_fill(~hide, 0.0).sum(1) * (self.length / k)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """One draw of the bound in nats; texts are weighted by their real tokens."""
        x, n = self._whole(batch), len(batch)
        forget = rng.uniform(n) < self.drop if self.spec.cond is not None else None
        given = self.condition(batch.cond, n, forget)
        k, order = 1 + rng.integers(self.length, n), rng.uniform(n, self.length)
        weight = (x != self.nothing).sum(1).float() if self.spec.is_text else None
        return Terms({"nll": self._bound(x, k, order, given)}, weight=weight)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """A lower bound in nats, ``(B,)``, from random sets of ``draws`` sizes; unbiased for the bound."""
        x, given = self._whole(batch), self.condition(batch.cond, len(batch))
        draws = min(self.draws, self.length)
        total = torch.zeros(len(x), device=x.device)
        for j in range(draws):
            low, high = j * self.length // draws, (j + 1) * self.length // draws
            k = 1 + low + rng.integers(high - low, len(x))
            total = total - self._bound(x, k, rng.uniform(*x.shape), given) * ((high - low) / self.length)
        return total

    def _fill(
        self, x: Tensor, keep: Tensor, rng: Rng, cond: Tensor | None, steps: int, order: str, revise: int, guidance: float,
        knobs: dict[str, float],
    ) -> Tensor:  # fmt: skip
        n, length = x.shape
        if steps < 0 or revise < 0:
            raise RecipeError(
                f"steps is {steps} and revise {revise}; neither may be below 0 (steps=0 is one token at a time)"
            )
        if order not in {"random", "sure"}:
            raise RecipeError(f"order is {order!r}; use 'random' or 'sure' (what is surest first)")
        steps = min(steps or length, length)
        given = self.condition(cond, n)
        blank = self.condition(None, n) if guidance != 1 and cond is not None and self.spec.cond is not None else None

        def draw(x: Tensor, ask: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            """Tokens for the places asked, 0 elsewhere, and how likely each was; like ``x``."""
            logits = self.logits(x, given, ask)
            if blank is not None:
                free = self.logits(x, blank, ask)
                logits = torch.where(logits.isinf(), logits, free + guidance * (logits - free))
            logits = filter_logits(logits, **knobs)
            token = pick(logits, u[ask])
            p = logits.log_softmax(-1).gather(1, token[:, None])[:, 0].exp() if order == "sure" else token.float()
            token = token.masked_fill(token == self.spec.vocab, self.nothing)
            return torch.zeros_like(x).masked_scatter(ask, token), torch.zeros_like(u).masked_scatter(ask, p.to(u))

        turn, u = rng.uniform(n, length), rng.uniform(n, length)
        missing = (~keep).sum(1)
        x = x.masked_fill(~keep, self.hidden)
        rank = turn.masked_fill(keep, 2.0).argsort(1).argsort(1)  # whose turn comes when
        for s in range(steps):
            until = (missing * (s + 1) + steps - 1) // steps  # so many are there after this step
            hidden = x == self.hidden
            now = hidden & (rank < until[:, None])
            token, p = draw(x, hidden if order == "sure" else now, u)
            if order == "sure":
                rank = (p - 2 * (~hidden).float()).argsort(1, descending=True).argsort(1)
                now = hidden & (rank < (until - missing + hidden.sum(1))[:, None])
            x = torch.where(now, token, x)
        for _ in range(revise):
            again = (rng.uniform(n, length) < REVISED) & ~keep
            x = torch.where(again, draw(x.masked_fill(again, self.hidden), again, rng.uniform(n, length))[0], x)
        return self._closed(x)

    def _closed(self, x: Tensor) -> Tensor:
        """Nothing becomes the token before it."""
        if not self.ends:
            return x
        place = torch.arange(x.shape[1], device=x.device)
        last = torch.where(x == self.nothing, 0, place).cummax(1).values
        x = x.gather(1, last)
        return x.masked_fill(x == self.nothing, 0)  # a row that begins with nothing

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, steps: int = 0, order: str = "random", revise: int = 0,
        guidance: float = 1.0, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0,
    ) -> Tensor:  # fmt: skip
        """``(n, *spec.shape)`` tokens, int64.

        Args:
            n: how many.
            rng: one stream, or one for each row.
            cond: ``(n, *spec.cond.shape)`` or None.
            steps: passes of the network, each of which brings back an even share; 0 is one for each token, the best.
            order: ``"random"``, as the model is trained, or ``"sure"``: the drawn token that was likeliest comes first
                (MaskGIT, Chang et al. 2022, arXiv:2202.04200), which prefers common examples to others.
            revise: passes more, each of which hides 15 % of what was made, at random, and brings it back given the rest (the
                remasking of Wang et al. 2025, arXiv:2503.00307, at a constant rate). What hangs together badly is mended,
                and since nothing is preferred, the examples stay as different as they were.
            guidance: 1 is conditional, 0 unconditional, above 1 follows ``cond`` harder.
            temperature: see ``samplers.tokens.filter_logits``, as for the three knobs after it.
            top_k: see there.
            top_p: see there.
            min_p: see there.
        """
        x = torch.zeros(n, self.length, dtype=torch.long, device=self.place.device)
        knobs = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        made = self._fill(x, torch.zeros_like(x, dtype=torch.bool), rng, cond, steps, order, revise, guidance, knobs)
        return made.reshape(n, *self.spec.shape)

    @torch.no_grad()
    def edit(
        self, batch: Batch, keep: Tensor, rng: Rng, *, steps: int = 0, order: str = "random", revise: int = 0,
        guidance: float = 1.0, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0,
    ) -> Tensor:  # fmt: skip
        """Kept tokens stay; all others are brought back given all that is kept, before and after. Knobs are ``sample``'s.

        Kept padding (``batch.mask``) is known to be nothing, so that a text keeps its length; padding that is not kept may be
        written on.
        """
        kept = keep.expand(batch.x.shape).flatten(1)
        knobs = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        made = self._fill(self._whole(batch), kept, rng, batch.cond, steps, order, revise, guidance, knobs)
        return torch.where(keep, batch.x, made.reshape(batch.x.shape))
