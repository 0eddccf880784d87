"""``bottega speak voices``: the voices of a run."""

from __future__ import annotations

from bottega.cli._shared import Json, Out, Quiet
from bottega.cli._speak._voices import RunOf, speaker_of

__all__ = ["voices"]

PANEL, PLACE = "Say", 3
EXAMPLES = """\
  bottega speak voices --run runs/speech
"""


def voices(run: RunOf, as_json: Json = False, quiet: Quiet = False) -> None:
    """List the voices that a run was trained on, and the emotions that any of them can be asked for."""
    from bottega.crafts.speak import EMOTIONS

    say = Out(as_json, quiet)
    speaker = speaker_of(run, None)
    say.say("voices    " + " ".join(speaker.voices))
    say.say("emotions  " + " ".join(EMOTIONS))
    say.result({"voices": speaker.voices, "emotions": list(EMOTIONS), "language": speaker.codec.language})
