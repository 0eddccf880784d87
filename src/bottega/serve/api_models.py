"""Which models there are, loading and unloading them; health and readiness."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from bottega.serve.errors import body_of
from bottega.serve.models import Model
from bottega.serve.roles import Caller, need

__all__ = ["router"]

router = APIRouter(tags=["models"])
Looker = Annotated[Caller, Depends(need("look"))]
Operator = Annotated[Caller, Depends(need("operate"))]


def _shown(model: Model) -> dict[str, Any]:
    about = model.about
    return {
        "id": model.name, "object": "model", "created": about.created, "owned_by": "bottega", "medium": about.medium,
        "capabilities": list(about.capabilities), "conditions": about.conditions, "given": about.given, "knobs": about.knobs,
        "context": about.context, "voices": about.voices, "loaded": model.run is not None, "recipe": about.recipe,
        "model_sha256": about.weights, "data_sha256": about.data,
        "chat_template": None if model.wording is None else model.wording.kind,
    }  # fmt: skip


@router.get("/v1/models", summary="What is served")
async def models(request: Request, caller: Looker) -> dict[str, Any]:
    """Every model with its medium, what it can do, its conditions and knobs."""
    return {"object": "list", "data": [_shown(model) for model in request.app.state.models.all.values()]}


@router.get("/v1/models/{name}", summary="One model")
async def model(request: Request, name: str, caller: Looker) -> dict[str, Any]:
    """The same of one model."""
    return _shown(request.app.state.models.named(name))


@router.post("/v1/models/{name}/load", summary="Load a model")
async def load(request: Request, name: str, caller: Operator) -> dict[str, Any]:
    """Read its weights now; others that are idle make room."""
    async with request.app.state.models.use(name) as found:
        return _shown(found)


@router.post("/v1/models/{name}/unload", summary="Unload a model")
async def unload(request: Request, name: str, caller: Operator) -> dict[str, Any]:
    """Forget its weights; 503 while it is in use."""
    await request.app.state.models.unload(name)
    return _shown(request.app.state.models.named(name))


health = APIRouter(tags=["health"])


@health.get("/healthz", summary="Whether the server runs")
async def healthz() -> dict[str, str]:
    """For whoever restarts it."""
    return {"status": "ok"}


@health.get("/readyz", summary="Whether requests are taken")
async def readyz(request: Request) -> Response:
    """503 while models are loaded at the start, and while the server stops."""
    models = request.app.state.models
    if models.draining or not models.ready:
        why = "the server is being stopped" if models.draining else "models are being loaded"
        return JSONResponse(body_of(503, why, code="not_ready"), 503, {"Retry-After": "2"})
    return JSONResponse({"status": "ready"})
