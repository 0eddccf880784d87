"""Rewards by name: plain functions of a text, from rules, from a judge run, from a made world, or of one's own.

Every built-in lies between 0 and 1 and is larger for better texts.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bottega.core import Batch, BottegaError, Classifies, Item, RecipeError, has, nearest
from bottega.data import worlds
from bottega.workshop.run import load

__all__ = ["BUILT_IN", "Reward", "Rule", "make_reward", "make_rewards", "name_of"]

Reward = Callable[[Sequence[str], Sequence[Any]], list[float]]
"""``(texts, prompts) -> rewards``, one for each."""

Rule = Callable[..., float]
"""One's own: ``text -> number``, or ``(text, prompt) -> number``."""

# name -> what follows its colon, and what it pays
BUILT_IN = {
    "length": ("N", "1 at N characters, falling evenly to 0 at none and at 2 N"),
    "words": ("N", "the same of words"),
    "contains": ("A,B", "the share of these words and phrases that occur, in capitals or not"),
    "avoids": ("A,B", "1 where none of them occurs, else 0"),
    "regex": ("PATTERN", "1 where the whole text matches, else 0"),
    "json": ("", "1 for valid JSON, else 0"),
    "repetition": ("", "the share of different triples among its triples of words; 1 is no repetition"),
    "class": ("RUN=LABEL", "the probability of a class by a run that tells classes"),
    "member": ("WORLD", "1 for a text of a made world's language, else 0"),
}


def make_rewards(specs: Sequence[str | Rule]) -> Reward:
    """The sum of several rewards, names or functions; ``"0.5*avoids:very"`` counts half.

    Raises:
        RecipeError: none is given, one is unknown, or cannot be made.
    """
    if not specs:
        raise RecipeError(
            f"no reward is named; give --reward NAME ({', '.join(BUILT_IN)}) or --reward file.py:function"
        )
    parts = []
    for spec in specs:
        if not isinstance(spec, str):
            parts.append((1.0, _checked(spec, name_of(spec))))
            continue
        weight, star, rest = spec.partition("*")
        try:
            parts.append((float(weight), make_reward(rest)) if star else (1.0, make_reward(spec)))
        except ValueError:  # a star that is part of a pattern or a path
            parts.append((1.0, make_reward(spec)))

    def summed(texts: Sequence[str], prompts: Sequence[Any]) -> list[float]:
        each = [[weight * r for r in reward(texts, prompts)] for weight, reward in parts]
        return [sum(column) for column in zip(*each, strict=True)]

    return summed


def make_reward(spec: str) -> Reward:
    """A reward as the command line names it; see ``BUILT_IN``.

    Raises:
        RecipeError: unknown, without what it needs, or with what it does not take.

    >>> make_reward("length:4")(["abcd", "ab", ""], [None] * 3)
    [1.0, 0.5, 0.0]
    >>> make_reward("contains:red,blue")(["A red house"], [None])
    [0.5]
    """
    name, _, rest = spec.partition(":")
    if name.endswith(".py"):
        return _own(Path(name), rest)
    if name not in BUILT_IN:
        raise RecipeError(f"no reward called {name!r}{nearest(name, BUILT_IN)}; or give file.py:function")
    wants = BUILT_IN[name][0]
    if bool(wants) != bool(rest):
        told = f"write {name}:{wants}" if wants else f"it takes nothing; write {name}"
        raise RecipeError(f"reward {spec!r}: {told}")
    if name == "class":
        return _of_class(rest)
    return _each(_RULES[name](rest))


def _each(rule: Callable[[str], float]) -> Reward:
    return lambda texts, prompts: [float(rule(text)) for text in texts]


# ---- rules -----------------------------------------------------------------------------------------------------------


def _near(what: str, size: Callable[[str], int]) -> Callable[[str], Callable[[str], float]]:
    def make(rest: str) -> Callable[[str], float]:
        if not rest.isdecimal() or int(rest) < 1:
            raise RecipeError(f"reward {what}:{rest}: a whole number of at least 1 is wanted")
        return lambda text: max(0.0, 1 - abs(size(text) - int(rest)) / int(rest))

    return make


def _phrases(rest: str) -> list[re.Pattern[str]]:
    words = [w.strip() for w in rest.split(",") if w.strip()]
    if not words:
        raise RecipeError(f"reward words {rest!r} name none; separate them by commas")
    return [re.compile(rf"(?<!\w){re.escape(w)}(?!\w)", re.IGNORECASE) for w in words]


def _contains(rest: str) -> Callable[[str], float]:
    phrases = _phrases(rest)
    return lambda text: sum(bool(p.search(text)) for p in phrases) / len(phrases)


