"""Generative adversarial network: a generator and a critic, each with its own loss and its own turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.nets.bodies import Critic, decoder, finish, soft
from bottega.nets.condition import Condition, check_drop, why_not_played
from bottega.nets.spectral import advance_spectrum, unit_spectrum

__all__ = ["GAN"]

_FOOL: dict[str, Callable[[Tensor], Tensor]] = {  # what the generator minimises, of the critic's number
    "saturating": lambda f: -F.softplus(f),
    "non-saturating": lambda f: F.softplus(-f),
    "hinge": lambda f: -f,
    "wasserstein": lambda f: -f,
}
_REAL: dict[str, Callable[[Tensor], Tensor]] = {  # what the critic minimises on a real example; on a made one, of -f
    "saturating": lambda f: F.softplus(-f),
    "non-saturating": lambda f: F.softplus(-f),
    "hinge": lambda f: F.relu(1 - f),
    "wasserstein": lambda f: -f,
}


class GAN(Family):
    """Two players (Goodfellow et al. 2014, arXiv:1406.2661); ``f`` is the critic's number, ``s`` the softplus.

    ==================  =====================================  ===================
    objective           the critic minimises                   the generator
    ==================  =====================================  ===================
    ``saturating``      ``s(-f(x)) + s(f(G(z)))``              ``-s(f(G(z)))``
    ``non-saturating``  ``s(-f(x)) + s(f(G(z)))``              ``s(-f(G(z)))``
    ``hinge``           ``max(0, 1 - f(x)) + max(0, 1 + f(G))``  ``-f(G(z))``
    ``wasserstein``     ``f(G(z)) - f(x)``                     ``-f(G(z))``
    ==================  =====================================  ===================

    Hinge: Miyato et al. 2018, arXiv:1802.05957; Wasserstein: Arjovsky et al. 2017, arXiv:1701.07875, which needs ``clip``,
    ``penalty`` or ``spectral`` to keep the critic Lipschitz. Pictures get residual convolutions without batch
    normalisation. One-hot blocks of a table leave the generator as Gumbel-softmax, and ordered levels as real numbers in
    [-1, 1]; both are made whole in ``sample``. With ``cond`` the critic is a projection critic.

    Args:
        spec: real examples, ordered levels, or table rows as real numbers.
        size: the dial: channels at the largest size of a picture, or a quarter of the hidden width of vectors.
        latent: numbers the generator is given, standard normal; 0 means ``2 * size``.
        codes: so many learned points, one drawn uniformly for each example, go in beside the normal numbers. A continuous
            map of a Gaussian alone has to draw bridges between separate clusters; with codes it has not (Khayatkhoei et
            al. 2018, arXiv:1806.00880). 0 for none.
        depth: residual blocks at each size of a picture, or hidden layers less one.
        objective: a row of the table above.
        clip: the critic's weights stay in [-clip, clip], set back after each of its updates (Arjovsky's Algorithm 1); 0 for none.
        penalty: weight of ``(|grad f| - 1)^2`` between real and made examples (Gulrajani et al. 2017, arXiv:1704.00028).
        r1: gamma of ``gamma/2 |grad f(x)|^2`` on real examples (Mescheder et al. 2018, arXiv:1801.04406, eq. 9).
        r1_every: R1 is played once in so many steps, and weighs so many times as much (Karras et al. 2020,
            arXiv:1912.04958, app. B).
        spectral: spectral normalisation of the critic's layers (Miyato et al. 2018, arXiv:1802.05957).
        n_critic: turns of the critic for one of the generator.
        drop: how often ``cond`` is hidden from both players, so that ``sample`` without ``cond`` works too.

    Raises:
        SpecError: examples are names in no order (letters, classes).
        RecipeError: the objective is unknown, or a number is out of range.
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "saturating": {"objective": "saturating", "r1": 1.0, "r1_every": 2},
        "clip": {"objective": "wasserstein", "clip": 0.1, "n_critic": 2},
        "penalty": {"objective": "wasserstein", "penalty": 10.0},
        "spectral": {"objective": "hinge", "spectral": True},
        "codes": {"codes": 4},
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        latent: int = 0,
        codes: int = 0,
        depth: int = 1,
        objective: Literal["saturating", "non-saturating", "hinge", "wasserstein"] = "non-saturating",
        clip: float = 0.0,
        penalty: float = 0.0,
        r1: float = 0.0,
        r1_every: int = 4,
        spectral: bool = False,
        n_critic: int = 1,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if objective not in _FOOL:
            raise RecipeError(f"family.objective is {objective!r}; use one of {', '.join(_FOOL)}")
        if min(clip, penalty, r1) < 0 or min(r1_every, n_critic) < 1 or codes < 0:
            raise RecipeError("family.clip, penalty, r1 and codes must be 0 or more, r1_every and n_critic 1 or more")
        if size < 1 or min(latent, depth) < 0:
            raise RecipeError(f"family.size, latent, depth are {size}, {latent}, {depth}; at least 1, 0 and 0")
        check_drop(drop)
        if clip and spectral:
            raise RecipeError("family.clip and family.spectral both bound the critic's weights; choose one")
        self.objective, self.clip, self.penalty, self.drop = objective, clip, penalty, drop
        self.r1, self.r1_every, self.n_critic, self.spectral = r1, r1_every, n_critic, spectral
        self.generator = _Generator(spec, size, latent or 2 * size, codes, depth)
        self.critic = Critic(spec, size, depth=depth)
        if spectral:
            unit_spectrum(self.critic)
        self._bound_critic()

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Anything real or ordered."""
        return why_not_played(spec)

    def turns(self) -> tuple[Turn, ...]:
        """The critic ``n_critic`` times, its regulariser now and then, the generator once."""
        bound = self._bound_critic if self.clip or self.spectral else None
        lazy = (Turn("critic", self.r1_loss, every=self.r1_every, after=bound),) if self.r1 else ()
        critic = Turn("critic", self.critic_loss, repeat=self.n_critic, after=bound)
        return critic, *lazy, Turn("generator", self.generator_loss)

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``real`` and ``fake``, and ``penalty`` where one is set."""
        x, forget = self.spec.as_real(batch.x), self._forget(len(batch), rng)
        made = self.generator(rng, len(x), batch.cond, forget).detach()
        parts = {
            "real": _REAL[self.objective](self.critic(x, batch.cond, forget)),
            "fake": _REAL[self.objective](-self.critic(made, batch.cond, forget)),
        }
        if self.penalty:
            share = rng.uniform(len(x), *[1] * len(self.spec.shape))
            slope = self.critic.slope(x + share * (made - x), batch.cond, forget)
            parts["penalty"] = self.penalty * (slope.clamp_min(1e-12).sqrt() - 1).square()
        return Terms(parts)

    def r1_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``r1``, times ``r1_every`` because it is played so seldom."""
        slope = self.critic.slope(self.spec.as_real(batch.x), batch.cond, self._forget(len(batch), rng))
        return Terms({"r1": 0.5 * self.r1 * self.r1_every * slope})

    def generator_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``fool``: what the objective asks of the generator; of the batch only ``cond`` and the size are used."""
        forget = self._forget(len(batch), rng)
        made = self.generator(rng, len(batch), batch.cond, forget)
        return Terms({"fool": _FOOL[self.objective](self.critic(made, batch.cond, forget))})

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)``; ``temperature`` below 1 shrinks the latent: more typical, less varied (BigGAN's truncation)."""
        return finish(self.spec, self.generator(rng, n, cond, temperature=temperature))

    def _forget(self, n: int, rng: Rng) -> Tensor | None:
        return rng.uniform(n) < self.drop if self.spec.cond and self.drop else None

    @torch.no_grad()
    def _bound_critic(self) -> None:
        """Clip the critic's weights, or follow its largest singular values."""
        if self.spectral:
            advance_spectrum(self.critic)
        if self.clip:
            torch._foreach_clamp_max_(list(self.critic.parameters()), self.clip)
            torch._foreach_clamp_min_(list(self.critic.parameters()), -self.clip)


class _Generator(nn.Module):
    """Latent draws, and what is known, to examples as real numbers that a gradient passes through."""

    def __init__(self, spec: Spec, size: int, latent: int, codes: int, depth: int) -> None:
        super().__init__()
        self.spec, self.latent = spec, latent
        known = size if spec.cond else 0
        self.known = Condition(spec.cond, known)
        self.codes = nn.Embedding(codes, size) if codes else None
        self.net = decoder(spec, size, latent + known + (size if codes else 0), depth=depth, leaky=True)

    def forward(
        self, rng: Rng, n: int, cond: Tensor | None, forget: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        """``(n, *spec.shape)``; one-hot blocks as probabilities close to one and zero."""
        z = torch.cat([temperature * rng.normal(n, self.latent), self.known(cond, n, forget)], 1)
        if self.codes is not None:
            z = torch.cat([z, self.codes(rng.integers(self.codes.num_embeddings, n))], 1)
        return soft(self.spec, self.net(z)[:, 0].float(), rng)
