"""``bottega keys``, ``users`` and ``log``: what they do to the state that a server uses, and what they say to slips."""

from __future__ import annotations

import json
import os

import pytest

from bottega.cli._app import verbs
from bottega.serve import totp
from bottega.serve.keys import Keys, RefusedKey
from bottega.serve.seal import new_master_key
from bottega.serve.state import open_state


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def keys(home):
    return lambda: Keys(open_state(home / "serve.sqlite"))


def test_a_key_from_its_making_to_its_end(call, home, keys):
    told = call("keys", "add", "phone", "--role", "trainer", "--days", "30", "--home", home)
    assert told.status == 0, told.err
    key = told.out.strip()
    assert keys().known(key).caller.role == "trainer"
    assert key not in call("keys", "list", "--home", home).out
    assert call("keys", "list", "--home", home, "--json").json["keys"][0]["status"] == "active"
    new = call("keys", "rotate", "phone", "--overlap-hours", "1", "--home", home, "--json").json
    assert keys().known(new["key"]).caller == keys().known(key).caller.__class__("key:phone", "trainer", new["id"])
    assert len(call("keys", "revoke", "phone", "--home", home, "--json").json["revoked"]) == 2
    for one in (key, new["key"]):
        with pytest.raises(RefusedKey):
            keys().known(one)
    assert "no active keys" in call("keys", "list", "--home", home).out
    assert len(call("keys", "list", "--all", "--home", home, "--json").json["keys"]) == 2
    lines = call("log", "show", "--home", home, "--json").json["lines"]
    assert [line["event"] for line in lines] == ["key added", "key rotated", "key revoked"]
    assert lines[0]["by"].startswith("shell")
    assert call("log", "verify", "--home", home).status == 0


def test_users_and_their_second_factor(call, home, keys):
    assert call("users", "add", "ann", "--role", "admin", "--home", home).status == 0
    key = call("keys", "add", "hers", "--role", "admin", "--user", "ann", "--home", home, "-q").out.strip()
    secret = call("users", "totp", "ann", "--home", home, "--json").json["secret"]
    assert keys().known(key).caller.role == "admin"
    assert call("users", "totp", "ann", "--confirm", "000000", "--home", home).status == 2
    import time

    assert call("users", "totp", "ann", "--confirm", totp.code_at(secret, time.time()), "--home", home).status == 0
    assert keys().known(key).second_factor == "wanted"
    assert call("users", "list", "--home", home, "--json").json["users"][0]["second_factor"] is True
    assert call("users", "totp", "ann", "--remove", "--home", home).status == 0
    assert call("users", "change", "ann", "--role", "viewer", "--home", home).status == 0
    assert keys().known(key).caller.role == "viewer"
    assert call("users", "change", "ann", "--disable", "--home", home).status == 0
    with pytest.raises(RefusedKey):
        keys().known(key)
    assert call("users", "remove", "ann", "--home", home).status == 0
    assert call("users", "list", "--home", home).out == "there are no users\n"


def test_a_log_that_was_changed_is_found(call, home):
    for name in ("a", "b", "c"):
        call("keys", "add", name, "--home", home)
    log = home / "audit.jsonl"
    noted = call("log", "verify", "--home", home).out.splitlines()[-1]
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"of":"b"', b'"of":"x"'))
    told = call("log", "verify", "--home", home, "--json")
    assert (told.status, told.json["whole"]) == (1, False)
    assert "line 2 was changed" in told.json["problems"][0]
    assert call("keys", "add", "d", "--home", home).status == 2  # nobody goes on with it
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    assert "cut off" in call("log", "verify", "--home", home).out
    log.write_bytes(whole)
    assert call("log", "verify", "--home", home, "--expect", noted).status == 0
    assert call("log", "verify", "--home", home, "--expect", f"4:{'0' * 64}").status == 1
    told = call("log", "verify", log, "--home", home / "elsewhere", "--json")
    assert (told.status, told.json["signed"]) == (0, False)


