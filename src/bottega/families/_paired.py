"""What families share that make a picture of a given one against a critic that sees both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.nets.bodies import finish
from bottega.nets.patch import PatchCritic, planes, too_small
from bottega.nets.spectral import advance_spectrum, unit_spectrum

__all__ = ["Paired"]


class Paired(Family):
    """Players and losses of a conditional GAN on pairs; a subclass brings ``generator``: ``(planes, noise) -> picture``.

    The critic sees the picture beside the given one, patch by patch, spectrally normalised. Its loss is the
    cross-entropy's, the mean over patches; see ``families.gan`` for the formulas.
    """

    generator: nn.Module

    def __init__(self, spec: Spec, size: int, latent: int) -> None:
        super().__init__(spec)
        if size < 4 or size % 4 or latent < 1:
            raise RecipeError(
                f"family.size is {size}, latent {latent}; size must be a multiple of 4, latent at least 1"
            )
        assert spec.cond is not None
        self.latent, self.given = latent, spec.cond.shape[0]
        self.sides = (spec.shape[1], spec.shape[2])
        self.critic = unit_spectrum(PatchCritic(spec.shape[0] + self.given + 1, size))

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures of which a picture is known."""
        if not spec.is_image or spec.is_tokens and not spec.ordinal:
            return "it makes pictures (channels, height, width) only; use family gan for points and tables"
        if not spec.given_picture:
            return "it makes a picture of a given one, and none is given; set codec.cond = 'picture' or codec.degrade"
        return too_small(spec)

    def turns(self) -> tuple[Turn, ...]:
        """The critic, then the generator."""
        return Turn("critic", self.critic_loss), Turn("generator", self.generator_loss)

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``real`` and ``fake``."""
        x = self.spec.as_real(batch.x)
        known = planes(batch.cond, len(x), self.given, self.sides, x)
        with torch.no_grad():
            made = self.make(len(x), rng, batch.cond)
        real, _ = self.critic(torch.cat([x, known], 1))
        fake, _ = self.critic(torch.cat([made, known], 1))
        return Terms({"real": _mean(F.softplus(-real)), "fake": _mean(F.softplus(fake))})

    def generator_loss(self, batch: Batch, rng: Rng) -> Terms:
        """What the generator minimises; a subclass says it."""
        raise NotImplementedError

    def fool(self, made: Tensor, known: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The generator's share of the game ``(B,)``, and what the critic's layers made of ``made``."""
        judged, seen = self.critic(torch.cat([made, known], 1))
        return _mean(F.softplus(-judged)), seen

    def make(self, n: int, rng: Rng, cond: Tensor | None, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)`` real numbers."""
        raise NotImplementedError

    def settle(self, step: int) -> None:
        """Follow the critic's largest singular values."""
        advance_spectrum(self.critic)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)``; ``temperature`` is the size of the noise: 0 makes the same picture for every seed."""
        return finish(self.spec, self.make(n, rng, cond, temperature))


def _mean(t: Tensor) -> Tensor:
    return t.flatten(1).mean(1)
