"""The studio: a page where people look rather than read. The static shell at ``/studio``, its JSON under ``/studio/api``.

The shell holds no data and is public; everything else names its permission. The page is plain ES modules and custom
elements, served from the package as they are; plotly.js comes from the installed ``plotly``. Nothing is fetched from
another host, and the Content-Security-Policy (W3C CSP Level 3) sees to it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from bottega.core import BottegaError
from bottega.serve import _studio_runs as shelf
from bottega.serve._studio_look import columns_of, plane_of
from bottega.serve._studio_training import Trainings
from bottega.serve.api_pieces import condition_of, said
from bottega.serve.asking import answers, provenance
from bottega.serve.engine_oneshot import Call
from bottega.serve.models import Model, Models
from bottega.serve.roles import LOCAL, PERMISSIONS, Caller, need
from bottega.serve.settings import Settings
from bottega.serve.wrapping import wrapped
from bottega.workshop.recipe import load_recipe, shipped
from bottega.workshop.run import LOG, WEIGHTS, Run

__all__ = ["CSP", "router"]

PAGE = Path(__file__).parent / "studio_page"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Scripts only from here. Styles also inline: plotly.js writes its own."""
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_LOOK_SECONDS = 0.5  # between two looks at a log that is followed
_STREAM_SECONDS = 30.0  # after which a stream ends and the page asks again, so that a server can close in time


class Begin(BaseModel):
    """What ``POST /studio/api/trainings`` is given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    recipe: str = Field(max_length=200)
    name: str = Field(max_length=64)
    data: str = Field("", max_length=1000)
    steps: int | None = Field(None, ge=1, le=100_000_000)
    set: dict[str, str | int | float | bool] = Field(default_factory=dict, max_length=50)
    judge: bool = True


class Plane(BaseModel):
    """What ``POST /studio/api/plane`` is given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(max_length=200)
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(min_length=3, max_length=3)
    at: list[Annotated[list[Annotated[float, Field(ge=-1, le=2)]], Field(min_length=2, max_length=2)]] = Field(
        min_length=1, max_length=144
    )
    condition: str | int | None = None


