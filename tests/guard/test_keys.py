"""Keys, users and the second factor."""

from __future__ import annotations

import base64
import time

import pyotp
import pytest
import sqlalchemy as sa

from bottega.core import BottegaError
from bottega.serve import keys as keys_module
from bottega.serve import tables, totp
from bottega.serve.keys import Keys, RefusedKey
from bottega.serve.lockout import FREE, Lockout
from bottega.serve.state import open_state
from bottega.serve.users import Locked

RFC = {"sha1": b"12345678901234567890", "sha256": b"12345678901234567890123456789012", "sha512": b"1234567890" * 6 + b"1234"}  # fmt: skip
VECTORS = [  # RFC 6238, appendix B
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


@pytest.mark.parametrize(("when", "sha1", "sha256", "sha512"), VECTORS)
def test_totp_vectors_of_rfc_6238(when, sha1, sha256, sha512):
    import hashlib

    for name, code in (("sha1", sha1), ("sha256", sha256), ("sha512", sha512)):
        secret = base64.b32encode(RFC[name]).decode()
        assert pyotp.TOTP(secret, digits=8, digest=getattr(hashlib, name)).at(when) == code
    ours = base64.b32encode(RFC["sha1"]).decode()
    assert (
        totp.code_at(ours, when) == sha1[-6:]
    )  # six digits are the last of eight: the number is taken modulo ten to the n
    assert totp.step_of(ours, sha1[-6:], when) == when // 30


def test_a_code_counts_for_its_step_and_the_next_ones_once():
    secret, now = totp.new_secret(), 1_800_000_015
    code = totp.code_at(secret, now)
    step = now // 30
    assert [totp.step_of(secret, code, now + d) for d in (-60, -30, 0, 30, 60)] == [None, step, step, step, None]
    assert totp.step_of(secret, f" {code[:3]} {code[3:]} ", now) == step
    assert totp.step_of(secret, code, now, after=step) is None
    for wrong in ("", "12345", "1234567", "abcdef", "１２３４５６", code + "0"):
        assert totp.step_of(secret, wrong, now) is None


def test_a_key_is_shown_once_and_kept_as_an_argon2_hash(state, keys, tmp_path):
    new = keys.add("phone", "maker")
    assert keys.known(new.key).caller.role == "maker"
    assert keys.known(new.key).caller.id == "key:phone"
    with state.engine.connect() as db:
        assert db.scalar(sa.select(tables.keys.c.hash)).startswith("$argon2id$")
    secret = new.key.split("_", 2)[2].encode()
    assert all(secret not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_right_key_pays_for_argon2_once(keys, monkeypatch):
    new = keys.add("phone")
    calls = []
    monkeypatch.setattr(keys, "hasher", type("H", (), {"verify": lambda _, h, k: calls.append(k)})())
    for _ in range(5):
        keys.known(new.key)
    assert len(calls) == 1
    assert keys.remembers(new.key)
    assert not keys.remembers(new.key + "x")
    assert new.key.encode() not in b"".join(keys._right)  # by a keyed hash, not as it is


@pytest.mark.parametrize("key", ["", "x", "btg", "btg_", "btg_a_b", "sk-12345", "btg_{id}_", "btg_{id}_wrong", "BTG_{id}_x", "btg_{id}_é", "btg_{id}_" + "x" * 5000])  # fmt: skip
def test_wrong_keys(keys, key):
    new = keys.add("phone")
    with pytest.raises(RefusedKey) as refused:
        keys.known(key.replace("{id}", new.id))
    assert refused.value.code == "invalid_api_key"
    assert refused.value.guess


def test_expired_revoked_disabled(keys, clock):
    short, ended = keys.add("short", seconds=60), keys.add("ended")
    keys.users.add("ann", "maker")
    hers = keys.add("hers", user="ann")
    for new in (short, ended, hers):
        keys.known(new.key)
    clock.now += 60
    assert keys.revoke("ended") == [ended.id]
    keys.users.change("ann", disabled=True)
    keys.forget()
    for new, code in ((short, "expired_api_key"), (ended, "revoked_api_key"), (hers, "disabled_user")):
        with pytest.raises(RefusedKey) as refused:
            keys.known(new.key)
        assert (refused.value.code, refused.value.guess) == (code, False)
    keys.users.change("ann", disabled=False)
    keys.forget()
    assert keys.known(hers.key).caller.id == "user:ann"
    keys.users.remove("ann")
    keys.forget()
    with pytest.raises(RefusedKey):
        keys.known(hers.key)


def test_what_another_process_revokes_is_refused_within_a_second(tmp_path, keys, clock, monkeypatch):
    new = keys.add("phone")
    keys.known(new.key)
    Keys(open_state(tmp_path / "state.db"), clock).revoke("phone")
    real = time.monotonic
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: real() + 1.01)
    with pytest.raises(RefusedKey, match="revoked"):
        keys.known(new.key)


def test_rotation_overlaps_then_ends_the_old_key(keys, clock):
    old = keys.add("phone", "trainer", seconds=1000, per_day=7, signs_with="hmac-sha256")
    new = keys.rotate("phone", overlap=100)
    assert new.signing != old.signing
    was, now = keys.known(old.key), keys.known(new.key)
    assert (was.caller.id, was.caller.role, was.per_day) == (now.caller.id, now.caller.role, now.per_day)
    assert next(k for k in keys.list() if k.id == new.id).expires == clock.now + 1000  # as long as the old one had
    clock.now += 100
    with pytest.raises(RefusedKey, match=f"expired; its successor is {new.id}"):
        keys.known(old.key)
    keys.known(new.key)
    third = keys.rotate(new.id, overlap=0)
    with pytest.raises(RefusedKey):
        keys.known(new.key)
    keys.known(third.key)
    assert set(keys.revoke("phone")) == {old.id, new.id, third.id}
    with pytest.raises(BottegaError, match="no active key"):
        keys.rotate("phone")


def test_keys_never_gone_means_never_open_again(keys):
    assert not keys.exist()
    keys.add("phone")
    keys.revoke("phone")
    assert keys.exist()


def test_a_key_may_no_more_than_its_user(keys):
    keys.users.add("ann", "maker")
    with pytest.raises(BottegaError, match="since ann is maker"):
        keys.add("hers", "trainer", user="ann")
    keys.users.change("ann", role="trainer")
    new = keys.add("hers", "trainer", user="ann")
    keys.users.change("ann", role="viewer")
    keys.forget()
    assert keys.known(new.key).caller.role == "viewer"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a b",), "no name of a key"),
        (("../x",), "no name of a key"),
        (("x", "boss"), "no role 'boss'"),
        (("taken",), "there is a key called"),
    ],
)
def test_bad_names_and_roles(keys, arguments, said):
    keys.add("taken")
    with pytest.raises(BottegaError, match=said):
        keys.add(*arguments)


