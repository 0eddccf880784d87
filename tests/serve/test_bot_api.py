"""Rows M5, M7, M8, M13, M14 over HTTP: the book's contract, conversations of their owners, feedback, memory, hand-off, hooks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

pytest.importorskip("fastapi")
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from bottega.crafts import chat_hooks as hooks
from bottega.crafts.chat import Bot
from bottega.crafts.chat_scripts import new
from bottega.serve._chat_page import PAGE, SCRIPT
from bottega.serve.bot_api import router
from bottega.serve.roles import Caller


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bots") / "shop"
    new(folder)
    Bot.open(folder)
    return folder


@pytest.fixture
def bot(shop, tmp_path):
    return Bot.open(shop, tmp_path / "state.db")


@pytest.fixture
def client(bot):
    app = FastAPI()

    @app.middleware("http")
    async def who(request: Request, go):
        if role := request.headers.get("x-role", "maker"):
            request.state.caller = Caller(
                request.headers.get("x-id", "ada"), role, user=request.headers.get("x-user", "")
            )
        return await go(request)

    app.include_router(router(bot))
    return TestClient(app)


def test_the_books_contract(client):
    said = client.post("/chat", json={"message": "Where is my order FM1234?"})
    assert said.status_code == 200
    assert "on its way" in said.json()["response"]
    for body in ({}, {"message": ""}, {"message": None}, {"message": 3}, [], "x", {"text": "hi"}):
        said = client.post("/chat", json=body)
        assert (said.status_code, said.json()) == (400, {"error": "No input provided"})
    for raw in (b"", b"{", b"\xff", b"[" * 100_000):
        assert client.post("/chat", content=raw).status_code == 400
    assert client.post("/chat", json={"message": "x" * 5000}).status_code == 400
    assert client.post("/chat", json={"message": "hi"}, headers={"x-role": ""}).status_code == 401
    assert client.post("/chat", json={"message": "hi"}, headers={"x-role": "viewer"}).status_code == 403


def test_the_page_needs_nothing_from_elsewhere(client):
    said = client.get("/chat")
    assert said.status_code == 200
    assert "default-src 'none'" in said.headers["content-security-policy"]
    assert "computer program" in said.text
    assert not re.search(r"https?://", PAGE + SCRIPT)
    assert 'src="/chat/page.js"' in said.text
    assert "innerHTML" not in SCRIPT
    assert client.get("/chat/page.js").headers["content-type"].startswith("text/javascript")
    if node := shutil.which("node"):
        subprocess.run([node, "--check", "-"], input=SCRIPT, text=True, check=True)


def test_streams_of_events(client, bot):
    class Says:
        version = "t"

        def prompt(self, *told):
            return ""

        def stream(self, prompt, folder, *, seed=0):
            yield from ("One row. ", "Two rows. ", "Three.")

    bot.speaker = Says()
    chat = client.post("/v1/chats").json()["id"]
    with client.stream(
        "POST", f"/v1/chats/{chat}/messages", json={"text": "how do I knit a jumper", "stream": True}
    ) as said:
        assert said.headers["content-type"].startswith("text/event-stream")
        events = [line[6:] for line in said.iter_lines() if line]
    assert events[-1] == "[DONE]"
    told = [json.loads(one) for one in events[:-1]]
    assert "".join(t.get("delta", "") for t in told) == told[-1]["text"] == "One row. Two rows. Three."
    assert len(told) > 2
    assert told[-1]["route"] == "generated"
    assert client.get(f"/v1/chats/{chat}/messages").json()["data"][-1]["text"] == told[-1]["text"]


def test_what_is_anothers_is_not_there(client):
    chat = client.post("/v1/chats").json()["id"]
    made = client.post(f"/v1/chats/{chat}/messages", json={"text": "my name is Ada"}).json()
    for headers in ({"x-id": "bob"}, {"x-user": "bob"}, {"x-id": "ada/"}, {"x-id": "ada", "x-user": "ada"}):
        assert client.get(f"/v1/chats/{chat}/messages", headers=headers).status_code == 404
        assert client.post(f"/v1/chats/{chat}/messages", json={"text": "hi"}, headers=headers).status_code == 404
        assert client.post(f"/v1/messages/{made['id']}/feedback", json={"thumb": 1}, headers=headers).status_code == 404
        assert client.get("/v1/memory", headers=headers).json()["facts"] == {}
        assert client.get("/v1/chats", headers=headers).json()["data"] == []
    assert client.get("/v1/memory").json()["facts"] == {"name": "Ada"}
    assert client.get("/v1/chats/../messages").status_code == 404
    assert client.get("/v1/chats/zzz/messages").status_code == 422


def test_feedback_and_memory(client, bot):
    made = client.post("/chat", json={"message": "when are you open"}).json()
    path = f"/v1/messages/{made['message_id']}/feedback"
    assert client.post(path, json={"thumb": 1}).status_code == 200
    assert client.post(path, json={"thumb": -1, "edit": "Nine to six."}).json()["edit"] == "Nine to six."
    for bad in ({}, {"thumb": 5}, {"thumb": 0}, {"thumb": "x"}, {"edit": "x" * 5000}, {"thumb": 1, "more": 2}):
        assert client.post(path, json=bad).status_code in (400, 422)
    assert client.post("/v1/messages/999999/feedback", json={"thumb": 1}).status_code == 404
    assert client.post("/v1/messages/99999999999999999999999/feedback", json={"thumb": 1}).status_code == 422
    assert client.patch("/v1/memory", json={"facts": {"size": "M", "name": "Ada"}}).json()["facts"]["size"] == "M"
    for bad in ({"facts": {}}, {"facts": {"A B": "x"}}, {"facts": {"x": "y" * 501}}, {"facts": {"x": 3}}):
        assert client.patch("/v1/memory", json=bad).status_code in (400, 422)
    assert client.request("DELETE", "/v1/memory", params={"name": "size"}).json()["entries"] == 1
    assert client.get("/v1/memory").json()["facts"] == {"name": "Ada"}
    assert client.request("DELETE", "/v1/memory", params={"conversations": True}).json()["conversations"] == 1
    assert client.get("/v1/chats").json()["data"] == []


def test_a_person_takes_over(client, bot):
    told = []
    bot.record = lambda what, about: told.append(what)
    eve = {"x-role": "trainer", "x-id": "eve"}
    made = client.post("/chat", json={"message": "I want to talk to a person"}).json()
    assert client.get("/v1/handoffs").status_code == 403
    (one,) = client.get("/v1/handoffs", headers=eve).json()["data"]
    assert one["transcript"][0]["text"] == "I want to talk to a person"
    assert 0 < one["left_seconds"] <= 900
    path = f"/v1/handoffs/{one['id']}"
    assert client.post(f"{path}/messages", json={"text": "x"}, headers=eve).status_code == 409
    assert client.post(f"{path}/take", headers=eve).status_code == 200
    assert client.post(f"{path}/take", headers=eve | {"x-id": "mallory"}).status_code == 409
    assert client.post(f"{path}/messages", json={"text": "Eve here."}, headers=eve).status_code == 200
    assert client.get(f"/v1/chats/{made['conversation']}/messages").json()["data"][-1]["text"] == "Eve here."
    assert client.post(f"{path}/close", headers=eve).status_code == 200
    assert client.get("/v1/handoffs", headers=eve).json()["data"] == []
    assert told == ["hand-off", "hand-off taken", "hand-off closed"]
    assert client.get("/v1/chats/report", headers=eve).json()["handed_off"] == 1.0


def test_hooks_are_answered_once(client, bot, monkeypatch):
    body = json.dumps({"user": "ada", "text": "when are you open?", "id": "m1"}).encode()
    assert client.post("/hooks/plain", content=body).status_code == 503
    monkeypatch.setenv("BOTTEGA_HOOK_SECRET", "k")
    assert client.post("/hooks/plain", content=body).status_code == 401
    signed = {"X-Bottega-Signature": hooks.sign_plain(body, "k"), "x-role": ""}
    said = client.post("/hooks/plain", content=body, headers=signed)
    assert "9:00" in said.json()["messages"][0]["text"]
    assert client.post("/hooks/plain", content=body, headers=signed).status_code == 409
    assert client.post("/hooks/plain", content=body + b" ", headers=signed).status_code == 401
    assert client.post("/hooks/icq", content=body).status_code == 422
    assert client.post("/hooks/plain", content=b"x" * (2 << 20)).status_code == 413
    bad = b"{}"
    assert (
        client.post(
            "/hooks/plain", content=bad, headers={"X-Bottega-Signature": hooks.sign_plain(bad, "k")}
        ).status_code
        == 400
    )
    assert len(bot.memory.transcript(bot.memory.latest("plain:ada", "plain").id)) == 2


def test_every_endpoint_names_its_permission_but_hooks(bot):
    for route in router(bot).routes:
        path = getattr(route, "path", "")
        if path and not path.startswith("/hooks"):
            assert any(hasattr(d.call, "permission") for d in route.dependant.dependencies), path
