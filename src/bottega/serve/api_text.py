"""OpenAI's text endpoints: completions, chat completions and embeddings."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from bottega.core import Message
from bottega.samplers.rows import Knobs
from bottega.samplers.texts import stop_strings
from bottega.serve.asking import EventStream, answers, events, provenance, seed_of
from bottega.serve.engine_oneshot import Call
from bottega.serve.engine_tokens import Ask, Said, TokenEngine
from bottega.serve.errors import ApiError
from bottega.serve.models import Model
from bottega.serve.roles import Caller, need
from bottega.serve.wording import call_schema, tool_text

__all__ = ["router"]

router = APIRouter(tags=["text"])
Make = Annotated[Caller, Depends(need("make"))]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
_FINISH = {"end": "stop", "stop": "stop", "complete": "stop", "length": "length"}


class Asked(BaseModel):
    """What all requests for text have in common; ``user`` and the like are taken and not used."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Name
    n: int = Field(1, ge=1, le=64)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    seed: Seed | None = None
    temperature: float = Field(1.0, ge=0, le=100)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, le=1_000_000)
    min_p: float = Field(0.0, ge=0, le=1)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    repetition_penalty: float = Field(1.0, gt=0, le=100)
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    condition: str | int | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None

    def knobs(self, vocab: int) -> Knobs:
        """How its rows draw."""
        bias: dict[int, float] = {}
        for token, value in (self.logit_bias or {}).items():
            if not token.isdecimal() or int(token) >= vocab or not -100 <= value <= 100:
                raise ApiError(400, f"logit_bias holds {token[:40]!r}: {value}; tokens are 0 to {vocab - 1}, biases -100 to 100", "logit_bias")  # fmt: skip
            bias[int(token)] = value
        return Knobs(self.temperature, self.top_k, self.top_p, self.min_p, self.repetition_penalty, self.frequency_penalty,
                     self.presence_penalty, bias)  # fmt: skip

    @property
    def stops(self) -> list[str]:
        """Strings that end a text."""
        out = stop_strings(self.stop)
        if len(out) > 16 or any(len(s) > 1000 for s in out):
            raise ApiError(400, f"stop has {len(out)} strings; at most 16, each of at most 1000 characters", "stop")
        return out


class Completion(Asked):
    """``POST /v1/completions``; ``top_k``, ``min_p``, ``repetition_penalty`` and ``condition`` stand beside OpenAI's knobs."""

    prompt: str | list[str] | list[int] | list[list[int]] = ""
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool = False
    best_of: int | None = Field(None, ge=1, le=64)
    suffix: str | None = None


class Function(BaseModel):
    """A function that a model may call."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str | None = Field(None, max_length=10_000)
    parameters: dict[str, Any] | None = None


class Tool(BaseModel):
    """OpenAI's wrapping of a function."""

    type: Literal["function"]
    function: Function


class Chosen(BaseModel):
    """A function that must be called."""

    type: Literal["function"]
    function: dict[Literal["name"], str]


