"""Picture to picture, learnt from pairs: sketch to photograph, grey to colour, labels to scene."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bottega.core import Batch, RecipeError, Rng, Spec, Terms
from bottega.families._paired import Paired
from bottega.nets.patch import planes
from bottega.nets.unet import UNet

__all__ = ["Pix2Pix"]


class Pix2Pix(Paired):
    """Isola et al. 2016, arXiv:1611.07004: a U-Net reads the given picture, a critic of patches sees both.

    The generator minimises ``s(-f(c, G(c, z))) + l1 |x - G(c, z)|``, the mean over numbers. Noise enters as a vector that
    scales and shifts in every block, where the paper left dropout on. A given picture of another size is brought to the
    size of what is made.

    Args:
        spec: pictures, real or in ordered levels, of which another picture is known.
        size: the dial: channels of the U-Net at full size and of the critic's first layer, a multiple of 4; twice as many
            at smaller sizes.
        latent: numbers of noise.
        depth: blocks at each size of the U-Net.
        patch: the U-Net reads and writes squares of ``patch`` x ``patch`` pixels; 2 is about four times faster.
        l1: weight of the mean absolute error (the paper's lambda).

    Raises:
        SpecError: no pictures, or none is known.
        RecipeError: a number is out of range.
    """

    def __init__(
        self, spec: Spec, *, size: int = 32, latent: int = 8, depth: int = 1, patch: int = 1, l1: float = 100.0
    ) -> None:
        super().__init__(spec, size, latent)
        if depth < 1 or patch < 1 or l1 < 0:
            raise RecipeError(f"family.depth, patch, l1 are {depth}, {patch}, {l1}; at least 1, 1 and 0")
        self.l1 = l1
        self.generator = nn.ModuleDict(
            {
                "noise": nn.Linear(latent, 2 * size),
                "body": UNet(
                    self.given + 1, size, 2 * size, side=min(self.sides), depth=depth, patch=patch,
                    outputs=spec.shape[0],
                ),
            }
        )  # fmt: skip

    def make(self, n: int, rng: Rng, cond: Tensor | None, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)`` in [-1, 1]."""
        noise = self.generator["noise"](temperature * rng.normal(n, self.latent))
        known = planes(cond, n, self.given, self.sides, noise.float())
        return self.generator["body"](known, noise).float().tanh()

    def generator_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``fool`` and ``l1``."""
        x = self.spec.as_real(batch.x)
        made = self.make(len(x), rng, batch.cond)
        fool, _ = self.fool(made, planes(batch.cond, len(x), self.given, self.sides, x))
        return Terms({"fool": fool, "l1": self.l1 * torch.abs(x - made).flatten(1).mean(1)})
