"""``bottega write generate``: text from a run, or from an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, Seed, Sets, knobs, whole_run
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

if TYPE_CHECKING:
    from bottega.crafts.endpoint import Endpoint
    from bottega.workshop.run import Run

__all__ = ["generate"]

PANEL, PLACE = "With a run", 20
EXAMPLES = """\
  bottega write generate runs/english "The statement" --set temperature=0.8
  bottega write generate runs/english -n 3 --max-new 60 --stop '.'
  bottega write generate runs/english "The" --set beams=5 --logprobs 3 --json
  bottega write generate runs/english --prompts asked.txt --max-new 40 --out told.jsonl
  bottega write generate runs/english --choice yes --choice no       or --schema, --regex, --grammar
  bottega write generate runs/english "def " --set lookup=8          the same text, faster; or --draft RUN
  bottega write generate runs/english "The" --filter                 what the rules block is not shown
  bottega write generate hub:OWNER/NAME "Once"                        a language model of Hugging Face, fetched once
  bottega write generate http://localhost:8000/v1 "Write a haiku." --model mistral
"""


def generate(
    run: Annotated[str, typer.Argument(metavar="RUN|URL", help="The folder of a run that writes text, its model.safetensors, a Hugging Face directory or hub:OWNER/NAME, or the address of an OpenAI-compatible endpoint.")],
    prompt: Annotated[str, typer.Argument(metavar="TEXT", help="What the text goes on from; nothing by default.")] = "",
    prompts: Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help='Many prompts in place of TEXT, made together: one on each line, or a .jsonl of {"prompt": "..."}.')] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many texts, of each prompt.")] = 1,
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
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="With --prompts: write the texts there as JSON lines of prompt, seed, text and finish.")] = None,
    model: Model = "",
    way: Way = "chat",
    timeout: Timeout = 60.0,
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

    With --prompts every text is what it would be alone, however many are made at once; those of one prompt have the seeds
    --seed, --seed + 1 and so on. Each is shown behind its prompt, or written with --out.

    Settings are those of the model's sampler: temperature, top_k, top_p, min_p, beams, no_repeat, min_new, lookup,
    repetition_penalty, frequency_penalty, presence_penalty and others (`bottega show RUN` names them). An endpoint takes
    those that are in OpenAI's interface or beside it in vLLM's, and of the forms --schema alone. Its key is read from
    OPENAI_API_KEY and from nowhere else; it is never printed or written down.
    """
    from bottega.core.files import check_place
    from bottega.crafts import write as craft
    from bottega.crafts.endpoint import Endpoint
    from bottega.workshop.run import Run, load

    say, wanted = Out(as_json, quiet), knobs(set_, apart(prompts="--prompts"))
    if prompts is not None and prompt:
        raise typer.BadParameter(f"{prompts} and a TEXT are two sources of prompts; give one", param_hint="--prompts")
    if out is not None and prompts is None:
        raise typer.BadParameter("it takes the texts of --prompts; give that too, or send the output there", param_hint="--out")  # fmt: skip
    if out is not None:
        check_place(out)
    several = None if prompts is None else craft.prompts_of(prompts)
    screen = Screen(say, filter_, filter_with, filter_log)
    prompt = screen.prompt(prompt) if several is None else ""
    made = writer(run, model, way, timeout, "cpu" if weights else device)
    if weights:
        if isinstance(made, Endpoint):
            raise typer.BadParameter("an endpoint has its own weights; leave it out", param_hint="--weights")
        made = made.lighter(weights, min(craft.ROWS, n * len(several or [""])))  # type: ignore[arg-type]
    if isinstance(made, Endpoint):
        for option, value in (
            ("--regex", regex),
            ("--grammar", grammar),
            ("--choice", choice or None),
            ("--draft", draft),
        ):
            if value is not None:
                raise typer.BadParameter(
                    "an endpoint cannot be asked for it; leave it out, or use a run", param_hint=option
                )
    between = "\n" if isinstance(made, Run) and getattr(made.codec, "answers_only", False) else ""
    wanted |= {"max_new": max_new, "stop": stop, "long": long}
    extra: dict[str, Any] = {
        "schema": None if schema is None else _text_of(schema),
        "regex": regex,
        "grammar": None if grammar is None else _text_of(str(grammar)),
        "choices": choice or None,
        "draft": None if draft is None else load(whole_run(draft), device=device),
    }
    wanted |= {name: value for name, value in extra.items() if value is not None}
    if several is not None:
        _several(made, several, n, seed, logprobs, wanted, between, say, screen, out)
        return
    if screen.filter is None and n == 1 and not as_json and logprobs is None and wanted.get("beams", 1) == 1:
        parts = craft.stream(made, prompt, seed=seed, **wanted)
        first = next(parts, "")  # what cannot be done is told before anything is shown
        try:
            for part in chain((prompt, between, first), parts):
                print(part, end="", flush=True)
        finally:
            print()  # an error in the middle gets a line of its own
        return
    (made_texts, more), *_ = _written(made, [prompt], n, seed, logprobs, wanted)
    texts, more = _shown(made_texts, more, prompt, between, say, screen)
    seeds = list(range(seed, seed + n))
    say.result({**_source(made), "prompt": prompt, "seeds": seeds, "texts": texts, **more, **screen.about()})
    screen.close()


