"""Errors over HTTP in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bottega.core import BottegaError

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["error_body", "error_response", "install_errors", "type_of"]

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 409: "conflict_error",
          429: "rate_limit_error", 503: "unavailable_error", 504: "timeout_error"}  # fmt: skip
_CODES = {401: "unauthorised", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "too_large",
          422: "invalid_value", 429: "rate_limit_exceeded", 503: "unavailable"}  # fmt: skip


def type_of(status: int) -> str:
    """The kind of an error as OpenAI's clients know it.

    >>> type_of(422), type_of(500), type_of(503)
    ('invalid_request_error', 'server_error', 'unavailable_error')
    """
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def error_body(status: int, message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    told = {"message": message, "type": type_of(status), "param": param, "code": code or _CODES.get(status)}
    return {"error": told}


def error_response(
    status: int, message: str, *, code: str | None = None, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:  # fmt: skip
    """The response of an error."""
    return JSONResponse(error_body(status, message, code=code, param=param), status, headers)


def install_errors(app: FastAPI) -> None:
    """Give every error of an app this shape, unless somebody did; what is our fault tells nothing of the inside."""
    if BottegaError in app.exception_handlers:
        return
    from fastapi.exceptions import RequestValidationError

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_response(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first: dict[str, Any] = dict(error.errors()[0]) if error.errors() else {}
        where = [str(part) for part in first.get("loc", ()) if part not in ("body", "query", "path", "header")]
        param = ".".join(where) or None
        shown = json.dumps(first.get("input"), default=str)[:100]
        message = f"{param or 'the request'}: {str(first.get('msg', 'is not valid')).lower()}"
        if first.get("type") == "json_invalid":
            message, param = f"the body is no JSON: {first.get('ctx', {}).get('error', 'it cannot be read')}", None
        elif first.get("type") != "missing":
            message += f" (it is {shown})"
        return error_response(422, message.encode("utf-8", "replace").decode(), param=param)

    async def ours(_: Request, error: Exception) -> Response:
        return error_response(400, str(error))

    async def fault(_: Request, error: Exception) -> Response:
        return error_response(500, "this is a fault of the server, not yours; its log says more", code="internal_error")

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(BottegaError, ours)
    app.add_exception_handler(Exception, fault)
