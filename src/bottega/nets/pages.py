"""Rows at different places in one pass: some read a prompt, some the next token, all through the same matrices.

A transformer's linear parts do not care which row a position belongs to, so a pass is one list of positions. Only attention
looks at a row's own past, which lies in blocks (Kwon et al. 2023, arXiv:2309.06180). A single query is answered block by
block where the blocks lie, without copying them together, and the answers of a row's blocks are weighed by their masses, as
in flash-decoding (Dao et al. 2023). A block's answer has the same shape whoever else is in the pass, products are made in
numbers of rows that agree (``nets.batch_invariant``), and so a row is to the bit what it is alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.nets.batch_invariant import Product, RowCounts, alike, batch_invariant, elementwise
from bottega.nets.cache import PagedCache
from bottega.nets.transformer import ACTIVATIONS, Rotary, Transformer

__all__ = ["PageRow", "PagedReader", "Pages"]


@dataclass(eq=False)
class PageRow:
    """What one row holds.

    Attributes:
        table: its blocks, in order.
        length: positions that are read.
        given: ``(width,)`` what is added to each of its embeddings; None for nothing.
    """

    table: list[int] = field(default_factory=list)
    length: int = 0
    given: Tensor | None = None


class Pages(PagedCache):
    """Blocks for rows that come and go, never more than ``limit``; the lowest free one is lent, so that few lie idle between.

    Args:
        depth: layers.
        kv_heads: of keys and values.
        head: width of a head.
        like: a tensor of the device and the kind of number that are wanted.
        block: positions in a block.
        limit: blocks at most.

    >>> pages = Pages(1, 1, 4, torch.zeros(0), block=16, limit=2)
    >>> row, other = PageRow(), PageRow()
    >>> pages.fit(row, 20), pages.fit(other, 1), row.table
    (True, False, [0, 1])
    """

    def __init__(self, depth: int, kv_heads: int, head: int, like: Tensor, *, block: int, limit: int) -> None:
        self.limit = limit
        super().__init__(depth, 0, kv_heads, 0, head, like, block=block)

    def _take(self) -> int:
        if not self.free:
            have = len(self.users)
            more = min(max(8, have), self.limit - have)
            for name in ("keys", "values"):
                store = getattr(self, name)
                wide = store.new_zeros(store.shape[0], have + more, *store.shape[2:])
                wide[:, :have] = store
                setattr(self, name, wide)
            self.users += [0] * more
            self.free += range(have, have + more)
        block = heapq.heappop(self.free)
        self.users[block] = 1
        return block

    def _drop(self, block: int) -> None:
        self.users[block] -= 1
        if not self.users[block]:
            heapq.heappush(self.free, block)

    @property
    def left(self) -> int:
        """How many blocks can be lent yet."""
        return len(self.free) + self.limit - len(self.users)

    def needs(self, length: int) -> int:
        """How many blocks a row of so many positions has."""
        return -(-length // self.block)

    def fit(self, row: PageRow, length: int) -> bool:
        """Room for so many positions of a row; False, and nothing is lent, where there is none."""
        more = self.needs(length) - len(row.table)
        if more > self.left:
            return False
        row.table += [self._take() for _ in range(more)]
        return True

    def release(self, row: PageRow) -> None:
        """A row's blocks are free again."""
        for block in row.table:
            self._drop(block)
        row.table, row.length = [], 0

    @property
    def bytes(self) -> int:
        """What the blocks take, lent or not."""
        return self.keys.nbytes + self.values.nbytes


