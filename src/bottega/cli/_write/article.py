"""``bottega write article``: a draft about keywords, and what it has of what was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed
from bottega.cli._write._texts import Model, Timeout, Way, deliver, given, writer

__all__ = ["article"]

PANEL, PLACE = "Of your own material", 3
EXAMPLES = """\
  bottega write article "heat pump,insulation" --from notes/ --words 500 --against published/
  bottega write article "heat pump" --from notes/ --headline "Warm without gas" --density 1-2.5
  bottega write article "exception" --run runs/english                 or --run http://localhost:8000/v1 --model mistral
  bottega write article "heat pump,insulation" --check draft.md --against published/
"""


def article(
    keywords: Annotated[str, typer.Argument(metavar="A,B", help="Words or phrases that the article must have.")],
    from_: Annotated[Path | None, typer.Option("--from", metavar="DIR", help="Your material: .txt and .md files; every sentence keeps its source.")] = None,
    run: Annotated[str, typer.Option("--run", metavar="RUN|URL", help="A language model that writes where there is no material; an OpenAI-compatible endpoint by its address.")] = "",
    headline: Annotated[str, typer.Option("--headline", metavar="TEXT", help="The title; made of the keywords by default.")] = "",
    headings: Annotated[list[str], typer.Option("--heading", metavar="TEXT", help="A part's heading; may be given many times. One for each keyword by default.")] = [],  # noqa: B006
    length: Annotated[int, typer.Option("--words", metavar="N", min=50, help="About so many words.")] = 400,
    density: Annotated[str, typer.Option("--density", metavar="A-B", help="Words of each keyword for a hundred words: the least and the most.")] = "0.5-3",
    against: Annotated[Path | None, typer.Option("--against", metavar="DIR", help="Texts that were published before: none of their sentences is taken, and what is shared is measured.")] = None,
    check: Annotated[Path | None, typer.Option("--check", metavar="FILE", help="Write nothing: measure this draft.")] = None,
    model: Model = "",
    way: Way = "chat",
    timeout: Timeout = 60.0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the draft there, as Markdown.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Draft an article about keywords from your own material, or from a language model.

    Says of each keyword how dense it is, whether the headings are there, and how many runs of five words stand in a text
    that was published before. The status is 2 when something is not as asked.
    """
    import re

    from bottega.core import RecipeError
    from bottega.crafts import write_article as craft

    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*", density)
    if found is None:
        raise RecipeError(f"--density is {density!r}; give the least and the most in per cent, 0.5-3 say")
    span = (float(found[1]), float(found[2]))
    say, names = Out(as_json, quiet), [k.strip() for k in keywords.split(",") if k.strip()]
    old = craft.folder_texts(against) if against is not None else None
    if check is not None:
        text, sources, path = given(str(check), "the draft"), [], None
        seen = craft.audit(text, names, headings=headings, density=span, against=old)
    else:
        writes = writer(run, model, way, timeout, device) if run else None
        made = craft.article(
            names, headline=headline, material=None if from_ is None else craft.folder_texts(from_), run=writes,
            headings=headings, length=length, density=span, against=old, seed=seed,
        )  # fmt: skip
        text, sources, seen = made.text, made.sources, made.audit
        files = ", ".join(sorted({name for _, name in sources}))
        path = deliver(say, text, out, {"task": "article", "made_from": files or run, "seed": str(seed)})
    dense = ", ".join(f"{k} {d:.2f} %" for k, d in seen.density.items())
    say.note(f"{seen.words} words; {dense}; at most {100 * seen.copied:.0f} % stands in one published text")
    for fault in seen.faults:
        say.note(fault)
    say.result({"text": text, "audit": seen, "sources": sources, "file": path})
    if seen.faults:
        raise typer.Exit(2)