def test_bad_numbers(keys):
    for bad in ({"per_day": 0}, {"per_minute": -1}, {"seconds": 0}, {"signs_with": "rsa"}, {"user": "nobody"}):
        with pytest.raises(BottegaError):
            keys.add("x", **bad)
    assert keys.list() == []


def _admin(keys, clock):
    keys.users.add("ann", "admin")
    new = keys.add("hers", "admin", user="ann")
    secret, uri = keys.users.begin_second_factor("ann")
    assert uri.startswith("otpauth://totp/Bottega:ann?")
    keys.users.confirm_second_factor("ann", totp.code_at(secret, clock.now))
    clock.now += 30
    keys.forget()
    return new, secret


def test_an_admin_acts_as_one_only_with_the_second_factor(keys, clock, state):
    new, secret = _admin(keys, clock)
    before = keys.known(new.key)
    assert (before.caller.role, before.second_factor) == ("trainer", "wanted")
    code = totp.code_at(secret, clock.now)
    after = keys.elevate(new.id, code)
    assert (after.caller.role, after.second_factor) == ("admin", "")
    with pytest.raises(BottegaError, match="used already"):
        keys.elevate(new.id, code)
    clock.now += 901
    assert keys.known(new.key).caller.role == "trainer"
    with state.engine.connect() as db:
        assert secret.encode() not in db.scalar(sa.select(tables.users.c.totp))


def test_an_unconfirmed_second_factor_is_not_asked_for(keys):
    keys.users.add("ann", "admin")
    new = keys.add("hers", "admin", user="ann")
    keys.users.begin_second_factor("ann")
    assert keys.known(new.key).caller.role == "admin"
    keys.all_admins = True
    assert keys.known(new.key).second_factor == "wanted"


def test_guessing_codes_locks_longer_each_time(keys, clock):
    new, secret = _admin(keys, clock)
    locks = []
    for _ in range(FREE + 3):
        with pytest.raises(BottegaError):
            keys.elevate(new.id, "000000")
        left = keys.users.lockout.left("totp:ann")
        locks.append(left)
        clock.now += left
    assert locks == [0, 0, 0, 0, 2, 4, 8, 16]
    with pytest.raises(BottegaError):
        keys.elevate(new.id, "000000")
    with pytest.raises(Locked, match="locked for 32 seconds"):  # the right one neither, while it lasts
        keys.elevate(new.id, totp.code_at(secret, clock.now))
    clock.now += 33
    keys.elevate(new.id, totp.code_at(secret, clock.now))
    assert keys.users.lockout.left("totp:ann") == 0


def test_lockout_survives_a_restart_has_a_ceiling_and_forgets(state, clock, tmp_path):
    lockout = Lockout(state, clock)
    for _ in range(40):
        lock = lockout.failed("address:10.0.0.1")
    assert lock == 900
    assert Lockout(open_state(tmp_path / "state.db"), clock).left("address:10.0.0.1") == 900
    assert lockout.left("address:10.0.0.2") == 0
    clock.now += 3601
    assert lockout.failed("address:10.0.0.1") == 0
