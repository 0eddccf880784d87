"""``bottega keys seal``: encrypt a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import MasterKey, sealer
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["seal"]

PANEL, PLACE = "Secrets", 11
EXAMPLES = """\
  bottega keys seal backup.tar --master-key master.key              writes backup.tar.sealed
"""


def seal(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What is encrypted; it stays as it is.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="FILE.sealed by default.")] = None,
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encrypt a file with AES-256-GCM under the master key; a wrong key or a changed byte opens nothing."""
    say = Out(as_json, quiet)
    made = sealer(master).close_file(path, out or path.with_name(f"{path.name}.sealed"))
    say.say(f"{made}")
    say.result({"file": made})