def test_incidents_lead_to_the_weights_and_are_closed(call, home, tmp_path):
    piece = tmp_path / "piece.txt"
    piece.write_text("made")
    piece.with_name("piece.txt.meta.json").write_text(
        json.dumps({"machine_made": "true", "weights": "ab12", "seed": "7"})
    )
    told = call(
        "log", "incident", "It repeats a poem", "--severity", "high", "--piece", piece, "--home", home, "--json"
    ).json
    assert (told["piece"]["weights"], told["piece"]["seed"], told["status"]) == ("ab12", "7", "open")
    assert call("log", "incident", "--id", told["id"], "--status", "fixed", "--home", home).status == 2
    done = call("log", "incident", "--id", told["id"], "--status", "fixed", "--note", "trained again", "--home", home)
    assert done.status == 0
    found = call("log", "incidents", "--home", home, "--json").json["incidents"]
    assert [(i["status"], [s["note"] for s in i["steps"]]) for i in found] == [("fixed", ["trained again"])]
    assert "no incidents" in call("log", "incidents", "--status", "open", "--home", home).out


def test_files_are_sealed_and_a_wrong_key_opens_nothing(call, tmp_path):
    key, other, plain = tmp_path / "m.key", new_master_key(tmp_path / "o.key"), tmp_path / "plain"
    plain.write_bytes(os.urandom(100))
    assert call("keys", "master", key).status == 0
    assert call("keys", "seal", plain, "--master-key", key).status == 0
    closed = tmp_path / "plain.sealed"
    assert plain.read_bytes() not in closed.read_bytes()
    assert call("keys", "unseal", closed, "--master-key", key).status == 2  # plain is there still
    told = call("keys", "unseal", closed, "--out", tmp_path / "again", "--master-key", other)
    assert told.status == 2
    assert "another master key" in told.err
    assert call("keys", "unseal", closed, "--out", tmp_path / "again", "--master-key", key).status == 0
    assert (tmp_path / "again").read_bytes() == plain.read_bytes()
    assert call("keys", "tls", tmp_path / "tls").status == 0


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["keys", "list"], "there is no state at"),
        (["keys", "revoke", "x"], "there is no state at"),
        (["keys", "add", "x", "--role", "boss"], "no role 'boss'"),
        (["keys", "add", "../x"], "no name of a key"),
        (["keys", "add", "x", "--user", "nobody"], "there is no user 'nobody'"),
        (["keys", "add", "x", "--days", "0"], "above 0"),
        (["keys", "add", "x", "--state", "mysql://h/d"], "cannot be kept in 'mysql'"),
        (["keys", "seal", "none", "--master-key", "none.key"], "cannot read the master key"),
        (["keys", "seal", "none"], "a master key is wanted"),
        (["keys", "lsit"], "did you mean 'list'?"),
        (["log", "show"], "cannot read the log"),
        (["log", "verify", "--expect", "x"], "--expect is 'x'"),
        (["log", "verify", "--key", "zz"], "no public key"),
        (["log", "incident"], "give a title"),
    ],
)
def test_a_slip_is_one_line_with_the_mend(call, home, args, hint, monkeypatch, tmp_path):
    monkeypatch.delenv("BOTTEGA_MASTER_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    told = call(*args)
    assert told.status == 2
    assert told.err.count("\n") == 1
    assert hint in told.err


@pytest.mark.parametrize("task", [(v, t) for v in ("keys", "users", "log") for t in verbs(f"_{v}")])
def test_each_task_explains_itself(call, task):
    told = call(*task, "--help")
    assert told.status == 0
    assert all(line.strip().startswith("bottega ") for line in told.out.split("Examples:")[1].strip().splitlines())
    assert "--json" in told.out
    assert "--quiet" in told.out
    assert max(map(len, told.out.splitlines())) <= 120
