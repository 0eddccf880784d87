"""``bottega write report``: a table in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run
from bottega.cli._write._texts import deliver

__all__ = ["report"]

PANEL, PLACE = "Of your own material", 1
EXAMPLES = """\
  bottega write report sales.csv                                    every number of the text is proved by the table
  bottega write report league.csv --key team --columns points,goals --out league.md
  bottega write report shops.csv --key month --group sum --seed 3
"""


def report(
    table: Annotated[Path, typer.Argument(metavar="CSV", help="A .csv or .tsv file; its first line names the columns.")],
    key: Annotated[str, typer.Option("--key", metavar="COLUMN", help="The column that names the rows; dates or names are found by default.")] = "",
    columns: Annotated[str, typer.Option("--columns", metavar="A,B", help="Which columns of numbers to speak of; all by default.")] = "",
    group: Annotated[str, typer.Option("--group", metavar="HOW", help="Rows of the same name become one: sum or mean.")] = "",
    totals: Annotated[str, typer.Option("--totals", metavar="A,B", help="Columns whose sum means something; guessed by name by default.")] = "",
    facts: Annotated[int, typer.Option("--facts", metavar="N", min=1, help="At most so many sentences for a column.")] = 6,
    run: Annotated[Path | None, typer.Option("--run", metavar="RUN", help="A language model that chooses among the ways to say each thing.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the text there, as Markdown.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Tell a table in words: what rose and fell, who leads, by how much.

    Each sentence is read again by a checker that knows nothing of how it was made; what the table does not prove is not
    said. English.
    """
    from bottega.core import RecipeError
    from bottega.crafts import write_report as craft
    from bottega.crafts.write_table import read_table

    if group not in ("", "sum", "mean"):
        raise RecipeError(f"--group is {group!r}; use sum or mean")
    say = Out(as_json, quiet)
    read = read_table(table, key=key, columns=_names(columns), group=group)  # type: ignore[arg-type]
    choose = None
    if run is not None:
        from bottega.workshop.run import load

        choose = craft.chooser(load(whole_run(run), device=device))
    made = craft.report(read, seed=seed, facts=facts, totals=_names(totals), choose=choose)
    path = deliver(say, made.text, out, {"made_from": table.name, "task": "report", "seed": str(seed)})
    numbers = sum(claim.kind == "number" for claim in made.claims)
    say.note(f"{len(made.claims)} claims, {numbers} of them numbers, all proved by {table.name}")
    say.result({"title": made.title, "text": made.text, "claims": made.claims, "file": path})


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
