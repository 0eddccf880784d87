"""Text from a run, or from an endpoint: a beginning goes on, piece by piece as it is made, until a stop that is never shown."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bottega.codecs._files import json_rows
from bottega.core import Batch, BottegaError, DataError, RecipeError, Rng, Streams, has, nearest
from bottega.crafts.endpoint import Answer, Endpoint, is_address
from bottega.crafts.write_table import read_text
from bottega.samplers import constrain
from bottega.samplers.speculative import ModelDraft
from bottega.samplers.texts import Stops, Writer, stop_strings
from bottega.samplers.tokens import Guide, Notes
from bottega.workshop.run import Run, check_knobs, load

__all__ = [
    "Long",
    "Written",
    "complete",
    "generate",
    "go_on",
    "need_beginning",
    "need_text",
    "prompts_of",
    "stream",
    "told",
    "writer",
]

Long = Literal["error", "slide"]
ROWS = 64  # texts made at once
APART = ("max_new", "stop", "overflow")  # knobs of a family that are arguments of their own here
GO_ON = (
    "Go on from what you are given, in its language and its form. Write only what comes next: no word about it, and "
    "nothing of it again."
)
# what only a model that is here can be asked, and how it is called
_HERE = {"cond": "a condition", "regex": "a regular expression", "grammar": "a grammar", "choices": "choices",
         "draft": "a draft"}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """One text and how it came about.

    Attributes:
        prompt: what it goes on from.
        text: what was written, without the prompt and without the stop.
        finish: ``"end"`` (the model ended it), ``"stop"``, ``"complete"`` (its form allows no more) or ``"length"``; of an
            endpoint its own word, of which ``"stop"`` is either of the first two.
        seed: whose it is.
        tokens: the tokens that spell the text; the last may spell some of the stop too. An endpoint spells them, where
            log-probabilities are asked for, and does not number them.
        logprobs: of each, its log-probability in nats by the model before any knob (of an endpoint as it counts them);
            empty unless asked for.
        likeliest: of each place the likeliest tokens, spelt, with theirs.
    """

    prompt: str
    text: str
    finish: str
    seed: int
    tokens: list[int] | list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    likeliest: list[list[tuple[str, float]]] = field(default_factory=list)


def need_text(run: Run) -> None:
    """Raise BottegaError unless the run makes text from left to right."""
    model: Any = run.model
    if (
        run.codec.medium != "text"
        or not run.spec.is_sequence
        or not has(model, Streams)
        or not _has(model.stream, "max_new")
    ):
        name = run.recipe.family["name"]
        raise BottegaError(
            f"{run.recipe.name} (a {name} of {run.codec.medium}) does not write text; use a run such as `english`"
        )


def generate(
    run: Run | Endpoint,
    prompt: str = "",
    *,
    n: int = 1,
    seed: int = 0,
    max_new: int | None = None,
    stop: Sequence[str] = (),
    long: Long = "error",
    **knobs: Any,
) -> list[str]:
    """``n`` texts that go on from ``prompt``, without it.

    Args:
        run: of a model that writes from left to right, or an OpenAI-compatible endpoint, which has no ``long``: it says
            itself that a prompt is too long.
        prompt: what stands before; may be empty.
        n: how many; text ``i`` belongs to the seed ``seed + i``, however many are made at once.
        seed: the first.
        max_new: at most so many tokens; by default as many as a row of the model has left behind the prompt, and at
            least half a row.
        stop: a text ends before the first of these strings that is complete, which are never part of it.
        long: what becomes of a prompt as long as a row or longer: ``"error"``, or ``"slide"``, which reads its end only. An
            endpoint is sent the whole prompt either way.
        **knobs: those of ``complete``: ``schema``, ``draft``, and what the family's ``stream`` has (temperature, top_k, ...).

    Raises:
        BottegaError: the run writes no text.
        DataError: a prompt that is longer than a row, or holds characters that the model has not met.
        RecipeError: a knob that there is not.
    """
    some = complete(run, [prompt], n=n, seed=seed, max_new=max_new, stop=stop, long=long, **knobs)
    return [one.text for one in some]


def complete(
    run: Run | Endpoint,
    prompts: Sequence[str],
    *,
    n: int = 1,
    seed: int = 0,
    max_new: int | None = None,
    stop: str | Sequence[str] = (),
    long: Long = "error",
    cond: Any = None,
    logprobs: int | None = None,
    schema: dict[str, Any] | str | None = None,
    regex: str | None = None,
    grammar: str | None = None,
    choices: Sequence[str] | None = None,
    draft: Run | None = None,
    **knobs: Any,
) -> list[Written]:
    """``n`` texts for each of several prompts, made together; each is what it would be alone.

    Args:
        run: of a model that writes from left to right, or an OpenAI-compatible endpoint, which knows of all forms a
            schema alone, and neither ``cond`` nor ``draft``; ``Endpoint.stream`` says which knobs it has.
        prompts: what stands before; of any lengths. A run of conversations is asked them, and what it writes are answers.
        n: how many for each; text ``j`` of a prompt belongs to the seed ``seed + j``.
        seed: the first.
        max_new: see ``generate``.
        stop: see ``generate``.
        long: see ``generate``.
        cond: what to ask for, where the run was trained with conditions.
        logprobs: note log-probabilities, and those of so many of the likeliest tokens at each place.
        schema: write JSON that this schema allows.
        regex: write a text that matches this from beginning to end.
        grammar: write a text of this grammar, in Lark's notation.
        choices: write one of these.
        draft: a smaller run with the same tokens, whose guesses make it faster and change nothing.
        **knobs: of the family's ``stream`` (temperature, top_k, beams, lookup, ...).

    Raises:
        BottegaError: the run writes no text, or does not do what is asked; an endpoint gives no answer, or not as asked.
        DataError: a prompt (of several, its number) that is longer than a row, or holds characters that the model has not met.
        RecipeError: a knob that there is not, a form that cannot be written.
    """
    if n < 1:
        raise RecipeError(f"n is {n}; ask for at least one text")
    _known(long)
    if isinstance(run, Endpoint):
        _only_here({"cond": cond, "regex": regex, "grammar": grammar, "choices": choices, "draft": draft})
        stops = _stops(stop)
        wanted = {
            "n": n,
            "seed": seed,
            "max_new": max_new,
            "stop": stops,
            "schema": schema,
            "logprobs": logprobs,
            **knobs,
        }
        return [
            _written(prompt, answer, stops, seed + i)
            for prompt in prompts
            for i, answer in enumerate(run.answers(prompt, **wanted))
        ]
    need_text(run)
    asked = _Asked(run, stop, long, cond, logprobs, _form(schema, regex, grammar, choices), draft, knobs)
    for number, prompt in enumerate(prompts, 1):  # what cannot be done is told before anything is written
        try:
            asked.read(prompt)
        except DataError as error:
            raise DataError(f"prompt {number}: {error}" if len(prompts) > 1 else str(error)) from error
    rows = [(prompt, seed + j) for prompt in prompts for j in range(n)]
    if not asked.guided:  # rows of such a model begin alike
        groups = [rows[k * n : (k + 1) * n] for k in range(len(prompts))]
    else:
        groups = [rows[k : k + ROWS] for k in range(0, len(rows), ROWS)]
        if knobs.get("beams", 1) > 1:  # versions of a prompt share its beams
            groups = [rows[k * n : (k + 1) * n] for k in range(len(prompts))]
    return [written for group in groups for written in asked.write(group, max_new)]


def _parameters(method: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(method).parameters.values())


def _has(method: Any, argument: str) -> bool:
    return argument in inspect.signature(method).parameters


def _form(schema: Any, regex: str | None, grammar: str | None, choices: Sequence[str] | None) -> str | None:
    """What is asked for as a grammar; None when nothing is."""
    wanted = {"schema": schema, "regex": regex, "grammar": grammar, "choices": choices}
    given = [name for name, value in wanted.items() if value is not None]
    if len(given) > 1:
        raise RecipeError(f"{' and '.join(given)} are two forms at once; give one")
    if schema is not None:
        return constrain.json_schema(schema)
    if regex is not None:
        return constrain.regex(regex)
    if grammar is not None:
        return constrain.lark(grammar)
    return None if choices is None else constrain.choices(choices)


class _Asked:
    """What is wanted of each text, checked once."""

    def __init__(
        self, run: Run, stop: str | Sequence[str], long: Long, cond: Any, logprobs: int | None, form: str | None,
        draft: Run | None, knobs: dict[str, Any],
    ) -> None:  # fmt: skip
        self.run, self.model, self.codec = run, run.model.eval(), run.codec
        self.stop = _stops(stop)
        _known(long)
        model: Any = self.model
        self.guided = _has(model.stream, "guides")
        name = run.recipe.family["name"]
        for what, value in (("logprobs", logprobs), ("a form", form), ("draft", draft)):
            if value is not None and not self.guided:
                raise BottegaError(f"a {name} does not know {what}; use a gpt or a seq2seq")
        if logprobs is not None and logprobs < 0:
            raise RecipeError(f"logprobs is {logprobs}; it must be at least 0")
        if "stop" in knobs or "overflow" in knobs:
            raise RecipeError("stop and overflow are arguments of their own here; give them as stop= and long=")
        self.long, self.cond, self.logprobs, self.form, self.knobs = long, cond, logprobs, form, knobs
        inner = [p.name for p in _parameters(model.stream) if p.kind is not p.KEYWORD_ONLY]  # batch, keep, guides ...
        check_knobs(model.stream, knobs, skip=3, without=(*inner, *APART))
        codec: Any = self.codec
        self.spelling: list[bytes] = codec.spelling
        self.end: int = codec.end
        self.answers: bool = getattr(codec, "answers_only", False)  # a prompt is a question, not a beginning
        if draft is not None and getattr(draft.codec, "spelling", None) != self.spelling:
            raise RecipeError(f"{draft.recipe.name} has other tokens than {run.recipe.name}, so it cannot draft for it")
        self.draft = draft
        if cond is None and run.spec.given_text and getattr(model, "drop", 1) == 0:  # it never learned to do without
            raise BottegaError(
                f"{run.recipe.name} makes a text of a text, and none is given; use write translate, or sample --cond TEXT"
            )

    def write(self, rows: Sequence[tuple[str, int]], max_new: int | None) -> list[Written]:
        """Some texts at once."""
        notes = Notes(self.logprobs or 0) if self.guided and self.logprobs is not None else None
        writers = [self.writer(prompt) for prompt, _ in rows]
        texts, made = [""] * len(rows), [[] for _ in rows]  # type: ignore[var-annotated]
        complete: list[constrain.Form] = []
        for part in self.parts(rows, max_new, notes, complete):
            for i, tokens in enumerate(part.tolist()):
                for token in tokens:
                    if not writers[i].why:
                        texts[i] += writers[i].push(token)
                        made[i].append(token)
            if not self.guided and all(w.why for w in writers):
                break
        out = []
        for i, (prompt, seed) in enumerate(rows):
            texts[i] += writers[i].close()
            # asked of the tokens: with beams the form's rows are the search's, in another order
            whole = bool(complete) and complete[0].accepts([token for token in made[i] if token != self.end])
            why = "complete" if whole else writers[i].why
            tokens = self._spell(made[i], writers[i].dropped + len(texts[i].encode("utf-8")))
            if self.answers:
                texts[i] = texts[i].strip()
            one = Written(prompt, texts[i], why, seed, tokens)
            if notes is not None:
                best = [
                    [(self.spelling[t].decode("utf-8", "replace"), p) for t, p in place]
                    for place in notes.likeliest[i][: len(tokens)]
                ]
                one = Written(prompt, texts[i], why, seed, tokens, notes.logprobs[i][: len(tokens)], best)
            out.append(one)
        return out

    def read(self, prompt: str) -> Tensor:
        """The tokens of a prompt, ``(t,)``: of one that is too long for a row, as ``long`` says."""
        codec: Any = self.codec
        if self.answers and not prompt:
            raise DataError("a run of conversations answers what is asked, and nothing is; give a prompt")
        out: Tensor = codec.encode_prompt(prompt) if prompt else torch.zeros(0, dtype=torch.long)
        length = self.run.spec.shape[0]
        if len(out) < length:
            return out
        if self.long == "error":
            raise DataError(
                f"the prompt has {len(out)} tokens and the model reads {length}; shorten it, or say --long slide to use its end"
            )
        return out if self.guided else out[-(length // 2) :]

    def writer(self, prompt: str) -> Writer:
        """What turns the tokens behind a prompt into text."""
        # with no prompt, the text begins here; within a form every byte is meant
        lead = "" if prompt or self.form is not None else str(getattr(self.codec, "lead", ""))
        return Writer(self.spelling, self.stop, self.end, lead)

    def _spell(self, tokens: list[int], size: int) -> list[int]:
        """The tokens that the first ``size`` bytes are spelt with."""
        out, at = [], 0
        for token in tokens:
            if at >= size:
                break
            out.append(token)
            at += len(self.spelling[token])
        return out

    def parts(
        self, rows: Sequence[tuple[str, int]], max_new: int | None, notes: Notes | None, forms: list[constrain.Form]
    ) -> Iterator[Tensor]:
        """The tokens of some texts as they are made, ``(rows, t)`` at a time, without the prompts."""
        run, model, codec = self.run, self.model, self.codec
        told = [self.read(prompt) for prompt, _ in rows]
        length, longest = run.spec.shape[0], max(map(len, told))
        more = max_new if max_new is not None else max(length - longest, length // 2)
        sizes = torch.tensor([len(row) for row in told])
        x = torch.full((len(rows), longest), self.end)
        for i, row in enumerate(told):
            x[i, : len(row)] = row
        mask = torch.arange(longest) < sizes[:, None]
        rng = Rng.for_rows([seed for _, seed in rows], run.device)
        knobs = {**self.knobs, "stop": self.end, "max_new": more}
        cond = None
        if self.cond is not None:
            cond = codec.encode_cond([self.cond] * len(rows)).to(run.device)
        given: dict[str, Any] = {}
        if longest:
            real = None if bool(mask.all()) else mask.to(run.device)
            given = {
                "batch": Batch(x.to(run.device), cond, real),
                "keep": torch.ones_like(x, dtype=torch.bool, device=run.device),
            }
        if self.guided:
            guides: list[Guide] = [Stops(self.stop, self.spelling)] if self.stop else []
            if self.form is not None:
                forms.append(constrain.Form(self.form, self.spelling, self.end, more))
                guides.append(forms[0])
            given |= {"guides": guides, "notes": notes}
            if self.draft is not None:
                drafter: Any = self.draft.model.eval()
                if not hasattr(drafter, "step"):
                    raise RecipeError(f"a {self.draft.recipe.family['name']} cannot draft; use a smaller gpt")
                given["draft"] = ModelDraft(drafter.step(len(rows), cond, prompted=bool((sizes > 0).all())))
            if self.long == "slide":
                knobs["overflow"] = "slide"
        skip = longest  # the prompts come first, in one part or several
        stream: Any = model.stream
        for part in stream(len(rows), rng, cond, **given, **knobs):
            fresh = part.cpu()
            lost = min(skip, fresh.shape[1])
            skip -= lost
            if fresh.shape[1] > lost:
                yield fresh[:, lost:]


def stream(
    run: Run | Endpoint,
    prompt: str = "",
    *,
    seed: int = 0,
    max_new: int | None = None,
    stop: Sequence[str] = (),
    long: Long = "error",
    **knobs: Any,
) -> Generator[str, None, str]:
    """One text as it is made; the parts joined are what ``generate`` gives for the same seed. Returns why it ended.

    What could still become a stop string, or a character whose bytes are not all there, is held back until it is clear.
    """
    _known(long)
    if isinstance(run, Endpoint):
        return (yield from _from_endpoint(run, prompt, seed, max_new, stop, knobs))
    need_text(run)
    forms = {name: knobs.pop(name, None) for name in ("schema", "regex", "grammar", "choices")}
    cond, draft = knobs.pop("cond", None), knobs.pop("draft", None)
    asked = _Asked(run, stop, long, cond, None, _form(**forms), draft, knobs)
    writer = asked.writer(prompt)
    held, begun = "", False  # blanks around an answer are not said: they wait for what follows

    def said(text: str) -> str:
        nonlocal held, begun
        if not asked.answers:
            return text
        text = held + text if begun else text.lstrip()
        whole = text.rstrip()
        held, begun = text[len(whole) :], begun or bool(whole)
        return whole

    for part in asked.parts([(prompt, seed)], max_new, None, []):
        for token in part[0].tolist():
            if text := said(writer.push(token)):
                yield text
        if writer.why:
            return writer.why
    if text := said(writer.close()):
        yield text
    return writer.why


def _from_endpoint(
    run: Endpoint, prompt: str, seed: int, max_new: int | None, stop: Sequence[str], knobs: dict[str, Any]
) -> Generator[str, None, str]:
    _only_here(knobs)
    stop = _stops(stop)
    shown, last = "", ""
    parts = run.stream(prompt, seed=seed, max_new=max_new, stop=stop, **knobs)
    finish = ""
    while True:
        try:
            last += next(parts)
        except StopIteration as done:
            finish = done.value
            break
        whole, stopped = _cut(last, stop)
        sure = whole if stopped else _sure(whole, stop)
        if len(sure) > len(shown) and sure.startswith(shown):
            yield sure[len(shown) :]
            shown = sure
        if stopped:
            parts.close()
            finish = "stop"
            break
    whole, _ = _cut(last, stop)
    if len(whole) > len(shown):
        yield whole[len(shown) :]
    return finish


def _written(prompt: str, answer: Answer, stop: Sequence[str], seed: int) -> Written:
    """An endpoint's answer as one of ours: cut at stop strings, whatever the endpoint did with them."""
    text, stopped = _cut(answer.text, stop)
    if not stopped:
        return Written(prompt, text, answer.finish, seed, answer.tokens, answer.logprobs, answer.likeliest)
    size, k, at = len(text.encode("utf-8")), 0, 0
    while k < len(answer.sizes) and at < size:
        at += answer.sizes[k]
        k += 1
    return Written(prompt, text, "stop", seed, answer.tokens[:k], answer.logprobs[:k], answer.likeliest[:k])


