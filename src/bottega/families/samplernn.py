"""SampleRNN: sound sample by sample, by recurrent networks that each run at a rate of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.wave_loop import check_length, draw, parts

__all__ = ["SampleRNN"]


class _Tier(nn.Module):
    """One step for ``frame`` samples: reads those before it and what the slower tier says, speaks to the faster one."""

    def __init__(self, frame: int, size: int, says: int) -> None:
        super().__init__()
        self.frame, self.says = frame, says
        self.read = nn.Linear(frame, size)
        self.body = nn.GRU(size, size, batch_first=True)
        self.speak = nn.Linear(size, says * size)

    def forward(self, frames: Tensor, above: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(B, K, frame)`` and ``(B, K, size)`` -> ``(B, K * says, size)``, and the state ``(1, B, size)``."""
        out, state = self.body(self.read(frames) + above, state)
        return self.speak(out).reshape(len(out), -1, out.shape[-1]), state


class SampleRNN(Family):
    """SampleRNN (Mehri et al. 2017, arXiv:1612.07837): ``log p(x) = sum_t log p(x_t | x_1 .. x_{t-1})``, exact.

    A network that remembers runs once for every ``4 frame`` samples, another once for ``frame``, each told by the slower
    one; a small network without memory draws every sample from the ``frame`` before it and what it is told. What is
    remembered has one size however long a piece is, so a piece of any length is made in the same memory
    (``stream``, ``length``).

    Args:
        spec: ``Spec((T,), vocab=k, ordinal=True)``, mu-law levels of sound.
        size: the width of all networks; weights grow with its square.
        frame: samples that a step of the faster network covers; the slower one covers four times as many; of
            short pieces a twelfth at most.
        drop: how often a row is trained without its condition, so that ``cond=None`` and guidance work, in [0, 1).
    """

    bound: Literal["exact"] = "exact"
    hears: ClassVar[bool] = True

    def __init__(self, spec: Spec, *, size: int = 128, frame: int = 16, drop: float = 0.1) -> None:
        super().__init__(spec)
        if size < 1 or frame < 2:
            raise RecipeError(f"family.size is {size} and family.frame {frame}; at least 1 and 2 are needed")
        check_drop(drop)
        frame = min(frame, max(2, spec.shape[0] // 12))
        self.drop, self.frame, self.length = drop, frame, spec.shape[0]
        self.given = Condition(spec.cond, size)
        self.slow, self.fast = _Tier(4 * frame, size, 4), _Tier(frame, size, frame)
        self.near = nn.Linear(frame, size)
        self.say = nn.Sequential(nn.SiLU(), nn.Linear(size, size), nn.SiLU(), nn.Linear(size, spec.vocab))
        self.say[-1].readout = True  # type: ignore[assignment]

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Sound in levels in order of time."""
        if spec.blocks or not spec.is_sequence or not spec.ordinal:
            return "it draws levels of sound (T,); set codec.form = 'mulaw', or use wavenet for waveforms and gpt for texts"
        return no_picture(spec)

    def _logits(self, x: Tensor, known: Tensor) -> Tensor:
        """Samples ``(B, T)`` in [-1, 1] -> logits of each given those before it, ``(B, T, vocab)``."""
        n, t = x.shape
        slow = 4 * self.frame
        whole = -(-t // slow) * slow
        x = F.pad(x, (slow, whole - t))  # silence before the first sample
        above, _ = self.slow(x[:, :whole].reshape(n, -1, slow), known[:, None])
        told, _ = self.fast(x[:, slow - self.frame : -self.frame].reshape(n, -1, self.frame), above)
        near = F.conv1d(x[:, None, slow - self.frame : -1], self.near.weight[:, None], self.near.bias).mT
        logits: Tensor = self.say((near + told)[:, :t])
        return logits

    def _log_prob(self, batch: Batch, drop: Tensor | None) -> Tensor:
        logits = self._logits(self.spec.as_real(batch.x), self.given(batch.cond, len(batch), drop))
        return -F.cross_entropy(logits.mT.float(), batch.x, reduction="none").sum(1)

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """Exact log probability in nats, ``(B,)``; ``rng`` is not drawn from."""
        return self._log_prob(batch, None)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Negative log probability in nats."""
        drop = rng.uniform(len(batch)) < self.drop if self.spec.cond else None
        return Terms({"nll": -self._log_prob(batch, drop)})

    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, guidance: float = 1.0,
        length: int = 0,
    ) -> Tensor:  # fmt: skip
        """New pieces ``(n, T)``, int64.

        Args:
            n: how many.
            rng: two uniform numbers for each sample.
            cond: ``(n, *spec.cond.shape)`` or None.
            temperature: logits are divided by it; below 1 is more typical, and duller.
            guidance: logits are pushed from the unconditional ones so many times; 1 is the model itself.
            length: samples of a piece, in place of the training's.
        """
        return torch.cat(list(self._parts(n, rng, cond, temperature, guidance, length)), 1)

    @torch.no_grad()
    def stream(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0, guidance: float = 1.0,
        length: int = 0,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Parts of the pieces ``(n, t)`` as they are made; one behind the other they are ``sample``'s."""
        yield from self._parts(n, rng, cond, temperature, guidance, length)

    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng, *, temperature: float = 1.0, guidance: float = 1.0) -> Tensor:
        """Go on with pieces: samples where ``keep`` is True stay, the others are drawn given all before them."""
        kept = batch.x, keep.expand_as(batch.x)
        return torch.cat(list(self._parts(len(batch), rng, batch.cond, temperature, guidance, 0, kept)), 1)

    def _parts(
        self, n: int, rng: Rng, cond: Tensor | None, temperature: float, guidance: float, length: int,
        kept: tuple[Tensor, Tensor] | None = None,
    ) -> Iterator[Tensor]:  # fmt: skip
        if not temperature > 0:
            raise RecipeError(f"temperature is {temperature}; it must be above 0, 1 is the model itself")
        check_length(length)
        known, slow, vocab = self.given(cond, n), 4 * self.frame, self.spec.vocab
        twice = guidance != 1 and cond is not None and self.spec.cond is not None
        if twice:
            known = torch.cat([known, self.given(None, n)])
        past = known.new_zeros(n, slow)
        states: list[Tensor | None] = [None, None]
        t = 0
        for part in parts(length or self.length):
            u = rng.uniform(n, part.stop - part.start, 2).double()
            rows = []
            for i in range(u.shape[1]):
                both = past.repeat(2, 1) if twice else past
                if t % slow == 0:
                    above, states[0] = self.slow(both[:, None], known[:, None], states[0])
                if t % self.frame == 0:
                    step = t // self.frame % 4
                    told, states[1] = self.fast(both[:, None, -self.frame :], above[:, step : step + 1], states[1])
                logits = self.say(self.near(both[:, -self.frame :]) + told[:, t % self.frame]).float()
                if twice:
                    given, free = logits.chunk(2)
                    logits = free + guidance * (given - free)
                x = self.spec.as_tokens(draw(logits, u[:, i], vocab, temperature))
                if kept is not None:
                    x = torch.where(kept[1][:, t], kept[0][:, t], x)
                rows.append(x)
                past = torch.cat([past[:, 1:], self.spec.as_real(x)[:, None].to(past.dtype)], 1)
                t += 1
            yield torch.stack(rows, 1)
