"""The server as callers meet it: load, callers who go, stopping, and bad input."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bottega.cli import main
from bottega.core import RecipeError
from bottega.serve.settings import Settings
from serving import running, until


def error(answer, status, *words):
    """The error of an answer, in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    told = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    for word in words:
        assert word in told["message"]
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"]
    return told


COMPLETE, PIECES = "/v1/completions", "/v1/pieces"
LONG = {"299": -100, "256": -100}  # no end, so that a text takes as long as it may


def test_mistakes_are_told(http):
    as_json = {"Content-Type": "application/json"}
    error(http.post(COMPLETE, content=b'{"model": ', headers=as_json), 400, "not JSON")
    error(http.post(COMPLETE, content=b"\xff\xfe", headers=as_json), 400)
    error(http.post(COMPLETE, content=b'{"model": "fox"}'), 400, "Content-Type: application/json")
    error(http.post(COMPLETE, json=[]), 400)
    assert error(http.post(COMPLETE, json={"model": "nobody"}), 404, "codes, digits, fox")["code"] == "model_not_found"
    for name in ("../../etc/passwd", "..%2Ffox", "fox/../fox", "/etc", "fox\x00", "."):
        error(http.post(COMPLETE, json={"model": name}), 404)
    error(http.get("/v1/models/..%2F..%2Fetc"), 404)
    for body, param in (
        ({"temperature": "hot"}, "temperature"), ({"n": 0}, "n"), ({"n": 1e9}, "n"), ({"max_tokens": -1}, "max_tokens"), ({"seed": -1}, "seed"),
        ({"seed": 2**70}, "seed"), ({"prompt": {"a": 1}}, "prompt"), ({"tempratur": 1}, "tempratur"), ({"stop": [1]}, "stop"), ({"top_p": 0}, "top_p"),
    ):  # fmt: skip
        told = error(http.post(COMPLETE, json={"model": "fox", **body}), 400)
        assert told["param"].startswith(param)
    error(http.post(COMPLETE, content=b'{"model": "fox", "temperature": NaN}', headers=as_json), 400)
    error(http.post(COMPLETE, json={"model": "fox", "stop": ""}), 400, "empty string")
    error(http.post(COMPLETE, json={"model": "fox", "prompt": [1, 99999]}), 400, "token 99999")
    error(http.post(COMPLETE, json={"model": "fox", "prompt": "the " * 2000}), 400, "room for")
    error(http.post(COMPLETE, json={"model": "fox", "max_tokens": 100000}), 400, "room for")
    error(http.post(COMPLETE, json={"model": "digits"}), 400, "has no 'complete'", "fox")
    error(http.post(COMPLETE, json={"model": "fox", "logit_bias": {"x": 1}}), 400, "logit_bias")
    error(http.post(COMPLETE, json={"model": "fox", "condition": "a"}), 400, "trained without conditions")
    error(http.get(COMPLETE), 405)
    error(http.get("/nowhere"), 404)
    chat = "/v1/chat/completions"
    error(http.post(chat, json={"model": "fox", "messages": []}), 400)
    error(http.post(chat, json={"model": "fox", "messages": [{"role": "user", "content": ""}]}), 400, "empty")
    error(http.post(chat, json={"model": "fox", "messages": [{"role": "king", "content": "x"}]}), 400)
    error(
        http.post(chat, json={"model": "fox", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        400,
        "text",
    )
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nonsense"}}}
    error(http.post(chat, json={"model": "fox", "messages": [{"role": "user", "content": "x"}], "response_format": form}), 400)  # fmt: skip
    error(http.post(PIECES, json={"model": "digits", "knobs": {"stepz": 3}}), 400, "stepz")
    error(http.post(PIECES, json={"model": "digits", "condition": "eleven"}), 400, "eleven")
    error(http.post(PIECES, json={"model": "codes", "condition": "1"}), 400, "without conditions")
    error(http.post(PIECES, json={"model": "digits", "condition": {"path": "/etc/passwd"}}), 400)
    error(http.post(PIECES, json={"model": "digits", "n": 4000}), 400, "at most")
    error(http.post(PIECES, json={"model": "digits", "n": 2, "seeds": [1, 2, 3]}), 400, "3 seeds")
    error(http.post(PIECES, json={"model": "digits", "format": "../../x"}), 400, "written as")
    error(http.post("/v1/pieces/edit", json={"model": "digits", "piece": {"data": "/etc/passwd"}}), 400, "base64")
    error(http.post("/v1/pieces/edit", json={"model": "digits", "piece": {"data": "aGVsbG8="}}), 400, "no picture")
    error(
        http.post("/v1/pieces/between", json={"model": "digits", "first": {"seed": 1}, "last": {"seed": 2}}),
        400,
        "no 'encode'",
    )
    error(
        http.post("/v1/pieces/between", json={"model": "codes", "first": {}, "last": {"seed": 2}}),
        400,
        "a seed or a piece",
    )
    error(http.post("/v1/images/generations", json={"model": "fox", "prompt": "1"}), 400, "no 'image'")
    error(http.post("/v1/images/edits", data={"model": "digits"}), 400, "image")


def test_a_body_that_is_too_large_is_not_read(http, server):
    error(http.post(COMPLETE, content=b"x" * (50 << 20)), 413, "larger than")

    def parts():
        for _ in range(50):
            yield b"x" * (1 << 20)

    error(http.post(COMPLETE, content=parts()), 413)  # without a length
    assert http.get("/healthz").status_code == 200


def test_pieces_of_every_kind(http):
    asked = {"model": "digits", "seeds": [3, 4, 5], "condition": "2", "knobs": {"steps": 2}}
    three = http.post(PIECES, json=asked).json()["pieces"]
    one = http.post(PIECES, json={**asked, "seeds": [4]}).json()["pieces"][0]
    assert three[1]["data"] == one["data"]
    assert (one["seed"], one["condition"], one["media_type"], one["encoding"]) == (4, "2", "image/png", "base64")
    told = one["provenance"]
    assert set(told) == {"model_sha256", "data_sha256", "recipe", "seed", "caller", "made_at"}
    edited = http.post("/v1/pieces/edit", json={"model": "digits", "piece": one, "seed": 9, "condition": "2"}).json()
    assert edited["pieces"][0]["seed"] == 9
    text = http.post(PIECES, json={"model": "fox", "seed": 1}).json()["pieces"][0]
    assert (text["media_type"], text["encoding"]) == ("text/plain", "utf-8")
    more = http.post("/v1/pieces/edit", json={"model": "fox", "piece": {"data": "the quick"}, "seed": 1}).json()
    assert more["pieces"][0]["data"].startswith("the quick")
    way = http.post(
        "/v1/pieces/between", json={"model": "codes", "first": {"seed": 1}, "last": {"seed": 2}, "n": 5}
    ).json()["pieces"]
    back = http.post(
        "/v1/pieces/between", json={"model": "codes", "first": {"seed": 2}, "last": {"seed": 1}, "n": 5}
    ).json()["pieces"]
    assert len(way) == 5
    assert way[0]["data"] == back[4]["data"]
    assert all(p["provenance"]["seed"] is None for p in way)


def test_pieces_asked_for_at_once_are_made_together(http, server):
    engine = server.models.all["digits"].oneshot
    before, made = engine.batches, engine.pieces
    asked = [{"model": "digits", "seed": s, "condition": str(s % 10), "knobs": {"steps": 4}} for s in range(24)]
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda body: http.post(PIECES, json=body).json()["pieces"][0], asked))
    assert engine.pieces - made == 24
    assert engine.batches - before < 20
    for k in (0, 13):
        assert http.post(PIECES, json=asked[k]).json()["pieces"][0]["data"] == found[k]["data"]


