"""What the verbs about a server's guard share: where its state lies, opening it, and telling the log of what was done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bottega.serve.audit import Audit
    from bottega.serve.keys import Keys
    from bottega.serve.state import State

__all__ = ["Home", "MasterKey", "Opened", "StateUrl", "audit_path", "moment", "opened", "sealer"]

Home = Annotated[Path, typer.Option("--home", metavar="DIR", help="Where the server keeps its state and its log.")]
StateUrl = Annotated[str, typer.Option("--state", metavar="URL", help="The state, where it is not HOME/serve.sqlite: a file, or postgresql://...")]  # fmt: skip
MasterKey = Annotated[Path | None, typer.Option("--master-key", metavar="FILE", help="What seals the state's secrets; else BOTTEGA_MASTER_KEY, else a file beside the state.")]  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """An open state, its keys and its log."""

    state: State
    keys: Keys
    audit: Audit

    def trace(self, event: str, **more: Any) -> None:
        """Put what was done into the log, as done by the user of this machine."""
        self.audit.record(event, by=_who(), **more)


def _who() -> str:
    import getpass

    try:
        return f"shell:{getpass.getuser()}"
    except (OSError, KeyError):
        return "shell"


def _needs_serve() -> None:
    from bottega.core import BottegaError

    try:
        import alembic  # noqa: F401
        import argon2  # noqa: F401
        import cryptography  # noqa: F401
        import fastapi  # noqa: F401
        import pyotp  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise BottegaError(f"this needs {error.name}: pip install 'bottega[serve]'") from error


@contextmanager
def opened(home: Path, state: str, master: Path | None, *, make: bool = False) -> Iterator[Opened]:
    """Open the state and its log; with ``make``, make them where there are none. Raises BottegaError."""
    _needs_serve()
    from bottega.core import BottegaError
    from bottega.serve.audit import Audit
    from bottega.serve.keys import Keys
    from bottega.serve.signing import server_key
    from bottega.serve.state import open_state

    url = state or str(home / "serve.sqlite")
    if not make and "://" not in url and not Path(url).exists():
        raise BottegaError(
            f"there is no state at {url}; name it with --home or --state, or make one with bottega keys add NAME"
        )
    found = open_state(url, master)
    try:
        audit = Audit(audit_path(home), server_key(found, "audit"))
        try:
            yield Opened(found, Keys(found), audit)
        finally:
            audit.close()
    finally:
        found.engine.dispose()


def audit_path(home: Path) -> Path:
    """The log of a server."""
    return home / "audit.jsonl"


def sealer(master: Path | None) -> Any:
    """What seals files, by a master key from a file or the environment; raises BottegaError."""
    _needs_serve()
    from bottega.core import BottegaError
    from bottega.serve.seal import ENVIRONMENT, Seal, master_key

    found = master_key(master)
    if found is None:
        raise BottegaError(
            f"a master key is wanted: --master-key FILE, or {ENVIRONMENT}; make one with bottega keys master FILE"
        )
    return Seal(found)


def moment(when: float | None, never: str = "–") -> str:
    """Seconds since 1970 as a date and a time of UTC.

    >>> moment(0.0), moment(None)
    ('1970-01-01 00:00', '–')
    """
    return never if when is None else datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M")


def now() -> float:
    """Seconds since 1970."""
    return time.time()
