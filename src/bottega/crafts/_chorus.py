"""Four voices from a model of voices, note by note under the rules: a search by particles in several ways at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.core import Rng
from bottega.core.score import HIGHEST, LOWEST
from bottega.core.voicing import allowed
from bottega.samplers.tokens import filter_logits, pick

__all__ = ["Plan", "Taste", "write"]

VOICES = 4


@dataclass(frozen=True)
class Plan:
    """The tokens of a piece, and which of them are to be written.

    Attributes:
        tokens: all, in order; those that are to be written may be anything.
        voice: of each token whose it is, -1 for bars and metres.
        free: which are to be written.
        struck: where a voice that is written may not go on from what stands before.
        shift: by how many semitones the piece was moved for the model.
        ends: whether the piece ends with its last token.
    """

    tokens: list[int]
    voice: list[int]
    free: list[bool]
    struck: frozenset[int]
    shift: int
    ends: bool


@dataclass(frozen=True)
class Taste:
    """How the model is asked.

    Attributes:
        temperature: of which notes are struck, not of how long they last: above 1 more adventurous, below 1 nearer to
            what it finds likeliest.
        top_p: of the tokens that the rules leave, the smallest set of likeliest ones that holds this mass.
        accidentals: what a pitch outside the key keeps of its probability, 0 to 1.
        usual: pitch classes of the key.
        particles: that follow each way.
        rules: whether the rules of voice leading hold.
    """

    temperature: float = 0.8
    top_p: float = 0.98
    accidentals: float = 1.0
    usual: frozenset[int] = frozenset(range(12))
    particles: int = 8
    rules: bool = True


class _Alphabet:
    """Token numbers of each voice."""

    def __init__(self, codec: Any) -> None:
        number = codec.number
        self.pitch = np.array([[number[f"{v}:{p}"] for p in range(LOWEST, HIGHEST + 1)] for v in range(VOICES)])
        self.hold = [number[f"{v}:hold"] for v in range(VOICES)]
        self.rest = [number[f"{v}:rest"] for v in range(VOICES)]
        self.size = len(codec.vocabulary)
        self.sounds = {
            int(t): p for row in self.pitch for t, p in zip(row, range(LOWEST, HIGHEST + 1), strict=True)
        }  # token -> pitch


class _Rules:
    """What each particle may say next."""

    def __init__(self, letters: _Alphabet, shift: int, taste: Taste) -> None:
        self.letters, self.shift, self.taste = letters, shift, taste
        self.mask = lru_cache(maxsize=20_000)(self._mask)

    def pitches(self, before: tuple[int, ...], above: tuple[int, ...]) -> NDArray[np.bool_]:
        """Of the piano's keys, as the model numbers them, ``(88,)``."""
        if not self.taste.rules:
            return np.ones(HIGHEST - LOWEST + 1, bool)
        ours = np.zeros(HIGHEST - LOWEST + 1, bool)
        left = allowed(before, above)
        for k in range(len(ours)):
            there = k + LOWEST - self.shift
            ours[k] = 0 <= there < 128 and left[there]
        return ours

    def _mask(self, before: tuple[int, ...], above: tuple[int, ...], struck: bool) -> Tensor:
        """Log of what each token keeps of its probability, ``(vocab,)``: 0, less for accidentals, minus infinity."""
        v = len(above)
        out = np.full(self.letters.size, -math.inf, np.float32)
        left = self.pitches(before, above)
        keep = math.log(self.taste.accidentals) if self.taste.accidentals > 0 else -math.inf
        strange = np.array([(p - self.shift) % 12 not in self.taste.usual for p in range(LOWEST, HIGHEST + 1)])
        out[self.letters.pitch[v][left]] = np.where(strange, keep, 0.0)[left]
        if not struck and before and before[v] >= 0:
            k = before[v] + self.shift - LOWEST
            if 0 <= k < len(left) and left[k]:
                out[self.letters.hold[v]] = 0.0
        if v and all(p < 0 for p in above):
            out[self.letters.rest[v]] = 0.0
        return torch.from_numpy(out)


