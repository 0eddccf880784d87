"""Errors as OpenAI's interface says them: ``{"error": {"message", "type", "param", "code"}}`` and the right status."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bottega.core import BottegaError
from bottega.serve.queue import Busy, Late
from bottega.serve.refusals import error_body

__all__ = ["ApiError", "body_of", "install", "status_of"]

_LOG = logging.getLogger("bottega.serve")


class ApiError(Exception):
    """What a caller did wrong, or cannot have.

    Args:
        status: of HTTP.
        message: one sentence with the mend.
        param: which part of the request it is about.
        code: for programs.
    """

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


def body_of(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of an answer that says no, its message in one line."""
    return error_body(status, " ".join(message.split()), code=code, param=param)


def status_of(error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers for any error; what is no mistake of a caller's is told as 500 and logged."""
    if isinstance(error, ApiError):
        return error.status, body_of(error.status, error.message, error.param, error.code), {}
    if isinstance(error, Busy):
        code = "queue_full" if error.status == 429 else "unavailable"
        return error.status, body_of(error.status, str(error), code=code), {"Retry-After": str(error.after)}
    if isinstance(error, Late):
        return 504, body_of(504, str(error), code="deadline"), {}
    if isinstance(error, BottegaError):
        return 400, body_of(400, str(error), code="invalid_value"), {}
    _LOG.error("a request failed", exc_info=error)
    return 500, body_of(500, "the server failed; this is a fault of ours, see its log", code="internal"), {}


def _answer(_: Request, error: Exception) -> JSONResponse:
    status, body, headers = status_of(error)
    return JSONResponse(body, status, headers)


def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse(body_of(error.status_code, str(error.detail)), error.status_code, error.headers)


def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    kind = request.headers.get("content-type", "")
    if error.errors()[0]["loc"] == ("body",) and "json" not in kind:
        told = f"the body is of the type {kind[:60]!r}; send JSON, with Content-Type: application/json"
        return JSONResponse(body_of(400, told, code="invalid_json"), 400)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    param = ".".join(place) or None
    if first["type"] == "json_invalid":
        why = str(first.get("ctx", {}).get("error", ""))
        return JSONResponse(body_of(400, f"the body is not JSON: {why}", code="invalid_json"), 400)
    message = f"{param}: {first['msg']}" if param else f"the body: {first['msg']}"
    more = len(error.errors()) - 1
    return JSONResponse(body_of(400, message + (f" (and {more} more)" if more else ""), param, "invalid_value"), 400)


def install(app: FastAPI) -> None:
    """Let ``app`` say all its errors so."""
    for kind in (ApiError, BottegaError, Exception):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