def _source(made: Run | Endpoint) -> dict[str, Any]:
    """What writes, for the JSON of a result."""
    from bottega.crafts.endpoint import Endpoint

    return dict(made.about()) if isinstance(made, Endpoint) else {"run": made.path, "weights": made.weights_hash}


def _written(
    made: Run | Endpoint, prompts: Sequence[str], n: int, seed: int, logprobs: int | None, wanted: Mapping[str, Any]
) -> list[tuple[list[str], dict[str, Any]]]:
    """Of each prompt its ``n`` texts, and what is known of them besides."""
    from bottega.crafts import write as craft

    out = []
    every = craft.complete(made, prompts, n=n, seed=seed, logprobs=logprobs, **wanted)
    for k in range(len(prompts)):
        written = every[k * n : (k + 1) * n]
        more: dict[str, Any] = {"finish": [one.finish for one in written]}
        if logprobs is not None:
            more |= {"tokens": [one.tokens for one in written], "logprobs": [one.logprobs for one in written],
                     "likeliest": [one.likeliest for one in written]}  # fmt: skip
        out.append(([one.text for one in written], more))
    return out


def _shown(
    made_texts: list[str],
    more: dict[str, Any],
    prompt: str,
    between: str,
    say: Out,
    screen: Screen,
    *,
    tell: bool = True,
) -> tuple[list[str | None], dict[str, Any]]:
    """The texts as the filter lets them be shown, and shown unless ``tell`` is off."""
    texts = screen.texts(prompt, made_texts)
    for name in {"tokens", "logprobs", "likeliest"} & set(more):  # they spell what is not to be shown
        more[name] = [v if a == b else None for v, a, b in zip(more[name], made_texts, texts, strict=True)]
    for text in texts if tell else ():
        if text is not None:
            say.say(f"{prompt}{between}{text}\n")
    return texts, more


def _several(
    made: Run | Endpoint, prompts: Sequence[str], n: int, seed: int, logprobs: int | None, wanted: Mapping[str, Any],
    between: str, say: Out, screen: Screen, out: Path | None,
) -> None:  # fmt: skip
    """The texts of many prompts; a prompt or a text that the filter blocks leaves a gap, and the others are shown.

    In a file there are ``n`` lines of every prompt, those of a blocked one with nulls for the prompt, text and finish.
    """
    import json

    from bottega.trust.filters import Blocked

    passed: list[str | None] = []
    for prompt in prompts:
        try:
            passed.append(screen.prompt(prompt))
        except Blocked as error:
            screen.blocked.append(error)
            passed.append(None)
    written = iter(_written(made, [p for p in passed if p is not None], n, seed, logprobs, wanted))
    told: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for read in passed:
        if read is None:
            told.append({"prompt": None, "texts": [None] * n})
            lines += [{"prompt": None, "seed": seed + j, "text": None, "finish": None} for j in range(n)]
            continue
        met = len(screen.met)
        texts, more = _shown(*next(written), read, between, say, screen, tell=out is None)
        rules = {} if screen.filter is None else {"rules": screen.met[met:]}
        told.append({"prompt": read, "texts": texts, **more, **rules})
        ends = more.get("finish", [None] * n)
        lines += [{"prompt": read, "seed": seed + j, "text": text, "finish": ends[j]} for j, text in enumerate(texts)]
    source = _source(made)
    if out is not None:
        note = {"task": "generate", "seed": str(seed), **{k: str(v) for k, v in source.items()}}
        deliver(say, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), out, note)
    say.result({**source, "seeds": list(range(seed, seed + n)), "results": told, "file": out})
    screen.close()


def _text_of(source: str) -> str:
    """What a file holds, or the text itself where it is JSON."""
    return source if source.lstrip().startswith("{") else Path(source).read_text(encoding="utf-8")
