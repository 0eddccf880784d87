"""The guard as ASGI middleware: every request passes here, and every response, streams included."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bottega.core import BottegaError
from bottega.serve import body as bodies
from bottega.serve import signing
from bottega.serve.content import ROUTES
from bottega.serve.exchange import Exchange, Response
from bottega.serve.guard import Guard, headers_of, is_loopback
from bottega.serve.keys import Known, RefusedKey
from bottega.serve.limits import Limited
from bottega.serve.lockout import address_of
from bottega.serve.redact import prompt_of, redacted
from bottega.serve.roles import LOCAL, Caller
from bottega.serve.users import Locked
from bottega.trust.filters import Blocked

__all__ = ["PUBLIC", "Gate", "is_public", "request_id"]

PUBLIC = frozenset({"/healthz", "/readyz", "/v1/signing-key", "/studio", "/studio/", "/chat/page", "/chat/page.js"})
"""What is answered without a key: health, the key to check answers by, and the pages (not the data) of the studio and the bot.
Beside these, ``/studio/`` but for ``/studio/api``, and ``/hooks/``, which check signatures of their own."""
_QUIET = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/signing-key"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_USER = re.compile(r"[!-~ ]{1,128}")


def is_public(path: str, method: str = "GET") -> bool:
    """Whether a path is answered without a key.

    >>> is_public("/healthz"), is_public("/studio/app.js"), is_public("/studio/api/runs"), is_public("/v1/models")
    (True, True, False, False)
    >>> is_public("/chat"), is_public("/chat", "POST")
    (True, False)
    """
    if path == "/chat":
        return method in ("GET", "HEAD")  # goes to the page; what is said there wants a key
    if path.startswith("/studio/"):
        return not path.startswith("/studio/api")
    return path in PUBLIC or path.startswith("/hooks/")


def request_id(asked: str) -> str:
    """The number of a request: the one that the caller gave where it is printable ASCII of at most 128 letters, else a new one."""
    return asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex


class _Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.code, self.headers = status, code, dict(headers or {})
        super().__init__(message)


class Gate:
    """Pure ASGI middleware (streams pass as they come).

    Args:
        app: behind it.
        guard: what it asks.
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app, self.guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one WebSocket, or the life of the app."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching: asyncio.Task[None] | None = None

        async def told(message: Message) -> None:
            nonlocal watching
            if message["type"] == "lifespan.startup.complete":
                watching = asyncio.create_task(self._watch())
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                if watching is not None:
                    watching.cancel()
                await self.guard.close()
            await send(message)

        await self.app(scope, receive, told)

    async def _watch(self) -> None:
        """Look after drift once in a while; what goes wrong there stops nothing."""
        while True:
            await asyncio.sleep(WATCH)
            try:
                await asyncio.to_thread(self.guard.watch.check)
            except Exception:
                logging.getLogger("bottega.serve").exception("drift could not be looked at")

    # ---- a request ---------------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _exchange(scope, scope["method"])
        response = Response(exchange, scope, send, self.guard, self.record)
        try:
            try:
                receive = await self._let_in(exchange, scope, receive)
            except _Refused as refused:
                exchange.refused = refused.code
                await response.refuse(refused.status, str(refused), refused.code, refused.headers)
                return
            try:
                await self.app(scope, receive, response)
            except bodies.BodyError as error:  # what streamed in grew too large
                if response.started:
                    raise
                exchange.refused = error.code
                await response.refuse(error.status, str(error), error.code)
            except Exception:
                if not response.started:
                    said = "this is a fault of the server, not yours; its log says more"
                    await response.refuse(500, said, "internal_error")
                raise  # the server writes it down
            await response.end()
        finally:
            self._count(exchange, scope)

    async def _let_in(self, exchange: Exchange, scope: Scope, receive: Receive) -> Receive:
        """See who asks and whether they may go on to the app; returns how it reads the body. Raises _Refused."""
        settings, state = self.guard.settings, scope.setdefault("state", {})
        state["request_id"] = exchange.id
        public = is_public(exchange.path, exchange.method)
        signed = self._signed(exchange)
        if signed is None and not public:
            await self._who(exchange, scope)
        try:
            bodies.declared(exchange.headers, settings.body_bytes)
            whole = signed is not None or (bodies.is_json(exchange.headers) and exchange.method not in _READS)
            if whole:
                read = await bodies.read_body(receive, settings.body_bytes)
                body = b"" if read is None else read
                exchange.size_in = len(body)
                if signed is not None:
                    await self._check_signature(exchange, scope, signed, body)
                if bodies.is_json(exchange.headers) and body:
                    exchange.json = bodies.shaped(body)
                if read is not None:
                    receive = bodies.replay(body, receive)
            else:
                receive = _Streamed(exchange, receive, settings.body_bytes)
        except bodies.BodyError as error:
            raise _Refused(error.status, str(error), error.code) from None
        if exchange.caller is not None:
            state["caller"] = exchange.caller
        await self._limit(exchange)
        await self._ask_content(exchange)
        return receive

    # ---- who ---------------------------------------------------------------------------------------------------------

    async def _who(self, exchange: Exchange, scope: Scope) -> None:
        """Find the caller by key, or by being on this machine where there are no keys."""
        guard, said = self.guard, exchange.headers.get("authorization", "")
        if not guard.have_keys():
            self._local(exchange)
            return
        if exchange.path == "/metrics" and not said and self._near(exchange):
            exchange.caller = Caller("local", "trainer")
            return
        if guard.settings.sign_requests == "required":
            raise _Refused(401, "this server takes signed requests only; sign with the key's own secret (docs: guarding)", "signature_required")  # fmt: skip
        kind, _, key = said.partition(" ")
        key = key.strip()
        if kind.lower() != "bearer" or not key:
            raise _Refused(401, "who are you? Send an API key: Authorization: Bearer KEY", "missing_api_key", {"www-authenticate": "Bearer"})  # fmt: skip
        address = address_of(exchange.client)
        if not guard.keys.remembers(key) and (left := await asyncio.to_thread(guard.lockout.left, address)):
            self._locked(exchange, address, left)
        try:
            if guard.keys.remembers(key):
                known = guard.keys.known(key)  # a look at memory, and once a second at one row
            else:
                known = await asyncio.to_thread(guard.keys.known, key)
        except RefusedKey as error:
            await self._failed(exchange, error, address)
        await self._let(exchange, known)

    async def _let(self, exchange: Exchange, known: Known) -> None:
        code = exchange.headers.get("x-bottega-otp", "")
        if code and known.second_factor:
            try:
                known = await asyncio.to_thread(self.guard.keys.elevate, known.caller.key, code)
            except Locked as error:
                self.guard.metrics.lockouts.labels("second_factor").inc()
                raise _Refused(429, str(error), "locked", _after(error.seconds)) from None
            except BottegaError as error:
                raise _Refused(401, str(error), "invalid_second_factor") from None
            self.guard.audit.submit("elevated", by=known.caller.id, key=known.caller.key, **{"from": exchange.client})
        exchange.known = known
        user = exchange.headers.get("x-bottega-user", "")
        if user and not _USER.fullmatch(user):
            raise _Refused(400, "X-Bottega-User has letters that a header should not; take up to 128 of ASCII", "invalid_user")  # fmt: skip
        caller = known.caller
        exchange.caller = Caller(caller.id, caller.role, caller.key, user)

    def _local(self, exchange: Exchange) -> None:
        """Let in whoever is on this machine, and no web page of elsewhere that a browser here has open."""
        guard = self.guard
        if not guard.loopback or not self._near(exchange):
            raise _Refused(401, "this server is for its own machine until it has keys: bottega keys add NAME --role admin", "missing_api_key")  # fmt: skip
        host = exchange.headers.get("host", "").lower()
        name = re.sub(r":\d+$", "", host)
        if not (
            is_loopback(name)
            or name.endswith(".localhost")
            or name in ("", "testserver", *guard.settings.allowed_hosts)
        ):
            raise _Refused(403, f"a server without keys is called localhost, not {name[:80]!r}; make a key: bottega keys add NAME", "host_not_allowed")  # fmt: skip
        origin = exchange.headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            raise _Refused(403, f"a page of {origin[:80]} may not use a server without keys; make a key: bottega keys add NAME", "origin_not_allowed")  # fmt: skip
        if exchange.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise _Refused(403, "a page of another site may not use a server without keys", "origin_not_allowed")
        user = exchange.headers.get("x-bottega-user", "")
        exchange.caller = Caller(LOCAL.id, LOCAL.role, "", user) if _USER.fullmatch(user) else LOCAL

    def _near(self, exchange: Exchange) -> bool:
        """Whether the caller is on this machine, and no proxy on it hands on what comes from elsewhere."""
        proxied = any(name in exchange.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
        return not proxied and (exchange.client in ("", "testclient") or is_loopback(exchange.client))

    async def _failed(self, exchange: Exchange, error: RefusedKey, address: str) -> NoReturn:
        if error.guess:
            lock = await asyncio.to_thread(self.guard.lockout.failed, address)
            if lock:
                self.guard.metrics.lockouts.labels("key").inc()
                self.guard.audit.submit("locked", seconds=lock, **{"from": exchange.client})
        raise _Refused(401, str(error), error.code, {"www-authenticate": 'Bearer error="invalid_token"'}) from None

    def _locked(self, exchange: Exchange, address: str, left: float) -> NoReturn:
        exchange.quiet = True  # a flood of guesses fills no log
        raise _Refused(429, f"too many wrong keys from {exchange.client}; try again in {max(1, round(left))} seconds", "locked", _after(left))  # fmt: skip

    # ---- signatures --------------------------------------------------------------------------------------------------

    def _signed(self, exchange: Exchange) -> signing.Signed | None:
        if self.guard.settings.sign_requests == "off" or "signature-input" not in exchange.headers:
            return None
        try:
            return signing.Signed.of(exchange.headers)
        except signing.BadSignature as error:
            raise _Refused(401, str(error), error.code) from None

    async def _check_signature(self, exchange: Exchange, scope: Scope, signed: signing.Signed, body: bytes) -> None:
        guard, address = self.guard, address_of(exchange.client)
        if left := await asyncio.to_thread(guard.lockout.left, address):
            self._locked(exchange, address, left)
        raw = scope.get("raw_path") or scope["path"].encode()
        path, query = raw.partition(b"?")[0].decode("latin-1"), scope.get("query_string", b"").decode("latin-1")
        now = guard.clock()
        try:
            alg, secret = await asyncio.to_thread(guard.keys.signing, signed.key)
            signing.check_request(signed, alg, secret, exchange.method, path, query, exchange.headers, body, now)
            known = await asyncio.to_thread(guard.keys.by_id, signed.key)
            await asyncio.to_thread(guard.nonces.take, signed.key, signed.nonce, now)
        except RefusedKey as error:
            await self._failed(exchange, error, address)
        except signing.BadSignature as error:
            raise _Refused(401, str(error), error.code) from None
        await self._let(exchange, known)

    # ---- how much, and what ------------------------------------------------------------------------------------------

    async def _limit(self, exchange: Exchange) -> None:
        known = exchange.known
        if known is None:  # the machine's own, and what is public
            return
        try:
            cost = _cost(exchange)
            await self.guard.limits.take(f"key:{known.name}", known.per_minute, known.per_day, cost)
        except Limited as limited:
            raise _Refused(429, str(limited), limited.code, _after(limited.seconds)) from None

    async def _ask_content(self, exchange: Exchange) -> None:
        content = self.guard.content if exchange.path in ROUTES else None
        if content is None or exchange.json is None:
            return
        try:
            hits = await asyncio.to_thread(content.ask, exchange.json)
            exchange.rules = list(dict.fromkeys(hit.rule for hit in hits))
        except Blocked as blocked:
            exchange.rules = list(dict.fromkeys(hit.rule for hit in blocked.hits))
            raise _Refused(
                400, str(blocked), "content_filter", {"x-bottega-filter": ",".join(exchange.rules)}
            ) from None
        finally:
            for rule in exchange.rules:
                self.guard.metrics.filtered.labels(rule, "in").inc()

    # ---- afterwards --------------------------------------------------------------------------------------------------

    async def record(self, exchange: Exchange, scope: Scope) -> None:
        """Put the request into the audit log, and wait until it is on the disk; raises OutputError."""
        if exchange.recorded:
            return
        exchange.recorded = True
        if not self._worth(exchange):
            return
        await asyncio.wrap_future(self.guard.audit.submit("request", **self._told(exchange, scope)))

    def _worth(self, exchange: Exchange) -> bool:
        if exchange.quiet:
            return False
        plain = exchange.method in _READS and (exchange.path in _QUIET or exchange.path.startswith("/studio"))
        return not (plain and exchange.status < 400)

    def _told(self, exchange: Exchange, scope: Scope) -> dict[str, Any]:
        caller, said = exchange.caller, exchange.json if isinstance(exchange.json, dict) else {}
        model = said.get("model")
        prompt = prompt_of(said)
        shown = redacted(prompt) if self.guard.settings.log_prompts and prompt else None
        return {
            "request": exchange.id, "from": exchange.client or None, "by": caller.id if caller else None,
            "key": (caller.key or None) if caller else None, "user": (redacted(caller.user) or None) if caller else None,
            "method": exchange.method, "path": exchange.path[:200], "status": exchange.status,
            "ms": round(1e3 * (time.perf_counter() - exchange.began), 1), "bytes_in": exchange.size_in,
            "bytes_out": exchange.size_out, "model": model[:200] if isinstance(model, str) else None,
            "seed": said.get("seed") if isinstance(said.get("seed"), int) else None, "prompt": shown,
            "prompt_length": len(prompt) if prompt else None, "rules": exchange.rules or None,
            "why": exchange.refused or None,
        }  # fmt: skip

    def _count(self, exchange: Exchange, scope: Scope) -> None:
        """Metrics and the request's line, also where the caller went away or the app failed."""
        seconds = time.perf_counter() - exchange.began
        status = exchange.status or 499
        route = getattr(scope.get("route"), "path", None)
        metrics = self.guard.metrics
        metrics.answered(exchange.method if exchange.method in _METHODS else "other", route or "none", status, seconds, exchange.first)  # fmt: skip
        if exchange.refused:
            metrics.refusals.labels(exchange.refused).inc()
        if not exchange.recorded:
            exchange.recorded, exchange.status = True, status
            if self._worth(exchange):
                self.guard.audit.submit("request", **self._told(exchange, scope))
        if self.guard.log is not None:
            who = exchange.caller.id if exchange.caller else None
            self.guard.log(request=exchange.id, method=exchange.method, path=exchange.path[:200], route=route, status=status,
                           ms=round(1e3 * seconds, 1), by=who, why=exchange.refused or None)  # fmt: skip

    # ---- WebSockets --------------------------------------------------------------------------------------------------

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _exchange(scope, "WEBSOCKET")
        try:
            if not is_public(exchange.path):
                await self._who(exchange, scope)
            await self._limit(exchange)
        except _Refused as refused:
            exchange.refused, exchange.status = refused.code, refused.status
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": str(refused)[:120]})
            self._count(exchange, scope)
            return
        scope.setdefault("state", {}).update(request_id=exchange.id)
        if exchange.caller is not None:
            scope["state"]["caller"] = exchange.caller
        exchange.status = 101
        try:
            await self.app(scope, receive, send)
        finally:
            self._count(exchange, scope)


WATCH = 60.0  # seconds between looks at drift
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})


class _Streamed(bodies.Counted):
    """A body that streams in, counted for the log."""

    def __init__(self, exchange: Exchange, receive: Receive, most: int) -> None:
        super().__init__(receive, most)
        self.exchange = exchange

    async def __call__(self) -> Message:
        message = await super().__call__()
        self.exchange.size_in = self.size
        return message


def _exchange(scope: Scope, method: str) -> Exchange:
    headers = headers_of(scope)
    client = scope.get("client")
    # who stands before may have given one
    number = scope.get("state", {}).get("request_id") or request_id(headers.get("x-request-id", ""))
    return Exchange(method, scope["path"], headers, client[0] if client else "", number)


def _after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(max(1, int(seconds + 0.999)))}


def _cost(exchange: Exchange) -> int:
    """As how many requests one counts: as many pieces as it asks for."""
    said = exchange.json
    if exchange.method != "POST" or not isinstance(said, dict):
        return 1
    n, seeds = said.get("n"), said.get("seeds")
    many = n if isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 100_000 else 1
    return max(many, len(seeds) if isinstance(seeds, list) else 1)
