"""DCGAN: pictures from a convolutional generator and critic, as the book's ch. 22 has them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.nets.bodies import finish
from bottega.nets.condition import Condition, check_drop, why_not_pictures
from bottega.nets.dcgan import BatchNorm, ConvCritic, ConvGenerator

__all__ = ["DCGAN"]


class DCGAN(Family):
    """Radford et al. 2015, arXiv:1511.06434, with binary cross-entropy; ``f`` is the critic's number, ``s`` the softplus.

    The critic minimises ``s(-f(x)) + s(f(G(z)))``, the generator ``s(-f(G(z)))``. The generator is a dense layer to a
    quarter of the sides, twice an enlargement with a 5 x 5 convolution, normalisation and ReLU, a 5 x 5 convolution and a
    tanh; the critic two strided 5 x 5 convolutions with leaky ReLU (0.2) and dropout, and a dense layer. ``size = 64`` on 32
    x 32 colour pictures is the book's listing, layer by layer. With ``cond`` the critic is a projection critic (Miyato &
    Koyama 2018, arXiv:1802.05637).

    Args:
        spec: pictures, real or in ordered levels.
        size: the dial: channels at the full size of the generator and the half size of the critic; twice and four times
            as many at smaller ones.
        latent: numbers of noise the generator is given.
        dropout: share of the critic's features forgotten in training.
        norm: ``"batch"`` normalises the generator's features by the batch, so rows see each other; ``"group"`` does not, and
            suits differential privacy.
        smooth: real examples count as real by ``1 - smooth`` only (one-sided label smoothing, Salimans et al. 2016,
            arXiv:1606.03498, section 3.4).
        drop: how often ``cond`` is hidden from both players, so that ``sample`` without ``cond`` works too.

    Raises:
        SpecError: no pictures.
        RecipeError: a number is out of range.
    """

    coupled = "batch normalisation in the generator; family.norm = 'group' leaves rows alone"
    variants: ClassVar[dict[str, dict[str, Any]]] = {"group": {"norm": "group", "smooth": 0.1, "dropout": 0.0}}

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 64,
        latent: int = 100,
        dropout: float = 0.3,
        norm: Literal["batch", "group"] = "batch",
        smooth: float = 0.0,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if size < 1 or latent < 1:
            raise RecipeError(f"family.size and latent are {size} and {latent}; both must be at least 1")
        if not 0 <= dropout < 1 or not 0 <= smooth < 0.5:
            raise RecipeError(f"family.dropout is {dropout}, smooth {smooth}; they must lie in [0, 1) and [0, 0.5)")
        if norm not in {"batch", "group"}:
            raise RecipeError(f"family.norm is {norm!r}; use 'batch' or 'group'")
        check_drop(drop)
        if norm == "group":
            self.coupled = ""  # type: ignore[misc]
        self.latent, self.smooth, self.drop = latent, smooth, drop
        self.generator = _Generator(spec, size, latent, norm)
        self.critic = _Critic(spec, size, dropout)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures."""
        return why_not_pictures(spec)

    def turns(self) -> tuple[Turn, ...]:
        """The critic, then the generator."""
        return Turn("critic", self.critic_loss), Turn("generator", self.generator_loss)

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``real`` and ``fake``."""
        forget = self._forget(len(batch), rng)
        with torch.no_grad():
            made = self.generator(rng, len(batch), batch.cond, forget, batch=True)
        real = self.critic(self.spec.as_real(batch.x), batch.cond, forget, rng)
        fake = self.critic(made, batch.cond, forget, rng)
        return Terms({"real": F.softplus(-real) + self.smooth * real, "fake": F.softplus(fake)})

    def generator_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``fool``; of the batch only ``cond`` and the size are used."""
        forget = self._forget(len(batch), rng)
        made = self.generator(rng, len(batch), batch.cond, forget, batch=True)
        return Terms({"fool": F.softplus(-self.critic(made, batch.cond, forget, rng))})

    def settle(self, step: int) -> None:
        """Move the running statistics of batch normalisation."""
        for module in self.generator.modules():
            if isinstance(module, BatchNorm):
                module.settle()

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)``; ``temperature`` below 1 shrinks the noise: more typical, less varied."""
        return finish(self.spec, self.generator(rng, n, cond, temperature=temperature).contiguous())

    def _forget(self, n: int, rng: Rng) -> Tensor | None:
        return rng.uniform(n) < self.drop if self.spec.cond and self.drop else None


class _Generator(nn.Module):
    def __init__(self, spec: Spec, size: int, latent: int, norm: str) -> None:
        super().__init__()
        self.latent = latent
        self.known = Condition(spec.cond, size if spec.cond else 0)
        self.net = ConvGenerator(spec.shape, size, latent + self.known.width, norm)  # type: ignore[arg-type]

    def forward(
        self, rng: Rng, n: int, cond: Tensor | None, forget: Tensor | None = None, *, temperature: float = 1.0,
        batch: bool = False,
    ) -> Tensor:  # fmt: skip
        """``(n, *spec.shape)`` real."""
        z = torch.cat([temperature * rng.normal(n, self.latent), self.known(cond, n, forget)], 1)
        return self.net(z, batch)


class _Critic(nn.Module):
    def __init__(self, spec: Spec, size: int, dropout: float) -> None:
        super().__init__()
        self.body = ConvCritic(spec.shape, size, dropout)  # type: ignore[arg-type]
        self.score = nn.Linear(self.body.features, 1)
        self.score.readout = True  # type: ignore[assignment]
        nn.init.xavier_uniform_(self.score.weight)
        self.known = Condition(spec.cond, self.body.features if spec.cond else 0)
        self.scale = self.body.features**-0.5

    def forward(self, x: Tensor, cond: Tensor | None, forget: Tensor | None, rng: Rng) -> Tensor:
        """``(B, *spec.shape)`` real -> ``(B,)`` float32."""
        phi = self.body(x, rng)
        out = self.score(phi).float()[:, 0]
        if self.known.spec is None:
            return out
        return out + (self.known(cond, len(x), forget) * phi).float().sum(1) * self.scale
