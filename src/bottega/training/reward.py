"""Rewards and preferences: a trained generator learns from feedback and stays near to what it was.

Both are other losses over the one loop, for any family with an exact ``log_prob``. What a reward is paid for is a source
of batches, not a trainer: ``Rollouts`` samples, scores and yields. Nothing here knows what a text is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, Family, Rng, Terms, Turn

__all__ = ["KlLimit", "Objective", "Preferences", "Reinforce", "Rollouts", "Told", "centred", "draw", "margins", "nats"]

_FOLLOWED = 0.2  # how much of the running mean a new batch is
_FREE, _END = 0.5, 0.9  # of the limit: up to where the reward counts in full, and from where not at all


@dataclass(frozen=True)
class Told(Batch):
    """A batch of which more is told, row by row; parts of it keep their own.

    Attributes:
        told: name -> ``(B, ...)``.

    >>> batch = Told(torch.zeros(3, 2), told={"gain": torch.arange(3.0)})
    >>> batch.split(2)[1].told["gain"].tolist()
    [2.0]
    """

    told: Mapping[str, Tensor] = field(default_factory=dict)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Told:
        plain = super()._map(change)
        return Told(plain.x, plain.cond, plain.mask, {k: change(t) for k, t in self.told.items()})


@dataclass
class KlLimit:
    """How far a model may go from its start, in nats of KL divergence a piece, and how hard it is held there.

    Up to half of the limit the reward counts in full and the divergence by ``pull``. From there to nine tenths the reward
    fades out and the divergence comes in, so that at the end there is only the way back. With ``pull = 0`` nothing holds.

    Attributes:
        nats: the limit.
        pull: the coefficient of the divergence, in standard deviations of the reward for each nat.
        mean: the running mean of what was seen.
    """

    nats: float
    pull: float = 0.1
    mean: float = 0.0

    def see(self, apart: Tensor) -> None:
        """Take in the log ratios ``(B,)`` of a batch of the model's own pieces."""
        self.mean += _FOLLOWED * (float(apart.double().mean()) - self.mean)

    @property
    def weights(self) -> tuple[float, float]:
        """What the reward and what the divergence counts."""
        if not self.pull:
            return 1.0, 0.0
        free = min(1.0, max(0.0, (_END - self.mean / self.nats) / (_END - _FREE)))
        return free, self.pull + 1 - free

    @property
    def over(self) -> bool:
        """Whether the running mean is above the limit."""
        return self.mean > self.nats


def centred(x: Tensor, draws: int) -> Tensor:
    """``(B,)`` less the mean of the others among each ``draws`` rows (leave one out; Kool et al. 2019).

    It is independent of its own row, so a policy gradient stays unbiased.

    >>> centred(torch.tensor([1.0, 2.0, 6.0]), 3).tolist()
    [-3.0, -1.5, 4.5]
    """
    rows = x.view(-1, draws)
    return ((rows - rows.mean(1, keepdim=True)) * (draws / (draws - 1))).flatten()


@torch.no_grad()
def nats(model: Family, batch: Batch, rng: Rng) -> Tensor:
    """``log_prob`` of each row, ``(B,)``, without a graph."""
    out: Tensor = model.log_prob(batch, rng)  # type: ignore[operator]
    return out


@torch.no_grad()
def draw(
    model: Family, n: int, rng: Rng, cond: Tensor | None = None, real: Callable[[Tensor], Tensor | None] | None = None,
    **knobs: Any,
) -> Batch:  # fmt: skip
    """``n`` pieces of the model's own.

    Args:
        model: whose.
        n: how many.
        rng: one stream.
        cond: ``(n, *spec.cond.shape)`` or None.
        real: says which of ``x`` ``(n, *spec.shape)`` is real, as a mask; all of it by default.
        knobs: of ``sample``; only such as do not change what it samples from.
    """
    before = model.training
    model.eval()
    x = model.sample(n, rng, cond, **knobs)
    model.train(before)
    return Batch(x, cond, None if real is None else real(x))


class Objective(Family):
    """A trained model under another loss; its one player is ``model``."""

    def __init__(self, model: Family) -> None:
        super().__init__(model.spec)
        self.model = model

    @classmethod
    def accepts(cls, spec: Any) -> str:
        """Whatever the model does."""
        return ""

    def turns(self) -> tuple[Turn, ...]:
        """The model moves."""
        return (Turn("model", self.loss),)

    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, **knobs: Any) -> Tensor:
        """The model's."""
        return self.model.sample(n, rng, cond, **knobs)