def router(models: Models, settings: Settings) -> APIRouter:
    """The studio's routes.

    Args:
        models: what is served. Runs that are trained here join it, and those that were trained on are read anew.
        settings: ``folder`` holds the runs that the gallery shows, else what is served is shown.
    """
    trainings = Trainings()

    shelves = shelf.Shelf([settings.folder] if settings.folder is not None else [Path(run) for run in settings.runs])
    read: dict[str, int] = {}  # when the weights that are loaded were written

    def folder_of(name: str) -> Path:
        folder = shelves.find(name)
        if folder is None:
            raise HTTPException(404, f"no run called {name[:80]!r} here; GET /studio/api/runs lists them")
        return folder

    def told(name: str, folder: Path, whole: bool = False) -> dict[str, Any]:
        return shelf.tell(name, folder, training=trainings.running(folder), whole=whole) | {
            "failed": trainings.ended_badly(folder)
        }

    async def join() -> None:
        """Serve what was trained since, and forget weights that were trained on."""
        for name, folder in (await asyncio.to_thread(shelves.runs)).items():
            known = models.all.get(name)
            if not (folder / WEIGHTS).is_file():
                continue
            written = (folder / WEIGHTS).stat().st_mtime_ns
            if known is None:
                models.all[name] = Model(name, folder)
            elif known.run is None:
                read.pop(name, None)
            elif read.setdefault(name, written) != written and not known.busy:
                await models.unload(name)
                models.all[name] = Model(name, folder)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await join()
        yield
        await asyncio.to_thread(trainings.close)

    routes = APIRouter(lifespan=lifespan, tags=["studio"])

    # Looking ---------------------------------------------------------------------------------------------------------

    @routes.get("/studio/api/me")
    async def me(request: Request, caller: Annotated[Caller, Depends(need("look"))]) -> dict[str, Any]:
        """Who asks, and what they may do: the page shows only that."""
        await join()
        return {
            "most": settings.max_n,
            "id": caller.id,
            "role": caller.role,
            "may": sorted(PERMISSIONS[caller.role]),
            "here": caller == LOCAL,
            "bot": _has(request, "/v1/chats"),
        }

    @routes.get("/studio/api/runs")
    async def runs(caller: Annotated[Caller, Depends(need("look"))]) -> dict[str, Any]:
        """The gallery: every run with its state, a few measures, its samples; damaged ones say what is wrong."""
        await join()
        return {
            "runs": await asyncio.to_thread(lambda: [told(name, folder) for name, folder in shelves.runs().items()])
        }

    @routes.get("/studio/api/runs/{name}")
    def run(name: str, caller: Annotated[Caller, Depends(need("look"))]) -> dict[str, Any]:
        """One run: all measures with their intervals, notes, the recipe."""
        return told(name, folder_of(name), whole=True)

    @routes.get("/studio/api/runs/{name}/samples/{file}", response_class=FileResponse)
    def sample(name: str, file: str, caller: Annotated[Caller, Depends(need("look"))]) -> FileResponse:
        """A file of the run's samples: a sheet, real pieces, or what was made at a step."""
        folder = folder_of(name)
        if file not in {one["file"] for one in shelf.sample_files(folder)}:
            raise HTTPException(404, f"{name} has no sample called {file[:80]!r}")
        headers = _SAFE | {"Cache-Control": "private, no-cache", "Content-Security-Policy": "default-src 'none'"}
        return FileResponse(folder / "samples" / file, headers=headers)

    @routes.get("/studio/api/runs/{name}/log")
    def log(
        name: str, caller: Annotated[Caller, Depends(need("look"))], after: Annotated[int, Field(ge=0)] = 0
    ) -> dict[str, Any]:
        """Rows of the log from a byte on; ``at`` is where to go on, ``again`` says that earlier rows no longer hold."""
        tail = shelf.Tail(folder_of(name) / LOG, after)
        rows, again = tail.read()
        return {"rows": rows, "at": tail.at, "again": again}

    @routes.get("/studio/api/runs/{name}/events", response_class=StreamingResponse)
    def events(
        name: str, caller: Annotated[Caller, Depends(need("look"))], after: Annotated[int, Field(ge=0)] = 0
    ) -> StreamingResponse:  # fmt: skip
        """The log as it grows, as server-sent events: ``rows``, ``state``, ``samples``, ``again`` and at last ``end``."""
        folder = folder_of(name)
        stream = _followed(lambda: models.draining, folder, after, lambda: told(name, folder))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    @routes.get("/studio/api/runs/{name}/columns")
    def columns(name: str, caller: Annotated[Caller, Depends(need("look"))]) -> dict[str, Any]:
        """Real values of a table's columns, of rows that training never saw, to lay made ones beside."""
        try:
            return {"columns": columns_of(folder_of(name))}
        except BottegaError as error:
            raise HTTPException(404, str(error)) from error

    @routes.post("/studio/api/plane")
    async def plane(request: Request, body: Plane, caller: Annotated[Caller, Depends(need("make"))]) -> dict[str, Any]:
        """Pieces of the plane through the codes of three seeds' pieces, at coordinates in [0, 1] x [0, 1]."""
        async with models.use(body.model, "encode") as model:
            assert model.run is not None
            assert model.oneshot is not None
            run: Run = model.run
            cond = condition_of(run, body.condition)
            tickets = model.oneshot.submit([Call(lambda: plane_of(run, body.seeds, body.at, cond))])
            (items,) = await answers(request, tickets, settings.deadline)
            pieces = [
                {"seed": None, "condition": said(run, item.cond), **wrapped(run, item, 0, None),
                 "provenance": provenance(model.about, None, caller)}
                for item in items
            ]  # fmt: skip
            return {"model": body.model, "pieces": pieces}

    # Training --------------------------------------------------------------------------------------------------------

    @routes.get("/studio/api/recipes")
    def recipes(caller: Annotated[Caller, Depends(need("look"))]) -> dict[str, Any]:
        """What can be trained by name."""
        found = []
        for known, path in shipped().items():
            recipe = load_recipe(known)
            found.append(
                {"name": known, "makes": path.parent.name, "about": recipe.about, "header": recipe.header,
                 "steps": recipe.train.steps}
            )  # fmt: skip
        return {"recipes": found}

    @routes.post("/studio/api/trainings", status_code=201)
    def begin(body: Begin, caller: Annotated[Caller, Depends(need("train"))]) -> dict[str, Any]:
        """Train a shipped recipe into a new run."""
        if shelves.new is None:
            raise HTTPException(409, "this server shows single runs; start it with a folder of runs to train here")
        settings = {"train.sample_every": _every(body)} | dict(body.set)
        _or_refuse(
            trainings.start, body.recipe, shelves.new, body.name, data=body.data, steps=body.steps, settings=settings, judge=body.judge,
            here=caller == LOCAL,
        )  # fmt: skip
        return {"name": body.name}

    @routes.post("/studio/api/runs/{name}/stop")
    def stop(name: str, caller: Annotated[Caller, Depends(need("train"))]) -> dict[str, Any]:
        """Stop its training between two steps, with a checkpoint."""
        _or_refuse(trainings.stop, folder_of(name))
        return {"name": name, "state": "stopping"}

    @routes.post("/studio/api/runs/{name}/resume")
    def resume(name: str, caller: Annotated[Caller, Depends(need("train"))]) -> dict[str, Any]:
        """Go on from its last checkpoint."""
        _or_refuse(trainings.resume, folder_of(name))
        return {"name": name, "state": "training"}

    # The shell -------------------------------------------------------------------------------------------------------

    @routes.get("/studio", include_in_schema=False)
    @routes.get("/studio/", include_in_schema=False)
    def index() -> Response:
        """The page."""
        return _static("index.html")

    @routes.get("/studio/vendor/plotly.min.js", include_in_schema=False)
    def plotly() -> Response:
        """The plotly.js of the installed package."""
        spec = find_spec("plotly")
        file = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
        if file is None or not file.is_file():
            raise HTTPException(404, "the curves need plotly: pip install 'bottega[serve]'")
        return FileResponse(file, media_type="text/javascript", headers=_SAFE | {"Cache-Control": "max-age=86400"})

    @routes.get("/studio/{file}", include_in_schema=False)
    def static(file: str) -> Response:
        """A module, the style sheet or the icon."""
        return _static(file)

    return routes


