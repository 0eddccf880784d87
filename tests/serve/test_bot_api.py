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
from bottega.serve.app import create_app
from bottega.serve.bot_api import router
from bottega.serve.gate import is_public
from bottega.serve.keys import Keys
from bottega.serve.roles import Caller
from bottega.serve.settings import Settings
from bottega.serve.state import open_state


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


@pytest.fixture
def with_keys(shop, tmp_path):
    """A whole server with the bot that wants keys, and a key of a maker's."""
    key = Keys(open_state(tmp_path / "serve.sqlite")).add("ada", "maker").key
    with TestClient(create_app(Settings(bot=shop, home=tmp_path, warm=False)), base_url="http://127.0.0.1") as client:
        yield client, key


def test_the_page_opens_without_a_key_and_nothing_else_does(with_keys):
    client, key = with_keys
    for path in ("/chat", "/chat/page", "/chat/page.js"):
        assert client.get(path).status_code == 200, path
    assert "Your message" in client.get("/chat").text
    said = {"json": {"message": "when are you open?"}}
    assert client.post("/chat", **said).status_code == 401
    assert client.get("/v1/chats?limit=1").status_code == 401  # by which the page finds out whether it needs a key
    headers = {"authorization": f"Bearer {key}"}
    assert client.get("/v1/chats?limit=1", headers=headers).status_code == 200
    assert "9:00" in client.post("/chat", headers=headers, **said).json()["response"]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_asks_for_a_key_keeps_it_and_sends_it(tmp_path):
    """The page's own script, in node, with as much of a browser as it uses."""
    (tmp_path / "page.js").write_text(BROWSER.replace("@SCRIPT@", SCRIPT))
    done = subprocess.run(["node", str(tmp_path / "page.js")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, second, third = json.loads(done.stdout)
    assert first == {"asks": True, "state": "This server asks for a key.", "sent": [None]}
    assert second == {"asks": True, "state": "there is no such key", "sent": ["Bearer bad"]}
    assert third == {
        "asks": False, "state": "", "sent": ["Bearer good", "Bearer good"], "said": {"message": "hello"}, "shown": "You: hello|Bot: hi there",
    }  # fmt: skip


BROWSER = r"""
const made = () => ({
  hidden: false, value: "", textContent: "", children: [], heard: {},
  addEventListener(what, then) { this.heard[what] = then; }, focus() {}, scrollIntoView() {}, setAttribute() {},
  append(...more) { this.children.push(...more); },
});
const all = {}, kept = {};
globalThis.document = { getElementById: (id) => (all[id] ??= made()), createElement: made };
globalThis.sessionStorage = { getItem: (k) => kept[k] ?? null, setItem: (k, v) => { kept[k] = v; } };
document.getElementById("who").hidden = true;
let sent = [], body = null;
globalThis.fetch = async (path, told = {}) => {
  const key = told.headers.Authorization ?? null;
  sent.push(key);
  if (key !== "Bearer good") {
    return { ok: false, status: 401, json: async () => ({ error: { message: "there is no such key" } }) };
  }
  if (path !== "/chat") return { ok: true };
  body = JSON.parse(told.body);
  const parts = ['data: {"delta": "hi there"}\n\n', 'data: {"id": 1}\n\ndata: [DONE]\n\n'];
  return { ok: true, body: new Blob(parts).stream() };
};
@SCRIPT@
const settled = () => new Promise((go) => setTimeout(go, 50));
const seen = () => {
  const told = { asks: !all.who.hidden, state: all.state.textContent, sent };
  sent = [];
  return told;
};
const submit = async (form) => {
  await all[form].heard.submit({ preventDefault() {} });
  await settled();
};
(async () => {
  await settled();
  const out = [seen()];
  all.key.value = "bad";
  await submit("who");
  out.push(seen());
  all.key.value = " good ";
  await submit("who");
  all.text.value = "hello";
  await submit("say");
  const lines = all.log.children.map((li) => li.children.slice(0, 2).map((part) => part.textContent).join(""));
  out.push({ ...seen(), said: body, shown: lines.join("|") });
  console.log(JSON.stringify(out));
})();
"""


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
        if path and not all(is_public(path, method) for method in route.methods):
            assert any(hasattr(d.call, "permission") for d in route.dependant.dependencies), path
