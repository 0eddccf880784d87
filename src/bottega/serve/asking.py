"""Waiting for answers: until they are there, the caller is gone, or it is too late; and streams of events."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from starlette.responses import Response

from bottega.serve.errors import ApiError, status_of
from bottega.serve.models import About
from bottega.serve.queue import Late, Ticket
from bottega.serve.roles import Caller

__all__ = ["EventStream", "answers", "events", "provenance", "seed_of"]


def seed_of(seed: int | None) -> int:
    """The seed that was asked for, or a new one, which the answer tells."""
    return secrets.randbits(31) if seed is None else seed


def provenance(about: About, seed: int | None, caller: Caller) -> dict[str, Any]:
    """By which weights, data, seed and for whom a piece was made."""
    return {
        "model_sha256": about.weights, "data_sha256": about.data, "recipe": about.recipe, "seed": seed, "caller": caller.id,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def answers(request: Request, tickets: Sequence[Ticket], deadline: float) -> list[Any]:
    """The last event of each ticket; what is not wanted any more is called off.

    Raises:
        Late: they were not there after ``deadline`` seconds.
        ApiError: the caller has gone (499, which nobody reads).
    """
    watch: asyncio.Future[Any] = asyncio.ensure_future(_gone(request.receive))
    work: asyncio.Future[Any] = asyncio.gather(*(ticket.result() for ticket in tickets))
    try:
        done, _ = await asyncio.wait({watch, work}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        if work in done:
            return list(work.result())
        if watch in done:
            raise ApiError(499, "the caller has gone")
        raise Late(f"no answer within {deadline:g} s; ask for less, or start the server with a longer --deadline")
    finally:
        for ticket in tickets:
            ticket.cancel()
        watch.cancel()
        work.cancel()
        if work.done() and not work.cancelled():
            work.exception()  # looked at, so that asyncio does not complain


async def events(tickets: Sequence[Ticket], deadline: float) -> AsyncIterator[tuple[int, Any]]:
    """Events of several tickets as they come, each with the number of its ticket.

    Raises:
        Late: they did not end within ``deadline`` seconds.
    """
    until = asyncio.get_running_loop().time() + deadline
    late = Late(f"the answer did not end within {deadline:g} s")
    if len(tickets) == 1:
        ticket = tickets[0]
        while True:
            try:
                async with asyncio.timeout_at(until):
                    event = await ticket.next()
            except TimeoutError:
                raise late from None
            yield 0, event
            if ticket.over and not ticket.events:
                return
    box: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()

    async def pump(k: int, ticket: Ticket) -> None:
        try:
            while not (ticket.over and not ticket.events):
                await box.put((k, await ticket.next()))
        except Exception as error:
            await box.put((k, error))
        await box.put((k, None))

    pumps = [asyncio.ensure_future(pump(k, ticket)) for k, ticket in enumerate(tickets)]
    try:
        left = len(pumps)
        while left:
            try:
                async with asyncio.timeout_at(until):
                    k, event = await box.get()
            except TimeoutError:
                raise late from None
            if event is None:
                left -= 1
            elif isinstance(event, Exception):
                raise event
            else:
                yield k, event
    finally:
        for task in pumps:
            task.cancel()


class EventStream(Response):
    """Server-sent events (WHATWG HTML, 9.2): each object of ``parts`` in a line, ``[DONE]`` at the end.

    An error in the middle is told as an event, since the status is sent already. When the caller goes, or all is said,
    ``done`` is called.

    Args:
        parts: objects for JSON.
        done: frees what the answer holds.
    """

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncIterator[dict[str, Any]], done: Callable[[], Awaitable[None]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.parts, self.done = parts, done

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send what is made as it is made."""
        watch = asyncio.ensure_future(_gone(receive))
        work = asyncio.ensure_future(self._say(send))
        try:
            await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self.done()

    async def _say(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for part in self.parts:
                data = json.dumps(part, ensure_ascii=False, separators=(",", ":"))
                await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})
        except Exception as error:
            _, body, _ = status_of(error)
            await send(
                {"type": "http.response.body", "body": f"data: {json.dumps(body)}\n\n".encode(), "more_body": True}
            )
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})
