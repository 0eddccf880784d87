"""MADE: a masked autoencoder that says, in one pass, how likely each number is given those before it in an order."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.masked_mlp import MaskedMLP
from bottega.nets.places import Places

__all__ = ["MADE"]

_MOST = 2**28  # weights of the read-out; more would be gigabytes


class MADE(Family):
    """Masked autoencoder (Germain et al. 2015, arXiv:1502.03509): ``log p(x) = sum_i log p(x_i | those before i)``, exact.

    Every number is a softmax over its levels or names. Masks on the weights keep each from seeing itself and what comes
    later in an order; hidden layers are residual (Nash & Durkan 2019, arXiv:1904.05626, section 4.2). With several orders
    one network serves all: each training row draws its order, and the model is their even mixture, which is again exact
    (``log_prob`` costs as many passes as there are orders) and likelier than the orders are in the mean (section 4.3 of
    the paper; Uria et al. 2014, arXiv:1310.1757). The orders of pictures begin with the eight raster scans: rows or
    columns first, from each corner. Other numbers are taken as they come, then backwards, then anyhow.

    Sampling computes each hidden unit once, when all that it sees is known, so that a whole example costs the
    multiplications of one pass.

    Args:
        spec: whole numbers: levels of a picture or a vector, codes, columns of a table.
        size: the dial; hidden layers have ``32 * size`` units.
        layers: residual blocks, two hidden layers each.
        orders: how many orders are learned and mixed.
        dropout: share of hidden units that are hidden in training, in [0, 1).
        drop: how often a row is trained without its condition, so that ``cond=None`` and guidance work, in [0, 1).
    """

    bound: Literal["exact"] = "exact"
    variants: ClassVar[dict[str, dict[str, Any]]] = {"orders": {"orders": 3}, "dropout": {"dropout": 0.2}}

    def __init__(
        self, spec: Spec, *, size: int = 32, layers: int = 2, orders: int = 1, dropout: float = 0.0, drop: float = 0.1
    ) -> None:
        super().__init__(spec)
        if min(size, layers, orders) < 1:
            raise RecipeError(f"family.size, layers and orders are {size}, {layers} and {orders}; use at least 1")
        if not 0 <= dropout < 1:
            raise RecipeError(f"family.dropout is {dropout}; it must lie in [0, 1), 0.2 is usual")
        check_drop(drop)
        dims, hidden = spec.dims, 32 * size
        self.places = Places(spec)
        most = self.places.most
        self.binary = spec.vocab == 2 and not spec.blocks  # one logit says both
        inputs, outputs = (1 if spec.ordinal else most), (1 if self.binary else most)
        if dims * max(inputs, outputs) * hidden > _MOST:
            raise RecipeError(
                f"made would read {dims} numbers of {most} levels out of {hidden} hidden units by one matrix, "
                "which is too large; use pixelcnn, or fewer levels (codec.levels)"
            )
        self.register_buffer("ranks", _ranks(spec.shape, orders), persistent=False)  # (orders, dims)
        self.dropout, self.drop = dropout, drop
        self.given = Condition(spec.cond, size)
        self.body = MaskedMLP(dims, inputs, outputs, hidden, layers, given=size if spec.cond else 0)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Whole numbers with a place each: pictures, vectors, rows of a table."""
        if not spec.is_tokens:
            return "it needs whole levels, not real numbers; use flow, or give the codec a number of levels (2, 17)"
        if not spec.shape:
            return "it is one label, of a text that is given; use family reader"
        if spec.is_text:
            return "each place has weights of its own, and a letter of a text may stand anywhere; use gpt"
        return no_picture(spec)

    def _see(self, local: Tensor) -> Tensor:
        """Levels or names, counted from the start of each place's own ``(B, dims)``, as inputs ``(B, dims * inputs)``."""
        if self.body.inputs == 1:
            return local * (2.0 / (self.places.most - 1))  # nothing where nothing is: dark pixels add no common noise
        return F.one_hot(local, self.body.inputs).flatten(1).to(self.body.enter.dtype)

    def _known(self, cond: Tensor | None, n: int, drop: Tensor | None = None) -> Tensor | None:
        return self.given(cond, n, drop) if self.spec.cond else None

    def _log_prob(self, x: Tensor, which: Tensor, known: Tensor | None, rng: Rng | None = None) -> Tensor:
        """Of each row in its own order ``which`` ``(B,)``; with an ``rng``, units are hidden."""

        def hide(h: Tensor) -> Tensor:
            if rng is None or not self.dropout:
                return h
            return h * ((rng.uniform(*h.shape) >= self.dropout) / (1 - self.dropout)).to(h.dtype)

        local = self.places.enter(x)
        raw = self.body(self._see(local), self.ranks, which, known, hide).float()
        if self.binary:
            return -F.binary_cross_entropy_with_logits(raw, local.float(), reduction="none").sum(1)
        logits = raw.view(*local.shape, -1).masked_fill(self.places.beyond, -math.inf)
        return -F.cross_entropy(logits.flatten(0, 1), local.flatten(), reduction="none").view(len(x), -1).sum(1)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """Exact log probability of the mixture of all orders in nats, ``(B,)``; ``rng`` is not drawn from."""
        known = self._known(batch.cond, len(batch))
        orders = range(len(self.ranks))
        each = [self._log_prob(batch.x, torch.full((len(batch),), k, device=batch.x.device), known) for k in orders]
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Negative log probability in nats in an order drawn for each row; in the mean no less than the mixture's."""
        drop = rng.uniform(len(batch)) < self.drop if self.spec.cond else None
        known = self._known(batch.cond, len(batch), drop)
        which = rng.integers(len(self.ranks), len(batch))
        return Terms({"nll": -self._log_prob(batch.x, which, known, rng if self.training else None)})

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, guidance: float = 1.0
    ) -> Tensor:
        """New examples ``(n, *spec.shape)``, int64, each in an order drawn for it.

        Args:
            n: how many.
            rng: the order of each row, and one uniform number for each place.
            cond: ``(n, *spec.cond.shape)`` or None.
            temperature: logits are divided by it; below 1 is more typical and less varied.
            guidance: logits are pushed from the unconditional ones so many times (Ho & Salimans 2022, arXiv:2207.12598);
                1 is the model itself.
        """
        which = rng.integers(len(self.ranks), n)
        return self._drawn(which, rng, cond, temperature, guidance)

    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng, *, temperature: float = 1.0, guidance: float = 1.0) -> Tensor:
        """Complete examples: numbers where ``keep`` is True stay, the others are drawn anew.

        Each row takes the order in which its kept numbers come earliest. A drawn number knows all before it, and none of
        the kept ones after it.
        """
        keep = keep.expand_as(batch.x).flatten(1)
        which = (keep.to(self.ranks.dtype) @ self.ranks.T).argmin(1)
        return self._drawn(which, rng, batch.cond, temperature, guidance, (self.places.enter(batch.x), keep))

    def _drawn(
        self, which: Tensor, rng: Rng, cond: Tensor | None, temperature: float, guidance: float,
        kept: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """One example for each order in ``which``, place after place; rows of one order together."""
        if not temperature > 0:
            raise RecipeError(f"temperature is {temperature}; it must be above 0, 1 is the model itself")
        n, places = len(which), len(self.places)
        u = rng.uniform(n, places).double()
        known = self._known(cond, n)
        guided = guidance != 1 and cond is not None and known is not None
        free = self._known(None, n) if guided else None
        out = torch.zeros(n, places, dtype=torch.long, device=u.device)
        for k in which.unique().tolist():
            rows = (which == k).nonzero()[:, 0]
            both = known if known is None else known[rows]
            if guided:
                both = torch.cat([known[rows], free[rows]])  # type: ignore[index]
            cache = self.body.begin(len(rows) * (2 if guided else 1), self.ranks[k], both)
            local = torch.zeros(len(rows), places, dtype=torch.long, device=u.device)
            seen = self._see(local)
            for place in self.ranks[k].argsort().tolist():
                raw = self.body.next_place(cache, seen.repeat(2, 1) if guided else seen, place)
                logits = F.pad(raw, (1, 0)) if self.binary else raw.masked_fill(self.places.beyond[place], -math.inf)
                logits = logits.double()
                if guided:
                    given, plain = logits.chunk(2)
                    logits = torch.where(given.isinf(), given, plain + guidance * (given - plain))
                below = torch.softmax(logits / temperature, 1).cumsum(1)
                drawn = (below <= u[rows, place, None]).sum(1).clamp(max=int((~self.places.beyond[place]).sum()) - 1)
                local[:, place] = drawn if kept is None else kept[0][rows, place].where(kept[1][rows, place], drawn)
                wide = self.body.inputs
                seen[:, place * wide : (place + 1) * wide] = self._see(local[:, place : place + 1])
            out[rows] = local
        return self.places.leave(out)


def _ranks(shape: tuple[int, ...], orders: int) -> Tensor:
    """Where each place stands in each order, ``(orders, dims)``; the same whenever asked."""
    dims = math.prod(shape)
    raster = torch.arange(dims)
    if len(shape) == 3:  # all channels of a pixel before the next pixel
        channels, height, width = shape
        by_rows = raster.view(height, width, channels).permute(2, 0, 1)
        by_columns = raster.view(width, height, channels).permute(2, 1, 0)
        corners = ([], [1, 2], [2], [1])
        found = [scan.flip(corner).flatten() for scan in (by_rows, by_columns) for corner in corners]
    else:
        found = [raster, raster.flip(0)]
    draw = torch.Generator().manual_seed(0)
    while len(found) < orders:
        found.append(torch.randperm(dims, generator=draw))
    return torch.stack(found[:orders])
