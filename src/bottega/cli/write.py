"""``bottega write``: every task with words, each a file in ``_write``."""

from __future__ import annotations

__all__ = ["write"]

PANEL, PLACE, TASKS = "Crafts", 39, "_write"
EXAMPLES = """\
  bottega write generate runs/english "The statement" --set temperature=0.8
"""


def write() -> None:
    """Write, check, summarise, translate and answer: the tasks with words.

    Those of the first panels need no trained model. `bottega write TASK --help` says what each does.
    """
