"""Whatever the OpenAPI document allows, and much that it does not: never a 500, and every error in its shape."""

from __future__ import annotations

import pytest
import schemathesis
from starlette.testclient import TestClient

from bottega.serve.guard import Guard, Guarding
from fuzzing import fuzz
from guarded_app import make_app


@pytest.fixture
def client(keys, clock, tmp_path):
    key = keys.add("the-fuzzer", "admin").key
    guard = Guard(Guarding(audit=tmp_path / "audit.jsonl", body_bytes=100_000, per_minute=0, filters="on"), clock, keys)
    with TestClient(make_app(guard), base_url="http://127.0.0.1", raise_server_exceptions=False) as made:
        made.headers["authorization"] = f"Bearer {key}"
        yield made


def test_a_few_hundred_requests_are_never_our_fault(client):
    statuses = fuzz(client.app, client, 2)
    assert sum(statuses.values()) >= 40
    assert statuses[401] == 0
    assert {200, 201, 404} <= set(statuses)
    assert statuses[400] + statuses[422] > 3


@pytest.mark.slow
def test_ten_thousand_requests_are_never_our_fault(client):
    count = len(list(schemathesis.openapi.from_dict(client.app.openapi()).get_all_operations()))
    statuses = fuzz(client.app, client, 11_000 // count, seed=7)
    assert sum(statuses.values()) >= 9_000
