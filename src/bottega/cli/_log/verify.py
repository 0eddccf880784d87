"""``bottega log verify``: whether the log is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["verify"]

PANEL, PLACE = "The log", 1
EXAMPLES = """\
  bottega log verify
  bottega log verify copy/audit.jsonl --key 0f3c...      where the state is elsewhere
  bottega log verify --expect 120:9b1f...                and line 120 is the one that was noted then
"""


def verify(
    path: Annotated[Path | None, typer.Argument(metavar="FILE", help="The log; HOME/audit.jsonl by default.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="HEX", help="The public key of the log, 64 hexadecimal digits; else the state's.")] = None,
    expect: Annotated[str | None, typer.Option("--expect", metavar="N:HASH", help="A line and its hash, noted earlier: finds a log and head that were put back together.")] = None,
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Look through a log: edits, deletions, lines that were moved and a cut end are found and told with their line.

    Every line carries the hash of the one before; how many there are is signed beside it. Note the last hash somewhere else
    from time to time. Exit status 1 when something is wrong.
    """
    from bottega.cli._guarded import _needs_serve, audit_path
    from bottega.core import BottegaError

    _needs_serve()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from bottega.serve import audit
    from bottega.serve.signing import server_key
    from bottega.serve.state import open_state

    say, file = Out(as_json, quiet), path or audit_path(home)
    noted = None
    if expect is not None:
        number, colon, digest = expect.partition(":")
        if not colon or not number.isdecimal() or len(digest) != 64:
            raise BottegaError(f"--expect is {expect[:80]!r}; give a line's number and its hash, 120:9b1f...")
        noted = (int(number), digest.lower())
    public = None
    url = state or str(home / "serve.sqlite")
    if key is not None:
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        except ValueError as error:
            raise BottegaError(f"--key is no public key: {error}; GET /v1/signing-key tells it") from error
    elif "://" in url or Path(url).exists():
        found_state = open_state(url, master)
        public = server_key(found_state, "audit").public_key()
        found_state.engine.dispose()
    found = audit.verify(file, public, noted)
    for problem in found.problems:
        say.say(f"{file}: {problem}")
    if not found.problems:
        say.say(f"{file} is whole: {found.lines:,} lines")
    if not found.signed:
        say.note("the signature of its head was not checked; give --home, --state or --key")
    say.say(f"{found.lines}:{found.hash}")
    say.result({"file": file, "whole": not found.problems, "lines": found.lines, "hash": found.hash,
                "signed": found.signed, "problems": found.problems})  # fmt: skip
    if found.problems:
        raise typer.Exit(1)
