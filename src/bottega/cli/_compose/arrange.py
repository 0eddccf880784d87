"""``bottega compose arrange``: a tune for named instruments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import ALL, Folder, Formats, Key, Piece, piece_of, wanted
from bottega.cli._shared import Json, Out, Quiet, Seed

__all__ = ["arrange"]

PANEL, PLACE = "Without a run", 29
EXAMPLES = """\
  bottega compose arrange song.abc --for "flute, guitar, cello" -n 3
  bottega compose arrange tune.mid --for "string quartet" --formats musicxml,wav
  bottega compose arrange tune.mid --for "alto sax, flute=double, piano, electric bass, drums" --style offbeat
  bottega compose arrange chorale.mid --for "violin, viola=harmony, cello" --genre waltz --transpose -2
"""


def arrange(
    file: Piece,
    for_: Annotated[str, typer.Option("--for", metavar="LIST", help="Who plays: instruments with commas between, each with =melody, double, harmony, bass or drums where it should not have the role it gets; or folk trio, string quartet, brass quintet, piano, band.")] = "folk trio",
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many different ways.")] = 1,
    style: Annotated[str | None, typer.Option("--style", metavar="NAME", help="How it is accompanied: held, oompah, offbeat, arpeggio or strum.")] = None,
    genre: Annotated[str | None, typer.Option("--genre", metavar="NAME", help="Whose style it has, such as waltz, jig, polka or hymn; as the file says by default.")] = None,
    transpose: Annotated[int, typer.Option("--transpose", metavar="N", help="Move the piece by so many semitones first.")] = 0,
    key: Key = None,
    out: Folder = Path("pieces"),
    formats: Formats = ALL,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Arrange a tune for instruments: its melody, its chords in the rhythm of a style, and a bass, each within its range.

    The highest line is the melody, the other notes (or the melody alone) say the chords. Of the instruments without a role the first
    has the melody, the lowest of the others the bass, the rest harmony. Every way keeps the rules: ranges, chord tones, no crossing,
    no parallel fifths or octaves between melody, bass and inner lines, no wide leaps. No model is needed.
    """
    from bottega.crafts import compose_arrange as craft
    from bottega.crafts.compose import save_plain

    say, kinds, who = Out(as_json, quiet), wanted(formats), craft.players(for_)
    score = piece_of(file, key, transpose)
    made = craft.arrange(score, who, n=n, seed=seed, style=style or "", genre=genre or "")
    told = []
    say.say(f"{made[0].said['key']}: " + " | ".join(craft.chart(made[0])))
    for number, one in enumerate(made, 1):
        stem = out / (f"{file.stem}-arranged-{number}" if n > 1 else f"{file.stem}-arranged")
        files = save_plain(one.score, stem, kinds, one.seed, "compose arrange")
        told.append(one.said | {"files": files})
        say.say("  ".join(map(str, files)))
        moved = f", the melody {one.moved:+d} semitones" if one.moved else ""
        say.say(f"  {one.style}: {craft.STYLES[one.style]}; seed {one.seed}, {len(one.faults)} faults{moved}")
        rows = [
            (p["instrument"], p["role"], str(p["notes"]), f"{p['lowest']} to {p['highest']}") for p in one.said["parts"]
        ]
        say.table(("instrument", "role", "notes", "pitches"), rows, numeric=(2,))
    say.result({"chords": craft.chart(made[0]), "ways": told})
