"""A transformer with the arithmetic of Llama: pre-norm, rotary positions, grouped queries, gated feed-forward."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Rng

__all__ = ["Attention", "Cache", "FeedForward", "Layer", "Rotary", "Transformer"]


class Rotary(nn.Module):
    """Rotary positions, in the rotate-half order of Llama (Su et al. 2021, arXiv:2104.09864, eq. 34).

    Coordinates ``i`` and ``i + head/2`` of a query or key at position ``p`` are turned by ``p * theta**(-2i/head)``, so
    a dot product depends on the distance of two positions only.

    Args:
        head: width of one head, even.
        theta: the longest wavelength is about ``2 pi theta`` positions.
    """

    def __init__(self, head: int, theta: float = 10000.0) -> None:
        super().__init__()
        self.register_buffer("rate", theta ** (-torch.arange(0, head, 2) / head), persistent=False)

    def angles(self, start: int, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions ``start .. start + length - 1``, each ``(length, head)``."""
        place = torch.arange(start, start + length, device=self.rate.device, dtype=self.rate.dtype)
        turn = torch.outer(place, self.rate)
        turn = torch.cat([turn, turn], -1)
        return turn.cos(), turn.sin()

    @staticmethod
    def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """``x`` is ``(B, heads, T, head)``; ``cos`` and ``sin`` are ``(T, head)``."""
        low, high = x.chunk(2, -1)
        return x * cos.to(x.dtype) + torch.cat([-high, low], -1) * sin.to(x.dtype)


