"""A bot over HTTP: ``/chat`` as the book has it, conversations, feedback, memory, the queue for people, and webhooks.

``router(bot)`` is all of it. What talks to the disk or a model runs in worker threads; a message is on the disk before its
answer is sent.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from pydantic import BaseModel, ConfigDict, Field

from bottega.core.errors import BottegaError, DataError
from bottega.crafts import chat_hooks as hooks
from bottega.crafts.chat import LONGEST, Bot, Repeated, Reply
from bottega.crafts.chat_feedback import rate
from bottega.crafts.chat_queue import Waiting
from bottega.crafts.chat_report import report
from bottega.serve import bot_versions
from bottega.serve._chat_page import PAGE, SCRIPT
from bottega.serve.roles import Caller, need

__all__ = ["Send", "router", "user_of"]

Send = Callable[[str, list[dict[str, Any]]], None]
"""Posts an answer to a service: ``(channel, messages)``. Without one, answers to Slack and Messenger are in the hook's own reply."""

Talker = Annotated[Caller, Depends(need("talk"))]
Rater = Annotated[Caller, Depends(need("rate"))]
Reviewer = Annotated[Caller, Depends(need("review"))]
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Number = Annotated[int, Path(ge=1, le=2**53)]
_EVENTS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_MOST_HOOK = 1 << 20


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Message(_Body):
    """What a user says."""

    text: str = Field(min_length=1, max_length=LONGEST)
    stream: bool = False


class Thumb(_Body):
    """What a user says of an answer."""

    thumb: Literal[-1, 0, 1] = 0
    edit: str = Field("", max_length=4000)


class Facts(_Body):
    """What is to be remembered."""

    facts: dict[str, str] = Field(min_length=1, max_length=50)


class Answer(_Body):
    """What a person answers in a conversation that they took over."""

    text: str = Field(min_length=1, max_length=LONGEST)


def _quoted(name: str, keep: str = "") -> str:
    """A name in which a slash stands for itself no more, and no two names are the same."""
    return "".join(c if c.isalnum() or c in "-_.@" + keep else "".join(f"%{b:02X}" for b in c.encode()) for c in name)


def user_of(caller: Caller) -> str:
    """Whose memory it is: the caller's, or of the person that they speak for; no two are ever the same.

    >>> user_of(Caller("a/b", "maker")), user_of(Caller("a", "maker", user="b"))
    ('a%2Fb', 'a/b')
    """
    own = _quoted(caller.id)
    name = f"{own}/{_quoted(caller.user)}" if caller.user else own
    if len(name) > 128:
        raise HTTPException(400, "the name of the user is too long; 100 characters are the most")
    return name


@contextmanager
def _told(missing: int = 400) -> Iterator[None]:
    """Errors of the bot as answers: what there is not is ``missing``."""
    try:
        yield
    except Repeated as error:
        raise HTTPException(409, str(error)) from error
    except DataError as error:
        raise HTTPException(missing, str(error)) from error
    except BottegaError as error:
        raise HTTPException(409 if "meanwhile" in str(error) else 400, str(error)) from error


def _reply(made: Reply) -> dict[str, Any]:
    return {"object": "chat.reply", "id": made.message, **{k: v for k, v in asdict(made).items() if k != "message"}}


def _waiting(one: Waiting) -> dict[str, Any]:
    return {"object": "handoff", **asdict(one)}


