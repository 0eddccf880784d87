"""What the guard keeps: users, keys, counters, nonces, secrets, incidents and reviews.

Times are seconds since 1970 (UTC). No key, password or prompt stands here: keys are argon2 hashes, and secrets that must be
read again are sealed (``serve/seal.py``).
"""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "decisions",
    "failures",
    "incident_steps",
    "incidents",
    "keys",
    "metadata",
    "nonces",
    "reviews",
    "secrets",
    "usage",
    "users",
]

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

users = sa.Table(
    "users", metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("disabled", sa.Float),
    sa.Column("totp", sa.LargeBinary),  # the sealed secret of the second factor
    sa.Column("totp_since", sa.Float),  # when its first code was right; before that it is not asked for
    sa.Column("totp_step", sa.BigInteger),  # the last time step that was used: a code counts once (RFC 6238, 5.2)
)  # fmt: skip

keys = sa.Table(
    "keys", metadata,
    sa.Column("id", sa.Text, primary_key=True),  # the part of the key that is no secret
    sa.Column("name", sa.Text, nullable=False, index=True),  # stays the same when a key is rotated
    sa.Column("user", sa.Text, sa.ForeignKey("users.name", ondelete="CASCADE"), index=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),  # argon2id
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float),
    sa.Column("revoked", sa.Float),
    sa.Column("rotated_to", sa.Text),  # the key that takes its place
    sa.Column("elevated", sa.Float),  # until when the second factor counts
    sa.Column("per_minute", sa.Integer),  # requests; null: the server's own
    sa.Column("per_day", sa.Integer),
    sa.Column("signs_with", sa.Text),  # ed25519 or hmac-sha256; null: this key signs nothing
    sa.Column("signing", sa.LargeBinary),  # a public key, or a sealed secret
)  # fmt: skip

usage = sa.Table(
    "usage", metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, nullable=False),  # of UTC, 2027-01-31
    sa.Column("used", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.Float, nullable=False),  # left in the bucket
    sa.Column("at", sa.Float, nullable=False),  # when that was counted
)  # fmt: skip

failures = sa.Table(
    "failures", metadata,
    sa.Column("subject", sa.Text, primary_key=True),  # an address, or a user's second factor
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False),  # locked out
)  # fmt: skip

nonces = sa.Table(
    "nonces", metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("nonce", sa.Text, primary_key=True),
    sa.Column("until", sa.Float, nullable=False, index=True),
)  # fmt: skip

secrets = sa.Table(
    "secrets", metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)  # fmt: skip

incidents = sa.Table(
    "incidents", metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("opened", sa.Float, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, index=True),
    sa.Column("piece", sa.Text, nullable=False),  # JSON: the provenance of what went wrong (model, data, seed, caller)
)  # fmt: skip

incident_steps = sa.Table(
    "incident_steps", metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("incident", sa.Text, sa.ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)  # fmt: skip

reviews = sa.Table(
    "reviews", metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # piece or release
    sa.Column("subject", sa.Text, nullable=False, index=True),  # SHA-256 of what is reviewed
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("opened", sa.Float, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("held", sa.LargeBinary),  # the sealed piece, which goes out when it is approved
)  # fmt: skip

decisions = sa.Table(
    "decisions", metadata,
    sa.Column("review", sa.Text, sa.ForeignKey("reviews.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("by", sa.Text, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("approve", sa.Boolean, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)  # fmt: skip