class _Plan:
    """Where the positions of one pass stand: rows with one each come first, then the stretches of others."""

    def __init__(self, pages: Pages, singles: Sequence[PageRow], stretches: Sequence[tuple[PageRow, int]]) -> None:
        block = pages.block
        at = [row.length for row in singles]
        lent = [row.table[row.length // block] for row in singles]
        self.stretches: list[tuple[int, int, int, list[int]]] = []  # first, behind last, before, blocks
        first = len(singles)
        for row, count in stretches:
            places = range(row.length, row.length + count)
            at += places
            lent += [row.table[p // block] for p in places]
            self.stretches.append((first, first + count, row.length, row.table[: pages.needs(row.length + count)]))
            first += count
        self.n = len(singles)
        self.places, self.lent = torch.tensor(at), torch.tensor(lent)
        self.inside = self.places % block
        if self.n:
            self._singles(pages, singles)

    def _singles(self, pages: Pages, rows: Sequence[PageRow]) -> None:
        deep = max(row.length // pages.block for row in rows) + 1
        many = torch.tensor([row.length // pages.block + 1 for row in rows])
        table = torch.tensor(
            [(row.table + row.table[:1] * deep)[:deep] for row in rows]
        )  # a block of its own as padding
        held = torch.arange(deep) < many[:, None]
        end = int(table.max()) + 1
        live = table[held]
        # the blocks as they lie, where few of them are others'; else those that are wanted, copied together
        self.blocks: Tensor | None = None
        if 2 * len(live) < end:
            self.blocks, place = live, torch.zeros(end, dtype=torch.long)
            place[live] = torch.arange(len(live))
            table, live, end = place[table], place[live], len(live)
        self.end, self.table, self.deep = end, table, deep
        self.owner = torch.zeros(end, dtype=torch.long)
        self.owner[live] = torch.arange(len(rows))[:, None].expand(-1, deep)[held]
        filled = torch.ones(end, dtype=torch.long)  # one where nobody asks, so that no answer is NaN
        filled[live] = (self.places[: self.n, None] + 1 - torch.arange(deep) * pages.block)[held]
        self.mask = torch.zeros(end, 1, 1, pages.block).masked_fill_(
            (torch.arange(pages.block) >= filled[:, None])[:, None, None], float("-inf")
        )
        self.absent = None if deep == 1 else ~held[:, :, None, None]


def _bare(part: Any) -> Callable[[Tensor], Tensor]:
    """A module's function without the ceremony of calling a module, which at one row costs as much as the work."""
    if hasattr(part, "bare"):
        found: Callable[[Tensor], Tensor] = part.bare()
        return found
    if isinstance(part, nn.LayerNorm):
        shape, weight, bias, eps = part.normalized_shape, part.weight, part.bias, part.eps
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    plain: Callable[[Tensor], Tensor] = getattr(part, "forward", part)
    return plain


class _Bare:
    """One layer as plain functions whose rows are each what they are alone.

    Args:
        layer: of a transformer.
        counts: of each product of such a layer, by its name; the first of a stack fills it.
    """

    def __init__(self, layer: Any, counts: dict[str, RowCounts]) -> None:
        at, feed = layer.attention, layer.feed
        self.heads, self.kv_heads, self.head, self.scale = at.heads, at.kv_heads, at.head, at.scale
        self.before_attention, self.before_feed = _bare(layer.before_attention), _bare(layer.before_feed)

        def product(name: str, *parts: Any) -> Product:
            each = [_bare(part) for part in parts]
            make: Product = each[0] if len(each) == 1 else lambda x: torch.cat([one(x) for one in each], -1)
            return batch_invariant(make, counts.setdefault(name, RowCounts(make)))

        self.joined = product("joined", *([at.q, at.k, at.v] if at.joined is None else [at.joined]))
        self.o = product("o", at.o)
        self.down, self.act, self.gated = product("down", feed.down), ACTIVATIONS[feed.kind], feed.gated
        apart = [feed.gate, feed.up] if feed.gated else [feed.up]
        self.up = product("up", *(apart if feed.joined is None else [feed.joined]))

    def feed(self, x: Tensor) -> Tensor:
        """As ``FeedForward.forward``."""
        if self.gated:
            gate, up = self.up(x).chunk(2, -1)
            return self.down(elementwise(self.act, gate) * up)
        return self.down(elementwise(self.act, self.up(x)))


class PagedReader:
    """One pass of a causal stack over rows at different places.

    Args:
        body: the stack; no relative positions, no encoder behind it.
        embed: token numbers ``(M,)`` to ``(M, width)``.
        read_out: ``(m, width)`` to logits ``(m, vocab)``.
        limit: blocks at most.
        block: positions in a block.
        sees: positions that a row can have.
        start: the token before the first.
        begins: whether it stands before a prompt too.
        given: of a condition ``(1, ...)`` or None, what is added to the embeddings of its row ``(width,)``; None where the
            model knows no conditions.
    """

    def __init__(
        self, body: Transformer, embed: Callable[[Tensor], Tensor], read_out: Callable[[Tensor], Tensor], *,
        limit: int, block: int, sees: int, start: int, begins: bool, given: Callable[[Tensor | None], Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.body, self.embed, self.sees = body, embed, sees
        self.start, self.begins, self.given = start, begins, given
        like = body.like
        self.pages = Pages(body.depth, body.kv_heads, body.head, like, block=block, limit=limit)
        self.device = like.device
        counts: dict[str, RowCounts] = {}
        self.layers = [_Bare(layer, counts) for layer in body.layers]
        logits = _bare(read_out)
        self.read_out = batch_invariant(logits, RowCounts(logits))
        self.norm = _bare(body.norm)
        if body.rotates:
            self.turns = [t[:, None] for t in body.rotary.angles(0, sees)]  # (sees, 1, head)

    def begun(self, prompt: list[int]) -> list[int]:
        """A prompt behind its start."""
        return [self.start, *prompt] if self.begins or not prompt else prompt

    @torch.inference_mode()
    def __call__(
        self, tokens: list[int], singles: Sequence[PageRow], stretches: Sequence[tuple[PageRow, int]], wanted: list[int]
    ) -> Tensor:
        """Read the next positions of rows; their pages must fit already.

        Args:
            tokens: one for each of ``singles``, then those of the ``stretches``.
            singles: rows that read one token.
            stretches: rows, and how many tokens they read.
            wanted: positions of ``tokens`` behind which logits are asked for.

        Returns:
            ``(len(wanted), vocab)`` float32, on the CPU.
        """
        plan = _Plan(self.pages, singles, stretches)
        if self.device.type != "cpu":
            _move(plan, self.device)
        x = self.embed(torch.tensor(tokens, device=self.device))
        given = [(row.given, 1) for row in singles] + [(row.given, count) for row, count in stretches]
        if any(g is not None for g, _ in given):
            x = x + torch.stack([x.new_zeros(x.shape[1]) if g is None else g for g, c in given for _ in range(c)])
        body = self.body
        if hasattr(body, "place"):
            x = x + body.place[plan.places]
        turn = [t[plan.places] for t in self.turns] if body.rotates else None
        after = body.order == "post"
        if after:
            x = self.norm(x)
        for i, layer in enumerate(self.layers):
            x = x + self._attend(layer, i, x if after else layer.before_attention(x), turn, plan)
            x = layer.before_attention(x) if after else x
            x = x + layer.feed(x if after else layer.before_feed(x))
            x = layer.before_feed(x) if after else x
        for row in singles:
            row.length += 1
        for row, count in stretches:
            row.length += count
        if len(wanted) != len(x):
            x = x[wanted]
        out: Tensor = self.read_out(x if after else self.norm(x)).float().cpu()  # where rows draw
        return out

    def _attend(self, part: _Bare, i: int, x: Tensor, turn: list[Tensor] | None, plan: _Plan) -> Tensor:
        """``(M, width) -> (M, width)``."""
        heads, kv_heads, head = part.heads, part.kv_heads, part.head
        made = part.joined(x).view(len(x), heads + 2 * kv_heads, head)
        both, v = made[:, : heads + kv_heads], made[:, heads + kv_heads :]
        if turn is not None:
            both = Rotary.turn(both, turn[0], turn[1])
        q, k = both[:, :heads], both[:, heads:]
        keys, values = self.pages.keys[i], self.pages.values[i]
        keys[plan.lent, :, plan.inside], values[plan.lent, :, plan.inside] = k, v
        out = []
        if plan.n:
            one = self._single(q[: plan.n].unflatten(1, (kv_heads, -1)), keys, values, plan, part.scale)
            out.append(one.reshape(plan.n, heads * head))
        for first, last, before, blocks in plan.stretches:
            out.append(self._stretch(q, k, v, keys, values, first, last, before, blocks, part.scale))
        return part.o(out[0] if len(out) == 1 else torch.cat(out))

    @staticmethod
    def _single(q: Tensor, keys: Tensor, values: Tensor, plan: _Plan, scale: float) -> Tensor:
        """One query for each row, ``(n, kv_heads, group, head)``: each block answers, the answers are weighed."""
        if plan.blocks is None:
            keys, values = keys[: plan.end], values[: plan.end]
        else:
            keys, values = keys[plan.blocks], values[plan.blocks]
        said, mass = _answers(
            q[plan.owner], keys, values, plan.mask, scale
        )  # (blocks, kv_heads, group, head) and without head
        if plan.deep == 1:
            return said[plan.table[:, 0]]
        share = mass[plan.table].masked_fill_(plan.absent, float("-inf")).softmax(1)  # (n, deep, kv_heads, group)
        return (said[plan.table] * share[..., None]).sum(1)

    @staticmethod
    def _stretch(
        q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, first: int, last: int, before: int,
        blocks: list[int], scale: float,
    ) -> Tensor:  # fmt: skip
        """Some queries of one row on all that stands before each, ``(t, heads * head)``."""
        count, grouped = last - first, q.shape[1] != k.shape[1]
        mine = q[first:last].transpose(0, 1)[None]  # (1, heads, t, head)
        seen = None
        if before:
            k, v = (store[blocks].transpose(0, 1).flatten(1, 2)[None, :, : before + count] for store in (keys, values))
            seen = torch.ones(count, before + count, dtype=torch.bool, device=q.device).tril(before)
        else:
            k, v = (t[first:last].transpose(0, 1)[None] for t in (k, v))
        out = F.scaled_dot_product_attention(
            mine, k, v, attn_mask=seen, is_causal=seen is None, scale=scale, enable_gqa=grouped
        )
        return out[0].transpose(0, 1).flatten(1)


def _answers(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """What keys and values ``(B, kv_heads, block, head)`` say to ``q`` ``(B, kv_heads, group, head)``, and with what mass (its log)."""
    if q.device.type == "cpu":
        threads = torch.get_num_threads()
        if threads == 1 or _steady(threads, tuple(q.shape[1:]), k.shape[2], q.dtype):
            return _on_processor(q, k, v, mask, scale)
        torch.set_num_threads(1)
        try:
            return _on_processor(q, k, v, mask, scale)
        finally:
            torch.set_num_threads(threads)
    scores = q @ k.transpose(-1, -2) * scale + mask
    mass = scores.logsumexp(-1)
    return (scores - mass[..., None]).exp() @ v, mass


def _on_processor(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    said, mass = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, False, attn_mask=mask.to(q.dtype), scale=scale
    )
    return said, mass


@lru_cache(maxsize=64)
def _steady(threads: int, shape: tuple[int, ...], block: int, dtype: torch.dtype) -> bool:
    """Whether a block is answered to the bit alike among any number of others, with so many ``threads``; tried once.

    On some processors the library sums in another order where a thread's part of the memory lies otherwise.
    """
    g = torch.Generator().manual_seed(0)
    most = 64
    q = torch.randn(most, *shape, generator=g).to(dtype)
    k, v = (torch.randn(most, shape[0], block, shape[2], generator=g).to(dtype) for _ in range(2))
    mask = torch.zeros(most, 1, 1, block, dtype=dtype)
    return alike(lambda *parts: _on_processor(*parts, 0.25)[0], q, k, v, mask)


def _move(plan: _Plan, device: torch.device) -> None:
    for name, value in list(vars(plan).items()):
        if isinstance(value, Tensor):
            setattr(plan, name, value.to(device))
