"""The guard before an app: who, how much, what, and what the log says of it."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import closing

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from bottega.core import BottegaError, OutputError
from bottega.serve import audit, totp
from bottega.serve.gate import is_public
from bottega.serve.guard import Guard, Guarding
from bottega.serve.lockout import FREE
from bottega.serve.roles import PERMISSIONS
from bottega.serve.signing import content_digest, public_bytes, sign_request, verify_response
from bottega.serve.tls import self_signed
from guarded_app import SAID, endpoints, guarded, make_app


@pytest.fixture
def door(keys, clock, tmp_path):
    made = []

    def make(**settings):
        guard, client = guarded(keys, clock, tmp_path, **settings)
        made.append(guard)
        return guard, client

    yield make
    for guard in made:
        guard.audit.close()


def bearer(key, **more):
    return {"authorization": f"Bearer {key}", **more}


def error(response):
    """The error of a response, in OpenAI's shape to the letter."""
    told = response.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]
    return told["error"]


# ---- who --------------------------------------------------------------------------------------------------------------


def test_on_this_machine_without_keys_everybody_is_its_admin(door):
    _, client = door()
    assert client.get("/v1/models").json()["caller"] == "local"
    assert client.get("/v1/keys").status_code == 200
    assert client.get("/v1/models", headers={"x-bottega-user": "ann"}).json()["user"] == "ann"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},  # a name that was made to point here (DNS rebinding)
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},  # another server on this machine
        {"sec-fetch-site": "cross-site"},
        {"x-forwarded-for": "203.0.113.9"},  # a proxy here hands on what comes from elsewhere
        {"forwarded": "for=203.0.113.9"},
    ],
)
def test_but_no_page_of_elsewhere_is(door, headers):
    _, client = door()
    assert client.get("/v1/models", headers=headers).status_code in (401, 403)
    assert client.get("/healthz", headers=headers).status_code == 200


def test_nor_another_machine(door):
    guard, client = door()
    far = TestClient(client.app, base_url="http://127.0.0.1", client=("203.0.113.9", 5))
    assert far.get("/v1/models").status_code == 401


