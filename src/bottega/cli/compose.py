"""``bottega compose``: every task with notes, each a file in ``_compose``."""

from __future__ import annotations

__all__ = ["compose"]

PANEL, PLACE, TASKS = "Crafts", 41, "_compose"
EXAMPLES = """\
  bottega train chorales                                       a model of chorales in four voices, in minutes
  bottega compose harmonise runs/chorales melody.mid -n 3      alto, tenor and bass, without a fault
  bottega compose continue runs/chorales beginning.musicxml --bars 8
  bottega compose check song.mid --against my/songs            is it a copy, in another key or at another pace?
  bottega compose cues cues.toml --out film                    music that meets a film's cues
"""


def compose() -> None:
    """Write, harmonise, check and arrange music: the tasks with notes.

    Scores come as MIDI, MusicXML or ABC and go as MIDI, MusicXML, sound and pictures, marked as machine-made.
    `bottega compose TASK --help` says what each does.
    """
