"""Naive Bayes: given the class, every number is drawn by itself; the simplest model that makes, scores and classifies."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.samplers.tokens import pick

__all__ = ["NaiveBayes"]


class NaiveBayes(Family):
    """``p(x, class) = p(class) prod_i p(x_i | class)``, exact.

    What ``p(x_i | class)`` is follows from the examples. Tokens of a text are drawn from one bag, wherever they stand
    (multinomial naive Bayes; McCallum & Nigam 1998); columns of a table, levels of a picture and codes have a distribution
    for each place; real numbers are Gaussian at each place.

    It learns by counting. A loss notes what it has seen and ``settle`` counts it. The gradient learns only what is believed
    before anything is seen: a distribution that counts for ``smoothing`` examples of each value (Laplace's rule, and the
    same as scikit-learn's ``alpha``, where it is not learned). Rows whose class nobody knows are counted to each class as
    far as they are thought to be of it (Nigam et al. 2000). One pass over the data is enough.

    Without classes there is one for all.

    Args:
        spec: texts, whole numbers of any shape, or real numbers without columns of names; with or without a class.
        size: of no meaning, as nothing here has a width.
        smoothing: how many examples of each value are believed in before any is seen.
    """

    bound: Bound = "exact"
    variants: ClassVar[dict[str, dict[str, Any]]] = {"sharp": {"smoothing": 0.01}}

    def __init__(self, spec: Spec, *, size: int = 1, smoothing: float = 1.0) -> None:
        super().__init__(spec)
        if not smoothing > 0:
            raise RecipeError(
                f"family.smoothing is {smoothing}; it must be above 0, or what was never seen is impossible"
            )
        self.classes = spec.cond.vocab if spec.cond is not None else 1
        self.smoothing = smoothing
        if spec.cond is None:
            self.lacks = {"Classifies"}
        else:
            self.share = nn.Parameter(torch.zeros(self.classes))
        self.register_buffer("rows", torch.zeros(self.classes, dtype=torch.float64))
        self.places = 1 if spec.is_text else spec.dims
        if spec.is_tokens:
            low, width = torch.zeros(self.places, dtype=torch.long), torch.full((self.places,), spec.vocab)
            if spec.blocks:
                low, width = (torch.tensor([getattr(b, part) for b in spec.blocks]) for part in ("start", "width"))
            self.register_buffer("low", low, persistent=False)
            values = torch.arange(int(width.max()))
            self.register_buffer("beyond", values >= width[:, None], persistent=False)  # (places, values)
            self.register_buffer("counts", torch.zeros(self.classes, self.places, len(values), dtype=torch.float64))
            self.base = nn.Parameter(torch.zeros(self.classes, self.places, len(values)))
        else:
            self.register_buffer("sums", torch.zeros(2, self.classes, self.places, dtype=torch.float64))  # of x, of x^2
            self.base = nn.Parameter(torch.zeros(2, self.classes, self.places))  # a mean, the logarithm of a variance
        self._noted: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Whole numbers of any kind, and real numbers that are no columns of names; alone or with a class."""
        if spec.cond is not None and (not spec.cond.is_tokens or spec.cond.shape):
            return "it can be given a class, but no text, numbers or picture; leave the condition out"
        if spec.blocks and not spec.is_tokens:
            return "its columns of names are no real numbers; set codec.form = 'tokens', or use vae"
        if spec.blocks and len(spec.blocks) != spec.dims:
            return f"the table has {len(spec.blocks)} columns but {spec.dims} tokens; give one token for each column"
        return ""

    # --- what is believed --------------------------------------------------------------------------------------------

    def _log_share(self) -> Tensor:
        """``log p(class)``, ``(classes,)``: counts, with one example of each class before any was seen."""
        if self.spec.cond is None:
            return self.base.new_zeros(1)
        total = self.rows.float() + self.classes * self.share.float().softmax(0)
        return (total / total.sum()).log()

    def _log_table(self) -> Tensor:
        """``log p(value | class)`` at each place, ``(classes, places, values)``; minus infinity beyond a column's own."""
        base = self.base.float().masked_fill(self.beyond, -math.inf).softmax(-1)
        believed = base * (self.smoothing * (~self.beyond).sum(-1, keepdim=True))
        total = self.counts.float() + believed
        logs = total.masked_fill(self.beyond, 1.0).log() - total.sum(-1, keepdim=True).log()
        return logs.masked_fill(self.beyond, -math.inf)

    def _gaussians(self) -> tuple[Tensor, Tensor]:
        """Means and variances, ``(classes, places)``: of what was seen and of ``smoothing`` examples that are believed in."""
        mean, variance = self.base[0].float(), self.base[1].float().exp()
        n = self.rows[:, None] + self.smoothing
        first = (self.sums[0] + self.smoothing * mean) / n  # in double, as a difference of squares follows
        second = (self.sums[1] + self.smoothing * (mean.double() ** 2 + variance)) / n
        return first.float(), (second - first**2).clamp_min(1e-9).float()

    def _local(self, x: Tensor) -> Tensor:
        """Tokens as numbers of their column's values, ``(B, dims)``."""
        return x.flatten(1) - self.low

    def _each(self, batch: Batch) -> Tensor:
        """``log p(x | class)`` of the real numbers of each row, ``(B, classes)``."""
        x = batch.x.flatten(1)
        if not self.spec.is_tokens:
            mean, variance = self._gaussians()
            off = (x.float()[:, None] - mean) ** 2 / variance
            return -0.5 * (off + variance.log() + math.log(math.tau)).sum(-1)
        if self.spec.is_text:
            return self._bag(batch).float() @ self._log_table()[:, 0].T
        table, place = self._log_table(), torch.arange(self.places, device=x.device)
        return table[:, place, self._local(x)].sum(-1).T

    def _bag(self, batch: Batch) -> Tensor:
        """How often each token stands in each text, ``(B, vocab)``."""
        real = torch.ones_like(batch.x) if batch.mask is None else batch.mask.expand(batch.x.shape).long()
        return torch.zeros(len(batch), self.spec.vocab, dtype=torch.long, device=real.device).scatter_add(
            1, batch.x, real
        )

    def _given(self, each: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """``log p(x)``, given the class of rows that have one; and ``log p(class)`` of these, 0 of others. ``(B,)`` each."""
        share = self._log_share()
        blank = torch.logsumexp(each + share, 1)
        if cond is None or self.spec.cond is None:
            return blank, torch.zeros_like(blank)
        known, at = cond >= 0, cond.clamp_min(0)
        return torch.where(known, each.gather(1, at[:, None])[:, 0], blank), share[at].masked_fill(~known, 0.0)

    # --- learning ----------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats given what was counted before, and nats of the class where it is known."""
        with torch.autocast(batch.x.device.type, enabled=False):
            each = self._each(batch)
            nats, share = self._given(each, batch.cond)
        if self.training and torch.is_grad_enabled():
            self._noted.append(self._seen(batch, each.detach()))
        parts = {"nll": -nats} if self.spec.cond is None else {"nll": -nats, "class": -share}
        if not self.spec.is_text:
            return Terms(parts)
        real = (
            torch.full_like(nats, float(self.spec.dims)) if batch.mask is None else batch.mask.expand_as(batch.x).sum(1)
        )
        return Terms(parts, weight=real.detach().float())

    def _seen(self, batch: Batch, each: Tensor) -> tuple[Tensor, Tensor]:
        """What a batch adds: to ``rows``, and to ``counts`` or ``sums``."""
        whose = (each + self._log_share().detach()).softmax(1)
        if batch.cond is not None and self.spec.cond is not None:
            sure = F.one_hot(batch.cond.clamp_min(0), self.classes).to(whose)
            whose = torch.where((batch.cond >= 0)[:, None], sure, whose)
        whose = whose.double()
        if not self.spec.is_tokens:
            x = batch.x.flatten(1).double()
            return whose.sum(0), torch.stack([whose.T @ x, whose.T @ x**2])
        if self.spec.is_text:
            return whose.sum(0), (whose.T @ self._bag(batch).double())[:, None]
        table = torch.zeros_like(self.counts)
        local = self._local(batch.x).T  # (places, B)
        for c in range(self.classes):
            table[c].scatter_add_(1, local, whose[:, c].expand(self.places, -1))
        return whose.sum(0), table

    def forget(self) -> None:
        """Drop what was noted since the last ``settle``: the step is undone."""
        self._noted.clear()

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Count what was noted since the last time, by all ranks."""
        if not self._noted:
            return
        rows, table = (torch.stack(part).sum(0) for part in zip(*self._noted, strict=True))
        self.forget()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(rows)
            dist.all_reduce(table)
        self.rows += rows
        (self.counts if self.spec.is_tokens else self.sums).add_(table)

    # --- what can be asked of it -------------------------------------------------------------------------------------

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats, exact; of a text, of its tokens in their order. ``rng`` is not drawn from."""
        return self._given(self._each(batch), batch.cond)[0]

    @torch.no_grad()
    def classify(self, batch: Batch) -> Tensor:
        """``(B, classes)`` log probabilities of the classes, by Bayes' rule."""
        return (self._each(batch) + self._log_share()).log_softmax(1)

    def _drawn(self, which: Tensor, rng: Rng) -> Tensor:
        n = len(which)
        if not self.spec.is_tokens:
            mean, variance = self._gaussians()
            x = mean[which] + variance.sqrt()[which] * rng.normal(n, self.places)
        else:
            table = self._log_table()[which]  # (n, places, values)
            u = rng.uniform(n, self.spec.dims)
            mass = table.double().softmax(-1).cumsum(-1).expand(n, -1, -1)
            at = (u.double()[..., None] if self.places > 1 else u.double()[:, None]) * mass[..., -1:]
            x = torch.searchsorted(mass.contiguous(), at.contiguous(), right=True)
            x = x.reshape(n, self.spec.dims) + self.low
        return x.reshape(n, *self.spec.shape)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        """``(n, *spec.shape)``: a class where none is given, then each number by itself.

        Args:
            n: how many.
            rng: one number for the class, one for each place.
            cond: classes ``(n,)``, -1 where any will do; or None.
        """
        which = pick(self._log_share().expand(n, -1), rng.uniform(n))
        if cond is not None and self.spec.cond is not None:
            which = torch.where(cond >= 0, cond, which)
        return self._drawn(which, rng)

    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng) -> Tensor:
        """Kept numbers stay; the others are drawn given the class, which is drawn given the kept ones where nobody knows it."""
        kept = keep.expand(batch.x.shape)
        which = pick(self._kept(batch.x, kept) + self._log_share(), rng.uniform(len(batch)))
        if batch.cond is not None and self.spec.cond is not None:
            which = torch.where(batch.cond >= 0, batch.cond, which)
        return torch.where(kept, batch.x, self._drawn(which, rng))

    def _kept(self, x: Tensor, kept: Tensor) -> Tensor:
        """``log p(kept numbers | class)``, ``(B, classes)``."""
        if self.spec.is_text:
            return self._each(Batch(x, mask=kept))
        flat, seen = x.flatten(1), kept.flatten(1)[:, None]
        if self.spec.is_tokens:
            table, place = self._log_table(), torch.arange(self.places, device=x.device)
            nats = table[:, place, self._local(x)].transpose(0, 1)
        else:
            mean, variance = self._gaussians()
            nats = -0.5 * ((flat[:, None] - mean) ** 2 / variance + variance.log() + math.log(math.tau))
        return nats.masked_fill(~seen, 0.0).sum(-1)
