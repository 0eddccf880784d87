"""``bottega users totp``: a second factor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._guarded import Home, MasterKey, StateUrl, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["totp"]

PANEL, PLACE = "Users", 4
EXAMPLES = """\
  bottega users totp ann                                 shows what the authenticator app wants, once
  bottega users totp ann --confirm 492039                from now on admin acts of ann want a code
  bottega users totp ann --remove
"""


def totp(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the user.")],
    confirm: Annotated[str | None, typer.Option("--confirm", metavar="CODE", help="The first code that the app shows.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away: the device is lost.")] = False,
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Give a user a second factor (TOTP, RFC 6238): codes of an authenticator app, sent as X-Bottega-OTP.

    Without a code an admin is a trainer; with one they are an admin for 15 minutes.
    """
    say = Out(as_json, quiet)
    with opened(home, state, master) as at:
        users = at.keys.users
        if remove:
            users.remove_second_factor(name)
            at.trace("second factor removed", of=name)
            say.say(f"{name} has no second factor")
            say.result({"user": name, "second_factor": False})
        elif confirm is not None:
            users.confirm_second_factor(name, confirm)
            at.trace("second factor confirmed", of=name)
            say.say(f"{name} has a second factor")
            say.result({"user": name, "second_factor": True})
        else:
            secret, uri = users.begin_second_factor(name)
            at.trace("second factor begun", of=name)
            say.say(f"{secret}\n{uri}")
            say.note(f"put either into the app, then: bottega users totp {name} --confirm CODE")
            say.result({"user": name, "secret": secret, "uri": uri})
