"""The server: models, routers, guard and metrics put together, and the way it starts and stops."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import uvicorn
from fastapi import FastAPI

import bottega
from bottega.core import BottegaError, RecipeError
from bottega.serve import api_media, api_models, api_pieces, api_text, docs_page, errors
from bottega.serve.models import Models
from bottega.serve.roles import LOCAL
from bottega.serve.settings import Settings

__all__ = ["Server", "create_app", "serve"]

_ID = re.compile(r"[\x21-\x7e]{1,128}")
_ALWAYS = ("/healthz", "/readyz", "/metrics")


class Door:
    """The outermost layer: a number for each request, no body above the limit, nobody new while the server stops.

    Args:
        app: what is behind it.
        models: of which it asks whether the server stops.
        most: bytes of a body.
    """

    def __init__(self, app: Any, models: Models, most: int) -> None:
        self.app, self.models, self.most = app, models, most
        self.inside = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        asked = headers.get(b"x-request-id", b"").decode("latin-1")
        number = asked if _ID.fullmatch(asked) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = number
        begun = False

        async def told(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [
                    *((k, v) for k, v in message.get("headers", ()) if k != b"x-request-id"), (b"x-request-id", number.encode()),
                ]  # fmt: skip
            await send(message)

        size = headers.get(b"content-length", b"0")
        if self.models.draining and scope["path"] not in _ALWAYS:
            await _refuse(told, 503, "the server is being stopped; ask again in 5 s, or ask another", "draining", 5)
            return
        if not size.isdigit() or int(size) > self.most:
            await _refuse(
                told,
                413,
                f"the body has {size.decode('latin-1')[:20]} bytes; at most {self.most} are read",
                "too_large",
            )
            return
        seen = 0

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.most:
                    raise _TooLarge
            return message

        self.inside += 1
        try:
            await self.app(scope, counted, told)
        except _TooLarge:
            if not begun:
                await _refuse(
                    told, 413, f"the body has more than {self.most} bytes, which is all that is read", "too_large"
                )
        finally:
            self.inside -= 1


class _TooLarge(BaseException):
    """A body without a length grew beyond the limit; no handler in between is to take it for something else."""


async def _refuse(send: Any, status: int, message: str, code: str, after: int = 0) -> None:
    body = json.dumps(errors.body_of(status, message, code=code)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += (
        [(b"retry-after", str(after).encode())] if after else [(b"connection", b"close")] if status == 413 else []
    )
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class LocalOnly:
    """Who asks is this machine's user; what stands in for the guard where it is not installed."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, by ``roles.LOCAL``."""
        scope.setdefault("state", {})["caller"] = LOCAL
        await self.app(scope, receive, send)


def _part(name: str) -> Any:
    """A module of the server that may not be there."""
    return importlib.import_module(name) if find_spec(name) is not None else None


def create_app(settings: Settings) -> FastAPI:
    """The whole application; nothing is loaded before it starts.

    Raises:
        BottegaError: no run where one was named; an address that others reach, and no guard to ask for keys.
    """
    models = Models(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await models.start()
        yield
        await models.stop()

    app = FastAPI(
        title="Bottega", version=bottega.__version__, docs_url=None, redoc_url=None, lifespan=lifespan,
        description="One server for every medium: texts, pictures, sounds, rows.",
    )  # fmt: skip
    app.state.settings, app.state.models = settings, models
    errors.install(app)
    for router in (
        api_text.router,
        api_media.router,
        api_pieces.router,
        api_models.router,
        api_models.health,
        docs_page.router,
    ):
        app.include_router(router, responses={400: {"description": "A mistake of the caller's"}})
    if (bot := _part("bottega.serve.bot_api")) is not None and settings.bot is not None:
        app.include_router(_router(bot, models, settings))
    if (studio := _part("bottega.serve.studio")) is not None:
        app.include_router(_router(studio, models, settings))
    if (guard := _part("bottega.serve.guard")) is not None:
        guard.install(app, settings)
    elif settings.needs_keys:
        raise RecipeError(
            f"{settings.host} can be reached by others, and this server cannot ask for keys; use 127.0.0.1"
        )
    else:
        app.add_middleware(LocalOnly)
    app.add_middleware(Door, models=models, most=settings.max_body)
    return app


def _router(module: Any, models: Models, settings: Settings) -> Any:
    """A module's router, which may be made for these models."""
    found = module.router
    return found(models, settings) if callable(found) and not hasattr(found, "routes") else found


class Server(uvicorn.Server):
    """Uvicorn that lets what runs come to its end: the first signal refuses what is new, the second stops at once.

    Args:
        settings: of the server.
        tell: is told the address once it listens.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None] = lambda _: None) -> None:
        self.settings, self.tell = settings, tell
        self.application = create_app(settings)
        tls: dict[str, Any] = {}
        if settings.tls_cert is not None:
            tls = {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(settings.tls_key)}
        super().__init__(uvicorn.Config(
            self.application, settings.host, settings.port, log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=None, timeout_keep_alive=30, proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies) or None, **tls,
        ))  # fmt: skip
        self.stopping: asyncio.Task[None] | None = None

    @property
    def models(self) -> Models:
        """What is served."""
        found: Models = self.application.state.models
        return found

    async def startup(self, sockets: Any = None) -> None:
        """Load, listen, and tell the address."""
        await super().startup(sockets=sockets)
        if self.started:
            self.tell(self.address)

    @property
    def address(self) -> str:
        """Where it listens; the port that was found free, where 0 was asked for."""
        port = next((s.getsockname()[1] for server in self.servers for s in server.sockets), self.settings.port)
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"{'https' if self.settings.tls_cert else 'http'}://{host}:{port}"

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM or SIGINT."""
        if self.stopping is not None:
            super().handle_exit(sig, frame)
            return
        loop = getattr(self, "loop_", None)
        if loop is None:
            super().handle_exit(sig, frame)
            return
        loop.call_soon_threadsafe(self.drain)

    async def serve(self, sockets: Any = None) -> None:
        """Run until told to stop."""
        self.loop_ = asyncio.get_running_loop()
        await super().serve(sockets=sockets)

    def drain(self) -> None:
        """Refuse what is new with 503, let what runs come to its end, then stop."""
        if self.stopping is None:
            self.models.draining = True
            self.stopping = asyncio.ensure_future(self._drained())

    async def _drained(self) -> None:
        until = asyncio.get_running_loop().time() + self.settings.deadline
        while self.models.busy and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)  # the last answers are on their way
        self.should_exit = True


async def _tried(settings: Settings) -> None:
    """Listen for a moment, so that what is wrong with the address is told before anything is loaded."""
    loop = asyncio.get_running_loop()
    (await loop.create_server(asyncio.Protocol, settings.host, settings.port)).close()


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        BottegaError: the address cannot be listened at.
    """
    try:
        asyncio.run(_tried(settings))
    except OSError as error:
        why = (error.strerror or str(error)).rpartition(": ")[2]
        raise BottegaError(
            f"cannot listen at {settings.host}:{settings.port}: {why}; choose another --host or --port"
        ) from None
    Server(settings, tell).run()
