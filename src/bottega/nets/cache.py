"""Keys and values of what a transformer has read, so that the next position costs one position."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

__all__ = ["Cache", "PagedCache"]


class Cache:
    """Keys and values of every layer in one piece of memory; each row has a length of its own.

    While all rows are equally long (one prompt, many versions) a read is a slice and a write is a copy. Once ``expect``
    has been told otherwise, every token is written where its row ends and a query sees what stands before it in its own
    row, so that a row becomes what it would have become alone.

    A transformer asks, in this order: ``seen`` (which keys a query may see), ``places`` (where the fresh positions stand),
    ``put`` in each layer, ``advance``.

    Args:
        depth: layers.
        n: rows.
        kv_heads: of keys and values.
        length: positions that a row can hold.
        head: width of a head.
        like: a tensor of the device and the kind of number that are wanted.

    Attributes:
        keys, values: ``(depth, n, kv_heads, length, head)``.
        lengths: int64 ``(n,)``, how many positions of each row hold something.
        filled: the largest of them; setting it makes all rows so long.
        even: whether all are equal.
        memory: keys and values that the layers made of an encoder's output, each ``(n, kv_heads, S, head)``.

    >>> cache = Cache(1, 2, 1, 8, 4, torch.zeros(0))
    >>> cache.expect(torch.tensor([3, 1])).places(3)
    tensor([[0, 1, 2],
            [0, 1, 2]])
    """

    def __init__(self, depth: int, n: int, kv_heads: int, length: int, head: int, like: Tensor) -> None:
        self.size, self.like = (depth, kv_heads, length, head), like
        self.lengths = torch.zeros(n, dtype=torch.long, device=like.device)
        self._filled, self.even = 0, True
        self.counts: Tensor | None = None
        self.memory: dict[int, tuple[Tensor, Tensor]] = {}
        self._make(n)

    def _make(self, n: int) -> None:
        depth, kv_heads, length, head = self.size
        # Zeros, not whatever was there: what is masked has weight 0, and 0 times a NaN is no 0. Pages come when touched.
        self.keys = self.like.new_zeros(depth, n, kv_heads, length, head)
        self.values = self.like.new_zeros(depth, n, kv_heads, length, head)

    @property
    def filled(self) -> int:
        """How many positions the longest row holds."""
        return self._filled

    @filled.setter
    def filled(self, value: int) -> None:
        self.lengths.fill_(value)
        self._filled, self.even = value, True

    def expect(self, counts: Tensor | None) -> Self:
        """How many of the next fresh positions are real, ``(n,)``, the others being padding behind them; None: all."""
        self.counts = counts
        return self

    def places(self, fresh: int) -> Tensor:
        """Where the next ``fresh`` positions of each row stand, ``(n, fresh)``."""
        return self.lengths[:, None] + torch.arange(fresh, device=self.lengths.device)

    def _end(self, fresh: int) -> int:
        """One more than the last position that a real query stands at."""
        if self.counts is None:
            return self.filled + fresh
        return int((self.lengths + self.counts).max())

    def put(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write ``(n, kv_heads, t, head)`` behind what is there; returns everything so far of that layer."""
        fresh = k.shape[2]
        if self.counts is None and self.even:
            end = self.filled + fresh
            self.keys[layer, :, :, self.filled : end] = k
            self.values[layer, :, :, self.filled : end] = v
            return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
        rows, columns = self._real(fresh)
        places = self.lengths[rows] + columns
        self.keys[layer][rows, :, places] = k[rows, :, columns]
        self.values[layer][rows, :, places] = v[rows, :, columns]
        end = self._end(fresh)
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def _real(self, fresh: int) -> tuple[Tensor, Tensor]:
        """Row and column of every fresh position that is no padding."""
        column = torch.arange(fresh, device=self.lengths.device).expand(len(self.lengths), fresh)
        real = torch.ones_like(column, dtype=torch.bool) if self.counts is None else column < self.counts[:, None]
        rows, columns = real.nonzero(as_tuple=True)
        return rows, columns

    def seen(self, fresh: int) -> Tensor | None:
        """``(n, 1, fresh, keys)`` bool, True where a query may see a key; None while rows are even."""
        if self.counts is None and self.even:
            return None
        keys = torch.arange(self._end(fresh), device=self.lengths.device)
        return (keys <= self.places(fresh)[..., None])[:, None]

    def advance(self, fresh: int) -> None:
        """The fresh positions are in all layers now."""
        if self.counts is None:
            self.lengths += fresh
            self._filled += fresh
        else:
            self.lengths += self.counts
            self._note()
        self.counts = None

    def back(self, counts: Tensor) -> None:
        """Forget the last positions of each row, as many as ``counts`` ``(n,)`` says."""
        self.lengths -= counts
        self._note()

    def _note(self) -> None:
        self._filled = int(self.lengths.max()) if len(self.lengths) else 0
        self.even = bool((self.lengths == self._filled).all())

    def take(self, rows: Tensor) -> None:
        """Go on with these rows ``(n,)`` in this order; a row may come more than once (beams, versions of a prompt)."""
        self.memory = {layer: (k[rows], v[rows]) for layer, (k, v) in self.memory.items()}
        old, end = (self.keys, self.values), self.filled
        if len(rows) == len(self.lengths):
            for store in old:
                store[:, :, :, :end] = store[:, rows, :, :end]
        else:
            self._make(len(rows))
            for store, was in zip((self.keys, self.values), old, strict=True):
                store[:, :, :, :end] = was[:, rows, :, :end]
        self.lengths = self.lengths[rows]
        self._note()

    def renew(self, rows: Tensor, other: Cache) -> None:
        """The rows of those numbers become the rows of ``other``: someone joins in place of someone who left."""
        self.keys[:, rows, :, : other.filled] = other.keys[:, :, :, : other.filled]
        self.values[:, rows, :, : other.filled] = other.values[:, :, :, : other.filled]
        self.lengths[rows] = other.lengths
        self._note()


