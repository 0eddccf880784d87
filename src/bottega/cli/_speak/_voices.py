"""What the tasks of speech share: runs, voices, manners, consent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bottega.cli._shared import Out
    from bottega.crafts.speak import Manner, Speaker
    from bottega.crafts.speak_voice import Profile
    from bottega.trust.consent import Consent

__all__ = ["ConsentFile", "Emotion", "Energy", "Pitch", "PitchRange", "References", "RunOf", "Speed", "VocoderRun", "VoiceName",
           "heard", "how_of", "profiled", "record_of", "speaker_of", "tell_foreign", "told"]  # fmt: skip

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


def record_of(consent: Path | None) -> Consent | None:
    """The record of ``--consent``."""
    from bottega.trust.consent import read_consent

    return None if consent is None else read_consent(consent)


def told(consent: Consent) -> dict[str, str]:
    """What of a consent goes into the mark."""
    return {"purpose": consent.purpose, "consent": consent.seal}


def profiled(profile: Path, consent: Path | None, use: str, voice: str | None = None) -> tuple[Profile, Consent, dict[str, str]]:  # fmt: skip
    """The profile of a voice, its consent, and what goes into the mark, where the consent allows ``use``; DataError otherwise."""
    from bottega.crafts.speak_voice import read_profile
    from bottega.trust.consent import check

    if voice is not None:
        raise typer.BadParameter("give --voice or --profile, not both", param_hint="--profile")
    found = read_profile(profile)
    record = check(record_of(consent), found.recordings, use)
    return found, record, {"voice_of": record.who, **told(record)}


def heard(speaker: Speaker, references: list[Path], consent: Path | None, use: str) -> tuple[Profile, Consent, dict[str, str]]:  # fmt: skip
    """As ``profiled``, of a voice that is heard in recordings now."""
    from bottega.codecs._sound_files import read_sound
    from bottega.crafts.speak_voice import digest, heard_profile
    from bottega.trust.consent import check

    if not references:
        raise typer.BadParameter("give --reference FILE, a recording of the voice", param_hint="--reference")
    sounds = [read_sound(path) for path in references]
    record = check(record_of(consent), [digest(s) for s in sounds], use)
    return heard_profile(speaker, sounds, record, use=use), record, {"voice_of": record.who, **told(record)}


def tell_foreign(say: Out, speaker: Speaker, text: str) -> None:
    """A note of words in a script that the run never met, which are spelled, or are missing from what is said."""
    if words := list(dict.fromkeys(speaker.foreign(text))):
        more = f" and {len(words) - 5} more" if len(words) > 5 else ""
        say.note(f"not in the run's letters, so not said as they are read: {', '.join(words[:5])}{more}")
