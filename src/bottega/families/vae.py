"""Variational autoencoder: a latent-variable model trained by a lower bound of its likelihood."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.bodies import choices, decoder, encoder, finish
from bottega.nets.condition import Condition, check_drop, no_picture

__all__ = ["VAE", "log_logistic_mass"]


class VAE(Family):
    """Maximises ``E_q(z|x,c) log p(x|z,c) - beta * KL(q(z|x,c) || N(0, I))`` (Kingma & Welling 2013, arXiv:1312.6114).

    ``q`` is Gaussian with diagonal covariance; its KL is exact and its expectation one reparameterised draw (eq. 10).
    ``beta`` is Higgins et al. 2017; ``free_bits`` Kingma et al. 2016, arXiv:1606.04934, app. C.8, here for each example
    and latent number by itself, so that rows stay independent.

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
        drop: how often ``cond`` is hidden in training, so that the model also works without it.

    Raises:
        SpecError: examples are names in no order (letters, classes).
        RecipeError: the likelihood is unknown or does not fit the examples, or a number is out of range.
    """

    bound: Bound = "lower"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "given_sigma": {"sigma": 0.2},
        "beta_free_bits": {"beta": 4.0, "free_bits": 0.05},
        "logistic": {"likelihood": "logistic"},
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        latent: int = 0,
        depth: int = 1,
        likelihood: Literal["auto", "gaussian", "bernoulli", "logistic"] = "auto",
        sigma: float = 0.0,
        beta: float = 1.0,
        free_bits: float = 0.0,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if min(sigma, beta, free_bits) < 0:
            raise RecipeError(f"family.sigma, beta, free_bits are {sigma}, {beta}, {free_bits}; none may be negative")
        if size < 1 or min(latent, depth) < 0:
            raise RecipeError(f"family.size, latent, depth are {size}, {latent}, {depth}; at least 1, 0 and 0")
        check_drop(drop)
        self.beta, self.free_bits, self.drop = beta, free_bits, drop
        self.likelihood = _likelihood(spec, likelihood, sigma)
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
        mean, log_var = self.encoder(self.spec.as_real(batch.x), h).float().chunk(2, 1)
        return mean, log_var

    def _decode(self, z: Tensor, h: Tensor) -> Tensor:
        return self.decoder(torch.cat([z, h], 1)).float()  # (B, channels, *spec.shape)

    def _terms(self, batch: Batch, rng: Rng, drop: float) -> tuple[Tensor, Tensor]:
        """``-log p(x | z)`` of one draw, ``(B,)``, and the KL of each latent number, ``(B, latent)``; nats."""
        forget = rng.uniform(len(batch)) < drop if drop and self.spec.cond else None
        h = self.known(batch.cond, len(batch), forget)
        mean, log_var = self.posterior(batch, h)
        z = mean + (0.5 * log_var).exp() * rng.normal(*mean.shape)
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1)
        return -self.likelihood.log_prob(self._decode(z, h), batch.x), kl

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``rec`` and ``kl`` in nats per example; their sum is minus the ELBO when beta is 1 and no bits are free."""
        rec, kl = self._terms(batch, rng, self.drop)
        return Terms({"rec": rec, "kl": self.beta * kl.clamp_min(self.free_bits).sum(1)})

    @torch.no_grad()
    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """The ELBO with one draw, ``(B,)`` nats: a lower bound in expectation."""
        rec, kl = self._terms(batch, rng, 0.0)
        return -rec - kl.sum(1)

    @torch.no_grad()
    def iwae(self, batch: Batch, rng: Rng, k: int = 500) -> Tensor:
        """``E log (1/k) sum_i p(x, z_i) / q(z_i | x)``, ``(B,)`` nats: tighter with every k.

        Burda et al. 2015, arXiv:1509.00519, eq. 8. At most 1024 codes are decoded at a time, whatever ``k``.
        """
        h = self.known(batch.cond, len(batch))
        mean, log_var = self.posterior(batch, h)
        rows = torch.arange(len(batch), device=mean.device)
        found = []
        for first in range(0, k, 50):  # what a row draws does not depend on how many rows there are
            draws = rng.normal(len(batch), min(50, k - first), mean.shape[1])
            z = mean[:, None] + (0.5 * log_var).exp()[:, None] * draws
            prior_to_posterior = 0.5 * (draws.square() - z.square() + log_var[:, None]).sum(2)
            which = rows.repeat_interleave(draws.shape[1])
            likelihood = [
                self.likelihood.log_prob(self._decode(codes, h[at]), batch.x[at])
                for codes, at in zip(z.flatten(0, 1).split(1024), which.split(1024), strict=True)
            ]
            found.append(prior_to_posterior + torch.cat(likelihood).view_as(prior_to_posterior))
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


class _Likelihood(nn.Module):
    """``p(x | z)`` from what the decoder says, ``out (B, channels, *shape)`` float32."""

    channels = 1

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """``(B,)`` nats."""
        raise NotImplementedError

    def mean(self, out: Tensor) -> Tensor:
        """``(B, *shape)`` real, in [-1, 1]; probabilities of choices in tables."""
        return out[:, 0]

    def draw(self, out: Tensor, rng: Rng) -> Tensor:
        """``(B, *shape)``, an example."""
        raise NotImplementedError


