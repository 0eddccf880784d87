"""What a bot keeps of each user, and of no other: conversations, facts, likes; committed before anything is acknowledged."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from bottega.core.errors import BottegaError
from bottega.crafts import chat_tables as t
from bottega.workshop.store import open_store, reading

__all__ = ["Conversation", "Fact", "Memory", "Snapshot", "facts_in", "recalled"]

KEPT = 8 * 86_400  # seconds for which ids of other services are kept: longer than any of them tries again
# Statements of every message, made once: building one takes longer than running it.
_V, _M, _H, _R = t.CONVERSATIONS.c, t.MEMORY.c, t.HANDOFFS.c, t.REMINDERS.c
_THEIRS = (_V.bot == sa.bindparam("bot"), _V.user == sa.bindparam("user"))
_BY_ID = sa.select(t.CONVERSATIONS).where(*_THEIRS, _V.id == sa.bindparam("id"))
_LATEST = (
    sa.select(t.CONVERSATIONS).where(*_THEIRS, _V.channel == sa.bindparam("channel")).order_by(_V.last.desc()).limit(1)
)
_FACTS = sa.select(_M.name, _M.value).where(_M.bot == sa.bindparam("bot"), _M.user == sa.bindparam("user"))
_TAKEN = sa.select(_H.by).where(_H.conversation == sa.bindparam("id"), _H.closed.is_(None), _H.taken.is_not(None))
_DUE = sa.select(_R.id).where(
    _R.bot == sa.bindparam("bot"), _R.user == sa.bindparam("user"), sa.not_(_R.told), _R.due <= sa.bindparam("now")
).limit(1)  # fmt: skip
_ADD = t.MESSAGES.insert()
_ADVANCE = (
    t.CONVERSATIONS.update()
    .where(_V.id == sa.bindparam("which"), _V.turn == sa.bindparam("was"))
    .values(turn=sa.bindparam("becomes"), state=sa.bindparam("now_is"), last=sa.bindparam("when"))
)
MOST_FACTS, MOST_VALUE = 200, 500  # of one user; so that nobody fills the disk by talking


@dataclass(frozen=True)
class Conversation:
    """Where a conversation stands.

    Attributes:
        id: of it.
        user: whose it is.
        turn: how many messages were answered.
        state: the flow and its step, slots of this conversation, misses in a row.
        begun, last: UTC seconds.
    """

    id: str
    user: str
    turn: int = 0
    state: dict[str, Any] = field(default_factory=dict)
    channel: str = "chat"
    begun: float = 0.0
    last: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """What a message is answered from: the conversation, what is known of the user, who has taken over, whether a reminder is due."""

    talk: Conversation
    facts: dict[str, str]
    taken: str | None
    due: bool


@dataclass(frozen=True)
class Fact:
    """Something a user said of themselves: ``name`` is how a question would call it."""

    name: str
    value: str


class Memory:
    """The state of one bot in a database, which several bots and servers may share.

    Everything is asked for by bot and user; there is no way to ask for all users' facts.

    Args:
        store: a path, a URL, or an engine of ``workshop.store``.
        bot: its name.
    """

    def __init__(self, store: Engine | str | Path, bot: str) -> None:
        self.engine = store if isinstance(store, Engine) else open_store(store)
        self.bot = bot
        t.create(self.engine)

    def reads(self) -> Any:
        """A transaction that only reads."""
        return reading(self.engine).begin()

    def writes(self) -> Any:
        """A transaction; what it has committed is on the disk."""
        return self.engine.begin()

    # ---- conversations -------------------------------------------------------------------------------------------

    def begin(self, user: str, channel: str = "chat", conversation: str = "") -> Conversation:
        """A new conversation, on the disk when this returns."""
        now = time.time()
        made = Conversation(conversation or uuid.uuid4().hex, user, 0, {}, channel, now, now)
        with self.writes() as c:
            c.execute(t.CONVERSATIONS.insert().values(
                id=made.id, bot=self.bot, user=user, channel=channel, turn=0, state={}, begun=now, last=now,
            ))  # fmt: skip
        return made

    def find(self, conversation: str, user: str | None) -> Conversation | None:
        """A conversation of a user (of anybody where ``user`` is None); None where there is none of theirs."""
        where = (t.CONVERSATIONS.c.id == conversation) & (t.CONVERSATIONS.c.bot == self.bot)
        if user is not None:
            where &= t.CONVERSATIONS.c.user == user
        with self.reads() as c:
            row = c.execute(sa.select(t.CONVERSATIONS).where(where)).one_or_none()
        return None if row is None else Conversation(row.id, row.user, row.turn, dict(row.state), row.channel, row.begun, row.last)  # fmt: skip

    def latest(self, user: str, channel: str = "chat") -> Conversation:
        """The last conversation of a user on a channel, or a new one."""
        with self.reads() as c:
            row = c.execute(
                sa.select(t.CONVERSATIONS.c.id)
                .where(t.CONVERSATIONS.c.bot == self.bot, t.CONVERSATIONS.c.user == user, t.CONVERSATIONS.c.channel == channel)
                .order_by(t.CONVERSATIONS.c.last.desc()).limit(1)
            ).scalar()  # fmt: skip
        found = self.find(row, user) if row else None
        return found or self.begin(user, channel)

    def snapshot(self, user: str, conversation: str, channel: str, now: datetime) -> Snapshot | None:
        """All that one message is answered from, of one moment; None where there is no such conversation of the user's."""
        mine = {"bot": self.bot, "user": user}
        with self.reads() as c:
            if conversation:
                row = c.execute(_BY_ID, {**mine, "id": conversation}).first()
            else:
                row = c.execute(_LATEST, {**mine, "channel": channel}).first()
            if row is None:
                return None
            facts = {f.name: f.value for f in c.execute(_FACTS, mine)}
            taken = c.execute(_TAKEN, {"id": row.id}).scalar()
            due = c.execute(_DUE, {**mine, "now": now}).first()
        talk = Conversation(row.id, row.user, row.turn, dict(row.state), row.channel, row.begun, row.last)
        return Snapshot(talk, facts, taken, due is not None)

    def list(self, user: str, limit: int = 50) -> list[Conversation]:
        """A user's conversations, the latest first."""
        with self.reads() as c:
            rows = c.execute(
                sa.select(t.CONVERSATIONS)
                .where(t.CONVERSATIONS.c.bot == self.bot, t.CONVERSATIONS.c.user == user)
                .order_by(t.CONVERSATIONS.c.last.desc()).limit(limit)
            ).all()  # fmt: skip
        return [Conversation(r.id, r.user, r.turn, dict(r.state), r.channel, r.begun, r.last) for r in rows]

    def transcript(self, conversation: str, limit: int = 1000) -> list[dict[str, Any]]:
        """What was said, oldest first."""
        m = t.MESSAGES.c
        with self.reads() as c:
            rows = c.execute(
                sa.select(t.MESSAGES).where(m.conversation == conversation).order_by(m.id.desc()).limit(limit)
            ).all()
        return [dict(row._mapping) for row in reversed(rows)]

    def add(self, c: Connection, conversation: str, turn: int, role: str, text: str, **told: Any) -> int:
        """One message, within a transaction; returns its number."""
        rest = {
            "route": "",
            "intent": "",
            "confidence": 0.0,
            "source": "",
            "version": "",
            "milliseconds": 0.0,
            "at": time.time(),
        }
        done = c.execute(_ADD, {"conversation": conversation, "turn": turn, "role": role, "text": text, **rest, **told})
        return int(done.inserted_primary_key[0])  # type: ignore[index]

    def advance(self, c: Connection, was: Conversation, state: Mapping[str, Any]) -> None:
        """The conversation one turn on; raises BottegaError where somebody else was faster."""
        told = {"which": was.id, "was": was.turn, "becomes": was.turn + 1, "now_is": dict(state), "when": time.time()}
        done = c.execute(_ADVANCE, told)
        if done.rowcount != 1:
            raise BottegaError(f"conversation {was.id} went on meanwhile; send the message again")

    def first_time(self, c: Connection, channel: str, key: str) -> bool:
        """Whether a message of another service is new, within the transaction that answers it; ids of last week are dropped."""
        s = t.SEEN.c
        c.execute(t.SEEN.delete().where(s.at < time.time() - KEPT))
        try:
            with c.begin_nested():
                c.execute(t.SEEN.insert().values(channel=channel, key=key, at=time.time()))
        except IntegrityError:
            return False
        return True

    # ---- facts ---------------------------------------------------------------------------------------------------

    def facts(self, user: str) -> dict[str, str]:
        """All that is remembered of a user, by name."""
        m = t.MEMORY.c
        with self.reads() as c:
            rows = c.execute(sa.select(m.name, m.value).where(m.bot == self.bot, m.user == user).order_by(m.name)).all()
        return {row.name: row.value for row in rows}

    def remember(self, user: str, facts: Mapping[str, str], c: Connection | None = None) -> None:
        """Put facts in, or in place of older ones; raises BottegaError where they are too many or too long."""
        if not facts:
            return
        if c is None:
            with self.writes() as own:
                self.remember(user, facts, own)
            return
        m = t.MEMORY.c
        for name, value in facts.items():
            if len(value) > MOST_VALUE or not re.fullmatch(r"[a-z][a-z0-9_ ]{0,59}", name):
                raise BottegaError(
                    f"{name[:60]!r} cannot be remembered: a name is up to 60 small letters, digits and _, a value up to {MOST_VALUE} characters"
                )
            mine = (m.bot == self.bot) & (m.user == user)
            if (
                c.execute(t.MEMORY.update().where(mine, m.name == name).values(value=value, at=time.time())).rowcount
                == 0
            ):
                if c.execute(sa.select(sa.func.count()).select_from(t.MEMORY).where(mine)).scalar_one() >= MOST_FACTS:
                    raise BottegaError(f"{MOST_FACTS} facts are remembered already; erase some")
                c.execute(t.MEMORY.insert().values(bot=self.bot, user=user, name=name, value=value, at=time.time()))

    def forget(self, user: str, names: Sequence[str] | None = None) -> int:
        """Erase facts by name, or all that is kept of a user (facts, likes, reminders, meetings, mastery); returns how many."""
        n = 0
        with self.writes() as c:
            if names is not None:
                return int(c.execute(t.MEMORY.delete().where(
                    t.MEMORY.c.bot == self.bot, t.MEMORY.c.user == user, t.MEMORY.c.name.in_(list(names)),
                )).rowcount)  # fmt: skip
            for table in (t.MEMORY, t.ARMS, t.REMINDERS, t.EVENTS, t.MASTERY):
                n += c.execute(table.delete().where(table.c.bot == self.bot, table.c.user == user)).rowcount
            rows = c.execute(sa.select(t.CONVERSATIONS.c.id, t.CONVERSATIONS.c.state).where(t.CONVERSATIONS.c.bot == self.bot, t.CONVERSATIONS.c.user == user)).all()  # fmt: skip
            for row in rows:  # slots live in the state too
                kept = {k: v for k, v in dict(row.state).items() if k not in ("slots", "flow", "tutor")}
                c.execute(t.CONVERSATIONS.update().where(t.CONVERSATIONS.c.id == row.id).values(state=kept))
        return n

    def erase(self, user: str) -> int:
        """Everything of a user, what was said included; returns how many conversations went."""
        self.forget(user)
        with self.writes() as c:
            return int(c.execute(t.CONVERSATIONS.delete().where(t.CONVERSATIONS.c.bot == self.bot, t.CONVERSATIONS.c.user == user)).rowcount)  # fmt: skip

    # ---- likes ---------------------------------------------------------------------------------------------------

    def liked(self, user: str, arm: str, good: bool, c: Connection) -> None:
        """Count a thumb for one of several answers."""
        a = t.ARMS.c
        for who in (user, ""):  # "" is everybody, which a new user begins with
            where = (a.bot == self.bot) & (a.user == who) & (a.arm == arm)
            change = {a.good: a.good + int(good), a.bad: a.bad + int(not good)}
            if c.execute(t.ARMS.update().where(where).values(change)).rowcount == 0:
                c.execute(t.ARMS.insert().values(bot=self.bot, user=who, arm=arm, good=int(good), bad=int(not good)))

    def choose(self, user: str, arms: Sequence[str], least_asked: int = 0) -> int:
        """Which of several answers this user will like best, by their own thumbs and, for a start, everybody's.

        The mean of a Beta whose prior is everybody's mean, worth two thumbs. Where nobody ever rated, ``least_asked``
        (the turn) says whose turn it is.
        """
        if len(arms) < 2:
            return 0
        a = t.ARMS.c
        with self.reads() as c:
            rows = c.execute(sa.select(a.user, a.arm, a.good, a.bad).where(a.bot == self.bot, a.user.in_([user, ""]), a.arm.in_(list(arms)))).all()  # fmt: skip
        if not rows:
            return least_asked % len(arms)
        seen = {(r.user, r.arm): (r.good, r.bad) for r in rows}

        def worth(arm: str) -> float:
            good, bad = seen.get(("", arm), (0, 0))
            prior = (good + 1) / (good + bad + 2)
            own, against = seen.get((user, arm), (0, 0)) if user else (0, 0)
            return (own + 2 * prior) / (own + against + 2)

        return max(range(len(arms)), key=lambda k: (worth(arms[k]), -((k - least_asked) % len(arms))))


