"""Texts of models that cannot share a pass: each has a stream of its own, and they take turns, token by token."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from typing import Any

import torch

from bottega.core import BottegaError
from bottega.crafts import write
from bottega.serve.engine_tokens import Ask, Said
from bottega.serve.queue import Post, Queue, Ticket
from bottega.workshop.run import Run, knobs_of

__all__ = ["TurnsEngine"]

_LOG = logging.getLogger("bottega.serve")


class TurnsEngine:
    """A worker that writes the texts of one run, a part of each in turn.

    Its tickets hold an ``Ask`` whose ``prompt`` is what ``crafts.write.stream`` takes: a text, or messages.

    Args:
        run: writes them.
        queue: of tickets.
        post: to where events go.
        rows: texts at once.
    """

    def __init__(self, run: Run, queue: Queue[Ticket], post: Post, *, rows: int = 8, threads: int = 0) -> None:
        self.run, self.queue, self.post, self.most, self.threads = run, queue, post, rows, threads
        self.running: list[tuple[Ticket, Generator[str, None, str], Said]] = []
        self.closed = False
        self.steps = self.tokens = self.preempted = 0
        self.thread = threading.Thread(target=self._work, name=f"texts of {queue.name}", daemon=True)
        self.thread.start()

    def submit(self, asks: Sequence[Ask]) -> list[Ticket]:
        """Ask for texts, all or none of them.

        Raises:
            BottegaError: log-probabilities or a knob that this family does not know; the queue is full.
        """
        model: Any = self.run.model
        known = knobs_of(model.stream, 3)
        for ask in asks:
            if ask.logprobs is not None or ask.form is not None:
                what = "logprobs" if ask.logprobs is not None else "response_format"
                raise BottegaError(
                    f"{self.queue.name} is of the family {self.run.recipe.family['name']}, which knows no {what}"
                )
            self._knobs(ask, known)
        tickets = [Ticket(ask) for ask in asks]
        self.queue.put(tickets)
        return tickets

    def _knobs(self, ask: Ask, known: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, plain in {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0,
                            "frequency_penalty": 0.0, "presence_penalty": 0.0}.items():  # fmt: skip
            value = getattr(ask.knobs, name)
            if value != plain and name not in known:
                raise BottegaError(f"{name} is {value}, and {self.queue.name} has no such knob; leave it out")
            if name in known:
                out[name] = value
        if ask.knobs.bias:
            raise BottegaError(f"{self.queue.name} knows no logit_bias; leave it out")
        return out

    @property
    def busy(self) -> int:
        """How many texts run or wait."""
        return len(self.running) + len(self.queue)

    def close(self) -> None:
        """Stop the worker; what runs is called off."""
        self.closed = True
        self.queue.wake()
        self.thread.join(30)

    def _work(self) -> None:
        if self.threads:
            torch.set_num_threads(self.threads)
        model: Any = self.run.model
        while not self.closed:
            if not self.running:
                self.queue.wait(lambda: self.closed)
            while len(self.running) < self.most and (ticket := self.queue.take()) is not None:
                ask: Ask = ticket.ask
                prompt: Any = ask.prompt
                made = write.stream(
                    self.run,
                    prompt,
                    seed=ask.seed,
                    max_new=ask.max_new,
                    stop=ask.stops,
                    **self._knobs(ask, knobs_of(model.stream, 3)),
                )
                self.running.append((ticket, made, Said()))
            self.running = [one for one in self.running if self._turn(*one)]
            self.post.send()
        for ticket, _, _ in self.running:
            self.post.put(ticket, BottegaError(f"{self.queue.name} was unloaded"), last=True)
        self.post.send()

    def _turn(self, ticket: Ticket, made: Generator[str, None, str], said: Said) -> bool:
        """One part of one text; whether it goes on."""
        if ticket.cancelled:
            made.close()
            return False
        self.steps += 1
        try:
            text = next(made)
            self.tokens += 1
        except StopIteration as over:
            said.finish = str(over.value or "length")
            self.post.put(ticket, said, last=True)
            self.queue.speed.done()
            return False
        except BottegaError as error:
            self.post.put(ticket, error, last=True)
            return False
        except Exception as error:
            _LOG.exception("a text of %s failed", self.queue.name)
            self.post.put(ticket, error, last=True)
            return False
        if ticket.ask.stream:
            self.post.put(ticket, Said(text))
        else:
            said.text += text
        return True
