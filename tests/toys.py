"""Small whole families that keep the contract: the suite is proved on them, and the mutants are made from them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bottega.core import Batch, Family, Rng, Spec, Terms, Turn
from bottega.nets.condition import Condition
from bottega.nets.mlp import MLP

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class _OnReals(Family):
    @classmethod
    def accepts(cls, spec: Spec) -> str:
        return "" if not spec.is_tokens else "it models real numbers only; use a codec that gives real numbers"


class ToyVAE(_OnReals):
    """A Gaussian VAE."""

    bound = "lower"

    def __init__(self, spec: Spec, *, size: int = 8, latent: int = 2) -> None:
        super().__init__(spec)
        self.latent = Spec((latent,))
        self.known = Condition(spec.cond, size)
        self.encoder = MLP(spec.dims + size, 2 * latent, (size,))
        self.decoder = MLP(latent + size, spec.dims, (size,))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        known = self.known(batch.cond, len(batch))
        return self.encoder(torch.cat([batch.x.flatten(1), known], 1)).chunk(2, 1)

    def parts(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        mean, log_std = self.posterior(batch)
        z = mean + log_std.exp() * rng.normal(*mean.shape)
        out = self._decode(z, batch.cond)
        nll = 0.5 * ((batch.x.flatten(1) - out) / self.log_scale.exp()) ** 2 + self.log_scale + HALF_LOG_2PI
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std
        return nll.sum(1), kl.sum(1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        nll, kl = self.parts(batch, rng)
        return Terms({"reconstruction": nll, "kl": kl})

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        return -sum(self.parts(batch, rng))

    def _decode(self, z: Tensor, cond: Tensor | None) -> Tensor:
        return self.decoder(torch.cat([z, self.known(cond, len(z))], 1))

    def encode(self, batch: Batch) -> Tensor:
        return self.posterior(batch)[0]

    def represent(self, batch: Batch) -> Tensor:
        return self.encode(batch)

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self._decode(z, cond).view(len(z), *self.spec.shape)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        x = self._decode(rng.normal(n, *self.latent.shape), cond)
        return (x + self.log_scale.exp() * rng.normal(*x.shape)).view(n, *self.spec.shape)


class ToyGAN(_OnReals):
    """A non-saturating GAN: two players."""

    def __init__(self, spec: Spec, *, size: int = 8, noise: int = 2) -> None:
        super().__init__(spec)
        self.noise = noise
        self.generator = nn.ModuleDict(
            {"known": Condition(spec.cond, size), "net": MLP(noise + size, spec.dims, (size,))}
        )
        self.critic = nn.ModuleDict({"known": Condition(spec.cond, size), "net": MLP(spec.dims + size, 1, (size,))})

    def turns(self) -> tuple[Turn, ...]:
        return Turn("critic", self.critic_loss), Turn("generator", self.loss)

    def fake(self, n: int, rng: Rng, cond: Tensor | None) -> Tensor:
        z = torch.cat([rng.normal(n, self.noise), self.generator["known"](cond, n)], 1)
        return self.generator["net"](z)

    def judged(self, x: Tensor, cond: Tensor | None) -> Tensor:
        return self.critic["net"](torch.cat([x.flatten(1), self.critic["known"](cond, len(x))], 1))[:, 0]

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        fake = self.fake(len(batch), rng, batch.cond)
        real = F.softplus(-self.judged(batch.x, batch.cond))
        return Terms({"real": real, "fake": F.softplus(self.judged(fake, batch.cond))})

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        return Terms({"fool": F.softplus(-self.judged(self.fake(len(batch), rng, batch.cond), batch.cond))})

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        return self.fake(n, rng, cond).view(n, *self.spec.shape)


class ToyFlow(_OnReals):
    """One affine map of a standard normal, whose density is known: z = x exp(s) L + b."""

    bound = "exact"

    def __init__(self, spec: Spec, *, size: int = 8) -> None:
        super().__init__(spec)
        self.latent = Spec((spec.dims,))
        self.known = Condition(spec.cond, spec.dims)
        self.shift = nn.Parameter(torch.zeros(spec.dims))
        self.log_scale = nn.Parameter(torch.zeros(spec.dims))
        self.mix = nn.Parameter(torch.zeros(spec.dims, spec.dims))

    def matrix(self) -> Tensor:
        return torch.eye(self.spec.dims) + self.mix.triu(1)

    def encode(self, batch: Batch) -> Tensor:
        x = batch.x.flatten(1) * self.log_scale.exp()
        return x @ self.matrix().to(x) + self.shift + self.known(batch.cond, len(batch))

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        z = z - self.shift - self.known(cond, len(z))
        return (z @ self.matrix().to(z).inverse() * (-self.log_scale).exp()).view(len(z), *self.spec.shape)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        z = self.encode(batch)
        return (-0.5 * z**2 - HALF_LOG_2PI).sum(1) + self.log_scale.sum()

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        return Terms({"nll": -self.log_prob(batch, rng)})

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        return self.decode(rng.normal(n, self.spec.dims), cond)


class ToyTranslator(ToyFlow):
    """The same flow, which says a row in another class by reading it in its own and writing it in that one."""

    @torch.no_grad()
    def translate(self, batch: Batch, cond: Tensor, rng: Rng) -> Tensor:
        made = self.decode(self.encode(batch), cond)
        return made if batch.cond is None else torch.where((batch.cond == cond)[:, None], batch.x, made)


class ToyChar(Family):
    """A model of the next letter from all before it, by position."""

    bound = "exact"
    reads_given = True

    def __init__(self, spec: Spec, *, size: int = 8) -> None:
        super().__init__(spec)
        self.known = Condition(spec.cond, size)
        self.letters = nn.Embedding(spec.vocab, size)
        self.places = nn.Parameter(torch.randn(spec.dims, size))
        self.head = nn.Linear(size, spec.vocab)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        return "" if spec.is_sequence and not spec.blocks else "it models plain sequences; use a codec that gives them"

    def logits(self, x: Tensor, cond: Tensor | None) -> Tensor:
        before = (self.letters(x) * (1 + self.places)).cumsum(1)
        before = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], 1)
        return self.head(torch.tanh(before + self.places + self.known(cond, len(x))[:, None]))

    def nll(self, batch: Batch) -> Tensor:
        each = F.cross_entropy(self.logits(batch.x, batch.cond).transpose(1, 2), batch.x, reduction="none")
        return each.sum(1) if batch.mask is None else (each * batch.mask).sum(1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        weight = None if batch.mask is None else batch.mask.sum(1).to(torch.get_default_dtype())
        return Terms({"nll": self.nll(batch)}, weight)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        return -self.nll(batch)

    def filled(self, x: Tensor, keep: Tensor, rng: Rng, cond: Tensor | None):
        for t in range(self.spec.dims):
            new = rng.categorical(self.logits(x, cond)[:, t])
            x = x.clone()
            x[:, t] = torch.where(keep[:, t], x[:, t], new)
            yield x[:, t : t + 1]

    @torch.no_grad()
    def stream(self, n: int, rng: Rng, cond: Tensor | None = None):
        yield from self.filled(torch.zeros(n, self.spec.dims).long(), torch.zeros(n, self.spec.dims).bool(), rng, cond)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        return torch.cat(list(self.stream(n, rng, cond)), 1)

    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng) -> Tensor:
        return torch.cat(list(self.filled(batch.x, keep.expand_as(batch.x), rng, batch.cond)), 1)


TOYS = (ToyVAE, ToyGAN, ToyTranslator, ToyFlow, ToyChar)


class ToyRestorer(Family):
    """The given picture enlarged, times a gain and plus a bias for each channel, plus a little noise."""

    def __init__(self, spec: Spec, *, size: int = 8, noise: float = 0.0) -> None:
        super().__init__(spec)
        self.noise = noise
        self.gain = nn.Parameter(torch.full((spec.shape[0], 1, 1), 0.05))  # tenths: quickly learned
        self.bias = nn.Parameter(torch.zeros(spec.shape[0], 1, 1))

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        fits = spec.is_image and not spec.is_tokens and spec.given_picture
        return "" if fits else "it makes real pictures of pictures; set codec.degrade or codec.cond = 'picture'"

    def made(self, cond: Tensor | None, n: int) -> Tensor:
        if cond is None:
            return torch.zeros(n, *self.spec.shape) + self.bias
        cond = F.interpolate(cond, size=self.spec.shape[1:], mode="bilinear", align_corners=False)
        if cond.shape[1] != self.spec.shape[0]:
            cond = cond[:, :1].expand(-1, self.spec.shape[0], -1, -1)
        return 10 * self.gain * cond + self.bias

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        made = self.made(batch.cond, len(batch))
        return Terms({"error": (made - batch.x).square().flatten(1).sum(1)})

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None) -> Tensor:
        return self.made(cond, n) + self.noise * rng.normal(n, *self.spec.shape)
