"""VAE-GAN: a variational autoencoder that measures likeness in a critic's features, and plays against that critic."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.nets.bodies import Critic, decoder, encoder, finish, soft
from bottega.nets.condition import Condition, check_drop, why_not_played
from bottega.nets.spectral import advance_spectrum, unit_spectrum

__all__ = ["VAEGAN"]


class VAEGAN(Family):
    """Three players (Larsen et al. 2016, arXiv:1512.09300, Algorithm 1); ``d(x)`` are the critic's features, ``f`` its number.

    =========  ==========================================================================
    player     minimises, with ``z ~ q(z|x)``, ``w ~ N(0, I)``, ``s`` the softplus
    =========  ==========================================================================
    critic     ``s(-f(x)) + [s(f(G(z))) + s(f(G(w)))] / 2``
    encoder    ``beta KL(q(z|x) || N(0, I)) - log p(d(x) | z)``
    decoder    ``-gamma log p(d(x) | z) + [s(-f(G(z))) + s(-f(G(w)))] / 2``
    =========  ==========================================================================

    ``p(d(x) | z)`` is a Gaussian about ``d(G(z))``: pixels are compared by what the critic sees in them, so an edge that lies
    a little off costs little and a blurred one much. Its standard deviation is learned (Rybkin et al. 2020,
    arXiv:2006.13202), because the scale of features moves as the critic learns, and it counts as many numbers as an example
    has, however many features there are. The critic is spectrally normalised.

    Args:
        spec: real examples, ordered levels, or table rows as real numbers.
        size: the dial: channels at the largest size of a picture, or a quarter of the hidden width of vectors.
        latent: numbers in a code; 0 means a quarter of the example's, at least 2 and at most ``size``.
        depth: residual blocks at each size of a picture, or hidden layers less one.
        beta: weight of the KL.
        gamma: weight of likeness against the game, for the decoder.
        drop: how often ``cond`` is hidden from all players, so that ``sample`` without ``cond`` works too.

    Raises:
        SpecError: examples are names in no order (letters, classes).
        RecipeError: a number is out of range.
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {"likeness": {"beta": 0.5, "gamma": 1.0}}

    def __init__(
        self, spec: Spec, *, size: int = 32, latent: int = 0, depth: int = 1, beta: float = 1.0, gamma: float = 0.05,
        drop: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(spec)
        if size < 1 or min(latent, depth) < 0:
            raise RecipeError(f"family.size, latent, depth are {size}, {latent}, {depth}; at least 1, 0 and 0")
        if beta < 0 or gamma <= 0:
            raise RecipeError(f"family.beta is {beta}, gamma {gamma}; beta must be 0 or more, gamma above 0")
        check_drop(drop)
        self.beta, self.gamma, self.drop = beta, gamma, drop
        width = latent or min(size, max(2, spec.dims // 4))
        self.latent = Spec((width,))
        known = size if spec.cond else 0
        self.encoder = nn.ModuleDict(
            {"known": Condition(spec.cond, known), "net": encoder(spec, size, 2 * width, context=known, depth=depth)}
        )
        self.decoder = nn.ModuleDict(
            {
                "known": Condition(spec.cond, known),
                "net": decoder(spec, size, width + known, depth=depth, leaky=True),
            }
        )
        self.decoder.register_parameter("log_sigma", nn.Parameter(torch.tensor(math.log(0.1))))
        self.critic = unit_spectrum(Critic(spec, size, depth=depth))

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Anything real or ordered."""
        return why_not_played(spec)

    def turns(self) -> tuple[Turn, ...]:
        """The critic, the encoder, the decoder."""
        return (
            Turn("critic", self.critic_loss), Turn("encoder", self.encoder_loss), Turn("decoder", self.decoder_loss),
        )  # fmt: skip

    def posterior(self, batch: Batch, forget: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of ``q(z | x, c)``, each ``(B, latent)``."""
        h = self.encoder["known"](batch.cond, len(batch), forget)
        mean, log_var = self.encoder["net"](self.spec.as_real(batch.x).to(h.dtype), h).float().chunk(2, 1)
        return mean, log_var

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``real`` and ``fake``, the mean over an example said again and a new one."""
        forget = self._forget(len(batch), rng)
        with torch.no_grad():
            again, new = self._made(batch, rng, forget)
        real = self.critic(self.spec.as_real(batch.x), batch.cond, forget)
        fake = [F.softplus(self.critic(made, batch.cond, forget)) for made in (again, new)]
        return Terms({"real": F.softplus(-real), "fake": (fake[0] + fake[1]) / 2})

    def encoder_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``rec`` in nats of features, and ``kl`` in nats."""
        forget = self._forget(len(batch), rng)
        mean, log_var = self.posterior(batch, forget)
        again = self._decode(self._drawn(mean, log_var, rng), batch.cond, rng, forget)
        seen = self.critic.look(again, batch.cond, forget)[1]
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(1)
        return Terms({"rec": self._unlike(batch.x, seen), "kl": self.beta * kl})

    def decoder_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``rec`` and ``fool``."""
        forget = self._forget(len(batch), rng)
        again, new = self._made(batch, rng, forget)
        judged, seen = self.critic.look(again, batch.cond, forget)
        fool = F.softplus(-judged) + F.softplus(-self.critic(new, batch.cond, forget))
        return Terms({"rec": self.gamma * self._unlike(batch.x, seen), "fool": fool / 2})

    def settle(self, step: int) -> None:
        """Follow the critic's largest singular values."""
        advance_spectrum(self.critic)

    def encode(self, batch: Batch) -> Tensor:
        """The posterior mean, ``(B, latent)``."""
        return self.posterior(batch)[0]

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, latent) -> (B, *spec.shape)``; the most likely choices in tables."""
        x = self._raw(z, cond, None)
        return finish(self.spec, x.tanh() if self.spec.is_image or self.spec.is_tokens else x)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)``; ``temperature`` multiplies the prior's standard deviation: below 1 more typical, less varied."""
        z = temperature * rng.normal(n, *self.latent.shape)
        return finish(self.spec, self._decode(z, cond, rng))

    def _forget(self, n: int, rng: Rng) -> Tensor | None:
        return rng.uniform(n) < self.drop if self.spec.cond and self.drop else None

    def _drawn(self, mean: Tensor, log_var: Tensor, rng: Rng) -> Tensor:
        return mean + (0.5 * log_var).exp() * rng.normal(*mean.shape)

    def _made(self, batch: Batch, rng: Rng, forget: Tensor | None) -> tuple[Tensor, Tensor]:
        """The examples said again, and new ones under the same conditions."""
        with torch.no_grad():
            z = self._drawn(*self.posterior(batch, forget), rng)
        new = rng.normal(*z.shape)
        return self._decode(z, batch.cond, rng, forget), self._decode(new, batch.cond, rng, forget)

    def _raw(self, z: Tensor, cond: Tensor | None, forget: Tensor | None) -> Tensor:
        return self.decoder["net"](torch.cat([z, self.decoder["known"](cond, len(z), forget)], 1))[:, 0].float()

    def _decode(self, z: Tensor, cond: Tensor | None, rng: Rng, forget: Tensor | None = None) -> Tensor:
        return soft(self.spec, self._raw(z, cond, forget), rng)

    def _unlike(self, x: Tensor, seen: Tensor) -> Tensor:
        """``-log p(d(x) | z)`` in nats, ``(B,)``, less a constant; ``seen`` is ``d(G(z))``."""
        with torch.no_grad():
            wanted = self.critic.look(self.spec.as_real(x).to(seen.dtype))[1]
        log_sigma = F.softplus(self.decoder.log_sigma + 7) - 7  # never below exp(-7), where a density would run away
        apart = (seen - wanted).square().mean(1)
        return self.spec.dims * (0.5 * apart * (-2 * log_sigma).exp() + log_sigma)
