"""Hierarchical VAE: codes from coarse to fine, each with a prior that knows the coarser ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.bodies import finish
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.conv import ResBlock, levels
from bottega.nets.likelihood import LikelihoodName
from bottega.nets.likelihood import likelihood as likelihood_of

__all__ = ["HVAE"]


class _Group(nn.Module):
    """Code numbers at every place of one size: ``z = mean(s) + scale(s) * e`` with ``s`` the state from above, ``e ~ N(0, I)``.

    The posterior speaks of ``e``, which is the same as a posterior relative to the prior (Vahdat & Kautz 2020,
    arXiv:2007.03898, section 3.2): where it says nothing, mean 0 and log-variance 0, the code is the prior's.
    """

    def __init__(self, width: int, maps: int, context: int) -> None:
        super().__init__()
        self.prior = nn.Conv2d(width, 2 * maps, 3, padding=1)
        self.posterior = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 2 * maps, 3, padding=1)
        )
        self.enter = nn.Conv2d(maps, width, 1)
        self.block = ResBlock(width, context)
        with torch.no_grad():
            for last in (self.prior, self.posterior[2]):
                last.weight.mul_(0.1)

    def ask(self, state: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of ``q(e | x)``, each ``(B, maps, h, w)``."""
        mean, log_var = self.posterior(torch.cat([F.silu(state), F.silu(seen)], 1)).float().chunk(2, 1)
        return mean, 8 * torch.tanh(log_var / 8)

    def forward(self, state: Tensor, e: Tensor, context: Tensor) -> Tensor:
        """The state with the code ``e`` in it, ``(B, width, h, w)``."""
        mean, log_scale = self.prior(F.silu(state)).float().chunk(2, 1)
        z = mean + (5 * torch.tanh(log_scale / 5)).exp() * e
        return self.block(state + self.enter(z), context)


