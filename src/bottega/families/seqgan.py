"""SeqGAN: a writer of texts that is rewarded by a critic which tells them from real ones."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.core.measure import Bound
from bottega.families.rnn import RNN
from bottega.nets.condition import Condition, check_drop
from bottega.samplers.causal import LeftToRight
from bottega.samplers.steps import StateStep
from bottega.samplers.tokens import pick

__all__ = ["SeqGAN"]


class _Critic(nn.Module):
    """Convolutions of several widths over the tokens, the largest answer of each, and a number (Kim 2014, arXiv:1408.5882)."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(spec.vocab, width)
        self.condition = Condition(spec.cond, width)
        self.looks = nn.ModuleList(nn.Conv1d(width, width, k, padding=k - 1) for k in (2, 3, 5))
        self.mix = nn.Linear(3 * width, width)
        self.read = nn.Linear(width, 1)
        self.read.readout = True  # type: ignore[assignment]

    def forward(self, x: Tensor, real: Tensor, cond: Tensor | None) -> Tensor:
        """Tokens ``(B, L)``, which of them are there, and what is known -> ``(B,)``, positive where they seem real."""
        h = (self.embed(x) + self.condition(cond, len(x))[:, None]) * real[..., None]
        seen = [F.relu(look(h.mT)).amax(2) for look in self.looks]
        mixed = F.relu(self.mix(torch.cat(seen, 1)))
        return self.read(mixed)[:, 0].float()


