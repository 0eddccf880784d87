"""API keys: shown once, kept as argon2id hashes, with expiry, rotation and revocation.

A key is ``btg_<id>_<secret>``: the id, which is no secret, finds its row; the secret is 256 random bits. Argon2 (RFC 9106)
costs tens of milliseconds, so that a key which was right is remembered in memory by a keyed hash of it, and only that.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bottega.core import BottegaError
from bottega.core.errors import nearest
from bottega.serve import tables
from bottega.serve.roles import Caller, Role
from bottega.serve.state import State
from bottega.serve.users import ELEVATED, Conflict, Missing, Users, checked_name, checked_role, lesser

__all__ = ["ApiKey", "Known", "Keys", "NewKey", "RefusedKey"]

Signs = Literal["ed25519", "hmac-sha256"]
_FRESH = 1.0  # seconds for which a row is believed without looking again
_REMEMBERED = 10_000  # keys
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


@dataclass(frozen=True)
class NewKey:
    """A key at the only moment when it is whole.

    Attributes:
        id: its public part.
        key: what the caller sends as ``Authorization: Bearer``.
        signing: for keys that sign: base64 of the private Ed25519 key, or of the shared secret; else empty.
    """

    id: str
    key: str
    signing: str = ""


@dataclass(frozen=True)
class ApiKey:
    """What may be told of a key; times are seconds since 1970."""

    id: str
    name: str
    user: str | None
    role: Role
    created: float
    expires: float | None
    revoked: float | None
    rotated_to: str | None
    per_minute: int | None
    per_day: int | None
    signs_with: Signs | None

    def status(self, now: float) -> Literal["active", "expired", "revoked"]:
        """What it is good for at a moment."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


@dataclass(frozen=True)
class Known:
    """Who a key belongs to, and how they may ask.

    Attributes:
        caller: with the role that counts now.
        per_minute, per_day: limits of its own; None for the server's.
        second_factor: ``""``, or ``"wanted"`` where the caller is an admin who may act as one only with a code.
        name: of the key, which stays when it is rotated: what limits are counted by.
    """

    caller: Caller
    per_minute: int | None
    per_day: int | None
    second_factor: Literal["", "wanted"]
    name: str


class RefusedKey(BottegaError):
    """A key that opens nothing.

    Args:
        why: for the caller.
        code: for programs, ``invalid_api_key`` for example.
        guess: whether it may be an attempt at guessing, so that it counts for the lock-out.
    """

    def __init__(self, why: str, code: str, *, guess: bool = False) -> None:
        self.code, self.guess = code, guess
        super().__init__(why)


