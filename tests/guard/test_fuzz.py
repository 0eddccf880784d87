"""Whatever the OpenAPI document allows, and much that it does not: never a 500, and every error in its shape."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from bottega.serve.guard import Guard, Guarding
from guarded_app import make_app


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
                    assert {"message", "type", "param", "code"} == set(body["error"])
                    assert isinstance(body["error"]["message"], str)
                assert "x-request-id" in told.headers

            with suppress(
                hypothesis.errors.Unsatisfiable
            ):  # an endpoint that takes nothing can be asked for nothing wrong
                one()
    return statuses


@pytest.fixture
def client(keys, clock, tmp_path):
    key = keys.add("the-fuzzer", "admin").key
    guard = Guard(Guarding(audit=tmp_path / "audit.jsonl", body_bytes=100_000, per_minute=0, filters="on"), clock, keys)
    with TestClient(make_app(guard), base_url="http://127.0.0.1", raise_server_exceptions=False) as made:
        made.headers["authorization"] = f"Bearer {key}"
        yield made


def test_a_few_hundred_requests_are_never_our_fault(client):
    statuses = fuzz(client.app, client, 4)
    assert sum(statuses.values()) >= 80
    assert statuses[401] == 0
    assert {200, 201, 404} <= set(statuses)
    assert statuses[400] + statuses[422] > 10


@pytest.mark.slow
def test_ten_thousand_requests_are_never_our_fault(client):
    count = len(list(schemathesis.openapi.from_dict(client.app.openapi()).get_all_operations()))
    statuses = fuzz(client.app, client, 11_000 // count, seed=7)
    assert sum(statuses.values()) >= 9_000
