"""A request and its response as the guard sees them: what is known of it, and a ``send`` that adds, cleans, signs and records."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.types import Message, Scope, Send

from bottega.core import BottegaError
from bottega.serve import signing
from bottega.serve.content import ROUTES, StreamCleaner
from bottega.serve.guard import Guard
from bottega.serve.keys import Known
from bottega.serve.refusals import error_body
from bottega.serve.roles import Caller

__all__ = ["Exchange", "Response"]

_SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; style-src 'self' "
    "'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "cache-control": "no-store",
}  # fmt: skip


@dataclass
class Exchange:
    """One request and what became of it."""

    method: str
    path: str
    headers: dict[str, str]
    client: str
    id: str
    began: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    known: Known | None = None
    json: Any = None
    size_in: int = 0
    size_out: int = 0
    status: int = 0
    first: float | None = None
    refused: str = ""
    rules: list[str] = field(default_factory=list)
    recorded: bool = False
    quiet: bool = False


Record = Callable[[Exchange, Scope], Awaitable[None]]


class Response:
    """``send`` for the app behind: adds headers, filters and signs, and ends no answer before it is in the log."""

    def __init__(self, exchange: Exchange, scope: Scope, send: Send, guard: Guard, record: Record) -> None:
        self.exchange, self.scope, self.send, self.guard, self.record = exchange, scope, send, guard, record
        self.started = self.ended = False
        self._start: Message | None = None
        self._kind: Literal["plain", "whole", "events"] = "plain"
        self._parts: list[bytes] = []
        self._cleaner: StreamCleaner | None = None
        self._digest: Any = None

    async def __call__(self, message: Message) -> None:
        """One message of the app."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), bool(message.get("more_body", False)))
        else:
            await self.send(message)

    async def end(self) -> None:
        """Nothing more comes from the app."""
        if self._start is not None and not self.started and not self.ended:
            await self._body(b"", False)

    async def refuse(self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer in the app's place."""
        data = json.dumps(error_body(status, message, code=code)).encode()
        told = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        if status in (413, 411):
            told["connection"] = "close"  # what is still coming is not read
        self._parts, self._start = [], None
        await self._begin({"type": "http.response.start", "status": status,
                           "headers": [(k.encode(), v.encode("latin-1", "replace")) for k, v in told.items()]})  # fmt: skip
        await self._body(data, False)

    async def _begin(self, message: Message) -> None:
        exchange, guard = self.exchange, self.guard
        exchange.status = message["status"]
        headers = [(k.lower(), v) for k, v in message.get("headers", [])]
        have = {k.decode("latin-1"): v.decode("latin-1") for k, v in headers}
        added = {"x-request-id": exchange.id} | {k: v for k, v in _SECURITY.items() if k not in have}
        if self.scope.get("scheme") == "https":
            added["strict-transport-security"] = "max-age=31536000"
        if exchange.status == 403 and exchange.known is not None and exchange.known.second_factor:
            added["x-bottega-otp"] = "required"
        if exchange.rules and "x-bottega-filter" not in have:
            added["x-bottega-filter"] = ",".join(exchange.rules)
        headers = [(k, v) for k, v in headers if k != b"x-request-id"]
        self._start = {**message, "headers": headers + [(k.encode(), v.encode("latin-1")) for k, v in added.items()]}
        kind = have.get("content-type", "").partition(";")[0]
        cleans = (
            guard.content is not None and guard.content.clean_out and exchange.path in ROUTES and exchange.status == 200
        )
        if kind == "text/event-stream":
            self._kind = "events"
            if cleans and guard.content is not None:
                self._cleaner = StreamCleaner(guard.content)
            if guard.settings.sign_responses:
                self._digest = hashlib.sha256()
            await self._send_start()  # who waits for events wants to know at once that they will come
        elif guard.settings.sign_responses or (cleans and kind == "application/json"):
            self._kind = "whole"

    async def _send_start(self) -> None:
        assert self._start is not None
        self.started = True
        self.exchange.first = self.exchange.first or time.perf_counter() - self.exchange.began
        await self.send(self._start)

    async def _body(self, data: bytes, more: bool) -> None:
        if self.ended or self._start is None:
            return
        if self._kind == "whole":
            self._parts.append(data)
            if more:
                return
            data = await self._finished(b"".join(self._parts))
        elif self._kind == "events":
            data = await self._events(data, more)
        if not more:
            self.ended = True
            self.exchange.size_out += len(data)
            if not await self._record():
                return
        else:
            self.exchange.size_out += len(data)
        if not self.started:
            await self._send_start()
        if data or not more:
            await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def _record(self) -> bool:
        """Whether the answer may end: its line is on the disk. Else it is 503 where that can be said still."""
        try:
            await self.record(self.exchange, self.scope)
        except BottegaError as error:
            self.guard.metrics.audit_failures.inc()
            if self.started:
                raise
            self.ended, self._kind, self.exchange.refused = False, "plain", "audit_failed"
            await self.refuse(503, str(error), "audit_failed")
            return False
        return True

    async def _finished(self, data: bytes) -> bytes:
        """A whole body: cleaned, then signed."""
        assert self._start is not None
        exchange, guard = self.exchange, self.guard
        headers = dict(self._start["headers"])
        if guard.content is not None and exchange.path in ROUTES and headers.get(b"content-type", b"").startswith(b"application/json"):  # fmt: skip
            data, met = await asyncio.to_thread(guard.content.answer, data)
            self._met(met)
            if met:
                headers[b"x-bottega-filter"] = ",".join(dict.fromkeys([*exchange.rules])).encode()
        bodiless = exchange.method == "HEAD" or exchange.status in (204, 304)
        if not bodiless:
            headers[b"content-length"] = str(len(data)).encode()
        if guard.settings.sign_responses:
            made = signing.sign_response(guard.response_key, exchange.status, exchange.id, signing.content_digest(data), guard.clock())  # fmt: skip
            headers |= {k.encode(): v.encode() for k, v in made.items()}
        cookies = [(k, v) for k, v in self._start["headers"] if k == b"set-cookie"]
        self._start["headers"] = [(k, v) for k, v in headers.items() if k != b"set-cookie"] + cookies
        return data

    async def _events(self, data: bytes, more: bool) -> bytes:
        if self._cleaner is not None:
            data = await asyncio.to_thread(self._cleaner.feed, data, not more)
            if not more:
                self._met(self._cleaner.met)
        if self._digest is not None:
            self._digest.update(data)
            if not more:  # a stream is signed at its end, in a comment, which clients pass over
                guard, exchange = self.guard, self.exchange
                digest = f"sha-256=:{base64.b64encode(self._digest.digest()).decode()}:"
                made = signing.sign_response(guard.response_key, exchange.status, exchange.id, digest, guard.clock())
                data += b": bottega-signature " + json.dumps(made).encode() + b"\n\n"
        return data

    def _met(self, rules: list[str]) -> None:
        for rule in rules:
            self.guard.metrics.filtered.labels(rule, "out").inc()
        self.exchange.rules = list(dict.fromkeys([*self.exchange.rules, *rules]))
