"""One transformer for all: Llama's, GPT-2's, BERT's and T5's arithmetic are settings of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Rng
from bottega.nets.cache import Cache, PagedCache

__all__ = [
    "ACTIVATIONS",
    "Attention",
    "Cache",
    "FeedForward",
    "Layer",
    "Relative",
    "Rotary",
    "TiedReadOut",
    "Transformer",
]

Norm = Literal["rms", "layer"]
Feed = Literal["swiglu", "geglu", "gelu", "gelu_tanh", "relu"]
Positions = Literal["rotary", "learned", "relative", "none"]


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
        self.theta = theta
        self.register_buffer("rate", theta ** (-torch.arange(0, head, 2) / head), persistent=False)

    def angles(self, start: int, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions ``start .. start + length - 1``, each ``(length, head)``."""
        return self.at(torch.arange(start, start + length, device=self.rate.device))

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions ``(...,)``, each ``(..., head)``."""
        turn = places[..., None].to(self.rate.dtype) * self.rate
        turn = torch.cat([turn, turn], -1)
        return turn.cos(), turn.sin()

    @staticmethod
    def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """``x`` is ``(B, heads, T, head)``; ``cos`` and ``sin`` are ``(T, head)``, or ``(B, 1, T, head)``."""
        out: Tensor = _Turn.apply(x, cos.to(x.dtype), sin.to(x.dtype))
        return out


class _Turn(torch.autograd.Function):
    """``x * cos + [-high, low] * sin`` by halves, without the copies; its gradient is the turn back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        half = x.shape[-1] // 2
        out = x * cos
        out[..., :half].addcmul_(x[..., half:], sin[..., half:], value=-1)
        out[..., half:].addcmul_(x[..., :half], sin[..., :half])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        back: Tensor = _Turn.apply(grads[0], cos, -sin)
        return back, None, None


