"""The tables in which a bot keeps what was said, what it remembers, and who waits for a person.

One ``MetaData`` of their own; all names begin with ``chat_``. Times are UTC seconds (of reminders and meetings: local).
"""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "ARMS", "CONVERSATIONS", "EVENTS", "FEEDBACK", "HANDOFFS", "MASTERY", "MEMORY", "MESSAGES", "METADATA", "REMINDERS", "SEEN",
    "create",
]  # fmt: skip

METADATA = sa.MetaData()
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up only what it calls INTEGER

CONVERSATIONS = sa.Table(
    "chat_conversations", METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("bot", sa.String(64), nullable=False),
    sa.Column("user", sa.String(128), nullable=False),
    sa.Column("channel", sa.String(32), nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),  # the flow, where it is, misses in a row
    sa.Column("begun", sa.Float, nullable=False),
    sa.Column("last", sa.Float, nullable=False),
    sa.Index("chat_conversations_user", "bot", "user"),
)  # fmt: skip
MESSAGES = sa.Table(
    "chat_messages", METADATA,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("conversation", sa.ForeignKey("chat_conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("route", sa.String(16), nullable=False, server_default=""),
    sa.Column("intent", sa.String(64), nullable=False, server_default=""),
    sa.Column("confidence", sa.Float, nullable=False, server_default="0"),
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    sa.Column("version", sa.String(64), nullable=False, server_default=""),
    sa.Column("milliseconds", sa.Float, nullable=False, server_default="0"),
    sa.Column("at", sa.Float, nullable=False, index=True),
)  # fmt: skip
FEEDBACK = sa.Table(
    "chat_feedback", METADATA,
    sa.Column("message", sa.ForeignKey("chat_messages.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("user", sa.String(128), primary_key=True),
    sa.Column("thumb", sa.Integer, nullable=False),  # 1, -1, or 0 for none
    sa.Column("edit", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)  # fmt: skip
MEMORY = sa.Table(
    "chat_memory", METADATA,
    sa.Column("bot", sa.String(64), primary_key=True),
    sa.Column("user", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)  # fmt: skip
ARMS = sa.Table(  # which of several answers a user liked
    "chat_arms", METADATA,
    sa.Column("bot", sa.String(64), primary_key=True),
    sa.Column("user", sa.String(128), primary_key=True),
    sa.Column("arm", sa.String(200), primary_key=True),
    sa.Column("good", sa.Integer, nullable=False),
    sa.Column("bad", sa.Integer, nullable=False),
)  # fmt: skip
REMINDERS = sa.Table(
    "chat_reminders", METADATA,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("bot", sa.String(64), nullable=False),
    sa.Column("user", sa.String(128), nullable=False),
    sa.Column("due", sa.DateTime, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("told", sa.Boolean, nullable=False),
    sa.Index("chat_reminders_user", "bot", "user"),
)  # fmt: skip
EVENTS = sa.Table(
    "chat_events", METADATA,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("bot", sa.String(64), nullable=False),
    sa.Column("user", sa.String(128), nullable=False),
    sa.Column("start", sa.DateTime, nullable=False),
    sa.Column("end", sa.DateTime, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Index("chat_events_user", "bot", "user"),
)  # fmt: skip
HANDOFFS = sa.Table(
    "chat_handoffs", METADATA,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("conversation", sa.ForeignKey("chat_conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("bot", sa.String(64), nullable=False),
    sa.Column("why", sa.String(64), nullable=False),
    sa.Column("urgent", sa.Boolean, nullable=False),
    sa.Column("asked", sa.Float, nullable=False),
    sa.Column("due", sa.Float, nullable=False),
    sa.Column("by", sa.String(128), nullable=False),  # empty until somebody takes it
    sa.Column("taken", sa.Float, nullable=True),
    sa.Column("closed", sa.Float, nullable=True),
)  # fmt: skip
SEEN = sa.Table(  # events of other services that were answered already
    "chat_seen", METADATA,
    sa.Column("channel", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
)  # fmt: skip
MASTERY = sa.Table(
    "chat_mastery", METADATA,
    sa.Column("bot", sa.String(64), primary_key=True),
    sa.Column("user", sa.String(128), primary_key=True),
    sa.Column("skill", sa.String(64), primary_key=True),
    sa.Column("known", sa.Float, nullable=False),
    sa.Column("asked", sa.Integer, nullable=False),
)  # fmt: skip


def create(engine: sa.Engine) -> None:
    """Make the tables that are not there; those that are stay as they are."""
    METADATA.create_all(engine)
