"""The database of a server's state: what it promises when several write, and what it says to bad input."""

from __future__ import annotations

import stat
import threading

import pytest
import sqlalchemy as sa

from bottega.core import BottegaError, OutputError
from bottega.workshop.store import open_store, reading


def _counter(engine):
    with engine.begin() as db:
        db.execute(sa.text("CREATE TABLE c (n INTEGER)"))
        db.execute(sa.text("INSERT INTO c VALUES (0)"))


def test_durable_and_private_by_its_settings(tmp_path):
    path = tmp_path / "deep" / "state.db"
    engine = open_store(path)
    with engine.connect() as db:
        told = {k: db.exec_driver_sql(f"PRAGMA {k}").scalar() for k in ("journal_mode", "synchronous", "foreign_keys")}
    assert told == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_read_then_write_by_many_loses_nothing(tmp_path):
    """Two engines as two processes would have them; with BEGIN instead of BEGIN IMMEDIATE this fails with 'locked'."""
    engines = [open_store(tmp_path / "s.db") for _ in range(2)]
    _counter(engines[0])
    failed = []

    def work(engine):
        try:
            for _ in range(25):
                with engine.begin() as db:
                    n = db.execute(sa.text("SELECT n FROM c")).scalar_one()
                    db.execute(sa.text("UPDATE c SET n = :n"), {"n": n + 1})
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(engines[i % 2],)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not failed
    with reading(engines[0]).connect() as db:
        assert db.execute(sa.text("SELECT n FROM c")).scalar_one() == 100


def test_a_failed_transaction_leaves_nothing(tmp_path):
    engine = open_store(tmp_path / "s.db")
    _counter(engine)
    with pytest.raises(ZeroDivisionError), engine.begin() as db:
        db.execute(sa.text("UPDATE c SET n = 7"))
        1 / 0  # noqa: B018
    with engine.connect() as db:
        assert db.execute(sa.text("SELECT n FROM c")).scalar_one() == 0


def test_who_reads_waits_for_nobody(tmp_path):
    engine = open_store(tmp_path / "s.db")
    _counter(engine)
    with engine.begin() as writer:
        writer.execute(sa.text("UPDATE c SET n = 5"))
        with reading(engine).connect() as reader:
            assert reader.execute(sa.text("SELECT n FROM c")).scalar_one() == 0


def test_foreign_keys_hold(tmp_path):
    engine = open_store(tmp_path / "s.db")
    with engine.begin() as db:
        db.execute(sa.text("CREATE TABLE a (id INTEGER PRIMARY KEY)"))
        db.execute(sa.text("CREATE TABLE b (a INTEGER REFERENCES a(id))"))
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as db:
        db.execute(sa.text("INSERT INTO b VALUES (9)"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@h/d", "state cannot be kept in 'mysql'"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("://:secret@x", "no URL of a database"),
        ("postgresql://me:secret@127.0.0.1:1/x", "cannot reach the database postgresql://me:***@127.0.0.1:1/x"),
    ],
)
def test_bad_urls_are_told_without_their_password(url, said):
    with pytest.raises(BottegaError) as error:
        open_store(url)
    assert said in str(error.value)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_other_files_and_places(tmp_path):
    (tmp_path / "x.db").write_text("this is no database, " * 200)
    with pytest.raises(BottegaError, match=r"x\.db is not a SQLite database"):
        open_store(tmp_path / "x.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        open_store(tmp_path / "file" / "s.db")