# ---- what people say of themselves ------------------------------------------------------------------------------------

_VALUE = r"(?P<v>[^.,;!?\n]{1,80}?)"
_STOP = r"(?=\s*(?:[.,;!?\n]|$| (?:and|but|so|because|und|et|y) ))"
_TELLS = [(name, re.compile(pattern + _STOP, re.I)) for name, pattern in (
    ("name", rf"\b(?:my name is|my name's|call me|i am called|ich hei(?:ß|ss)e|mein name ist|je m'appelle|me llamo|mi nombre es) {_VALUE}"),
    ("city", rf"\b(?:i live in|i'm living in|i moved to|ich wohne in|j'habite (?:à|a)|vivo en) {_VALUE}"),
    ("age", r"\b(?:i am|i'm) (?P<v>\d{1,3}) years old"),
    ("language", r"\b(?:i (?:only )?speak|please (?:answer|write|reply) in) (?P<v>english|german|french|spanish)"),
    ("", rf"\bmy (?:favou?rite )?(?P<k>[a-z]+(?: [a-z]+)?)(?: number)? (?:is|was|are)(?: now)? {_VALUE}"),
    ("likes", rf"\bi (?:really )?(?:like|love|prefer) {_VALUE}"),
)]  # fmt: skip
_NO_NAMES = frozenset(
    [
        "problem",
        "question",
        "order",
        "issue",
        "issues",
        "questions",
        "point",
        "answer",
        "guess",
        "understanding",
        "account",
        "card",
        "payment",
        "parcel",
        "phone",
        "computer",
        "plant",
        "plants",
        "package",
        "battery",
        "money",
        "transfer",
        "bank",
        "bill",
        "bills",
        "app",
        "internet",
        "connection",
        "screen",
        "concern",
        "complaint",
        "request",
        "reason",
        "fault",
        "mistake",
        "turn",
        "life",
    ]
)
_ASKS = re.compile(
    r"\b(?:what(?:'s| is| was| are)|tell me|do you (?:know|remember)|can you tell me|remind me)(?: what)? my (?:favou?rite )?(?P<k>[a-z]+(?: [a-z]+)?)(?: number)?(?: is| was| are)?\s*\?*$"
    r"|\b(?P<name>what am i called|do you (?:know|remember) who i am|who am i)\b|\b(?P<city>where do i live)\b|\bhow (?P<age>old) am i\b|\bwhat do i (?P<likes>like|prefer)\b",
    re.I,
)  # fmt: skip


