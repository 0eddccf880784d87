"""PixelCNN: a picture as a sequence of pixels, each drawn given those above it and to its left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.masked import CausalStack

__all__ = ["PixelCNN"]

_DILATIONS = (1, 2, 1, 4)


class _Head(nn.Module):
    """Levels of one pixel, one channel after another: features of earlier pixels, then embeddings of earlier channels."""

    def __init__(self, width: int, channels: int, vocab: int) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Linear(width, width) for _ in range(channels))
        self.earlier = nn.ModuleList(
            nn.ModuleList(nn.Embedding(vocab, width) for _ in range(c)) for c in range(channels)
        )
        self.read = nn.ModuleList(nn.Linear(width, vocab) for _ in range(channels))
        for read in self.read:
            read.readout = True  # type: ignore[assignment]

    def forward(self, h: Tensor, x: Tensor, channel: int) -> Tensor:
        """Features ``(..., width)`` and levels ``(..., C)``, of which the first ``channel`` count -> logits ``(..., vocab)``."""
        a = self.enter[channel](F.relu(h))
        for c, embed in enumerate(self.earlier[channel]):
            a = a + embed(x[..., c])
        return self.read[channel](F.silu(a))


class PixelCNN(Family):
    """Gated PixelCNN (van den Oord et al. 2016, arXiv:1606.05328): ``log p(x) = sum_i log p(x_i | x_1 .. x_{i-1})``, exact.

    Examples are pictures of whole levels ``(C, H, W)``. Every level is a softmax over ``vocab`` (section 2 of
    arXiv:1601.06759). The convolutional stacks see earlier pixels with all their channels; the channels of one pixel
    (red, then green, then blue) are ordered in the head, which costs less than masking channel groups in every layer
    and is the same factorisation.

    Sampling keeps what each layer has computed, so a pixel costs one column of each layer and not a whole picture.

    Args:
        spec: ``Spec((C, H, W), vocab=k)``, ordered levels or names (codes of a VQ model).
        size: channels of both stacks; weights grow with its square.
        layers: gated layers; dilations 1, 2, 1, 4, ... widen what a pixel sees, at no cost.
        drop: how often a row is trained without its condition, so that ``cond=None`` and guidance work, in [0, 1).
    """

    bound: Literal["exact"] = "exact"

    def __init__(self, spec: Spec, *, size: int = 32, layers: int = 8, drop: float = 0.1) -> None:
        super().__init__(spec)
        if size < 1 or layers < 1:
            raise RecipeError(f"family.size is {size} and family.layers {layers}; both must be at least 1")
        check_drop(drop)
        channels, height, width = spec.shape
        self.drop = drop
        self.embed = None if spec.ordinal else nn.Embedding(spec.vocab, min(size, 16))
        inputs = channels * (1 if self.embed is None else self.embed.embedding_dim)
        widest = max(1, min(height, width) // 4)
        dilations = tuple(min(widest, _DILATIONS[i % len(_DILATIONS)]) for i in range(layers))
        self.given = Condition(spec.cond, size)
        self.stack = CausalStack(inputs, (height, width), size, dilations, given=size if spec.cond else 0)
        self.head = _Head(size, channels, spec.vocab)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures of whole levels."""
        if not spec.is_image:
            return "it needs pictures (channels, height, width); use gpt for sequences and flow for points"
        if not spec.is_tokens:
            return "it needs whole levels, not real numbers; give the codec a number of levels (2, 17, 256)"
        return no_picture(spec)

    def _see(self, x: Tensor) -> Tensor:
        """Levels ``(B, C, H, W)`` as the input of the stacks ``(B, inputs, H, W)``."""
        if self.embed is None:
            return self.spec.as_real(x)
        return self.embed(x).permute(0, 1, 4, 2, 3).flatten(1, 2)

    def _log_prob(self, batch: Batch, drop: Tensor | None) -> Tensor:
        x = batch.x
        known = self.given(batch.cond, len(x), drop) if self.spec.cond else None
        h = self.stack(self._see(x), known).permute(0, 2, 3, 1)
        levels = x.permute(0, 2, 3, 1)
        total = h.new_zeros(len(x), dtype=torch.float32)
        for c in range(x.shape[1]):
            logits = self.head(h, levels, c).float()
            nll = F.cross_entropy(logits.flatten(0, 2), levels[..., c].flatten(), reduction="none")
            total = total - nll.view(len(x), -1).sum(1)
        return total

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """Exact log probability in nats, ``(B,)``; ``rng`` is not drawn from."""
        return self._log_prob(batch, None)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Negative log probability in nats."""
        drop = rng.uniform(len(batch)) < self.drop if self.spec.cond else None
        return Terms({"nll": -self._log_prob(batch, drop)})

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, guidance: float = 1.0
    ) -> Tensor:
        """New pictures ``(n, C, H, W)``, int64.

        Args:
            n: how many.
            rng: one uniform number for each level.
            cond: ``(n, *spec.cond.shape)`` or None.
            temperature: logits are divided by it; below 1 is more typical and less varied.
            guidance: logits are pushed from the unconditional ones so many times (Ho & Salimans 2022, arXiv:2207.12598);
                1 is the model itself.
        """
        return torch.cat(list(self.stream(n, rng, cond, temperature=temperature, guidance=guidance)), 2)

    @torch.no_grad()
    def stream(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, guidance: float = 1.0
    ) -> Iterator[Tensor]:
        """Rows of the pictures from the top, ``(n, C, 1, W)`` each; one above the other they are ``sample``'s."""
        yield from self._rows(n, rng, cond, temperature, guidance, None)

    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng, *, temperature: float = 1.0, guidance: float = 1.0) -> Tensor:
        """Complete pictures: levels where ``keep`` is True stay, the others are drawn anew in raster order.

        A drawn pixel knows all pixels before it, and none of the kept ones after it.
        """
        kept = (batch.x, keep.expand_as(batch.x))
        return torch.cat(list(self._rows(len(batch), rng, batch.cond, temperature, guidance, kept)), 2)

    def _rows(
        self, n: int, rng: Rng, cond: Tensor | None, temperature: float, guidance: float,
        kept: tuple[Tensor, Tensor] | None,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Draw row after row, computing in each layer only what is new."""
        if not temperature > 0:
            raise RecipeError(f"temperature is {temperature}; it must be above 0, 1 is the model itself")
        channels, height, width = self.spec.shape
        u = rng.uniform(n, channels, height, width).double()
        known = self.given(cond, n) if self.spec.cond else None
        guided = guidance != 1 and known is not None and cond is not None
        if guided:
            known = torch.cat([known, self.given(None, n)])
        both = 2 if guided else 1
        cache = self.stack.begin(both * n, known)
        row = None
        for i in range(height):
            self.stack.next_row(cache, None if row is None else self._see(row).repeat(both, 1, 1, 1))
            row = torch.zeros(n, channels, 1, width, dtype=torch.long, device=u.device)
            for j in range(width):
                last = self._see(row[..., j - 1 : j])[:, :, 0, 0].repeat(both, 1) if j else None
                h = self.stack.next_pixel(cache, last)
                for c in range(channels):
                    logits = self.head(h, row[:, :, 0, j].repeat(both, 1), c).double()
                    if guided:
                        given, free = logits.chunk(2)
                        logits = free + guidance * (given - free)
                    cdf = torch.softmax(logits / temperature, -1).cumsum(-1)
                    level = (cdf <= u[:, c, i, j, None]).sum(-1).clamp(max=self.spec.vocab - 1)
                    if kept is not None:
                        level = torch.where(kept[1][:, c, i, j], kept[0][:, c, i, j], level)
                    row[:, c, 0, j] = level
            yield row
