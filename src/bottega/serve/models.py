"""What is served: runs by name, loaded when asked for, within a limit of memory."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from bottega.core import BottegaError, CheckpointError, Edits, Encodes, Family, Represents, Spec, has, lookup, nearest
from bottega.crafts import write
from bottega.serve.engine_oneshot import Call, OneshotEngine
from bottega.serve.engine_tokens import TokenEngine
from bottega.serve.engine_turns import TurnsEngine
from bottega.serve.errors import ApiError
from bottega.serve.queue import Busy, Post, Queue
from bottega.serve.settings import Settings
from bottega.serve.wording import Wording
from bottega.workshop import foreign
from bottega.workshop.run import WEIGHTS, Run, knobs_of, load

__all__ = ["About", "Model", "Models", "find_runs"]

_LOG = logging.getLogger("bottega.serve")
PAGES = 256 << 20  # bytes of keys and values of one model at most
BLOCK = 32
RANGES: dict[str, tuple[float | None, float | None]] = {
    "temperature": (0, None), "top_k": (0, None), "top_p": (0, 1), "min_p": (0, 1), "guidance": (0, None), "steps": (1, None),
    "max_new": (1, None), "repetition_penalty": (0, None), "no_repeat": (0, None), "min_new": (0, None), "beams": (1, None),
    "truncation": (0, 1), "strength": (0, 1), "length_penalty": (0, None), "eta": (0, None),
}  # fmt: skip
"""Of knobs that mean the same in every family, between what values they lie."""


def find_runs(places: Sequence[str | Path]) -> dict[str, Path]:
    """Names and folders of runs: each place is a run, a Hugging Face directory, or a folder of runs.

    Raises:
        CheckpointError: there is none, or two would have one name.
    """
    out: dict[str, Path] = {}
    for place in map(Path, places):
        path = place.parent if place.name == WEIGHTS else place
        some = [path] if _is_run(path) else sorted(p for p in path.glob("*") if _is_run(p)) if path.is_dir() else []
        if not some:
            raise CheckpointError(
                f"no run at {place}: there is no {WEIGHTS}; train one with bottega train RECIPE --out {place}"
            )
        for run in some:
            name = run.resolve().name
            if name in out and out[name].resolve() != run.resolve():
                raise CheckpointError(f"{out[name]} and {run} would both be called {name!r}; rename a folder")
            out[name] = run
    return out


def _is_run(path: Path) -> bool:
    return path.is_dir() and ((path / WEIGHTS).is_file() or foreign.is_directory(path))


@dataclass(frozen=True)
class About:
    """What can be said of a model without using it.

    Attributes:
        medium: of its pieces.
        capabilities: complete, chat, embed, image, edit, speech, piece, stream, encode.
        conditions: names of classes; None where it knows none.
        knobs: of ``sample``: type, default, and between what values.
        context: positions a text can have; None for what is no text.
        weights: SHA-256 of them, empty before it was loaded.
        data: SHA-256 of what it was trained on, empty where nobody knows.
        recipe: its name.
        voices: of a run that speaks.
        created: seconds since 1970 at which it was trained.
        given: ``"picture"`` or ``"sound"`` where a file of that is its condition; empty otherwise.
    """

    medium: str
    capabilities: tuple[str, ...]
    conditions: list[str] | None = None
    knobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    context: int | None = None
    weights: str = ""
    data: str = ""
    recipe: str = ""
    voices: list[str] | None = None
    created: int = 0
    given: str = ""


def _capabilities(family: Any, codec: Any, spec: Spec, writes: bool) -> tuple[str, ...]:
    """Of a model, or of its class where it is not loaded."""
    instance = isinstance(family, Family)

    def able(kind: type, *methods: str) -> bool:
        return has(family, kind) if instance else all(hasattr(family, m) for m in methods)

    codes = able(Encodes, "encode", "decode") and (not instance or not family.latent.is_tokens)
    known = {
        "complete": writes, "chat": writes, "stream": writes, "image": codec.medium == "image", "piece": True,
        "embed": codes or able(Represents, "represent"), "edit": able(Edits, "edit") and hasattr(codec, "start_edit"),
        "speech": hasattr(codec, "voices") and hasattr(family, "speak"), "encode": codes,
    }  # fmt: skip
    return tuple(name for name, has_it in known.items() if has_it)


def _given(spec: Spec) -> str:
    return "picture" if spec.given_picture else "sound" if spec.given_sound else ""


def _knobs(method: Any) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for name, default in knobs_of(method, 3).items():
        kind = {bool: "boolean", int: "integer", float: "number", str: "string"}.get(type(default), "any")
        low, high = RANGES.get(name, (None, None))
        out[name] = {"type": kind, "default": default if kind != "any" else None, "min": low, "max": high}
    return out


def _made_at(header: dict[str, Any]) -> int:
    try:
        return int(datetime.fromisoformat(header.get("created", "")).timestamp())
    except ValueError:
        return 0


def _header(path: Path) -> dict[str, Any]:
    import json

    with safe_open(path / WEIGHTS, "pt") as file:
        found: dict[str, Any] = json.loads((file.metadata() or {}).get("bottega", "{}"))
    return found


def _peek(path: Path) -> About:
    """What the head of a weights file says; the weights stay where they are."""
    try:
        if not (path / WEIGHTS).is_file():
            raise KeyError("a directory of Hugging Face's")
        header = _header(path)
        codec = lookup("codecs", header["recipe"]["codec"]["name"])
        family = lookup("families", header["recipe"]["family"]["name"])
        spec = Spec.from_dict(header["spec"])
    except (KeyError, ValueError, BottegaError, OSError, SafetensorError):
        return About("text" if foreign.is_directory(path) else "", ("complete", "chat", "stream", "embed", "piece") if foreign.is_directory(path) else ("piece",))  # fmt: skip
    medium = getattr(codec, "medium", "")
    writes = medium == "text" and spec.is_text and hasattr(family, "stream")
    return About(
        medium, _capabilities(family, codec, spec, writes), knobs=_knobs(family.sample), data=header.get("fingerprint", ""),
        recipe=header["recipe"].get("name", ""), created=_made_at(header), given=_given(spec),
    )  # fmt: skip


class Model:
    """One run, loaded or not.

    Attributes:
        run: None while it is not loaded.
        users: requests that use it now.
        used: when it was last asked for, by ``time.monotonic``.
        bytes: what it takes while it is loaded.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.run: Run | None = None
        self.about = _peek(path)
        self.text: TokenEngine | TurnsEngine | None = None
        self.oneshot: OneshotEngine | None = None
        self.wording: Wording | None = None
        self.users, self.used, self.bytes = 0, 0.0, 0
        self.lock = asyncio.Lock()

    @property
    def size(self) -> int:
        """Bytes that it takes, as far as is known."""
        return self.bytes or sum(p.stat().st_size for p in self.path.glob("*.safetensors"))

    @property
    def busy(self) -> int:
        """Requests that use it, or work that it has."""
        return self.users + sum(e.busy for e in (self.text, self.oneshot) if e is not None)

    def load(self, settings: Settings, post: Post) -> None:
        """Read the weights and begin to work; in any thread."""
        run = load(self.path, settings.device)
        self.bytes = sum(t.nbytes for t in run.model.state_dict().values())
        threads = settings.threads or max(1, (os.cpu_count() or 2) - 1)
        try:
            write.need_text(run)
            writes = True
        except BottegaError:
            writes = False
        context = None
        if writes:
            self.wording = Wording(run)
            context = self._write(run, settings, post, threads)
        self.oneshot = OneshotEngine(
            run, Queue(settings.queue, self.name), post, batch=settings.batch, gather=settings.gather, threads=threads
        )
        classes = getattr(run.codec, "classes", None) or None
        spoken = "speech" if hasattr(run.codec, "voices") and hasattr(run.model, "speak") else ""
        self.about = About(
            run.codec.medium, _capabilities(run.model, run.codec, run.spec, writes),
            [str(c) for c in classes] if classes and run.spec.cond is not None else None, _knobs(run.model.sample), context,
            run.weights_hash, str(run.header.get("fingerprint", "")), run.recipe.name,
            list(getattr(run.codec, "voices", [])) if spoken else None, _made_at(run.header), _given(run.spec),
        )  # fmt: skip
        self.run = run

    def _write(self, run: Run, settings: Settings, post: Post, threads: int) -> int:
        """The engine of a run of texts; returns its context."""
        queue = Queue[Any](settings.queue, self.name)
        model: Any = run.model
        codec: Any = run.codec
        if not hasattr(model, "paged"):
            self.text = TurnsEngine(run, queue, post, threads=threads)
            return int(getattr(model, "sees", 0) or run.spec.shape[0])
        light: Any = run.lighter(settings.weights, 16).model if run.device.type == "cpu" else model
        self.bytes *= 2 if light is not model else 1
        body = light.body
        block = 2 * BLOCK * body.depth * body.kv_heads * body.head * body.like.element_size()
        most = -(-model.sees // BLOCK) * settings.rows
        limit = max(-(-model.sees // BLOCK), min(most, min(PAGES, settings.memory // 4) // block))
        self.bytes += limit * block
        reader = light.paged(limit, block=BLOCK)
        self.text = TokenEngine(
            reader,
            codec.spelling,
            queue,
            post,
            rows=settings.rows,
            name=self.name,
            threads=threads,
            lead=getattr(codec, "lead", ""),
        )
        return int(reader.sees) - len(reader.begun([0])) + 1

    def unload(self) -> None:
        """Stop its workers and forget the weights; what is said of it stays."""
        for engine in (self.text, self.oneshot):
            if engine is not None:
                engine.close()
        self.run = self.text = self.oneshot = self.wording = None


class Models:
    """All that is served. Used from the loop's thread only.

    Args:
        settings: ``runs``, ``memory``, ``queue`` and so on.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.all = {name: Model(name, path) for name, path in find_runs(settings.runs).items()}
        self.post: Post | None = None
        self.draining = False
        self.watch: Any = None  # serve.drift.Watch, where drift is looked for
        self.ready = not settings.warm
        self.loading = asyncio.Lock()

    async def start(self) -> None:
        """Load models, as many as fit, in the order in which they were named."""
        self.post = Post(asyncio.get_running_loop())
        if self.settings.warm:
            free = self.settings.memory
            for model in self.all.values():
                if model.size <= free:
                    try:
                        await self._load(model)
                    except BottegaError as error:  # a damaged run keeps no other from being served
                        _LOG.warning("%s could not be loaded: %s", model.name, error)
                    free -= model.bytes
        self.ready = True

    def named(self, name: str) -> Model:
        """A model by its name, exactly; 404 with those that there are."""
        model = self.all.get(name)
        if model is None:
            hint = nearest(name[:80], self.all) if self.all else "; none is served"
            raise ApiError(404, f"no model called {name[:80]!r} is served{hint}", "model", "model_not_found")
        return model

    @asynccontextmanager
    async def use(self, name: str, capability: str = "") -> AsyncIterator[Model]:
        """A model that is loaded, and stays so until its user is done.

        Raises:
            ApiError: 404 unknown; 400 where it cannot do what is asked.
            Busy: it is not loaded, and all others that fill the memory are in use.
        """
        model = self.named(name)
        if capability and capability not in model.about.capabilities:
            can = (
                ", ".join(n for n, m in self.all.items() if capability in m.about.capabilities) or "none that is served"
            )
            raise ApiError(400, f"{name} makes {model.about.medium or 'pieces'} and has no {capability!r}; models that have: {can}", "model", "not_capable")  # fmt: skip
        model.users += 1
        model.used = time.monotonic()
        try:
            if model.run is None:
                await self._load(model)
            if capability and capability not in model.about.capabilities:
                raise ApiError(
                    400, f"{name} has no {capability!r}; GET /v1/models says what it has", "model", "not_capable"
                )
            yield model
        finally:
            model.users -= 1
            model.used = time.monotonic()

    async def _load(self, model: Model) -> None:
        async with self.loading:
            if model.run is not None:
                return
            await self._make_room(model)
            assert self.post is not None
            await asyncio.to_thread(model.load, self.settings, self.post)
            if self.watch is not None and model.oneshot is not None:
                model.oneshot.made = partial(self.watch.served, model.name)
                model.oneshot.submit([Call(partial(self._watched, model))])

    def _watched(self, model: Model) -> None:
        """Learn what a model makes; one that cannot be compared is left out, and the log says so."""
        from bottega.serve.drift import Drift

        assert model.run is not None
        try:
            self.watch.add(Drift.of(model.run, model.name))
        except BottegaError as error:
            _LOG.warning("%s is not watched for drift: %s", model.name, error)

    async def _make_room(self, model: Model) -> None:
        """Unload what was not used for longest, until the model fits; never one in use."""
        limit = self.settings.memory
        if model.size > limit:
            raise ApiError(503, f"{model.name} takes {model.size >> 20} MiB and the server may use {limit >> 20}; start it with more --memory", "model", "no_memory")  # fmt: skip
        while self.bytes + model.size > limit:
            idle = [m for m in self.all.values() if m.run is not None and not m.busy]
            if not idle:
                raise Busy(
                    f"{model.name} is not loaded, and those that fill the memory are in use; ask again in 5 s", 5, 503
                )
            await asyncio.to_thread(min(idle, key=lambda m: m.used).unload)

    async def unload(self, name: str) -> None:
        """Forget the weights of a model; raises Busy while it is in use."""
        model = self.named(name)
        if model.busy:
            raise Busy(f"{name} is in use; ask again in 5 s", 5, 503)
        await asyncio.to_thread(model.unload)

    @property
    def bytes(self) -> int:
        """What all loaded models take."""
        return sum(m.bytes for m in self.all.values() if m.run is not None)

    @property
    def busy(self) -> int:
        """Requests in all models."""
        return sum(m.busy for m in self.all.values())

    async def stop(self) -> None:
        """Stop all workers."""
        for model in self.all.values():
            if model.run is not None:
                await asyncio.to_thread(model.unload)

    def figures(self) -> list[dict[str, Any]]:
        """What each model has done, for metrics."""
        out = []
        for name, m in self.all.items():
            row: dict[str, Any] = {
                "model": name,
                "loaded": m.run is not None,
                "bytes": m.bytes if m.run is not None else 0,
            }
            if m.text is not None:
                row |= {"queue": len(m.text.queue), "running": len(m.text.running), "tokens": m.text.tokens,
                        "steps": m.text.steps, "preempted": m.text.preempted, "rate": m.text.queue.speed.rate()}  # fmt: skip
                if isinstance(m.text, TokenEngine):
                    pages = m.text.reader.pages
                    row |= {"pages": pages.blocks, "pages_limit": pages.limit}
            if m.oneshot is not None:
                row |= {"pieces_queue": len(m.oneshot.queue), "pieces": m.oneshot.pieces, "batches": m.oneshot.batches}
            out.append(row)
        return out
