"""The server: models, routers, guard and metrics put together, and the way it starts and stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

import bottega
from bottega.core import BottegaError
from bottega.serve import api_media, api_models, api_pieces, api_text, docs_page, errors, guard, studio
from bottega.serve.gate import request_id
from bottega.serve.models import Models
from bottega.serve.settings import Settings

__all__ = ["Server", "create_app", "serve"]

_ALWAYS = ("/healthz", "/readyz", "/metrics")


class Door:
    """The outermost layer: a number for each request, and nobody new while the server stops.

    Args:
        app: what is behind it.
        models: of which it asks whether the server stops.
    """

    def __init__(self, app: Any, models: Models) -> None:
        self.app, self.models = app, models

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        number = request_id(dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1"))
        scope.setdefault("state", {})["request_id"] = number

        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *((k, v) for k, v in message.get("headers", ()) if k != b"x-request-id"), (b"x-request-id", number.encode()),
                ]  # fmt: skip
            await send(message)

        if self.models.draining and scope["path"] not in _ALWAYS:
            await _refuse(told, 503, "the server is being stopped; ask again in 5 s, or ask another", "draining", 5)
            return
        await self.app(scope, receive, told)


async def _refuse(send: Any, status: int, message: str, code: str, after: int) -> None:
    body = json.dumps(errors.body_of(status, message, code=code)).encode()
    headers = [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"retry-after", str(after).encode()),
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def create_app(settings: Settings) -> FastAPI:
    """The whole application; nothing is loaded before it starts.

    Raises:
        BottegaError: no run where one was named; a bot whose folder is at fault; an address that others reach, and no keys.
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
    made = guard.install(app, settings)
    if settings.watch:
        models.watch = made.watch
    if settings.bot is not None:
        from bottega.crafts.chat import Bot  # here: a server without a bot starts sooner
        from bottega.serve import bot_api

        bot = Bot.open(settings.bot, settings.state or None, device=settings.device, record=_recorded(made))
        app.include_router(bot_api.router(bot))
        made.trace(
            "bot", "server", bot=bot.folder.name, model=bot.versions[0] or None, on_trial=bot.versions[1] or None
        )
    app.include_router(studio.router(models, settings))
    app.add_middleware(Door, models=models)
    return app


def _recorded(made: guard.Guard) -> Callable[[str, Mapping[str, Any]], None]:
    """What a bot tells of itself (a promotion, a roll-back, a hand-off and who took it) goes to the audit log."""
    return lambda what, told: made.trace(what, **{"by": "bot", **told})


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
            ws="none", timeout_graceful_shutdown=None, timeout_keep_alive=30, proxy_headers=bool(settings.proxies),
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
