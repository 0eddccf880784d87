"""``bottega speak profile``: a voice heard in recordings, kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, own_place
from bottega.cli._speak._voices import ConsentFile, References, RunOf, heard, speaker_of

__all__ = ["profile"]

PANEL, PLACE = "Voices of people", 2
EXAMPLES = """\
  bottega speak profile --reference ann.wav --consent ann.toml --run runs/speech --out ann.json
  bottega speak say "It is me." --run runs/speech --profile ann.json --consent ann.toml
"""


def profile(
    run: RunOf,
    reference: References = [],  # noqa: B006
    consent: ConsentFile = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the profile goes.")] = Path("voice.json"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hear a person's voice in recordings, where they allow it, and keep what was heard as a small file.

    Each time that the file is used, the consent is looked at again.
    """
    from bottega.crafts.speak_voice import write_profile

    say = Out(as_json, quiet)
    own_place(out, [*reference, *([consent] if consent else [])])
    found, _, _ = heard(speaker_of(run, None), list(reference), consent, "clone")
    path = write_profile(found, out)
    say.say(f"{path}  {found.name}, heard in {found.seconds:.1f} seconds")
    say.result({"file": path, "name": found.name, "seconds": found.seconds, "recordings": list(found.recordings)})