class _Gaussian(_Likelihood):
    """Normal with one standard deviation, or one for each scalar of a table whose one-hot blocks are categorical."""

    def __init__(self, spec: Spec, sigma: float) -> None:
        super().__init__(spec)
        self.choices = list(choices(spec))
        scalar = torch.ones(spec.shape)
        for part in self.choices:
            scalar[part] = 0
        self.register_buffer("scalar", scalar, persistent=False)
        start = torch.full(spec.shape if spec.blocks else (1,), math.log(sigma or 0.1))
        self.learned = not sigma
        if self.learned:
            self.raw = nn.Parameter(start)
        else:
            self.register_buffer("raw", start, persistent=False)

    def _log_sigma(self) -> Tensor:
        if not self.learned:
            return self.raw
        return F.softplus(self.raw + 6) - 6  # never below exp(-6), where a density would run away

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        log_sigma = self._log_sigma()
        density = -0.5 * ((x - out[:, 0]) * (-log_sigma).exp()).square() - log_sigma - 0.5 * math.log(2 * math.pi)
        total = (density * self.scalar).flatten(1).sum(1)
        for part in self.choices:
            total = total + (x[:, part] * F.log_softmax(out[:, 0, part], 1)).sum(1)
        return total

    def mean(self, out: Tensor) -> Tensor:
        found = out[:, 0].clone()
        for part in self.choices:
            found[:, part] = out[:, 0, part].softmax(1)
        return found

    def draw(self, out: Tensor, rng: Rng) -> Tensor:
        x = out[:, 0] + self._log_sigma().exp() * rng.normal(*out[:, 0].shape)
        for part in self.choices:
            x[:, part] = F.one_hot(rng.categorical(out[:, 0, part]), part.stop - part.start).to(x.dtype)
        return x


class _Bernoulli(_Likelihood):
    """Two levels; ``out`` is the logit of the upper one."""

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(out[:, 0], x.to(out.dtype), reduction="none").flatten(1).sum(1)

    def mean(self, out: Tensor) -> Tensor:
        return 2 * out[:, 0].sigmoid() - 1

    def draw(self, out: Tensor, rng: Rng) -> Tensor:
        return rng.bernoulli(out[:, 0].sigmoid()).long()


class _Logistic(_Likelihood):
    """Ordered levels; ``out`` is mean and log-scale of a logistic whose mass over each level's bin counts."""

    channels = 2

    def _split(self, out: Tensor) -> tuple[Tensor, Tensor]:
        return out[:, 0], F.softplus(out[:, 1] + 5) - 7  # scales above exp(-7), beginning near 0.13

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        mean, log_scale = self._split(out)
        return log_logistic_mass(x, mean, log_scale, self.spec.vocab).flatten(1).sum(1)

    def draw(self, out: Tensor, rng: Rng) -> Tensor:
        mean, log_scale = self._split(out)
        u = rng.uniform(*mean.shape).clamp(1e-6, 1 - 1e-6)
        return self.spec.as_tokens(mean + log_scale.exp() * torch.logit(u))


def log_logistic_mass(x: Tensor, mean: Tensor, log_scale: Tensor, vocab: int) -> Tensor:
    """Log of the mass that a logistic puts on level ``x`` of ``vocab`` levels in [-1, 1]; nats, the shape of ``x``.

    The bin of a level reaches half way to its neighbours, and to infinity at either end, so masses sum to one. Exact for any
    mean and scale: ``s(a) - s(b) = s(a) s(-b) (1 - exp(b - a))`` with ``s`` the logistic function.

    >>> x = torch.arange(4)
    >>> round(log_logistic_mass(x, torch.tensor(0.3), torch.tensor(-2.0), 4).exp().sum().item(), 5)
    1.0
    """
    half = 1 / (vocab - 1)
    centre = x.to(mean.dtype) * (2 * half) - 1
    slope = (-log_scale).exp()
    upper, lower = (centre + half - mean) * slope, (centre - half - mean) * slope
    below = torch.where(x == vocab - 1, 0, F.logsigmoid(upper))
    above = torch.where(x == 0, 0, F.logsigmoid(-lower))
    inner = torch.where((x == 0) | (x == vocab - 1), 0, (-torch.expm1(-2 * half * slope)).log())
    return below + above + inner


def _likelihood(spec: Spec, name: str, sigma: float) -> _Likelihood:
    fits = "gaussian" if not spec.is_tokens else "bernoulli" if spec.vocab == 2 else "logistic"
    name = fits if name == "auto" else name
    if name == "gaussian" and not spec.is_tokens:
        return _Gaussian(spec, sigma)
    if name == "bernoulli" and spec.vocab == 2:
        return _Bernoulli(spec)
    if name == "logistic" and spec.is_tokens:
        return _Logistic(spec)
    raise RecipeError(f"family.likelihood is {name!r}, which does not fit {spec}; use {fits!r} or 'auto'")
