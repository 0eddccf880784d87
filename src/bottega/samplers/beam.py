"""Beam search: the likeliest texts that can be found, not drawn ones; in groups that avoid each other, if wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bottega.core import RecipeError
from bottega.samplers.tokens import Chooser, Guide

__all__ = ["Found", "search"]


@dataclass(frozen=True)
class Found:
    """One text that a search has found.

    Attributes:
        score: its log-probability in nats over its length to the power of ``length_penalty``.
        tokens: what was made, the stop token included where it made one.
        logprob: the log-probability in nats, as knobs leave it.
        logprobs: of each token, its log-probability in nats by the model itself, before any knob; empty unless asked for.
        likeliest: of each, the likeliest tokens at its place with theirs; empty unless asked for.
    """

    score: float
    tokens: list[int]
    logprob: float
    logprobs: list[float] = field(default_factory=list)
    likeliest: list[list[tuple[int, float]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Line:
    """What a beam has made so far; each place noted as its log-probability and the likeliest tokens, if at all."""

    tokens: tuple[int, ...] = ()
    noted: tuple[tuple[float, list[tuple[int, float]]], ...] = ()


@dataclass
class _Group:
    """The beams of one row that know of each other, and what they have finished."""

    size: int
    penalty: float
    found: list[Found] = field(default_factory=list)
    over: bool = False

    def add(self, line: _Line, logprob: float) -> None:
        """Keep it, if it is among the best."""
        logprobs, likeliest = [own for own, _ in line.noted], [best for _, best in line.noted]
        score = logprob / len(line.tokens) ** self.penalty
        self.found.append(Found(score, list(line.tokens), logprob, logprobs, likeliest))
        self.found = sorted(self.found, key=lambda f: -f.score)[: self.size]

    def settled(self, logprob: float, length: int, longest: int) -> bool:
        """Whether nothing that goes on from a beam of that log-probability can enter any more."""
        if len(self.found) < self.size:
            return False
        best: float = logprob / (longest if self.penalty > 0 else length) ** self.penalty
        return self.found[-1].score >= best


@torch.no_grad()
def search(
    step: Any,
    prompt: Tensor,
    more: int,
    guides: Sequence[Guide] = (),
    top: int | None = None,
    *,
    beams: int = 4,
    beam_groups: int = 1,
    diversity: float = 0.5,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    no_repeat: int = 0,
    min_new: int = 0,
    stop: int | None = None,
) -> list[list[Found]]:
    """The best ``beams`` texts for each prompt, best first.

    At each step the likeliest goings-on of all beams stay; one that makes ``stop`` among the best ``beams`` is finished.
    The search ends where no beam can enter the finished ones any more, or after ``more`` tokens. With groups (Vijayakumar
    et al. 2016, arXiv:1610.02424, algorithm 1, Hamming diversity) each group of beams is searched after the one before it
    and, in choosing a token, pays ``diversity`` for each earlier beam that chose it at the same place; log-probabilities
    stay those of the model.

    Args:
        step: the model, which must be able to ``take`` rows.
        prompt: ``(n, t)`` tokens, -1 behind those of shorter ones.
        more: how many tokens to make at most.
        guides: what watches over the beams; they need ``stop``.
        top: note the model's log-probabilities, and so many of the likeliest tokens at each place; None notes nothing.
        beams: how many go on at a time.
        beam_groups: in how many groups; divides ``beams``.
        diversity: what a group pays in nats.
        length_penalty: texts are compared by log-probability over length to this power: 0 is the sum, 1 the mean, more
            asks for longer ones.
        repetition_penalty: see ``samplers.tokens.generate``; penalties count from log-probabilities here.
        frequency_penalty: see there.
        presence_penalty: see there.
        no_repeat: see there.
        min_new: see there.
        stop: the token that ends a text.

    Returns:
        for each prompt, what was found, group after group, best first in each.

    Raises:
        RecipeError: a knob is out of range.
    """
    if beams < 1 or beam_groups < 1 or beams % beam_groups or diversity < 0:
        raise RecipeError(
            f"beams={beams}, beam_groups={beam_groups}, diversity={diversity:g}: beams must be at least 1 and a multiple of "
            "beam_groups, diversity at least 0"
        )
    n, width, device = len(prompt), beams // beam_groups, prompt.device
    logits = step(prompt)
    logprobs = logits.float().log_softmax(-1).repeat_interleave(beams, 0)
    vocab = logits.shape[1]
    step.take(torch.arange(n, device=device).repeat_interleave(beams))
    text = torch.cat([prompt, prompt.new_full((n, more), -1)], 1).repeat_interleave(beams, 0)
    chooser = Chooser(
        text, guides, repetition_penalty=repetition_penalty, frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty, no_repeat=no_repeat, min_new=min_new, stop=stop,
    )  # fmt: skip
    for guide in guides:
        guide.take(torch.arange(n, device=device).repeat_interleave(beams))
    every = torch.arange(n * beams, device=device)
    scores = torch.full((n, beams), float("-inf"), dtype=torch.float64, device=device)
    scores[:, ::width] = 0  # the beams of a group begin as one
    lines = [[_Line() for _ in range(beams)] for _ in range(n)]
    groups = [[_Group(width, length_penalty) for _ in range(beam_groups)] for _ in range(n)]
    for length in range(1, more + 1):
        weighed = chooser.weigh(every, logprobs).double().view(n, beams, vocab)
        grown = _grown(lines, logprobs.view(n, beams, vocab), top)
        came, token, chosen = _choose(weighed, scores, groups, grown, width, diversity, stop)
        rows = (torch.arange(n, device=device)[:, None] * beams + came).flatten()
        step.take(rows)
        chooser.take(rows)
        token = token.flatten()
        chooser.done[:] = False
        live = chosen.flatten().isfinite()
        chooser.note(every[live], token[live], logprobs[live])
        scores = chosen
        lines = [
            [grown(i, b, t) for b, t in zip(came[i].tolist(), token.view(n, beams)[i].tolist(), strict=True)]
            for i in range(n)
        ]
        _finish(chooser.done.view(n, beams), scores, groups, lines, width, length == more)
        _settle(scores, groups, width, length, more)
        if all(group.over for row in groups for group in row):
            break
        logprobs = step(token[:, None]).float().log_softmax(-1)
    return [[found for group in row for found in group.found] for row in groups]


def _grown(lines: list[list[_Line]], logprobs: Tensor, top: int | None) -> Callable[[int, int, int], _Line]:
    """``grown(i, b, t)``: beam ``b`` of row ``i`` with token ``t`` behind it, noted from the model's ``(n, beams, vocab)``."""
    if top is None:
        return lambda i, b, t: _Line((*lines[i][b].tokens, t))
    best = logprobs.topk(min(top, logprobs.shape[-1]), -1)
    numbers, values = best.indices.tolist(), best.values.tolist()

    def grown(i: int, b: int, t: int) -> _Line:
        line, pairs = lines[i][b], list(zip(numbers[i][b], values[i][b], strict=True))
        return _Line((*line.tokens, t), (*line.noted, (float(logprobs[i, b, t]), pairs)))

    return grown


