"""``bottega write summarise``: a text, shorter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, whole_run
from bottega.cli._write._texts import deliver, given

__all__ = ["summarise"]

PANEL, PLACE = "Of your own material", 4
EXAMPLES = """\
  bottega write summarise long.txt --ratio 0.1
  bottega write summarise long.txt --method lead --json
  bottega write summarise long.txt --run runs/news           in words of its own
  bottega write summarise long.txt --run ./t5-small --prefix "summarize: "
  bottega write summarise long.txt --of short.txt            numbers and names in short.txt that long.txt lacks
  bottega write summarise pairs.jsonl --score --sentences 1  ROUGE of every method beside what people wrote
  bottega write summarise pairs.jsonl --teach labelled.jsonl what people kept of their texts, for a reader to learn:
  bottega train extract --data labelled.jsonl
  bottega write summarise long.txt --run runs/extract --sentences 2
"""


def summarise(
    text: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="What to shorten: a UTF-8 file, the text itself, or - for standard input.")],
    ratio: Annotated[float, typer.Option("--ratio", metavar="SHARE", help="At most this share of the words stays.")] = 0.2,
    sentences: Annotated[int, typer.Option("--sentences", metavar="N", min=0, help="So many sentences stay, in place of a share of the words.")] = 0,
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="textrank (unless said otherwise), centroid or lead.")] = "",
    of: Annotated[Path | None, typer.Option("--of", metavar="FILE", help="Do not shorten: check this summary of the text for invented numbers and names.")] = None,
    run: Annotated[Path | None, typer.Option("--run", metavar="RUN", help="A run that was trained on texts and their summaries writes one in its own words; a reader that was trained on sentences chooses.")] = None,
    teach: Annotated[Path | None, typer.Option("--teach", metavar="FILE", help="Do not shorten: FILE is a .jsonl or .csv of texts and their summaries, of which is written here which sentences people would keep.")] = None,
    score: Annotated[bool, typer.Option("--score", help="Do not shorten: the FILE is such a .jsonl or .csv, and the ROUGE of every method (and of --run) against its summaries is told.")] = False,
    columns: Annotated[str, typer.Option("--columns", metavar="TEXT,SUMMARY", help="With --teach and --score: the two columns. A text may be a list of sentences, a summary a list of several.")] = "text,summary",
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="With --run: set before the text, as a T5 wants its task named; a run's own is codec.prefix.")] = "",
    tries: Annotated[int, typer.Option("--tries", metavar="N", min=1, help="With --run: so many versions at most, until one invents no number and no name.")] = 8,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the summary there.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Choose the sentences of a text that say most of it, in their order and unchanged.

    With --run a model writes the summary, or chooses the sentences if it is a reader. Numbers and names that the text does
    not have are told, and the status is then 2.
    With --of, say instead which numbers and names of another summary the text does not have; the status is then 2
    if there are any.
    With --score, say how near each method comes to summaries that people wrote: F1 of ROUGE-1, ROUGE-2 and ROUGE-L with
    95 % intervals, all with the same room (--ratio or --sentences), and what share of the words stayed. It writes no
    summary and tries every method, so --out, --method, --of and --teach are refused beside it.
    """
    from bottega.core import RecipeError
    from bottega.crafts import write_summary as craft

    if score:
        for name, value, why in (
            ("--out", out, "is for a summary, and --score writes none"),
            ("--method", method, "is one method, and --score tries them all"),
            ("--of", of, "and --score are two checks"),
            ("--teach", teach, "writes a file to learn from, and --score only measures"),
        ):
            if value:
                raise RecipeError(f"{name} {value} {why}; leave one of them out")
    method = method or "textrank"
    say = Out(as_json, quiet)
    if teach is not None:
        rows = craft.teach(*craft.read_pairs(Path(text), columns))
        path = craft.write_rows(teach, rows)
        kept = sum(row["label"] == craft.KEEP for row in rows)
        say.say(str(path))
        say.note(f"{len(rows)} sentences, of which {kept} stay; bottega train extract --data {path}")
        say.result({"file": path, "sentences": len(rows), "kept": kept})
        return
    if score:
        _scored(say, Path(text), columns, ratio, sentences, run, tries, seed, device)
        return
    source = given(text)
    if of is not None:
        wrong = craft.invented(source, given(str(of), "the summary"))
        for one in wrong:
            say.say(one)
        say.note(f"{len(wrong)} numbers and names that the text does not have")
        say.result({"invented": wrong})
        if wrong:
            raise typer.Exit(2)
        return
    if prefix and run is None:
        raise typer.BadParameter("it is set before what a run reads; give --run too", param_hint="--prefix")
    if run is not None:
        from bottega.crafts.write_given import asked, summarise_by
        from bottega.workshop.run import load

        model = load(whole_run(run), device=device)
        if getattr(model.codec, "kind", "") == "class":
            from bottega.crafts.write_labels import summarise_by_choice

            told = summarise_by_choice(model, craft.split(source), ratio=ratio, most=sentences)
            path = deliver(say, told.text, out, {"task": "summarise", "weights": model.weights_hash})
            say.note(f"{len(told.chosen)} sentences, {100 * told.ratio:.0f} % of the words")
            say.result(
                {"text": told.text, "sentences": told.chosen, "ratio": told.ratio, "method": told.method, "file": path}
            )
            return
        model = asked(model, prefix) if prefix else model
        (said,) = summarise_by(model, [source.strip()], tries=tries, seed=seed)
        path = deliver(say, said.text, out, {"task": "summarise", "weights": model.weights_hash, "seed": str(seed)})
        for one in said.invented:
            say.note(f"the text does not have {one}")
        say.result({"text": said.text, "invented": said.invented, "tried": said.tried, "file": path})
        if said.invented:
            raise typer.Exit(2)
        return
    made = craft.summarise(source, ratio=ratio, method=method, most=sentences)
    path = deliver(say, made.text, out, {"task": "summarise", "method": method})
    say.note(f"{len(made.chosen)} sentences, {100 * made.ratio:.0f} % of the words")
    say.result({"text": made.text, "sentences": made.chosen, "ratio": made.ratio, "method": method, "file": path})