class Turn(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class Schema(BaseModel):
    """OpenAI's wrapping of a JSON schema."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    name: str = "answer"
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")


class Wanted(BaseModel):
    """Of what form an answer is."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None


class Chat(Asked):
    """``POST /v1/chat/completions``."""

    messages: list[Turn] = Field(min_length=1, max_length=1000)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | Chosen | None = None
    parallel_tool_calls: bool | None = None
    response_format: Wanted | None = None
    reasoning_effort: str | None = None


class Embed(BaseModel):
    """``POST /v1/embeddings``."""

    model_config = ConfigDict(extra="forbid")

    model: Name
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None


def _room(model: Model, prompt: Sequence[int], asked: int | None, most: int) -> int:
    """How many tokens a text may have; 400 where there is no room for it."""
    context = model.about.context or 0
    left = context - len(prompt)
    if left < 1 or (asked or 1) > left:
        more = f" and {asked} more are asked for" if asked else ""
        raise ApiError(400, f"the prompt has {len(prompt)} tokens{more}; {model.name} has room for {context} in all", "messages" if asked is None else "max_tokens", "context_length_exceeded")  # fmt: skip
    return asked or min(left, most)


def _condition(model: Model, value: str | int | None) -> Any:
    """A class, encoded ``(1, ...)``; None for none."""
    assert model.run is not None
    if value is None:
        return None
    if model.run.spec.cond is None:
        raise ApiError(
            400, f"{model.name} was trained without conditions, so {value!r} means nothing to it", "condition"
        )
    return model.run.codec.encode_cond([str(value)])


def _usage(prompt: int, made: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def _frame(kind: str, model: Model, caller: Caller, seed: int) -> dict[str, Any]:
    prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model.name,
        "system_fingerprint": model.about.weights[:16], "bottega": provenance(model.about, seed, caller),
    }  # fmt: skip


@router.post("/v1/completions", summary="Go on from a beginning")
async def completions(request: Request, body: Completion, caller: Make) -> Response:
    """A text that goes on from ``prompt``; ``stream`` sends it as it is made."""
    for name, value, plain in (("suffix", body.suffix or None, None), ("best_of", body.best_of or 1, max(1, body.n if body.best_of == body.n else 1))):  # fmt: skip
        if value != plain:
            raise ApiError(400, f"{name} is not supported; leave it out", name)
    if body.echo and body.logprobs is not None:
        raise ApiError(400, "log-probabilities of the prompt are not supported; leave out echo or logprobs", "echo")
    stack = AsyncExitStack()
    try:
        model = await stack.enter_async_context(request.app.state.models.use(body.model, "complete"))
        settings = request.app.state.settings
        given: list[Any] = body.prompt if isinstance(body.prompt, list) and body.prompt and not isinstance(body.prompt[0], int) else [body.prompt]  # fmt: skip
        if len(given) * body.n > settings.max_n:
            raise ApiError(
                400, f"{len(given)} prompts times n = {body.n}; at most {settings.max_n} in one request", "n"
            )
        seed = seed_of(body.seed)
        prompts = [model.wording.beginning(one) for one in given]
        knobs, cond = body.knobs(model.wording.vocab), _condition(model, body.condition)
        continuous = isinstance(model.text, TokenEngine)
        asks = [
            Ask(tokens if continuous else one, seed + j, _room(model, tokens, body.max_tokens, settings.max_tokens), knobs,
                body.stops, None, body.logprobs, body.stream, model.wording.answers, cond, model.wording.end)
            for one, tokens in zip(given, prompts, strict=True) for j in range(body.n)
        ]  # fmt: skip
        tickets = model.text.submit(asks)
        frame = _frame("text_completion", model, caller, seed)
        prompt_tokens = sum(map(len, prompts))
        if body.stream:
            usage = bool((body.stream_options or {}).get("include_usage"))
            parts = _completion_parts(model, tickets, frame, settings.deadline, prompt_tokens if usage else None)
            hold = stack.pop_all()

            async def done() -> None:
                for ticket in tickets:
                    ticket.cancel()
                await hold.aclose()

            return EventStream(parts, done)
        said: list[Said] = await answers(request, tickets, settings.deadline)
        choices = []
        for k, one in enumerate(said):
            text = (given[k // body.n] if body.echo and isinstance(given[k // body.n], str) else "") + one.text
            choices.append({"index": k, "text": text, "finish_reason": _FINISH[one.finish],
                            "logprobs": None if body.logprobs is None else _completion_logprobs(model, one)})  # fmt: skip
        made = sum(len(one.tokens) or model.wording.count(one.text) for one in said)
        return JSONResponse(frame | {"choices": choices, "usage": _usage(prompt_tokens, made)})
    finally:
        await stack.aclose()


async def _completion_parts(
    model: Model, tickets: Any, frame: dict[str, Any], deadline: float, usage: int | None
) -> AsyncIterator[dict[str, Any]]:
    made = 0
    async for k, one in events(tickets, deadline):
        made += len(one.tokens)
        choice: dict[str, Any] = {"index": k, "text": one.text, "finish_reason": _FINISH.get(one.finish)}
        choice["logprobs"] = _completion_logprobs(model, one) if one.logprobs else None
        yield frame | {"choices": [choice]}
        frame.pop("bottega", None)  # said once
    if usage is not None:
        yield frame | {"choices": [], "usage": _usage(usage, made)}


def _completion_logprobs(model: Model, one: Said) -> dict[str, Any]:
    assert model.wording is not None
    tokens = [model.wording.spelt(t)[0] for t in one.tokens]
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token)
    top = [{model.wording.spelt(t)[0]: p for t, p in best} for _, best in one.logprobs]
    return {
        "tokens": tokens,
        "token_logprobs": [p for p, _ in one.logprobs],
        "top_logprobs": top,
        "text_offset": offsets,
    }


def _messages(turns: Sequence[Turn], tools: Sequence[dict[str, Any]]) -> list[Message]:
    """OpenAI's messages as ours: what a tool said is said by the user, a call by the assistant is its JSON."""
    out: list[Message] = []
    names: dict[str, str] = {}
    for k, turn in enumerate(turns):
        content = turn.content
        if isinstance(content, list):
            if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in content):
                raise ApiError(
                    400, "a message holds something else than text; models here read text", f"messages.{k}.content"
                )
            content = "\n".join(part["text"] for part in content)
        content = (content or "").strip()
        if turn.role == "assistant":
            for call in turn.tool_calls or []:
                function = call.get("function")
                if not isinstance(function, dict):
                    raise ApiError(400, "a call of a tool has no function", f"messages.{k}.tool_calls")
                names[str(call.get("id"))] = str(function.get("name"))
                said = json.dumps(
                    {"name": function.get("name"), "arguments": _loads(function.get("arguments"))}, ensure_ascii=False
                )
                content = f"{content}\n{said}".strip()
        if turn.role == "tool":
            content = f"{names.get(turn.tool_call_id or '', 'The function')} answered: {content}"
        if not content:
            raise ApiError(400, "a message is empty; write something, or leave it out", f"messages.{k}.content")
        role = {"developer": "system", "tool": "user"}.get(turn.role, turn.role)
        out.append(Message(role, content))
    if tools:
        if out[0].role == "system":
            out[0] = Message("system", f"{out[0].content}\n\n{tool_text(tools)}")
        else:
            out.insert(0, Message("system", tool_text(tools)))
    return out


def _loads(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _tools(body: Chat) -> tuple[list[dict[str, Any]], bool]:
    """The functions that may be called, and whether one must be."""
    tools = [tool.function.model_dump(exclude_none=True) for tool in body.tools or []]
    if body.tool_choice in (None, "auto"):
        return tools, False
    if body.tool_choice == "none":
        return [], False
    if isinstance(body.tool_choice, Chosen):
        wanted = body.tool_choice.function.get("name")
        tools = [tool for tool in tools if tool["name"] == wanted]
        if not tools:
            raise ApiError(400, f"tool_choice names {wanted!r}, which is not among the tools", "tool_choice")
    if not tools:
        raise ApiError(400, "tool_choice wants a call, but there are no tools", "tool_choice")
    return tools, True


def _call(text: str, tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """A text that is a call of one of the tools, as OpenAI says it; None for any other text."""
    said = _loads(text.strip())
    if not isinstance(said, dict) or said.get("name") not in [t["name"] for t in tools] or "arguments" not in said:
        return None
    function = {"name": said["name"], "arguments": json.dumps(said["arguments"], ensure_ascii=False)}
    return [{"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}]


@router.post("/v1/chat/completions", summary="Answer a conversation")
async def chat(request: Request, body: Chat, caller: Make) -> Response:
    """The next message of the assistant; calls of tools and JSON by a schema are kept to by grammar."""
    stack = AsyncExitStack()
    try:
        model = await stack.enter_async_context(request.app.state.models.use(body.model, "chat"))
        settings, wording = request.app.state.settings, model.wording
        if body.n > settings.max_n:
            raise ApiError(400, f"n is {body.n}; at most {settings.max_n} in one request", "n")
        tools, must = _tools(body)
        messages = _messages(body.messages, tools)
        tokens = wording.conversation(messages)
        most = _room(model, tokens, body.max_completion_tokens or body.max_tokens, settings.max_tokens)
        schema = _schema(body, tools if must else [])
        forms: list[Any] = [None] * body.n
        if schema is not None:
            forms = await asyncio.to_thread(lambda: [wording.form(schema, wording.closes, most) for _ in range(body.n)])
        seed, cond = seed_of(body.seed), _condition(model, body.condition)
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        stops = list(dict.fromkeys([*body.stops, *([] if schema is not None else wording.stops)]))
        prompt = tokens if isinstance(model.text, TokenEngine) else wording.plain(messages)
        knobs = body.knobs(wording.vocab)
        asks = [
            Ask(prompt, seed + j, most, knobs, stops, forms[j], logprobs, body.stream, True, cond, wording.closes)
            for j in range(body.n)
        ]
        tickets = model.text.submit(asks)
        kind = "chat.completion.chunk" if body.stream else "chat.completion"
        frame = _frame(kind, model, caller, seed)
        if body.stream:
            usage = len(tokens) if (body.stream_options or {}).get("include_usage") else None
            parts = _chat_parts(model, tickets, frame, settings.deadline, usage, tools)
            hold = stack.pop_all()

            async def done() -> None:
                for ticket in tickets:
                    ticket.cancel()
                await hold.aclose()

            return EventStream(parts, done)
        said: list[Said] = await answers(request, tickets, settings.deadline)
        choices = []
        for k, one in enumerate(said):
            calls = _call(one.text, tools) if tools else None
            message: dict[str, Any] = {"role": "assistant", "content": None if calls else one.text, "refusal": None}
            if calls:
                message["tool_calls"] = calls
            finish = "tool_calls" if calls else _FINISH[one.finish]
            told = {"content": _chat_logprobs(model, one), "refusal": None} if body.logprobs else None
            choices.append({"index": k, "message": message, "logprobs": told, "finish_reason": finish})
        made = sum(len(one.tokens) or wording.count(one.text) for one in said)
        return JSONResponse(frame | {"choices": choices, "usage": _usage(len(tokens), made)})
    finally:
        await stack.aclose()


def _schema(body: Chat, must: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The JSON schema that an answer keeps to; None where it may be any text."""
    wanted = body.response_format
    if must:
        return call_schema(must)
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None:
        raise ApiError(400, "response_format says json_schema and gives none", "response_format.json_schema")
    return wanted.json_schema.schema_


async def _chat_parts(
    model: Model,
    tickets: Any,
    frame: dict[str, Any],
    deadline: float,
    usage: int | None,
    tools: Sequence[dict[str, Any]],
) -> AsyncIterator[dict[str, Any]]:
    """Chunks; with tools, what may become a call is held until it is one, or is not."""
    made, held = 0, [""] * len(tickets)
    role: dict[str, Any] = {"role": "assistant", "content": ""}
    for k in range(len(tickets)):
        yield frame | {"choices": [{"index": k, "delta": role, "logprobs": None, "finish_reason": None}]}
        frame.pop("bottega", None)  # said once
    free = [not tools] * len(tickets)
    async for k, one in events(tickets, deadline):
        made += len(one.tokens)
        delta: dict[str, Any] = {}
        finish = _FINISH.get(one.finish)
        if free[k]:
            text = one.text
        else:
            held[k] += one.text
            begun = held[k].lstrip()
            free[k] = bool(begun) and not begun.startswith("{")
            calls = _call(held[k], tools) if one.finish else None
            text = held[k] if (free[k] or one.finish) and not calls else ""
            if calls:
                delta["tool_calls"] = [{"index": i} | call for i, call in enumerate(calls)]
                finish = "tool_calls"
        if text:
            delta["content"] = text
        told = {"content": _chat_logprobs(model, one), "refusal": None} if one.logprobs else None
        yield frame | {"choices": [{"index": k, "delta": delta, "logprobs": told, "finish_reason": finish}]}
    if usage is not None:
        yield frame | {"choices": [], "usage": _usage(usage, made)}


def _chat_logprobs(model: Model, one: Said) -> list[dict[str, Any]]:
    assert model.wording is not None

    def told(token: int, p: float) -> dict[str, Any]:
        text, data = model.wording.spelt(token)  # type: ignore[union-attr]
        return {"token": text, "logprob": p, "bytes": data}

    return [
        told(t, p) | {"top_logprobs": [told(*pair) for pair in best]}
        for t, (p, best) in zip(one.tokens, one.logprobs, strict=True)
    ]


@router.post("/v1/embeddings", summary="Numbers that say what a text is")
async def embeddings(request: Request, body: Embed, caller: Make) -> Response:
    """The mean of a language model's last states over a text's tokens, or an encoder's codes; ``bottega.kind`` says which."""
    async with request.app.state.models.use(body.model, "embed") as model:
        given: list[Any] = body.input if isinstance(body.input, list) and body.input and not isinstance(body.input[0], int) else [body.input]  # fmt: skip
        if len(given) > 2048 or any(not one for one in given):
            raise ApiError(
                400, "input is empty, or has more than 2048 texts; give between 1 and 2048, none empty", "input"
            )
        run = model.run
        texts: list[str] = []
        for one in given:
            if isinstance(one, str):
                texts.append(one)
            elif model.wording is None:
                raise ApiError(400, f"{model.name} reads no tokens; give texts", "input")
            else:
                texts += run.codec.strings([model.wording.beginning(one)])
        if run.codec.medium not in ("text", "labels"):
            raise ApiError(400, f"{model.name} is of {run.codec.medium}; embeddings are of texts", "model")
        tickets = model.oneshot.submit([Call(lambda: run.features(texts))])
        (found,) = await answers(request, tickets, request.app.state.settings.deadline)
        width = int(found.shape[1])
        if body.dimensions not in (None, width):
            raise ApiError(
                400, f"dimensions is {body.dimensions}, and {model.name} has {width}; leave it out", "dimensions"
            )
        rows = []
        for k, row in enumerate(found.tolist()):
            coded: Any = row
            if body.encoding_format == "base64":
                coded = base64.b64encode(struct.pack(f"<{width}f", *row)).decode()
            rows.append({"object": "embedding", "index": k, "embedding": coded})
        many = sum(model.wording.count(t) for t in texts) if model.wording is not None else 0
        kind = (
            "mean of the last layer's states over the tokens"
            if hasattr(run.model, "represent")
            else "codes of the encoder"
        )
        return JSONResponse({
            "object": "list", "data": rows, "model": model.name, "usage": {"prompt_tokens": many, "total_tokens": many},
            "bottega": {"kind": kind, **provenance(model.about, None, caller)},
        })  # fmt: skip
