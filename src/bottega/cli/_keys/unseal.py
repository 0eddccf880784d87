"""``bottega keys unseal``: decrypt a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import MasterKey, sealer
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["unseal"]

PANEL, PLACE = "Secrets", 12
EXAMPLES = """\
  bottega keys unseal backup.tar.sealed --master-key master.key     writes backup.tar
"""


def unseal(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What bottega keys seal made.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="FILE without .sealed by default.")] = None,
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decrypt a file, whole or not at all."""
    from bottega.core import OutputError

    say = Out(as_json, quiet)
    target = out or path.with_name(path.name.removesuffix(".sealed"))
    if out is None and target.exists():
        raise OutputError(f"{target} exists; say where the file goes with --out")
    made = sealer(master).open_file(path, target)
    say.say(f"{made}")
    say.result({"file": made})
