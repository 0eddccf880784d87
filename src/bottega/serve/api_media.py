"""OpenAI's endpoints for pictures and sound."""

from __future__ import annotations

import asyncio
import base64
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from bottega.core import Item
from bottega.crafts.speak import Speaker, manner
from bottega.serve.api_pieces import condition_of, make, seeds_of
from bottega.serve.asking import answers, provenance, seed_of
from bottega.serve.engine_oneshot import Call
from bottega.serve.errors import ApiError
from bottega.serve.models import Model, Models
from bottega.serve.roles import Caller, need
from bottega.serve.wrapping import file_of, mask_file, picture
from bottega.workshop.run import Run

__all__ = ["router"]

router = APIRouter(tags=["media"])
Maker = Annotated[Caller, Depends(need("make"))]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Images(BaseModel):
    """``POST /v1/images/generations``; ``seed`` and ``knobs`` stand beside OpenAI's. ``quality`` and the like are not used."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Name
    prompt: str = Field("", max_length=32_000)
    n: int = Field(1, ge=1, le=64)
    size: str | None = Field(None, max_length=20)
    response_format: Literal["b64_json", "url"] = "b64_json"
    output_format: Literal["png"] = "png"
    seed: Seed | None = None
    seeds: list[Seed] | None = Field(None, min_length=1, max_length=64)
    knobs: dict[str, Any] = Field(default_factory=dict, max_length=64)
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    user: str | None = None


class Speech(BaseModel):
    """``POST /v1/audio/speech``; ``emotion`` and ``seed`` stand beside OpenAI's."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Name
    input: str = Field(min_length=1, max_length=4096)
    voice: str | dict[str, str] = "default"
    response_format: Literal["wav", "flac"] = "wav"
    speed: float = Field(1.0, ge=0.25, le=4)
    emotion: str = "neutral"
    seed: Seed | None = None
    instructions: str | None = None


def _size(run: Run, size: str | None) -> None:
    _, height, width = run.spec.shape if run.spec.is_image else (0, 0, 0)
    if size not in (None, "auto", f"{width}x{height}") and run.spec.is_image:
        raise ApiError(400, f"size is {size!r}; this model makes {width}x{height}, or leave it out", "size")


def _images(model: Model, items: list[Item], seeds: list[int], caller: Caller, form: str) -> dict[str, Any]:
    assert model.run is not None
    data = []
    for item, seed in zip(items, seeds, strict=True):
        coded = base64.b64encode(file_of(model.run, item, seed)[0]).decode()
        shown = {"b64_json": coded} if form == "b64_json" else {"url": f"data:image/png;base64,{coded}"}
        data.append(shown | {"bottega": provenance(model.about, seed, caller)})
    return {"created": int(time.time()), "output_format": "png", "data": data}


@router.post("/v1/images/generations", summary="Make pictures")
async def images(request: Request, body: Images, caller: Maker) -> dict[str, Any]:
    """Pictures of a class or caption, the prompt; a run without conditions takes an empty one. PNG, marked as machine-made."""
    async with request.app.state.models.use(body.model, "image") as model:
        run: Run = model.run
        _size(run, body.size)
        seeds = seeds_of(body.n, body.seed, body.seeds, request.app.state.settings.max_n)
        cond = condition_of(run, body.prompt or None)
        items = await make(request, model, seeds, cond, body.knobs)
        return await asyncio.to_thread(_images, model, items, seeds, caller, body.response_format)


@router.post("/v1/images/edits", summary="Make part of a picture anew")
async def edits(
    request: Request,
    caller: Maker,
    model: Annotated[str, Form(max_length=200)],
    image: Annotated[UploadFile, File()],
    mask: Annotated[UploadFile | None, File()] = None,
    prompt: Annotated[str, Form(max_length=32_000)] = "",
    n: Annotated[int, Form(ge=1, le=64)] = 1,
    size: Annotated[str | None, Form()] = None,
    response_format: Annotated[Literal["b64_json", "url"], Form()] = "b64_json",
    seed: Annotated[int | None, Form(ge=0, lt=2**63)] = None,
) -> dict[str, Any]:
    """``mask`` says where: its transparent parts, or, without alpha, its white ones; without a mask, the lower half."""
    async with request.app.state.models.use(model, "edit") as served:
        run: Run = served.run
        if run.codec.medium != "image":
            raise ApiError(400, f"{model} makes {run.codec.medium}; POST /v1/pieces/edit edits that", "model")
        _size(run, size)
        item = Item(picture(await image.read(), "image"))
        data = None if mask is None else await mask.read()
        seeds = seeds_of(n, seed, None, request.app.state.settings.max_n)
        cond = condition_of(run, prompt or None)

        def call() -> list[Item]:
            with mask_file(data) as path:
                return run.edit(item, mask=path, seeds=seeds, cond=cond).items

        (items,) = await answers(request, served.oneshot.submit([Call(call)]), request.app.state.settings.deadline)
        return await asyncio.to_thread(_images, served, items, seeds, caller, response_format)


def _vocoder(models: Models, speaks: Run) -> Run | None:
    """A loaded run that makes waves of what this one says."""
    run: Run | None
    for other in models.all.values():
        run = other.run
        if run is not None and run is not speaks and hasattr(run.model, "waves"):
            same = ("rate", "window", "hop", "mels")
            if [getattr(speaks.codec, k, None) for k in same] == [getattr(run.model, k, None) for k in same]:
                return run
    return None


@router.post("/v1/audio/speech", summary="Say a text", response_class=Response)
async def speech(request: Request, body: Speech, caller: Maker) -> Response:
    """Speech as WAV or FLAC with the maker's mark; ``voice`` is one of the run's, ``default`` its first."""
    models: Models = request.app.state.models
    async with models.use(body.model, "speech") as model:
        run = model.run
        assert run is not None
        assert model.oneshot is not None
        how = manner(body.emotion, speed=body.speed)
        voice = body.voice if isinstance(body.voice, str) else body.voice.get("id", "default")
        voices = model.about.voices or []
        who = voices[0] if voice == "default" and voices else voice
        if who not in voices:
            raise ApiError(
                400, f"no voice called {who[:60]!r}; this run has {', '.join(voices[:40])}, and 'default'", "voice"
            )
        seed, ending = seed_of(body.seed), f".{body.response_format}"

        def call() -> bytes:
            speaker = Speaker(run, _vocoder(models, run))
            sound = speaker.say(body.input, who, how, seed)
            with tempfile.TemporaryDirectory(prefix="bottega-") as folder:
                return speaker.save(sound, Path(folder) / f"speech{ending}", seed=seed).read_bytes()

        (data,) = await answers(request, model.oneshot.submit([Call(call)]), request.app.state.settings.deadline)
        told = provenance(model.about, seed, caller)
        headers = {
            "X-Bottega-Seed": str(seed),
            "X-Bottega-Model": told["model_sha256"],
            "X-Bottega-Data": told["data_sha256"],
        }
        return Response(data, media_type=f"audio/{body.response_format}", headers=headers)


@router.post("/v1/audio/transcriptions", summary="Write down what is said")
async def transcriptions(
    request: Request, caller: Maker, model: Annotated[str, Form(max_length=200)], file: Annotated[UploadFile, File()]
) -> dict[str, Any]:
    """No run of Bottega's recognises free speech yet, so this names the model and says no."""
    request.app.state.models.named(model)
    raise ApiError(400, f"{model} recognises no speech, and no run that is served does", "model", "not_capable")
