"""``bottega write``: every task with words, each a file in ``_write``."""

from __future__ import annotations

__all__ = ["write"]

PANEL, PLACE, TASKS = "Crafts", 39, "_write"
EXAMPLES = """\
  bottega write report sales.csv                                   a table in words; every number is proved
  bottega write check article.md --table sales.csv                 what a text says of a table, proved or refuted
  bottega write answer "Who opened the bridge?" --from papers/     with the place where it stands
  bottega write poem limerick
  bottega write generate runs/english "The statement" --set temperature=0.8
"""


def write() -> None:
    """Write, check, summarise, translate and answer: the tasks with words.

    Those of the first panels need no trained model. `bottega write TASK --help` says what each does.
    """
