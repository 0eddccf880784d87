"""``bottega users list``: the users of a server."""

from __future__ import annotations

from pathlib import Path

from bottega.cli._guarded import Home, MasterKey, StateUrl, moment, opened
from bottega.cli._shared import Json, Out, Quiet

__all__ = ["list_users"]

PANEL, PLACE = "Users", 2
EXAMPLES = """\
  bottega users list
"""


def list_users(
    home: Home = Path("serve"),
    state: StateUrl = "",
    master: MasterKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List users, their roles, and whether they have a second factor."""
    from dataclasses import asdict

    say = Out(as_json, quiet)
    with opened(home, state, master) as at:
        found = at.keys.users.list()
    rows = [
        (u.name, u.role, "yes" if u.second_factor else "no", "disabled" if u.disabled else "", moment(u.created))
        for u in found
    ]
    if rows:
        say.table(("name", "role", "second factor", "", "made"), rows)
    else:
        say.say("there are no users")
    say.result({"users": [asdict(u) for u in found]})