class SeqGAN(LeftToRight, Family):
    """Sequence GAN with policy gradient (Yu et al. 2017, arXiv:1609.05473).

    The writer is the network of family rnn. It begins by maximum likelihood, for ``warm`` steps. Then it is rewarded: what
    it writes is finished by itself ``rollouts`` times from each of some places, and a token's reward is how likely the
    critic thinks it that such texts are real (section 3.1). Its gradient is REINFORCE's, with a running mean of the rewards
    at that place taken off. The critic sees real texts and written ones all the while.

    Maximum likelihood is not left altogether: ``likelihood`` of the loss stays it, as in Guo et al. 2018 (arXiv:1709.08624,
    section 3.4), who found the rewards alone to be unstable. What the game gains over maximum likelihood is little or
    nothing where both are tuned (Caccia et al. 2018, arXiv:1811.02549); the recipe says what was measured here.

    Args:
        spec: ``Spec((L,), vocab=V)``, texts.
        size: the width of the writer's state and of the critic.
        kind: of the writer's network, see family rnn.
        warm: steps of maximum likelihood before the game.
        rollouts: how often a beginning is finished by chance.
        places: at how many places of a text the reward is looked at, drawn anew for each.
        likelihood: the share of maximum likelihood in the game, in [0, 1].
        drop: the chance that ``cond`` is forgotten in training.
    """

    bound: Bound = "exact"
    variants: ClassVar[dict[str, dict[str, Any]]] = {"played": {"warm": 0}, "pure": {"warm": 0, "likelihood": 0.0}}

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 64,
        kind: str = "lstm",
        warm: int = 500,
        rollouts: int = 4,
        places: int = 4,
        likelihood: float = 0.2,
        drop: float = 0.1,
    ) -> None:
        super().__init__(spec)
        check_drop(drop)
        if min(size, rollouts, places) < 1 or warm < 0 or not 0 <= likelihood <= 1:
            raise RecipeError(
                f"size={size}, rollouts={rollouts}, places={places}, warm={warm}, likelihood={likelihood}: the first three "
                "must be at least 1, warm at least 0, likelihood in [0, 1]"
            )
        self.warm, self.rollouts, self.places, self.likelihood = warm, rollouts, places, likelihood
        self.writer = RNN(spec, size=size, kind=kind, drop=drop)
        self.critic = _Critic(spec, size)
        self.register_buffer("usual", torch.full((spec.dims,), 0.5))  # reward at each place
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._noted: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Texts: sequences of tokens that are names."""
        return RNN.accepts(spec)

    def turns(self) -> tuple[Turn, ...]:
        """The critic, then the writer."""
        return Turn("critic", self.critic_loss), Turn("writer", self.loss)

    @torch.no_grad()
    def _write(self, x: Tensor, kept: Tensor, rng: Rng, cond: Tensor | None, drop: Tensor | None = None) -> Tensor:
        """``(B, L)`` tokens of which the first ``kept`` ``(B,)`` of each row stay and the others are written."""
        u = rng.uniform(*x.shape)
        given, state, out = self.writer.condition(cond, len(x), drop)[:, None], None, []
        last = torch.full((len(x), 1), self.spec.vocab, device=x.device)
        with torch.autocast(x.device.type, enabled=False):
            for i in range(x.shape[1]):
                h, state = self.writer.body(self.writer.embed(last) + given, state)
                last = torch.where(i < kept, x[:, i], pick(self.writer.read(h[:, -1]).float(), u[:, i]))[:, None]
                out.append(last)
        return torch.cat(out, 1)

    def _real(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Tokens and which are there; padding is the row's last token, as a writer goes on after its end."""
        x = batch.x
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        return x, real

    def _shown(self, x: Tensor, like: Tensor) -> Tensor:
        """What the critic sees of written texts: up to the first of the token that closes the real ones.

        ``like`` is that token for each row, -1 where real texts are not closed; ``(B, L)`` bool.
        """
        closed = x == like[:, None]
        return (closed.cumsum(1) - closed.long()) == 0

    @staticmethod
    def _closing(x: Tensor, real: Tensor) -> Tensor:
        """The last real token of rows that are padded, -1 of others, ``(B,)``."""
        last = x.gather(1, (real.sum(1, keepdim=True) - 1).clamp_min(0))[:, 0]
        return torch.where(real.all(1), -1, last)

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        """Cross-entropy of telling real texts from written ones; nats."""
        x, real = self._real(batch)
        made = self._write(x, torch.zeros(len(x), dtype=torch.long, device=x.device), rng, batch.cond)
        is_real = self.critic(x, real, batch.cond)
        is_made = self.critic(made, self._shown(made, self._closing(x, real)), batch.cond)
        return Terms({"real": F.softplus(-is_real), "made": F.softplus(is_made)})

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of real texts, and behind the warm-up the reward of written ones; weighted by the number of real tokens."""
        mle = self.writer.loss(batch, rng)
        if int(self.steps) < self.warm:
            return mle
        x, real = self._real(batch)
        count = real.sum(1).float()
        played = self._played(x, real, batch.cond, rng) * count
        return Terms({"nll": self.likelihood * mle.parts["nll"], "game": (1 - self.likelihood) * played}, mle.weight)

    def _played(self, x: Tensor, real: Tensor, cond: Tensor | None, rng: Rng) -> Tensor:
        """``-(reward - usual) log p(token)`` at ``places`` random places of a written text, their mean; ``(B,)``."""
        n, length = x.shape
        end = self._closing(x, real)
        nothing = torch.zeros(n, dtype=torch.long, device=x.device)
        made = self._write(x, nothing, rng, cond)
        shown = self._shown(made, end)
        at = (rng.uniform(n, self.places) * shown.sum(1, keepdim=True)).long().clamp_max(length - 1)
        rewards = []
        for j in range(self.places):
            score = torch.zeros(n, device=x.device)
            for _ in range(self.rollouts):
                done = self._write(made, at[:, j] + 1, rng, cond)
                with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                    score = score + self.critic(done, self._shown(done, end), cond).sigmoid() / self.rollouts
            rewards.append(score)
        reward = torch.stack(rewards, 1)
        if self.training and torch.is_grad_enabled():
            self._noted.append((at, reward))
        logits = self.writer.logits(made, cond)
        said = logits.log_softmax(2).gather(2, made[..., None])[..., 0].gather(1, at)
        return -((reward - self.usual[at]) * said).mean(1)

    def forget(self) -> None:
        """Drop the rewards noted since the last ``settle``: the step is undone."""
        self._noted.clear()

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Move the usual rewards, those of all ranks, and count the step."""
        self.steps.fill_(step + 1)
        if not self._noted:
            return
        at = torch.cat([places.flatten() for places, _ in self._noted])
        reward = torch.cat([rewards.flatten() for _, rewards in self._noted])
        self.forget()
        total = torch.zeros_like(self.usual).index_add_(0, at, reward)
        times = torch.bincount(at, minlength=len(self.usual)).to(total)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(total)
            dist.all_reduce(times)
        seen = times > 0
        self.usual[seen] = self.usual[seen].lerp(total[seen] / times[seen], 0.1)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats of the real tokens under the writer, exact."""
        return self.writer.log_prob(batch, rng)

    def step(
        self, n: int, cond: Tensor | None = None, guidance: float = 1.0, *, prompted: bool = False, most: int = 0
    ) -> StateStep:
        """The writer's."""
        return self.writer.step(n, cond, guidance)
