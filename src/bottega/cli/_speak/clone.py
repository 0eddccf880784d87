"""``bottega speak clone``: a text in the voice of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, Seed, sound_out
from bottega.cli._speak._voices import (
    ConsentFile,
    Emotion,
    Energy,
    Pitch,
    PitchRange,
    References,
    RunOf,
    Speed,
    VocoderRun,
    heard,
    how_of,
    speaker_of,
    tell_foreign,
)

__all__ = ["clone"]

PANEL, PLACE = "Voices of people", 3
EXAMPLES = """\
  bottega speak clone "It is me." --reference ann.wav --consent ann.toml --run runs/speech --out me.wav
"""


def clone(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be said.")],
    run: RunOf,
    reference: References = [],  # noqa: B006
    consent: ConsentFile = None,
    emotion: Emotion = "neutral",
    speed: Speed = None,
    pitch: Pitch = None,
    pitch_range: PitchRange = None,
    energy: Energy = None,
    waves: VocoderRun = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the sound goes, .wav or .flac.")] = Path("cloned.wav"),
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Say a text in the voice of a recording of about 10 seconds, where its consent allows it.

    What is made says that a machine made it, whose voice it is, what for, and the seal of the consent.
    """
    say = Out(as_json, quiet)
    how = how_of(emotion, speed, pitch, pitch_range, energy)
    out = sound_out(out, reference)
    speaker = speaker_of(run, waves)
    who, record, said = heard(speaker, list(reference), consent, "clone")
    sound = speaker.say(text, who, how, seed, consent=record)
    tell_foreign(say, speaker, text)
    path = speaker.save(sound, out, seed=seed, task="clone", said=said)
    say.say(f"{path}  {sound.seconds:.1f} seconds in the voice of {who.name}")
    say.result({"file": path, "seconds": sound.seconds, "voice": who.name, "consent": said["consent"]})
