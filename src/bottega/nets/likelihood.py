"""What a decoder's numbers say of an example: Gaussian, Bernoulli and discretised logistic, scored and drawn from."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import RecipeError, Rng, Spec
from bottega.nets.bodies import choices

__all__ = ["Likelihood", "LikelihoodName", "likelihood", "log_logistic_mass"]

LikelihoodName = Literal["auto", "gaussian", "bernoulli", "logistic"]


class Likelihood(nn.Module):
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

    def log_masses(self, out: Tensor) -> Tensor:
        """Of every level of every coordinate, ``(B, *shape, vocab)`` nats; only where examples are levels."""
        raise NotImplementedError


class _Gaussian(Likelihood):
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


class _Bernoulli(Likelihood):
    """Two levels; ``out`` is the logit of the upper one."""

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(out[:, 0], x.to(out.dtype), reduction="none").flatten(1).sum(1)

    def mean(self, out: Tensor) -> Tensor:
        return 2 * out[:, 0].sigmoid() - 1

    def draw(self, out: Tensor, rng: Rng) -> Tensor:
        return rng.bernoulli(out[:, 0].sigmoid()).long()

    def log_masses(self, out: Tensor) -> Tensor:
        return torch.stack([F.logsigmoid(-out[:, 0]), F.logsigmoid(out[:, 0])], -1)


class _Logistic(Likelihood):
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

    def log_masses(self, out: Tensor) -> Tensor:
        mean, log_scale = self._split(out[..., None])
        return log_logistic_mass(torch.arange(self.spec.vocab, device=out.device), mean, log_scale, self.spec.vocab)


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


def likelihood(spec: Spec, name: str = "auto", sigma: float = 0.0) -> Likelihood:
    """What a decoder's numbers mean: ``"gaussian"`` for reals, ``"bernoulli"`` for two levels, ``"logistic"`` for levels.

    Args:
        spec: of the examples.
        name: one of the three; ``"auto"`` takes the one that fits.
        sigma: standard deviation of the Gaussian; 0 learns it.

    Raises:
        RecipeError: unknown, or it does not fit the examples.
    """
    fits = "gaussian" if not spec.is_tokens else "bernoulli" if spec.vocab == 2 else "logistic"
    name = fits if name == "auto" else name
    if name == "gaussian" and not spec.is_tokens:
        return _Gaussian(spec, sigma)
    if name == "bernoulli" and spec.vocab == 2:
        return _Bernoulli(spec)
    if name == "logistic" and spec.is_tokens:
        return _Logistic(spec)
    raise RecipeError(f"family.likelihood is {name!r}, which does not fit {spec}; use {fits!r} or 'auto'")