def test_pages_for_people_and_programs(http):
    page = http.get("/docs")
    assert page.status_code == 200
    assert "/v1/chat/completions" in page.text
    assert "http://" not in page.text.replace(str(http.base_url).rstrip("/"), "")
    assert "<script" not in page.text
    document = http.get("/openapi.json").json()
    assert {COMPLETE, PIECES, "/v1/embeddings", "/v1/audio/speech"} <= set(document["paths"])
    assert http.get("/readyz").json() == {"status": "ready"}
    assert http.get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert http.get("/healthz", headers={"X-Request-Id": "a b"}).headers["x-request-id"] != "a b"


def test_a_caller_who_goes_is_not_written_for(http, server):
    text = server.models.all["fox"].text
    body = {"model": "fox", "prompt": "the", "max_tokens": 450, "stream": True, "logit_bias": LONG}
    for stream in (True, False):
        data = json.dumps(body | {"stream": stream}).encode()
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\n\r\n%s" % (len(data), data))  # fmt: skip
            until(lambda: text.running)
        until(lambda: not text.running, 5)
        assert text.reader.pages.blocks == 0
        until(lambda: not server.models.busy, 5)


def test_too_late_is_504(served):
    with (
        running(runs=(str(served["fox"]),), deadline=0.05) as made,
        httpx.Client(base_url=made.url, timeout=20) as http,
    ):
        told = error(http.post(COMPLETE, json={"model": "fox", "max_tokens": 500, "logit_bias": LONG}), 504, "0.05 s")
        assert told["type"] == "timeout_error"
        until(lambda: not made.models.busy)
        assert made.models.all["fox"].text.reader.pages.blocks == 0