def _scored(
    say: Out, path: Path, columns: str, ratio: float, most: int, run: Path | None, tries: int, seed: int, device: str
) -> None:
    """Every method beside what people wrote."""
    from bottega.crafts import write_summary as craft

    texts, wanted = craft.read_pairs(path, columns)
    own = {}
    if run is not None:
        from bottega.crafts.write_given import summarise_by
        from bottega.crafts.write_labels import summarise_by_choice
        from bottega.workshop.run import load

        model = load(whole_run(run), device=device)
        if getattr(model.codec, "kind", "") == "class":
            own[str(run)] = lambda parts: summarise_by_choice(model, parts, ratio=ratio, most=most).text
        else:
            own[str(run)] = lambda parts: summarise_by(model, [" ".join(parts)], tries=tries, seed=seed)[0].text
    found = craft.score(texts, wanted, ratio=ratio, most=most, own=own, seed=seed)
    rows = [
        (one.method, *(f"{m.value:.3f} ({m.low:.3f} to {m.high:.3f})" for m in one.rouge), f"{100 * one.ratio:.0f} %")
        for one in found
    ]
    say.table(("method", "ROUGE-1", "ROUGE-2", "ROUGE-L", "words"), rows, numeric=(4,))
    say.note(f"{len(texts)} texts of two sentences or more; F1 with Porter stems, of several summaries the best counts")
    over = max(one.over for one in found)
    if over:
        say.note(f"of up to {over} texts more than {100 * ratio:.0f} % stayed, since no sentence is shorter")
    say.result({"texts": len(texts), "ratio": ratio, "sentences": most, "methods": found})
