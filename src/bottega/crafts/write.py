"""Text from a run: a beginning goes on, piece by piece as it is made, until a stop that is never shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch

from bottega.core import Batch, BottegaError, DataError, RecipeError, Rng, Streams, has
from bottega.workshop.run import Run, check_knobs

__all__ = ["Long", "generate", "need_text", "stream", "told"]

Long = Literal["error", "slide"]


def need_text(run: Run) -> None:
    """Raise BottegaError unless the run makes text from left to right."""
    if run.codec.medium != "text" or not run.spec.is_sequence or not has(run.model, Streams):
        name = run.recipe.family["name"]
        raise BottegaError(
            f"{run.recipe.name} (a {name} of {run.codec.medium}) does not write text; use a run such as `english`"
        )


def generate(
    run: Run,
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
        run: of a model that writes from left to right.
        prompt: what stands before; may be empty.
        n: how many; text ``i`` belongs to the seed ``seed + i``, however many are made at once.
        seed: the first.
        max_new: at most so many tokens; by default as many as a row of the model has left behind the prompt, and at
            least half a row.
        stop: a text ends before the first of these strings, which are never part of it.
        long: what becomes of a prompt as long as a row or longer: ``"error"``, or ``"slide"``, which reads its end only.
        **knobs: of the family's ``stream`` (temperature, top_k, top_p, ...).

    Raises:
        BottegaError: the run writes no text.
        DataError: a prompt that is longer than a row, or holds characters that the model has not met.
        RecipeError: a knob that there is not.
    """
    if n < 1:
        raise RecipeError(f"n is {n}; ask for at least one text")
    texts = [""] * n
    for texts in _growing(run, prompt, n, seed, max_new, stop, long, knobs):  # noqa: B007
        pass
    return [_cut(text, stop)[0] for text in texts]


def stream(
    run: Run,
    prompt: str = "",
    *,
    seed: int = 0,
    max_new: int | None = None,
    stop: Sequence[str] = (),
    long: Long = "error",
    **knobs: Any,
) -> Iterator[str]:
    """One text as it is made; the parts joined are what ``generate`` gives for the same seed.

    What could still become a stop string, or a character whose bytes are not all there, is held back until it is clear.
    """
    shown, last = "", ""
    for (last,) in _growing(run, prompt, 1, seed, max_new, stop, long, knobs):
        whole, stopped = _cut(last, stop)
        sure = whole if stopped else _sure(whole, stop)
        if len(sure) > len(shown) and sure.startswith(shown):
            yield sure[len(shown) :]
            shown = sure
    whole, _ = _cut(last, stop)
    if len(whole) > len(shown):
        yield whole[len(shown) :]


def _growing(
    run: Run,
    prompt: str,
    n: int,
    seed: int,
    max_new: int | None,
    stop: Sequence[str],
    long: Long,
    knobs: dict[str, Any],
) -> Iterator[list[str]]:
    """All texts so far, after each token; ends when every one has met a stop."""
    need_text(run)
    if any(not s for s in stop):
        raise RecipeError("a stop string is empty; it would end every text before it begins")
    if long not in ("error", "slide"):
        raise RecipeError(f"long is {long!r}; use 'error' or 'slide'")
    model: Any = run.model.eval()
    codec: Any = run.codec
    check_knobs(model.stream, knobs, skip=3)
    length = run.spec.shape[0]
    told = codec.encode_prompt(prompt) if prompt else torch.zeros(0, dtype=torch.long)
    if len(told) >= length:
        if long == "error":
            raise DataError(
                f"the prompt has {len(told)} tokens and the model reads {length}; shorten it, or say --long slide to use its end"
            )
        told = told[-(length // 2) :]
    more = max_new if max_new is not None else max(length - len(told), length // 2)
    x = told.expand(n, -1).to(run.device)
    rng = Rng.for_rows(range(seed, seed + n), run.device)
    knobs = {"stop": codec.end, **knobs, "max_new": more}
    given: dict[str, Any] = {}
    if len(told):
        given = {"batch": Batch(x), "keep": torch.ones_like(x, dtype=torch.bool)}
    made = x[:, :0].cpu()
    skip = len(told)  # the prompt comes first, in one part or several
    for part in model.stream(n, rng, None, **given, **knobs):
        fresh = part.cpu()
        lost = min(skip, fresh.shape[1])
        skip -= lost
        made = torch.cat([made, fresh[:, lost:]], 1)
        if made.shape[1]:
            texts = [item.value for item in codec.decode(made)]
            yield texts
            ended = (made == codec.end).any(1).tolist()
            if all(e or _cut(t, stop)[1] for e, t in zip(ended, texts, strict=True)):
                return


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


def told(text: str, what: str = "the prompt") -> str:
    """``text``, or DataError when there is nothing in it."""
    if not text.strip():
        raise DataError(f"{what} is empty; write at least a word")
    return text
