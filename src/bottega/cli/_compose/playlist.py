"""``bottega compose playlist``: pieces ranked for a listener."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._compose._scores import Reader
from bottega.cli._shared import Json, Out, Quiet, Seed

__all__ = ["playlist"]

PANEL, PLACE = "Without a run", 34
EXAMPLES = """\
  bottega compose playlist plays.csv --listener anna -n 20
  bottega compose playlist plays.csv --listener anna --scores my/scores --new pieces    and a new piece near her taste
"""


def playlist(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Who played what: CSV with listener, piece and plays.")],
    listener: Annotated[str, typer.Option("--listener", metavar="NAME", help="For whom.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many pieces.")] = 20,
    scores: Annotated[Path | None, typer.Option("--scores", metavar="DIR", help="The pieces' scores, named as in FILE.")] = None,
    new: Annotated[Path | None, typer.Option("--new", metavar="DIR", help="New pieces, of which the one nearest to the listener's taste is named.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Rank the pieces that a listener has not heard by taste, learned from what all listeners played."""
    from bottega.core import DataError, nearest
    from bottega.crafts import compose_playlist as craft

    say = Out(as_json, quiet)
    if (scores is None) != (new is None):
        raise typer.BadParameter(
            "give both: the scores that were heard, and the new ones", param_hint="--scores, --new"
        )
    who, what, plays = craft.read_plays(file)
    if listener not in who:
        raise DataError(f"{file} has no listener {listener!r}{nearest(listener, who)}")
    me = who.index(listener)
    ranked = [what[k] for k in craft.Ranker(plays, seed=seed).rank(me)[:n]]
    for place, name in enumerate(ranked, 1):
        say.say(f"{place:3d}  {name}")
    told = {}
    if scores is not None and new is not None:
        reader = Reader()
        heard = {Path(item.name).stem: item for item in reader.read(scores)}
        known = [(heard[Path(name).stem], plays[me, k]) for k, name in enumerate(what) if Path(name).stem in heard]
        fresh = reader.read(new)
        reader.tell(say)
        best, share, _ = craft.near_taste([item for item, _ in known], [count for _, count in known], fresh)
        say.say(
            f"nearest new piece: {fresh[best].name} (nearer to {listener}'s taste than {100 * share:.0f} % of the known pieces)"
        )
        told = {"new": fresh[best].name, "nearer_than": share, "skipped": reader.skipped}
    say.result({"listener": listener, "pieces": ranked, **told})