class Reinforce(Objective):
    """REINFORCE (Williams 1992): ``grad E[r] = E[(r - b) grad log p(x)]``, less the same of the divergence from the start.

    ``KL(p || start) = E[log p(x) - log start(x)]`` has the gradient ``E[(log p(x) - log start(x) - b) grad log p(x)]``, as
    the expectation of ``grad log p`` is nought.

    Args:
        model: the policy, with an exact ``log_prob``.
        limit: says how much either counts.
    """

    def __init__(self, model: Family, limit: KlLimit) -> None:
        super().__init__(model)
        self.limit = limit

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Of a batch of ``Rollouts``; the values mean nothing, their gradients are those of reward and divergence."""
        assert isinstance(batch, Told)
        log_p: Tensor = self.model.log_prob(batch, rng)  # type: ignore[operator]
        follow, stay = self.limit.weights
        return Terms({"reward": -follow * batch.told["gain"] * log_p, "stay": stay * batch.told["apart"] * log_p})


class Rollouts:
    """An endless source of a model's own pieces and what they are worth.

    Args:
        model: as it is now, each time; it is not copied.
        start: what it was, not to be moved.
        reward: ``(x, cond) -> (B,)``, larger is better.
        limit: sees every batch.
        rng: one stream.
        rows: pieces in a batch.
        draws: pieces for each condition, at least 2, dividing ``rows``; 0 means all of a batch.
        conds: ``(n, rng) -> (n, *spec.cond.shape)``, conditions to ask for; None where there are none.
        scale: rewards are divided by it.
        real, knobs: see ``draw``.

    Attributes:
        seen: means of the last batch: ``reward``, as it was paid, and ``kl_nats``.
    """

    def __init__(
        self,
        model: Family,
        start: Family,
        reward: Callable[[Tensor, Tensor | None], Tensor],
        limit: KlLimit,
        rng: Rng,
        *,
        rows: int = 64,
        draws: int = 0,
        conds: Callable[[int, Rng], Tensor] | None = None,
        scale: float = 1.0,
        real: Callable[[Tensor], Tensor | None] | None = None,
        **knobs: Any,
    ) -> None:
        draws = draws or rows
        if draws < 2 or rows % draws:
            raise ValueError(f"{rows} rows of {draws} draws each: at least 2 draws, and a multiple of them")
        self.model, self.start, self.reward, self.limit, self.rng = model, start, reward, limit, rng
        self.rows, self.draws, self.conds, self.scale = rows, draws, conds, scale
        self.real, self.knobs = real, knobs
        self.seen: dict[str, float] = {}

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Told:
        cond = None
        if self.conds is not None:
            cond = self.conds(self.rows // self.draws, self.rng).repeat_interleave(self.draws, 0)
        batch = draw(self.model, self.rows, self.rng, cond, self.real, **self.knobs)
        paid = self.reward(batch.x, batch.cond).to(batch.x.device, torch.float32)
        apart = nats(self.model, batch, self.rng) - nats(self.start, batch, self.rng)
        self.limit.see(apart)
        self.seen = {"reward": float(paid.mean()), "kl_nats": float(apart.mean())}
        told = {"gain": centred(paid, self.draws) / self.scale, "apart": centred(apart, self.draws)}
        return Told(batch.x, batch.cond, batch.mask, told)


class Preferences(Objective):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290, equation 7).

    ``-log sigmoid(beta (log p(w)/start(w) - log p(l)/start(l)))`` of the chosen ``w`` and the rejected ``l``. Of pieces that
    begin with the same prompt the prompt's own likelihood cancels, so whole pieces may be compared.

    What is not chosen loses likelihood, and so may what is, to a third; ``anchor`` holds the chosen there by its own
    likelihood (Pang et al. 2024, arXiv:2404.19733, equation 1, not divided by the length).

    Args:
        model: the policy, with an exact ``log_prob``.
        beta: how much a nat away from the start counts; larger stays nearer to it.
        anchor: what a nat of the chosen's own likelihood counts.
    """

    def __init__(self, model: Family, beta: float = 0.1, anchor: float = 0.0) -> None:
        super().__init__(model)
        self.beta, self.anchor = beta, anchor

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats. ``batch`` is ``Told``: see ``margins``, and ``start``, the ``(B,)`` margins of the start."""
        assert isinstance(batch, Told)
        chosen, rejected = _both(self.model, batch, rng)
        parts = {"dpo": -F.logsigmoid(self.beta * (chosen - rejected - batch.told["start"]))}
        return Terms(parts | ({"anchor": -self.anchor * chosen} if self.anchor else {}))


def margins(model: Family, batch: Told, rng: Rng) -> Tensor:
    """``log p(chosen) - log p(rejected)``, ``(B,)`` nats; ``told`` has the rejected ``x`` and its ``mask``."""
    chosen, rejected = _both(model, batch, rng)
    return chosen - rejected


def _both(model: Family, batch: Told, rng: Rng) -> tuple[Tensor, Tensor]:
    chosen, rejected = Batch(batch.x, batch.cond, batch.mask), Batch(batch.told["x"], batch.cond, batch.told["mask"])
    both: Tensor = model.log_prob(Batch.cat([chosen, rejected]), rng)  # type: ignore[operator]
    return both[: len(batch)], both[len(batch) :]