class PagedCache(Cache):
    """The same in blocks of ``block`` positions, lent to rows as they grow (Kwon et al. 2023, arXiv:2309.06180).

    A row's table names its blocks, so memory follows what rows hold and not the longest that they might become; rows join
    and leave; versions of one prompt share the blocks of the prompt until one of them writes into the last (copy on
    write). A read gathers a row's blocks into one piece, which costs a copy of what is read.

    Args:
        depth: layers.
        n: rows at first; ``join`` adds some.
        kv_heads: of keys and values.
        length: positions that a row can hold.
        head: width of a head.
        like: a tensor of the device and the kind of number that are wanted.
        block: positions in a block.

    Attributes:
        tables: the blocks of each row, in order.
        users: how many rows hold each block; 0 is free.

    >>> cache = PagedCache(1, 0, 1, 64, 4, torch.zeros(0), block=16)
    >>> cache.join(2)
    [0, 1]
    """

    def __init__(
        self, depth: int, n: int, kv_heads: int, length: int, head: int, like: Tensor, *, block: int = 16
    ) -> None:
        self.block = block
        self.tables: list[list[int]] = [[] for _ in range(n)]
        self.users: list[int] = []
        self.free: list[int] = []
        super().__init__(depth, n, kv_heads, length, head, like)

    def _make(self, n: int) -> None:
        depth, kv_heads, _, head = self.size
        self.keys = self.like.new_zeros(depth, 0, kv_heads, self.block, head)
        self.values = self.like.new_zeros(depth, 0, kv_heads, self.block, head)

    @property
    def blocks(self) -> int:
        """How many blocks are lent."""
        return sum(users > 0 for users in self.users)

    def join(self, n: int = 1) -> list[int]:
        """``n`` empty rows more; returns their numbers."""
        first = len(self.tables)
        self.tables += [[] for _ in range(n)]
        self.lengths = torch.cat([self.lengths, self.lengths.new_zeros(n)])
        self._note()
        return list(range(first, first + n))

    def leave(self, rows: list[int]) -> None:
        """Rows go, and their blocks with them; the rows behind them move up."""
        gone = set(rows)
        self.take(torch.tensor([i for i in range(len(self.tables)) if i not in gone], dtype=torch.long))

    def _take(self) -> int:
        if not self.free:
            have, more = len(self.users), max(8, len(self.users))
            for name in ("keys", "values"):
                store = getattr(self, name)
                wide = store.new_zeros(store.shape[0], have + more, *store.shape[2:])
                wide[:, :have] = store
                setattr(self, name, wide)
            self.users += [0] * more
            self.free += range(have + more - 1, have - 1, -1)
        block = self.free.pop()
        self.users[block] = 1
        return block

    def _drop(self, block: int) -> None:
        self.users[block] -= 1
        if not self.users[block]:
            self.free.append(block)

    def _grow(self, fresh: int) -> None:
        """Blocks for what comes; one that others hold as well is copied before it is written to."""
        counts = [fresh] * len(self.tables) if self.counts is None else self.counts.tolist()
        for table, length, more in zip(self.tables, self.lengths.tolist(), counts, strict=True):
            last = length // self.block
            if more and length % self.block and self.users[table[last]] > 1:
                mine = self._take()
                self.keys[:, mine], self.values[:, mine] = self.keys[:, table[last]], self.values[:, table[last]]
                self._drop(table[last])
                table[last] = mine
            while len(table) * self.block < length + more:
                table.append(self._take())

    def put(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """As ``Cache.put``."""
        fresh = k.shape[2]
        if layer == 0:
            self._grow(fresh)
            deep = max(map(len, self.tables))
            lent = [table + [0] * (deep - len(table)) for table in self.tables]
            self.table = torch.tensor(lent, dtype=torch.long, device=self.lengths.device)
            self.at = self._real(fresh)
        rows, columns = self.at
        places = self.lengths[rows] + columns
        block, inside = self.table[rows, places // self.block], places % self.block
        end = self._end(fresh)
        out = []
        for store, new in ((self.keys[layer], k), (self.values[layer], v)):
            store[block, :, inside] = new[rows, :, columns]
            whole = store[self.table].transpose(1, 2)  # (n, kv_heads, blocks, block, head)
            out.append(whole.flatten(2, 3)[:, :, :end])
        return out[0], out[1]

    def back(self, counts: Tensor) -> None:
        """As ``Cache.back``; blocks that are left empty are free again."""
        super().back(counts)
        for table, length in zip(self.tables, self.lengths.tolist(), strict=True):
            while len(table) > -(-length // self.block):
                self._drop(table.pop())

    def take(self, rows: Tensor) -> None:
        """As ``Cache.take``; nothing is copied, rows that were one share its blocks."""
        self.memory = {layer: (k[rows], v[rows]) for layer, (k, v) in self.memory.items()}
        tables = [list(self.tables[i]) for i in rows.tolist()]
        for table in tables:
            for block in table:
                self.users[block] += 1
        for table in self.tables:
            for block in table:
                self._drop(block)
        self.tables = tables
        self.lengths = self.lengths[rows]
        self._note()

    def renew(self, rows: Tensor, other: Cache) -> None:
        """As ``Cache.renew``."""
        for k, i in enumerate(rows.tolist()):
            for block in self.tables[i]:
                self._drop(block)
            length = int(other.lengths[k])
            self.tables[i] = [self._take() for _ in range(-(-length // self.block))]
            self.lengths[i] = length
            for b, block in enumerate(self.tables[i]):
                part = slice(b * self.block, min(length, (b + 1) * self.block))
                size = part.stop - part.start
                self.keys[:, block, :, :size] = other.keys[:, k, :, part]
                self.values[:, block, :, :size] = other.values[:, k, :, part]
        self._note()
