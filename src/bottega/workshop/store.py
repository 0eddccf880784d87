"""One way to the database in which a server and its bot keep their state: a SQLite file, or PostgreSQL by URL.

What a transaction has committed is on the disk: SQLite runs in WAL mode with ``synchronous=FULL``, so a killed process or a
power cut loses nothing that was acknowledged (https://www.sqlite.org/wal.html). Several processes may use one file: who
writes takes the lock when the transaction begins, so that reading and then writing is never turned down half-way, and the
others wait for it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bottega.core import BottegaError, OutputError

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["open_store", "reading"]

_BUSY = 10_000  # milliseconds that one writer waits for another
_HINT = "give a file, or postgresql://user:password@host/name"


def open_store(url: str | Path) -> Engine:
    """The engine of a database, tried out; ``with engine.begin() as connection:`` is a transaction.

    A SQLite file is made where there is none, with its folder, readable by its owner only. Foreign keys hold. Every
    transaction takes the writer's lock when it begins; one that only reads is begun on ``reading(engine)`` and waits for
    nobody.

    Args:
        url: a path, ``sqlite:///file.db``, or ``postgresql://user:password@host/name``.

    Raises:
        BottegaError: no such kind of database, a library is missing, it cannot be reached, or the file is something else.
        OutputError: the place of the file cannot be written.
    """
    try:
        import sqlalchemy as sa
        from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
    except ImportError as error:
        raise BottegaError("keeping state needs SQLAlchemy: pip install 'bottega[serve]'") from error

    text = str(url)
    if "://" not in text:
        text = f"sqlite:///{Path(text).expanduser()}"
    try:
        parsed = sa.engine.make_url(text)
        kind = parsed.get_backend_name()
    except ArgumentError as error:
        raise BottegaError(f"{_safe(text)!r} is no URL of a database; {_HINT}") from error
    if kind == "sqlite":
        return _open_file(parsed)
    if kind not in ("postgresql", "postgres"):
        raise BottegaError(f"state cannot be kept in {kind!r}; {_HINT}")
    try:
        engine = sa.create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (ImportError, NoSuchModuleError) as error:
        raise BottegaError("PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from error
    try:
        with engine.connect():
            pass
    except (OperationalError, DatabaseError) as error:
        engine.dispose()
        why = " ".join(str(error.orig).split())
        raise BottegaError(f"cannot reach the database {parsed.render_as_string(hide_password=True)}: {why}") from error
    return engine


def reading(engine: Engine) -> Engine:
    """The same engine for transactions that only read: they see one moment, and neither wait nor keep writers waiting."""
    return engine.execution_options(bottega_reads=True)


def _open_file(parsed: Any) -> Engine:
    import sqlalchemy as sa
    from sqlalchemy.exc import DatabaseError, OperationalError

    if parsed.database in (None, "", ":memory:"):
        raise BottegaError(f"state in memory would be lost with the process; {_HINT}")
    path = Path(parsed.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Ours from the first byte: between making it and a later chmod it could be read.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; choose another place for the state"
        ) from error
    engine = sa.create_engine(parsed, connect_args={"timeout": _BUSY / 1000})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions by its own rules; ``begin`` below does
        cursor = connection.cursor()
        for line in (f"busy_timeout={_BUSY}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {line}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        reads = connection.get_execution_options().get("bottega_reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    try:
        with reading(engine).connect() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except (OperationalError, DatabaseError) as error:
        engine.dispose()
        if "not a database" in str(error):
            raise BottegaError(f"{path} is not a SQLite database; {_HINT}") from error
        raise OutputError(
            f"cannot use {path}: {error.orig}; check its permissions and that its disk is local"
        ) from error
    return engine


def _safe(text: str) -> str:
    """A URL for a message: without what may be a password."""
    with suppress(ValueError):
        scheme, rest = text.split("://", 1)
        return f"{scheme}://{rest.rsplit('@', 1)[-1]}"
    return text
