"""Knobs: the keyword arguments of a family's sampling methods, which users set by name."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def passes_on(target: Callable[..., Any]) -> Callable[[F], F]:
    """Say that a method gives its ``**knobs`` to ``target``: its signature then shows ``target``'s keyword arguments.

    So a knob is spelt once, where it is used, and everyone who reads signatures (the recipe check, ``bottega show``,
    ``help``) still sees its name, kind and default.

    >>> def inner(x, *, temperature: float = 1.0): ...
    >>> @passes_on(inner)
    ... def outer(n, *, guidance=1.0, **knobs): return inner(n, **knobs)
    >>> str(inspect.signature(outer))
    '(n, *, guidance=1.0, temperature: float = 1.0)'
    """
    kinds = typing.get_type_hints(target)
    named = inspect.signature(target).parameters.values()
    given = [p.replace(annotation=kinds[p.name]) for p in named if p.kind is p.KEYWORD_ONLY]

    def mark(method: F) -> F:
        signature = inspect.signature(method)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        method.__signature__ = signature.replace(parameters=[*own, *given])  # type: ignore[attr-defined]
        method.__annotations__ = {p.name: p.annotation for p in given} | method.__annotations__
        return method

    return mark
