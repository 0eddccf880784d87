"""``bottega speak``: text to speech, audiobooks, voices with consent; each task a file in ``_speak``."""

from __future__ import annotations

__all__ = ["speak"]

PANEL, PLACE, TASKS = "Crafts", 42, "_speak"
EXAMPLES = """\
  bottega train speech                                            24 voices of espeak-ng, in about 20 minutes
  bottega speak say "Good morning." --run runs/speech --voice linda --emotion happy
  bottega speak read book.md --run runs/speech --out book         a file for each chapter; run again to go on
  bottega speak consent --who "Ann Lee" --voice ann.wav --purpose "her own audiobook" --until 2027-12-31 --out ann.toml
  bottega speak clone "It is me." --reference ann.wav --consent ann.toml --run runs/speech
  bottega speak convert talk.wav --reference ann.wav --consent ann.toml --run runs/speech
"""


def speak() -> None:
    """Say texts, read books, and speak in the voice of someone who allowed it.

    The run comes from `bottega train speech`, on rendered voices or on recordings of your own with a transcript. Cloning
    and conversion need a record of consent; everything that is made is marked as machine-made.
    """
