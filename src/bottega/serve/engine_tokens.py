"""Continuous batching: texts join and leave at every token (Yu et al. 2022, "Orca", OSDI), in pages of keys and values.

A step reads one token of each running text and a stretch of the prompts that are new, in one pass; then all rows draw their
next token in one go. A prompt is read in stretches that begin at multiples of ``STRETCH``, whatever else runs, and each row
draws by numbers that belong to its seed and place: a text is what it would be alone.

Where pages run out, the youngest text goes back to the front of the queue. When it comes again it is read and written anew,
the same tokens, and what was said already is not said twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bottega.core import BottegaError, Rng
from bottega.nets.pages import PagedReader, PageRow
from bottega.samplers.constrain import Form
from bottega.samplers.rows import Knobs, Rows, choose
from bottega.samplers.texts import Writer
from bottega.serve.queue import Post, Queue, Ticket

__all__ = ["Ask", "Said", "TokenEngine"]

STRETCH = 64  # positions of a prompt that are read at once
_LOG = logging.getLogger("bottega.serve")


@dataclass
class Ask:
    """One text that is wanted.

    Attributes:
        prompt: its tokens, the model's own start not among them.
        seed: whose text it is.
        max_new: tokens at most.
        knobs: how it draws.
        stops: strings that end it and are not part of it.
        form: keeps it within a grammar.
        logprobs: None, or how many of the likeliest tokens are told at each place besides the one that was drawn.
        stream: whether every part is told as it is made.
        answer: whether it is an answer, whose outer blanks are no part of it.
        cond: of what class it is, encoded ``(1, ...)``.
        end: the token that ends it.
    """

    prompt: list[int]
    seed: int
    max_new: int
    knobs: Knobs = Knobs()
    stops: Sequence[str] = ()
    form: Form | None = None
    logprobs: int | None = None
    stream: bool = False
    answer: bool = False
    cond: Tensor | None = None
    end: int = -1


@dataclass
class Said:
    """A part of a text, or, without ``stream``, all of it.

    Attributes:
        text: what is new.
        tokens: the tokens it was read off; the last may be the end, or spell a stop.
        logprobs: for each token its log-probability, and the likeliest with theirs.
        finish: empty; in the last part ``"end"``, ``"stop"``, ``"complete"`` or ``"length"``.
    """

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[tuple[float, list[tuple[int, float]]]] = field(default_factory=list)
    finish: str = ""


class _Row:
    """A text that runs."""

    def __init__(self, ticket: Ticket, reader: PagedReader, spelling: Sequence[bytes], lead: str = "") -> None:
        ask: Ask = ticket.ask
        self.ticket, self.ask = ticket, ask
        self.pages = PageRow()
        if reader.given is not None:
            self.pages.given = reader.given(ask.cond)
        self.prompt = reader.begun(ask.prompt)
        given = len(ask.prompt)  # the numbers of a row go on behind its prompt, as in samplers.tokens.generate
        self.u: list[float] = Rng.for_rows([ask.seed]).uniform(1, given + ask.max_new)[0, given:].tolist()
        lead = "" if ask.prompt or ask.form is not None else lead  # only a whole text begins with it
        self.writer = Writer(spelling, ask.stops, ask.end, lead)
        self.made: list[int] = []
        self.said = Said()
        self.held, self.begun = "", not ask.answer
        self.seen: Tensor | None = None
        self.counts: Tensor | None = None
        self.whole = False

    @property
    def left(self) -> int:
        """Tokens of the prompt that are not read yet."""
        return max(0, len(self.prompt) - self.pages.length)

    def remember(self, vocab: int) -> None:
        """Count what it holds, for knobs that ask."""
        if self.seen is None:
            self.seen, self.counts = torch.zeros(vocab), torch.zeros(vocab)
            for token in self.ask.prompt:
                self.seen[token] += 1

    def push(self, token: int, note: tuple[float, list[tuple[int, float]]] | None) -> str:
        """Take a token; returns why the text is over, empty while it is not."""
        self.made.append(token)
        if self.counts is not None and self.seen is not None:
            self.counts[token] += 1
            self.seen[token] += 1
        text = self.writer.push(token)
        over = self.writer.why
        if not over and self.whole:
            over = "complete"
        if not over and len(self.made) == self.ask.max_new:
            over = "length"
        if over and not self.writer.why:
            text += self.writer.close()
        self.said.text += self._within(text)
        self.said.tokens.append(token)
        if note is not None:
            self.said.logprobs.append(note)
        self.said.finish = over
        return over

    def _within(self, text: str) -> str:
        """Of an answer, what is said without its outer blanks: they wait for what follows."""
        if not self.ask.answer:
            return text
        text = self.held + text if self.begun else text.lstrip()
        whole = text.rstrip()
        self.held, self.begun = text[len(whole) :], self.begun or bool(whole)
        return whole


class TokenEngine:
    """A worker that writes all texts of one model.

    Args:
        reader: of the model.
        spelling: the bytes of each token.
        queue: of tickets whose ``ask`` is an ``Ask``.
        post: to where events go.
        rows: texts at once.
        budget: tokens of prompts read in one step.
        name: of the model.
        threads: of torch, in this worker; 0 leaves them.
        lead: what the first token of a text is spelt with and is no part of it; see ``TextCodec.lead``.
    """

    def __init__(
        self, reader: PagedReader, spelling: Sequence[bytes], queue: Queue[Ticket], post: Post, *,
        rows: int = 64, budget: int = 128, name: str = "model", threads: int = 0, lead: str = "",
    ) -> None:  # fmt: skip
        self.lead = lead
        self.reader, self.spelling, self.queue, self.post = reader, spelling, queue, post
        self.most, self.budget, self.name, self.threads = rows, max(budget, STRETCH), name, threads
        self.running: list[_Row] = []
        self.parked: dict[int, _Row] = {}  # of tickets that went back: what they had made
        self.drawn: tuple[list[_Row], Rows] | None = None
        self.closed = False
        self.steps = self.tokens = self.preempted = 0
        self.thread = threading.Thread(target=self._work, name=f"tokens of {name}", daemon=True)
        self.thread.start()

    # ---- from any thread -------------------------------------------------------------------------------------------

    def submit(self, asks: Sequence[Ask]) -> list[Ticket]:
        """Ask for texts, all or none of them; raises Busy where the queue is full, BottegaError where one has no room."""
        for ask in asks:
            long = len(self.reader.begun(ask.prompt)) + ask.max_new - 1
            if long > self.reader.sees or self.reader.pages.needs(long) > self.reader.pages.limit:
                raise BottegaError(f"a text of {long} tokens has no room in {self.name}")
        tickets = [Ticket(ask) for ask in asks]
        for ticket in tickets:
            ticket.on_cancel = self.queue.wake
        self.queue.put(tickets)
        return tickets

    @property
    def busy(self) -> int:
        """How many texts run or wait."""
        return len(self.running) + len(self.queue)

    def close(self) -> None:
        """Stop the worker; what runs is called off."""
        self.closed = True
        self.queue.wake()
        self.thread.join(30)

    # ---- the worker ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        torch.set_num_threads(self.threads or 1)
        while not self.closed:
            if not self.running:
                self.queue.wait(lambda: self.closed)
            try:
                self.step()
            except Exception:
                _LOG.exception("a step of %s failed", self.name)
                self._fail(BottegaError(f"{self.name} failed in the middle of a text; this is a fault of the server"))
            self.post.send()
        self._fail(BottegaError(f"{self.name} was unloaded"))
        self.post.send()

    def _fail(self, error: Exception) -> None:
        for row in self.running:
            self._leave(row, error)
        self.running = []

    def _leave(self, row: _Row, event: Any) -> None:
        self.reader.pages.release(row.pages)
        self.post.put(row.ticket, event, last=True)
        self.queue.speed.done()

    @torch.inference_mode()
    def step(self) -> None:
        """Read one token of each running text and some of the new prompts; draw; tell."""
        self._drop_cancelled()
        self._admit()
        stretches = self._stretches()
        singles = [row for row in self.running if not row.left and row.made]
        singles = self._make_room(singles)
        stretches = [(row, count) for row, count in stretches if row in self.running]
        tokens = [self._next(row) for row in singles]
        wanted, rows, at = list(range(len(singles))), list(singles), len(singles)
        for row, count in stretches:
            done = row.pages.length
            tokens += row.prompt[done : done + count]
            at += count
            if done + count == len(row.prompt):
                wanted.append(at - 1)
                rows.append(row)
        if not tokens:
            return
        logits = self.reader(tokens, [row.pages for row in singles], [(r.pages, c) for r, c in stretches], wanted)
        self.steps += 1
        if rows:
            self._draw(rows, logits)

    def _next(self, row: _Row) -> int:
        """The token that a row reads now: its last, or, where it is written anew, that at its place."""
        return row.made[row.pages.length - len(row.prompt)]

    def _drop_cancelled(self) -> None:
        gone = [row for row in self.running if row.ticket.cancelled]
        for row in gone:
            self.reader.pages.release(row.pages)
            row.ticket.over = True
        if gone:
            self.running = [row for row in self.running if not row.ticket.cancelled]

    def _admit(self) -> None:
        """Texts join while there is room for their prompts and one token more."""
        while len(self.running) < self.most:
            ticket = self.queue.take()
            if ticket is None:
                return
            if ticket.cancelled:
                ticket.over = True
                self.parked.pop(id(ticket), None)
                continue
            try:
                row = self.parked.pop(id(ticket), None) or _Row(ticket, self.reader, self.spelling, self.lead)
            except Exception as error:  # a condition that the model does not take
                self.post.put(ticket, error, last=True)
                continue
            if not self.reader.pages.fit(row.pages, len(row.prompt) + len(row.made) + 1) and self.running:
                self.parked[id(ticket)] = row
                self.queue.back(ticket)
                return
            ticket.began = ticket.began or time.monotonic()
            self.running.append(row)

    def _stretches(self) -> list[tuple[_Row, int]]:
        """What is read of the prompts now: whole stretches, in the order in which texts came."""
        out, spent = [], 0
        for row in self.running:
            if row.left and (spent == 0 or spent + min(row.left, STRETCH) <= self.budget):
                count = min(row.left, STRETCH - row.pages.length % STRETCH)
                out.append((row, count))
                spent += count
        return out

    def _make_room(self, singles: list[_Row]) -> list[_Row]:
        """A page for each row whose last is full; where there is none, the youngest goes back to the queue."""
        pages, out = self.reader.pages, []
        for row in singles:
            while row in self.running and not pages.fit(row.pages, row.pages.length + 1):
                youngest = self.running.pop()
                pages.release(youngest.pages)
                self.parked[id(youngest.ticket)] = youngest
                self.queue.back(youngest.ticket)
                self.preempted += 1
            if row in self.running:
                out.append(row)
        return [row for row in out if row in self.running]

    def _draw(self, rows: list[_Row], logits: Tensor) -> None:
        """The next token of each row; those that are written anew have theirs."""
        fresh = [k for k, row in enumerate(rows) if row.pages.length - len(row.prompt) >= len(row.made)]
        if len(fresh) != len(rows):
            rows, logits = [rows[k] for k in fresh], logits[fresh]
            if not rows:
                return
        weighed, failed = self._weigh(rows, logits)
        if self.drawn is None or self.drawn[0] != rows:
            self.drawn = (rows, Rows([row.ask.knobs for row in rows]))
        u = torch.tensor([row.u[len(row.made)] for row in rows])
        tokens = choose(weighed, u, self.drawn[1])
        chosen: list[int] = tokens.tolist()
        notes = self._notes(rows, logits, chosen)
        self.tokens += len(rows)
        over = []
        for k, row in enumerate(rows):
            error = failed.get(k)
            if error is None and row.ask.form is not None:
                error, chosen[k] = self._within_form(row, chosen[k])
            if error is not None:
                self._leave(row, error)
                over.append(row)
                continue
            if row.push(chosen[k], notes.get(k)):
                self._leave(row, row.said)
                over.append(row)
            elif row.ask.stream and (row.said.text or row.said.logprobs):
                self.post.put(row.ticket, row.said)
                row.said = Said()
        if over:
            self.running = [row for row in self.running if row not in over]

    def _weigh(self, rows: list[_Row], logits: Tensor) -> tuple[Tensor, dict[int, BottegaError]]:
        """Logits with each row's penalties, bias and form; and the rows whose form cannot be kept."""
        failed: dict[int, BottegaError] = {}
        out = logits
        for k, row in enumerate(rows):
            knobs, form = row.ask.knobs, row.ask.form
            if not knobs.remembers and not knobs.bias and form is None:
                continue
            out = out.clone() if out is logits else out
            if knobs.remembers:
                row.remember(out.shape[1])
            out[k] = knobs.weigh(out[k], row.seen, row.counts)
            if form is not None:
                try:
                    out[k] = form.bar(torch.tensor([0]), out[k : k + 1])[0]
                except BottegaError as error:
                    failed[k] = error
        return out, failed

    def _within_form(self, row: _Row, token: int) -> tuple[BottegaError | None, int]:
        """What a row's form makes of a token; notes whether its text is whole."""
        form, zero = row.ask.form, torch.tensor([0])
        assert form is not None
        try:
            token = int(form.amend(zero, torch.tensor([token]))[0])
            row.whole = bool(form.see(zero, torch.tensor([token]))[0])
        except BottegaError as error:
            return error, token
        return None, token

    def _notes(
        self, rows: list[_Row], logits: Tensor, chosen: list[int]
    ) -> dict[int, tuple[float, list[tuple[int, float]]]]:
        """Log-probabilities by the model itself, where they are asked for."""
        asking = [k for k, row in enumerate(rows) if row.ask.logprobs is not None]
        if not asking:
            return {}
        logprobs = logits[asking].log_softmax(-1)
        top = max(rows[k].ask.logprobs or 0 for k in asking)
        best = logprobs.topk(top, -1) if top else None
        out = {}
        for i, k in enumerate(asking):
            many = rows[k].ask.logprobs or 0
            likeliest = [] if best is None else list(
                zip(best.indices[i, :many].tolist(), best.values[i, :many].tolist(), strict=True)
            )  # fmt: skip
            out[k] = (float(logprobs[i, chosen[k]]), likeliest)
        return out
