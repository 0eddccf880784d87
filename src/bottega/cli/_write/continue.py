"""``bottega write continue``: a text of one's own goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, Sets, knobs
from bottega.cli._write._texts import (
    Filtered,
    FilterLog,
    FilterWith,
    Model,
    Screen,
    Timeout,
    Way,
    apart,
    deliver,
    writer,
)

__all__ = ["continue_"]

PANEL, PLACE = "With a run", 21
EXAMPLES = """\
  bottega write continue runs/english draft.txt                    however long it is: the model reads its end
  bottega write continue runs/english draft.txt -n 3 --out versions --max-new 200
  bottega write continue http://localhost:8000/v1 draft.txt --model mistral
"""
_LACKS = ("schema", "regex", "grammar", "choice", "choices", "logprobs", "draft", "weights")


def continue_(
    run: Annotated[str, typer.Argument(metavar="RUN|URL", help="The folder of a run that writes text, its model.safetensors, or the address of an OpenAI-compatible endpoint.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The text to go on from, UTF-8.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many ways to go on.")] = 1,
    max_new: Annotated[int | None, typer.Option("--max-new", metavar="N", min=1, help="At most so many tokens.")] = None,
    stop: Annotated[list[str], typer.Option("--stop", metavar="TEXT", help="End before this string, which is never shown; may be given many times.")] = [],  # noqa: B006
    long: Annotated[str, typer.Option("--long", metavar="HOW", help="A text longer than the model reads: slide (only its end is read), or error.")] = "slide",
    model: Model = "",
    way: Way = "chat",
    timeout: Timeout = 60.0,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write the whole texts there, marked, instead of printing what is new.")] = None,
    filter_: Filtered = False,
    filter_with: FilterWith = [],  # noqa: B006
    filter_log: FilterLog = None,
    seed: Seed = 0,
    set_: Sets = [],  # noqa: B006
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Go on from a text of one's own; every character of it stays as it is (but for what --filter replaces).

    Settings are those of the model's sampler, as for `bottega write generate`.
    """
    from bottega.core import Item
    from bottega.crafts import write as craft
    from bottega.crafts.write_table import read_text
    from bottega.workshop.run import Run

    say, wanted = Out(as_json, quiet), knobs(set_, apart(*_LACKS))
    made = writer(run, model, way, timeout, device)
    if isinstance(made, Run):
        craft.need_text(made)
        craft.need_beginning(made)
        draft = made.codec.read(file)[0].value
    else:
        draft = read_text(file)
    screen = Screen(say, filter_, filter_with, filter_log)
    begun = screen.prompt(craft.told(draft, str(file)))
    written = craft.go_on(made, begun, n=n, seed=seed, max_new=max_new, stop=stop, long=long, **wanted)  # type: ignore[arg-type]
    paths: list[Path | None] = []
    source: dict[str, Any] = (
        {"run": made.path, "weights": made.weights_hash} if isinstance(made, Run) else {**made.about()}
    )
    texts = screen.texts(begun, [one.text for one in written])
    for one, text in zip(written, texts, strict=True):
        if text is None:
            continue
        if out is None:
            say.say(f"{text}\n")
        else:
            place = out / f"{file.stem}-{one.seed}.txt"
            if isinstance(made, Run):
                paths.append(made.codec.write(Item(begun + text), place, made.mark(one.seed)))
                say.say(str(paths[-1]))
            else:
                paths.append(deliver(say, begun + text, place, {"task": "continue", **source, "seed": str(one.seed)}))
    say.result({**source, "seeds": [one.seed for one in written],
                "texts": texts, "finish": [one.finish for one in written], "files": paths, **screen.about()})  # fmt: skip
    screen.close()