class Relative(nn.Module):
    """A number for each head and bucket of distances, added to the scores (Raffel et al. 2019, arXiv:1910.10683, 2.1).

    Distances below half of the buckets have one each; those beyond share them, the wider the farther, and all from
    ``farthest`` on the last one. Where a position sees both sides, each side has half of the buckets.

    Args:
        heads: of the queries.
        both: whether a position sees those behind it too.
        buckets: how many numbers a head has.
        farthest: the distance from which all are alike.
    """

    def __init__(self, heads: int, both: bool, buckets: int = 32, farthest: int = 128) -> None:
        super().__init__()
        self.both, self.buckets, self.farthest = both, buckets, farthest
        self.bias = nn.Embedding(buckets, heads)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Positions ``(T,)`` and ``(S,)`` -> ``(1, heads, T, S)``; those of queries ``(B, T)`` -> ``(B, heads, T, S)``."""
        away = keys - queries[..., None]
        half = self.buckets // 2 if self.both else self.buckets
        base = (away > 0) * half if self.both else torch.zeros_like(away)
        away = away.abs() if self.both else (-away).clamp_min(0)
        near = half // 2
        scale = (half - near) / math.log(self.farthest / near)
        far = near + ((away.float() / near).clamp_min(1).log() * scale).long()
        bucket = base + torch.where(away < near, away, far.clamp_max(half - 1))
        out: Tensor = self.bias(bucket)
        return out.movedim(-1, -3) if out.ndim == 4 else out.movedim(-1, -3)[None]


class Attention(nn.Module):
    """Multi-head attention whose queries share keys in groups (Ainslie et al. 2023, arXiv:2305.13245).

    Args:
        width: of the stream.
        heads: of queries.
        kv_heads: of keys and values; divides ``heads``. Equal to ``heads`` it is plain attention, 1 is multi-query.
        head: width of one head; 0 means ``width / heads``.
        source: width of what keys and values are made of; 0 means the stream itself.
        bias: whether ``o`` has one.
        qkv_bias: whether ``q``, ``k`` and ``v`` have one.
        scale: what scores are multiplied with; 0 means ``head**-0.5``.
    """

    def __init__(
        self, width: int, heads: int, kv_heads: int, *, head: int = 0, source: int = 0, bias: bool = False,
        qkv_bias: bool = False, scale: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.kv_heads, self.head = heads, kv_heads, head or width // heads
        self.scale = scale or self.head**-0.5
        self.q = nn.Linear(width, heads * self.head, bias=qkv_bias)
        self.k = nn.Linear(source or width, kv_heads * self.head, bias=qkv_bias)
        self.v = nn.Linear(source or width, kv_heads * self.head, bias=qkv_bias)
        self.o = nn.Linear(heads * self.head, width, bias=bias)
        self.joined: nn.Module | None = None  # queries, keys and values at once, where it was made for inference

    def forward(
        self, x: Tensor, layer: int, *, turn: tuple[Tensor, Tensor] | None = None, seen: Tensor | None = None,
        causal: bool = False, cache: Cache | None = None, maps: list[Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """``(B, T, width) -> (B, T, width)``: every position looks at the stream, and at what the cache holds of it.

        Args:
            x: the stream.
            layer: which of the cache's layers this is.
            turn: cosines and sines of the rotary positions.
            seen: broadcastable to ``(B, heads, T, S)``: True where a key may be seen, or what is added to a score.
            causal: whether a position sees only itself and those before it; without ``seen``.
            cache: what came before, to which ``x`` is added.
            maps: gets the weights ``(B, heads, T, S)``.
        """
        counts = (self.heads, self.kv_heads, self.kv_heads)
        if self.joined is not None:
            q, k, v = self._split(self.joined(x), sum(counts)).split(counts, 1)
        else:
            made = together(x, self.q, self.k, self.v)
            if torch.is_grad_enabled() and x.device.type == "cpu":  # as ``look`` wants them
                made = [t.float() if t.dtype == torch.bfloat16 else t for t in made]
            q, k, v = (self._split(t, n) for t, n in zip(made, counts, strict=True))
        if turn is not None:
            q, k = Rotary.turn(q, *turn), Rotary.turn(k, *turn)
        if cache is not None:
            k, v = cache.put(layer, k, v)
        return self.look(q, k, v, seen, causal, maps)

    def across(
        self, x: Tensor, memory: Tensor | None, layer: int, *, seen: Tensor | None = None, cache: Cache | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """``(B, T, width) -> (B, T, width)``: every position looks at ``memory`` ``(B, S, source)``.

        With a cache, keys and values of the memory are made once; it may be None from the second call on.
        """
        known = None if cache is None else cache.memory.get(layer)
        if known is None:
            assert memory is not None
            known = self._split(self.k(memory), self.kv_heads), self.values(memory)
            if cache is not None:
                cache.memory[layer] = known
        return self.look(self._split(self.q(x), self.heads), *known, seen, False, maps)

    def look(
        self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, causal: bool, maps: list[Tensor] | None
    ) -> Tensor:
        """Queries ``(B, heads, T, head)`` on keys and values ``(B, kv_heads, S, head)``: ``(B, T, width)``."""
        grouped = self.heads != self.kv_heads
        if maps is not None:
            maps.append(weights(q, k.repeat_interleave(self.heads // self.kv_heads, 1), seen, causal, self.scale))
        if _written_out(q, k):
            out = _attend(q, k, v, seen, causal, self.scale)
        else:  # in float32 where a processor would need the gradient in bfloat16, for which it takes many times as long
            slow = q.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
            with torch.autocast("cpu", enabled=False) if slow else nullcontext():
                if slow:
                    q, k, v = q.float(), k.float(), v.float()
                out = F.scaled_dot_product_attention(
                    q, k, v, attn_mask=seen, is_causal=causal, scale=self.scale, enable_gqa=grouped
                )
        return self.o(out.transpose(1, 2).flatten(2))

    def values(self, x: Tensor) -> Tensor:
        """``(B, T, width) -> (B, kv_heads, T, head)``."""
        return self._split(self.v(x), self.kv_heads)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.unflatten(2, (heads, self.head)).transpose(1, 2)  # (B, heads, T, head)


def _written_out(q: Tensor, k: Tensor) -> bool:
    """Whether two products and a softmax are faster than torch's fused attention: in training on a processor.

    Its derivative there takes 2 to 9 times theirs up to so many keys, and loses beyond, where scores leave the cache.
    """
    if q.device.type != "cpu" or not (torch.is_grad_enabled() and q.requires_grad):
        return False
    return k.shape[2] <= (512 if q.dtype == torch.bfloat16 else 64)


def _attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, causal: bool, scale: float) -> Tensor:
    """``softmax(q k^T scale + seen) v``, ``(B, heads, T, head)``, in the precision of ``q``; arguments as of ``weights``."""
    n, heads, length, head = q.shape
    k, v = (x.repeat_interleave(heads // x.shape[1], 1).to(q.dtype) for x in (k, v))
    if seen is None:
        seen = q.new_zeros(())
        if causal:
            seen = torch.full((length, k.shape[2]), -torch.inf, dtype=q.dtype).triu(1)
    elif seen.dtype == torch.bool:
        seen = torch.zeros(seen.shape, dtype=q.dtype).masked_fill_(~seen, -torch.inf)
    if seen.ndim == 4:
        seen = seen.to(q.dtype).expand(n, heads, -1, -1).flatten(0, 1)
    with torch.autocast("cpu", enabled=False):  # which would take the softmax's derivative through float32
        scores = torch.baddbmm(seen, q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), alpha=scale)
        return torch.bmm(scores.softmax(-1), v.flatten(0, 1)).unflatten(0, (n, heads))


def weights(q: Tensor, k: Tensor, seen: Tensor | None, causal: bool, scale: float) -> Tensor:
    """``softmax(q k^T scale)`` where ``seen``: how much each query takes of each value, ``(B, heads, T, S)``.

    Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
    """
    scores = q @ k.transpose(-1, -2) * scale
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf) if seen.dtype == torch.bool else scores + seen
    return scores.softmax(-1)


def together(x: Tensor, *parts: nn.Linear) -> list[Tensor]:
    """What each of ``parts`` makes of ``x``: in training by one product, which is faster than several.

    What stands in for a linear layer (an adapter, whole-number weights) is called as it is.
    """
    if not torch.is_grad_enabled() or any(type(part) is not nn.Linear for part in parts):
        return [part(x) for part in parts]
    bias = None if parts[0].bias is None else torch.cat([part.bias for part in parts])
    made = F.linear(x, torch.cat([part.weight for part in parts]), bias)
    return list(made.split([part.out_features for part in parts], -1))


class RMSNorm(nn.RMSNorm):
    """``x / sqrt(mean(x^2) + eps) * weight`` (Zhang & Sennrich 2019, arXiv:1910.07467), with its gradient written out.

    torch makes it of small operations on CPUs, and as many more for the gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width) -> (..., width)``."""
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        out: Tensor = _Rms.apply(x, self.weight, self.eps)
        return out


class _Rms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = torch.linalg.vecdot(x, x)[..., None].div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        scale = (
            torch.linalg.vecdot(x, x)[..., None] / x.shape[-1] + ctx.eps
        ).rsqrt()  # again, so that it has a gradient
        unit = x * scale
        told = (grads[0] * unit).flatten(0, -2).sum(0)
        slope = grads[0] * weight
        along = torch.linalg.vecdot(slope, unit)[..., None] / x.shape[-1]
        return torch.addcmul(slope, unit, along, value=-1) * scale, told, None


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "swiglu": F.silu,
    "geglu": partial(F.gelu, approximate="tanh"),
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}
"""What a feed-forward of each kind does with its gate, or, where it has none, with what goes up."""


class FeedForward(nn.Module):
    """What a layer does with each position alone.

    ``"swiglu"`` is ``down(silu(gate(x)) * up(x))`` and ``"geglu"`` the same with GELU's tanh form (Shazeer 2020,
    arXiv:2002.05202); ``"gelu"``, ``"gelu_tanh"`` and ``"relu"`` are ``down(f(up(x)))``.
    """

    def __init__(self, width: int, hidden: int, kind: Feed = "swiglu", bias: bool = False) -> None:
        super().__init__()
        self.kind = kind
        if self.gated:
            self.gate = nn.Linear(width, hidden, bias=bias)
        self.joined: nn.Module | None = None  # gate and up at once, where it was made for inference
        self.up = nn.Linear(width, hidden, bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)

    @property
    def gated(self) -> bool:
        """Whether there is a gate."""
        return self.kind in {"swiglu", "geglu"}

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width) -> (..., width)``."""
        act = ACTIVATIONS[self.kind]
        if self.gated:
            gate, up = together(x, self.gate, self.up) if self.joined is None else self.joined(x).chunk(2, -1)
            return self.down(act(gate) * up)
        return self.down(act(self.up(x)))