def test_two_hundred_clients_are_answered_or_sent_away(served):
    """Nothing but 200 and 429, no answer lost or mixed up, pages back, memory bounded."""
    import psutil

    with running(runs=(str(served["fox"]),), queue=24, rows=16) as made:
        url, process = made.url, psutil.Process()
        prompts = [f"the {word}" for word in ("quick", "brown", "fox", "lazy")]
        known: dict[tuple[str, int], str] = {}
        counts, wrong, lock, peak = Counter(), [], threading.Lock(), [0]
        with httpx.Client(base_url=url, timeout=60, limits=httpx.Limits(max_connections=250)) as http:
            for prompt in prompts:
                for seed in range(3):
                    known[prompt, seed] = http.post(COMPLETE, json={"model": "fox", "prompt": prompt, "seed": seed, "max_tokens": 12}).json()["choices"][0]["text"]  # fmt: skip
            before = process.memory_info().rss

            def one(k):
                for turn in range(2):
                    key = prompts[(k + turn) % 4], (k * 7 + turn) % 3
                    answer = http.post(
                        COMPLETE, json={"model": "fox", "prompt": key[0], "seed": key[1], "max_tokens": 12}
                    )
                    with lock:
                        counts[answer.status_code] += 1
                        if answer.status_code == 200 and answer.json()["choices"][0]["text"] != known[key]:
                            wrong.append(key)
                        if answer.status_code == 429:
                            assert 1 <= int(answer.headers["retry-after"]) <= 60
                        peak[0] = max(peak[0], process.memory_info().rss)

            with ThreadPoolExecutor(200) as pool:
                list(pool.map(one, range(200)))
        assert set(counts) <= {200, 429}
        assert counts.total() == 400
        assert counts[200] >= 40
        assert counts[429] > 0
        assert not wrong
        assert peak[0] - before < 400 << 20
        assert made.models.all["fox"].text.reader.pages.blocks == 0
        assert made.models.busy == 0


def test_models_are_loaded_and_unloaded_within_memory(served):
    paths = tuple(str(served[name]) for name in ("fox", "digits", "codes"))
    with running(runs=paths, warm=False) as made, httpx.Client(base_url=made.url, timeout=60) as http:
        assert [m["loaded"] for m in http.get("/v1/models").json()["data"]] == [False] * 3
        assert http.post("/v1/models/fox/load").json()["loaded"]
        size = made.models.all["fox"].bytes
        object.__setattr__(made.models.settings, "memory", size + (1 << 20))
        for name in ("digits", "codes"):  # each makes room by what was not used for longest
            made.models.all[name].bytes = size // 2 if name == "digits" else size
            assert (
                http.post(
                    PIECES, json={"model": name, "seed": 1, "knobs": {"steps": 1} if name == "digits" else {}}
                ).status_code
                == 200
            )
        assert not made.models.all["fox"].run
        object.__setattr__(made.models.settings, "memory", 100)
        error(http.post(COMPLETE, json={"model": "fox"}), 503, "--memory")
        object.__setattr__(made.models.settings, "memory", 1 << 30)
        made.models.all["digits"].users += 1
        error(http.post("/v1/models/digits/unload"), 503, "in use")
        made.models.all["digits"].users -= 1
        assert http.post(COMPLETE, json={"model": "fox", "max_tokens": 3}).status_code == 200


def test_sigterm_lets_what_runs_end(served, tmp_path):
    """A real process: the running stream ends whole, what is new gets 503, the exit is clean, the start takes seconds."""
    command = [sys.executable, "-m", "bottega", "serve", str(served["fox"]), "--port", "0", "--home", str(tmp_path)]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        line = process.stdout.readline()
        assert time.monotonic() - began < 60
        assert "serves fox" in line
        url = line.split()[0]
        body = {"model": "fox", "prompt": "the", "max_tokens": 400, "stream": True, "logit_bias": LONG, "seed": 1}
        with httpx.Client(base_url=url, timeout=60) as http:
            parts, signalled, refused = 0, False, None
            with http.stream("POST", COMPLETE, json=body) as answer:
                for row in answer.iter_lines():
                    if not row.startswith("data: {"):
                        continue
                    parts += 1
                    finish = json.loads(row[6:])["choices"][0]["finish_reason"]
                    if not signalled:
                        signalled = True
                        process.send_signal(signal.SIGTERM)
                    elif refused is None:
                        refused = httpx.post(f"{url}{COMPLETE}", json=body)
            assert finish == "length"
            assert parts > 100  # it went on to its end
            told = error(refused, 503, "being stopped")
            assert told["code"] == "draining"
            assert refused.headers["retry-after"] == "5"
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_settings_and_the_verb_say_what_is_wrong(tmp_path, capsys, served):
    with pytest.raises(RecipeError, match="certificate"):
        Settings(tls_cert=tmp_path)
    assert main(["serve"]) == 2
    assert "name a run" in capsys.readouterr().err
    assert main(["serve", str(tmp_path)]) == 2
    assert "no run at" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", str(served["fox"]), "--home", str(tmp_path), "--port", str(taken.getsockname()[1])]) == 2
        assert "cannot listen" in capsys.readouterr().err


def test_a_missing_extra_is_one_line(monkeypatch, capsys, served, tmp_path):
    for name in [n for n in sys.modules if n.startswith(("bottega.serve", "fastapi"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", str(served["fox"]), "--home", str(tmp_path)]) == 2
    assert "pip install 'bottega[serve]'" in capsys.readouterr().err