def test_its_own_page_is_let_in(door):
    _, client = door()
    assert (
        client.get("/v1/models", headers={"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}).status_code
        == 200
    )
    assert (
        client.get("/v1/models", headers={"host": "localhost:8000", "origin": "http://localhost:8000"}).status_code
        == 200
    )


def test_any_other_address_needs_keys_to_start(keys, clock, tmp_path):
    for host in ("0.0.0.0", "::", "192.168.1.5", "", "example.org"):
        with pytest.raises(BottegaError, match="bottega keys add NAME --role admin"):
            Guard(Guarding(host=host, audit=tmp_path / "a"), clock, keys)
    with pytest.raises(BottegaError, match="keys are asked for"):
        Guard(Guarding(keys=True, audit=tmp_path / "a"), clock, keys)
    keys.add("phone")
    Guard(Guarding(host="0.0.0.0", audit=tmp_path / "a"), clock, keys).audit.close()


def test_with_keys_nobody_comes_in_without_one(door, keys):
    guard, client = door()
    assert client.get("/v1/models").status_code == 200
    new = keys.add("phone")
    guard.look_again()
    told = client.get("/v1/models")
    assert (told.status_code, told.headers["www-authenticate"], error(told)["code"]) == (
        401,
        "Bearer",
        "missing_api_key",
    )
    for bad in ("Bearer", "Bearer ", f"Basic {new.key}", new.key, "Bearer x y", "Bearer btg_x_y"):
        assert client.get("/v1/models", headers={"authorization": bad}).status_code == 401, bad
    assert client.get("/v1/models", headers=bearer(new.key)).json()["caller"] == "key:phone"
    keys.revoke("phone")
    told = client.get("/v1/models", headers=bearer(new.key))
    assert (told.status_code, error(told)["code"]) == (401, "revoked_api_key")
    assert client.get("/v1/models").status_code == 401  # and the machine's own is out for good


def test_public_paths_are_few(door, keys):
    keys.add("phone")
    _, client = door()
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/signing-key").json()["keys"][0]["kty"] == "OKP"
    assert client.post("/hooks/plain", json={}).status_code == 200
    for path in ("/studio/api/runs", "/docs", "/openapi.json", "/v1/forgotten", "/", "/studio/../v1/keys", "/healthz/../v1/keys", "//v1/keys", "/v1/keys?x=/healthz", "/nothing"):  # fmt: skip
        assert client.get(path).status_code in (401, 404), path
    assert not is_public("/studio/api/../x")


def test_metrics_are_free_on_this_machine_only(door, keys):
    new = keys.add("phone", "maker")
    _, client = door()
    assert b"bottega_requests_total" in client.get("/metrics").content
    assert client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 401
    assert client.get("/metrics", headers=bearer(new.key)).status_code == 403
    far = TestClient(client.app, client=("203.0.113.9", 5))
    assert far.get("/metrics").status_code == 401


def test_the_permission_matrix(door, keys):
    """Every role against every endpoint, as its mark says; an endpoint without a mark must be public."""
    guard, client = door()
    role_keys = {role: keys.add(role, role).key for role in PERMISSIONS}
    fill = {"{name}": "nobody", "{incident}": "inc-0", "{review}": "rev-0"}
    marks = endpoints(client.app)
    assert len(marks) > 25
    unmarked = {path for _, path, permission in marks if permission is None and not is_public(path)}
    assert unmarked == {"/v1/forgotten"}  # the planted fault, which this test is to find
    checked = 0
    for method, path, permission in marks:
        if permission is None:
            continue
        for hole, value in fill.items():
            path = path.replace(hole, value)
        assert client.request(method, path).status_code in ((200, 401) if path == "/metrics" else (401,)), path
        for role, key in role_keys.items():
            status = client.request(method, path, headers=bearer(key)).status_code
            allowed = permission in PERMISSIONS[role]
            assert (status not in (401, 403)) == allowed, (role, method, path, permission, status)
            assert status < 500
            checked += 1
    assert checked > 100


def test_an_endpoint_without_a_mark_is_still_closed_to_strangers(door, keys):
    keys.add("phone")
    _, client = door()
    assert client.get("/v1/forgotten").status_code == 401


def test_lock_out_by_address_leaves_those_who_are_known(door, keys, clock):
    new, late = keys.add("phone"), keys.add("late")
    guard, client = door()
    assert client.get("/v1/models", headers=bearer(new.key)).status_code == 200
    for _ in range(FREE):
        assert client.get("/v1/models", headers=bearer(f"btg_{new.id}_guess")).status_code == 401
    told = client.get("/v1/models", headers=bearer(f"btg_{new.id}_guess"))
    assert (told.status_code, error(told)["code"], told.headers["retry-after"]) == (429, "locked", "2")
    assert client.get("/v1/models", headers=bearer(new.key)).status_code == 200  # was right before
    assert client.get("/v1/models", headers=bearer(late.key)).status_code == 429  # was not seen yet
    other = TestClient(client.app, base_url="http://127.0.0.1", client=("203.0.113.9", 5))
    assert other.get("/v1/models", headers=bearer(late.key)).status_code == 200
    clock.now += 3
    assert client.get("/v1/models", headers=bearer(late.key)).status_code == 200
    assert guard.metrics.registry.get_sample_value("bottega_lockouts_total", {"kind": "key"}) == 1


def test_the_second_factor_over_http(door, keys, clock):
    keys.users.add("ann", "admin")
    new = keys.add("hers", "admin", user="ann")
    secret, _ = keys.users.begin_second_factor("ann")
    keys.users.confirm_second_factor("ann", totp.code_at(secret, clock.now))
    clock.now += 30
    _, client = door()
    told = client.get("/v1/keys", headers=bearer(new.key))
    assert (told.status_code, told.headers["x-bottega-otp"]) == (403, "required")
    assert client.get("/v1/models", headers=bearer(new.key)).status_code == 200
    wrong = client.get("/v1/keys", headers=bearer(new.key, **{"x-bottega-otp": "000000"}))
    assert (wrong.status_code, error(wrong)["code"]) == (401, "invalid_second_factor")
    right = client.get("/v1/keys", headers=bearer(new.key, **{"x-bottega-otp": totp.code_at(secret, clock.now)}))
    assert right.status_code == 200
    assert client.get("/v1/keys", headers=bearer(new.key)).status_code == 200
    clock.now += 901
    assert client.get("/v1/keys", headers=bearer(new.key)).status_code == 403
    for _ in range(FREE):
        client.get("/v1/keys", headers=bearer(new.key, **{"x-bottega-otp": "000000"}))
    told = client.get("/v1/keys", headers=bearer(new.key, **{"x-bottega-otp": totp.code_at(secret, clock.now)}))
    assert (told.status_code, error(told)["code"]) == (429, "locked")


# ---- how much ---------------------------------------------------------------------------------------------------------


def test_rates_and_quotas(door, keys, clock):
    new, other = keys.add("phone", per_minute=6), keys.add("other", per_day=3)
    _, client = door()
    statuses = [client.get("/v1/models", headers=bearer(new.key)).status_code for _ in range(8)]
    assert statuses == [200] * 6 + [429] * 2
    told = client.get("/v1/models", headers=bearer(new.key))
    assert (error(told)["type"], error(told)["code"], told.headers["retry-after"]) == ("rate_limit_error", "rate_limit_exceeded", "10")  # fmt: skip
    clock.now += 10
    assert client.get("/v1/models", headers=bearer(new.key)).status_code == 200
    assert client.post("/v1/completions", headers=bearer(other.key), json={"prompt": "x", "n": 3}).status_code == 200
    told = client.get("/v1/models", headers=bearer(other.key))
    assert (told.status_code, error(told)["code"]) == (429, "quota_exceeded")
    again = keys.rotate("other")
    assert client.get("/v1/models", headers=bearer(again.key)).status_code == 429  # a new key is no new quota


def test_limits_are_exact_under_concurrency(door, keys):
    new = keys.add("phone", per_minute=50)
    _, client = door()
    client.get("/v1/models", headers=bearer(new.key))
    statuses = []

    def ask():
        for _ in range(20):
            statuses.append(client.get("/v1/models", headers=bearer(new.key)).status_code)

    with client:  # one event loop for all threads, as a server has
        threads = [threading.Thread(target=ask) for _ in range(6)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    assert (statuses.count(200), statuses.count(429)) == (49, 71)


def test_large_bodies_are_refused_before_they_are_read(door):
    _, client = door(body_bytes=1000)
    told = client.post("/v1/completions", content=b"x" * 1001, headers={"content-type": "application/json"})
    assert (told.status_code, error(told)["code"]) == (413, "too_large")

    def chunks():
        yield from [b"x" * 500] * 4

    for kind in ("application/json", "multipart/form-data; boundary=x", "application/octet-stream"):
        path = "/v1/completions" if "json" in kind else "/v1/images/edits"
        told = client.post(path, content=chunks(), headers={"content-type": kind})
        assert (told.status_code, error(told)["code"]) == (413, "too_large"), kind
    assert client.post("/v1/images/edits", content=b"x" * 900, headers={"content-type": "image/png"}).json() == {
        "bytes": 900
    }
    assert client.post("/v1/completions", content=b"{}", headers={"content-length": "-5"}).status_code == 400


def test_a_50_mb_body_reads_no_more_than_the_limit(keys, clock, tmp_path):
    """On the ASGI level, where it can be counted."""
    import asyncio

    guard = Guard(Guarding(audit=tmp_path / "audit.jsonl", body_bytes=1_000_000), clock, keys)
    app = make_app(guard)
    taken, sent = [], []

    async def receive():
        taken.append(65536)
        return {"type": "http.request", "body": b" " * 65536, "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "raw_path": b"/v1/completions", "query_string": b"", "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1", "root_path": ""}  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 413
    assert sum(taken) <= 1_000_000 + 65536
    scope["headers"].append((b"content-length", b"52428800"))
    taken.clear()
    asyncio.run(app(scope, receive, send))
    assert taken == []
    guard.audit.close()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 100_000, "too_deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "too_deep"),
        (b'{"prompt": "\\ud800"}', "invalid_text"),
        (b'{"\\udfff": 1}', "invalid_text"),
    ],
)
def test_shapes_that_are_not_taken(door, body, code):
    _, client = door()
    told = client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert (told.status_code, error(told)["code"]) == (400, code)


def test_deep_text_and_pairs_are_fine(door):
    _, client = door()
    for body in ({"prompt": "[" * 5000 + "\\" * 3}, {"prompt": "😀"}, {"prompt": "\\ud800"}):
        assert (
            client.post(
                "/v1/completions", content=json.dumps(body), headers={"content-type": "application/json"}
            ).status_code
            == 200
        )


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"null", b"[]", b'"x"', b"1e999", b"NaN", b"1" * 5000, b"{" * 20]
)
def test_malformed_json_is_the_callers_mistake(door, body):
    _, client = door()
    told = client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert 400 <= told.status_code < 500
    error(told)