def _has(request: Request, path: str) -> bool:
    """Whether the server has an endpoint."""
    return path in request.app.openapi().get("paths", {})


def _static(name: str) -> Response:
    known = {path.name: path for path in PAGE.iterdir() if path.suffix in _KINDS}
    if name not in known:
        raise HTTPException(404, f"the studio has no file {name[:80]!r}")
    path = known[name]
    headers = _SAFE | {"Content-Security-Policy": CSP, "Cache-Control": "no-cache"}
    return Response(path.read_bytes(), media_type=_KINDS[path.suffix], headers=headers)


def _every(body: Begin) -> int:
    """Samples ten times in a training, so that there is something to look at."""
    steps = body.steps
    if steps is None:
        try:
            steps = load_recipe(body.recipe).train.steps if body.recipe in shipped() else 0
        except BottegaError:
            steps = 0
    return max(1, steps // 10)


def _or_refuse(does: Any, *args: Any, **kwargs: Any) -> None:
    try:
        does(*args, **kwargs)
    except BottegaError as error:
        known = type(error) is not BottegaError  # a mistake in what was asked, or else a state that does not allow it
        raise HTTPException(400 if known else 409, str(error)) from error


async def _followed(
    closing: Callable[[], bool], folder: Path, after: int, state: Callable[[], dict[str, Any]]
) -> AsyncIterator[str]:
    """Server-sent events (WHATWG HTML, 9.2) of a log that grows. Each ``rows`` says how far it was read, as the event's id."""
    tail, seen, lately = shelf.Tail(folder / LOG, after), "", list[dict[str, Any]]()
    if after:  # the rate needs a few rows from before
        lately = (await asyncio.to_thread(shelf.Tail(folder / LOG).read))[0][-20:]
    ends, spoken = time.monotonic() + _STREAM_SECONDS, time.monotonic()
    while time.monotonic() < ends and not closing():  # a caller who goes away ends it from outside
        rows, again = await asyncio.to_thread(tail.read)
        if again:
            lately = []
            yield _event("again", {})
        for first in range(0, len(rows), 500):
            yield _event("rows", rows[first : first + 500], tail.at)
        lately = [*lately, *rows][-20:]
        now = await asyncio.to_thread(state)
        rate, seconds = shelf.left(lately, now["steps"])
        if lately:
            now["step"] = (
                max(now["step"], int(lately[-1]["step"])) if now["state"] in {"training", "watched"} else now["step"]
            )
        now |= {"rate": rate, "left_seconds": seconds if now["state"] in {"training", "watched"} else None}
        fresh = json.dumps(now, sort_keys=True)
        if fresh != seen:
            seen = fresh
            yield _event("state", now)
        if now["state"] not in {"training", "watched"}:
            yield _event("end", {})
            return
        if time.monotonic() - spoken > 10:
            spoken = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(_LOOK_SECONDS)
    yield _event("more", {}, tail.at)


def _event(name: str, data: Any, at: int | None = None) -> str:
    ident = "" if at is None else f"id: {at}\n"
    return f"{ident}event: {name}\ndata: {json.dumps(data, ensure_ascii=False, allow_nan=False)}\n\n"