def _only_here(knobs: dict[str, Any]) -> None:
    """Raise BottegaError where an endpoint is asked for what only a model that is here can do; such names go, if they are None."""
    for name, called in _HERE.items():
        if knobs.pop(name, None) is not None:
            raise BottegaError(f"an endpoint cannot be asked for {called}; leave out {name}, or use a run")


def _known(long: str) -> None:
    if long not in ("error", "slide"):
        raise RecipeError(f"long is {long!r}; use 'error' or 'slide'")


def _stops(stop: str | Sequence[str]) -> list[str]:
    return stop_strings(list(stop) if isinstance(stop, tuple) else stop)


def _cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Up to the first stop string, and whether there was one.

    >>> _cut("one. two", [". "]), _cut("one", ["x"])
    (('one', True), ('one', False))
    """
    places = [at for s in stop if (at := text.find(s)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _sure(text: str, stop: Sequence[str]) -> str:
    r"""``text`` without an end that may yet change: half a character, or the beginning of a stop string.

    >>> _sure("the end\n", ["\n\n"]), _sure("caf\ufffd", [])
    ('the end', 'caf')
    """
    text = text.rstrip("\ufffd")
    held = [k for s in stop for k in range(1, min(len(s), len(text)) + 1) if text.endswith(s[:k])]
    return text[: len(text) - max(held)] if held else text


def prompts_of(path: str | Path) -> list[str]:
    """The prompts of a file: one on each line, or of ``.jsonl`` the ``"prompt"`` of each line's object.

    A line of a plain file must hold something; JSON may say ``""``, of which a text begins with nothing, and holds prompts of
    several lines.

    Raises:
        DataError: not there, not UTF-8 (with the byte), nothing in it, an empty line, broken JSON or no ``"prompt"``.
    """
    path = Path(path)
    text = read_text(path)
    if path.suffix.lower() != ".jsonl":
        lines = text.removesuffix("\n").split("\n") if text.strip() else []
        empty = [number for number, line in enumerate(lines, 1) if not line.strip()]
        if empty:
            raise DataError(
                f'{path}, line {empty[0]} is empty; write a prompt there, take the line out, or give a .jsonl of {{"prompt": ""}}'
            )
        found = lines
    else:
        found = []
        broken, other = " is not JSON ({})", ' is {}, not an object; write {{"prompt": ...}}'
        for number, row in json_rows(text.split("\n"), path, broken=broken, other=other):
            if not isinstance(row.get("prompt"), str):
                what = (
                    f"has {row['prompt']!r} for a prompt"
                    if "prompt" in row
                    else f"has no prompt{nearest('prompt', row)}"
                )
                raise DataError(f'{path}, line {number} {what}; write {{"prompt": "..."}}')
            found.append(row["prompt"])
    if not found:
        raise DataError(f"{path} holds no prompts; write one on each line")
    return found


def go_on(run: Run | Endpoint, beginning: str, *, ask: str = "", **asked: Any) -> list[Written]:
    """Ways to go on from a beginning, by a run or at an endpoint.

    A model that is spoken to (an endpoint with ``way="chat"``) is told to go on from what the user writes. Where it repeats
    the beginning, that is left out; where it leaves out the blank between two words, that is put in. Tokens and their
    log-probabilities are those of what it said, so a text that was changed thus has none.

    Args:
        run: of a model that writes from left to right, or an endpoint.
        beginning: what stands before; may be empty.
        ask: what a model that is spoken to is asked where there is no beginning.
        **asked: as for ``complete``: n, seed, max_new, stop, long, and knobs.

    Raises:
        BottegaError: see ``complete``.
        RecipeError: see there.
    """
    if not isinstance(run, Endpoint) or run.way != "chat":
        return complete(run, [beginning], **asked)
    if not beginning.strip():
        return complete(run, [ask], **asked)
    written = complete(run, [beginning], history=[{"role": "system", "content": GO_ON}], **asked)
    fits = [(one, _behind(beginning, one.text)) for one in written]
    return [
        one if text == one.text else replace(one, text=text, tokens=[], logprobs=[], likeliest=[]) for one, text in fits
    ]


def _behind(beginning: str, text: str) -> str:
    r"""What was said, as it stands behind the beginning.

    White space with which the beginning ends is not said again where the beginning is.

    >>> _behind("For hikers", "who walk."), _behind("One. ", "Two.")
    (' who walk.', 'Two.')
    >>> _behind("It rains", "It rains, and it pours."), _behind("It rains ", "It rains and pours.")
    (', and it pours.', 'and pours.')
    >>> _behind("Line one\n", "Line one\nLine two"), _behind("Line one\n", "Line one\n\nLine two")
    ('Line two', '\nLine two')
    """
    begun = beginning.strip()
    rest = text.lstrip()
    if rest.startswith(begun) and not rest[len(begun) : len(begun) + 1].isalnum():
        rest = rest[len(begun) :]
        for blank in beginning[len(beginning.rstrip()) :]:
            rest = rest.removeprefix(blank)
        return rest
    glued = text[:1].isalnum() and (beginning[-1:].isalnum() or beginning[-1:] in ",;:.!?)")
    return f" {text}" if glued else text


def writer(
    source: str | Path,
    *,
    model: str = "",
    way: Literal["chat", "completions"] = "chat",
    timeout: float = 60.0,
    device: str = "auto",
) -> Run | Endpoint:
    """What writes: a run, a Hugging Face directory, or a model at an OpenAI-compatible endpoint.

    Args:
        source: the folder of a run, its weights, a directory, ``hub:OWNER/NAME``, or the address of an endpoint.
        model: which model of an endpoint.
        way: see ``Endpoint``.
        timeout: see ``Endpoint``.
        device: where a run is computed.

    Raises:
        RecipeError: a model is named and the source is a run; no address.
        BottegaError: there is nothing to load.
    """
    if is_address(str(source)):
        return Endpoint(str(source), model, way=way, timeout=timeout)
    if model:
        raise RecipeError(f"{source} is a run, which is one model; leave out --model")
    return load(source, device=device)


def need_beginning(run: Run) -> None:
    """Raise BottegaError where a run answers questions and does not go on from a beginning."""
    if getattr(run.codec, "answers_only", False):
        raise BottegaError(
            f"{run.recipe.name} answers what is asked, and goes on from no text; use bottega write generate"
        )


def told(text: str, what: str = "the prompt") -> str:
    """``text``, or DataError when there is nothing in it."""
    if not text.strip():
        raise DataError(f"{what} is empty; write at least a word")
    return text
