"""The state: migrations, the master key that fails closed, two servers on one file, PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from bottega.core import BottegaError, OutputError
from bottega.serve import tables
from bottega.serve.seal import Seal, master_key, new_master_key
from bottega.serve.state import migrate, open_state
from bottega.workshop.store import open_store


def test_migrations_make_the_tables_that_the_code_has(tmp_path):
    """What catches a column that was added to tables.py without a migration."""
    state = open_state(tmp_path / "s.db")
    with state.engine.connect() as db:
        context = MigrationContext.configure(db, opts={"include_name": lambda n, kind, _: kind != "table" or n in tables.metadata.tables})  # fmt: skip
        assert compare_metadata(context, tables.metadata) == []


def test_and_those_of_the_bot(tmp_path):
    """Also where a bot was used by itself before, which makes its tables without migrations."""
    chat = pytest.importorskip("bottega.crafts.chat_tables")
    chat.create(open_store(tmp_path / "used.db"))
    for name in ("new.db", "used.db"):
        with open_state(tmp_path / name).engine.connect() as db:
            only = {"include_name": lambda n, kind, _: kind != "table" or n in chat.METADATA.tables}
            assert compare_metadata(MigrationContext.configure(db, opts=only), chat.METADATA) == []


def test_a_second_start_changes_nothing_and_a_newer_state_is_refused(tmp_path):
    state = open_state(tmp_path / "s.db")
    with state.engine.begin() as db:
        db.execute(tables.users.insert().values(name="ann", role="maker", created=1.0))
    assert migrate(state.engine) == migrate(state.engine)
    with open_state(tmp_path / "s.db").reads.connect() as db:
        assert db.scalar(sa.select(tables.users.c.name)) == "ann"
    with state.engine.begin() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = 'zzzz'"))
    with pytest.raises(BottegaError, match="newer bottega"):
        open_state(tmp_path / "s.db")


def test_servers_that_start_at_once_on_one_file(tmp_path):
    code = "import sys; from bottega.serve.state import open_state; s = open_state(sys.argv[1]); print(s.secret('x', lambda: __import__('os').urandom(8)).hex())"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s.db")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]  # fmt: skip
    told = [p.communicate(timeout=60) for p in started]
    assert [p.returncode for p in started] == [0] * 3, told
    assert len({out for out, _ in told}) == 1  # one of them made the secret, all have it


def test_a_wrong_master_key_fails_closed(tmp_path):
    state = open_state(tmp_path / "s.db")
    secret = state.secret("signing", lambda: b"s" * 32)
    assert open_state(tmp_path / "s.db").secret("signing", lambda: b"other") == secret
    assert b"s" * 32 not in b"".join(p.read_bytes() for p in tmp_path.iterdir())
    with pytest.raises(BottegaError, match="another master key"):
        open_state(tmp_path / "s.db", bytes(32))
    (tmp_path / "s.db.key").unlink()
    with pytest.raises(BottegaError, match="is gone"):
        open_state(tmp_path / "s.db")


def test_master_keys_are_read_from_files_and_the_environment(tmp_path, monkeypatch):
    path = new_master_key(tmp_path / "m.key")
    with pytest.raises(OutputError, match="never written over"):
        new_master_key(path)
    monkeypatch.setenv("BOTTEGA_MASTER_KEY", path.read_text())
    assert master_key() == master_key(path)
    monkeypatch.setenv("BOTTEGA_MASTER_KEY", "c2hvcnQ=")
    with pytest.raises(BottegaError, match="environment variable BOTTEGA_MASTER_KEY is no master key"):
        master_key()
    path.chmod(0o644)
    with pytest.raises(BottegaError, match="chmod 600"):
        master_key(path)
    with pytest.raises(BottegaError, match="cannot read"):
        master_key(tmp_path / "none")


def test_sealed_secrets_open_by_their_name_only():
    seal = Seal(bytes(range(32)))
    closed = seal.close(b"x", "a")
    assert seal.close(b"x", "a") != closed
    for wrong in (lambda: seal.open(closed, "b"), lambda: Seal(bytes(32)).open(closed, "a"), lambda: seal.open(closed[:-1] + b"!", "a"), lambda: seal.open(b"plain", "a")):  # fmt: skip
        with pytest.raises(BottegaError):
            wrong()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (2 << 20) + 5])
def test_sealed_files_come_back_and_no_change_goes_unseen(tmp_path, size):
    seal, plain = Seal(bytes(range(32))), tmp_path / "plain"
    plain.write_bytes(os.urandom(size))
    closed = seal.close_file(plain, tmp_path / "closed")
    assert seal.open_file(closed, tmp_path / "again").read_bytes() == plain.read_bytes()
    data = closed.read_bytes()
    segment = (1 << 20) + 16
    changed = {"a byte": data[:20] + bytes([data[20] ^ 1]) + data[21:], "cut": data[:-1], "longer": data + b"x"}
    if size > 1 << 20:
        head = data[:13]
        changed["a whole segment cut"] = data[: 13 + segment]
        changed["moved"] = (
            head + data[13 + segment : 13 + 2 * segment] + data[13 : 13 + segment] + data[13 + 2 * segment :]
        )
    for what, bad in changed.items():
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(BottegaError, match="does not open"):
            seal.open_file(tmp_path / "bad", tmp_path / "out")
        assert not (tmp_path / "out").exists(), what
    with pytest.raises(BottegaError, match="does not open"):
        Seal(bytes(32)).open_file(closed, tmp_path / "out")


@pytest.fixture
def postgres(tmp_path_factory):
    """A cluster of our own in a temporary folder, on a socket there; as another user where this one is root."""
    bins = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not bins:
        pytest.skip("no PostgreSQL on this machine")
    home = Path("/tmp") / f"btg-pg-{os.getpid()}"
    home.mkdir(mode=0o755)
    root = os.getuid() == 0
    if root:
        if not shutil.which("setpriv"):
            pytest.skip("PostgreSQL does not run as root, and there is no setpriv")
        os.chown(home, 65534, 65534)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if root else []
    folder = bins[-1].parent
    try:
        subprocess.run(
            [*user, folder / "initdb", "-D", home / "data", "-U", "me", "-A", "trust", "-N"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        options = f"-k {home} -c listen_addresses='' -c fsync=off"
        subprocess.run(
            [*user, folder / "pg_ctl", "-D", home / "data", "-w", "-o", options, "-l", home / "log", "start"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        yield f"postgresql://me@/postgres?host={home}"
    finally:
        subprocess.run(
            [*user, folder / "pg_ctl", "-D", home / "data", "-m", "immediate", "stop"],
            capture_output=True,
            check=False,
            cwd="/",
        )
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.system
def test_postgresql(postgres, tmp_path):
    with pytest.raises(BottegaError, match="needs a master key"):
        open_state(postgres)
    made: list[bytes] = []

    def start():
        made.append(open_state(postgres, bytes(32)).secret("x", lambda: os.urandom(8)))

    threads = [threading.Thread(target=start) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(made) == 3
    assert len(set(made)) == 1
    state = open_state(postgres, bytes(32))
    with state.engine.connect() as db:
        context = MigrationContext.configure(db, opts={"include_name": lambda n, kind, _: kind != "table" or n in tables.metadata.tables})  # fmt: skip
        assert compare_metadata(context, tables.metadata) == []
    with pytest.raises(BottegaError, match="another master key"):
        open_state(postgres, b"x" * 32)
