"""Pieces of every medium: made, edited, and made between two others."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from bottega.core import Edits, Item, has
from bottega.crafts._rows import codes_of, decoded
from bottega.serve.asking import answers, provenance, seed_of
from bottega.serve.engine_oneshot import Call, Make
from bottega.serve.errors import ApiError
from bottega.serve.models import Model
from bottega.serve.roles import Caller, need
from bottega.serve.wrapping import Given, bytes_of, item_of, mask_file, picture, wrapped
from bottega.workshop.run import Run, check_knobs

__all__ = ["condition_of", "router", "seeds_of"]

router = APIRouter(tags=["pieces"])
Maker = Annotated[Caller, Depends(need("make"))]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Pieces(BaseModel):
    """``POST /v1/pieces``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Name
    n: int = Field(1, ge=1, le=4096)
    seed: Seed | None = None
    seeds: list[Seed] | None = Field(None, min_length=1, max_length=4096)
    condition: Any = None
    knobs: dict[str, Any] = Field(default_factory=dict, max_length=64)
    format: str | None = Field(None, max_length=20)


class Edit(Pieces):
    """``POST /v1/pieces/edit``: ``mask`` is a picture whose white (or transparent) parts are made anew."""

    piece: Given
    mask: Given | None = None


class End(BaseModel):
    """One end of a way: a seed, or a piece."""

    model_config = ConfigDict(extra="forbid")

    seed: Seed | None = None
    piece: Given | None = None


class Between(BaseModel):
    """``POST /v1/pieces/between``: ``n`` pieces on the way from one to another, both ends among them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Name
    first: End
    last: End
    n: int = Field(9, ge=2, le=64)
    condition: Any = None
    format: str | None = Field(None, max_length=20)


def seeds_of(n: int, seed: int | None, seeds: list[int] | None, most: int) -> list[int]:
    """A seed for each piece; 400 where they do not agree with ``n``, or are too many."""
    if seeds is not None:
        if n not in (1, len(seeds)):
            raise ApiError(400, f"n is {n} and there are {len(seeds)} seeds; give one of them", "seeds")
    else:
        first = seed_of(seed)
        seeds = list(range(first, first + n))
    if len(seeds) > most:
        raise ApiError(400, f"{len(seeds)} pieces are asked for; at most {most} in one request", "n")
    return seeds


def condition_of(run: Run, value: Any) -> Any:
    """What a piece should be, as the run takes it; never a path. A picture or sound comes in base64."""
    if value is None:
        return None
    spec = run.spec.cond
    if spec is None:
        raise ApiError(400, f"{run.path.name} was trained without conditions, so {str(value)[:60]!r} means nothing to it; leave it out", "condition")  # fmt: skip
    if run.spec.given_picture:
        return picture(bytes_of(value.get("data") if isinstance(value, dict) else value, "condition"), "condition")
    if run.spec.given_sound:
        return sound_of(run, value)
    if not isinstance(value, str | int | float | bool):
        raise ApiError(400, "condition is a class or a text", "condition")
    return str(value)


def sound_of(run: Run, value: Any) -> Any:
    """The recording that a run is given, from base64 of a WAV or FLAC file, or an object whose ``data`` is that."""
    data = value.get("data") if isinstance(value, dict) else value
    return item_of(run, Given(data=data, encoding="base64", media_type=None), "condition").value


def said(run: Run, value: Any) -> Any:
    """A condition as an answer tells it."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return "a picture" if run.spec.given_picture else "a recording" if run.spec.given_sound else type(value).__name__


async def make(request: Request, model: Model, seeds: list[int], cond: Any, knobs: dict[str, Any]) -> list[Item]:
    """Pieces of some seeds, gathered with those of other requests."""
    assert model.run is not None
    assert model.oneshot is not None
    check_knobs(model.run.model.sample, knobs, skip=3)
    tickets = model.oneshot.submit([Make(seed, cond, knobs) for seed in seeds])
    return await answers(request, tickets, request.app.state.settings.deadline)


def _answer(
    model: Model, items: list[Item], seeds: list[int | None], caller: Caller, form: str | None
) -> dict[str, Any]:
    run = model.run
    assert run is not None
    return {
        "model": model.name,
        "medium": run.codec.medium,
        "pieces": [
            {"seed": seed, "condition": said(run, item.cond), **wrapped(run, item, seed or 0, form),
             "provenance": provenance(model.about, seed, caller)}
            for item, seed in zip(items, seeds, strict=True)
        ],
    }  # fmt: skip


@router.post("/v1/pieces", summary="Make pieces of any medium")
async def pieces(request: Request, body: Pieces, caller: Maker) -> dict[str, Any]:
    """New pieces; a seed gives the same one, alone or beside others."""
    async with request.app.state.models.use(body.model, "piece") as model:
        seeds = seeds_of(body.n, body.seed, body.seeds, request.app.state.settings.max_n)
        cond = condition_of(model.run, body.condition)
        items = await make(request, model, seeds, cond, body.knobs)
        return _answer(model, items, list(seeds), caller, body.format)


@router.post("/v1/pieces/edit", summary="Make the missing part of a piece")
async def edit(request: Request, body: Edit, caller: Maker) -> dict[str, Any]:
    """Inpaint, complete or continue a piece."""
    async with request.app.state.models.use(body.model, "edit") as model:
        run: Run = model.run
        seeds = seeds_of(body.n, body.seed, body.seeds, request.app.state.settings.max_n)
        if not has(run.model, Edits):
            raise ApiError(400, f"{model.name} cannot edit", "model")
        item, cond = item_of(run, body.piece), condition_of(run, body.condition)
        data = None if body.mask is None else bytes_of(body.mask.data, "mask")

        def call() -> list[Item]:
            with mask_file(data) as path:
                source: Any = item.value if run.codec.medium == "text" else item
                return run.edit(source, mask=path, seeds=seeds, cond=cond, **body.knobs).items

        tickets = model.oneshot.submit([Call(call)])
        (items,) = await answers(request, tickets, request.app.state.settings.deadline)
        return _answer(model, items, list(seeds), caller, body.format)


@router.post("/v1/pieces/between", summary="Pieces on the way from one to another")
async def between(request: Request, body: Between, caller: Maker) -> dict[str, Any]:
    """The codes of two pieces, and what lies evenly between them on a straight line."""
    async with request.app.state.models.use(body.model, "encode") as model:
        run: Run = model.run
        cond = condition_of(run, body.condition)
        ends = [_end(run, end, name) for end, name in ((body.first, "first"), (body.last, "last"))]

        def call() -> list[Item]:
            import torch

            both = [run.sample(1, seeds=[e], cond=cond).items[0] if isinstance(e, int) else e for e in ends]
            batch = run.codec.encode(both)
            z = codes_of(run, batch)
            along = torch.linspace(0, 1, body.n).view(-1, *[1] * (z.ndim - 1))
            known = None if batch.cond is None else batch.cond[:1].expand(body.n, *batch.cond.shape[1:])
            x = decoded(run, z[:1] * (1 - along) + z[1:] * along, known)
            return run.codec.decode(x, known)

        tickets = model.oneshot.submit([Call(call)])
        (items,) = await answers(request, tickets, request.app.state.settings.deadline)
        return _answer(model, items, [None] * len(items), caller, body.format)


def _end(run: Run, end: End, param: str) -> int | Item:
    if (end.seed is None) == (end.piece is None):
        raise ApiError(400, f"{param} is a seed or a piece; give one of them", param)
    return end.seed if end.seed is not None else item_of(run, end.piece, f"{param}.piece")  # type: ignore[arg-type]
