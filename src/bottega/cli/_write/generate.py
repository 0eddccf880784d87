"""``bottega write generate``: text from a run, or from an OpenAI-compatible endpoint."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, Sets, knobs, whole_run
from bottega.cli._write._texts import Filtered, FilterLog, FilterWith, Screen, apart

__all__ = ["generate"]

PANEL, PLACE = "With a run", 20
EXAMPLES = """\
  bottega write generate runs/english "The statement" --set temperature=0.8
  bottega write generate runs/english -n 3 --max-new 60 --stop '.'
  bottega write generate runs/english "The" --set beams=5 --logprobs 3 --json
  bottega write generate runs/english --choice yes --choice no       or --schema, --regex, --grammar
  bottega write generate runs/english "def " --set lookup=8          the same text, faster; or --draft RUN
  bottega write generate runs/english "The" --filter                 what the rules block is not shown
  bottega write generate hub:OWNER/NAME "Once"                        a language model of Hugging Face, fetched once
  bottega write generate http://localhost:8000/v1 "Write a haiku." --model mistral
"""


def generate(
    run: Annotated[str, typer.Argument(metavar="RUN|URL", help="The folder of a run that writes text, its model.safetensors, a Hugging Face directory or hub:OWNER/NAME, or the address of an OpenAI-compatible endpoint.")],
    prompt: Annotated[str, typer.Argument(metavar="TEXT", help="What the text goes on from; nothing by default.")] = "",
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many texts.")] = 1,
    max_new: Annotated[int | None, typer.Option("--max-new", metavar="N", min=1, help="At most so many tokens.")] = None,
    stop: Annotated[list[str], typer.Option("--stop", metavar="TEXT", help="End before this string, which is never shown; may be given many times.")] = [],  # noqa: B006
    long: Annotated[str, typer.Option("--long", metavar="HOW", help="A prompt longer than the model reads: error, or slide (only its end is read).")] = "error",
    schema: Annotated[str | None, typer.Option("--schema", metavar="FILE|JSON", help="Write JSON that this schema allows.")] = None,
    regex: Annotated[str | None, typer.Option("--regex", metavar="PATTERN", help="Write a text that matches this from beginning to end.")] = None,
    grammar: Annotated[Path | None, typer.Option("--grammar", metavar="FILE", help="Write a text of this grammar, in Lark's notation.")] = None,
    choice: Annotated[list[str], typer.Option("--choice", metavar="TEXT", help="Write one of these; given many times.")] = [],  # noqa: B006
    logprobs: Annotated[int | None, typer.Option("--logprobs", metavar="N", min=0, help="With --json: log-probabilities in nats, and those of the N likeliest tokens at each place.")] = None,
    draft: Annotated[Path | None, typer.Option("--draft", metavar="RUN", help="A smaller run with the same tokens, whose guesses make it faster and change nothing.")] = None,
    weights: Annotated[str, typer.Option("--weights", metavar="KIND", help="How the run's weights are packed for this processor: int8, fp16, bf16, or fp32 (exact); as they are by default.")] = "",
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Which model of an endpoint.")] = "",
    way: Annotated[str, typer.Option("--way", metavar="HOW", help="How an endpoint is asked: chat, or completions.")] = "chat",
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait for an endpoint, each of four times.")] = 60.0,
    filter_: Filtered = False,
    filter_with: FilterWith = [],  # noqa: B006
    filter_log: FilterLog = None,
    seed: Seed = 0,
    set_: Sets = [],  # noqa: B006
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write text with a run or an OpenAI-compatible endpoint, shown as it is made.

    Settings are those of the model's sampler: temperature, top_k, top_p, min_p, beams, no_repeat, min_new, lookup,
    repetition_penalty, frequency_penalty, presence_penalty and others (`bottega show RUN` names them). The key of an
    endpoint is read from OPENAI_API_KEY and from nowhere else; it is never printed or written down.
    """
    from bottega.crafts import write as craft
    from bottega.crafts.endpoint import Endpoint, is_address
    from bottega.workshop.run import Run, load

    say, wanted = Out(as_json, quiet), knobs(set_, apart())
    screen = Screen(say, filter_, filter_with, filter_log)
    prompt = screen.prompt(prompt)
    made: Run | Endpoint
    if is_address(run):
        made = Endpoint(run, model, way=way, timeout=timeout)  # type: ignore[arg-type]
    elif model:
        raise typer.BadParameter(f"{run} is a run, which is one model; leave it out", param_hint="--model")
    else:
        made = load(whole_run(Path(run)), device="cpu" if weights else device)
        made = made.lighter(weights, n) if weights else made  # type: ignore[arg-type]
    between = "\n" if isinstance(made, Run) and getattr(made.codec, "answers_only", False) else ""
    if weights and isinstance(made, Endpoint):
        raise typer.BadParameter("an endpoint has its own weights; leave it out", param_hint="--weights")
    wanted |= {"max_new": max_new, "stop": stop, "long": long}
    extra: dict[str, Any] = {
        "schema": None if schema is None else _text_of(schema),
        "regex": regex,
        "grammar": None if grammar is None else _text_of(str(grammar)),
        "choices": choice or None,
        "draft": None if draft is None else load(whole_run(draft), device=device),
    }
    asked = {name: value for name, value in extra.items() if value is not None}
    if isinstance(made, Endpoint) and (asked or logprobs is not None):
        name = next(iter(asked), "logprobs").replace("choices", "choice")
        raise typer.BadParameter("an endpoint is not asked for this; leave it out", param_hint=f"--{name}")
    wanted |= asked
    if screen.filter is None and n == 1 and not as_json and logprobs is None and wanted.get("beams", 1) == 1:
        parts = craft.stream(made, prompt, seed=seed, **wanted)
        first = next(parts, "")  # what cannot be done is told before anything is shown
        try:
            for part in chain((prompt, between, first), parts):
                print(part, end="", flush=True)
        finally:
            print()  # an error in the middle gets a line of its own
        return
    source: dict[str, Any]
    more: dict[str, Any]
    if isinstance(made, Endpoint):
        made_texts = craft.generate(made, prompt, n=n, seed=seed, **wanted)
        source, more = dict(made.about()), {}
    else:
        written = craft.complete(made, [prompt], n=n, seed=seed, logprobs=logprobs, **wanted)
        made_texts, source = [one.text for one in written], {"run": made.path, "weights": made.weights_hash}
        more = {"finish": [one.finish for one in written]}
        if logprobs is not None:
            more |= {"tokens": [one.tokens for one in written], "logprobs": [one.logprobs for one in written],
                     "likeliest": [one.likeliest for one in written]}  # fmt: skip
    texts = screen.texts(prompt, made_texts)
    for name in {"tokens", "logprobs", "likeliest"} & set(more):  # they spell what is not to be shown
        more[name] = [v if a == b else None for v, a, b in zip(more[name], made_texts, texts, strict=True)]
    for text in texts:
        if text is not None:
            say.say(f"{prompt}{between}{text}\n")
    say.result(
        {**source, "prompt": prompt, "seeds": list(range(seed, seed + n)), "texts": texts, **more, **screen.about()}
    )
    screen.close()


def _text_of(source: str) -> str:
    """What a file holds, or the text itself where it is JSON."""
    return source if source.lstrip().startswith("{") else Path(source).read_text(encoding="utf-8")
