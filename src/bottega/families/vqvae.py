"""VQ-VAE: a picture as a grid of numbers from a codebook, for another model to learn as one learns words."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.bodies import finish
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.conv import GridDecoder, GridEncoder
from bottega.nets.likelihood import LikelihoodName
from bottega.nets.likelihood import likelihood as likelihood_of
from bottega.nets.vq import Codebook

__all__ = ["VQVAE"]


class VQVAE(Family):
    """``-log p(x | codes) + commit * |z - code|^2`` with gradients straight through (van den Oord et al. 2017, arXiv:1711.00937).

    The encoder gives a vector for each cell of ``2^halvings`` pixels, a codebook the nearest of its ``codes`` vectors
    (see ``nets.vq``; the codebook moves by averages in ``settle``, not by gradients). A code is therefore a small picture
    of whole numbers, ``Spec((1, h, w), vocab=codes)``: train a ``gpt`` on them, row by row, through the codec ``latent``,
    and its samples decode to pictures. That is the paper's second stage.

    Alone the family has the simplest prior, each cell a categorical of its own that depends on ``cond`` and on no other
    cell. It is learned beside the rest from the detached codes (``prior``, nats), and gives ``sample`` something to draw
    from and ``log_prob`` its bound ``log p(x) >= log p(x | z(x)) + log p(z(x))``.

    Args:
        spec: real pictures or pictures of ordered levels.
        size: the dial: channels at half the picture's size, twice as many at all smaller ones.
        codes: in the codebook.
        width: numbers in a code's vector; few keep all codes in use.
        halvings: how often height and width are halved; 0 leaves cells of 4 pixels, of 2 for pictures under 16.
        depth: residual blocks at each size.
        commit: weight of the commitment, in nats for each unit of squared angle; the paper's beta.
        likelihood: as for ``vae``.
        sigma: standard deviation of the Gaussian; 0 learns it.
        drop: how often ``cond`` is hidden from the prior in training.

    Raises:
        SpecError: not pictures, or names in no order.
        RecipeError: the likelihood does not fit the examples, or a number is out of range.
    """

    bound: Bound = "lower"
    aside: ClassVar[frozenset[str]] = frozenset({"prior"})
    variants: ClassVar[dict[str, dict[str, Any]]] = {"few_codes": {"codes": 4, "width": 2, "depth": 2}}

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        codes: int = 256,
        width: int = 8,
        halvings: int = 0,
        depth: int = 1,
        commit: float = 1.0,
        likelihood: LikelihoodName = "auto",
        sigma: float = 0.0,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if min(commit, sigma) < 0 or codes < 2:
            raise RecipeError(
                f"family.commit, sigma, codes are {commit}, {sigma}, {codes}; at least 0, 0 and 2 are needed"
            )
        if min(size, width, depth) < 1 or halvings < 0:
            raise RecipeError(
                f"family.size, width, depth, halvings are {size}, {width}, {depth}, {halvings}; at least 1, 1, 1 and 0"
            )
        check_drop(drop)
        channels, height, wide = spec.shape
        halvings = halvings or (1 if min(height, wide) < 16 else 2)
        self.commit, self.drop = commit, drop
        self.likelihood = likelihood_of(spec, likelihood, sigma)
        self.encoder = GridEncoder(channels, size, width, halvings, depth)
        self.codebook = Codebook(codes, width)
        self.decoder = GridDecoder(self.likelihood.channels * channels, size, width, halvings, depth)
        grid = (-(-height // 2**halvings), -(-wide // 2**halvings))
        self.latent = Spec((1, *grid), vocab=codes)
        known = size if spec.cond else 0
        self.known = Condition(spec.cond, known)
        self.prior = nn.Parameter(torch.zeros(codes, *grid))
        self.given = nn.Linear(known, codes) if known else None

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures of real numbers or ordered levels."""
        if not spec.is_image:
            return "it needs pictures (channels, height, width); use family vae for points and tables"
        if spec.is_tokens and not spec.ordinal:
            return "its levels are names in no order; use family pixelcnn or gpt"
        return no_picture(spec)

    def settle(self, step: int) -> None:
        """Move the codebook."""
        self.codebook.settle(step)

    def _logits(self, h: Tensor) -> Tensor:
        """Of the prior, ``(B, codes, h, w)``."""
        logits = 10 * self.prior.expand(len(h), *self.prior.shape)  # Adam's steps have one size, logits move far
        return logits if self.given is None else logits + self.given(h).float()[:, :, None, None]

    def _decode(self, vectors: Tensor) -> Tensor:
        """Codes' vectors ``(B, h, w, width) -> (B, channels, C, H, W)``."""
        channels, height, wide = self.spec.shape
        out = self.decoder(vectors.permute(0, 3, 1, 2))[:, :, :height, :wide]
        return out.unflatten(1, (self.likelihood.channels, channels)).float()

    def _terms(self, batch: Batch, rng: Rng, drop: float) -> tuple[Tensor, Tensor, Tensor]:
        """``-log p(x | z)``, the squared error of the codes, ``-log p(z)``; ``(B,)`` each."""
        forget = rng.uniform(len(batch)) < drop if drop and self.spec.cond else None
        h = self.known(batch.cond, len(batch), forget)
        z = self.encoder(self.spec.as_real(batch.x)).permute(0, 2, 3, 1)
        vectors, index, error = self.codebook(z)
        log_prior = self._logits(h).log_softmax(1).gather(1, index[:, None])
        rec = -self.likelihood.log_prob(self._decode(vectors), batch.x)
        return rec, error.flatten(1).sum(1), -log_prior.flatten(1).sum(1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``rec`` and ``prior`` in nats, ``commit`` a weighted squared error; the sum without it is minus a bound."""
        rec, error, prior = self._terms(batch, rng, self.drop)
        return Terms({"rec": rec, "commit": self.commit * error, "prior": prior})

    @torch.no_grad()
    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``log p(x | z(x)) + log p(z(x))``, ``(B,)`` nats; ``rng`` is not drawn from."""
        rec, _, prior = self._terms(batch, rng, 0.0)
        return -rec - prior

    @torch.no_grad()
    def rate_distortion(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """``-log p(z(x))`` under the simple prior and ``-log p(x | z(x))``, ``(B,)`` nats each."""
        rec, _, prior = self._terms(batch, rng, 0.0)
        return prior, rec

    def encode(self, batch: Batch) -> Tensor:
        """Numbers of codes, ``(B, 1, h, w)`` int64."""
        z = self.encoder(self.spec.as_real(batch.x)).permute(0, 2, 3, 1)
        return self.codebook.nearest(z)[:, None]

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The mean of ``p(x | z)``, rounded to levels: ``(B, 1, h, w) -> (B, *spec.shape)``; ``cond`` adds nothing."""
        return finish(self.spec, self.likelihood.mean(self._decode(self.codebook.vectors[z[:, 0]])))

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, mean: bool = True
    ) -> Tensor:
        """Codes from the simple prior, decoded; a model of the codes (codec ``latent``) draws better ones.

        ``temperature`` divides the prior's logits; without ``mean`` each pixel is drawn from ``p(x | z)``.
        """
        if not temperature > 0:
            raise RecipeError(f"temperature is {temperature}; it must be above 0, 1 is the prior itself")
        logits = self._logits(self.known(cond, n)) / temperature
        z = rng.categorical(logits.permute(0, 2, 3, 1))[:, None]
        if mean:
            return self.decode(z)
        return self.likelihood.draw(self._decode(self.codebook.vectors[z[:, 0]]), rng)