# ---- signatures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["ed25519", "hmac-sha256"])
def test_signed_requests(door, keys, clock, alg):
    new, plain = keys.add("phone", signs_with=alg), keys.add("plain")
    _, client = door(sign_requests="required")
    url, body = "http://127.0.0.1/v1/completions?a=%20b", b'{"prompt": "x"}'

    def ask(body=body, url=url, key=new.id, **more):
        made = sign_request("POST", url, body, key=key, secret=new.signing, alg=alg, created=int(clock.now), **more)
        return client.post(url, content=body, headers={**made, "content-type": "application/json"}), made

    told, made = ask()
    assert told.status_code == 200
    assert client.post("/v1/completions", content=body, headers=bearer(new.key)).status_code == 401
    replayed = client.post(url, content=body, headers={**made, "content-type": "application/json"})
    assert (replayed.status_code, error(replayed)["code"]) == (401, "replayed")
    for change in ({"content": body + b" "}, {"url": url + "c"}):
        told, made = ask(nonce="n" * 20 + str(len(change)))
        sent = {"url": url, "content": body, **change}
        assert client.post(sent["url"], content=sent["content"], headers=made).status_code in (401, 401)
    told, _ = ask(key=plain.id)
    assert (told.status_code, error(told)["code"]) == (401, "invalid_signature")
    clock.now += 400
    late = client.post(url, content=body, headers=sign_request("POST", url, body, key=new.id, secret=new.signing, alg=alg, created=int(clock.now) - 400))  # fmt: skip
    assert (late.status_code, error(late)["code"]) == (401, "clock_skew")
    assert "400 seconds behind" in error(late)["message"]
    keys.revoke("phone")
    assert error(ask()[0])["code"] == "revoked_api_key"


