"""``bottega recipes``: what can be trained by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out

__all__ = ["recipes"]

PANEL, PLACE = "Begin", 1
EXAMPLES = """\
  bottega recipes                       all of them
  bottega recipes digits-diffusion      one of them as a file, to copy and change
  bottega recipes digits-diffusion > mine.toml && bottega train mine.toml
"""


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this recipe.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes that come with Bottega, or print one."""
    from bottega.workshop.recipe import load_recipe, shipped

    say = Out(as_json)
    if name is not None:
        recipe = load_recipe(name)
        if not as_json:
            say.say((shipped().get(name) or Path(name)).read_text(encoding="utf-8").rstrip("\n"))
        say.result({**recipe.to_dict(), "header": recipe.header})
        return
    rows = []
    for known, path in shipped().items():
        recipe = load_recipe(known)
        rows.append({"name": known, "makes": path.parent.name, "family": recipe.family["name"],
                     "about": recipe.about, "header": recipe.header, "path": path})  # fmt: skip
    if not as_json:
        table = [(r["name"], r["makes"], r["about"], _minutes(r["header"])) for r in rows]
        say.table(("recipe", "makes", "about", "takes"), table)
        say.note(
            "\nbottega train RECIPE trains one; bottega recipes RECIPE prints it; your own folder is a recipe too."
        )
    say.result({"recipes": rows})


def _minutes(header: str) -> str:
    """The part of the header that speaks of time, as it stands there.

    >>> _minutes("2 cores, about 3 minutes, 400 MiB; 0.9 recognised")
    'about 3 minutes'
    """
    import re

    found = re.search(r"(?:(?:about|under|≤|~)\s*)?\d[\d.,]*(?:\s*(?:-|–|to)\s*\d+)?\s*(?:minutes?|seconds?|hours?|min|s|h)\b", header)  # fmt: skip
    return found.group(0) if found else ""
