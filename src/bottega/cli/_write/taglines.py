"""``bottega write taglines``: advertising lines in quantity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed
from bottega.cli._write._texts import Model, Timeout, Way, deliver, writer

__all__ = ["taglines"]

PANEL, PLACE = "Of your own material", 6
EXAMPLES = """\
  bottega write taglines "Norrland 40" --kind rucksack --benefit "keep a map dry" --benefit "leave the car at home" --feature "a frame of bamboo" --feature "straps of felt" --audience "hikers: cross the hills" --audience students -n 20
  bottega write taglines "Norrland 40" --kind rucksack --brief brief.toml -n 100 --ban Alpine --out lines.txt
"""


def taglines(
    product: Annotated[str, typer.Argument(metavar="NAME", help="What is advertised.")],
    kind: Annotated[str, typer.Option("--kind", metavar="WORD", help="What it is, with no article: rucksack.")],
    benefits: Annotated[list[str], typer.Option("--benefit", metavar="TEXT", help='What one does with it, as after "to": keep a map dry. Several.')] = [],  # noqa: B006
    features: Annotated[list[str], typer.Option("--feature", metavar="TEXT", help="What it has: a frame of bamboo. Several.")] = [],  # noqa: B006
    audiences: Annotated[list[str], typer.Option("--audience", metavar="TEXT", help='To whom, in the plural, and what they do: "hikers: cross the hills". Several; lines take turns.')] = [],  # noqa: B006
    brief: Annotated[Path | None, typer.Option("--brief", metavar="TOML", help="A file with lists benefits, features and audiences, instead or as well.")] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many lines.")] = 20,
    cap: Annotated[float, typer.Option("--cap", metavar="SHARE", help="No two lines share more of their words.")] = 0.5,
    ban: Annotated[list[str], typer.Option("--ban", metavar="TEXT", help="Words that must not occur, beside the claims that are banned anyway. Several.")] = [],  # noqa: B006
    run: Annotated[str, typer.Option("--run", metavar="RUN|URL", help="A language model that ends each line; an OpenAI-compatible endpoint by its address.")] = "",
    model: Model = "",
    way: Way = "chat",
    timeout: Timeout = 60.0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the lines there, one on each line.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write advertising lines in quantity: all different, each for an audience, none with a claim that needs proof.

    A filter holds back superlatives, guarantees, claims of health and the like (advertising rules ask proof for them), and
    says which words of which line broke which rule.
    """
    from bottega.core import DataError, RecipeError
    from bottega.crafts import write_taglines as craft
    from bottega.crafts.write_table import read_text

    told: dict[str, list[str]] = {"benefits": list(benefits), "features": list(features), "audiences": list(audiences)}
    if brief is not None:
        import tomllib

        try:
            found = tomllib.loads(read_text(brief))
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"{brief} is not TOML: {error}") from error
        for name, value in found.items():
            if name not in told or not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                raise RecipeError(
                    f"{brief} has {name!r}; it may hold lists of texts called benefits, features and audiences"
                )
            told[name] += value
    writes = writer(run, model, way, timeout, device) if run else None
    say = Out(as_json, quiet)
    made = craft.taglines(craft.Brief(product, kind, **told), n=n, cap=cap, banned=ban, run=writes, seed=seed)
    path = deliver(say, "\n".join(line.text for line in made.lines), out, {"task": "taglines", "seed": str(seed)})
    say.note(
        f"{len(made.lines)} lines; two share at most {100 * made.overlap:.0f} % of their words; {made.close} were too like another"
    )
    for one in made.refused:
        say.note(f"held back by the rule {one.rule} ({one.words}): {one.text}")
    say.result(
        {"lines": made.lines, "overlap": made.overlap, "refused": made.refused, "too_close": made.close, "file": path}
    )
