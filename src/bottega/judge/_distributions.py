"""Four distributions, each with fit, draw and log-probability, and the closed forms of entropy and KL."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from scipy.stats import poisson
from torch import Tensor

from bottega.core import Rng

__all__ = ["Bernoulli", "Multinomial", "Normal", "Poisson"]


@dataclass(frozen=True)
class Normal:
    """Multivariate normal. ``mean`` is ``(D,)``, ``cov`` ``(D, D)`` positive definite; nats are of a density.

    >>> one = Normal(torch.zeros(1), torch.eye(1))
    >>> round(one.log_prob(torch.zeros(1, 1)).item(), 4), round(one.entropy(), 4)
    (-0.9189, 1.4189)
    """

    mean: Tensor
    cov: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Maximum likelihood from rows ``(N, D)``."""
        mean = x.double().mean(0)
        return cls(mean, (x.double() - mean).T @ (x.double() - mean) / len(x))

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``(n, D)``, float64."""
        return self.mean + rng.normal(n, len(self.mean)).double() @ torch.linalg.cholesky(self.cov.double()).T

    def log_prob(self, x: Tensor) -> Tensor:
        """``(N, D) -> (N,)`` nats."""
        root = torch.linalg.cholesky(self.cov.double())
        z = torch.linalg.solve_triangular(root, (x.double() - self.mean).T, upper=False)
        return -0.5 * (z.square().sum(0) + len(self.mean) * math.log(math.tau)) - root.diagonal().log().sum()

    def entropy(self) -> float:
        """Nats."""
        return 0.5 * (torch.logdet(self.cov.double()).item() + len(self.mean) * math.log(math.tau * math.e))

    def kl(self, other: Normal) -> float:
        """``KL(self || other)``, nats."""
        inverse = torch.linalg.inv(other.cov.double())
        gap = (other.mean - self.mean).double()
        logs = torch.logdet(other.cov.double()) - torch.logdet(self.cov.double())
        return 0.5 * ((inverse @ self.cov.double()).trace() + gap @ inverse @ gap - len(gap) + logs).item()


@dataclass(frozen=True)
class Bernoulli:
    """A coin that says 1 with probability ``p``."""

    p: float

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Maximum likelihood from zeros and ones ``(N,)``."""
        return cls(x.double().mean().item())

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``(n,)`` int64."""
        return (rng.uniform(n) < self.p).long()

    def log_prob(self, x: Tensor) -> Tensor:
        """``(N,) -> (N,)`` nats."""
        p = torch.tensor(self.p, dtype=torch.float64)
        return torch.where(x == 1, p.log(), (1 - p).log())

    def entropy(self) -> float:
        """Nats."""
        return Multinomial(1, torch.tensor([self.p, 1 - self.p])).entropy()

    def kl(self, other: Bernoulli) -> float:
        """``KL(self || other)``, nats."""
        return Multinomial(1, torch.tensor([self.p, 1 - self.p], dtype=torch.float64)).kl(
            Multinomial(1, torch.tensor([other.p, 1 - other.p], dtype=torch.float64))
        )


@dataclass(frozen=True)
class Multinomial:
    """Counts of K outcomes in ``trials`` independent draws with probabilities ``p`` ``(K,)``; one trial: categorical."""

    trials: int
    p: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Maximum likelihood from counts ``(N, K)`` whose rows have one sum."""
        return cls(int(x[0].sum()), x.double().sum(0) / x.sum())

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``(n, K)`` int64 counts."""
        k = len(self.p)
        drawn = rng.categorical(self.p.log().expand(n, self.trials, k))
        return torch.nn.functional.one_hot(drawn, k).sum(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """``(N, K) -> (N,)`` nats."""
        x = x.double()
        ways = math.lgamma(self.trials + 1) - torch.lgamma(x + 1).sum(-1)
        return ways + torch.xlogy(x, self.p.double()).sum(-1)

    def entropy(self) -> float:
        """Nats; of one trial only (many trials have no short closed form)."""
        if self.trials != 1:
            raise ValueError(f"entropy of {self.trials} trials has no short closed form; take 1 trial")
        return -torch.xlogy(self.p, self.p).sum().item()

    def kl(self, other: Multinomial) -> float:
        """``KL(self || other)`` for the same number of trials, nats."""
        if self.trials != other.trials:
            raise ValueError(f"{self.trials} trials cannot be held against {other.trials}; take the same number")
        p, q = self.p.double(), other.p.double()
        return self.trials * (torch.xlogy(p, p) - torch.xlogy(p, q)).sum().item()


@dataclass(frozen=True)
class Poisson:
    """Counts of rare events, ``rate`` on average."""

    rate: float

    @classmethod
    def fit(cls, x: Tensor) -> Self:
        """Maximum likelihood from counts ``(N,)``."""
        return cls(x.double().mean().item())

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``(n,)`` int64, by the inverse of the distribution function."""
        return torch.from_numpy(poisson.ppf(rng.uniform(n).double().cpu().numpy(), self.rate)).clamp_min(0).long()

    def log_prob(self, x: Tensor) -> Tensor:
        """``(N,) -> (N,)`` nats."""
        x = x.double()
        return torch.xlogy(x, torch.tensor(self.rate, dtype=torch.float64)) - self.rate - torch.lgamma(x + 1)

    def entropy(self) -> float:
        """Nats, summed over all counts that matter."""
        counts = torch.arange(int(self.rate + 40 * math.sqrt(self.rate) + 40))
        logs = self.log_prob(counts)
        return -(logs.exp() * logs).sum().item()

    def kl(self, other: Poisson) -> float:
        """``KL(self || other)``, nats."""
        return self.rate * math.log(self.rate / other.rate) - self.rate + other.rate