def _choose(
    weighed: Tensor, scores: Tensor, groups: list[list[_Group]], grown: Callable[[int, int, int], _Line], width: int,
    diversity: float, stop: int | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Which beam each new one goes on from, its token and its log-probability, each ``(n, beams)``."""
    n, beams, vocab = weighed.shape
    came, token = torch.zeros(n, beams, dtype=torch.long), torch.zeros(n, beams, dtype=torch.long)
    chosen = torch.full((n, beams), float("-inf"), dtype=torch.float64)
    for g, first in enumerate(range(0, beams, width)):
        part = slice(first, first + width)
        total = scores[:, part, None] + weighed[:, part]  # (n, width, vocab)
        ranked = total
        if g and diversity:
            taken = torch.zeros(n, vocab, dtype=torch.float64, device=weighed.device)
            known = token[:, :first].to(weighed.device)
            live = chosen[:, :first].isfinite().to(weighed.device)
            taken.scatter_add_(1, known, live.double())
            ranked = total - diversity * taken[:, None]
        best = ranked.flatten(1).topk(min(2 * width, width * vocab), -1)
        where = best.indices.cpu()
        values = total.flatten(1).gather(1, best.indices).cpu()
        for i in range(n):
            if groups[i][g].over:
                continue
            filled = 0
            for rank, (k, value) in enumerate(zip(where[i].tolist(), values[i].tolist(), strict=True)):
                beam, t = first + k // vocab, k % vocab
                if value == float("-inf"):
                    break
                if t == stop:
                    if rank < width:
                        groups[i][g].add(grown(i, beam, t), value)
                    continue
                if filled < width:
                    came[i, first + filled], token[i, first + filled], chosen[i, first + filled] = beam, t, value
                    filled += 1
    return tuple(part.to(weighed.device) for part in (came, token, chosen))  # type: ignore[return-value]


def _finish(
    over: Tensor, scores: Tensor, groups: list[list[_Group]], lines: list[list[_Line]], width: int, last: bool
) -> None:
    """Beams that a guide has ended, or all at the end, are found; they do not go on."""
    for i, b in ((over | last) & scores.isfinite()).nonzero().tolist():
        if not groups[i][b // width].over:
            groups[i][b // width].add(lines[i][b], float(scores[i, b]))
        scores[i, b] = float("-inf")


def _settle(scores: Tensor, groups: list[list[_Group]], width: int, length: int, more: int) -> None:
    """Groups whose beams cannot better what is found are over."""
    for i, row in enumerate(groups):
        for g, group in enumerate(row):
            best = float(scores[i, g * width : (g + 1) * width].max())
            group.over = group.over or best == float("-inf") or group.settled(best, length, more)
            if group.over:
                scores[i, g * width : (g + 1) * width] = float("-inf")
