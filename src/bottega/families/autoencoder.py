"""Autoencoder: a short code from which an example can be made again; plain or denoising."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.bodies import decoder, encoder, finish
from bottega.nets.condition import Condition, check_drop, no_picture

__all__ = ["Autoencoder"]


class Autoencoder(Family):
    """Squared error through a narrow code (Hinton & Salakhutdinov 2006), with noise on the way in if asked for.

    ``min |D(E(x + noise * e)) - x|^2`` summed over coordinates, ``e ~ N(0, I)`` (Vincent et al. 2008: a denoising
    autoencoder). Ordered levels and tables are treated as real numbers and rounded on the way out.

    An autoencoder alone cannot invent. As in ex-post density estimation (Ghosh et al. 2020, arXiv:1903.12436, section 4) a
    Gaussian with full covariance, its mean and covariance a function of ``cond``, is fitted to the codes by maximum
    likelihood. It is one more term of the loss (``prior``, nats per code) over detached codes: it changes nothing in
    encoder or decoder, and is trained, averaged and resumed as they are. ``sample`` decodes draws from it.

    Args:
        spec: real examples, ordered levels, or table rows as real numbers.
        size: the dial: channels at the largest size of a picture, or a quarter of the hidden width of vectors.
        latent: numbers in a code; 0 means a quarter of the example's, at least 2 and at most ``size``.
        depth: residual blocks at each size of a picture, or hidden layers less one.
        noise: standard deviation of the noise added to what is read while training; 0 for a plain autoencoder.
        drop: how often ``cond`` is hidden from the fit of the codes, so that ``sample`` without ``cond`` works too.

    Raises:
        SpecError: examples are names in no order (letters, classes).
        RecipeError: a number is out of range.
    """

    aside: ClassVar[frozenset[str]] = frozenset({"prior"})
    variants: ClassVar[dict[str, dict[str, Any]]] = {"denoising": {"noise": 0.3}}

    def __init__(
        self, spec: Spec, *, size: int = 32, latent: int = 0, depth: int = 1, noise: float = 0.0, drop: float = 0.1
    ) -> None:
        super().__init__(spec)
        if noise < 0:
            raise RecipeError(f"family.noise is {noise}; it is a standard deviation in [-1, 1] units, 0 or more")
        if size < 1 or min(latent, depth) < 0:
            raise RecipeError(f"family.size, latent, depth are {size}, {latent}, {depth}; at least 1, 0 and 0")
        check_drop(drop)
        width = latent or min(size, max(2, spec.dims // 4))
        self.noise, self.drop, self.latent = noise, drop, Spec((width,))
        self.encoder = encoder(spec, size, width, depth=depth)
        self.decoder = decoder(spec, size, width, depth=depth)
        known = size if spec.cond else 0
        self.known = Condition(spec.cond, known)
        self.prior = CodeGaussian(width, known)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Anything real or ordered."""
        if spec.is_tokens and not spec.ordinal:
            return "its tokens have no order, so a squared error between them means nothing; use family gpt"
        return no_picture(spec)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``rec``: squared error summed over coordinates; ``prior``: -log density of the code, nats."""
        x = self.spec.as_real(batch.x)
        z = self.encoder(x + self.noise * rng.normal(*x.shape) if self.noise else x).float()
        error = (self.decoder(z)[:, 0].float() - x).square().flatten(1).sum(1)
        forget = None if self.spec.cond is None else rng.uniform(len(x)) < self.drop
        h = self.known(batch.cond, len(x), forget).float()
        return Terms({"rec": error, "prior": -self.prior.log_prob(z.detach(), h)})

    def encode(self, batch: Batch) -> Tensor:
        """``(B, latent)``."""
        return self.encoder(self.spec.as_real(batch.x)).float()

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, latent) -> (B, *spec.shape)``; the code holds everything, ``cond`` adds nothing."""
        return finish(self.spec, self.decoder(z)[:, 0].float())

    def reconstruct(self, batch: Batch) -> Tensor:
        """``(B, *spec.shape)``: through the code and back; of noisy pictures, the denoised ones."""
        return self.decode(self.encode(batch))

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """Decoded draws from the Gaussian of the codes; ``temperature`` multiplies its standard deviation."""
        draw = temperature * rng.normal(n, *self.latent.shape)
        return self.decode(self.prior.invert(draw, self.known(cond, n)))


class CodeGaussian(nn.Module):
    """A full-covariance Gaussian whose parameters are a linear function of ``h``: an affine flow ``w = U z + b``.

    ``log p(z | h) = log |det U| - |w|^2 / 2 - (L/2) log 2 pi`` with ``U`` lower triangular, its diagonal an exponential.
    In ``(U, b)`` all parameters are of order one whatever the scale of the codes.

    Args:
        width: L, numbers in a code.
        context: width of ``h``; 0 for none.
    """

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.width = width
        self.free = nn.Parameter(torch.zeros(width + width * (width + 1) // 2))
        self.given = nn.Linear(context, len(self.free)) if context else None
        if self.given is not None:
            with torch.no_grad():
                self.given.weight.mul_(0.02)
                self.given.bias.zero_()
        rows, columns = torch.tril_indices(width, width)
        self.register_buffer("place", rows * width + columns, persistent=False)

    def _affine(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        free = self.free.expand(len(h), -1)
        if self.given is not None:
            free = free + self.given(h).float()
        free = 10 * free  # Adam's steps have one size, and the scale of the codes moves faster than that
        b, lower = free[:, : self.width], free[:, self.width :]
        square = lower.new_zeros(len(h), self.width**2).index_copy(1, self.place, lower)
        square = square.view(-1, self.width, self.width)
        log_diagonal = square.diagonal(dim1=1, dim2=2)
        return torch.tril(square, -1) + torch.diag_embed(log_diagonal.exp()), b, log_diagonal.sum(1)

    def log_prob(self, z: Tensor, h: Tensor) -> Tensor:
        """``(B, L), (B, context) -> (B,)`` nats."""
        with torch.autocast(z.device.type, enabled=False):
            u, b, log_det = self._affine(h)
            w = (u @ z[:, :, None])[:, :, 0] + b
            return log_det - 0.5 * (w.square() + math.log(2 * math.pi)).sum(1)

    def invert(self, w: Tensor, h: Tensor) -> Tensor:
        """The code whose whitened form is ``w``: ``(B, L), (B, context) -> (B, L)``."""
        u, b, _ = self._affine(h)
        return torch.linalg.solve_triangular(u, (w - b)[:, :, None], upper=False)[:, :, 0]
