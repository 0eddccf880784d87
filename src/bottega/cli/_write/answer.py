"""``bottega write answer``: a question, asked of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, whole_run
from bottega.cli._write._texts import left_out

__all__ = ["answer"]

PANEL, PLACE = "Of your own material", 5
EXAMPLES = """\
  bottega write answer "When was the bridge opened?" --from papers/
  bottega write answer "Which district has the most inhabitants?" --from papers/ --json
  bottega write answer "Who manages the Nordhof?" --from lists/ every .csv counts, with numbers or without
  bottega write answer --exam                                   the fifty built-in questions
"""


def answer(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What you want to know, in English.")] = "",
    from_: Annotated[Path | None, typer.Option("--from", metavar="DIR", help="Where to look: .txt and .md files, and .csv tables.")] = None,
    least: Annotated[float, typer.Option("--least", metavar="SHARE", min=0, max=1, help="Do not answer where the passage has less of the question than this.")] = 0.6,
    run: Annotated[Path | None, typer.Option("--run", metavar="RUN", help="A reader trained on questions and passages (codec labelled, kind span) finds the span; tables are not asked.")] = None,
    exam: Annotated[bool, typer.Option("--exam", help="Ask the built-in questions of the built-in town, and say how many are right.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Answer a question from your own files, with the place where it stands, or say that nothing there does.

    Words of the answer are words of the source, or cells, counts, sums and extremes of a table. Under it stand its source,
    its confidence and its limits: the confidence is the share of the question that the passage has, weighed by how rare its
    words are, with --run what the reader gives to the span. Where several rows of a table answer, all are told. A file that
    cannot be read is named with the reason, and the others are asked. The status is 3 when there is no answer.
    """
    from bottega.core import DataError
    from bottega.crafts import write_answer as craft

    say = Out(as_json, quiet)
    if exam:
        found = craft.exam(craft.town(least=least), craft.QUESTIONS)
        for asked, said, right in found.wrong:
            say.say(f"{asked}\n  said: {said or 'nothing'}\n  right: {right or 'nothing says'}")
        say.say(f"{100 * found.exact:.0f} % of {len(craft.QUESTIONS)} right: {100 * found.answered:.0f} % of those with an answer, "
                f"{100 * found.abstained:.0f} % of those with none")  # fmt: skip
        say.result(
            {"exact": found.exact, "answered": found.answered, "abstained": found.abstained, "wrong": found.wrong}
        )
        return
    if from_ is None:
        raise DataError("nothing to answer from; name a folder with --from")
    library = craft.Library.read(from_, least=least)
    left_out(library.left_out)
    if run is None:
        made = library.ask(question)
    else:
        from bottega.crafts.write_labels import answer_by
        from bottega.workshop.run import load

        made = answer_by(load(whole_run(run), device=device), question, library)
    under = craft.label(made)
    if made.text:
        say.say(made.text)
        say.say(f"  source: {under.source}: {made.passage}")
        say.say(f"  confidence: {under.confidence}")
        say.say(f"  limits: {under.limits}")
    else:
        say.say("no answer")
        say.note(made.why)
        say.note(f"limits: {under.limits}")
    told = {"source": under.source, "confidence": under.confidence, "limits": under.limits}
    say.result({"question": question, **made.__dict__, "label": told, "left_out": library.left_out})
    if not made.text:
        raise typer.Exit(3)
