"""``bottega write check``: what a text says of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet
from bottega.cli._write._texts import given

__all__ = ["check"]

PANEL, PLACE = "Of your own material", 2
EXAMPLES = """\
  bottega write check article.md --table sales.csv
  bottega write check "Sales rose 4 % in March 2024." --table sales.csv --json
"""


def check(
    text: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="What to check: a UTF-8 file, the text itself, or - for standard input.")],
    table: Annotated[Path, typer.Option("--table", metavar="CSV", help="What it should agree with.")],
    key: Annotated[str, typer.Option("--key", metavar="COLUMN", help="The column that names the rows.")] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Prove or refute every claim that a text makes of a table: numbers, dates, rises and falls, ranks, extremes.

    A claim that the table cannot speak to is open. The status is 2 when a claim is refuted. English.
    """
    from bottega.crafts import write_check as craft
    from bottega.crafts.write_table import read_table

    say = Out(as_json, quiet)
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


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
