"""``bottega users``: the people that keys of a server belong to; each task a file in ``_users``."""

from __future__ import annotations

__all__ = ["users"]

PANEL, PLACE, TASKS = "Serve", 52, "_users"
EXAMPLES = """\
  bottega users add ann --role admin
  bottega keys add anns-laptop --role admin --user ann
  bottega users totp ann                                 a second factor for an authenticator app
  bottega users change ann --disable
"""


def users() -> None:
    """Make users, give them roles and a second factor, shut them out.

    No key of a user can do more than the user may. Two people of the queue of reviews are two users.
    """
