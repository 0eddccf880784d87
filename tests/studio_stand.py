"""A small stand-in for the server: enough of its HTTP to try the studio against real models of small runs."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException as Refusal

import bottega
from bottega.core import BottegaError, Edits, Encodes, has
from bottega.crafts._rows import codes_of, decoded
from bottega.serve import studio
from bottega.serve.roles import LOCAL, Caller
from bottega.workshop.run import knobs_of

TYPES = {".png": "image/png", ".mid": "audio/midi", ".wav": "audio/wav"}
ANSWER = "The workshop opens at nine, and closes when the last piece is dry."


def told(run: Any, items: Any, seeds: Any) -> list[dict[str, Any]]:
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (item, seed) in enumerate(zip(items, seeds, strict=True)):
            if run.codec.medium in {"table", "points"}:
                value = item.value if run.codec.medium == "table" else item.value.tolist()
                kind, encoding, data = "application/json", "utf-8", json.dumps(value, default=str)
            elif run.codec.medium == "text":
                kind, encoding, data = "text/plain", "utf-8", item.value
            else:
                path = run.codec.write(item, Path(folder) / f"piece-{i}", run.mark(seed or 0))
                kind, encoding, data = TYPES[path.suffix], "base64", base64.b64encode(path.read_bytes()).decode()
            cond = item.cond if isinstance(item.cond, str | int | float | None) else str(item.cond)
            out.append({"seed": seed, "condition": cond, "media_type": kind, "encoding": encoding, "data": data,
                        "provenance": {"recipe": run.recipe.name, "model_sha256": run.weights_hash, "seed": seed}})  # fmt: skip
    return out


def app_of(folder: Path, caller: Caller | None = LOCAL) -> FastAPI:
    """The stand-in, with the runs of a folder; whoever asks is ``caller``, or nobody without one unless the key is "good"."""

    @cache
    def load(name: str) -> Any:
        if not (folder / name / "model.safetensors").exists():
            raise HTTPException(404, f"no model called {name!r}")
        return bottega.load(folder / name, device="cpu")

    app = FastAPI()
    models = SimpleNamespace(run=load)
    app.include_router(studio.router(models, SimpleNamespace(runs=[folder], bot=None)))

    @app.middleware("http")
    async def who(request: Request, go: Any) -> Any:
        key = request.headers.get("authorization", "")
        request.state.caller = caller or (LOCAL if key == "Bearer good" else None)
        return await go(request)

    @app.exception_handler(Refusal)
    @app.exception_handler(BottegaError)
    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: Exception) -> JSONResponse:
        status = getattr(error, "status_code", 400)
        message = str(getattr(error, "detail", "") or error)
        return JSONResponse({"error": {"message": message, "type": "invalid", "param": None, "code": None}}, status)

    @app.get("/v1/models")
    def listed() -> dict[str, Any]:
        out = []
        for path in sorted(folder.iterdir()):
            try:
                run = load(path.name)
            except (BottegaError, HTTPException):
                continue
            can = ["piece", *(["edit"] if has(run.model, Edits) else []), *(["encode"] if has(run.model, Encodes) else [])]
            can += ["chat"] if run.codec.medium == "text" else []
            kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
            knobs = {
                k: {"type": kinds.get(type(v), "number"), "default": v, "min": 0 if k == "temperature" else None, "max": 2 if k == "temperature" else None}
                for k, v in knobs_of(run.model.sample, 3).items()
            }  # fmt: skip
            conditions = None if run.spec.cond is None else [c if isinstance(c, str | int) else str(c) for c in run.header["conditions"]]
            out.append({"id": path.name, "medium": run.codec.medium, "capabilities": can, "conditions": conditions, "knobs": knobs, "loaded": True})
        return {"object": "list", "data": out}

    @app.post("/v1/pieces")
    def make(body: dict[str, Any]) -> dict[str, Any]:
        run = load(body["model"])
        made = run.sample(body.get("n", 1), seed=body.get("seed", 0), cond=body.get("condition"), **body.get("knobs", {}))
        return {"pieces": told(run, made.items, made.seeds)}

    @app.post("/v1/pieces/edit")
    def edit(body: dict[str, Any]) -> dict[str, Any]:
        run = load(body["model"])
        with tempfile.TemporaryDirectory() as there:
            def put(piece: Any, stem: str) -> Path:
                ending = {v: k for k, v in TYPES.items()}.get(piece["media_type"], ".txt")
                path = Path(there) / f"{stem}{ending}"
                path.write_bytes(base64.b64decode(piece["data"]))
                return path

            piece = body["piece"]
            source = piece["data"] if piece["encoding"] == "utf-8" else put(piece, "piece")
            mask = put(body["mask"], "mask") if body.get("mask") else None
            made = run.edit(source, mask=mask, n=body.get("n", 1), seed=body.get("seed", 0), cond=body.get("condition"), **body.get("knobs", {}))  # fmt: skip
        return {"pieces": told(run, made.items, made.seeds)}

    @app.post("/v1/pieces/between")
    def between(body: dict[str, Any]) -> dict[str, Any]:
        run = load(body["model"])
        ends = run.sample(2, seeds=body["seeds"], cond=body.get("condition"))
        cond = None
        if run.spec.cond is not None:
            cond = run.codec.encode_cond([ends.items[0].cond])
        z = codes_of(run, bottega.core.Batch(ends.x, None if cond is None else cond.expand(2, *cond.shape[1:])))
        share = torch.linspace(0, 1, body["n"]).view(-1, *[1] * (z.ndim - 1))
        x = decoded(run, z[:1] * (1 - share) + z[1:] * share, None if cond is None else cond.expand(body["n"], *cond.shape[1:]))
        return {"pieces": told(run, run.codec.decode(x), [None] * body["n"])}

    @app.post("/v1/chat/completions")
    async def chat(body: dict[str, Any]) -> StreamingResponse:
        if "fail" in body["messages"][-1]["content"]:
            raise HTTPException(429, "too many requests; try again in a second")

        async def parts() -> AsyncIterator[str]:
            for word in ANSWER.split(" "):
                yield f"data: {json.dumps({'id': 'c1', 'choices': [{'delta': {'content': word + ' '}}]})}\n\n"
                await asyncio.sleep(0.03)
            yield "data: [DONE]\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    return app
