"""``bottega write language``: in which language texts are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, whole_run
from bottega.cli._write._texts import given

__all__ = ["language"]

PANEL, PLACE = "With a run", 40
EXAMPLES = """\
  bottega write language runs/languages "katdet natsa var deba."
  bottega write language runs/mine one.txt two.txt --json
"""


def language(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run whose texts have their language as class.")],
    texts: Annotated[list[str], typer.Argument(metavar="FILE|TEXT...", help="What to look at: UTF-8 files, texts, or - for standard input.")],
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Say in which language each text is, of those that a run knows.

    Train one on your own texts: a table with a column that says the language (codec.label), and family ngram.
    """
    from bottega.crafts import write_language as craft
    from bottega.workshop.run import load

    say, made = Out(as_json, quiet), load(whole_run(run), device=device)
    found = craft.identify(made, [given(text) for text in texts])
    rows = [
        (t if len(t) < 60 else f"{t[:57]}...", v.language, f"{v.probability:.3f}")
        for t, v in zip(texts, found, strict=True)
    ]
    say.table(("text", "language", "probability"), rows, numeric=(2,))
    say.result({"run": made.path, "texts": [{"text": t, **v.__dict__} for t, v in zip(texts, found, strict=True)]})
