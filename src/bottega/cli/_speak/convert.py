"""``bottega speak convert``: a recording in another voice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, Seed, sound_out
from bottega.cli._speak._voices import (
    ConsentFile,
    References,
    RunOf,
    VocoderRun,
    VoiceName,
    heard,
    profiled,
    record_of,
    speaker_of,
    told,
)

__all__ = ["convert"]

PANEL, PLACE = "Voices of people", 4
EXAMPLES = """\
  bottega speak convert talk.wav --reference ann.wav --consent ann.toml --run runs/speech    in Ann's voice, as she allows
  bottega speak convert mine.wav --voice linda --consent me.toml --run runs/speech           in a voice of the run, as I allow
"""


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording of speech.")],
    run: RunOf,
    voice: VoiceName = None,
    reference: References = [],  # noqa: B006
    profile: Annotated[Path | None, typer.Option("--profile", metavar="FILE", help="A person's voice (bottega speak profile).")] = None,
    consent: ConsentFile = None,
    pitch: Annotated[float, typer.Option("--pitch", metavar="SEMITONES", help="Higher than the voice itself speaks.")] = 0.0,
    waves: VocoderRun = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the sound goes, .wav or .flac.")] = Path("converted.wav"),
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Say again what is said in a recording, with its timing and melody, in another voice.

    Into a person's voice, their consent is needed; into a voice of the run, that of who speaks in FILE.
    """
    from bottega.codecs._sound_files import read_sound
    from bottega.crafts.speak_manner import within
    from bottega.crafts.speak_voice import convert as craft
    from bottega.crafts.speak_voice import digest
    from bottega.trust.consent import check

    say = Out(as_json, quiet)
    within("pitch", pitch)
    if (voice is not None) + bool(reference) + (profile is not None) != 1:
        raise typer.BadParameter("give --voice, --reference or --profile, one of them", param_hint="--voice")
    out = sound_out(out, [file, *reference])
    sound = read_sound(file)
    speaker = speaker_of(run, waves)
    if voice is not None:
        record = check(record_of(consent), [digest(sound)], "convert")
        who, said = voice, {"voice": voice, "speaker": record.who, **told(record)}
    elif profile is not None:
        who, record, said = profiled(profile, consent, "convert")  # type: ignore[assignment]
    else:
        who, record, said = heard(speaker, list(reference), consent, "convert")  # type: ignore[assignment]
    sound = craft(speaker, sound, who, record, pitch=pitch, seed=seed)
    path = speaker.save(sound, out, seed=seed, task="convert", said={"source": file.name, **said})
    say.say(f"{path}  {sound.seconds:.1f} seconds")
    say.result({"file": path, "seconds": sound.seconds, "consent": said["consent"]})
