"""n-grams: the next token, as often as it followed the last few."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.samplers.causal import LeftToRight
from bottega.samplers.steps import StateStep

__all__ = ["NGram"]

_FAR = torch.iinfo(torch.int64).max  # a cell that holds nothing


class NGram(LeftToRight, Family):
    """Interpolated n-grams (Jelinek & Mercer 1980; Chen & Goodman 1998, section 2.3), the baseline of every language model.

    ``p_k(x | c) = w (N(c x) + 1/V) / (N(c) + 1) + (1 - w) p_{k-1}(x | c')`` with ``N`` how often a text was seen, ``c`` the
    ``k - 1`` tokens before, and ``c'`` the same without the first; ``p_0`` is a learned softmax. The weight is
    ``w = sigmoid(a_k + b_k log(1 + N(c)) + d_k log(1 + T(c)))``, where ``T(c)`` says how many different tokens were seen
    after ``c``, as in Witten & Bell's smoothing, here with learned numbers.

    A loss only notes what it has seen; ``settle`` counts it. So each text is judged by the counts of those before it, and
    weights that are learned by the gradient suit texts that are new: one pass over the data is what to train, and in a
    second one long contexts are trusted too much.

    With classes as condition, the class is part of every context, and each text is also counted as nobody's.

    Args:
        spec: ``Spec((L,), vocab=V)``, texts, with or without a class.
        size: thousands of different n-grams that are kept of each order; those that come when it is full are not counted.
        order: the longest n-gram, its last token included.
    """

    bound: Bound = "exact"

    def __init__(self, spec: Spec, *, size: int = 256, order: int = 5) -> None:
        super().__init__(spec)
        if size < 1 or order < 1:
            raise RecipeError(f"family.size is {size} and family.order {order}; both must be at least 1")
        self.classes = spec.cond.vocab if spec.cond is not None else 0
        self.radix = spec.vocab + 1  # the start is a token of contexts
        if (self.classes + 1) * self.radix**order >= 2**62:
            raise RecipeError(
                f"{order}-grams of {spec.vocab} tokens are more than can be numbered; set family.order to "
                f"{max(1, int(61 / (self.radix * (self.classes + 1)).bit_length()))}, or take a smaller vocabulary"
            )
        self.order = order
        self.register_buffer("keys", torch.full((order, 1000 * size), _FAR))  # sorted: context * radix + token
        self.register_buffer("counts", torch.zeros(order, 1000 * size, dtype=torch.long))
        self.mix = nn.Parameter(torch.tensor([[0.0, 0.5, -0.5]]).repeat(order, 1))
        self.base = nn.Parameter(torch.zeros(self.classes + 1, spec.vocab))
        self._noted: list[Tensor] = []

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Texts: sequences of tokens that are names, alone or with a class."""
        if not spec.is_text:
            return "it counts the tokens of texts; use made for rows of a table and pictures"
        if spec.cond is not None and (not spec.cond.is_tokens or spec.cond.shape):
            return "a context can hold a class, but no text and no numbers; leave the condition out, or use seq2seq"
        return ""

    def _class(self, cond: Tensor | None, n: int, device: torch.device) -> Tensor:
        """The number of each row's class, the last where nobody knows it, ``(n,)``."""
        nobody = torch.full((n,), self.classes, device=device)
        return nobody if cond is None or not self.classes else cond.where(cond >= 0, nobody)

    def _contexts(self, x: Tensor, known: Tensor) -> list[Tensor]:
        """Numbers of the contexts of each token of ``(B, T)``, an entry ``(B, T)`` for each order, less than 2^62 / radix."""
        out = [known[:, None].expand(x.shape)]
        padded = F.pad(x, (self.order - 1, 0), value=self.radix - 1)
        for k in range(1, self.order):
            seen = padded[:, self.order - 1 - k : padded.shape[1] - k]
            out.append(out[-1] + seen * (self.classes + 1) * self.radix ** (k - 1))
        return out

    def _totals(self) -> Tensor:
        """How often the cells before each were seen, ``(order, cells + 1)``."""
        return F.pad(self.counts.cumsum(1), (1, 0))

    def _seen(self, k: int, contexts: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """How often contexts were seen, and with how many different tokens behind them; like ``contexts``."""
        first = torch.searchsorted(self.keys[k], contexts * self.radix)
        last = torch.searchsorted(self.keys[k], contexts * self.radix + self.radix)
        return totals[k][last] - totals[k][first], last - first

    def _times(self, k: int, cells: Tensor) -> Tensor:
        """How often n-grams were seen, like ``cells``."""
        at = torch.searchsorted(self.keys[k], cells.contiguous()).clamp_max(self.keys.shape[1] - 1)
        return self.counts[k][at].masked_fill(self.keys[k][at] != cells, 0)

    def _weight(self, k: int, total: Tensor, kinds: Tensor) -> Tensor:
        features = torch.stack([torch.ones_like(total, dtype=self.mix.dtype), total.log1p(), kinds.log1p()], -1)
        return (features @ self.mix[k]).sigmoid()

    def _nats(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """``-log p`` of each token ``(B, T)``."""
        known, totals = self._class(cond, len(x), x.device), self._totals()
        p = self.base.float().softmax(1)[known].gather(1, x)
        for k, contexts in enumerate(self._contexts(x, known)):
            total, kinds = self._seen(k, contexts, totals)
            p = self._mixed(k, p, self._times(k, contexts * self.radix + x), total, kinds)
        return -p.log()

    def _mixed(self, k: int, p: Tensor, times: Tensor, total: Tensor, kinds: Tensor) -> Tensor:
        """One order more."""
        w = self._weight(k, total, kinds)
        even = 1 / self.spec.vocab
        return w * (times + even) / (total + 1) + (1 - w) * p

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the real tokens given those that were counted before; weighted by their number."""
        x = batch.x
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        with torch.autocast(x.device.type, enabled=False):
            nll = self._nats(x, batch.cond)
        if self.training and torch.is_grad_enabled():
            known = self._class(batch.cond, len(x), x.device)
            rows = [(x, real, known)]
            if self.classes:  # again as nobody's, those whose class is known
                of_class = known < self.classes
                nobody = torch.full_like(known[of_class], self.classes)
                rows.append((x[of_class], real[of_class], nobody))
            for tokens, counted, whose in rows:
                cells = [c * self.radix + tokens for c in self._contexts(tokens, whose)]
                self._noted.append(torch.stack([cell[counted] for cell in cells]))
        return Terms({"nll": nll.masked_fill(~real, 0.0).sum(1)}, weight=real.sum(1).float())

    def forget(self) -> None:
        """Drop what was noted since the last ``settle``: the step is undone."""
        self._noted.clear()

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Count the n-grams noted since the last time, those of all ranks."""
        if not self._noted:
            return
        noted = torch.cat(self._noted, 1)  # (order, tokens)
        self.forget()
        if dist.is_available() and dist.is_initialized():
            every: list[Tensor] = [noted] * dist.get_world_size()
            dist.all_gather_object(every, noted.cpu())
            noted = torch.cat([part.to(self.keys.device) for part in every], 1)
        for k in range(self.order):
            self._count(k, *torch.unique(noted[k], return_counts=True))

    def _count(self, k: int, cells: Tensor, times: Tensor) -> None:
        keys, counts = self.keys[k], self.counts[k]
        at = torch.searchsorted(keys, cells)
        old = keys[at.clamp_max(len(keys) - 1)] == cells
        counts.index_add_(0, at[old], times[old])
        room = len(keys) - int(torch.searchsorted(keys, torch.tensor(_FAR, device=keys.device)))
        fresh, times, at = cells[~old][:room], times[~old][:room], at[~old][:room]
        if not len(fresh):
            return
        places = at + torch.arange(len(fresh), device=keys.device)  # each moves what lies behind it by one
        stay = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
        stay[places] = False
        kept = int(stay.sum())
        for table, new in ((keys, fresh), (counts, times)):
            table[stay] = table[:kept].clone()
            table[places] = new

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats of the real tokens of each row, exact; ``rng`` is not drawn from."""
        nll = self._nats(batch.x, batch.cond)
        return -(nll if batch.mask is None else nll.masked_fill(~batch.mask, 0.0)).sum(1)

    def step(
        self, n: int, cond: Tensor | None = None, guidance: float = 1.0, *, prompted: bool = False, most: int = 0
    ) -> StateStep:
        """Keeps the last tokens."""
        device, totals = self.keys.device, self._totals()
        every = torch.arange(self.spec.vocab, device=device)

        def read(tokens: Tensor, counts: Tensor, known: Tensor, last: Tensor) -> tuple[Tensor, ...]:
            at = counts[:, None] + torch.arange(self.order, device=device)
            return known, torch.cat([last, tokens], 1).gather(1, at)

        def say(known: Tensor, last: Tensor) -> Tensor:
            now = torch.cat([last, torch.zeros_like(last[:, :1])], 1)  # whatever is next
            p = self.base.float().softmax(1)[known]
            for k, contexts in enumerate(self._contexts(now, known)):
                context = contexts[:, -1:]
                total, kinds = self._seen(k, context, totals)
                p = self._mixed(k, p, self._times(k, context * self.radix + every), total, kinds)
            return p.log()

        last = torch.full((n, self.order), self.radix - 1, device=device)
        state, blank = ((self._class(of, n, device), last) for of in (cond, None))
        return StateStep(read, say, state, blank if guidance != 1 and cond is not None else None, guidance)
