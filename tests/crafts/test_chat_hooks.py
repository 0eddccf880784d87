"""Row M8: recorded payloads of Slack, Messenger and plain hooks; signatures, challenges, replays."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from bottega.core import BottegaError
from bottega.crafts import chat_hooks as hooks

# The example of Slack's documentation of request signing (its own key, body and signature).
SLACK_KEY = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&"
    b"user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
    b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_SIGNED = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
SLACK_TIME = 1531420618
EVENT = {
    "token": "ZZZZZZWSxiZZZ2yIvs3peJ", "team_id": "T061EG9R6", "api_app_id": "A0MDYCDME",
    "event": {"type": "app_mention", "user": "U061F7AUR", "text": "<@U0LAN0Z89> where is <https://x.example/FM1234|FM1234> &amp; when?",
              "ts": "1515449522.000016", "channel": "C0LAN2Q65", "event_ts": "1515449522000016"},
    "type": "event_callback", "event_id": "Ev0LAN670R", "event_time": 1515449522000016, "authed_users": ["U0LAN0Z89"],
}  # fmt: skip
PAGE = {
    "object": "page",
    "entry": [{"id": "PAGE", "time": 1458692752478, "messaging": [
        {"sender": {"id": "USER"}, "recipient": {"id": "PAGE"}, "timestamp": 1458692752478, "message": {"mid": "mid.1457764197618:41d102a3e1ae206a38", "text": "hello, world!"}},
        {"sender": {"id": "PAGE"}, "recipient": {"id": "USER"}, "message": {"mid": "m2", "text": "echo", "is_echo": True}},
        {"sender": {"id": "USER"}, "recipient": {"id": "PAGE"}, "delivery": {"mids": ["mid.1"], "watermark": 1458668856253}},
    ]}],
}  # fmt: skip


def test_slacks_own_example_of_a_signature():
    headers = {"X-Slack-Request-Timestamp": str(SLACK_TIME), "X-Slack-Signature": SLACK_SIGNED}
    hooks.verify("slack", headers, SLACK_BODY, SLACK_KEY, now=SLACK_TIME + 10)
    for changed in (
        (headers, SLACK_BODY + b"x", SLACK_KEY, SLACK_TIME), (headers, SLACK_BODY, SLACK_KEY + "x", SLACK_TIME), (headers, SLACK_BODY, SLACK_KEY, SLACK_TIME + 301),
        (headers, SLACK_BODY, SLACK_KEY, SLACK_TIME - 301), (headers | {"X-Slack-Request-Timestamp": "soon"}, SLACK_BODY, SLACK_KEY, SLACK_TIME),
        (headers | {"X-Slack-Signature": "v0=é"}, SLACK_BODY, SLACK_KEY, SLACK_TIME), ({}, SLACK_BODY, SLACK_KEY, SLACK_TIME),
    ):  # fmt: skip
        with pytest.raises(hooks.Forged):
            hooks.verify("slack", *changed)


def test_slack_events_and_what_is_none():
    body = json.dumps(EVENT).encode()
    (one,) = hooks.read("slack", body)
    assert (one.user, one.text, one.id) == ("T061EG9R6:U061F7AUR", "where is FM1234 & when?", "Ev0LAN670R")
    assert hooks.render(one, "On its way <now> & soon") == [
        {"channel": "C0LAN2Q65", "text": "On its way &lt;now&gt; &amp; soon"}
    ]
    for change in ({"bot_id": "B1"}, {"subtype": "message_changed"}, {"type": "reaction_added"}, {"text": " "}):
        assert hooks.read("slack", json.dumps(EVENT | {"event": EVENT["event"] | change}).encode()) == []
    assert (
        hooks.challenge("slack", b'{"token": "x", "challenge": "3eZbrw1aB", "type": "url_verification"}') == "3eZbrw1aB"
    )
    assert hooks.challenge("slack", body) is None


def test_messenger(monkeypatch):
    body = json.dumps(PAGE).encode()
    signed = {"X-Hub-Signature-256": "sha256=" + hmac.new(b"app", body, hashlib.sha256).hexdigest()}
    hooks.verify("messenger", signed, body, "app")
    with pytest.raises(hooks.Forged):
        hooks.verify("messenger", signed, body + b" ", "app")
    (one,) = hooks.read("messenger", body)
    assert (one.user, one.text) == ("USER", "hello, world!")
    posts = hooks.render(one, "word " * 900)
    assert len(posts) == 3
    assert all(len(p["message"]["text"]) <= 2000 and p["recipient"] == {"id": "USER"} for p in posts)
    assert " ".join(p["message"]["text"] for p in posts).split() == ["word"] * 900
    monkeypatch.setenv(hooks.VERIFY, "open sesame")
    asked = {"hub.mode": "subscribe", "hub.verify_token": "open sesame", "hub.challenge": "1158201444"}
    assert hooks.challenge("messenger", query=asked) == "1158201444"
    with pytest.raises(hooks.Forged):
        hooks.challenge("messenger", query=asked | {"hub.verify_token": "x"})
    monkeypatch.delenv(hooks.VERIFY)
    with pytest.raises(hooks.Forged):
        hooks.challenge("messenger", query=asked | {"hub.verify_token": ""})


def test_plain_and_nonsense(monkeypatch):
    body = json.dumps({"user": "ada", "text": "hi", "id": "7", "conversation": "c"}).encode()
    hooks.verify("plain", {"X-Bottega-Signature": hooks.sign_plain(body, "k", 100)}, body, "k", now=110)
    with pytest.raises(hooks.Forged):
        hooks.verify("plain", {"X-Bottega-Signature": hooks.sign_plain(body, "k", 100)}, body, "k", now=1000)
    assert hooks.render(hooks.read("plain", body)[0], "ho") == [
        {"conversation": "c", "user": "ada", "in_reply_to": "7", "text": "ho"}
    ]
    for bad in (b"", b"[]", b"{", b'{"user": 1}', b'{"user": "a", "text": "", "id": "1"}', b"\xff"):
        with pytest.raises(BottegaError):
            hooks.read("plain", bad)
    for bad in (b'{"object": "user"}', b'{"object": "page"}'):
        with pytest.raises(BottegaError):
            hooks.read("messenger", bad)
    assert (
        hooks.read("messenger", b'{"object": "page", "entry": [3, {"messaging": [4, {"message": {"text": 5}}]}]}') == []
    )
    monkeypatch.delenv(hooks.SECRETS["slack"], raising=False)
    with pytest.raises(BottegaError, match="BOTTEGA_SLACK_SECRET"):
        hooks.secret("slack")