def _avoids(rest: str) -> Callable[[str], float]:
    phrases = _phrases(rest)
    return lambda text: float(not any(p.search(text) for p in phrases))


def _regex(rest: str) -> Callable[[str], float]:
    try:
        pattern = re.compile(rest)
    except re.error as error:
        raise RecipeError(f"reward regex:{rest}: {error}; mend the pattern") from error
    return lambda text: float(pattern.fullmatch(text) is not None)


def _json(text: str) -> float:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return 0.0
    return 1.0


def _distinct(text: str) -> float:
    words = text.split()
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(triples)) / len(triples) if triples else 1.0


def _member(world: str) -> Callable[[str], float]:
    if world not in worlds.names():
        raise RecipeError(f"reward member:{world}: no made world{nearest(world, worlds.names())}")
    made = worlds.load(world)
    truth = made.truth
    if made.medium != "text" or "is_member" not in truth:
        raise RecipeError(
            f"reward member:{world}: that world has no language; use counting, copying, hidden or grammar"
        )
    is_member: Callable[[str], bool] = truth["is_member"]
    return lambda text: float(is_member(text))


_RULES: dict[str, Callable[[str], Callable[[str], float]]] = {
    "length": _near("length", len),
    "words": _near("words", lambda text: len(text.split())),
    "contains": _contains,
    "avoids": _avoids,
    "regex": _regex,
    "json": lambda rest: _json,
    "repetition": lambda rest: _distinct,
    "member": _member,
}


# ---- a judge run -----------------------------------------------------------------------------------------------------


def _of_class(rest: str) -> Reward:
    path, equals, label = rest.rpartition("=")
    if not equals:
        raise RecipeError(f"reward class:{rest}: write class:RUN=LABEL")
    run = load(path)
    model: Any = run.model.eval()
    codec: Any = run.codec
    names: list[str] = list(getattr(codec, "classes", None) or [])
    if codec.medium not in {"text", "labels"} or not has(model, Classifies) or not names:
        raise RecipeError(f"reward class:{rest}: {path} tells no classes of texts apart; train one on labelled texts")
    if label not in names:
        raise RecipeError(f"reward class:{rest}: no class {label!r}{nearest(label, names)}")
    which = names.index(label)

    def shares(texts: Sequence[str], prompts: Sequence[Any]) -> list[float]:
        out = [0.0] * len(texts)
        said = [i for i, text in enumerate(texts) if text.strip()]
        for first in range(0, len(said), 64):
            some = said[first : first + 64]
            if codec.medium == "labels":
                cond = codec.encode_cond([texts[i] for i in some])
                batch = Batch(torch.zeros(len(some), dtype=torch.long), cond)
            else:  # of a text longer than a row, its beginning
                rows = [codec.encode([Item(texts[i])]).take(slice(0, 1)) for i in some]
                batch = Batch.cat([Batch(row.x, None, row.mask) for row in rows])
            with torch.no_grad():
                found = model.classify(batch.to(run.device)).exp()[:, which].tolist()
            for i, share in zip(some, found, strict=True):
                out[i] = share
        return out

    return shares


# ---- one's own -------------------------------------------------------------------------------------------------------


def _own(path: Path, name: str) -> Reward:
    """A function of a Python file, which is run."""
    if not path.is_file():
        raise RecipeError(f"there is no {path}; give the file with your reward, as file.py:function")
    spec = importlib.util.spec_from_file_location(f"bottega_reward_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BottegaError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    rule = getattr(module, name, None)
    if not callable(rule):
        known = [k for k, v in vars(module).items() if inspect.isfunction(v)]
        raise RecipeError(f"{path} has no function {name!r}{nearest(name, known) if known else ''}")
    return _checked(rule, f"{path}:{name}")


def name_of(rule: str | Rule) -> str:
    """A reward as recipes and notes say it."""
    return rule if isinstance(rule, str) else str(getattr(rule, "__name__", type(rule).__name__))


def _checked(rule: Rule, name: str) -> Reward:
    """A function of one's own, whose faults are told in one line."""
    needed = [p for p in inspect.signature(rule).parameters.values() if p.default is p.empty]
    both = len(needed) > 1

    def paid(texts: Sequence[str], prompts: Sequence[Any]) -> list[float]:
        out = []
        for text, prompt in zip(texts, prompts, strict=True):
            try:
                value = float(rule(text, prompt) if both else rule(text))
            except Exception as error:
                raise BottegaError(f"{name} failed on {text[:60]!r}: {type(error).__name__}: {error}") from error
            if not math.isfinite(value):
                raise BottegaError(f"{name} gave {value} for {text[:60]!r}; a reward is a finite number")
            out.append(value)
        return out

    return paid
