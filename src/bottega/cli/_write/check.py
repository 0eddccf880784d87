"""``bottega write check``: what a text says of a table, or of a closed folder of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet
from bottega.cli._write._texts import given, is_file, left_out

__all__ = ["check"]

PANEL, PLACE = "Of your own material", 2
EXAMPLES = """\
  bottega write check article.md --table sales.csv
  bottega write check "Sales rose 4 % in March 2024." --table sales.csv --json
  bottega write check draft.md --from papers/               which sentences no file of the folder says
"""


def check(
    text: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="What to check: a UTF-8 file, the text itself, or - for standard input.")],
    table: Annotated[Path | None, typer.Option("--table", metavar="CSV", help="The table that it should agree with.")] = None,
    from_: Annotated[Path | None, typer.Option("--from", metavar="DIR", help="The .txt, .md and .csv files that are all that may be claimed.")] = None,
    key: Annotated[str, typer.Option("--key", metavar="COLUMN", help="With --table: the column that names the rows.")] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Prove or refute every claim that a text makes of a table: numbers, dates, rises and falls, ranks, extremes.

    A claim that the table cannot speak to is open. The status is 2 when a claim is refuted. English.

    With --from, check each sentence against a closed folder instead. It is supported when one passage there holds three
    quarters of the weight of its words (rare words weigh more), all its numbers and names, and denies as often as it does.
    The sentences are told with that passage and its file, then the share that is unsupported with its 95 % interval, and the
    label that would go under the text. The status is 2 when a sentence is unsupported. Who did what to whom is not seen.
    """
    from bottega.core import DataError, RecipeError

    say = Out(as_json, quiet)
    if table is None and from_ is None:
        raise DataError("nothing to check against; name a table with --table, or a folder with --from")
    if table is not None and from_ is not None:
        raise RecipeError(f"--table {table} and --from {from_} are two checks; ask for one at a time")
    if from_ is not None:
        if key:
            raise RecipeError(f"--key {key} names the rows of a table, and --from reads a folder; leave it out")
        _against(say, text, from_)
        return
    from bottega.crafts import write_check as craft
    from bottega.crafts.write_table import read_table

    assert table is not None
    claims = craft.check(given(text), read_table(table, key=key))
    if claims and not as_json:
        shown = [c for c in claims if c.verdict != "proved"] if quiet else claims
        if shown:
            say.table(("claim", "", "the table says", "in"), [(c.text, c.verdict, c.why, _short(c.sentence)) for c in shown])  # fmt: skip
    count = {v: sum(c.verdict == v for c in claims) for v in ("proved", "refuted", "open")}
    say.note(f"{len(claims)} claims: {count['proved']} proved, {count['refuted']} refuted, {count['open']} open")
    say.result({"claims": claims, **count})
    if count["refuted"]:
        raise typer.Exit(2)


def _against(say: Out, source: str, folder: Path) -> None:
    """Check a text against a folder, the text's own file left out of it."""
    from bottega.core import DataError
    from bottega.crafts.write_answer import Library, whole
    from bottega.trust.claims import rate

    text = given(source)
    own = Path(source) if is_file(source) else None
    library = Library.read(folder, without=own)
    left_out(library.left_out)
    if own is not None and own.resolve().is_relative_to(folder.resolve()):
        say.note(f"{own} itself was left out of {folder}: a text does not prove itself")
    label = library.corpus().label("\n".join(whole(text)))
    if not label.claims:
        raise DataError("the text has no sentence to check; write at least one")
    found = rate(label.claims, "the text")
    shown = [c for c in label.claims if not c.supported] if say.quiet else label.claims
    if shown:
        rows = [(_short(c.claim), "supported" if c.supported else "unsupported", c.why, f"{c.source}: {_short(c.passage)}" if c.source else "nothing") for c in shown]  # fmt: skip
        say.table(("sentence", "", "because", "nearest passage"), rows)
    bad = sum(not c.supported for c in label.claims)
    say.say(f"{bad} of {found.n} sentences unsupported: {100 * found.value:.0f} % (95 % interval {100 * (found.low or 0):.0f} to {100 * (found.high or 0):.0f} %)")  # fmt: skip
    say.say(f"source: {label.source}\nlimits: {label.limits}")
    told = {"source": label.source, "confidence": label.confidence, "limits": label.limits}
    say.result({"sentences": label.claims, "unsupported": bad, "unsupported_claims": found, "label": told, "left_out": library.left_out})  # fmt: skip
    if bad:
        raise typer.Exit(2)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
