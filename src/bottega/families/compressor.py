"""Compressor: pictures of any size as whole numbers that an entropy coder makes short, at a chosen loss."""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.conv import GridDecoder, GridEncoder

__all__ = ["Compressor"]

_MIXED = 3  # logistics in the prior of each map
_STEP = 10.0  # Adam's steps have one size, and the codes move faster than that
_REACH = 255  # whole numbers run from -255 to 255


class Compressor(Family):
    """``rate + distortion``: nats of the rounded code plus nats of the picture given it (Ballé et al. 2016, arXiv:1611.01704).

    The encoder gives ``maps`` numbers for each cell of ``2^halvings`` pixels, which are rounded. Training adds noise from
    U(-1/2, 1/2) in place of rounding, so the loss is minus the ELBO of a VAE whose posterior is that box: the rate is
    ``-log p(code)`` under a prior that is a mixture of logistics for each map, the same at every place, and the distortion
    is ``-log N(x; decoded, sigma^2)``. Files of ``bottega compress`` hold the rounded codes at the rate of that prior.

    Everything is convolutions and linear maps of cells, without normalisation, so what was learned on small pictures serves
    pictures of any size.

    Args:
        spec: real pictures.
        size: the dial: channels at half the picture's size, twice as many at all smaller ones.
        maps: numbers for each cell; 0 means ``size``. Those that the rate does not pay for stay at zero and cost nothing.
        halvings: how often height and width are halved.
        depth: residual blocks at each size.
        sigma: the error of one channel of one pixel that is worth half a nat, in [-1, 1] units: the dial between rate and
            distortion. 0.05 is about 6 of 255 grey levels.
        drop: how often ``cond`` is hidden from the prior in training.
        dct: beside the networks, a linear analysis and synthesis of each cell, which begin as the discrete cosine transform
            (Ahmed et al. 1974; that of JPEG) in steps that fit ``sigma``; the networks begin by adding nothing. Files become
            several times as short after minutes of training. Without it codes are the networks' alone.

    Raises:
        SpecError: not pictures of real numbers.
        RecipeError: a number is out of range.
    """

    bound: Bound = "lower"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "coarse": {"sigma": 0.3, "maps": 3, "halvings": 2, "depth": 2},
        "plain": {"dct": False},
    }

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        maps: int = 0,
        halvings: int = 3,
        depth: int = 1,
        sigma: float = 0.05,
        drop: float = 0.1,
        dct: bool = True,
    ) -> None:
        super().__init__(spec)
        if min(size, halvings, depth) < 1 or maps < 0:
            raise RecipeError(
                f"family.size, halvings, depth, maps are {size}, {halvings}, {depth}, {maps}; at least 1, 1, 1 and 0"
            )
        if not sigma > 0:
            raise RecipeError(f"family.sigma is {sigma}; it must be above 0, 0.05 is usual")
        check_drop(drop)
        channels, height, wide = spec.shape
        maps = maps or size
        self.sigma, self.drop = sigma, drop
        self.cell = 2**halvings  # pixels to each side of a cell
        self.reach = 3 * (2 * depth + 1)  # no number depends on what lies further away, in cells
        self.encoder = GridEncoder(channels, size, maps, halvings, depth, norm=False)
        self.decoder = GridDecoder(channels, size, maps, halvings, depth, norm=False)
        self.analysis = self.synthesis = None
        with torch.no_grad():
            if dct:
                waves = _dct(channels, self.cell, maps)
                step = sigma * math.sqrt(12)  # of a rounded coefficient: where its rate and its error balance
                self.analysis = nn.Parameter((waves / step)[:, :, None, None])
                self.synthesis = nn.Parameter((waves.T * step)[:, :, None, None])
                for last in (self.encoder.last, self.decoder.last):  # the networks begin by adding nothing
                    last.weight.zero_()
                    last.bias.zero_()
            else:
                self.encoder.last.weight.mul_(5)  # codes begin wider than the noise, or nothing gets through it
        self.latent = Spec((maps, -(-height // 2**halvings), -(-wide // 2**halvings)))
        self.weight = nn.Parameter(torch.zeros(maps, _MIXED))
        self.centre = nn.Parameter(torch.linspace(-1, 1, _MIXED).repeat(maps, 1) / _STEP)
        self.log_scale = nn.Parameter(torch.zeros(maps, _MIXED))
        known = size if spec.cond else 0
        self.known = Condition(spec.cond, known)
        self.given = nn.Linear(known, maps) if known else None

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Pictures of real numbers."""
        if not spec.is_image:
            return "it needs pictures (channels, height, width); use family autoencoder for points and tables"
        if spec.is_tokens:
            return "it needs real numbers, not levels; leave codec.levels at 0 (for exact levels use family vae)"
        return no_picture(spec)

    def _prior(self, h: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, centres and scales of the logistics, each ``(1 or B, maps, mixed)``."""
        centre = _STEP * self.centre[None]
        if self.given is not None and h is not None:
            centre = centre + self.given(h)[:, :, None]
        return (_STEP * self.weight[None]).log_softmax(2), centre, (_STEP * self.log_scale[None]).clamp(-6, 6).exp()

    def _log_mass(self, z: Tensor, h: Tensor | None) -> Tensor:
        """``log P(z - 1/2 < Z < z + 1/2)`` under the prior: ``(B, maps, ...) -> `` the same, nats.

        Of a whole number this is the mass that it is coded with; of a noisy one, the density of code plus noise.
        """
        weight, centre, scale = (t.view(*t.shape, *[1] * (z.ndim - 2)) for t in self._prior(h))
        upper, lower = (z[:, :, None] + 0.5 - centre) / scale, (z[:, :, None] - 0.5 - centre) / scale
        # log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)), exact in both tails
        mass = F.logsigmoid(upper) + F.logsigmoid(-lower) + (-torch.expm1(-1 / scale)).log()
        return (mass + weight).logsumexp(2)

    def _terms(self, batch: Batch, rng: Rng, drop: float) -> tuple[Tensor, Tensor]:
        """Distortion and rate with noise for rounding, ``(B,)`` nats each."""
        forget = rng.uniform(len(batch)) < drop if drop and self.spec.cond else None
        h = self.known(batch.cond, len(batch), forget)
        z = self._analyse(batch.x)
        z = z + rng.uniform(*z.shape) - 0.5
        error = (self.expand(z) - batch.x).square().flatten(1).sum(1) / (2 * self.sigma**2)
        constant = self.spec.dims * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return error + constant, -self._log_mass(z, h).flatten(1).sum(1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``rate`` and ``distortion``, nats; their sum is minus the ELBO."""
        distortion, rate = self._terms(batch, rng, self.drop)
        return Terms({"distortion": distortion, "rate": rate})

    @torch.no_grad()
    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """The ELBO with one draw, ``(B,)`` nats: a lower bound in expectation."""
        distortion, rate = self._terms(batch, rng, 0.0)
        return -distortion - rate

    @torch.no_grad()
    def rate_distortion(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """Nats of the code and of the picture given it, ``(B,)`` each."""
        distortion, rate = self._terms(batch, rng, 0.0)
        return rate, distortion

    def _analyse(self, x: Tensor) -> Tensor:
        """What is rounded, ``(B, maps, h, w)`` float32: blocks by a linear map, and what a network sees beyond."""
        z = self.encoder(x).float()
        if self.analysis is None:
            return z
        high, wide = (-n % self.cell for n in x.shape[2:])
        whole = F.pad(x, (0, wide, 0, high), mode="replicate")
        return z + F.conv2d(F.pixel_unshuffle(whole, self.cell), self.analysis).float()

    def squeeze(self, x: Tensor) -> Tensor:
        """The code of pictures of any size, rounded: ``(B, C, H, W) -> (B, maps, h, w)``, h = ceil(H / 2^halvings)."""
        return self._analyse(x).round().clamp(-_REACH, _REACH)

    def expand(self, z: Tensor) -> Tensor:
        """``(B, maps, h, w) -> (B, C, H, W)``, cut to the Spec's size where the grid is the Spec's."""
        x = self.decoder(z).float()
        if self.synthesis is not None:
            x = x + F.pixel_shuffle(F.conv2d(z, self.synthesis).float(), self.cell)
        return x[:, :, : self.spec.shape[1], : self.spec.shape[2]] if z.shape[1:] == self.latent.shape else x

    @torch.no_grad()
    def odds(self) -> tuple[int, Tensor]:
        """What whole numbers are coded with: the smallest, and the mass of it and those after it, ``(maps, n)`` float64.

        In float64 from first to last, so that two machines find the same masses.
        """
        exact = copy.deepcopy(self).double()
        z = torch.arange(-_REACH, _REACH + 1, device=self.weight.device, dtype=torch.float64)
        h = exact.known(None, 1) if self.given is not None else None
        return -_REACH, exact._log_mass(z.expand(1, len(self.weight), -1), h)[0].exp()

    def encode(self, batch: Batch) -> Tensor:
        """The rounded code, ``(B, maps, h, w)``."""
        return self.squeeze(batch.x)

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, maps, h, w) -> (B, *spec.shape)``; ``cond`` adds nothing."""
        return self.expand(z)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """Decoded draws from the prior, which knows no neighbours: textures, not things; it is here to compress.

        ``temperature`` multiplies the scale of the prior's logistics.
        """
        maps, height, wide = self.latent.shape
        weight, centre, scale = self._prior(self.known(cond, n) if self.given is not None else None)
        which = rng.categorical(weight[:, :, None, None].expand(n, maps, height, wide, _MIXED))
        u = rng.uniform(n, maps, height, wide).clamp(1e-6, 1 - 1e-6)
        pick = which.flatten(2)
        centre, scale = (t.expand(n, -1, -1).gather(2, pick).view_as(u) for t in (centre, scale))
        return self.expand((centre + temperature * scale * torch.logit(u)).round())


def _dct(channels: int, cell: int, maps: int) -> Tensor:
    """The first ``maps`` rows of an orthonormal DCT-II of cells, ``(maps, channels * cell^2)``, smooth ones first.

    Zeros, where there are more maps than coefficients. Colours as brightness and two differences, which come later (as in
    JPEG); the order of ``pixel_unshuffle``.
    """
    k, n = torch.arange(cell)[:, None], torch.arange(cell)[None]
    wave = torch.cos(math.pi * (n + 0.5) * k / cell) * math.sqrt(2 / cell)
    wave[0] /= math.sqrt(2)
    mix = torch.linalg.qr(torch.cat([torch.ones(channels, 1), torch.eye(channels)[:, : channels - 1]], 1))[0].T
    basis = torch.einsum("ca,iy,jx->cijayx", mix, wave, wave).reshape(-1, channels * cell**2)
    late = torch.arange(channels).clamp_max(1)[:, None, None] * 3 + k[None] + n[None]
    rows = basis[late.flatten().argsort(stable=True)[:maps]]
    return F.pad(rows, (0, 0, 0, maps - len(rows)))
