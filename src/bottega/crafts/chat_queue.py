"""The queue of conversations that wait for a person, urgent ones first, each with the time by which somebody should answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bottega.core.errors import DataError
from bottega.crafts import chat_tables as t
from bottega.crafts.chat_memory import Memory

__all__ = ["Queue", "Waiting"]


@dataclass(frozen=True)
class Waiting:
    """A conversation in the queue.

    Attributes:
        id: of the hand-off.
        why: what led to it.
        left_seconds: until somebody should have taken it; negative when that is over.
        by: who took it; empty where nobody did.
    """

    id: int
    conversation: str
    user: str
    why: str
    urgent: bool
    asked: float
    due: float
    left_seconds: float
    by: str
    transcript: list[dict[str, Any]]


class Queue:
    """Hand-offs of one bot.

    Args:
        memory: where they are kept.
        minutes: within which somebody should take one; a fifth of it where it is urgent.
    """

    def __init__(self, memory: Memory, minutes: float) -> None:
        self.memory, self.minutes = memory, minutes

    def call(self, c: Connection, conversation: str, why: str, *, urgent: bool = False) -> None:
        """Ask for a person, within a transaction; where one was asked for already, it may become urgent."""
        h, now = t.HANDOFFS.c, time.time()
        due = now + 60 * self.minutes * (0.2 if urgent else 1.0)
        open_one = c.execute(sa.select(h.id, h.urgent, h.due).where(h.conversation == conversation, h.closed.is_(None))).first()  # fmt: skip
        if open_one is None:
            c.execute(t.HANDOFFS.insert().values(conversation=conversation, bot=self.memory.bot, why=why[:64], urgent=urgent, asked=now, due=due, by="", taken=None, closed=None))  # fmt: skip
        elif urgent and not open_one.urgent:
            c.execute(
                t.HANDOFFS.update()
                .where(h.id == open_one.id)
                .values(urgent=True, due=min(due, open_one.due), why=why[:64])
            )

    def taken(self, conversation: str) -> str | None:
        """Who is in a conversation now; None where nobody took it."""
        h = t.HANDOFFS.c
        with self.memory.reads() as c:
            row = c.execute(
                sa.select(h.by).where(h.conversation == conversation, h.closed.is_(None), h.taken.is_not(None))
            ).first()
        return None if row is None else str(row.by)

    def waiting(self, *, all_of_them: bool = False) -> list[Waiting]:
        """Open hand-offs with their transcripts, urgent and early ones first."""
        h = t.HANDOFFS.c
        where = (h.bot == self.memory.bot) & (sa.true() if all_of_them else h.closed.is_(None))
        with self.memory.reads() as c:
            rows = c.execute(
                sa.select(t.HANDOFFS, t.CONVERSATIONS.c.user).join(t.CONVERSATIONS).where(where).order_by(h.urgent.desc(), h.due)
            ).all()  # fmt: skip
        now = time.time()
        return [
            Waiting(r.id, r.conversation, r.user, r.why, bool(r.urgent), r.asked, r.due, r.due - now, r.by, self.memory.transcript(r.conversation))
            for r in rows
        ]  # fmt: skip

    def take(self, handoff: int, by: str) -> Waiting:
        """Take one over; raises DataError where there is none, or somebody else was faster."""
        h = t.HANDOFFS.c
        with self.memory.writes() as c:
            n = c.execute(
                t.HANDOFFS.update().where(h.id == handoff, h.bot == self.memory.bot, h.closed.is_(None), sa.or_(h.taken.is_(None), h.by == by))
                .values(by=by, taken=time.time())
            ).rowcount  # fmt: skip
        if n != 1:
            raise DataError(
                f"hand-off {handoff} is not open to you: there is none, it is closed, or somebody else has it"
            )
        return next(one for one in self.waiting() if one.id == handoff)

    def say(self, handoff: int, by: str, text: str) -> int:
        """A person's answer into the conversation that they took; returns its message number."""
        if not text.strip():
            raise DataError("the answer is empty; write at least a word")
        h = t.HANDOFFS.c
        with self.memory.writes() as c:
            row = c.execute(sa.select(h.conversation).where(h.id == handoff, h.by == by, h.closed.is_(None), h.taken.is_not(None), h.bot == self.memory.bot)).first()  # fmt: skip
            if row is None:
                raise DataError(f"hand-off {handoff} is not yours; take it first")
            turn = c.execute(
                sa.select(t.CONVERSATIONS.c.turn).where(t.CONVERSATIONS.c.id == row.conversation)
            ).scalar_one()
            return self.memory.add(c, row.conversation, turn, "human", text.strip(), route="human", source=by)

    def close(self, handoff: int, by: str) -> None:
        """Give the conversation back to the bot."""
        h = t.HANDOFFS.c
        with self.memory.writes() as c:
            n = c.execute(t.HANDOFFS.update().where(h.id == handoff, h.bot == self.memory.bot, h.by == by, h.closed.is_(None)).values(closed=time.time())).rowcount  # fmt: skip
            if n != 1:
                raise DataError(f"hand-off {handoff} is not yours to close; take it first")
            row = c.execute(sa.select(h.conversation).where(h.id == handoff)).one()
            state = c.execute(
                sa.select(t.CONVERSATIONS.c.state).where(t.CONVERSATIONS.c.id == row.conversation)
            ).scalar_one()
            c.execute(
                t.CONVERSATIONS.update()
                .where(t.CONVERSATIONS.c.id == row.conversation)
                .values(state={**state, "misses": 0})
            )
