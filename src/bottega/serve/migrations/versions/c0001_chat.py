"""The tables of the bot; a bot that was used by itself has made them already."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "c0001"
down_revision = "g0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them where they are not there."""
    op.create_table(
        "chat_arms",
        sa.Column("bot", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("arm", sa.String(length=200), nullable=False),
        sa.Column("good", sa.Integer(), nullable=False),
        sa.Column("bad", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("bot", "user", "arm"),
        if_not_exists=True,
    )
    op.create_table(
        "chat_conversations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("bot", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("begun", sa.Float(), nullable=False),
        sa.Column("last", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("chat_conversations_user", "chat_conversations", ["bot", "user"], unique=False, if_not_exists=True)
    op.create_table(
        "chat_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("bot", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("start", sa.DateTime(), nullable=False),
        sa.Column("end", sa.DateTime(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("chat_events_user", "chat_events", ["bot", "user"], unique=False, if_not_exists=True)
    op.create_table(
        "chat_mastery",
        sa.Column("bot", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("skill", sa.String(length=64), nullable=False),
        sa.Column("known", sa.Float(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("bot", "user", "skill"),
        if_not_exists=True,
    )
    op.create_table(
        "chat_memory",
        sa.Column("bot", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("bot", "user", "name"),
        if_not_exists=True,
    )
    op.create_table(
        "chat_reminders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("bot", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("due", sa.DateTime(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("chat_reminders_user", "chat_reminders", ["bot", "user"], unique=False, if_not_exists=True)
    op.create_table(
        "chat_seen",
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "key"),
        if_not_exists=True,
    )
    op.create_table(
        "chat_handoffs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("conversation", sa.String(length=32), nullable=False),
        sa.Column("bot", sa.String(length=64), nullable=False),
        sa.Column("why", sa.String(length=64), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("asked", sa.Float(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("taken", sa.Float(), nullable=True),
        sa.Column("closed", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["conversation"], ["chat_conversations.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index(
        op.f("ix_chat_handoffs_conversation"), "chat_handoffs", ["conversation"], unique=False, if_not_exists=True
    )
    op.create_table(
        "chat_messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("conversation", sa.String(length=32), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("route", sa.String(length=16), server_default="", nullable=False),
        sa.Column("intent", sa.String(length=64), server_default="", nullable=False),
        sa.Column("confidence", sa.Float(), server_default="0", nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("milliseconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["conversation"], ["chat_conversations.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index(op.f("ix_chat_messages_at"), "chat_messages", ["at"], unique=False, if_not_exists=True)
    op.create_index(
        op.f("ix_chat_messages_conversation"), "chat_messages", ["conversation"], unique=False, if_not_exists=True
    )
    op.create_table(
        "chat_feedback",
        sa.Column("message", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("thumb", sa.Integer(), nullable=False),
        sa.Column("edit", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["chat_messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message", "user"),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("chat_feedback")
    op.drop_index(op.f("ix_chat_messages_conversation"), table_name="chat_messages")
    op.drop_index(op.f("ix_chat_messages_at"), table_name="chat_messages")
    op.drop_table("chat_messages")
    op.drop_index(op.f("ix_chat_handoffs_conversation"), table_name="chat_handoffs")
    op.drop_table("chat_handoffs")
    op.drop_table("chat_seen")
    op.drop_index("chat_reminders_user", table_name="chat_reminders")
    op.drop_table("chat_reminders")
    op.drop_table("chat_memory")
    op.drop_table("chat_mastery")
    op.drop_index("chat_events_user", table_name="chat_events")
    op.drop_table("chat_events")
    op.drop_index("chat_conversations_user", table_name="chat_conversations")
    op.drop_table("chat_conversations")
    op.drop_table("chat_arms")
