"""The server's state: its database, brought to the newest form, and the seal of its secrets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bottega.core import BottegaError
from bottega.serve import tables
from bottega.serve.seal import Seal, master_key, new_master_key
from bottega.workshop.store import open_store, reading

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

__all__ = ["State", "migrate", "open_state"]

DEFAULT = Path("serve") / "serve.sqlite"
_CHECK = "the check of the master key"


@dataclass(frozen=True)
class State:
    """An open state.

    Attributes:
        engine: of the database; ``reading(state.engine)`` for what only reads.
        seal: of secrets that must be read again.
    """

    engine: Engine
    seal: Seal

    @property
    def reads(self) -> Engine:
        """The engine for what only reads."""
        return reading(self.engine)

    def secret(self, name: str, make: Any) -> bytes:
        """A secret by its name, made by ``make()`` and sealed where there is none yet."""
        with self.engine.begin() as db:
            return _secret(db, self.seal, name, make)


def open_state(url: str | Path = DEFAULT, master: Path | bytes | None = None) -> State:
    """Open the state, bring its tables to the newest form, and see that the master key is the right one.

    Several servers and the command line may use one state at once: counters, nonces and keys are rows of its database.

    Args:
        url: a path, or a URL, as ``open_store`` takes them.
        master: the file of the master key, or its 32 bytes; else ``BOTTEGA_MASTER_KEY``; else, for a SQLite file,
            ``<file>.key`` beside it, which is made where there is none. That protects copies of the state, not the disk.

    Raises:
        BottegaError: what ``open_store`` says; no master key; a wrong one; a state of a newer version.
    """
    engine = open_store(url)
    try:
        migrate(engine)
        seal = Seal(master if isinstance(master, bytes) else _master(engine, master))
        with engine.begin() as db:
            _secret(db, seal, _CHECK, lambda: b"right")
    except BaseException:
        engine.dispose()
        raise
    return State(engine, seal)


def _master(engine: Engine, path: Path | None) -> bytes:
    if (given := master_key(path)) is not None:
        return given
    if engine.dialect.name != "sqlite":
        raise BottegaError("a state in PostgreSQL needs a master key: --master-key FILE, or BOTTEGA_MASTER_KEY")
    beside = Path(f"{engine.url.database}.key")
    if not beside.exists():
        with reading(engine).connect() as db:
            if db.scalar(sa.select(sa.func.count()).select_from(tables.secrets)):
                raise BottegaError(
                    f"the master key {beside} is gone; restore it, or give the one this state was sealed with: --master-key FILE"
                )
        try:
            new_master_key(beside)
        except BottegaError:
            if not beside.exists():  # else another server made it in this moment
                raise
    made = master_key(beside)
    assert made is not None
    return made


def _secret(db: Connection, seal: Seal, name: str, make: Any) -> bytes:
    """Read or make; ``db`` is a transaction."""
    query = sa.select(tables.secrets.c.sealed).where(tables.secrets.c.name == name)
    found = db.scalar(query)
    if found is None:
        secret: bytes = make()
        try:
            with db.begin_nested():
                db.execute(tables.secrets.insert().values(name=name, sealed=seal.close(secret, name)))
            return secret
        except IntegrityError:  # another server was first
            found = db.scalar(query)
            assert found is not None
    return seal.open(found, name)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", (Path(__file__).parent / "migrations").as_posix().replace("%", "%%"))
    return config


def migrate(engine: Engine) -> str:
    """Bring the tables to the newest form, in one transaction; returns the revision.

    Two servers that start at once do it one after the other. Raises BottegaError for a state of a newer version.
    """
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = _config()
    script = ScriptDirectory.from_config(config)
    head = str(script.get_current_head())
    with engine.begin() as db:
        if engine.dialect.name == "postgresql":
            db.execute(sa.text("SELECT pg_advisory_xact_lock(7203)"))
        now = MigrationContext.configure(db).get_current_revision()
        if now == head:
            return head
        known = {revision.revision for revision in script.walk_revisions()}
        if now is not None and now not in known:
            raise BottegaError(
                f"the state {engine.url.render_as_string()} was written by a newer bottega (revision {now}); use that one"
            )
        config.attributes["connection"] = db
        command.upgrade(config, "head")
    return head