class Cache:
    """Keys and values of every layer, allocated once; decoding then costs one position at a time.

    Attributes:
        keys, values: ``(depth, B, kv_heads, length, head)``.
        filled: how many positions hold something.
    """

    def __init__(self, depth: int, n: int, kv_heads: int, length: int, head: int, like: Tensor) -> None:
        self.keys = like.new_empty(depth, n, kv_heads, length, head)
        self.values = torch.empty_like(self.keys)
        self.filled = 0

    def put(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write ``(B, kv_heads, t, head)`` behind what is there; returns everything so far of that layer."""
        end = self.filled + k.shape[2]
        self.keys[layer, :, :, self.filled : end] = k
        self.values[layer, :, :, self.filled : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Attention(nn.Module):
    """Multi-head attention whose queries share keys in groups (Ainslie et al. 2023, arXiv:2305.13245).

    Args:
        width: of the stream.
        heads: of queries; divides ``width``.
        kv_heads: of keys and values; divides ``heads``. Equal to ``heads`` it is plain attention, 1 is multi-query.
        causal: whether a position sees only itself and those before it.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head, self.causal = heads, kv_heads, width // heads, causal
        self.q = nn.Linear(width, heads * self.head, bias=False)
        self.k = nn.Linear(width, kv_heads * self.head, bias=False)
        self.v = nn.Linear(width, kv_heads * self.head, bias=False)
        self.o = nn.Linear(heads * self.head, width, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, layer: int, cache: Cache | None, mask: Tensor | None
    ) -> Tensor:
        """``(B, T, width) -> (B, T, width)``; ``mask`` ``(B, T)`` is True where a key may be seen."""
        q = Rotary.turn(self._split(self.q(x), self.heads), cos, sin)
        k = Rotary.turn(self._split(self.k(x), self.kv_heads), cos, sin)
        v = self._split(self.v(x), self.kv_heads)
        fresh, before = x.shape[1], 0 if cache is None else cache.filled
        if cache is not None:
            k, v = cache.put(layer, k, v)
        seen = None if mask is None else mask[:, None, None, :]
        causal = self.causal and fresh > 1
        if causal and (before or seen is not None):  # torch's own flag knows neither a past nor a mask beside it
            below = torch.ones(fresh, before + fresh, dtype=torch.bool, device=x.device).tril(before)
            seen, causal = below if seen is None else seen & below, False
        grouped = self.heads != self.kv_heads
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=causal, enable_gqa=grouped)
        return self.o(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.unflatten(2, (heads, self.head)).transpose(1, 2)  # (B, heads, T, head)


class FeedForward(nn.Module):
    """SwiGLU: ``down(silu(gate(x)) * up(x))`` (Shazeer 2020, arXiv:2002.05202), without biases."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width) -> (..., width)``."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Layer(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``."""

    def __init__(self, width: int, heads: int, kv_heads: int, hidden: int, causal: bool, eps: float) -> None:
        super().__init__()
        self.before_attention = nn.RMSNorm(width, eps)
        self.attention = Attention(width, heads, kv_heads, causal)
        self.before_feed = nn.RMSNorm(width, eps)
        self.feed = FeedForward(width, hidden)


class Transformer(nn.Module):
    """A stack of layers on ``(B, T, width)``, with the arithmetic of Llama (Touvron et al. 2023, arXiv:2302.13971).

    RMSNorm before each part and at the end, rotary positions, SwiGLU, no biases: a causal stack can be written out as a
    ``LlamaModel`` weight by weight (``q k v o``, ``gate up down``). Token embeddings and the read-out belong to the
    family, which may read out with its embedding (tied weights, no alias in ``state_dict``).

    Args:
        width: of the stream.
        depth: number of layers.
        heads: of queries; ``width / heads`` is even.
        kv_heads: of keys and values; 0 means as many as ``heads``.
        hidden: width inside the feed-forward; 0 means 8/3 of ``width``, rounded up to a multiple of 32.
        causal: True for a decoder, False for an encoder, where every position sees every other.
        theta: of the rotary positions.
        eps: of the norms.

    >>> body = Transformer(32, 2, 4, kv_heads=2)
    >>> body(torch.zeros(3, 5, 32)).shape
    torch.Size([3, 5, 32])
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        kv_heads: int = 0,
        hidden: int = 0,
        causal: bool = True,
        theta: float = 10000.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        kv_heads = kv_heads or heads
        if min(width, depth, heads, kv_heads) < 1:
            raise ValueError(f"width {width}, depth {depth}, heads {heads}, kv_heads {kv_heads}: none may be below 1")
        if width % heads or (width // heads) % 2 or heads % kv_heads:
            raise ValueError(
                f"width {width}, heads {heads}, kv_heads {kv_heads}: heads must divide width into even parts, "
                "and kv_heads must divide heads"
            )
        hidden = hidden or -(-8 * width // 96) * 32
        self.width, self.depth, self.heads, self.kv_heads, self.head = width, depth, heads, kv_heads, width // heads
        self.rotary = Rotary(self.head, theta)
        self.layers = nn.ModuleList(Layer(width, heads, kv_heads, hidden, causal, eps) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps)
        for name, p in self.named_parameters():
            if (
                p.ndim == 2
            ):  # what is added to the stream starts small, so that it grows as one layer's whatever the depth
                scale = (2 * depth) ** -0.5 if name.endswith(("o.weight", "down.weight")) else 1.0
                nn.init.normal_(p, std=0.7 * scale * p.shape[1] ** -0.5)

    def cache(self, n: int, length: int) -> Cache:
        """Room for ``length`` positions of ``n`` rows."""
        return Cache(self.depth, n, self.kv_heads, length, self.head, self.norm.weight)

    def forward(
        self,
        x: Tensor,
        *,
        cache: Cache | None = None,
        mask: Tensor | None = None,
        dropout: float = 0.0,
        rng: Rng | None = None,
    ) -> Tensor:
        """``(B, T, width) -> (B, T, width)``.

        Args:
            x: the stream; with a cache, only the positions that are not in it yet.
            cache: what came before, extended in place.
            mask: ``(B, T)``, True where a position is real; a causal stack with padding at the end needs none.
            dropout: the chance that a number added to the stream is forgotten; drawn from ``rng``.
            rng: needed with ``dropout``.
        """
        cos, sin = self.rotary.angles(0 if cache is None else cache.filled, x.shape[1])
        x = _forget(x, dropout, rng)
        for i, layer in enumerate(self.layers):
            x = x + _forget(layer.attention(layer.before_attention(x), cos, sin, i, cache, mask), dropout, rng)
            x = x + _forget(layer.feed(layer.before_feed(x)), dropout, rng)
        if cache is not None:
            cache.filled += x.shape[1]
        return self.norm(x)


def _forget(x: Tensor, p: float, rng: Rng | None) -> Tensor:
    """Dropout (Srivastava et al. 2014) whose draws come from ``rng``."""
    if p == 0:
        return x
    assert rng is not None
    return x * (rng.uniform(*x.shape) >= p) / (1 - p)