class HVAE(Family):
    """Maximises ``E_q log p(x|z) - sum_l KL(q(z_l | z_<l, x) || p(z_l | z_<l))`` over groups of codes, coarse to fine.

    A ladder with top-down inference: the encoder goes up once, then prior and posterior come down together and share
    the state that earlier groups left (Sønderby et al. 2016, arXiv:1602.02282; Child 2020, arXiv:2011.10650). The first
    group is one vector for the whole picture, with a standard normal prior; it also enters every later block. After it
    come ``depth`` groups of maps at each size that the picture passes through.

    Codes are kept as ``e``, the number by which a group differs from its prior, in units of the prior's scale. So a code
    is one vector whose prior is ``N(0, I)``, and mixing two codes means the same in every group.

    Args:
        spec: real pictures or pictures of ordered levels.
        size: the dial: channels at the largest size, twice as many at all smaller ones.
        latent: numbers in the vector on top; 0 means ``size``.
        maps: code numbers at each place, in each group.
        depth: groups at each size, each with a residual block; as many blocks go up.
        likelihood: as for ``vae``.
        sigma: standard deviation of the Gaussian; 0 learns it.
        beta: weight of the KL in the loss; ``log_prob`` always takes 1.
        warmup: steps over which that weight rises from 0, so that codes are in use before they cost (section 2.3 of the
            ladder paper).
        drop: how often ``cond`` is hidden in training.

    Raises:
        SpecError: not pictures, or names in no order.
        RecipeError: the likelihood does not fit the examples, or a number is out of range.
    """

    bound: Bound = "lower"
    variants: ClassVar[dict[str, dict[str, Any]]] = {"deep": {"depth": 2, "warmup": 10, "maps": 2, "beta": 2.0}}

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        latent: int = 0,
        maps: int = 4,
        depth: int = 1,
        likelihood: LikelihoodName = "auto",
        sigma: float = 0.0,
        beta: float = 1.0,
        warmup: int = 0,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if min(sigma, beta, warmup) < 0:
            raise RecipeError(f"family.sigma, beta, warmup are {sigma}, {beta}, {warmup}; none may be negative")
        if min(size, maps, depth) < 1 or latent < 0:
            raise RecipeError(
                f"family.size, maps, depth, latent are {size}, {maps}, {depth}, {latent}; at least 1, 1, 1 and 0"
            )
        check_drop(drop)
        self.beta, self.warmup, self.drop = beta, warmup, drop
        self.likelihood = likelihood_of(spec, likelihood, sigma)
        channels, height, wide = spec.shape
        sizes = levels(height, wide)
        widths = [size] + [2 * size] * (len(sizes) - 1)
        top = latent or size
        known = size if spec.cond else 0
        self.known = Condition(spec.cond, known)
        self.patch = 1 if sizes[0] == (height, wide) else 2
        self.stem = nn.Conv2d(channels, size, 3, stride=self.patch, padding=1)
        self.rise = nn.ModuleList(nn.ModuleList(ResBlock(w, known) for _ in range(depth)) for w in widths)
        steps = list(zip(widths, widths[1:], strict=False))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in steps)
        grid = widths[-1] * sizes[-1][0] * sizes[-1][1]
        self.summary = nn.Linear(grid, 2 * top)
        self.summary.readout = True  # type: ignore[assignment]
        context = top + known
        self.first = nn.Linear(context, grid)
        self.fall = nn.ModuleList(nn.ModuleList(_Group(w, maps, context) for _ in range(depth)) for w in widths)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in steps)
        self.norm = nn.GroupNorm(math.gcd(size, max(1, size // 8)), size)
        self.last = nn.Conv2d(size, self.likelihood.channels * channels * self.patch**2, 3, padding=1)
        self.sizes = sizes
        self.shapes = [torch.Size((top,))]  # of each group's code, in the order in which they are drawn
        self.shapes += [torch.Size((maps, *at)) for at in reversed(sizes) for _ in range(depth)]
        self.latent = Spec((sum(shape.numel() for shape in self.shapes),))
        self.register_buffer("heat", torch.tensor(0.0 if warmup else 1.0))

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures of real numbers or ordered levels."""
        if not spec.is_image:
            return "it needs pictures (channels, height, width); use family vae for points and tables"
        if spec.is_tokens and not spec.ordinal:
            return "its levels are names in no order; use family pixelcnn or gpt"
        return no_picture(spec)

    def settle(self, step: int) -> None:
        """Raise the weight of the KL."""
        if self.warmup:
            self.heat.fill_(min(1.0, (step + 1) / self.warmup))

    def _rise(self, x: Tensor, h: Tensor) -> list[Tensor]:
        """What is seen at each size, largest first."""
        y, seen = self.stem(self.spec.as_real(x)), []
        for i, blocks in enumerate(self.rise):
            for block in blocks:
                y = block(y, h)
            seen.append(y)
            if i < len(self.down):
                y = self.down[i](y)
        return seen

    def _fall(self, h: Tensor, code: Callable[[_Group | None, Tensor, int], Tensor]) -> Tensor:
        """Down through all groups, ``code(group, state, size)`` giving the code of each: ``(B, channels, C, H, W)``."""
        top = code(None, h, len(self.sizes) - 1)
        context = torch.cat([top, h], 1)
        state = self.first(context).unflatten(1, (-1, *self.sizes[-1]))
        for i in reversed(range(len(self.sizes))):
            for group in self.fall[i]:
                state = group(state, code(group, state, i), context)
            if i:
                state = self.up[i - 1](F.interpolate(state, self.sizes[i - 1], mode="nearest"))
        out = F.pixel_shuffle(self.last(F.silu(self.norm(state))), self.patch)
        channels, height, wide = self.spec.shape
        return out[:, :, :height, :wide].unflatten(1, (self.likelihood.channels, channels)).float()

    def _look(self, batch: Batch, h: Tensor) -> Callable[[_Group | None, Tensor, int], tuple[Tensor, Tensor]]:
        """The posterior of each group's code given the picture and the codes above it: mean and log-variance."""
        seen = self._rise(batch.x, h)

        def ask(group: _Group | None, state: Tensor, size: int) -> tuple[Tensor, Tensor]:
            if group is None:
                mean, log_var = self.summary(F.silu(seen[-1]).flatten(1)).float().chunk(2, 1)
                return mean, log_var
            times = len(state) // len(batch)
            return group.ask(state, seen[size].repeat_interleave(times, 0) if times > 1 else seen[size])

        return ask

    def _pass(self, batch: Batch, h: Tensor, rng: Rng, k: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """With ``k`` draws of all codes for each row: ``log p(x | z)``, the KL, ``log p(z) / q(z | x)``; ``(B, k)`` nats."""
        ask, n = self._look(batch, h), len(batch)
        kl, ratio = h.new_zeros(n * k), h.new_zeros(n * k)

        def draw(group: _Group | None, state: Tensor, size: int) -> Tensor:
            nonlocal kl, ratio
            mean, log_var = ask(group, state, size)
            if group is None and k > 1:
                mean, log_var = mean.repeat_interleave(k, 0), log_var.repeat_interleave(k, 0)
            noise = rng.normal(n, k, *mean.shape[1:]).flatten(0, 1)
            e = mean + (0.5 * log_var).exp() * noise
            kl = kl + 0.5 * (mean.square() + log_var.exp() - log_var - 1).flatten(1).sum(1)
            ratio = ratio + 0.5 * (noise.square() - e.square() + log_var).flatten(1).sum(1)
            return e

        out = self._fall(h.repeat_interleave(k, 0) if k > 1 else h, draw)
        likelihood = self.likelihood.log_prob(out, batch.x.repeat_interleave(k, 0) if k > 1 else batch.x)
        return likelihood.view(n, k), kl.view(n, k), ratio.view(n, k)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``rec`` and ``kl`` in nats per example; their sum is minus the ELBO when beta is 1 and the warm-up is over."""
        forget = rng.uniform(len(batch)) < self.drop if self.spec.cond else None
        likelihood, kl, _ = self._pass(batch, self.known(batch.cond, len(batch), forget), rng)
        weight = self.beta * self.heat if self.training else self.beta
        return Terms({"rec": -likelihood[:, 0], "kl": weight * kl[:, 0]})

    @torch.no_grad()
    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """The ELBO with one draw, ``(B,)`` nats: a lower bound in expectation."""
        likelihood, kl, _ = self._pass(batch, self.known(batch.cond, len(batch)), rng)
        return (likelihood - kl)[:, 0]

    @torch.no_grad()
    def rate_distortion(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """The KL of all groups and ``-log p(x | z)``, ``(B,)`` nats each, whatever ``beta``."""
        likelihood, kl, _ = self._pass(batch, self.known(batch.cond, len(batch)), rng)
        return kl[:, 0], -likelihood[:, 0]

    @torch.no_grad()
    def iwae(self, batch: Batch, rng: Rng, k: int = 500) -> Tensor:
        """``E log (1/k) sum_i p(x, z_i) / q(z_i | x)``, ``(B,)`` nats (Burda et al. 2015, arXiv:1509.00519, eq. 8)."""
        h, found = self.known(batch.cond, len(batch)), []
        for first in range(0, k, 10):  # what a row draws does not depend on how many rows there are
            likelihood, _, ratio = self._pass(batch, h, rng, min(10, k - first))
            found.append(likelihood + ratio)
        return torch.cat(found, 1).logsumexp(1) - math.log(k)

    def encode(self, batch: Batch) -> Tensor:
        """The posterior means of all groups, coarse to fine, each given the means above it: ``(B, latent)``."""
        h = self.known(batch.cond, len(batch))
        ask, codes = self._look(batch, h), []

        def mean(group: _Group | None, state: Tensor, size: int) -> Tensor:
            codes.append(ask(group, state, size)[0])
            return codes[-1]

        self._fall(h, mean)
        return torch.cat([code.flatten(1) for code in codes], 1)

    def _decode(self, z: Tensor, h: Tensor) -> Tensor:
        parts = iter(z.split([shape.numel() for shape in self.shapes], 1))
        shapes = iter(self.shapes)
        return self._fall(h, lambda *_: next(parts).unflatten(1, next(shapes)))

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The mean of ``p(x | z, c)``, rounded to levels: ``(B, latent) -> (B, *spec.shape)``."""
        return finish(self.spec, self.likelihood.mean(self._decode(z, self.known(cond, len(z)))))

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, mean: bool = False
    ) -> Tensor:
        """Draws of all codes from their priors, then of ``x`` given them.

        ``temperature`` multiplies the priors' standard deviations; ``mean`` takes the mean of ``p(x | z)`` for a draw.
        """
        z = temperature * rng.normal(n, *self.latent.shape)
        if mean:
            return self.decode(z, cond)
        return self.likelihood.draw(self._decode(z, self.known(cond, n)), rng)

    @torch.no_grad()
    def active_units(self, batch: Batch) -> Tensor:
        """Which code numbers are in use, ``(latent,)`` bool: their posterior mean varies by more than 0.01 over the batch."""
        return self.encode(batch).var(0) > 0.01
