"""Dynamic batching: pieces that are made at once (pictures, rows, tunes) are gathered for a moment and made together.

Requests with equal knobs share a batch, in which each piece has random numbers of its own seed; so it is what it would be
alone. What cannot be shared (an edit, a voice, an embedding) is a call that runs between batches.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from bottega.core import BottegaError, Item
from bottega.serve.queue import Post, Queue, Ticket
from bottega.workshop.run import Run

__all__ = ["Call", "Make", "OneshotEngine"]

_LOG = logging.getLogger("bottega.serve")


@dataclass(frozen=True)
class Make:
    """One piece that is wanted; its event is the ``Item``.

    Attributes:
        seed: whose piece it is.
        cond: what it should be; None for what its seed names.
        knobs: of the family's ``sample``.
    """

    seed: int
    cond: Any = None
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Equal for pieces that can be made together."""
        return json.dumps([self.cond is None, sorted(self.knobs.items())], default=repr)


@dataclass(frozen=True)
class Call:
    """Something else that the run's worker does; its event is what it returns."""

    call: Callable[[], Any]


class OneshotEngine:
    """A worker that makes all pieces of one run.

    Args:
        run: makes them.
        queue: of tickets whose ``ask`` is a ``Make`` or a ``Call``.
        post: to where events go.
        batch: pieces at once.
        gather: seconds that a batch waits for more.
    """

    def __init__(
        self, run: Run, queue: Queue[Ticket], post: Post, *, batch: int = 16, gather: float = 0.004, threads: int = 0
    ) -> None:
        self.run, self.queue, self.post, self.batch, self.gather = run, queue, post, batch, gather
        self.threads, self.closed, self.working = threads, False, 0
        self.batches = self.pieces = 0
        self.made: Callable[[Sequence[Item]], None] | None = None  # is told of every piece
        self.thread = threading.Thread(target=self._work, name=f"pieces of {queue.name}", daemon=True)
        self.thread.start()

    def submit(self, asks: Sequence[Make | Call]) -> list[Ticket]:
        """Ask for pieces, all or none of them; raises Busy where the queue is full."""
        tickets = [Ticket(ask) for ask in asks]
        self.queue.put(tickets)
        return tickets

    @property
    def busy(self) -> int:
        """How many pieces are being made or wait."""
        return self.working + len(self.queue)

    def close(self) -> None:
        """Stop the worker once its batch is done."""
        self.closed = True
        self.queue.wake()
        self.thread.join(30)

    def _work(self) -> None:
        if self.threads:
            torch.set_num_threads(self.threads)
        while not self.closed:
            self.queue.wait(lambda: self.closed)
            some = self._gathered()
            self.working = len(some)
            if some:
                self._make(some)
            self.working = 0
            self.post.send()
        while (ticket := self.queue.take()) is not None:
            self.post.put(ticket, BottegaError(f"{self.queue.name} was unloaded"), last=True)
        self.post.send()

    def _gathered(self) -> list[Ticket]:
        """The first that waits, and those behind it that go with it, waited for a moment."""
        first = self._take(lambda _: True)
        if first is None:
            return []
        some = [first]
        if isinstance(first.ask, Call):
            return some
        key, until = first.ask.key, time.monotonic() + self.gather
        while len(some) < self.batch:
            more = self._take(lambda ask: isinstance(ask, Make) and ask.key == key)
            if more is not None:
                some.append(more)
            elif time.monotonic() >= until or self.closed:
                break
            else:
                time.sleep(self.gather / 4)
        return some

    def _take(self, fits: Callable[[Any], bool]) -> Ticket | None:
        with self.queue.here:
            for ticket in list(self.queue.items):
                if ticket.cancelled:
                    self.queue.items.remove(ticket)
                elif fits(ticket.ask):
                    self.queue.items.remove(ticket)
                    ticket.began = time.monotonic()
                    return ticket
        return None

    def _make(self, some: list[Ticket]) -> None:
        try:
            made = self._done(some)
        except BottegaError as error:
            if len(some) == 1:
                self._end(some[0], error)
                return
            for ticket in some:  # one of them is to blame; the others get theirs
                self._make([ticket])
            return
        except Exception as error:
            _LOG.exception("making pieces of %s failed", self.queue.name)
            for ticket in some:
                self._end(ticket, error)
            return
        for ticket, one in zip(some, made, strict=True):
            self._end(ticket, one)

    def _done(self, some: list[Ticket]) -> list[Any]:
        first = some[0].ask
        self.batches += 1
        if isinstance(first, Call):
            return [first.call()]
        asks: list[Make] = [ticket.ask for ticket in some]
        cond = None if first.cond is None else [ask.cond for ask in asks]
        items: list[Item] = self.run.sample(len(asks), seeds=[a.seed for a in asks], cond=cond, **first.knobs).items
        self.pieces += len(items)
        if self.made is not None:
            self.made(items)
        return list(items)

    def _end(self, ticket: Ticket, event: Any) -> None:
        self.post.put(ticket, event, last=True)
        self.queue.speed.done()