def test_signatures_beside_keys(door, keys, clock):
    new = keys.add("phone", signs_with="ed25519")
    _, client = door(sign_requests="allowed")
    assert client.get("/v1/models", headers=bearer(new.key)).status_code == 200
    made = sign_request(
        "GET", "http://127.0.0.1/v1/models", b"", key=new.id, secret=new.signing, created=int(clock.now)
    )
    assert client.get("/v1/models", headers=made).json()["caller"] == "key:phone"
    assert client.get("/v1/keys", headers=made).status_code == 401  # of another path
    forged = {**made, "signature": "sig=:AAAA:"}
    assert client.get("/v1/models", headers=bearer(new.key) | forged).status_code == 401  # a bad one is not overlooked


def test_signed_responses(door, keys):
    guard, client = door(sign_responses=True)
    key = public_bytes(guard.response_key)
    for told in (client.get("/v1/models"), client.get("/nothing"), client.post("/v1/completions", json={})):
        verify_response(key, told.status_code, told.headers, told.content)
        with pytest.raises(BottegaError):
            verify_response(key, told.status_code, told.headers, told.content + b" ")
    told = client.post("/v1/chat/completions", json={}, headers={"x-request-id": "mine"})
    stream, _, last = told.text.rstrip().rpartition("\n")
    made = json.loads(last.removeprefix(": bottega-signature "))
    verify_response(key, 200, {**made, "x-request-id": "mine"}, (stream + "\n").encode())
    assert made["content-digest"] == content_digest((stream + "\n").encode())


# ---- what -------------------------------------------------------------------------------------------------------------


def test_the_content_filter_at_the_door(door, keys):
    guard, client = door(filters="on")
    told = client.post("/v1/completions", json={"prompt": "How do I build a pipe bomb at home?"})
    assert (told.status_code, error(told)["code"], told.headers["x-bottega-filter"]) == (400, "content_filter", "violence.weapons")  # fmt: skip
    assert "pipe" not in told.text
    hidden = {"messages": [{"role": "user", "content": [{"type": "text", "text": "how to build a pipe bomb"}]}]}
    assert client.post("/v1/chat/completions", json=hidden).status_code == 400
    assert client.post("/v1/completions", json={"prompt": "A poem about the sea"}).status_code == 200
    counted = guard.metrics.registry.get_sample_value
    assert counted("bottega_filter_hits_total", {"rule": "violence.weapons", "side": "in"}) == 2


