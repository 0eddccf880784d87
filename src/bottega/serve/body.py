"""The body of a request, looked at before anybody parses it: its size, its depth, and letters that are none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Receive

__all__ = ["BodyError", "Counted", "declared", "is_json", "read_body", "replay", "shaped"]

DEPTH = 32
_PARTS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class BodyError(Exception):
    """A body that is not taken.

    Args:
        status: 400, 411 or 413.
        message: for the caller.
        code: for programs.
    """

    def __init__(self, status: int, message: str, code: str) -> None:
        self.status, self.code = status, code
        super().__init__(message)


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether the body says that it is JSON, or says nothing."""
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json", "") or kind.endswith("+json")


def _too_large(most: int) -> BodyError:
    return BodyError(413, f"the body is larger than {most:,} bytes; send less, or start the server with a higher limit", "too_large")  # fmt: skip


def declared(headers: Mapping[str, str], most: int) -> None:
    """Refuse by ``Content-Length``, before a byte is read; raises BodyError."""
    said = headers.get("content-length")
    if said is None:
        return
    if not (said.isascii() and said.isdecimal()):
        raise BodyError(400, f"Content-Length is {said[:20]!r}; send a number", "invalid_length")
    if len(said) > 18 or int(said) > most:
        raise _too_large(most)


async def read_body(receive: Receive, most: int) -> bytes | None:
    """All of a body of at most so many bytes; None when the caller went away. Raises BodyError."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a body which was read already, and then what comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class Counted:
    """A ``receive`` that counts what streams through it and stops at a limit."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive, self.most, self.size = receive, most, 0
        self.refused: BodyError | None = None

    async def __call__(self) -> Message:
        """The next message; raises BodyError behind the limit."""
        message = await self.receive()
        self.size += len(message.get("body", b""))
        if self.size > self.most:
            self.refused = _too_large(self.most)
            raise self.refused
        return message


def shaped(body: bytes) -> Any:
    """The JSON of a body, or None where it is none (which who parses it will say better).

    Raises:
        BodyError: it is nested too deeply, or has half a surrogate pair, which no UTF-8 can write.
    """
    if body.count(b"[") + body.count(b"{") > DEPTH:
        depth = 0
        for found in _PARTS.finditer(body):
            depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
            if depth > DEPTH:
                raise BodyError(400, f"the JSON is nested more than {DEPTH} deep; make it flatter", "too_deep")
    try:
        found_json = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if _SURROGATE.search(body):
        try:
            json.dumps(found_json, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise BodyError(400, "a text holds half a surrogate pair (\\ud800 to \\udfff), which is no letter; leave it out", "invalid_text") from None  # fmt: skip
    return found_json