async def _events(bot: Bot, text: str, user: str, conversation: str) -> AsyncIterator[bytes]:
    """Parts of an answer as server-sent events, then the reply, then ``[DONE]``. The turn ends even where nobody listens."""
    parts: queue.SimpleQueue[str | Reply | BaseException | None] = queue.SimpleQueue()
    loop, came = asyncio.get_running_loop(), asyncio.Event()

    def put(part: str | Reply | BaseException | None) -> None:
        parts.put(part)
        loop.call_soon_threadsafe(came.set)

    def work() -> None:
        try:
            for part in bot.stream(text, user, conversation):
                put(part)
        except BaseException as error:  # told to the caller, as an event
            put(error)
        put(None)

    threading.Thread(target=work, daemon=True).start()
    while True:
        await came.wait()
        came.clear()
        while not parts.empty():
            part = parts.get()
            if part is None:
                yield b"data: [DONE]\n\n"
                return
            if isinstance(part, BottegaError):
                told: Any = {
                    "error": {
                        "message": str(part),
                        "type": "invalid_request_error",
                        "param": None,
                        "code": "invalid_value",
                    }
                }
            elif isinstance(part, BaseException):
                told = {
                    "error": {
                        "message": "the server failed; this is a fault of ours",
                        "type": "server_error",
                        "param": None,
                        "code": "internal",
                    }
                }
            else:
                told = {"delta": part} if isinstance(part, str) else _reply(part)
            yield f"data: {json.dumps(told, ensure_ascii=False)}\n\n".encode()


