"""Making token sequences left to right: which tokens may follow, and the loop that picks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from bottega.core import RecipeError, Rng
from bottega.samplers.steps import Step, Takes

__all__ = [
    "Chooser",
    "Guide",
    "Notes",
    "Step",
    "discourage",
    "filter_logits",
    "generate",
    "penalise",
    "pick",
    "repeats",
]


def filter_logits(
    logits: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> Tensor:
    """Logits ``(..., vocab)`` divided by ``temperature``, with the tokens that may not follow at minus infinity.

    Tokens that are exactly as likely as the last that may follow may follow too.

    Args:
        logits: unnormalised log-probabilities.
        temperature: above 1 flatter, below 1 sharper; 0 leaves the likeliest token only.
        top_k: leave the k likeliest; 0 leaves all (Fan et al. 2018, arXiv:1805.04833).
        top_p: leave the smallest set of likeliest tokens that holds this mass (Holtzman et al. 2019, arXiv:1904.09751).
        min_p: leave tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024, arXiv:2407.01082).

    Raises:
        RecipeError: a knob is out of range.

    >>> filter_logits(torch.tensor([2.0, 1.0, 0.0]), top_k=2)
    tensor([2., 1., -inf])
    """
    if temperature < 0 or top_k < 0 or not 0 < top_p <= 1 or not 0 <= min_p <= 1:
        raise RecipeError(
            f"temperature={temperature}, top_k={top_k}, top_p={top_p}, min_p={min_p}: "
            "temperature and top_k must be at least 0, top_p in (0, 1], min_p in [0, 1]"
        )
    nothing = float("-inf")
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, nothing).scatter(-1, best, 0.0)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, -1).values[..., -1:], nothing)
    if top_p < 1:
        p = logits.softmax(-1)
        ranked = p.sort(-1, descending=True).values
        stay = (ranked.cumsum(-1) - ranked) < top_p  # the mass before a token is not yet enough
        logits = logits.masked_fill(p < ranked.gather(-1, stay.sum(-1, keepdim=True) - 1), nothing)
    if min_p > 0:
        p = logits.softmax(-1)
        logits = logits.masked_fill(p < min_p * p.amax(-1, keepdim=True), nothing)
    return logits


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens already ``seen`` ``(n, vocab)`` less likely: positive logits are divided, negative multiplied.

    Keskar et al. 2019, arXiv:1909.05858, section 4.1; 1 changes nothing.

    Raises:
        RecipeError: ``penalty`` is not above 0.
    """
    if not penalty > 0:
        raise RecipeError(f"repetition_penalty is {penalty}; it must be above 0, and 1 changes nothing")
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def pick(logits: Tensor, u: Tensor) -> Tensor:
    """The token at which the cumulative probability passes ``u``: ``(n, vocab)``, ``(n,)`` in [0, 1) -> ``(n,)``.

    One number for each token makes a draw depend on its row and position only, however the work is batched.
    """
    mass = logits.double().softmax(-1).cumsum(-1)
    at = u.double()[:, None] * mass[:, -1:]
    return torch.searchsorted(mass, at, right=True)[:, 0]


def discourage(logits: Tensor, counts: Tensor, frequency: float, presence: float) -> Tensor:
    """Logits less ``frequency`` for each time that a token was made, and ``presence`` for the first time.

    As OpenAI's API defines them; ``counts`` ``(n, vocab)`` are of what was made, without the prompt. Below 0 they
    encourage.

    >>> discourage(torch.zeros(1, 3), torch.tensor([[2, 1, 0]]), 0.5, 0.25)
    tensor([[-1.2500, -0.7500,  0.0000]])
    """
    return logits - frequency * counts - presence * (counts > 0)


