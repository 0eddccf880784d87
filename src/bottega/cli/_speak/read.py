"""``bottega speak read``: a book as sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, Seed, duration, numbers, own_place
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
)

__all__ = ["read"]

PANEL, PLACE = "Say", 2
EXAMPLES = """\
  bottega speak read book.md --run runs/speech --out book          Ctrl-C stops; the same command goes on
  bottega speak read book.txt --run runs/speech --voice max --speed 0.9 --pause 1.5 --format wav
  bottega speak read book.md --run runs/speech --chapters 1-3
"""


def read(
    book: Annotated[Path, typer.Argument(metavar="FILE", help="Text or Markdown, UTF-8; '# Title' or 'Chapter 1' begins a chapter.")],
    run: RunOf,
    voice: VoiceName = None,
    profile: Annotated[Path | None, typer.Option("--profile", metavar="FILE", help="A person's voice (bottega speak profile); needs --consent.")] = None,
    consent: ConsentFile = None,
    emotion: Emotion = "neutral",
    speed: Speed = None,
    pitch: Pitch = None,
    pitch_range: PitchRange = None,
    energy: Energy = None,
    pause: Annotated[float | None, typer.Option("--pause", metavar="X", help="Times as long between sentences and paragraphs.")] = None,
    chapters: Annotated[str, typer.Option("--chapters", metavar="N-M", help="Only these, counted from 1.")] = "",
    waves: VocoderRun = None,
    form: Annotated[str, typer.Option("--format", metavar="flac|wav", help="Of the files.")] = "flac",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the chapters go.")] = Path("book"),
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Read a book aloud, a file for each chapter, with pauses between sentences and paragraphs.

    What was made is kept paragraph by paragraph: stopped by Ctrl-C, the same command goes on where it was.
    """
    from bottega.crafts.speak_book import read_book

    say = Out(as_json, quiet)
    how = how_of(emotion, speed, pitch, pitch_range, energy, pause)
    own_place(out, folder=True)
    speaker = speaker_of(run, waves)
    who, record, said = voice, None, dict[str, str]()
    if profile is not None:
        who, record, said = profiled(profile, consent, "clone", voice)  # type: ignore[assignment]
    last = ""

    def tell(done: int, many: int, title: str) -> None:
        nonlocal last
        if title != last or done % 20 == 0:
            say.note(f"{done} of {many} paragraphs  {title}")
        last = title

    only = tuple(numbers(chapters, "--chapters", "chapter", least=1)) if chapters else ()
    made = read_book(speaker, book, out, who=who, how=how, ending=f".{form.lstrip('.')}", seed=seed, only=only, consent=record, said=said, tell=tell)  # fmt: skip
    rows = [(str(f), t, duration(s)) for f, t, s in zip(made.files, made.titles, made.seconds, strict=True)]
    say.table(("file", "chapter", "length"), rows, numeric=(2,))
    for line in made.left_out[:5]:
        say.note(line)
    if len(made.left_out) > 5:
        say.note(f"and {len(made.left_out) - 5} more are left out")
    say.note(f"{made.made} paragraphs made, {made.kept} there already")
    say.result(
        {
            "files": made.files,
            "titles": made.titles,
            "seconds": made.seconds,
            "made": made.made,
            "kept": made.kept,
            "left_out": made.left_out,
        }
    )
