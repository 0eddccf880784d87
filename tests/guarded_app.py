"""An app for tests: the guard, the router of administration, and a few endpoints that models would have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from bottega.serve.guard import Guard, Guarding, install
from bottega.serve.keys import Keys
from bottega.serve.roles import Caller, need

SAID = {"text": "The sea is calm."}


def make_app(guard: Guard) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/v1/models")
    def models(caller: Annotated[Caller, Depends(need("look"))]) -> dict[str, Any]:
        return {"data": [], "caller": caller.id, "user": caller.user}

    @app.post("/v1/completions")
    def complete(
        body: Annotated[dict[str, Any], Body()], caller: Annotated[Caller, Depends(need("make"))]
    ) -> dict[str, Any]:
        return {"choices": [{"index": 0, "text": SAID["text"], "finish_reason": "stop"}]}

    @app.post("/v1/chat/completions")
    async def chat(
        body: Annotated[dict[str, Any], Body()], caller: Annotated[Caller, Depends(need("make"))]
    ) -> StreamingResponse:
        async def events():
            for word in re.findall(r"\S+\s*", SAID["text"]):
                import json

                yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': word}, 'finish_reason': None}]})}\n\n"
                await asyncio.sleep(0)
            yield 'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.post("/v1/images/edits")
    async def edits(request: Request, caller: Annotated[Caller, Depends(need("make"))]) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.post("/hooks/plain")
    def hook(body: Annotated[dict[str, Any], Body()]) -> dict[str, bool]:
        return {"ok": True}

    @app.get("/v1/forgotten")
    def forgotten() -> dict[str, str]:
        return {"secret": "an endpoint that names no permission"}

    install(app, guard=guard)
    return app


def permission_of(route: APIRoute) -> str | None:
    """The permission that an endpoint names, wherever in its dependencies."""

    def walk(dependant: Any) -> Iterator[str]:
        if found := getattr(dependant.call, "permission", None):
            yield found
        for one in dependant.dependencies:
            yield from walk(one)

    return next(walk(route.dependant), None)


def endpoints(app: FastAPI) -> list[tuple[str, str, str | None]]:
    """Method, path and permission of every endpoint of an app, also of routers within routers."""

    def walk(routes: Any, prefix: str = "") -> Iterator[tuple[str, str, str | None]]:
        for route in routes:
            if isinstance(route, APIRoute):
                for method in sorted(route.methods or ()):
                    yield method, prefix + route.path, permission_of(route)
            elif hasattr(route, "original_router"):  # FastAPI keeps an included router as it is
                context = getattr(route, "include_context", None)
                yield from walk(route.original_router.routes, prefix + (getattr(context, "prefix", "") or ""))
            elif hasattr(route, "path"):
                yield "MOUNT", prefix + route.path, None

    return list(walk(app.routes))


def guarded(keys: Keys, clock: Any, tmp_path: Any, **settings: Any) -> tuple[Guard, TestClient]:
    """A guard on the state of ``keys``, and a client on this machine."""
    guard = Guard(Guarding(audit=tmp_path / "audit.jsonl", **settings), clock, keys)
    return guard, TestClient(
        make_app(guard), base_url="http://127.0.0.1", client=("127.0.0.1", 50000), raise_server_exceptions=False
    )
