"""CycleGAN: pictures of one class said in another, learnt without pairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.nets.bodies import finish
from bottega.nets.patch import PatchCritic, too_small
from bottega.nets.spectral import advance_spectrum, unit_spectrum
from bottega.nets.unet import UNet

__all__ = ["CycleGAN"]

_MOST = 8  # a generator and a critic for each class


class CycleGAN(Family):
    """Zhu et al. 2017, arXiv:1703.10593: a generator into each class, a critic of patches for each class.

    ``G_k`` turns a picture of any other class into one of class ``k``; for two classes they are the paper's ``G`` and
    ``F``. Critics minimise ``(f_k(x) - 1)^2 + f_k(G_k(y))^2``; generators ``(f_k(G_k(y)) - 1)^2``, ``cycle`` times the
    mean ``|G_c(G_k(y)) - y|`` for ``y`` of class ``c``, and ``identity`` times the mean ``|G_c(y) - y|``. Each generator adds
    to its input what a U-Net makes of it, so it begins as the identity. Pictures without a class teach nothing.

    ``sample`` needs something to translate: the first ``sources`` training pictures of each class are kept in the model,
    and a sample is one of them, drawn by its seed, in the class that was asked for.

    Args:
        spec: pictures, real or in ordered levels, by class.
        size: the dial: channels of the U-Nets at full size and of the critics' first layer, a multiple of 4.
        depth: blocks at each size of a U-Net.
        patch: U-Nets read and write squares of ``patch`` x ``patch`` pixels; 2 is about four times faster.
        cycle: weight of coming back (the paper's lambda).
        identity: weight of leaving alone what is of the class already.
        sources: training pictures of each class that are kept for ``sample``.

    Raises:
        SpecError: no pictures, or no classes.
        RecipeError: a number is out of range.
    """

    def __init__(
        self, spec: Spec, *, size: int = 32, depth: int = 1, patch: int = 1, cycle: float = 10.0,
        identity: float = 5.0, sources: int = 32,
    ) -> None:  # fmt: skip
        super().__init__(spec)
        if size < 4 or size % 4 or min(depth, patch, sources) < 1 or min(cycle, identity) < 0:
            raise RecipeError(
                f"family.size is {size}, depth {depth}, patch {patch}, sources {sources}, cycle {cycle}, identity {identity}; "
                "size must be a multiple of 4, the next three at least 1, the last two 0 or more"
            )
        assert spec.cond is not None
        classes, channels, sides = spec.cond.vocab, spec.shape[0], spec.shape[1:]
        self.cycle, self.identity = cycle, identity
        self.generator = nn.ModuleList(
            UNet(channels, size, 4, side=min(sides), depth=depth, patch=patch) for _ in range(classes)
        )
        self.critic = nn.ModuleList(unit_spectrum(PatchCritic(channels, size)) for _ in range(classes))
        self.register_buffer("source", torch.randn(classes, sources, *spec.shape) * 0.5)
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("still", torch.ones(4), persistent=False)
        self._seen: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures by class."""
        if not spec.is_image or spec.is_tokens and not spec.ordinal:
            return "it translates pictures (channels, height, width) only; use family gan for points and tables"
        if spec.cond is None or not spec.cond.is_tokens or spec.cond.shape or not 2 <= spec.cond.vocab <= _MOST:
            return f"it needs pictures of 2 to {_MOST} classes; put each class into a folder of its own (codec.labels = 'folder')"
        return too_small(spec)

    def turns(self) -> tuple[Turn, ...]:
        """The critics, then the generators."""
        return Turn("critic", self.critic_loss), Turn("generator", self.generator_loss)

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``real`` and ``fake``, least squares (Mao et al. 2016, arXiv:1611.04076)."""
        x, own, other, known = self._rows(batch, rng)
        if self.training and batch.cond is not None:
            self._seen.append((x.detach()[known > 0], own[known > 0]))
        with torch.no_grad():
            made = self._into(x, other)
        real, fake = self._judged(x, own), self._judged(made, other)
        return Terms({"real": known * (real - 1).square().mean(1), "fake": known * fake.square().mean(1)})

    def generator_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``fool``, ``cycle`` and ``identity``."""
        x, own, other, known = self._rows(batch, rng)
        made = self._into(x, other)
        back, same = self._into(made, own), self._into(x, own)
        parts = {"fool": (self._judged(made, other) - 1).square().mean(1)}
        parts["cycle"] = self.cycle * (back - x).abs().flatten(1).mean(1)
        parts["identity"] = self.identity * (same - x).abs().flatten(1).mean(1)
        return Terms({name: known * part for name, part in parts.items()})

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Follow the critics' largest singular values, and keep the first pictures of each class for ``sample``."""
        advance_spectrum(self.critic)
        for x, label in self._seen:
            for k in range(len(self.critic)):
                at = int(self.filled[k])
                some = x[label == k][: self.source.shape[1] - at]
                self.source[k, at : at + len(some)] = some
                self.filled[k] += len(some)
        self._seen.clear()

    def forget(self) -> None:
        """Drop the pictures of a step that is undone."""
        super().forget()
        self._seen.clear()

    @torch.no_grad()
    def translate(self, batch: Batch, cond: Tensor, rng: Rng) -> Tensor:
        """The pictures ``(B, *spec.shape)`` in the classes ``cond`` ``(B,)``; what is of its class already stays."""
        x = self.spec.as_real(batch.x)
        made = finish(self.spec, self._into(x, cond))
        if batch.cond is None:
            return made
        return torch.where((batch.cond == cond).view(-1, *[1] * (x.ndim - 1)), batch.x, made)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        """``(n, *spec.shape)``: kept pictures of other classes, in the class that was asked for, or in any."""
        classes = len(self.generator)
        drawn = rng.integers(classes, n)
        into = drawn if cond is None else torch.where(cond >= 0, cond, drawn)
        origin = (into + 1 + rng.integers(classes - 1, n)) % classes
        row = (rng.uniform(n) * self.filled[origin].where(self.filled[origin] > 0, self.source.shape[1])).long()
        return finish(self.spec, self._into(self.source[origin, row], into))

    def _rows(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Real numbers, their class, another class for each, and 1 where the class is known."""
        x, n = self.spec.as_real(batch.x), len(batch)
        own = torch.full((n,), -1, device=x.device) if batch.cond is None else batch.cond
        known = (own >= 0).to(x.dtype)
        own, classes = own.clamp_min(0), len(self.generator)
        other = (own + 1 + rng.integers(classes - 1, n)) % classes
        return x, own, other, known

    def _into(self, x: Tensor, classes: Tensor) -> Tensor:
        """Each row through the generator into its class."""
        out = x
        for k, body in enumerate(self.generator):
            rows = (classes == k).nonzero()[:, 0]
            if len(rows):
                made = x[rows] + body(x[rows], self.still.expand(len(rows), -1)).float()
                out = out.index_copy(0, rows, made)
        return out

    def _judged(self, x: Tensor, classes: Tensor) -> Tensor:
        """Each row by the critic of its class: ``(B, patches)``."""
        parts, order = [], []
        for k, critic in enumerate(self.critic):
            rows = (classes == k).nonzero()[:, 0]
            if len(rows):
                parts.append(critic(x[rows])[0].flatten(1))
                order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]
