"""StyleGAN: pictures from a style at each layer, coarse to fine, and noise; with adaptive augmentation for few pictures."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.nets.ada import Adaptive
from bottega.nets.bodies import Critic, finish
from bottega.nets.condition import check_drop, why_not_pictures
from bottega.nets.stylegan import Mapping, Synthesis

__all__ = ["StyleGAN"]

_CENTRE, _FOLLOWS = 64, 0.99  # draws for the mean style at each step, and how much of the running mean stays


class StyleGAN(Family):
    """A mapping network turns noise into a style, which scales the channels of every convolution.

    Karras et al. 2018, arXiv:1812.04948, with the networks of Karras et al. 2020, arXiv:1912.04958. The first layers, at
    4 x 4, decide what stands where; the last style decides its colours, so two pieces can be mixed. The critic minimises
    ``s(-f(x)) + s(f(G(z)))`` with ``s`` the softplus, and R1; the generator ``s(-f(G(z)))``. ``f`` is the residual projection
    critic of ``GAN``, without normalisation and batch statistics, so rows never see each other. Minibatch deviation, path
    length and blurred resampling are left out.

    Args:
        spec: pictures, real or in ordered levels.
        size: the dial: channels at the largest size, twice as many at smaller ones, and a quarter of the critic's features.
        latent: numbers of noise, and of a style; 0 means ``2 * size``.
        depth: layers of the mapping network.
        mixing: share of training pictures made from two styles, which change over at a random layer.
        r1: gamma of ``gamma/2 |grad f(x)|^2`` on real examples (Mescheder et al. 2018, arXiv:1801.04406, eq. 9).
        r1_every: R1 is played once in so many steps, and weighs so many times as much.
        group: rows whose spread the critic sees (minibatch standard deviation), against pieces that are all alike; 4 is usual. 0
            leaves rows alone, and suits differential privacy.
        ada: adaptive discriminator augmentation, for a few thousand pictures or fewer (Karras et al. 2020,
            arXiv:2006.06676).
        planes: with 0 colours are made from all channels, as in the paper, and on pictures this small earlier styles then
            change them too. Otherwise shapes are so many grey planes of unit power, 3 is enough for colours, and the last
            style alone says the colours of each, so that mixing swaps shape and colours cleanly.
        freeze: so many sizes of the critic, the largest first, keep their weights: for a training that begins with a
            trained run (``train.start``) and has few pictures (Mo et al. 2020, arXiv:2002.10964).
        drop: how often ``cond`` is hidden from both players, so that ``sample`` without ``cond`` works too.

    Raises:
        SpecError: no pictures.
        RecipeError: a number is out of range.

    Attributes:
        layers: styles of one piece, coarse first, that of colours last.
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "ada": {"ada": True, "mixing": 1.0},
        "freeze": {"freeze": 1},
        "group": {"group": 4},
        "planes": {"planes": 3},
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        latent: int = 0,
        depth: int = 2,
        mixing: float = 0.5,
        r1: float = 0.1,
        r1_every: int = 4,
        group: int = 0,
        planes: int = 0,
        ada: bool = False,
        freeze: int = 0,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if size < 1 or min(latent, r1, group, planes) < 0 or min(depth, r1_every) < 1 or not 0 <= mixing <= 1:
            raise RecipeError(
                f"family.size, depth, r1_every are {size}, {depth}, {r1_every}, each at least 1; latent {latent}, r1 {r1}, "
                f"group {group} and planes {planes} at least 0; mixing {mixing}, in [0, 1]"
            )
        check_drop(drop)
        self.latent, self.mixing, self.drop = latent or 2 * size, mixing, drop
        self.r1, self.r1_every = r1, r1_every
        synthesis = Synthesis(spec.shape, size, self.latent, planes)  # type: ignore[arg-type]
        self.layers = synthesis.layers
        self.generator = nn.ModuleDict({"mapping": Mapping(spec.cond, self.latent, depth), "synthesis": synthesis})
        self.critic = Critic(spec, size, group=group)
        if group:
            self.coupled = "the critic sees how far rows lie apart; family.group = 0 leaves them alone"  # type: ignore[misc]
        self.adaptive = Adaptive() if ada else None
        classes = spec.cond.vocab if spec.cond is not None and spec.cond.is_tokens and not spec.cond.shape else 0
        self.register_buffer("centre", torch.zeros(classes + 1, self.latent))  # of each class, and of none
        self._freeze(freeze)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures."""
        return why_not_pictures(spec)

    def _freeze(self, sizes: int) -> None:
        body: Any = self.critic.body
        if not 0 <= sizes <= len(body.stages):
            raise RecipeError(f"family.freeze is {sizes}; the critic of such pictures has {len(body.stages)} sizes")
        if sizes:
            for part in (body.stem, *body.stages[:sizes], *body.down[: sizes - 1]):
                part.requires_grad_(False)

    def turns(self) -> tuple[Turn, ...]:
        """The critic, its regulariser now and then, the generator."""
        lazy = (Turn("critic", self.r1_loss, every=self.r1_every),) if self.r1 else ()
        return Turn("critic", self.critic_loss), *lazy, Turn("generator", self.generator_loss)

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``real`` and ``fake``."""
        forget = self._forget(len(batch), rng)
        with torch.no_grad():
            made = self._make(batch.cond, forget, len(batch), rng)
        real = self.critic(self._changed(self.spec.as_real(batch.x), rng), batch.cond, forget)
        fake = self.critic(self._changed(made, rng), batch.cond, forget)
        if self.adaptive is not None:
            self.adaptive.watch(real)
        return Terms({"real": F.softplus(-real), "fake": F.softplus(fake)})

    def r1_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``r1``, at the pictures that the critic sees, times ``r1_every`` because it is played so seldom."""
        forget = self._forget(len(batch), rng)
        slope = self.critic.slope(self._changed(self.spec.as_real(batch.x), rng), batch.cond, forget)
        return Terms({"r1": 0.5 * self.r1 * self.r1_every * slope})

    def generator_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``fool``; of the batch only ``cond`` and the size are used."""
        forget = self._forget(len(batch), rng)
        made = self._make(batch.cond, forget, len(batch), rng)
        return Terms({"fool": F.softplus(-self.critic(self._changed(made, rng), batch.cond, forget))})

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Follow the mean style, and how much augmentation the critic needs."""
        rows, width = self.centre.shape
        z = Rng(step, device=self.centre.device).normal(_CENTRE, width).repeat(rows, 1)
        label = torch.arange(rows, device=z.device).repeat_interleave(_CENTRE)
        w = self._style(z, torch.where(label == rows - 1, -1, label) if rows > 1 else None)
        self.centre.lerp_(w.view(rows, _CENTRE, width).mean(1), 1 - min(_FOLLOWS, (1 + step) / (10 + step)))
        if self.adaptive is not None:
            self.adaptive.settle()

    @torch.no_grad()
    def sample(  # type: ignore[override]
        self, n: int, rng: Rng, cond: Tensor | None = None, *, truncation: float = 1.0, mix: int = -1, at: int = 0
    ) -> Tensor:
        """``(n, *spec.shape)``.

        Args:
            n: how many.
            rng: one stream, or one for each row.
            cond: ``(n, *spec.cond.shape)`` or None.
            truncation: styles this far from the mean style of their class: below 1 more typical, less varied, at 0 all alike
                but for noise (Karras et al. 2018, section 4.1 and app. B).
            mix: the fine styles are those of the piece of this seed; -1 for the piece's own.
            at: from this layer on styles are fine; 0 means from the middle one.
        """
        z = rng.normal(n, self.latent)
        fine = z if mix < 0 else Rng.for_rows([mix], rng.device).normal(1, self.latent).expand(n, -1)
        return self.mix(z, fine, at, rng, cond, truncation=truncation)

    @torch.no_grad()
    def mix(
        self, coarse: Tensor, fine: Tensor, at: int, rng: Rng, cond: Tensor | None = None, *, truncation: float = 1.0
    ) -> Tensor:
        """What stands where from one latent, colours and details from another: ``(n, latent)`` twice -> ``(n, *spec.shape)``.

        Args:
            coarse: standard normal numbers.
            fine: standard normal numbers.
            at: the first layer with a fine style, 1 to ``layers``; 0 means the middle one.
            rng: of the noise.
            cond: ``(n, *spec.cond.shape)`` or None.
            truncation: as in ``sample``.

        Raises:
            RecipeError: there is no such layer.
        """
        if not 0 <= at <= self.layers:
            raise RecipeError(f"at is {at}; this generator has {self.layers} layers, and 0 means the middle one")
        style = [self._truncated(self._style(z, cond), cond, truncation) for z in (coarse, fine)]
        late = torch.arange(self.layers, device=coarse.device) >= (at or (self.layers + 1) // 2)
        w = torch.where(late[:, None], style[1][:, None], style[0][:, None])
        return finish(self.spec, self.generator["synthesis"](w, rng).contiguous())

    def _style(self, z: Tensor, cond: Tensor | None, forget: Tensor | None = None) -> Tensor:
        return self.generator["mapping"](z, cond, forget)

    def _truncated(self, w: Tensor, cond: Tensor | None, truncation: float) -> Tensor:
        if truncation == 1:
            return w
        classes = len(self.centre) > 1 and cond is not None
        return torch.lerp(self.centre[cond if classes else torch.full((len(w),), -1)], w, truncation)

    def _make(self, cond: Tensor | None, forget: Tensor | None, n: int, rng: Rng) -> Tensor:
        """Pictures in training, ``(n, *spec.shape)`` real; some change over from one style to another at a layer."""
        w, other = (self._style(rng.normal(n, self.latent), cond, forget) for _ in range(2))
        change = 1 + rng.integers(self.layers - 1, n) if self.layers > 1 else torch.ones(n, device=w.device)
        change = torch.where(rng.uniform(n) < self.mixing, change, self.layers)
        late = torch.arange(self.layers, device=w.device) >= change[:, None]
        return self.generator["synthesis"](torch.where(late[:, :, None], other[:, None], w[:, None]), rng)

    def _changed(self, x: Tensor, rng: Rng) -> Tensor:
        return x if self.adaptive is None else self.adaptive(x, rng)

    def _forget(self, n: int, rng: Rng) -> Tensor | None:
        return rng.uniform(n) < self.drop if self.spec.cond and self.drop else None
