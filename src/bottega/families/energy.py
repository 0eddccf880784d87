"""Energy-based models: a network says how unlikely an example is, and Langevin chains walk downhill."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.bodies import encoder, finish
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.mlp import MLP
from bottega.nets.replay import Replay
from bottega.samplers.langevin import ais, annealed_langevin, langevin, score_of

__all__ = ["Energy"]

_WAVES = (
    math.pi,
    2 * math.pi,
    4 * math.pi,
)  # a network of x alone learns the ring long before its modes (arXiv:2006.10739)
_FRESH = 0.05  # how many training chains start from noise (Du & Mordatch 2019, section 3.2)
_AIS_DIMS = 8  # up to where annealed importance sampling of the constant is trusted


class Energy(Replay, Family):
    """``p(x) = exp(-E(x)) / Z``, learned by contrastive divergence or by denoising score matching.

    ``"cd"``: lower the energy of examples, raise it where Langevin chains go; the chains live on in a replay buffer and
    5 % of them start from noise (Du & Mordatch 2019, arXiv:1903.08689, algorithm 1; ``nets.replay``).

    ``"dsm"``: learn ``E(x, sigma)`` of examples with noise of every size, by ``-grad E = (clean - noisy) / sigma^2`` in
    the mean (Vincent 2011; Song & Ermon 2019, arXiv:1907.05600), with the scaling of Karras et al. 2022
    (arXiv:2206.00364, table 1); sampled by annealed Langevin. No chain runs in training.

    With two to eight coordinates, no condition and real examples, ``log_prob`` subtracts an estimate of ``log Z`` by
    annealed importance sampling; otherwise there is no honest likelihood and none is offered.

    Args:
        spec: real numbers or ordered levels.
        objective: ``"cd"`` or ``"dsm"``.
        size: base width of the network.
        depth: of the network.
        walk: ``cd``: Langevin steps of a training chain.
        step_size: ``cd``: of a Langevin step, in the units of ``x``.
        noise: ``cd``: square root of the chains' temperature; 1 is exact, pictures want less.
        buffer: ``cd``: chains that are kept.
        tame: ``cd``: weight of ``E^2``, which keeps energies near zero (algorithm 1's alpha).
        sigma_min: ``dsm``: the smallest noise.
        sigma_max: ``dsm``: the largest noise, some times the spread of the data.
        data_std: ``dsm``: standard deviation of one coordinate, roughly.
        drop: how often a row is trained without its condition, so that ``cond=None`` and guidance work, in [0, 1).
    """

    bound: Bound = "estimate"
    doubt = 0.0
    variants: ClassVar[dict[str, dict[str, Any]]] = {"dsm": {"objective": "dsm"}}

    def __init__(
        self, spec: Spec, *, objective: Literal["cd", "dsm"] = "cd", size: int = 32, depth: int = 1, walk: int = 20,
        step_size: float = 0.05, noise: float = 1.0, buffer: int = 4096, tame: float = 0.01, sigma_min: float = 0.02,
        sigma_max: float = 3.0, data_std: float = 0.6, drop: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(spec)
        if objective not in {"cd", "dsm"}:
            raise RecipeError(f"family.objective is {objective!r}; use 'cd' or 'dsm'")
        if min(size, walk, depth) < 1:
            raise RecipeError(f"family.size, depth and walk are {size}, {depth} and {walk}; each must be at least 1")
        if not 0 < sigma_min < sigma_max:
            raise RecipeError(f"family.sigma_min is {sigma_min} and sigma_max {sigma_max}; 0 < sigma_min < sigma_max")
        check_drop(drop)
        if not min(step_size, data_std) > 0 or min(noise, tame) < 0:
            raise RecipeError(
                f"family.step_size, data_std, noise and tame are {step_size}, {data_std}, {noise} and {tame}; "
                "the first two must be above 0, the others at least 0"
            )
        self.objective, self.walk, self.step_size, self.noise, self.tame = objective, walk, step_size, noise, tame
        self.sigma_min, self.sigma_max, self.data_std, self.drop = sigma_min, sigma_max, data_std, drop
        context = size if spec.cond or objective == "dsm" else 0
        self.given = Condition(spec.cond, context)
        self.level = MLP(8, size, (size,)) if objective == "dsm" else None
        seen = spec if spec.is_image else Spec((spec.dims * (1 + 2 * len(_WAVES)),))
        self.body = encoder(seen, size, 1, context=context, depth=depth, norm=False)
        if objective == "dsm":
            for name, p in self.body.named_parameters():
                p.unused = name.endswith("last.bias")  # a constant, which has no gradient
        if objective == "cd":
            start = torch.Generator().manual_seed(0)
            self.keep_chains(2 * torch.rand(buffer, *spec.shape, generator=start) - 1, spec.cond)
        if spec.is_tokens or spec.cond is not None or spec.dims > _AIS_DIMS:
            self.lacks = {"Scores"}

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Real numbers and ordered levels."""
        if spec.is_tokens and not spec.ordinal:
            return "its tokens are names, which have no gradient; use gpt, or diffusion for table rows"
        return no_picture(spec)

    def energy(
        self, x: Tensor, cond: Tensor | None = None, drop: Tensor | None = None, sigma: Tensor | None = None
    ) -> Tensor:
        """``E(x)`` in nats up to a constant, ``(B, *shape) real -> (B,)``; at noise ``sigma`` ``(B,)`` for ``"dsm"``."""
        context = self.given(cond, len(x), drop) if self.spec.cond else None
        if self.level is None:
            return self.body(self._see(x), context)[:, 0].float()
        sigma = x.new_full((len(x),), self.sigma_min) if sigma is None else sigma
        wide = sigma.view(-1, *[1] * (x.ndim - 1))
        scale = (sigma.square() + self.data_std**2).sqrt()
        turns = sigma.log()[:, None] * torch.tensor([0.25, 0.5, 1.0, 2.0], device=x.device)
        heard = self.level(torch.cat([turns.sin(), turns.cos()], 1))
        unit = self._see(x / (wide.square() + self.data_std**2).sqrt())
        net = self.body(unit, heard if context is None else heard + context)
        normal = 0.5 * x.square().flatten(1).sum(1) / scale.square()  # exact where the noise drowns everything
        return normal + (self.data_std / sigma) * net[:, 0].float()

    def _see(self, x: Tensor) -> Tensor:
        """What the network is given: pictures as they are, vectors with waves of each coordinate beside them."""
        if self.spec.is_image:
            return x
        x = x.flatten(1)
        return torch.cat([x, *((wave * x).sin() for wave in _WAVES), *((wave * x).cos() for wave in _WAVES)], 1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Contrast of energies, or the error of the score, weighted so that it is about one for each coordinate."""
        x = self.spec.as_real(batch.x)
        if self.spec.is_tokens:
            x = x + (2 * rng.uniform(*x.shape) - 1) / (self.spec.vocab - 1)  # anywhere in the level's cell
        drop = rng.uniform(len(x)) < self.drop if self.spec.cond else None
        return (self._contrast if self.objective == "cd" else self._match)(x, batch.cond, drop, rng)

    def _contrast(self, x: Tensor, cond: Tensor | None, drop: Tensor | None, rng: Rng) -> Terms:
        slots = self._slots(cond, drop, len(x), rng)
        fresh = (rng.uniform(len(x)) < _FRESH).view(-1, *[1] * (x.ndim - 1))
        start = torch.where(fresh, 2 * rng.uniform(*x.shape) - 1, self.chains[slots])
        score = score_of(lambda y: self.energy(y, cond, drop))
        end = langevin(score, start, self.walk, self.step_size, rng, noise=self.noise, clip=self.step_size)
        if self.training and torch.is_grad_enabled():
            self._walked.append((slots, end))
        up, down = self.energy(x, cond, drop), self.energy(end, cond, drop)
        return Terms({"contrast": up - down, "tame": self.tame * (up.square() + down.square())})

    def _match(self, x: Tensor, cond: Tensor | None, drop: Tensor | None, rng: Rng) -> Terms:
        sigma = self.sigma_min * (self.sigma_max / self.sigma_min) ** rng.uniform(len(x))
        wide = sigma.view(-1, *[1] * (x.ndim - 1))
        noise = rng.normal(*x.shape)
        with torch.enable_grad():
            noisy = (x + wide * noise).requires_grad_()
            energy = self.energy(noisy, cond, drop, sigma)
            (grad,) = torch.autograd.grad(energy.sum(), noisy, create_graph=True)
        error = (wide * grad - noise).square().flatten(1).sum(1)
        weight = (sigma.square() + self.data_std**2) / self.data_std**2  # table 1: one for a network that is zero
        return Terms({"score": 0.5 * weight * error})

    def score(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None, guidance: float = 1.0) -> Tensor:
        """``grad log p`` of examples with noise ``sigma`` ``(B,)`` (not read by ``"cd"``), ``(B, *shape)``."""
        given = score_of(lambda y: self.energy(y, cond, None, sigma))(x)
        if guidance == 1 or cond is None:
            return given
        free = score_of(lambda y: self.energy(y, None, None, sigma))(x)
        return free + guidance * (given - free)

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, steps: int = 0, levels: int = 40, guidance: float = 1.0
    ) -> Tensor:
        """New examples ``(n, *spec.shape)``, by Langevin chains that start from noise.

        Args:
            n: how many.
            rng: starts and steps of the chains.
            cond: ``(n, *spec.cond.shape)`` or None.
            steps: Langevin steps: in all for ``"cd"`` (0: ten training walks), at each level for ``"dsm"`` (0: 5).
            levels: ``"dsm"``: noise levels, geometric from ``sigma_max`` to ``sigma_min``.
            guidance: scores are pushed from the unconditional ones so many times; 1 is the model itself.
        """
        if steps < 0 or levels < 1:
            raise RecipeError(f"steps is {steps} and levels {levels}; they must be at least 0 and 1")
        ones = torch.ones(n, device=rng.device)
        if self.objective == "cd":
            x = 2 * rng.uniform(n, *self.spec.shape) - 1
            steps = steps or 10 * self.walk
            x = langevin(
                lambda y: self.score(y, ones, cond, guidance),
                x,
                steps,
                self.step_size,
                rng,
                noise=self.noise,
                clip=self.step_size,
            )
        else:
            sigmas = torch.logspace(math.log10(self.sigma_max), math.log10(self.sigma_min), levels).tolist()
            x = math.hypot(self.sigma_max, self.data_std) * rng.normal(n, *self.spec.shape)
            x = annealed_langevin(lambda y, s: self.score(y, s, cond, guidance), x, sigmas, steps or 5, 0.5, rng)
        return finish(self.spec, x)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``-E(x) - log Z`` in nats, ``(B,)``; ``log Z`` is estimated anew by 512 chains with randomness of their own.

        ``doubt`` is then the standard error of ``log Z`` in nats, common to all rows.
        """
        own = Rng(0, device=batch.x.device)
        log_z, self.doubt = ais(self.energy, 512, self.spec.shape, own, start_std=1.0, step_size=2 * self.step_size)
        return -self.energy(batch.x) - log_z