class Layer(nn.Module):
    """``x + attention(norm(x))``, then ``x + memory(norm(x))`` where there is one, then ``x + feed(norm(x))``.

    With ``after``, each norm stands behind its sum: ``norm(x + attention(x))``.
    """

    def __init__(
        self, width: int, hidden: int, attention: Attention, memory: Attention | None, *, norm: Norm, feed: Feed,
        bias: bool, eps: float, after: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.after = after
        self.before_attention = _norm(norm, width, eps)
        self.attention = attention
        if memory is not None:
            self.before_memory = _norm(norm, width, eps)
            self.memory = memory
        self.before_feed = _norm(norm, width, eps)
        self.feed = FeedForward(width, hidden, feed, bias)


class Transformer(nn.Module):
    """A stack of layers on ``(B, T, width)``.

    As it comes it has the arithmetic of Llama (Touvron et al. 2023, arXiv:2302.13971): RMSNorm before each part and at
    the end, rotary positions, SwiGLU, no biases. Token embeddings and the read-out belong to the family, which may read
    out with its embedding (tied weights, no alias in ``state_dict``). Others are settings:

    - GPT-2 (Radford et al. 2019): ``norm="layer", feed="gelu_tanh", positions="learned", bias=True, hidden=4 * width``.
    - BERT (Devlin et al. 2018, arXiv:1810.04805): ``norm="layer", order="post", feed="gelu", positions="learned",
      bias=True, causal=False, hidden=4 * width, eps=1e-12``.
    - T5 (Raffel et al. 2019, arXiv:1910.10683): ``feed="relu"`` (1.1: ``"geglu"``), ``positions="relative", eps=1e-6``,
      the encoder with ``causal=False``, the decoder with ``memory=width``. Its scores are not scaled.

    Args:
        width: of the stream.
        depth: number of layers.
        heads: of queries.
        kv_heads: of keys and values; 0 means as many as ``heads``.
        head: width of one head; 0 means ``width / heads``.
        hidden: width inside the feed-forward; 0 means 8/3 of ``width``, rounded up to a multiple of 32, where it is
            gated, and 4 times ``width`` where it is not.
        causal: True for a decoder, False for an encoder, where every position sees every other.
        theta: of the rotary positions.
        eps: of the norms.
        norm: ``"rms"`` (Zhang & Sennrich 2019, arXiv:1910.07467) or ``"layer"`` (Ba et al. 2016, arXiv:1607.06450).
        order: ``"pre"`` norms what enters a part, and the end; ``"post"`` what leaves a sum, and the beginning.
        feed: see ``FeedForward``.
        positions: ``"rotary"``, ``"learned"`` (a vector for each of ``length``), ``"relative"`` (T5's buckets, shared by
            the layers) or ``"none"``: the order of what is seen then makes no difference.
        length: how many learned positions there are.
        bias: whether linear layers have one (with ``norm="layer"``, the norms always have).
        qkv_bias: whether queries, keys and values have one though nothing else has (Qwen 2).
        memory: width of an encoder's output that every layer looks at too; 0 for none.

    Raises:
        ValueError: the numbers do not fit together.

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
        head: int = 0,
        hidden: int = 0,
        causal: bool = True,
        theta: float = 10000.0,
        eps: float = 1e-5,
        norm: Norm = "rms",
        order: Literal["pre", "post"] = "pre",
        feed: Feed = "swiglu",
        positions: Positions = "rotary",
        length: int = 0,
        bias: bool = False,
        qkv_bias: bool = False,
        memory: int = 0,
    ) -> None:
        super().__init__()
        kv_heads = kv_heads or heads
        if min(width, depth, heads, kv_heads) < 1:
            raise ValueError(f"width {width}, depth {depth}, heads {heads}, kv_heads {kv_heads}: none may be below 1")
        if (not head and width % heads) or heads % kv_heads:
            raise ValueError(
                f"width {width}, heads {heads}, kv_heads {kv_heads}: heads must divide width, and kv_heads must divide heads"
            )
        head = head or width // heads
        if positions == "rotary" and head % 2:
            raise ValueError(
                f"width {width}, heads {heads}: a head is {head} wide, and rotary positions need an even one"
            )
        if positions == "learned" and length < 1:
            raise ValueError(f"learned positions need a length of at least 1, not {length}")
        for name, value, known in (
            ("norm", norm, ("rms", "layer")),
            ("order", order, ("pre", "post")),
            ("feed", feed, ("swiglu", "geglu", "gelu", "gelu_tanh", "relu")),
            ("positions", positions, ("rotary", "learned", "relative", "none")),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; use one of {', '.join(known)}")
        gated = feed in {"swiglu", "geglu"}
        hidden = hidden or (-(-8 * width // 96) * 32 if gated else 4 * width)
        self.width, self.depth, self.heads, self.kv_heads, self.head = width, depth, heads, kv_heads, head
        self.causal, self.order, self.length = causal, order, length
        if positions == "rotary":
            self.rotary = Rotary(head, theta)
        self.rotates = positions == "rotary"
        own = {"head": head, "bias": bias, "qkv_bias": bias or qkv_bias, "scale": float(positions == "relative")}

        def layer() -> Layer:
            attention = Attention(width, heads, kv_heads, **own)
            beside = Attention(width, heads, kv_heads, source=memory, **own) if memory else None
            return Layer(
                width, hidden, attention, beside, norm=norm, feed=feed, bias=bias, eps=eps, after=order == "post"
            )

        self.layers = nn.ModuleList(layer() for _ in range(depth))
        self.norm = _norm(norm, width, eps)
        for name, p in self.named_parameters():
            if p.ndim == 2:  # what is added to the stream starts small, so that it grows as one layer's at any depth
                scale = (2 * depth) ** -0.5 if name.endswith(("o.weight", "down.weight")) else 1.0
                if positions == "relative" and name.endswith("q.weight"):
                    scale = head**-0.5
                nn.init.normal_(p, std=0.7 * scale * p.shape[1] ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        self.relative = Relative(heads, both=not causal) if positions == "relative" else None
        if self.relative is not None:
            nn.init.normal_(self.relative.bias.weight, std=0.1)
        if positions == "learned":
            self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.cache_dtype: torch.dtype | None = None  # of keys and values, where it is not that of the weights

    @property
    def like(self) -> Tensor:
        """A tensor of the device and the kind of number of keys and values."""
        weight: Tensor = self.norm.weight
        return weight if self.cache_dtype is None else weight.to(self.cache_dtype)

    def cache(self, n: int, length: int) -> Cache:
        """Room for ``length`` positions of ``n`` rows."""
        return Cache(self.depth, n, self.kv_heads, length, self.head, self.like)

    def paged(self, n: int, length: int, *, block: int = 16) -> PagedCache:
        """The same in blocks that are lent as rows grow, so that rows can join and leave."""
        return PagedCache(self.depth, n, self.kv_heads, length, self.head, self.like, block=block)

    def forward(
        self,
        x: Tensor,
        *,
        cache: Cache | None = None,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        places: Tensor | None = None,
        dropout: float = 0.0,
        rng: Rng | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """``(B, T, width) -> (B, T, width)``.

        Args:
            x: the stream; with a cache, only the positions that are not in it yet.
            cache: what came before, extended in place.
            mask: ``(B, S)``, True where a position is real, those in the cache first; a causal stack with padding at the
                end needs none. A row needs at least one real position before each.
            memory: an encoder's output, ``(B, S, memory)``; with a cache, needed in the first call only.
            memory_mask: ``(B, S)``, True where ``memory`` is real, or ``(B, T, S)``, where a position may see it.
            places: positions ``(B, T)`` where they are not simply counted, as in rows padded at the beginning.
            dropout: the chance that a number added to the stream is forgotten; drawn from ``rng``.
            rng: needed with ``dropout``.
            maps: gets the attention weights of each layer ``(B, heads, T, S)``, and behind them those on the memory.
        """
        before, fresh = 0 if cache is None else cache.filled, x.shape[1]
        uneven = None if cache is None else cache.seen(fresh)
        if uneven is not None and places is None:
            assert cache is not None
            places = cache.places(fresh)
        if hasattr(self, "place"):
            x = x + (
                self.place[before : before + fresh] if places is None else self.place[places.clamp_max(self.length - 1)]
            )
        turn = None
        if self.rotates:
            if places is None:
                turn = self.rotary.angles(before, fresh)
            else:
                cos, sin = self.rotary.at(places)
                turn = cos[:, None], sin[:, None]
        seen, causal = self._seen(x, before, mask, places, uneven)
        beside = None
        if memory_mask is not None:
            beside = memory_mask[:, None, None, :] if memory_mask.ndim == 2 else memory_mask[:, None]
        after = self.order == "post"
        if after:
            x = self.norm(x)
        x = _forget(x, dropout, rng)
        for i, layer in enumerate(self.layers):
            h = x if after else layer.before_attention(x)
            h = layer.attention(h, i, turn=turn, seen=seen, causal=causal, cache=cache, maps=maps)
            x = x + _forget(h, dropout, rng)
            x = layer.before_attention(x) if after else x
            if hasattr(layer, "memory"):
                h = x if after else layer.before_memory(x)
                x = x + _forget(layer.memory.across(h, memory, i, seen=beside, cache=cache, maps=maps), dropout, rng)
                x = layer.before_memory(x) if after else x
            x = x + _forget(layer.feed(x if after else layer.before_feed(x)), dropout, rng)
            x = layer.before_feed(x) if after else x
        if cache is not None:
            cache.advance(fresh)
        return x if after else self.norm(x)

    def _seen(
        self, x: Tensor, before: int, mask: Tensor | None, places: Tensor | None, uneven: Tensor | None
    ) -> tuple[Tensor | None, bool]:
        """What each position may see, as ``Attention`` takes it: ``seen`` and ``causal``."""
        fresh = x.shape[1]
        seen = None if mask is None else mask[:, None, None, :]
        causal = self.causal and fresh > 1
        if uneven is not None:  # rows of the cache end at different places
            seen, causal = uneven if seen is None else seen & uneven, False
        elif causal and (before or seen is not None or self.relative is not None):
            # torch's own flag knows nothing beside it
            below = torch.ones(fresh, before + fresh, dtype=torch.bool, device=x.device).tril(before)
            seen, causal = below if seen is None else seen & below, False
        if self.relative is None:
            return seen, causal
        keys = torch.arange(before + fresh if uneven is None else uneven.shape[-1], device=x.device)
        bias = self.relative(keys[before:] if uneven is None or places is None else places, keys)
        return bias if seen is None else torch.where(seen, bias, -torch.inf), False


def _norm(kind: Norm, width: int, eps: float) -> nn.Module:
    return RMSNorm(width, eps) if kind == "rms" else nn.LayerNorm(width, eps)


def _forget(x: Tensor, p: float, rng: Rng | None) -> Tensor:
    """Dropout (Srivastava et al. 2014) whose draws come from ``rng``."""
    if p == 0:
        return x
    assert rng is not None
    return x * (rng.uniform(*x.shape) >= p) / (1 - p)


class TiedReadOut(nn.Module):
    """Reads out with an embedding: ``(..., width) -> (..., vocab)`` logits. It has no weights of its own.

    Args:
        embed: the embedding, of at least ``vocab`` rows.
        vocab: how many of them are read out.
    """

    def __init__(self, embed: nn.Embedding, vocab: int) -> None:
        super().__init__()
        self.embeds, self.vocab = (embed,), vocab  # in a tuple, so that its weights are not listed twice

    @property
    def weight(self) -> Tensor:
        """``(vocab, width)``."""
        return self.embeds[0].weight[: self.vocab]

    def forward(self, h: Tensor) -> Tensor:
        """``(..., width) -> (..., vocab)``."""
        return F.linear(h, self.weight)
