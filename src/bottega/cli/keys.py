"""``bottega keys``: API keys of a server, and what seals its secrets; each task a file in ``_keys``."""

from __future__ import annotations

__all__ = ["keys"]

PANEL, PLACE, TASKS = "Serve", 51, "_keys"
EXAMPLES = """\
  bottega keys add phone --role maker --days 90          shown once
  bottega keys list
  bottega keys rotate phone --overlap-hours 24           a new one; the old one goes on for a day
  bottega keys revoke phone
  bottega keys master master.key                         what seals secrets and files
"""


def keys() -> None:
    """Make, list, rotate and revoke API keys; make the master key and TLS files; seal files.

    A server on this machine needs no keys until there is one; then nobody comes in without. They lie beside the server's
    state as hashes, so a key that is lost cannot be shown again, only rotated.
    """