def _book(bot: Bot) -> APIRouter:
    """Chapter 24: ``POST /chat {"message"} -> {"response"}``, 400 ``{"error"}`` without a message; and its page."""
    made = APIRouter(tags=["chat"])

    @made.post("/chat", summary="One message, one answer", response_model=None, responses={200: {"description": "The answer"}, 400: {"description": "No message"}},
               openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {
                   "type": "object", "required": ["message"], "properties": {"message": {"type": "string", "minLength": 1, "maxLength": LONGEST}}}}}}})  # fmt: skip
    async def chat(request: Request, caller: Talker) -> Response:
        """As in the book: ``{"response": "..."}``, or 400 with ``{"error": "No input provided"}``. ``Accept: text/event-stream`` streams."""
        try:
            told = json.loads(await request.body())
        except (ValueError, RecursionError):
            return JSONResponse({"error": "the body is not JSON"}, 400)
        text = told.get("message") if isinstance(told, dict) else None
        if not isinstance(text, str) or not text.strip():
            return JSONResponse({"error": "No input provided"}, 400)
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(
                _events(bot, text, user_of(caller), ""), media_type="text/event-stream", headers=_EVENTS
            )
        try:
            reply = await run_in_threadpool(bot.reply, text, user_of(caller))
        except BottegaError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"response": reply.text, "message_id": reply.message, "route": reply.route, "source": reply.source,
                             "confidence": reply.confidence, "limits": reply.limits, "conversation": reply.conversation})  # fmt: skip

    @made.get("/chat", summary="The page", response_class=RedirectResponse, status_code=307)
    async def to_page() -> str:
        """Goes to the page, which asks for a key where one is needed."""
        return "/chat/page"

    @made.get("/chat/page", summary="A page to chat on", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        """No script of others, nothing from elsewhere. A browser sends no key when it opens a page, so the page asks for one."""
        policy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        import html

        text = PAGE.replace("@NAME@", html.escape(bot.folder.name)).replace("@WELCOME@", html.escape(bot.welcome()))
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    @made.get("/chat/page.js", summary="Its script", include_in_schema=False)
    async def script() -> Response:
        """What the page does."""
        return Response(SCRIPT, media_type="text/javascript")

    return made


def _chats(bot: Bot) -> APIRouter:
    """Conversations, feedback and memory of the caller, and nobody else's."""
    made = APIRouter(tags=["chat"])

    @made.post("/v1/chats", status_code=201, summary="Begin a conversation")
    def begin(caller: Talker) -> dict[str, Any]:
        """A new one, with the greeting, which says that a program speaks."""
        return {
            "object": "chat",
            "id": bot.memory.begin(user_of(caller)).id,
            "bot": bot.folder.name,
            "welcome": bot.welcome(),
        }

    @made.get("/v1/chats", summary="Your conversations")
    def chats(caller: Talker, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> dict[str, Any]:
        """The latest first."""
        rows = bot.memory.list(user_of(caller), limit)
        return {"object": "list", "data": [{"object": "chat", "id": r.id, "turns": r.turn, "begun": r.begun, "last": r.last, "channel": r.channel} for r in rows]}  # fmt: skip

    @made.get("/v1/chats/{chat_id}/messages", summary="What was said")
    def messages(chat_id: Id, caller: Talker, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> dict[str, Any]:
        """Oldest first."""
        _own(bot, chat_id, caller)
        return {"object": "list", "data": bot.memory.transcript(chat_id, limit)}

    @made.post("/v1/chats/{chat_id}/messages", summary="Say something", response_model=None)
    async def say(chat_id: Id, body: Message, caller: Talker) -> Any:
        """The answer with its source, confidence and limits; ``stream`` sends it in parts."""
        await run_in_threadpool(_own, bot, chat_id, caller)
        if body.stream:
            return StreamingResponse(
                _events(bot, body.text, user_of(caller), chat_id), media_type="text/event-stream", headers=_EVENTS
            )
        with _told():
            return _reply(await run_in_threadpool(bot.reply, body.text, user_of(caller), chat_id))

    @made.post("/v1/messages/{message_id}/feedback", summary="Rate an answer")
    def feedback(message_id: Number, body: Thumb, caller: Rater) -> dict[str, Any]:
        """A thumb, an edit, or both; a second time takes the place of the first. It is kept when this answers."""
        if not body.thumb and not body.edit.strip():
            raise HTTPException(400, "give a thumb of 1 or -1, or an edit")
        with _told(404):
            rate(bot.memory, message_id, user_of(caller), body.thumb, body.edit)
        return {"object": "feedback", "message": message_id, "thumb": body.thumb, "edit": body.edit}

    @made.get("/v1/memory", summary="What is remembered of you")
    def memory(caller: Talker) -> dict[str, Any]:
        """Every fact, by name."""
        return {"object": "memory", "facts": bot.memory.facts(user_of(caller))}

    @made.patch("/v1/memory", summary="Change it")
    def remember(body: Facts, caller: Talker) -> dict[str, Any]:
        """Put facts in, or others in their place."""
        with _told():
            bot.memory.remember(user_of(caller), body.facts)
        return memory(caller)

    @made.delete("/v1/memory", summary="Erase it")
    def forget(
        caller: Talker, name: Annotated[list[str] | None, Query()] = None, conversations: bool = False
    ) -> dict[str, Any]:
        """Some facts by name, or all that is remembered; with ``conversations`` also all that was said."""
        user = user_of(caller)
        n = bot.memory.forget(user, name)
        talks = bot.memory.erase(user) if conversations else 0
        return {"object": "memory.erased", "entries": n, "conversations": talks}

    @made.get("/v1/chats/report", summary="What happened")
    def what_happened(caller: Reviewer, days: Annotated[float, Query(gt=0, le=366)] = 7.0) -> dict[str, Any]:
        """Frequent questions, misunderstandings, hand-offs and speed; without personal data."""
        import time

        return {"object": "chat.report", **report(bot.memory, since=time.time() - 86_400 * days).to_dict()}

    return made


def _own(bot: Bot, chat: str, caller: Caller) -> None:
    if bot.memory.find(chat, user_of(caller)) is None:
        raise HTTPException(404, f"there is no conversation {chat} of yours")


def _people(bot: Bot) -> APIRouter:
    """The queue of those who wait for a person."""
    made = APIRouter(tags=["hand-off"])

    @made.get("/v1/handoffs", summary="Who waits for a person")
    def waiting(caller: Reviewer, closed: bool = False) -> dict[str, Any]:
        """Urgent ones first, each with its transcript and the seconds left; negative is late."""
        return {"object": "list", "data": [_waiting(one) for one in bot.queue.waiting(all_of_them=closed)]}

    @made.post("/v1/handoffs/{handoff_id}/take", summary="Take one over")
    def take(handoff_id: Number, caller: Reviewer) -> dict[str, Any]:
        """From then on the bot is silent in it."""
        with _told(409):
            found = _waiting(bot.queue.take(handoff_id, user_of(caller)))
        bot.record("hand-off taken", {"handoff": handoff_id, "by": caller.id})
        return found

    @made.post("/v1/handoffs/{handoff_id}/messages", summary="Answer")
    def answer(handoff_id: Number, body: Answer, caller: Reviewer) -> dict[str, Any]:
        """Into the conversation that was taken."""
        with _told(409):
            return {"object": "chat.message", "id": bot.queue.say(handoff_id, user_of(caller), body.text)}

    @made.post("/v1/handoffs/{handoff_id}/close", summary="Give it back")
    def close(handoff_id: Number, caller: Reviewer) -> dict[str, Any]:
        """The bot answers again."""
        with _told(409):
            bot.queue.close(handoff_id, user_of(caller))
        bot.record("hand-off closed", {"handoff": handoff_id, "by": caller.id})
        return {"object": "handoff", "id": handoff_id, "closed": True}

    return made


def _hooks(bot: Bot, send: Send | None) -> APIRouter:
    """Webhooks, open to whoever has the secret."""
    made = APIRouter(tags=["hooks"])

    def handle(channel: hooks.Channel, headers: Mapping[str, str], body: bytes) -> Response:
        try:
            key = hooks.secret(channel)
        except BottegaError as error:
            raise HTTPException(503, str(error)) from error
        try:
            hooks.verify(channel, headers, body, key)
        except hooks.Forged as error:
            raise HTTPException(401, str(error)) from error
        try:
            if (word := hooks.challenge(channel, body)) is not None:
                return JSONResponse({"challenge": word})
            incoming = hooks.read(channel, body)
        except DataError as error:
            raise HTTPException(400, str(error)) from error
        posts: list[dict[str, Any]] = []
        repeated = 0
        for one in incoming:
            if hooks.seen(bot.memory, one):
                repeated += 1
                continue
            user = f"{channel}:{_quoted(one.user, ':')}"[:128]
            try:
                reply = bot.reply(one.text[:LONGEST], user, channel=channel, once=hooks.key_of(bot.memory, one))
            except Repeated:
                repeated += 1
                continue
            posts += hooks.render(one, reply.text)
        if repeated and not posts and channel == "plain":
            raise HTTPException(409, "this message was answered already")
        if send is not None and posts and channel != "plain":
            send(channel, posts)
        return JSONResponse({"messages": posts, "repeated": repeated})

    @made.post("/hooks/{channel}", summary="A message from Slack, Messenger or a program of yours", response_model=None)
    async def hook(channel: hooks.Channel, request: Request) -> Response:
        """Signed by the service; 401 where it is not, 409 (plain) or an empty answer where it was answered already."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_HOOK:
                raise HTTPException(413, f"the body is larger than {_MOST_HOOK:,} bytes")
        return await run_in_threadpool(handle, channel, dict(request.headers), body)

    @made.get("/hooks/messenger", summary="Messenger asks whether this is yours", response_class=PlainTextResponse)
    def subscribe(request: Request) -> PlainTextResponse:
        """Answers its challenge where its word is right."""
        try:
            word = hooks.challenge("messenger", query=dict(request.query_params))
        except hooks.Forged as error:
            raise HTTPException(403, str(error)) from error
        if word is None:
            raise HTTPException(400, "this is no subscription; hub.mode is not 'subscribe'")
        return PlainTextResponse(word)

    return made


def router(bot: Bot, *, send: Send | None = None) -> APIRouter:
    """All endpoints of a bot.

    Args:
        bot: what answers.
        send: see ``Send``.
    """
    made = APIRouter()
    for part in (_book(bot), _chats(bot), bot_versions.router(bot), _people(bot), _hooks(bot, send)):
        made.include_router(part)
    return made
