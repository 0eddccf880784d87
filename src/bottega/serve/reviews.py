"""Human oversight: a piece or a release goes out when two different people have looked at it and said yes.

One no is a no. Who asks for a review does not decide in it, and nobody decides twice. People are users, not keys: two keys of
one user are one person, and a key that belongs to nobody cannot decide.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bottega.core import BottegaError
from bottega.serve import tables
from bottega.serve.state import State
from bottega.serve.users import Conflict, Missing

__all__ = ["APPROVALS", "Blocked", "Decision", "Review", "Reviews"]

APPROVALS = 2
Verdict = Literal["waiting", "approved", "rejected"]


@dataclass(frozen=True)
class Decision:
    """What one person said."""

    by: str
    at: float
    approve: bool
    note: str


@dataclass(frozen=True)
class Review:
    """One thing in the queue.

    Attributes:
        id: short.
        kind: ``"piece"`` or ``"release"``.
        subject: SHA-256 of what is reviewed (of a release: of its weights).
        about: in words.
        by: who asked.
        opened: seconds since 1970.
        media_type: of the piece that is held back; empty where none is.
        decisions: oldest first.
    """

    id: str
    kind: str
    subject: str
    about: str
    by: str
    opened: float
    media_type: str
    decisions: list[Decision]

    @property
    def verdict(self) -> Verdict:
        """How it stands."""
        if any(not one.approve for one in self.decisions):
            return "rejected"
        return "approved" if len({one.by for one in self.decisions}) >= APPROVALS else "waiting"


class Blocked(BottegaError):
    """Something that may not go out (yet)."""


class NotYours(BottegaError):
    """A decision that this caller may not make."""


class Reviews:
    """The queue of a state.

    Args:
        state: where it is kept; pieces that are held back are sealed in it.
        clock: seconds since 1970.
    """

    def __init__(self, state: State, clock: Callable[[], float] = time.time) -> None:
        self.state, self.clock = state, clock

    def ask(
        self, kind: str, *, by: str, subject: str = "", about: str = "", held: bytes | None = None, media_type: str = ""
    ) -> Review:
        """Put something into the queue.

        Args:
            kind: ``"piece"`` or ``"release"``.
            by: who asks.
            subject: SHA-256, 64 hexadecimal digits; of ``held`` it is worked out.
            about: in words.
            held: a piece that is kept back here until it is approved.
            media_type: of the piece.

        Raises:
            BottegaError: a value that cannot be.
        """
        if kind not in ("piece", "release"):
            raise BottegaError(f"kind is {kind[:40]!r}; a review is of a piece or of a release")
        if held is not None:
            found = hashlib.sha256(held).hexdigest()
            if subject and subject != found:
                raise BottegaError(f"subject is {subject[:64]!r}, but the piece has {found}; leave subject out")
            subject = found
        if not re.fullmatch(r"[0-9a-f]{64}", subject):
            raise BottegaError(
                f"subject is {subject[:80]!r}; give the SHA-256 of what is reviewed, 64 hexadecimal digits"
            )
        id_ = f"rev-{uuid.uuid4().hex[:10]}"
        sealed = None if held is None else self.state.seal.close(held, f"review:{id_}")
        row = {"id": id_, "kind": kind, "subject": subject, "about": about[:2000], "by": by, "opened": self.clock(),
               "media_type": media_type[:100], "held": sealed}  # fmt: skip
        with self.state.engine.begin() as db:
            db.execute(tables.reviews.insert().values(**row))
        return self.get(id_)

    def decide(self, id_: str, *, by: str, approve: bool, note: str = "") -> Review:
        """Say yes or no.

        Raises:
            NotYours: the caller is no user, or asked for the review.
            BottegaError: no such review, it is decided, the caller decided already, or a no without a note.
        """
        review = self.get(id_)
        if not by.startswith("user:"):
            raise NotYours(
                "a review is decided by a person: use a key that belongs to a user (bottega keys add NAME --user USER)"
            )
        if by == review.by:
            raise NotYours("who asks for a review does not decide in it; another reviewer must")
        if not approve and not note.strip():
            raise BottegaError("a no says why; give a note")
        if review.verdict != "waiting":
            raise Conflict(f"{id_} is {review.verdict} already")
        row = {"review": id_, "by": by, "at": self.clock(), "approve": approve, "note": note[:2000]}
        try:
            with self.state.engine.begin() as db:
                db.execute(tables.decisions.insert().values(**row))
        except IntegrityError as error:
            raise Conflict(f"you have decided on {id_} already; another reviewer must") from error
        return self.get(id_)

    def get(self, id_: str) -> Review:
        """One; raises BottegaError when there is none."""
        found = self.list(id_=id_)
        if not found:
            raise Missing(f"there is no review {id_[:40]!r}")
        return found[0]

    def list(self, *, id_: str | None = None, subject: str | None = None, waiting: bool = False) -> list[Review]:
        """All, oldest first, or those of a subject, or that wait."""
        r, d = tables.reviews, tables.decisions
        query = sa.select(*(c for c in r.c if c.name != "held")).order_by(r.c.opened)
        query = query if id_ is None else query.where(r.c.id == id_)
        query = query if subject is None else query.where(r.c.subject == subject)
        with self.state.reads.connect() as db:
            rows = db.execute(query).all()
            said: dict[str, list[Decision]] = {row.id: [] for row in rows}
            for one in db.execute(sa.select(d).where(d.c.review.in_(list(said))).order_by(d.c.at)):
                said[one.review].append(Decision(one.by, one.at, one.approve, one.note))
        out = [Review(x.id, x.kind, x.subject, x.about, x.by, x.opened, x.media_type, said[x.id]) for x in rows]
        return [one for one in out if not waiting or one.verdict == "waiting"]

    def held(self, id_: str, *, look: bool = False) -> tuple[bytes, str]:
        """The piece that was held back, and its media type.

        Args:
            id_: of the review.
            look: a reviewer looks at it; else it goes out, which needs the approvals.

        Raises:
            Blocked: it is not approved.
            BottegaError: there is none.
        """
        review = self.get(id_)
        if not look:
            self._approved(review)
        with self.state.reads.connect() as db:
            sealed: Any = db.scalar(sa.select(tables.reviews.c.held).where(tables.reviews.c.id == id_))
        if sealed is None:
            raise Missing(f"{id_} holds no piece back, only the SHA-256 of one")
        return self.state.seal.open(bytes(sealed), f"review:{id_}"), review.media_type

    def check(self, subject: str) -> None:
        """See that a piece or a release may go out: raises Blocked unless a review of it is approved and none said no."""
        found = self.list(subject=subject)
        if not found:
            raise Blocked(f"nobody has reviewed {subject[:16]}…; ask for a review first")
        for review in found:
            if review.verdict == "rejected":
                self._approved(review)
        if not any(review.verdict == "approved" for review in found):
            self._approved(found[-1])

    @staticmethod
    def _approved(review: Review) -> None:
        if review.verdict == "rejected":
            said = next(one for one in review.decisions if not one.approve)
            raise Blocked(f"{review.id} was turned down by {said.by}: {said.note}")
        if review.verdict == "waiting":
            raise Blocked(f"{review.id} waits: {len(review.decisions)} of {APPROVALS} reviewers have approved it")