def repeats(text: Tensor, lengths: Tensor, size: int, vocab: int) -> Tensor:
    """``(n, vocab)`` bool: tokens that would write a run of ``size`` tokens a second time (Paulus et al. 2017, 1705.04304).

    Args:
        text: ``(n, t)`` tokens, of each row as many as ``lengths`` says, -1 behind them.
        lengths: ``(n,)``.
        size: of the runs, at least 1.
        vocab: how many tokens there are.

    >>> repeats(torch.tensor([[3, 1, 2, 3, 1]]), torch.tensor([5]), 3, 5).nonzero().tolist()
    [[0, 2]]
    """
    out = torch.zeros(len(text), vocab, dtype=torch.bool, device=text.device)
    if text.shape[1] < size:
        return out
    runs = text.unfold(1, size, 1)  # (n, t - size + 1, size)
    at = (lengths[:, None] - (size - 1) + torch.arange(size - 1, device=text.device)).clamp_min(0)
    again = (runs[..., :-1] == text.gather(1, at)[:, None]).all(-1) & (runs[..., -1] >= 0)
    again &= (lengths >= size - 1)[:, None]
    row, place = again.nonzero(as_tuple=True)
    out[row, runs[row, place, -1]] = True
    return out


class Guide(Protocol):
    """What watches over rows as they are made: stop strings, grammars. It knows every row by its number in the batch."""

    why: str

    def bar(self, rows: Tensor, logits: Tensor) -> Tensor:
        """Logits ``(m, vocab)`` of those rows ``(m,)``, minus infinity where a token may not follow."""

    def amend(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """What those rows are to make, ``(m,)``, where they have chosen these tokens."""

    def see(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Those rows have made these tokens ``(m,)``; True ``(m,)`` for a row that is over now."""

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order; one may come more than once."""


@dataclass
class Notes:
    """What is to be known of the making of each row, besides its tokens.

    Attributes:
        top: how many of the likeliest tokens to note at each place.
        tokens: of each row, those that were made.
        logprobs: of each, its log-probability in nats by the model itself, before any knob.
        likeliest: of each, the ``top`` likeliest tokens with theirs.
        finish: why each row ended: ``"end"`` (it made the stop token), a guide's ``why``, or ``"length"``.
    """

    top: int = 0
    tokens: list[list[int]] = field(default_factory=list)
    logprobs: list[list[float]] = field(default_factory=list)
    likeliest: list[list[list[tuple[int, float]]]] = field(default_factory=list)
    finish: list[str] = field(default_factory=list)

    def begin(self, n: int) -> None:
        """Forget all, for ``n`` rows."""
        self.tokens, self.logprobs = [[] for _ in range(n)], [[] for _ in range(n)]
        self.likeliest, self.finish = [[] for _ in range(n)], ["length"] * n

    def put(self, rows: Tensor, tokens: Tensor, logits: Tensor) -> None:
        """Those rows made these tokens ``(m,)`` from these logits ``(m, vocab)``."""
        logprobs = logits.float().log_softmax(-1)
        best = logprobs.topk(min(self.top, logits.shape[1]), -1) if self.top else None
        mine = logprobs.gather(1, tokens[:, None])[:, 0].tolist()
        for k, (row, token) in enumerate(zip(rows.tolist(), tokens.tolist(), strict=True)):
            self.tokens[row].append(token)
            self.logprobs[row].append(mine[k])
            if best is not None:
                pairs = zip(best.indices[k].tolist(), best.values[k].tolist(), strict=True)
                self.likeliest[row].append(list(pairs))


class Chooser:
    """Picks the next token of each row: what was written counts, knobs filter, a number between 0 and 1 decides.

    Args:
        text: ``(n, width)`` room for what rows hold, -1 where nothing stands yet; the prompts stand in it already.
        guides: what watches over the rows.
        notes: takes log-probabilities.
        knobs: those of ``generate``.
    """

    def __init__(
        self,
        text: Tensor,
        guides: Sequence[Guide] = (),
        notes: Notes | None = None,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        no_repeat: int = 0,
        min_new: int = 0,
        stop: int | None = None,
    ) -> None:
        if no_repeat < 0 or min_new < 0:
            raise RecipeError(f"no_repeat={no_repeat}, min_new={min_new}: neither may be below 0")
        if guides and stop is None:
            raise ValueError("guides end rows, so they need a stop token to fill them with")
        filter_logits(text.new_zeros(1, 2).float(), temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        self.text, self.guides, self.notes = text, guides, notes
        self.lengths = (text >= 0).sum(1)
        self.made = torch.zeros_like(self.lengths)
        self.done = torch.zeros(len(text), dtype=torch.bool, device=text.device)
        self.filters = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        self.greedy, self.plain = temperature == 0, temperature == 1 and not top_k and top_p == 1 and not min_p
        self.penalty, self.frequency, self.presence = repetition_penalty, frequency_penalty, presence_penalty
        self.no_repeat, self.min_new, self.stop = no_repeat, min_new, stop
        self.seen: Tensor | None = None  # (n, vocab), how often each row holds each token
        self.counts: Tensor | None = None  # the same of what was made
        if notes is not None:
            notes.begin(len(text))

    def weigh(self, rows: Tensor, logits: Tensor) -> Tensor:
        """The logits of these rows as penalties, bans and guides leave them, ``(m, vocab)``."""
        if self.penalty != 1:
            if self.seen is None:
                self.seen = logits.new_zeros(len(self.text), logits.shape[1] + 1, dtype=torch.long)
                at = self.text.masked_fill(self.text < 0, logits.shape[1])
                self.seen.scatter_add_(1, at, torch.ones_like(at))
            logits = penalise(logits, self.seen[rows, :-1] > 0, self.penalty)
        if self.frequency or self.presence:
            if self.counts is None:
                self.counts = logits.new_zeros(len(self.text), logits.shape[1], dtype=torch.long)
            logits = discourage(logits, self.counts[rows], self.frequency, self.presence)
        if self.no_repeat:
            again = repeats(self.text[rows], self.lengths[rows], self.no_repeat, logits.shape[1])
            logits = logits.masked_fill(again & ~again.all(1, keepdim=True), float("-inf"))
        if self.min_new and self.stop is not None:
            early = (self.made[rows] < self.min_new)[:, None]
            logits = logits.masked_fill(early & _only(logits, self.stop), float("-inf"))
        for guide in self.guides:
            logits = guide.bar(rows, logits)
        return logits

    def choose(self, rows: Tensor, logits: Tensor, u: Tensor) -> Tensor:
        """The next token of these rows ``(m,)`` by the numbers ``u`` ``(m,)``; nothing is noted yet."""
        weighed = self.weigh(rows, logits)
        if self.greedy:
            token = weighed.argmax(-1)
        else:
            token = pick(weighed if self.plain else filter_logits(weighed, **self.filters), u)
        for guide in self.guides:
            token = guide.amend(rows, token)
        return token

    def note(self, rows: Tensor, tokens: Tensor, logits: Tensor | None) -> None:
        """These rows hold these tokens now; ``logits`` is None for tokens that were given."""
        self.text[rows, self.lengths[rows]] = tokens
        self.lengths[rows] += 1
        if self.seen is not None:
            self.seen[rows, tokens] += 1
        if logits is None:
            return
        self.made[rows] += 1
        if self.counts is not None:
            self.counts[rows, tokens] += 1
        if self.notes is not None:
            self.notes.put(rows, tokens, logits)
        over = torch.zeros_like(tokens, dtype=torch.bool) if self.stop is None else tokens == self.stop
        self._end(rows, over, "end")
        for guide in self.guides:
            over |= guide.see(rows, tokens)
            self._end(rows, over, guide.why)

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order; one may come more than once (beams)."""
        self.text, self.lengths, self.made, self.done = (
            part[rows] for part in (self.text, self.lengths, self.made, self.done)
        )
        self.seen = None if self.seen is None else self.seen[rows]
        self.counts = None if self.counts is None else self.counts[rows]
        for guide in self.guides:
            guide.take(rows)

    def _end(self, rows: Tensor, over: Tensor, why: str) -> None:
        if self.notes is not None:
            for row in rows[over & ~self.done[rows]].tolist():
                self.notes.finish[row] = why
        self.done[rows] |= over


def _only(logits: Tensor, token: int) -> Tensor:
    return (torch.arange(logits.shape[-1], device=logits.device) == token)[None]


@torch.no_grad()
def generate(
    step: Step,
    given: Tensor,
    keep: Tensor,
    rng: Rng,
    lengths: Tensor | None = None,
    guides: Sequence[Guide] = (),
    notes: Notes | None = None,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    no_repeat: int = 0,
    min_new: int = 0,
    stop: int | None = None,
) -> Iterator[Tensor]:
    """Make ``(n, length)`` tokens from left to right; yields what is new, ``(n, t)`` at a time.

    Args:
        step: the model, see ``Step``. Where it ``Takes``, rows that are done are read no more.
        given: ``(n, length)`` tokens, of which those are used that ``keep`` names.
        keep: ``(n, length)`` bool; kept positions are forced. What all rows keep at the start is read in one step.
        rng: one number for each row and position, drawn at once.
        lengths: how many of the tokens that all rows keep at the start are real, ``(n,)``, the others being padding that
            nothing sees; what is made follows them. A row is then what it is without the padding. None: all.
        guides: what watches over the rows; they need ``stop``.
        notes: takes log-probabilities, and why each row ended.
        temperature: see ``filter_logits``.
        top_k: see ``filter_logits``.
        top_p: see ``filter_logits``.
        min_p: see ``filter_logits``.
        repetition_penalty: see ``penalise``; the given tokens count as seen.
        frequency_penalty: see ``discourage``; the given tokens do not count.
        presence_penalty: see ``discourage``.
        no_repeat: no run of so many tokens comes twice, those given included; 0 allows all. See ``repeats``.
        min_new: how many tokens a row makes at least before it may make ``stop``.
        stop: once a row has made this token, the rest of the row is this token (kept positions excepted).

    Raises:
        RecipeError: a knob is out of range.
    """
    n, length = given.shape
    u = rng.uniform(n, length)
    open_columns = (~keep).any(0).nonzero()
    start = int(open_columns[0]) if len(open_columns) else length
    prompt = given[:, :start]
    if lengths is not None:
        prompt = prompt.masked_fill(torch.arange(start, device=given.device) >= lengths[:, None], -1)
    before = torch.full((n,), start, device=given.device) if lengths is None else lengths
    text = torch.cat([prompt, torch.full((n, length - start), -1, device=given.device)], 1)
    chooser = Chooser(
        text, guides, notes, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty, frequency_penalty=frequency_penalty, presence_penalty=presence_penalty,
        no_repeat=no_repeat, min_new=min_new, stop=stop,
    )  # fmt: skip
    if start:
        yield given[:, :start]
    fill, fresh, live = stop or 0, prompt, torch.arange(n, device=given.device)
    for i in range(start, length):
        logits = step(fresh)
        going = ~chooser.done[live]
        kept, at = keep[live, i], u[live, before[live] + (i - start)]
        token = given[:, i].where(keep[:, i], torch.full_like(given[:, i], fill))
        rows = live[going & ~kept]
        if len(rows) == len(live):
            token[rows] = chooser.choose(rows, logits, at)
            chooser.note(rows, token[rows], logits)
        else:
            here = (going & ~kept).nonzero()[:, 0]
            if len(here):
                token[rows] = chooser.choose(rows, logits[here], at[here])
                chooser.note(rows, token[rows], logits[here])
            chooser.note(live[kept], token[live[kept]], None)
        fresh = token[live][:, None]
        yield token[:, None]
        if i + 1 == length:
            return
        if bool(chooser.done.all()):  # nothing is drawn any more, so ending early changes no row
            yield given[:, i + 1 :].where(keep[:, i + 1 :], torch.full_like(given[:, i + 1 :], fill))
            return
        left = (~chooser.done[live]).nonzero()[:, 0]
        if isinstance(step, Takes) and 2 * len(left) <= len(live):
            step.take(left)
            live, fresh = live[left], fresh[left]
