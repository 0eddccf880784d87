"""``bottega chat``: a bot as a folder, talked to, tested, reported on and retrained; each task a file in ``_chat``."""

from __future__ import annotations

__all__ = ["chat"]

PANEL, PLACE, TASKS, DEFAULT = "Crafts", 45, "_chat", "talk"
EXAMPLES = """\
  bottega chat new shop                       writes an example: the customer service of a plant shop
  bottega chat shop                           talk to it
  bottega chat test shop                      its scripted conversations
  bottega chat report shop                    what was asked, what was not understood, how fast
  bottega chat retrain shop                   learn from thumbs and edits, and compare with the old model
"""


def chat() -> None:
    """A chatbot: intents, knowledge with its sources, memory, tools, a person when it is unsure; and feedback that retrains it.

    A bot is a folder with a bot.toml. `bottega chat FOLDER` talks to it; `bottega serve --bot FOLDER` serves it.
    """
