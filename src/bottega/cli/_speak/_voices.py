"""What the tasks of speech share: runs, voices, manners, consent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bottega.core import Sound
    from bottega.crafts.speak import Manner, Speaker
    from bottega.crafts.speak_voice import Profile
    from bottega.trust.consent import Consent

__all__ = ["ConsentFile", "Emotion", "Energy", "Pitch", "PitchRange", "References", "RunOf", "Speed", "VocoderRun", "VoiceName",
           "cloned", "how_of", "speaker_of"]  # fmt: skip

RunOf = Annotated[Path, typer.Option("--run", metavar="RUN", help="The folder of a run of speech (bottega train speech), or its model.safetensors.")]  # fmt: skip
VocoderRun = Annotated[Path | None, typer.Option("--vocoder", metavar="RUN", help="A run that makes waves of mel bands (bottega train speech-vocoder); Griffin-Lim without.")]  # fmt: skip
VoiceName = Annotated[str | None, typer.Option("--voice", metavar="NAME", help="A voice of the run; its first one by default.")]  # fmt: skip
Speed = Annotated[float | None, typer.Option("--speed", metavar="X", help="Times as fast.")]
Pitch = Annotated[float | None, typer.Option("--pitch", metavar="SEMITONES", help="Higher by so much.")]
PitchRange = Annotated[float | None, typer.Option("--pitch-range", metavar="X", help="Times the melody's range; 0 is monotone.")]  # fmt: skip
Energy = Annotated[float | None, typer.Option("--energy", metavar="DB", help="Louder by so much.")]
Emotion = Annotated[str, typer.Option("--emotion", metavar="NAME", help="neutral, happy, excited, angry, sad, calm or fearful.")]  # fmt: skip
References = Annotated[list[Path], typer.Option("--reference", metavar="FILE", help="A recording of the voice, about 10 seconds; may be given many times.")]  # fmt: skip
ConsentFile = Annotated[Path | None, typer.Option("--consent", metavar="FILE", help="The record that allows it (bottega speak consent).")]  # fmt: skip


def speaker_of(run: Path, waves: Path | None) -> Speaker:
    """The run, ready to speak."""
    from bottega.crafts.speak import Speaker

    return Speaker.of(run, waves)


def how_of(emotion: str, speed: float | None, pitch: float | None, pitch_range: float | None, energy: float | None, pause: float | None = None) -> Manner:  # fmt: skip
    """The manner that options say."""
    from bottega.crafts.speak import manner

    return manner(emotion, speed=speed, pitch=pitch, pitch_range=pitch_range, energy=energy, pause=pause)


def sounds_and_consent(references: list[Path], consent: Path | None, use: str) -> tuple[list[Sound], Consent]:
    """Recordings of a voice, once their consent allows ``use``."""
    from bottega.codecs._sound_files import read_sound
    from bottega.crafts.speak_voice import digest
    from bottega.trust.consent import check, read_consent

    sounds = [read_sound(path) for path in references]
    record = None if consent is None else read_consent(consent)
    return sounds, check(record, [digest(s) for s in sounds], use)


def cloned(speaker: Speaker, references: list[Path], profile: Path | None, consent: Path | None, use: str) -> tuple[Profile, dict[str, str]]:  # fmt: skip
    """The profile of a voice and what goes into the mark, where a consent allows ``use``; DataError otherwise."""
    from bottega.crafts.speak_voice import heard_profile, read_profile
    from bottega.trust.consent import check, read_consent

    if (profile is None) == (not references):
        raise typer.BadParameter("give --reference or --profile, one of the two", param_hint="--reference")
    if profile is not None:
        found = read_profile(profile)
        record = check(None if consent is None else read_consent(consent), found.recordings, use)
    else:
        sounds, record = sounds_and_consent(references, consent, use)
        found = heard_profile(speaker, sounds, record.who)
    return found, {"voice_of": record.who, "purpose": record.purpose, "consent": record.seal}
