"""Requests by an app's OpenAPI document, half of them against it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from starlette.testclient import TestClient


def _ask(client: TestClient, case: Any) -> Any:
    made = case.as_transport_kwargs(base_url=str(client.base_url))
    made = {
        k: v for k, v in made.items() if k in ("method", "url", "params", "json", "data", "headers", "files", "cookies")
    }
    made["headers"] = {k: v for k, v in (made.get("headers") or {}).items() if k.lower() != "authorization"}
    made.pop("cookies", None)
    if isinstance(made.get("data"), bytes):
        made["content"] = made.pop("data")
    try:
        return client.request(**made)
    except (UnicodeEncodeError, ValueError, TypeError) as error:
        if "client" in str(type(error).__module__) or isinstance(error, UnicodeEncodeError | ValueError | TypeError):
            hypothesis.reject()  # what no HTTP client can send
        raise


def fuzz(app: Any, client: TestClient, examples: int, seed: int = 1) -> Counter[int]:
    """Ask ``examples`` times for each endpoint, half of them against the document; returns how often each status came."""
    statuses: Counter[int] = Counter()
    schema = schemathesis.openapi.from_dict(app.openapi())
    for result in schema.get_all_operations():
        operation = result.ok()
        takes = len(operation.body) + len(list(operation.iter_parameters()))
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)[: 2 if takes else 1]:

            @hypothesis.seed(seed)
            @hypothesis.settings(
                max_examples=max(1, examples // 2), deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck), derandomize=False,
            )  # fmt: skip
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def one(case: Any) -> None:
                told = _ask(client, case)
                statuses[told.status_code] += 1
                assert told.status_code < 500 or told.status_code == 503, (
                    case.method,
                    told.request.url,
                    case.body,
                    told.text,
                )
                if told.status_code >= 400:
                    body = told.json()
                    assert set(body) == {"error"}, (told.status_code, told.text)
                    if operation.path == "/chat" and told.status_code == 400 and isinstance(body["error"], str):
                        return  # as the book has it
                    assert {"message", "type", "param", "code"} == set(body["error"])
                    assert isinstance(body["error"]["message"], str)
                assert "x-request-id" in told.headers

            with suppress(
                hypothesis.errors.Unsatisfiable
            ):  # an endpoint that takes nothing can be asked for nothing wrong
                one()
    return statuses