@torch.no_grad()
def write(
    model: Any,
    codec: Any,
    plan: Plan,
    seeds: Sequence[int],
    taste: Taste,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> list[tuple[list[int], float] | None]:
    """The plan's free tokens written, one way for each seed; None for a way that came to a place with no way on.

    Of each way ``taste.particles`` drafts go from left to right (sequential Monte Carlo; Doucet & Johansen 2009): a draft
    draws each of its notes from the model among those that the rules leave, and its weight is the model's probability of
    what it did not draw: of a melody's note given the harmony so far, of having kept the rules, of what stands behind a
    gap, of ending where the piece ends. Where few drafts carry the weight the others are replaced by copies of them. In
    the end the draft with the fewest nats a note is kept.

    Returns:
        For each seed all tokens, and the log-probability in nats of those from the first free one on.
    """
    letters = _Alphabet(codec)
    rules = _Rules(letters, plan.shift, taste)
    device = next(model.parameters()).device
    ways, n = len(seeds), len(seeds) * taste.particles
    rngs = [Rng(seed).fork("chorus") for seed in seeds]
    first = plan.free.index(True)
    last = len(plan.free) - 1 - plan.free[::-1].index(True)
    # what stands behind a gap weighs on it for two bars or so: as far as its harmony is felt
    end = len(plan.tokens) if plan.ends else min(len(plan.tokens), last + 1 + 16 * VOICES)
    before, begun = _until(plan, letters, first)
    now = [list(begun) for _ in range(n)]
    past = [before for _ in range(n)]
    made = np.tile(np.array(plan.tokens), (n, 1))
    weight, total = np.zeros(n), np.zeros(n)
    step = model.step(n, prompted=first > 0, most=len(plan.tokens) + 1)
    logits = step(torch.tensor([plan.tokens[:first]] * n, device=device).view(n, first))
    join = last + 1
    for i in range(first, end):
        v = plan.voice[i]
        logp = logits.double().log_softmax(-1).cpu()
        if plan.free[i]:
            mask = torch.stack([rules.mask(past[r], tuple(now[r]), i in plan.struck) for r in range(n)]).double()
            dead = mask.isinf().all(1)
            mask[dead] = 0.0
            weight += (logp + mask).logsumexp(1).numpy()
            weight[dead.numpy()] = -math.inf
            u = torch.cat([rng.uniform(taste.particles).cpu() for rng in rngs])
            token = pick(
                filter_logits(_tempered(logp + mask, letters.hold[v], taste.temperature), top_p=taste.top_p), u
            )
        else:
            token = torch.from_numpy(made[:, i])
            weight += logp[torch.arange(n), token].numpy()
        total += logp[torch.arange(n), token].numpy()
        made[:, i] = token.numpy()
        if v >= 0:
            for r in range(n):
                now[r].append(_sounding(letters, int(token[r]), v, past[r], plan.shift))
                if (
                    not plan.free[i]
                    and taste.rules
                    and join <= i < join + VOICES
                    and v == VOICES - 1
                    and _breaks(past[r], now[r])
                ):
                    weight[r] = -math.inf  # what stands behind the gap cannot follow this
            if v == VOICES - 1:
                past, now = [tuple(p) for p in now], [[] for _ in range(n)]
        if (v == VOICES - 1 or i == end - 1) and i >= first:
            rows = _resample(weight, ways, taste.particles, rngs)
            if rows is not None:
                step.take(torch.from_numpy(rows).to(device))
                made, total, token = made[rows], total[rows], token[torch.from_numpy(rows)]
                past, now = [past[r] for r in rows], [list(now[r]) for r in rows]
            tell(i + 1 - first, end - first)
        if i < end - 1 or plan.ends:
            logits = step(token[:, None].to(device))
    if plan.ends:
        said = logits.double().log_softmax(-1).cpu()[:, codec.end].numpy()
        weight, total = weight + said, total + said
    notes = np.isin(made[:, first:end], list(letters.sounds))
    struck = np.maximum(1, notes.sum(1))  # nats a note: in all, drafts of few notes would always win
    out: list[tuple[list[int], float] | None] = []
    for k in range(ways):
        mine = slice(k * taste.particles, (k + 1) * taste.particles)
        alive = np.where(np.isfinite(weight[mine]), total[mine] / struck[mine], -math.inf)
        best = int(alive.argmax())
        out.append((made[mine][best].tolist(), float(total[mine][best])) if np.isfinite(alive[best]) else None)
    return out


def _tempered(logits: Tensor, hold: int, temperature: float) -> Tensor:
    """Log-probabilities ``(N, vocab)`` in nats, at a temperature that says which notes are struck, and not how long they last.

    "Goes on" is the likeliest token of a voice, so a temperature below 1 for all tokens makes notes ever longer.
    """
    logp = logits.log_softmax(1)
    lasts = torch.arange(logp.shape[1], device=logp.device) == hold
    struck = logp.masked_fill(lasts, -math.inf)
    some = struck.logsumexp(1, keepdim=True)
    struck = torch.where(some.isinf(), struck, (struck / temperature).log_softmax(1) + some)
    return torch.where(lasts, logp, struck)


def _until(plan: Plan, letters: _Alphabet, first: int) -> tuple[tuple[int, ...], list[int]]:
    """What sounded at the moment before the first free token, and what of its own moment is given."""
    before: tuple[int, ...] = ()
    now: list[int] = []
    for token, v in zip(plan.tokens[:first], plan.voice[:first], strict=True):
        if v >= 0:
            now.append(_sounding(letters, token, v, before, plan.shift))
            if v == VOICES - 1:
                before, now = tuple(now), []
    return before, now


def _sounding(letters: _Alphabet, token: int, v: int, before: tuple[int, ...], shift: int) -> int:
    """The pitch that a token leaves sounding; -1 for none."""
    if token == letters.hold[v]:
        return before[v] if before else -1
    return letters.sounds[token] - shift if token in letters.sounds else -1


def _breaks(before: tuple[int, ...], now: Sequence[int]) -> bool:
    """Whether the step to chords that were not ours breaks a rule between voices, or leaps."""
    for v, p in enumerate(now):
        if p >= 0 and before and before[v] >= 0 and p != before[v]:
            left = allowed(before, tuple(now[:v]))
            free = allowed((), tuple(now[:v]))
            if free[p] and not left[p]:
                return True
    return False


def _resample(weight: NDArray[np.float64], ways: int, particles: int, rngs: Sequence[Rng]) -> NDArray[np.int64] | None:
    """Which drafts go on, where in some way few carry the weight; ``weight`` is set back there. None: all go on."""
    rows = np.arange(len(weight))
    moved = False
    for k in range(ways):
        mine = slice(k * particles, (k + 1) * particles)
        w = weight[mine]
        if not np.isfinite(w).any():
            continue  # this way has come to its end
        p = np.exp(w - w[np.isfinite(w)].max())
        p /= p.sum()
        if 1 / (p**2).sum() >= particles / 2:
            continue
        u = (np.arange(particles) + float(rngs[k].uniform(1))) / particles  # systematic
        rows[mine] = k * particles + np.minimum(np.searchsorted(np.cumsum(p), u), particles - 1)
        weight[mine] = 0.0
        moved = True
    return rows if moved else None
