"""``bottega keys tls``: a certificate for one's own network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["tls"]

PANEL, PLACE = "Secrets", 13
EXAMPLES = """\
  bottega keys tls serve/tls --host localhost --host 192.168.1.5
  bottega serve runs/english --tls-cert serve/tls/certificate.pem --tls-key serve/tls/key.pem
"""


def tls(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where certificate.pem and key.pem go.")],
    host: Annotated[list[str], typer.Option("--host", metavar="NAME", help="A name or address that it is for; may be given many times.")] = ["localhost", "127.0.0.1", "::1"],  # noqa: B006
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, help="For which it holds.")] = 397,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Make a certificate that signs itself. Callers must be told to trust it; browsers will warn."""
    from bottega.cli._guarded import _needs_serve

    _needs_serve()
    from bottega.serve.tls import self_signed

    say = Out(as_json, quiet)
    certificate, key = self_signed(folder, host, days)
    say.say(f"{certificate}\n{key}")
    say.result({"certificate": certificate, "key": key})
