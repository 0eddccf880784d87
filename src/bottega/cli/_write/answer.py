"""``bottega write answer``: a question, asked of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, whole_run

__all__ = ["answer"]

PANEL, PLACE = "Of your own material", 5
EXAMPLES = """\
  bottega write answer "When was the bridge opened?" --from papers/
  bottega write answer "Which district has the most inhabitants?" --from papers/ --json
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

    Words of the answer are words of the source. The confidence is the share of the question that the passage has, weighed
    by how rare its words are: it is no probability. With --run it is what the reader gives to the span. The status is 3 when there is no answer.
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
    if run is None:
        made = library.ask(question)
    else:
        from bottega.crafts.write_labels import answer_by
        from bottega.workshop.run import load

        made = answer_by(load(whole_run(run), device=device), question, library)
    if made.text:
        say.say(made.text)
        place = f"characters {made.start}-{made.end}" if Path(made.source).suffix not in (".csv", ".tsv") else f"line {made.start}"  # fmt: skip
        say.say(f"  {made.source}, {place}: {made.passage}")
        say.note(f"confidence {made.confidence:.2f}; {made.why}")
    else:
        say.say("no answer")
        say.note(made.why)
    say.result({"question": question, **made.__dict__})
    if not made.text:
        raise typer.Exit(3)