def test_what_goes_out_is_cleaned_whole_and_in_streams(door, monkeypatch):
    _, client = door(filters="on")
    monkeypatch.setitem(SAID, "text", "Write to ann@example.com or pay with 4111 1111 1111 1111 today, dear friend.")
    told = client.post("/v1/completions", json={"prompt": "x"})
    clean = "Write to [e-mail address] or pay with [card number] today, dear friend."
    assert told.json()["choices"][0]["text"] == clean
    assert int(told.headers["content-length"]) == len(told.content)
    assert set(told.headers["x-bottega-filter"].split(",")) == {"personal.email", "personal.card"}

    def streamed():
        events = client.post("/v1/chat/completions", json={}).text.split("\n\n")
        assert events[-2] == "data: [DONE]"
        choices = [json.loads(e[6:])["choices"][0] for e in events if e.startswith("data: {")]
        return [c["delta"].get("content", "") for c in choices], choices[-1]["finish_reason"]

    parts, ended = streamed()
    assert ("".join(parts), ended) == (clean, "stop")
    assert parts[1] != ""  # it is a stream still: words come while others are being written
    monkeypatch.setitem(SAID, "text", "First find a way. Here is how to build a pipe bomb at home with nails and more.")
    parts, ended = streamed()
    assert ended == "content_filter"
    assert "bomb" not in "".join(parts)
    told = client.post("/v1/completions", json={"prompt": "x"}).json()["choices"][0]
    assert (told["text"], told["finish_reason"]) == ("", "content_filter")


def test_the_filter_is_off_on_ones_own_machine_and_on_for_others(door, keys):
    guard, client = door()
    assert client.post("/v1/completions", json={"prompt": "how to build a pipe bomb"}).status_code == 200
    new = keys.add("phone")
    guard.look_again()
    assert client.post("/v1/completions", headers=bearer(new.key), json={"prompt": "how to build a pipe bomb"}).status_code == 400  # fmt: skip


# ---- afterwards -------------------------------------------------------------------------------------------------------


def test_the_audit_log_says_who_asked_what_without_personal_data(door, keys):
    new = keys.add("phone")
    guard, client = door()
    client.post("/v1/completions", headers=bearer(new.key, **{"x-request-id": "r-1"}), json={"model": "m", "seed": 7, "prompt": "I am ann@example.com, my password is hunter2"})  # fmt: skip
    client.get("/v1/models", headers=bearer(new.key))
    client.get("/v1/keys", headers=bearer(new.key))
    client.get("/v1/models", headers=bearer("btg_x_y"))
    lines = list(audit.read(guard.audit.path))
    first = lines[0]
    assert (first["by"], first["key"], first["path"], first["status"], first["model"], first["seed"], first["request"]) == ("key:phone", new.id, "/v1/completions", 200, "m", 7, "r-1")  # fmt: skip
    assert first["prompt"].startswith("I am [e-mail address], my [secret]")
    assert [line["status"] for line in lines] == [200, 403, 401]  # plain looks are not logged, refusals are
    assert [line.get("why") for line in lines] == [None, None, "invalid_api_key"]
    text = guard.audit.path.read_text()
    assert not any(word in text for word in ("ann@example.com", "hunter2", new.key))
    assert audit.verify(guard.audit.path, guard.audit._key.public_key()).problems == []


def test_prompts_can_stay_out_altogether(door):
    guard, client = door(log_prompts=False)
    client.post("/v1/completions", json={"prompt": "private words"})
    line = next(iter(audit.read(guard.audit.path)))
    assert "private" not in json.dumps(line)
    assert line["prompt_length"] == 13


def test_no_answer_is_given_that_the_log_cannot_take(door, monkeypatch):
    guard, client = door()

    def full(*_):
        raise OutputError("cannot write the audit log: no space left; free some space")

    monkeypatch.setattr(guard.audit, "_append", full)
    told = client.post("/v1/completions", json={"prompt": "x"})
    assert (told.status_code, error(told)["code"]) == (503, "audit_failed")
    assert guard.metrics.registry.get_sample_value("bottega_audit_failures_total") == 1
    assert client.get("/v1/models").status_code == 200


def test_request_ids_and_security_headers(door):
    _, client = door()
    told = client.get("/v1/models", headers={"x-request-id": "abc-123"})
    assert told.headers["x-request-id"] == "abc-123"
    assert len(client.get("/v1/models", headers={"x-request-id": "a b"}).headers["x-request-id"]) == 32
    for name in ("x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy"):
        assert name in told.headers
    assert told.headers["cache-control"] == "no-store"


