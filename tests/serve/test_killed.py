"""A server with a bot that is killed while callers talk: whatever they were told is kept is there after a restart."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest

from bottega.cli import main
from bottega.crafts import chat_tables as t
from bottega.crafts.chat import Bot
from bottega.crafts.chat_memory import Memory
from bottega.crafts.chat_scripts import new
from bottega.serve.audit import read
from serving import until

CALLERS, ENOUGH = 6, 60


@dataclass
class Told:
    """What callers were told: each entry was acknowledged before the server was killed."""

    chats: dict[str, str] = field(default_factory=dict)
    messages: dict[int, tuple[str, str, str, str]] = field(default_factory=dict)  # user, conversation, question, answer
    feedback: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: set[str] = field(default_factory=set)  # whose answers came to their end


@contextmanager
def serving(bot, home):
    command = [sys.executable, "-m", "bottega", "serve", "--bot", str(bot), "--port", "0", "--home", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        line = process.stdout.readline()
        assert "serves a bot" in line
        yield process, line.split()[0]
    finally:
        process.kill()
        process.wait()


def talk(url, who, told, dead):
    """Talk, rate and tell facts until the server is gone; every other question is streamed."""
    count = itertools.count()
    with httpx.Client(base_url=url, headers={"x-bottega-user": who}, timeout=60) as http, suppress(httpx.HTTPError):

        def asked(method, path, **body):
            said = http.request(method, path, json=body or None)
            assert said.status_code < 300, said.text
            told.requests.add(said.headers["x-request-id"])
            return said.json()

        while not dead.is_set():
            chat = asked("POST", "/v1/chats")["id"]
            told.chats[chat] = who
            for _ in range(3):
                k = next(count)
                question = f"When are you open, for visitor {k} of {who}?"
                if k % 2:
                    made = asked("POST", f"/v1/chats/{chat}/messages", text=question)
                    told.messages[made["id"]] = (who, chat, question, made["text"])
                else:
                    body = {"text": question, "stream": True}
                    with http.stream("POST", f"/v1/chats/{chat}/messages", json=body) as parts:
                        for line in parts.iter_lines():
                            if line.startswith("data: {") and "delta" not in (made := json.loads(line[6:])):
                                assert "error" not in made, made
                                told.messages[made["id"]] = (who, chat, question, made["text"])
                        told.requests.add(parts.headers["x-request-id"])
                edit = f"visitor {k} of {who} says: until six"
                asked("POST", f"/v1/messages/{made['id']}/feedback", thumb=-1, edit=edit)
                told.feedback[made["id"]] = (who, -1, edit)
                asked("PATCH", "/v1/memory", facts={f"visit_{k}": question})
                told.facts.setdefault(who, {})[f"visit_{k}"] = question


@pytest.mark.slow
def test_kill_9_of_a_whole_server_loses_nothing_that_was_acknowledged(tmp_path, capsys):
    shop, home = tmp_path / "shop", tmp_path / "home"
    new(shop)
    Bot.open(shop, tmp_path / "first.db")  # its intents are learned once, and read after that
    told, dead = Told(), threading.Event()
    with serving(shop, home) as (process, url), ThreadPoolExecutor(CALLERS) as pool:
        running = [pool.submit(talk, url, f"caller-{k}", told, dead) for k in range(CALLERS)]
        until(lambda: len(told.feedback) >= ENOUGH or any(one.done() for one in running), 200)
        process.kill()
        dead.set()
        for one in running:
            one.result()

    with serving(shop, home) as (_, url), httpx.Client(base_url=url, timeout=60) as http:
        for chat, who in told.chats.items():
            kept = http.get(f"/v1/chats/{chat}/messages", headers={"x-bottega-user": who})
            assert kept.status_code == 200, (chat, kept.text)
            lines = {(row["id"], row["role"], row["text"]) for row in kept.json()["data"]}
            turns = {row["turn"]: row["text"] for row in kept.json()["data"] if row["role"] == "user"}
            for number, (_, _, question, answer) in ((n, m) for n, m in told.messages.items() if m[1] == chat):
                assert (number, "bot", answer) in lines
                turn = next(row["turn"] for row in kept.json()["data"] if row["id"] == number)
                assert turns[turn] == question
        for who, facts in told.facts.items():
            assert facts.items() <= http.get("/v1/memory", headers={"x-bottega-user": who}).json()["facts"].items()
        said = http.post("/chat", json={"message": "when are you open?"}, headers={"x-bottega-user": "caller-0"})
        assert said.status_code == 200
        last = said.headers["x-request-id"]

    with Memory(shop / ".bot" / "state.db", "Fern").reads() as c:
        rated = {row.message: (row.thumb, row.edit) for row in c.execute(t.FEEDBACK.select())}
    assert {n: rated.get(n) for n in told.feedback} == {n: m[1:] for n, m in told.feedback.items()}
    assert told.requests | {last} <= {row.get("request") for row in read(home / "audit.jsonl")}
    assert len(told.requests) > 2 * ENOUGH
    assert len(told.messages) >= len(told.feedback) >= ENOUGH
    assert main(["log", "verify", "--home", str(home)]) == 0
    assert "is whole" in capsys.readouterr().out
