"""Users: a name, a role that no key of theirs can go beyond, and a second factor."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, get_args

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bottega.core import BottegaError
from bottega.core.errors import nearest
from bottega.serve import tables, totp
from bottega.serve.lockout import Lockout
from bottega.serve.roles import PERMISSIONS, Role
from bottega.serve.state import State

__all__ = ["Conflict", "Locked", "Missing", "User", "Users", "checked_name", "checked_role", "lesser"]

ELEVATED = 900.0  # seconds for which a code of the second factor counts
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


@dataclass(frozen=True)
class User:
    """One user.

    Attributes:
        name: unique.
        role: the most that their keys may do.
        created: seconds since 1970.
        disabled: whether nothing of theirs is let in.
        second_factor: whether a code is asked for.
    """

    name: str
    role: Role
    created: float
    disabled: bool
    second_factor: bool


class Missing(BottegaError):
    """What was named is not there."""


class Conflict(BottegaError):
    """What is asked for cannot be as things stand."""


class Locked(BottegaError):
    """Too many failures; says for how many seconds nothing is tried."""

    def __init__(self, what: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"too many failures: {what} is locked for {max(1, round(seconds))} seconds; wait and try again"
        )


def checked_name(name: str, what: str = "user") -> str:
    """The name; raises BottegaError for one that would be trouble in files, logs and headers."""
    if not _NAME.fullmatch(name):
        raise BottegaError(f"{name[:80]!r} is no name of a {what}; take letters, digits and . _ @ + -, at most 64")
    return name


def checked_role(role: str) -> Role:
    """The role; raises BottegaError for another word."""
    if role not in get_args(Role):
        raise BottegaError(f"there is no role {role[:80]!r}{nearest(role, get_args(Role))}")
    return cast(Role, role)


def lesser(one: Role, other: Role) -> Role:
    """The role that may less.

    >>> lesser("admin", "maker")
    'maker'
    """
    return one if PERMISSIONS[one] <= PERMISSIONS[other] else other


class Users:
    """The users of a state.

    Args:
        state: where they are kept.
        clock: seconds since 1970.
    """

    def __init__(self, state: State, clock: Callable[[], float] = time.time) -> None:
        self.state, self.clock = state, clock
        self.lockout = Lockout(state, clock)

    def add(self, name: str, role: str = "maker") -> User:
        """A new user; raises BottegaError for a bad name or role, or a name that is taken."""
        row = {"name": checked_name(name), "role": checked_role(role), "created": self.clock()}
        try:
            with self.state.engine.begin() as db:
                db.execute(tables.users.insert().values(**row))
        except IntegrityError as error:
            raise Conflict(f"there is a user {name!r} already; take another name, or change their role") from error
        return self.get(name)

    def list(self) -> list[User]:
        """All, by name."""
        with self.state.reads.connect() as db:
            return [_user(row) for row in db.execute(sa.select(tables.users).order_by(tables.users.c.name))]

    def get(self, name: str) -> User:
        """One; raises BottegaError when there is none."""
        return _user(self._row(name))

    def change(self, name: str, *, role: str | None = None, disabled: bool | None = None) -> User:
        """Another role, or shut out, or let in again; raises BottegaError."""
        values: dict[str, Any] = {} if role is None else {"role": checked_role(role)}
        if disabled is not None:
            values["disabled"] = self.clock() if disabled else None
        self._row(name)
        if values:
            with self.state.engine.begin() as db:
                db.execute(tables.users.update().where(tables.users.c.name == name).values(**values))
        return self.get(name)

    def remove(self, name: str) -> None:
        """Take a user away with all their keys; raises BottegaError."""
        self._row(name)
        with self.state.engine.begin() as db:
            db.execute(tables.users.delete().where(tables.users.c.name == name))

    def begin_second_factor(self, name: str) -> tuple[str, str]:
        """A new secret and its ``otpauth:`` address, shown once; it counts when its first code was right (``confirm``).

        Raises:
            BottegaError: no such user, or they have a second factor already.
        """
        row = self._row(name)
        if row.totp_since is not None:
            raise Conflict(f"{name} has a second factor; take it away first: bottega users totp {name} --remove")
        secret = totp.new_secret()
        sealed = self.state.seal.close(secret.encode(), f"totp:{name}")
        with self.state.engine.begin() as db:
            db.execute(tables.users.update().where(tables.users.c.name == name).values(totp=sealed, totp_step=None))
        return secret, totp.uri(secret, name)

    def confirm_second_factor(self, name: str, code: str) -> None:
        """Ask for codes from now on, the first being right; raises BottegaError for a wrong one."""
        self.check_code(name, code, begun=True)
        with self.state.engine.begin() as db:
            db.execute(tables.users.update().where(tables.users.c.name == name).values(totp_since=self.clock()))

    def remove_second_factor(self, name: str) -> None:
        """Take it away; raises BottegaError for no such user."""
        self._row(name)
        with self.state.engine.begin() as db:
            db.execute(tables.users.update().where(tables.users.c.name == name)
                       .values(totp=None, totp_since=None, totp_step=None))  # fmt: skip

    def check_code(self, name: str, code: str, *, begun: bool = False) -> None:
        """Take a code, once.

        Raises:
            Locked: too many wrong ones.
            BottegaError: wrong, used already, or there is no second factor.
        """
        subject = f"totp:{name}"
        if left := self.lockout.left(subject):
            raise Locked(f"the second factor of {name}", left)
        row = self._row(name)
        if row.totp is None or (row.totp_since is None and not begun):
            raise totp.SecondFactorError(f"{name} has no second factor; begin one: bottega users totp {name}")
        secret = self.state.seal.open(row.totp, subject).decode()
        step = totp.step_of(secret, code, self.clock(), after=-1 if row.totp_step is None else row.totp_step)
        t = tables.users
        if step is not None:
            with self.state.engine.begin() as db:  # two requests with one code: the second finds the step taken
                taken = db.execute(
                    t.update()
                    .where(t.c.name == name, sa.or_(t.c.totp_step.is_(None), t.c.totp_step < step))
                    .values(totp_step=step)
                )
            if taken.rowcount == 1:
                self.lockout.passed(subject)
                return
        lock = self.lockout.failed(subject)
        told = f"; locked for {round(lock)} seconds" if lock else ""
        raise totp.SecondFactorError(
            f"that code of the second factor is wrong, old or was used already{told}; take the next"
        )

    def _row(self, name: str) -> Any:
        with self.state.reads.connect() as db:
            row = db.execute(sa.select(tables.users).where(tables.users.c.name == name)).first()
            if row is None:
                known = db.scalars(sa.select(tables.users.c.name)).all()
                hint = nearest(name, known) if known else "; there are none yet (bottega users add NAME)"
                raise Missing(f"there is no user {name[:80]!r}{hint}")
        return row


def _user(row: Any) -> User:
    return User(row.name, row.role, row.created, row.disabled is not None, row.totp_since is not None)