def test_metrics_and_request_logs(door, capsys):
    guard, client = door(request_log=True)
    client.get("/v1/models")
    client.get("/v1/reviews/rev-1")
    client.get("/nothing")
    value = guard.metrics.registry.get_sample_value
    assert value("bottega_requests_total", {"method": "GET", "route": "/v1/models", "status": "200"}) == 1
    assert value("bottega_requests_total", {"method": "GET", "route": "/v1/reviews/{review}", "status": "404"}) == 1
    assert value("bottega_requests_total", {"method": "GET", "route": "none", "status": "404"}) == 1
    assert value("bottega_request_seconds_count", {"method": "GET", "route": "/v1/models"}) == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert [(line["path"], line["status"], line["by"]) for line in lines][0] == ("/v1/models", 200, "local")


def test_a_fault_of_ours_is_told_as_one_and_nothing_of_the_inside(door):
    guard, client = door()

    @client.app.get("/v1/broken")
    def broken():
        raise ZeroDivisionError("secret detail")

    told = client.get("/v1/broken")
    assert told.status_code == 500
    assert "secret" not in told.text
    assert error_type(told) == "server_error"
    assert error(told)["code"] == "internal_error"
    assert [line["status"] for line in audit.read(guard.audit.path)] == [500]


def error_type(response):
    return response.json()["error"]["type"]


def test_websockets_are_guarded_too(door, keys):
    new = keys.add("phone")
    _, client = door()

    @client.app.websocket("/v1/live")
    async def live(socket: WebSocket):
        await socket.accept()
        await socket.send_text(socket.state.caller.id)
        await socket.close()

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/live"):
        pass
    with client.websocket_connect("/v1/live", headers=bearer(new.key)) as socket:
        assert socket.receive_text() == "key:phone"


def test_the_life_of_the_app_ends_the_guards(keys, clock, tmp_path):
    new = keys.add("phone", per_day=100)
    guard, client = guarded(keys, clock, tmp_path)
    with client:
        for _ in range(10):
            client.get("/v1/models", headers=bearer(new.key))
    with pytest.raises(OutputError, match="closed"):
        guard.audit.record("late")
    assert guard.limits.used_today("key:phone") == 10


# ---- TLS --------------------------------------------------------------------------------------------------------------


def test_tls_on_loopback(keys, clock, tmp_path):
    """A real server: what trusts the certificate is answered, what does not is not, and plain HTTP neither."""
    certificate, key = self_signed(tmp_path / "tls")
    new = keys.add("phone")
    guard = Guard(Guarding(audit=tmp_path / "audit.jsonl", tls_certificate=certificate, tls_key=key), clock, keys)
    config = uvicorn.Config(
        make_app(guard), port=0, ssl_certfile=certificate, ssl_keyfile=key, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            pass
        port = server.servers[0].sockets[0].getsockname()[1]
        with closing(httpx.Client(verify=ssl.create_default_context(cafile=certificate))) as client:
            told = client.get(f"https://localhost:{port}/v1/models", headers=bearer(new.key))
        assert told.status_code == 200
        assert "strict-transport-security" in told.headers
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"https://localhost:{port}/healthz")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{port}/healthz")
    finally:
        server.should_exit = True
        thread.join()
        guard.audit.close()


def test_bad_tls_files_are_told_before_the_start(keys, clock, tmp_path):
    certificate, key = self_signed(tmp_path / "a")
    other, _ = self_signed(tmp_path / "b")
    for pair in ((tmp_path / "none", key), (other, key), (key, certificate), (certificate, None)):
        with pytest.raises(BottegaError):
            Guard(Guarding(audit=tmp_path / "l", tls_certificate=pair[0], tls_key=pair[1]), clock, keys)


def test_settings_of_a_server_are_understood(tmp_path):
    from types import SimpleNamespace

    told = SimpleNamespace(host="::1", state_url="sqlite:///x", max_body=5, home=tmp_path, sign_requests=True, tls_cert=None, tls_key=None, keys=True)  # fmt: skip
    made = Guarding.of(told)
    assert (made.host, made.state, made.body_bytes, made.sign_requests, made.keys) == ("::1", "sqlite:///x", 5, "required", True)  # fmt: skip
    assert made.audit == tmp_path / "audit.jsonl"
