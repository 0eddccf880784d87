"""What waits and what is answered: a bounded queue, a deadline for each request, and ways to call it off.

Models work in threads of their own, requests are answered in asyncio's loop. A ``Ticket`` is what both hold: the worker puts
events on it, the loop takes them off. Tickets are told of in bundles, one wake-up of the loop for all that a step made.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from bottega.core import BottegaError

__all__ = ["Busy", "Late", "Post", "Queue", "Speed", "Ticket"]

T = TypeVar("T")


class Busy(BottegaError):
    """The queue is full, or the server is being stopped; ask again in ``after`` seconds."""

    def __init__(self, message: str, after: int, status: int = 429) -> None:
        super().__init__(message)
        self.after, self.status = after, status


class Late(BottegaError):
    """A request was not answered by its deadline."""


class Ticket:
    """One piece that is wanted, between the loop that waits for it and the worker that makes it.

    Args:
        ask: what is wanted, as its engine takes it.

    Attributes:
        cancelled: whether nobody waits any more; workers look at it before each step.
        began: when a worker took it up, by ``time.monotonic``; 0 while it waits.
    """

    def __init__(self, ask: Any) -> None:
        self.ask, self.cancelled, self.began, self.asked = ask, False, 0.0, time.monotonic()
        self.events: deque[Any] = deque()
        self.ready = asyncio.Event()
        self.over = False
        self.on_cancel: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Nobody waits for it any more; what it holds is freed before the next step."""
        if not self.over and not self.cancelled:
            self.cancelled = True
            if self.on_cancel is not None:
                self.on_cancel()

    def _put(self, event: Any, last: bool) -> None:
        self.events.append(event)
        self.over |= last
        self.ready.set()

    async def next(self) -> Any:
        """The next event; an exception that the worker put is raised."""
        while not self.events:
            self.ready.clear()
            await self.ready.wait()
        event = self.events.popleft()
        if isinstance(event, BaseException):
            raise event
        return event

    async def result(self) -> Any:
        """The last event."""
        while True:
            event = await self.next()
            if self.over and not self.events:
                return event


class Post:
    """Events on their way from a worker to the loop, so many at once as there are.

    Args:
        loop: in which tickets are waited for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: list[tuple[Ticket, Any, bool]] = []

    def put(self, ticket: Ticket, event: Any, last: bool = False) -> None:
        """Say something to one who waits; ``last`` is the end of it."""
        self.waiting.append((ticket, event, last))

    def send(self) -> None:
        """Wake the loop, once."""
        if self.waiting:
            some, self.waiting = self.waiting, []
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(_deliver, some)


def _deliver(some: Iterable[tuple[Ticket, Any, bool]]) -> None:
    for ticket, event, last in some:
        ticket._put(event, last)


class Speed:
    """How many requests a second get done, lately: a decaying mean over about ``memory`` seconds.

    >>> speed = Speed(now=0.0)
    >>> for second in range(1, 200):
    ...     speed.done(1, now=float(second))
    >>> round(speed.rate(now=200.0), 1)
    1.0
    """

    def __init__(self, memory: float = 20.0, now: float | None = None) -> None:
        self.memory, self.count = memory, 0.0
        self.began = self.at = time.monotonic() if now is None else now

    def done(self, many: int = 1, now: float | None = None) -> None:
        """So many more are done."""
        now = time.monotonic() if now is None else now
        self.count = self.count * math.exp((self.at - now) / self.memory) + many
        self.at = now

    def rate(self, now: float | None = None) -> float:
        """Requests a second; 0 while none is done."""
        now = time.monotonic() if now is None else now
        known = self.memory * (1 - math.exp((self.began - now) / self.memory))  # the seconds that the mean is over
        return self.count * math.exp((self.at - now) / self.memory) / max(known, 1e-3)


class Queue(Generic[T]):
    """First come, first served; full at ``limit``. Any thread may use it.

    Args:
        limit: how many may wait.
        name: of the model, for messages.
    """

    def __init__(self, limit: int, name: str) -> None:
        self.limit, self.name = limit, name
        self.items: deque[T] = deque()
        self.here = threading.Condition()
        self.speed = Speed()

    def __len__(self) -> int:
        return len(self.items)

    def after(self, more: int = 1) -> int:
        """In how many seconds what waits now will have been done, at the speed that was measured; 1 to 60."""
        rate = self.speed.rate()
        return min(60, max(1, math.ceil((len(self.items) + more) / rate))) if rate > 0 else 1

    def put(self, some: list[T]) -> None:
        """Wait behind the others, all of ``some`` or none.

        Raises:
            Busy: there is no room.
        """
        with self.here:
            if len(self.items) + len(some) > self.limit:  # those that nobody waits for any more take no room
                self.items = deque(item for item in self.items if not getattr(item, "cancelled", False))
            if len(self.items) + len(some) > self.limit:
                after = self.after(len(some))
                raise Busy(
                    f"{len(self.items)} requests wait for {self.name} already and {self.limit} may; ask again in {after} s",
                    after,
                )
            self.items.extend(some)
            self.here.notify_all()

    def back(self, item: T) -> None:
        """To the front again: it was taken, and could not be done yet."""
        with self.here:
            self.items.appendleft(item)

    def take(self) -> T | None:
        """The first, or None."""
        with self.here:
            return self.items.popleft() if self.items else None

    def wake(self) -> None:
        """Let who waits in ``wait`` look again."""
        with self.here:
            self.here.notify_all()

    def wait(self, until: Callable[[], bool], seconds: float | None = None) -> None:
        """Sleep until something is here, or ``until()`` says so."""
        with self.here:
            self.here.wait_for(lambda: bool(self.items) or until(), seconds)