def facts_in(text: str) -> list[Fact]:
    """What somebody says of themselves.

    >>> facts_in("Hi, my name is Ada and my order number is FM1234.")
    [Fact(name='name', value='Ada'), Fact(name='order', value='FM1234')]
    """
    if text.rstrip().endswith("?"):
        return []
    found: dict[str, str] = {}
    for name, pattern in _TELLS:
        for f in pattern.finditer(text):
            key = name or f["k"].lower().strip().removesuffix(" number").replace(" ", "_")
            value = f["v"].strip().strip("\"'")
            if not value or key.split("_")[-1] in ("name",) and name != "name" and key != "name":
                continue
            if not name and (key.split("_")[0] in _NO_NAMES and not re.search(r"\d", value) or value.split()[0].lower() in ("not", "broken", "late", "gone", "wrong", "still", "missing", "dying", "dead")):  # fmt: skip
                continue
            found.setdefault("name" if key == "name" else key, value)
    return [Fact(k, v) for k, v in found.items()]


def recalled(text: str, facts: Mapping[str, str]) -> tuple[str, str] | None:
    """The fact that somebody asks for: its name and value (empty where it was never told), or None where none is asked for.

    >>> recalled("What is my name?", {"name": "Ada"}), recalled("What is the time?", {})
    (('name', 'Ada'), None)
    """
    found = _ASKS.search(text.strip())
    if found is None:
        return None
    key = next((name for name in ("name", "city", "age", "likes") if found[name]), "") or (found["k"] or "").lower()
    for one in (key.replace(" ", "_"), key.split()[-1], key.split()[0], f"favourite_{key}"):
        if one in facts:
            return one, facts[one]
    return key, ""
