"""``bottega speak say``: a text as sound."""

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
    RunOf,
    Speed,
    VocoderRun,
    VoiceName,
    how_of,
    profiled,
    speaker_of,
    tell_foreign,
)

__all__ = ["say"]

PANEL, PLACE = "Say", 1
EXAMPLES = """\
  bottega speak say "Good morning." --run runs/speech
  bottega speak say "On May 5th it cost $3.50." --run runs/speech --voice linda --speed 0.9 --pitch 2 --out said.wav
  bottega speak say letter.txt --run runs/speech --emotion calm --vocoder runs/speech-vocoder
  bottega speak say "It is me." --run runs/speech --profile ann.json --consent ann.toml
"""


def say(
    text: Annotated[str, typer.Argument(metavar="TEXT|FILE", help="What is to be said, or a file of text.")],
    run: RunOf,
    voice: VoiceName = None,
    profile: Annotated[Path | None, typer.Option("--profile", metavar="FILE", help="A person's voice (bottega speak profile); needs --consent.")] = None,
    consent: ConsentFile = None,
    emotion: Emotion = "neutral",
    speed: Speed = None,
    pitch: Pitch = None,
    pitch_range: PitchRange = None,
    energy: Energy = None,
    waves: VocoderRun = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw waveform, spectrum and sounds, as PNG.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the sound goes, .wav or .flac.")] = Path("said.wav"),
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Say a text, English numbers, dates, money and abbreviations as they are spoken.

    Options move an emotion's own manner: --emotion sad --pitch 2 is as high as neutral.
    """
    say_ = Out(as_json, quiet)
    how = how_of(emotion, speed, pitch, pitch_range, energy)
    file = _file(text)
    out = sound_out(out, [] if file is None else [file], picture)
    text = text if file is None else _read(file)
    speaker = speaker_of(run, waves)
    said: dict[str, str] = {}
    who, record = voice, None
    if profile is not None:
        who, record, said = profiled(profile, consent, "clone", voice)  # type: ignore[assignment]
    sound = speaker.say(text, who, how, seed, consent=record)
    tell_foreign(say_, speaker, text)
    path = speaker.save(sound, out, seed=seed, said=said or {"voice": voice or speaker.voices[0]})
    say_.say(f"{path}  {sound.seconds:.1f} seconds")
    if picture is not None:
        from bottega.crafts.speak_page import draw_said

        say_.say(str(draw_said(speaker, text, picture, who, how, seed, consent=record)))
    say_.result(
        {
            "file": path,
            "seconds": sound.seconds,
            "rate": sound.rate,
            "voice": voice or said.get("voice_of", speaker.voices[0]),
        }
    )


def _file(text: str) -> Path | None:
    """The file that a text names: one that is there, or one word that ends as a file of text does."""
    if len(text) >= 240 or Path(text).suffix not in {".txt", ".md"}:
        return None
    return Path(text) if len(text.split()) == 1 or Path(text).is_file() else None


def _read(file: Path) -> str:
    from bottega.core import DataError

    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; give a text, or a file of UTF-8 text") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