class Keys:
    """The API keys of a state.

    Args:
        state: where they are kept.
        clock: seconds since 1970.
        hasher: how they are hashed; argon2id at the library's own cost (RFC 9106, low memory) by default.
        all_admins: whether every admin needs a second factor, not only those who have one.
    """

    def __init__(
        self, state: State, clock: Callable[[], float] = time.time, hasher: PasswordHasher | None = None, *, all_admins: bool = False
    ) -> None:  # fmt: skip
        self.state, self.clock, self.all_admins = state, clock, all_admins
        self.hasher = hasher or PasswordHasher()
        self.users = Users(state, clock)
        self._pepper = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, str] = OrderedDict()
        self._rows: dict[str, tuple[float, Any]] = {}
        self._lock, self._hashing = threading.Lock(), threading.BoundedSemaphore(2)  # hashing takes 64 MiB each time

    # ---- making and ending -------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        role: str = "maker",
        *,
        user: str | None = None,
        seconds: float | None = None,
        per_minute: int | None = None,
        per_day: int | None = None,
        signs_with: str | None = None,
    ) -> NewKey:
        """A new key, shown once.

        Args:
            name: unique; a rotated key keeps it.
            role: at most that of the user.
            user: whose it is; without one the key stands for itself.
            seconds: until it expires; None: never.
            per_minute: requests; None: the server's own limit.
            per_day: requests; None: the server's own limit.
            signs_with: ``"ed25519"`` or ``"hmac-sha256"``, to sign requests.

        Raises:
            BottegaError: a value that cannot be, or a name that is taken.
        """
        row: dict[str, Any] = {"name": checked_name(name, "key"), "role": checked_role(role), "user": user}
        if user is not None:
            owner = self.users.get(user)
            if lesser(owner.role, row["role"]) != row["role"]:
                raise BottegaError(f"a key of {user} cannot be {role}, since {user} is {owner.role}; take that role")
        for what, value in (("per_minute", per_minute), ("per_day", per_day), ("seconds", seconds)):
            if value is not None and value <= 0:
                raise BottegaError(f"{what} is {value}; give a number above 0, or leave it out")
        if signs_with is not None and signs_with not in get_args(Signs):
            raise BottegaError(f"keys cannot sign with {signs_with!r}{nearest(signs_with, get_args(Signs))}")
        row |= {"per_minute": per_minute, "per_day": per_day, "signs_with": signs_with}
        new, made = self._made(row, seconds)
        with self.state.engine.begin() as db:
            live = sa.select(tables.keys.c.id).where(tables.keys.c.name == name, tables.keys.c.revoked.is_(None))
            if db.scalar(live) is not None:
                raise Conflict(f"there is a key called {name!r}; take another name, or bottega keys rotate {name}")
            db.execute(tables.keys.insert().values(**made))
        return new

    def rotate(self, name: str, *, overlap: float = 86_400.0, seconds: float | None = None) -> NewKey:
        """A new key in the place of an old one, which goes on for ``overlap`` seconds, so that nobody is shut out meanwhile.

        Args:
            name: of the key, or its id.
            overlap: seconds; 0 ends the old one at once.
            seconds: until the new one expires; None: as long as the old one was made for.

        Raises:
            BottegaError: there is no such active key.
        """
        if overlap < 0:
            raise BottegaError(f"overlap is {overlap}; give seconds, 0 or more")
        now = self.clock()
        old = next((k for k in reversed(self._named(name)) if k.status(now) == "active" and k.rotated_to is None), None)
        if old is None:
            raise Conflict(f"{name!r} has no active key to rotate; make one: bottega keys add NAME")
        keep = {c: getattr(old, c) for c in ("name", "role", "user", "per_minute", "per_day", "signs_with")}
        span = old.expires - old.created if seconds is None and old.expires is not None else seconds
        new, made = self._made(keep, span)
        end = min(now + overlap, old.expires or now + overlap)
        t = tables.keys
        with self.state.engine.begin() as db:
            done = db.execute(
                t.update()
                .where(t.c.id == old.id, t.c.rotated_to.is_(None), t.c.revoked.is_(None))
                .values(expires=end, rotated_to=new.id)
            )
            if done.rowcount != 1:
                raise Conflict(
                    f"{name!r} was rotated or revoked in this moment by someone else; look with bottega keys list"
                )
            db.execute(t.insert().values(**made))
        self._forget(old.id, wholly=False)
        return new

    def revoke(self, name: str) -> list[str]:
        """End all keys of a name, or one by its id, at once; returns their ids. Raises BottegaError for no such key."""
        now = self.clock()
        ended = [k.id for k in self._named(name) if k.revoked is None]
        with self.state.engine.begin() as db:
            db.execute(tables.keys.update().where(tables.keys.c.id.in_(ended)).values(revoked=now))
        for one in ended:
            self._forget(one)
        return ended

    def list(self) -> list[ApiKey]:
        """All that ever were, oldest first."""
        with self.state.reads.connect() as db:
            return [_api_key(row) for row in db.execute(sa.select(tables.keys).order_by(tables.keys.c.created))]

    def exist(self) -> bool:
        """Whether there ever was a key: from then on nobody comes in without one, also when all are revoked."""
        with self.state.reads.connect() as db:
            return db.scalar(sa.select(tables.keys.c.id).limit(1)) is not None

    # ---- asking ------------------------------------------------------------------------------------------------------

    def known(self, key: str) -> Known:
        """Who a key belongs to. Takes tens of milliseconds the first time, and next to nothing then.

        Raises:
            RefusedKey: unknown, wrong, expired, revoked, or of a disabled user.
        """
        print_ = hmac.digest(self._pepper, key.encode("utf-8", "replace"), "sha256")
        with self._lock:
            id_ = self._right.get(print_)
            if id_ is not None:
                self._right.move_to_end(print_)
        if id_ is None:
            id_ = self._verified(key)
            with self._lock:
                self._right[print_] = id_
                while len(self._right) > _REMEMBERED:
                    self._right.popitem(last=False)
        return self.by_id(id_)

    def remembers(self, key: str) -> bool:
        """Whether the key was right before, so that a lock-out of its address need not meet it."""
        with self._lock:
            return hmac.digest(self._pepper, key.encode("utf-8", "replace"), "sha256") in self._right

    def by_id(self, id_: str) -> Known:
        """Who a key belongs to that has proven itself: by its secret, or by a signature. Raises RefusedKey."""
        row = self._row(id_)
        now = self.clock()
        if row is None:
            raise RefusedKey(
                "there is no such API key; check it, or ask an admin for one", "invalid_api_key", guess=True
            )
        if row.revoked is not None:
            raise RefusedKey(f"the API key {id_} was revoked; ask an admin for a new one", "revoked_api_key")
        if row.expires is not None and row.expires <= now:
            then = f"; its successor is {row.rotated_to}" if row.rotated_to else ""
            raise RefusedKey(f"the API key {id_} has expired{then}; ask an admin for a new one", "expired_api_key")
        if row.disabled is not None:
            raise RefusedKey(f"the user {row.user} is disabled; ask an admin", "disabled_user")
        role: Role = row.role if row.user is None else lesser(row.role, row.user_role)
        wanted: Literal["", "wanted"] = ""
        elevated = row.elevated is not None and now < row.elevated <= now + ELEVATED
        if role == "admin" and (row.totp_since is not None or self.all_admins) and not elevated:
            role, wanted = "trainer", "wanted"
        who = f"user:{row.user}" if row.user else f"key:{row.name}"
        return Known(Caller(who, role, id_), row.per_minute, row.per_day, wanted, row.name)

    def elevate(self, id_: str, code: str) -> Known:
        """Let an admin act as one for 15 minutes by a code of their second factor. Raises Locked, BottegaError."""
        row = self._row(id_)
        if row is None or row.user is None:
            raise RefusedKey("this key belongs to no user, so it has no second factor; take one of a user's", "no_second_factor")  # fmt: skip
        self.users.check_code(row.user, code)
        with self.state.engine.begin() as db:
            db.execute(tables.keys.update().where(tables.keys.c.id == id_).values(elevated=self.clock() + ELEVATED))
        self._forget(id_, wholly=False)
        return self.by_id(id_)

    def signing(self, id_: str) -> tuple[Signs, bytes]:
        """How a key signs, and the public key or the shared secret; raises RefusedKey where it signs nothing."""
        row = self._row(id_)
        if row is None or row.signs_with is None:
            raise RefusedKey(
                f"the key {id_[:40]!r} is unknown or signs nothing; make one with bottega keys add NAME --signs ed25519",
                "invalid_signature", guess=row is None,
            )  # fmt: skip
        if row.signs_with == "ed25519":
            return "ed25519", bytes(row.signing)
        return "hmac-sha256", self.state.seal.open(bytes(row.signing), f"signing:{id_}")

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _made(self, row: dict[str, Any], seconds: float | None) -> tuple[NewKey, dict[str, Any]]:
        id_ = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        key = f"btg_{id_}_{secrets.token_urlsafe(32)}"
        shown, kept = "", None
        if row["signs_with"] == "ed25519":
            private = Ed25519PrivateKey.generate()
            raw = serialization.Encoding.Raw
            shown = base64.b64encode(
                private.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
            ).decode()
            kept = private.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
        elif row["signs_with"] == "hmac-sha256":
            secret = secrets.token_bytes(32)
            shown, kept = base64.b64encode(secret).decode(), self.state.seal.close(secret, f"signing:{id_}")
        now = self.clock()
        ends = None if seconds is None else now + seconds
        made = {**row, "id": id_, "hash": self.hasher.hash(key), "created": now, "expires": ends, "signing": kept}
        return NewKey(id_, key, shown), made

    def _verified(self, key: str) -> str:
        bad = RefusedKey("that API key is wrong; check it, or ask an admin for one", "invalid_api_key", guess=True)
        begin, id_, secret = (key.split("_", 2) + ["", ""])[:3]
        if begin != "btg" or not secret or len(key) > 200 or not key.isascii():
            raise bad
        row = self._row(id_)
        if row is None:
            raise bad
        try:
            with self._hashing:
                self.hasher.verify(row.hash, key)
        except (VerifyMismatchError, InvalidHashError):
            raise bad from None
        return id_

    def _row(self, id_: str) -> Any:
        """The row of a key with what counts of its user; up to a second old."""
        now = time.monotonic()
        with self._lock:
            at, row = self._rows.get(id_, (-1e9, None))
        if row is not None and now - at < _FRESH:
            return row
        k, u = tables.keys, tables.users
        query = sa.select(k, u.c.role.label("user_role"), u.c.disabled, u.c.totp_since).select_from(
            k.outerjoin(u, k.c.user == u.c.name)
        )
        with self.state.reads.connect() as db:
            row = db.execute(query.where(k.c.id == id_)).first()
        if row is not None:
            with self._lock:
                if len(self._rows) > _REMEMBERED:
                    self._rows.clear()
                self._rows[id_] = (now, row)
        return row

    def _forget(self, id_: str, *, wholly: bool = True) -> None:
        with self._lock:
            self._rows.pop(id_, None)
            if wholly:
                for print_ in [p for p, i in self._right.items() if i == id_]:
                    del self._right[print_]

    def forget(self) -> None:
        """Look at every key and user anew with the next request: something was changed here."""
        with self._lock:
            self._rows.clear()

    def _named(self, name: str) -> Sequence[ApiKey]:
        found = [k for k in self.list() if name in (k.name, k.id)]
        if not found:
            known = {k.name for k in self.list()}
            raise Missing(f"there is no key {name[:80]!r}{nearest(name, known) if known else '; there are none yet'}")
        return found


def _api_key(row: Any) -> ApiKey:
    return ApiKey(*(getattr(row, name) for name in ApiKey.__dataclass_fields__))
