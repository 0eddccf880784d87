"""The audit log: tampering is found, what was acknowledged survives kill -9, personal data stay out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bottega.core import BottegaError, DataError, OutputError
from bottega.serve.audit import Audit, read, verify
from bottega.serve.redact import prompt_of, redacted

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()


@pytest.fixture
def log(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl", KEY)
    for i in range(9):
        audit.record("request", path=f"/v1/{i}", status=200)
    audit.close()
    return tmp_path / "audit.jsonl"


def test_an_honest_log_is_whole(log):
    found = verify(log, PUBLIC)
    assert (found.lines, found.problems, found.signed) == (9, [], True)
    assert [r["path"] for r in read(log)] == [f"/v1/{i}" for i in range(9)]
    assert verify(log, PUBLIC, expect=(9, found.hash)).problems == []


def _lines(log):
    return log.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("what", "change", "said"),
    [
        ("edit", lambda n: [*n[:4], n[4].replace(b"200", b"500"), *n[5:]], "line 5 was changed"),
        ("edit of blanks", lambda n: [*n[:4], n[4].replace(b'"status":', b'"status": '), *n[5:]], "line 5 was changed"),
        ("delete", lambda n: n[:4] + n[5:], "line 5 does not follow line 4"),
        ("delete the first", lambda n: n[1:], "line 1 does not follow line 0"),
        ("reorder", lambda n: [*n[:3], n[4], n[3], *n[5:]], "line 4 does not follow line 3"),
        ("repeat", lambda n: [*n[:3], n[2], *n[3:]], "line 4 does not follow line 3"),
        ("cut off", lambda n: n[:-1], "ends at line 8, but 9 were written"),
        ("cut off to nothing", lambda n: [], "ends at line 0, but 9 were written"),
        ("torn", lambda n: [*n[:-1], n[-1][:20]], "line 9 is torn"),
        ("another word", lambda n: [*n[:4], b"{}\n", *n[5:]], "line 5"),
    ],
)
def test_tampering_is_found(log, what, change, said):
    log.write_bytes(b"".join(change(_lines(log))))
    found = verify(log, PUBLIC)
    assert any(said in problem for problem in found.problems), found
    if "cut" in what or what != "another word":
        with pytest.raises(BottegaError, match="audit log"):  # and a server does not go on with it
            Audit(log, KEY)


def test_a_chain_made_anew_needs_the_key(log, tmp_path):
    """Whoever rewrites all lines, hashes and the head is found out by the signature."""
    forger = Ed25519PrivateKey.generate()
    for name in (log, log.with_name("audit.jsonl.head")):
        name.unlink()
    audit = Audit(log, forger)
    for _ in range(9):
        audit.record("request", status=200)
    audit.close()
    assert verify(log, forger.public_key()).problems == []
    assert any("not signed" in p for p in verify(log, PUBLIC).problems)


def test_log_and_head_put_back_together_are_found_by_a_noted_hash(log):
    old = {p: p.read_bytes() for p in (log, log.with_name("audit.jsonl.head"))}
    audit = Audit(log, KEY)
    audit.record("request")
    audit.close()
    later = verify(log, PUBLIC)
    for path, data in old.items():
        path.write_bytes(data)
    assert verify(log, PUBLIC).problems == []  # by themselves they are consistent
    assert verify(log, PUBLIC, expect=(later.lines, later.hash)).problems


def test_no_head_no_file(log, tmp_path):
    log.with_name("audit.jsonl.head").unlink()
    assert any("no head" in p for p in verify(log, PUBLIC).problems)
    with pytest.raises(DataError):
        verify(tmp_path / "none")


def test_a_torn_head_leaves_the_other(log):
    head = log.with_name("audit.jsonl.head")
    data = bytearray(head.read_bytes())
    data[512:600] = b"x" * 88  # slot of odd numbers, the newest
    head.write_bytes(data)
    assert verify(log, PUBLIC).problems == []
    audit = Audit(log, KEY)
    audit.record("request")
    audit.close()
    assert verify(log, PUBLIC).lines == 10


def test_a_torn_line_that_was_never_acknowledged_is_mended(log):
    with log.open("ab") as file:
        file.write(b'{"n":10,"at":"20')
    assert verify(log, PUBLIC).problems
    audit = Audit(log, KEY)
    assert audit.record("request") == 10
    audit.close()
    assert verify(log, PUBLIC).problems == []
    assert verify(log, PUBLIC).lines == 10


def test_two_writers_share_one_chain(tmp_path):
    import threading

    a, b = Audit(tmp_path / "l", KEY), Audit(tmp_path / "l", KEY)
    threads = [threading.Thread(target=lambda w=w: [w.record("e") for _ in range(30)]) for w in (a, b, a, b)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    a.close()
    b.close()
    found = verify(tmp_path / "l", PUBLIC)
    assert (found.lines, found.problems) == (120, [])


def test_a_full_disk_is_told_to_who_waits_and_leaves_no_half_line(tmp_path, monkeypatch):
    from bottega.serve import audit as module

    log = Audit(tmp_path / "l", KEY)
    log.record("good")

    def full(file, data):
        os.write(file, data[:10])  # what a disk still had room for
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(OutputError, match="No space left"):
        log.record("lost")
    monkeypatch.undo()
    log.record("again")
    log.close()
    assert [r["event"] for r in read(tmp_path / "l")] == ["good", "again"]
    assert verify(tmp_path / "l", PUBLIC).problems == []


KILLED = """
import sys, threading
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from bottega.serve.audit import Audit
audit = Audit(Path(sys.argv[1]), Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
say = threading.Lock()
def work(who):
    for i in range(100000):
        n = audit.record("request", who=who, i=i, pad="x" * 300)
        with say:
            print(n, who, i, flush=True)
for who in range(4):
    threading.Thread(target=work, args=(who,)).start()
"""


def test_kill_9_loses_no_acknowledged_line(tmp_path):
    path = tmp_path / "log"
    acknowledged = []
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(0.4)
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].splitlines()
        acknowledged += [tuple(map(int, line.split())) for line in rest if len(line.split()) == 3][:-1]
    audit = Audit(path, KEY)  # mends a torn line
    audit.close()
    found = verify(path, PUBLIC)
    assert found.problems == []
    kept = {(r["n"], r["who"], r["i"]) for r in read(path)}
    assert len(acknowledged) > 50
    assert set(acknowledged) <= kept


def test_a_field_cannot_take_the_place_of_the_chain(tmp_path):
    audit = Audit(tmp_path / "l", KEY)
    for name in ("n", "at", "before", "hash"):
        with pytest.raises(ValueError, match=name):
            audit.submit("request", **{name: "0"})
    audit.record("request", other=1)
    audit.close()
    assert verify(tmp_path / "l", PUBLIC).problems == []


def test_long_lines_are_told_by_their_size(tmp_path):
    audit = Audit(tmp_path / "l", KEY)
    audit.record("request", prompt="x" * 100_000)
    audit.record("request", odd=object, surrogate="\ud800", none=None)
    audit.close()
    first, second = read(tmp_path / "l")
    assert first["left_out"] > 100_000
    assert "none" not in second
    assert verify(tmp_path / "l", PUBLIC).problems == []


PERSONAL = [
    "ann.lee@example.co.uk", "+49 30 1234567", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "192.168.178.23",
    "fe80:0:0:0:1:2:3:4", "btg_abcdefghijkl_0123456789abcdefghij", "sk-proj-abcdefghijklmnop", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    "12 Baker Street", "Hauptstraße 5", "123-45-6789",
]  # fmt: skip


@pytest.mark.parametrize("secret", PERSONAL)
def test_personal_data_and_secrets_stay_out_of_texts(secret):
    clean = redacted(f"Please note {secret} for later, thanks.")
    assert secret not in clean
    assert clean.startswith("Please note [")
    assert clean.endswith("thanks.")


@pytest.mark.parametrize("text", ["my password is hunter2", "password: hunter2!", "born on 3 May 1980", "postgres://me:hunter2@host/db"])  # fmt: skip
def test_what_is_said_to_be_secret(text):
    assert not any(word in redacted(text) for word in ("hunter2", "1980"))


@pytest.mark.parametrize("text", ["Write a poem about version 3.11.7 of the sea.", "At 12:30:45 the ratio was 3:2.", "Seeds 1-16, sigma 0.5, 1,000 steps", "The token that ends a line"])  # fmt: skip
def test_plain_texts_stay_as_they_are(text):
    assert redacted(text) == text


def test_what_straddles_the_end_is_not_half_told():
    for shift in range(60):
        text = "a" * (960 + shift) + " 4111 1111 1111 1111 and more"
        assert "4111" not in redacted(text, 1000)


def test_prompts_of_every_endpoint():
    assert prompt_of({"prompt": ["a", "b"]}) == "a\nb"
    assert prompt_of({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}) == "hi"
    assert prompt_of({"message": "hi"}) == "hi"
    for odd in (None, [], {"messages": "x"}, {"messages": [1]}, {"prompt": 5}, {"messages": []}):
        assert isinstance(prompt_of(odd), str)
    json.dumps(prompt_of({"prompt": "\ud800"}))
