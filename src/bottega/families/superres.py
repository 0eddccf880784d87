"""Super-resolution: a small picture becomes a larger one, sharper than interpolation makes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, RecipeError, Rng, Spec, Terms
from bottega.families._paired import Paired
from bottega.nets.patch import Enlarger, planes

__all__ = ["SuperRes"]


class SuperRes(Paired):
    """SRGAN's plan (Ledig et al. 2016, arXiv:1609.04802), with nothing downloaded.

    ``G(c, z)`` is the bicubic enlargement plus what residual blocks at the small size add. It minimises ``l1 |x - G|``
    (the mean over numbers), ``features`` times the difference of what the critic's layers see in ``x`` and in ``G`` (in
    place of a downloaded network's; Wang et al. 2017, arXiv:1711.11585, equation 4) and ``adversarial`` times its share of
    the game against the critic. With ``adversarial = 0`` and ``features = 0`` it has the highest PSNR; more of both makes
    textures sharper and PSNR lower.

    Args:
        spec: pictures, real or in ordered levels, of which a smaller one is known: 1/2, 1/4 ... of both sides.
        size: the dial: channels of the blocks and of the critic's first layer, a multiple of 4.
        latent: numbers of noise, which choose among textures.
        depth: residual blocks.
        l1, features, adversarial: weights of the three terms.

    Raises:
        SpecError: no pictures, or the known one is not smaller by a whole factor.
        RecipeError: a number is out of range.
    """

    def __init__(
        self, spec: Spec, *, size: int = 32, latent: int = 4, depth: int = 4, l1: float = 100.0, features: float = 1.0,
        adversarial: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(spec, size, latent)
        if depth < 1 or min(l1, features, adversarial) < 0 or not l1 + features + adversarial:
            raise RecipeError(
                f"family.depth is {depth}, l1 {l1}, features {features}, adversarial {adversarial}; depth must be at least "
                "1, weights 0 or more and not all 0"
            )
        assert spec.cond is not None
        self.small = (spec.cond.shape[1], spec.cond.shape[2])
        self.l1, self.features, self.adversarial = l1, features, adversarial
        factor = spec.shape[1] // spec.cond.shape[1]
        self.generator = nn.ModuleDict(
            {
                "noise": nn.Linear(latent, size),
                "body": Enlarger(self.given + 1, spec.shape[0], size, factor, depth, size),
            }
        )

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures of which a smaller one of as many channels is known."""
        if why := super().accepts(spec):
            return why
        assert spec.cond is not None
        (channels, height, width), (given, h, w) = spec.shape, spec.cond.shape
        if given != channels or h >= height or height % h or width % w or height // h != width // w:
            return (
                f"it enlarges by a whole factor, and {given} x {h} x {w} is no such part of {channels} x {height} x {width}; "
                "set codec.degrade = 'half' or 'quarter', or use family pix2pix"
            )
        return ""

    def make(self, n: int, rng: Rng, cond: Tensor | None, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)`` real numbers, about in [-1, 1]."""
        noise = self.generator["noise"](temperature * rng.normal(n, self.latent))
        known = planes(cond, n, self.given, self.small, noise.float())
        plain = F.interpolate(known[:, :-1], self.sides, mode="bicubic")
        return plain + self.generator["body"](known, noise).float()

    def generator_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``l1``, ``features`` and ``fool``."""
        x = self.spec.as_real(batch.x)
        known = planes(batch.cond, len(x), self.given, self.sides, x)
        made = self.make(len(x), rng, batch.cond)
        fool, seen = self.fool(made, known)
        with torch.no_grad():
            _, wanted = self.critic(torch.cat([x, known], 1))
        apart = [(a - b).abs().float().flatten(1).mean(1) for a, b in zip(seen, wanted, strict=True)]
        return Terms(
            {
                "l1": self.l1 * (x - made).abs().flatten(1).mean(1),
                "features": self.features * torch.stack(apart).sum(0),
                "fool": self.adversarial * fool,
            }
        )
