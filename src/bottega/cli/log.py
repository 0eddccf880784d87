"""``bottega log``: the audit log of a server, and its incidents; each task a file in ``_log``."""

from __future__ import annotations

__all__ = ["log"]

PANEL, PLACE, TASKS = "Serve", 53, "_log"
EXAMPLES = """\
  bottega log verify                                     was anything edited, taken out, moved or cut off?
  bottega log show -n 20 --by user:ann
  bottega log incidents --status open
  bottega log incident "A portrait looks like a real person" --severity high --piece piece.png.meta.json
"""


def log() -> None:
    """Read and verify the hash-chained log of a server; keep its incidents and what came of them."""
