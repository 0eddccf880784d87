"""Variational autoencoder: a latent-variable model trained by a lower bound of its likelihood."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.bodies import decoder, encoder, finish
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.likelihood import LikelihoodName
from bottega.nets.likelihood import likelihood as likelihood_of

__all__ = ["VAE"]


class VAE(Family):
    """Maximises ``E_q(z|x,c) log p(x|z,c) - beta * KL(q(z|x,c) || N(0, I))`` (Kingma & Welling 2013, arXiv:1312.6114).

    ``q`` is Gaussian with diagonal covariance; its KL is exact and its expectation one reparameterised draw (eq. 10).
    ``beta`` is Higgins et al. 2017; ``free_bits`` Kingma et al. 2016, arXiv:1606.04934, app. C.8, here for each example
    and latent number by itself, so that rows stay independent.

    With ``draws`` above 1 it maximises the importance-weighted bound of so many draws instead (Burda et al. 2015,
    arXiv:1509.00519, eq. 8), which is tighter and asks less of ``q``; a step costs about as much as ``draws`` decodings.

    Args:
        spec: real examples, ordered levels, or table rows as real numbers.
        size: the dial: channels at the largest size of a picture, or a quarter of the hidden width of vectors.
        latent: numbers in a code; 0 means a quarter of the example's, at least 2 and at most ``size``.
        depth: residual blocks at each size of a picture, or hidden layers less one.
        likelihood: of one coordinate given ``z``: ``"gaussian"`` for real numbers (in tables: a Gaussian for each scalar, a
            categorical for each one-hot block, as TVAE, Xu et al. 2019, arXiv:1907.00503, section 4.4), ``"bernoulli"`` for two
            levels, ``"logistic"`` for ordered levels (discretised, exact at the edges; Salimans et al. 2017,
            arXiv:1701.05517, eq. 2); ``"auto"`` takes the one that fits the Spec.
        sigma: standard deviation of the Gaussian; 0 learns it, one for the whole example or one for each number of a table's
            row (Rybkin et al. 2020, arXiv:2006.13202).
        beta: weight of the KL in the loss; ``log_prob`` always takes 1.
        free_bits: nats of KL for each latent number that cost nothing in the loss.
        draws: importance samples in the loss; 1 is the ELBO, whose KL is exact.
        drop: how often ``cond`` is hidden in training, so that the model also works without it.

    Raises:
        SpecError: examples are names in no order (letters, classes).
        RecipeError: the likelihood is unknown or does not fit the examples, a number is out of range, or ``draws`` meets
            ``beta`` or ``free_bits``, which change a KL that the importance-weighted bound does not have.
    """

    bound: Bound = "lower"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "given_sigma": {"sigma": 0.2},
        "beta_free_bits": {"beta": 4.0, "free_bits": 0.05},
        "logistic": {"likelihood": "logistic"},
        "importance_weighted": {"draws": 3},
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        latent: int = 0,
        depth: int = 1,
        likelihood: LikelihoodName = "auto",
        sigma: float = 0.0,
        beta: float = 1.0,
        free_bits: float = 0.0,
        draws: int = 1,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if min(sigma, beta, free_bits) < 0:
            raise RecipeError(f"family.sigma, beta, free_bits are {sigma}, {beta}, {free_bits}; none may be negative")
        if size < 1 or min(latent, depth) < 0:
            raise RecipeError(f"family.size, latent, depth are {size}, {latent}, {depth}; at least 1, 0 and 0")
        if draws < 1 or (draws > 1 and (beta != 1 or free_bits)):
            raise RecipeError(
                f"family.draws is {draws} with beta {beta} and free_bits {free_bits}; it must be at least 1, and above 1 "
                "the bound has no KL to weigh: leave beta and free_bits out"
            )
        check_drop(drop)
        self.beta, self.free_bits, self.draws, self.drop = beta, free_bits, draws, drop
        self.likelihood = likelihood_of(spec, likelihood, sigma)
        width = latent or min(size, max(2, spec.dims // 4))
        self.latent = Spec((width,))
        known = size if spec.cond else 0
        self.known = Condition(spec.cond, known)
        self.encoder = encoder(spec, size, 2 * width, context=known, depth=depth)
        self.decoder = decoder(spec, size, width + known, self.likelihood.channels, depth=depth)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Anything real or ordered."""
        if spec.is_tokens and not spec.ordinal:
            return "its tokens have no order and belong to a sequence; use family gpt"
        return no_picture(spec)

    def posterior(self, batch: Batch, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of ``q(z | x, c)``, each ``(B, latent)``; ``h`` is what is known, embedded."""
        h = self.known(batch.cond, len(batch)) if h is None else h
        x = self.spec.as_real(batch.x).to(h.dtype)  # a model in float64 stays in it
        mean, log_var = self.encoder(x, h).float().chunk(2, 1)
        return mean, log_var

    def log_masses(self, z: Tensor, cond: Tensor | None = None, grid: float = 0.0) -> Tensor:
        """``log p(x | z, c)`` of every level of every coordinate, ``(B, latent) -> (B, *spec.shape, vocab)`` nats.

        ``grid`` rounds what the decoder says to its multiples first, so that two machines find the same masses.
        """
        out = self._decode(z, self.known(cond, len(z)))
        return self.likelihood.log_masses(out if not grid else (out / grid).round() * grid)

    def _decode(self, z: Tensor, h: Tensor) -> Tensor:
        return self.decoder(torch.cat([z, h], 1)).float()  # (B, channels, *spec.shape)

    def _known(self, batch: Batch, rng: Rng, drop: float) -> Tensor:
        forget = rng.uniform(len(batch)) < drop if drop and self.spec.cond else None
        return self.known(batch.cond, len(batch), forget)

    def _terms(self, batch: Batch, rng: Rng, drop: float) -> tuple[Tensor, Tensor]:
        """``-log p(x | z)`` of one draw, ``(B,)``, and the KL of each latent number, ``(B, latent)``; nats."""
        h = self._known(batch, rng, drop)
        mean, log_var = self.posterior(batch, h)
        z = mean + (0.5 * log_var).exp() * rng.normal(*mean.shape)
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1)
        return -self.likelihood.log_prob(self._decode(z, h), batch.x), kl

    def _log_weights(self, batch: Batch, h: Tensor, q: tuple[Tensor, Tensor], rng: Rng, k: int) -> Tensor:
        """``log p(x, z_i) / q(z_i | x)`` of ``k`` draws, ``(B, k)`` nats; at most 1024 codes are decoded at once."""
        mean, log_var = q
        draws = rng.normal(len(batch), k, mean.shape[1])
        z = mean[:, None] + (0.5 * log_var).exp()[:, None] * draws
        prior_to_posterior = 0.5 * (draws.square() - z.square() + log_var[:, None]).sum(2)
        which = torch.arange(len(batch), device=mean.device).repeat_interleave(k)
        likelihood = [
            self.likelihood.log_prob(self._decode(codes, h[at]), batch.x[at])
            for codes, at in zip(z.flatten(0, 1).split(1024), which.split(1024), strict=True)
        ]
        return prior_to_posterior + torch.cat(likelihood).view_as(prior_to_posterior)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``rec`` and ``kl`` in nats per example; their sum is minus the ELBO when beta is 1 and no bits are free.

        With ``draws`` above 1 the one term ``bound``, minus the importance-weighted bound.
        """
        if self.draws == 1:
            rec, kl = self._terms(batch, rng, self.drop)
            return Terms({"rec": rec, "kl": self.beta * kl.clamp_min(self.free_bits).sum(1)})
        h = self._known(batch, rng, self.drop)
        weights = self._log_weights(batch, h, self.posterior(batch, h), rng, self.draws)
        return Terms({"bound": math.log(self.draws) - weights.logsumexp(1)})

    @torch.no_grad()
    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """The ELBO with one draw, ``(B,)`` nats: a lower bound in expectation."""
        rec, kl = self._terms(batch, rng, 0.0)
        return -rec - kl.sum(1)

    @torch.no_grad()
    def rate_distortion(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """What a code costs, the KL, and what it leaves unsaid, ``-log p(x | z)``; ``(B,)`` nats each, whatever ``beta``."""
        rec, kl = self._terms(batch, rng, 0.0)
        return kl.sum(1), rec

    @torch.no_grad()
    def iwae(self, batch: Batch, rng: Rng, k: int = 500) -> Tensor:
        """``E log (1/k) sum_i p(x, z_i) / q(z_i | x)``, ``(B,)`` nats: tighter with every k.

        Burda et al. 2015, arXiv:1509.00519, eq. 8.
        """
        h = self.known(batch.cond, len(batch))
        q = self.posterior(batch, h)
        # what a row draws does not depend on how many rows there are
        found = [self._log_weights(batch, h, q, rng, min(50, k - first)) for first in range(0, k, 50)]
        return torch.cat(found, 1).logsumexp(1) - math.log(k)

    def encode(self, batch: Batch) -> Tensor:
        """The posterior mean, ``(B, latent)``."""
        return self.posterior(batch)[0]

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The mean of ``p(x | z, c)``, rounded to levels and choices: ``(B, latent) -> (B, *spec.shape)``."""
        return finish(self.spec, self.likelihood.mean(self._decode(z, self.known(cond, len(z)))))

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, mean: bool = False
    ) -> Tensor:
        """Draws of ``z`` from the prior, then of ``x`` given ``z``.

        ``temperature`` multiplies the prior's standard deviation; ``mean`` takes the mean of ``p(x | z)`` for a draw, which
        leaves out the noise of single pixels.
        """
        z = temperature * rng.normal(n, *self.latent.shape)
        if mean:
            return self.decode(z, cond)
        return self.likelihood.draw(self._decode(z, self.known(cond, n)), rng)

    @torch.no_grad()
    def active_units(self, batch: Batch) -> Tensor:
        """Which latent numbers are in use, ``(latent,)`` bool: their posterior mean varies by more than 0.01 over the batch.

        Burda et al. 2015, arXiv:1509.00519, section 5.2: ``Cov_x(E_q[z]) > 0.01``.
        """
        return self.encode(batch).var(0) > 0.01
