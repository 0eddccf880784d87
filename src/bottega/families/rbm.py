"""Restricted Boltzmann machine: visible numbers and hidden bits, with weights between the two sides and none within."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.places import Places
from bottega.nets.replay import Replay

__all__ = ["RBM"]

_EXACT = 10  # hidden bits up to which their 2^bits states are summed


class RBM(Replay, Family):
    """``p(v, h) = exp(b v + c h + h W v) / Z`` with hidden bits ``h`` (Smolensky 1986; Hinton 2002).

    A visible number of k levels or names is k - 1 units of which at most one is on, level 0 being none: binary pixels
    are the usual binary units, others are softmax units (Salakhutdinov et al. 2007, section 2.1).

    ``"cd"``: contrastive divergence, Gibbs chains that start at the examples. ``"pcd"``: persistent chains in a replay
    buffer (Tieleman 2008; ``nets.replay``), from which ``sample`` also starts.

    Weights act on what differs from the usual: ``b`` and ``c`` are learned as the biases of a machine whose units stand at
    what the biases alone would make of them (centring, Melchior et al. 2016, arXiv:1311.1354, its offsets being a
    function of the parameters, so that the gradient is exact). Without it the same training of bars ends 1.5 nats worse.

    Likelihood: up to 10 hidden bits their states are summed, ``log Z`` and ``log_prob`` are exact and samples are drawn
    exactly. With more, ``log Z`` is estimated by annealed importance sampling (Salakhutdinov & Murray 2008, section 4.1)
    from 512 chains with randomness of their own; it is unbiased for ``Z``, hence a little low for ``log Z``, so
    ``log_prob`` is a little high, and ``doubt`` is the standard error of ``log Z`` in nats, common to all rows. With a
    condition ``Z`` is another for each, and no likelihood is offered.

    Args:
        spec: whole numbers: levels of a picture or a vector, codes, columns of a table.
        size: hidden bits.
        objective: ``"pcd"`` or ``"cd"``.
        walk: Gibbs steps of a training chain.
        buffer: ``pcd``: chains that are kept.
        drop: how often a row is trained without its condition, so that ``cond=None`` works, in [0, 1).
    """

    doubt = 0.0
    variants: ClassVar[dict[str, dict[str, Any]]] = {"cd": {"objective": "cd"}, "estimate": {"size": 16}}

    def __init__(
        self, spec: Spec, *, size: int = 128, objective: Literal["pcd", "cd"] = "pcd", walk: int = 5,
        buffer: int = 1024, drop: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(spec)
        if objective not in {"cd", "pcd"}:
            raise RecipeError(f"family.objective is {objective!r}; use 'pcd' or 'cd'")
        if min(size, walk) < 1:
            raise RecipeError(f"family.size and walk are {size} and {walk}; both must be at least 1")
        check_drop(drop)
        self.objective, self.walk, self.drop = objective, walk, drop
        self.places = Places(spec)
        units = len(self.places) * (self.places.most - 1)
        self.weight = nn.Parameter(0.02 * torch.randn(size, units))
        self.visible, self.hidden = nn.Parameter(torch.zeros(units)), nn.Parameter(torch.zeros(size))
        self.register_buffer("never", self.places.beyond[:, 1:].flatten(), persistent=False)  # (units,)
        self.given = Condition(spec.cond, 32)
        self.shift = nn.Linear(32, units + size, bias=False) if spec.cond else None
        if objective == "pcd":
            draw = torch.Generator().manual_seed(0)
            widths = (~self.places.beyond).sum(1)
            start = (torch.rand(buffer, len(self.places), generator=draw) * widths).long()
            self.keep_chains(self.places.leave(start), spec.cond)
        if spec.cond is not None:
            self.lacks = {"Scores"}

    @property
    def bound(self) -> Bound:
        """``"exact"`` where the states of the hidden bits are summed, else ``"estimate"``."""
        return "exact" if len(self.hidden) <= _EXACT else "estimate"

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Whole numbers with a place each: pictures, vectors, rows of a table."""
        if not spec.is_tokens:
            return "it needs whole levels, not real numbers; use energy, or give the codec a number of levels (2, 17)"
        if not spec.shape:
            return "it is one label, of a text that is given; use family reader"
        if spec.is_text:
            return "each place has weights of its own, and a letter of a text may stand anywhere; use gpt"
        return no_picture(spec)

    # --- energies ----------------------------------------------------------------------------------------------------

    def _units(self, x: Tensor) -> Tensor:
        """Examples as visible units, ``(B, places * (most - 1))``."""
        local = self.places.enter(x)
        if self.places.most == 2:
            return local.to(self.weight.dtype)
        return F.one_hot(local, self.places.most)[..., 1:].flatten(1).to(self.weight.dtype)

    def _biases(self, cond: Tensor | None, n: int, drop: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Of the visible and the hidden side, ``b`` ``(1 or n, units)`` and ``c`` ``(1 or n, size)``."""
        b, c = self.visible[None], self.hidden[None]
        if self.shift is not None:
            more = self.shift(self.given(cond, n, drop))
            b, c = b + more[:, : b.shape[1]], c + more[:, b.shape[1] :]
        usual = torch.softmax(F.pad(self._by_place(b), (1, 0)), 2)[..., 1:].flatten(1)
        return b - torch.sigmoid(c) @ self.weight, c - usual @ self.weight.T

    def _free(self, v: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return -(v * b).sum(1) - F.softplus(c + v @ self.weight.T).sum(1)

    def free_energy(self, x: Tensor, cond: Tensor | None = None, drop: Tensor | None = None) -> Tensor:
        """``-log sum_h exp(b v + c h + h W v)`` in nats, ``(B, *shape) -> (B,)``."""
        with torch.autocast(x.device.type, enabled=False):  # small differences of large numbers
            return self._free(self._units(x), *self._biases(cond, len(x), drop))

    def _logits(self, h: Tensor, b: Tensor, beta: float = 1.0) -> Tensor:
        """Of each place's levels from 1 on, level 0 being 0, ``(B, places, most - 1)``."""
        return self._by_place(b + beta * (h @ self.weight))

    def _by_place(self, raw: Tensor) -> Tensor:
        return raw.masked_fill(self.never, -math.inf).unflatten(1, (len(self.places), -1))

    def _drawn(self, logits: Tensor, rng: Rng) -> Tensor:
        """A level of each place ``(B, places)``, one uniform number each."""
        u = rng.uniform(*logits.shape[:2])
        if self.places.most == 2:
            return (u < torch.sigmoid(logits[..., 0])).long()
        below = torch.softmax(F.pad(logits, (1, 0)), -1).cumsum(-1)[..., :-1]
        return (u[..., None] >= below).sum(-1).minimum((~self.places.beyond).sum(1) - 1)

    def _gibbs(self, x: Tensor, b: Tensor, c: Tensor, rng: Rng, beta: float = 1.0) -> Tensor:
        """One step from examples to examples, at an inverse temperature of the weights and hidden biases."""
        h = rng.bernoulli(torch.sigmoid(beta * (c + self._units(x) @ self.weight.T))).to(b.dtype)
        return self.places.leave(self._drawn(self._logits(h, b, beta), rng))

    # --- training ----------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Free energy of the examples less that of where their chains end; its gradient is (nearly) the likelihood's."""
        x, n = batch.x, len(batch)
        drop = rng.uniform(n) < self.drop if self.spec.cond else None
        with torch.autocast(x.device.type, enabled=False):
            b, c = self._biases(batch.cond, n, drop)
            slots = self._slots(batch.cond, drop, n, rng) if self.objective == "pcd" else None
            end = x if slots is None else self.chains[slots]
            with torch.no_grad():
                for _ in range(self.walk):
                    end = self._gibbs(end, b, c, rng)
            if slots is not None and self.training and torch.is_grad_enabled():
                self._walked.append((slots, end))
            return Terms({"contrast": self._free(self._units(x), b, c) - self._free(self._units(end), b, c)})

    # --- sampling ----------------------------------------------------------------------------------------------------

    def _states(self) -> Tensor:
        """All states of the hidden bits, ``(2^size, size)``."""
        k = torch.arange(2 ** len(self.hidden), device=self.hidden.device)
        return ((k[:, None] >> torch.arange(len(self.hidden), device=k.device)) & 1).to(self.weight.dtype)

    def _log_weights(self, b: Tensor, c: Tensor) -> Tensor:
        """``log sum_v exp(b v + c h + h W v)`` of every hidden state, ``(2^size,)``, for one row's biases."""
        states = self._states()
        return (states * c).sum(1) + F.pad(self._logits(states, b), (1, 0)).logsumexp(2).sum(1)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, steps: int = 200) -> Tensor:
        """New examples ``(n, *spec.shape)``, int64.

        Args:
            n: how many.
            rng: starts and steps of the chains.
            cond: ``(n, *spec.cond.shape)`` or None.
            steps: Gibbs steps, from the kept chains (``"pcd"``) or from the visible biases (``"cd"``); with 10 hidden bits or
                fewer samples are drawn exactly and no step is made.
        """
        if steps < 0:
            raise RecipeError(f"steps is {steps}; it must be at least 0")
        b, c = self._biases(cond, n)
        if len(self.hidden) <= _EXACT:
            each = torch.stack([self._log_weights(b[i : i + 1], c[i : i + 1]) for i in range(len(b))])
            h = self._states()[rng.categorical(each.expand(n, -1))]
            return self.places.leave(self._drawn(self._logits(h, b), rng))
        if self.objective == "pcd":
            x = self.chains[self._slots(cond, None, n, rng)]
        else:
            x = self.places.leave(self._drawn(self._by_place(b).expand(n, -1, -1), rng))
        for _ in range(steps):
            x = self._gibbs(x, b, c, rng)
        return x

    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng, *, steps: int = 200) -> Tensor:
        """Complete examples: Gibbs steps (at least one) with the kept numbers held, from what the others were."""
        if steps < 1:
            raise RecipeError(f"steps is {steps}; it must be at least 1, or nothing is made")
        x, (b, c) = batch.x, self._biases(batch.cond, len(batch))
        for _ in range(steps):
            x = torch.where(keep, batch.x, self._gibbs(x, b, c, rng))
        return x

    # --- likelihood --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def anneal(self, chains: int, temperatures: int, rng: Rng) -> tuple[float, float]:
        """``log Z`` by annealed importance sampling, without condition: the estimate in nats and its standard error.

        Chains go from the visible biases alone, whose ``Z`` is known, to the model, the weights and hidden biases rising
        from 0 to their values in even steps (Salakhutdinov & Murray 2008, eq. 14-18).
        """
        b, c = self._biases(None, 1)
        base = self._by_place(b)
        x = self.places.leave(self._drawn(base.expand(chains, -1, -1), rng))
        log_weight = torch.zeros(chains, dtype=torch.double, device=b.device)
        betas = torch.linspace(0, 1, temperatures + 1).tolist()
        for before, now in zip(betas, betas[1:], strict=False):
            pre = c + self._units(x) @ self.weight.T
            log_weight += (F.softplus(now * pre) - F.softplus(before * pre)).double().sum(1)
            x = self._gibbs(x, b, c, rng, now)
        start = F.pad(base.double(), (1, 0)).logsumexp(2).sum().item() + c.shape[1] * math.log(2)
        weight = (log_weight - log_weight.max()).exp()
        log_z = start + log_weight.max().item() + weight.mean().log().item()
        return log_z, (weight.std() / weight.mean()).item() / math.sqrt(chains)

    def log_z(self) -> Tensor:
        """The constant in nats, a scalar: exact, or estimated by ``anneal`` (then ``doubt`` is its standard error)."""
        if self.bound == "exact":
            return self._log_weights(*self._biases(None, 1)).logsumexp(0)
        own = Rng(0, device=self.weight.device)
        estimate, self.doubt = self.anneal(512, 1000, own)
        return torch.tensor(estimate, device=self.weight.device)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``-F(v) - log Z`` in nats, ``(B,)``; ``rng`` is not drawn from."""
        return -self.free_energy(batch.x) - self.log_z()
