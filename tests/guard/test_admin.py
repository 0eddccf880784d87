"""Administration over HTTP: keys, users, the log, incidents, and the queue in which two people must agree."""

from __future__ import annotations

import base64
import hashlib

import pytest

from bottega.core import BottegaError
from bottega.serve import audit
from bottega.serve.reviews import Reviews
from guarded_app import guarded

PIECE = b"\x89PNG not really"


@pytest.fixture
def door(keys, clock, tmp_path):
    guard, client = guarded(keys, clock, tmp_path)

    def asks(key):
        return lambda method, path, **more: client.request(
            method, path, headers={"authorization": f"Bearer {key}"}, **more
        )

    asked = {}
    for name, role in (("ann", "trainer"), ("ben", "trainer"), ("cia", "maker"), ("root", "admin")):
        keys.users.add(name, role)
        asked[name] = asks(keys.add(f"{name}s", role, user=name).key)
    asked["second"] = asks(keys.add("ann2", "trainer", user="ann").key)
    asked["nobody"] = asks(keys.add("loose", "trainer").key)
    guard.look_again()
    yield guard, asked
    guard.audit.close()


def _ask(asked, who="cia"):
    told = asked[who]("POST", "/v1/reviews", json={"kind": "piece", "about": "a cover", "data": base64.b64encode(PIECE).decode(), "media_type": "image/png"})  # fmt: skip
    assert told.status_code == 201
    assert told.json()["subject"] == hashlib.sha256(PIECE).hexdigest()
    return told.json()["id"]


def _decide(asked, who, review, approve=True, note=""):
    return asked[who]("POST", f"/v1/reviews/{review}/decision", json={"approve": approve, "note": note}).status_code


def test_a_piece_goes_out_when_two_people_have_agreed(door, state):
    guard, asked = door
    review = _ask(asked)
    take = f"/v1/reviews/{review}/piece"
    told = asked["cia"]("GET", take)
    assert (told.status_code, "0 of 2" in told.text, PIECE in told.content) == (403, True, False)
    assert asked["cia"]("GET", take + "?look=true").status_code == 403
    assert asked["ann"]("GET", take + "?look=true").content == PIECE
    assert _decide(asked, "cia", review) == 403  # a maker may not review
    assert _decide(asked, "nobody", review) == 403  # a key without a user is no person
    assert _decide(asked, "ann", review) == 201
    assert _decide(asked, "ann", review) == 409
    assert _decide(asked, "second", review) == 409  # another key of the same person
    assert asked["cia"]("GET", take).status_code == 403
    assert _decide(asked, "ben", review) == 201
    told = asked["cia"]("GET", take)
    assert (told.status_code, told.content, told.headers["content-type"]) == (200, PIECE, "image/png")
    Reviews(state).check(hashlib.sha256(PIECE).hexdigest())
    events = [(r["event"], r["by"]) for r in audit.read(guard.audit.path) if r["event"] != "request"]
    assert events == [("review asked", "user:cia"), ("review looked at", "user:ann"), ("review decided", "user:ann"), ("review decided", "user:ben"), ("piece released", "user:cia")]  # fmt: skip


def test_one_no_is_a_no_and_says_why(door, state):
    _, asked = door
    review = _ask(asked)
    assert _decide(asked, "ann", review) == 201
    assert _decide(asked, "ben", review, approve=False) == 400
    assert _decide(asked, "ben", review, approve=False, note="a likeness") == 201
    assert _decide(asked, "root", review) == 409
    assert "a likeness" in asked["cia"]("GET", f"/v1/reviews/{review}/piece").text
    with pytest.raises(BottegaError, match="turned down by user:ben"):
        Reviews(state).check(hashlib.sha256(PIECE).hexdigest())


def test_who_asks_does_not_decide(door):
    _, asked = door
    review = _ask(asked, "ann")
    assert _decide(asked, "ann", review) == 403
    assert _decide(asked, "second", review) == 403
    assert (_decide(asked, "ben", review), _decide(asked, "root", review)) == (201, 201)


def test_what_nobody_reviewed_is_blocked(state):
    with pytest.raises(BottegaError, match="nobody has reviewed"):
        Reviews(state).check("0" * 64)


def test_held_pieces_are_sealed_at_rest(door, tmp_path):
    _, asked = door
    _ask(asked)
    assert all(PIECE not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("body", [{}, {"kind": "piece"}, {"kind": "x", "subject": "0" * 64}, {"kind": "piece", "subject": "short"}, {"kind": "piece", "data": "%%%"}, {"kind": "piece", "data": "QQ==", "subject": "0" * 64}, {"kind": "release", "subject": "0" * 64, "more": 1}])  # fmt: skip
def test_bad_reviews(door, body):
    assert door[1]["cia"]("POST", "/v1/reviews", json=body).status_code in (400, 422)


def test_incidents_over_http(door):
    guard, asked = door
    piece = {"model_sha256": "ab", "data_sha256": "cd", "seed": 7, "caller": "user:cia"}
    made = asked["cia"](
        "POST", "/v1/incidents", json={"title": "It repeats", "severity": "high", "piece": piece}
    ).json()
    assert (made["piece"], made["status"], made["by"]) == (piece, "open", "user:cia")
    assert guard.metrics.registry.get_sample_value("bottega_incidents_open") == 1
    assert asked["cia"]("GET", "/v1/incidents").status_code == 403
    path = f"/v1/incidents/{made['id']}/steps"
    assert asked["ann"]("POST", path, json={"status": "fixed"}).status_code == 400
    done = asked["ann"]("POST", path, json={"status": "fixed", "note": "trained again"})
    assert done.status_code == 201
    assert asked["ann"]("GET", "/v1/incidents?status=fixed").json()["data"][0]["steps"][0]["note"] == "trained again"
    assert guard.metrics.registry.get_sample_value("bottega_incidents_open") == 0
    assert asked["ann"]("POST", "/v1/incidents/inc-none/steps", json={"status": "open"}).status_code == 404


def test_keys_over_http(door):
    guard, asked = door
    made = asked["root"]("POST", "/v1/keys", json={"name": "phone", "role": "maker", "days": 1})
    key = made.json()["key"]
    assert asked["root"]("POST", "/v1/keys", json={"name": "phone"}).status_code == 409
    listed = asked["root"]("GET", "/v1/keys").text
    assert "phone" in listed
    assert key not in listed
    assert "argon2" not in listed
    assert asked["root"]("POST", "/v1/keys/phone/rotate", json={"overlap_hours": 0}).status_code == 201
    assert asked["root"]("POST", "/v1/keys/phone/rotate").status_code == 201
    assert len(asked["root"]("DELETE", "/v1/keys/phone").json()["revoked"]) == 3
    assert asked["root"]("DELETE", "/v1/keys/none").status_code == 404
    assert asked["cia"]("GET", "/v1/me").json()["permissions"] == ["look", "make", "rate", "talk"]
    assert key not in guard.audit.path.read_text()


def test_users_over_http(door, clock):
    from bottega.serve import totp

    _, asked = door
    root = asked["root"]
    assert root("POST", "/v1/users", json={"name": "dan", "role": "viewer"}).status_code == 201
    assert root("POST", "/v1/users", json={"name": "dan"}).status_code == 409
    assert root("PATCH", "/v1/users/dan", json={"role": "maker", "disabled": True}).json()["disabled"] is True
    secret = root("POST", "/v1/users/dan/second-factor").json()["secret"]
    assert root("POST", "/v1/users/dan/second-factor/confirm", json={"code": "000000"}).status_code == 400
    code = totp.code_at(secret, clock.now)
    assert root("POST", "/v1/users/dan/second-factor/confirm", json={"code": code}).status_code == 200
    listed = root("GET", "/v1/users")
    assert secret not in listed.text
    assert next(u for u in listed.json()["data"] if u["name"] == "dan")["second_factor"] is True
    assert root("DELETE", "/v1/users/dan/second-factor").status_code == 200
    assert root("DELETE", "/v1/users/dan").status_code == 200
    assert root("DELETE", "/v1/users/dan").status_code == 404


def test_the_log_over_http(door):
    guard, asked = door
    for _ in range(5):
        asked["cia"]("POST", "/v1/completions", json={"prompt": "x"})
    first = asked["root"]("GET", "/v1/audit?limit=2&event=request").json()
    assert [line["n"] for line in first["data"]] == [1, 2]
    rest = asked["root"]("GET", f"/v1/audit?after={first['next']}&by=user:cia").json()
    assert (len(rest["data"]), rest["next"]) == (3, None)
    assert asked["root"]("GET", "/v1/audit/verify").json()["whole"] is True
    assert asked["ann"]("GET", "/v1/audit").status_code == 403
    data = guard.audit.path.read_bytes()
    guard.audit.path.write_bytes(data.replace(b'"status":200', b'"status":404', 1))
    assert asked["root"]("GET", "/v1/audit/verify").json()["problems"] == ["line 1 was changed: its hash does not fit"]
