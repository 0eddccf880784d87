"""Names are found by scanning file names and entry points; nothing is imported until it is asked for.

A file ``families/vae.py`` *is* the family ``vae``; what it offers is the first name of its ``__all__``.
Other people's packages add members through the entry-point groups ``bottega.families``, ``bottega.codecs``,
``bottega.judges``, ``bottega.crafts``.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from bottega.core.errors import RecipeError, nearest

_PACKAGE = Path(__file__).resolve().parent.parent
_GROUPS = {"judge": "judges"}


@lru_cache
def _found(room: str) -> dict[str, str]:
    """What to import for each name: a module path, or ``entry:`` and the entry point's value."""
    own = {
        path.stem: f"bottega.{room}.{path.stem}"
        for path in sorted((_PACKAGE / room).glob("*.py"))
        if not path.stem.startswith("_")
    }
    for point in entry_points(group=f"bottega.{_GROUPS.get(room, room)}"):
        own.setdefault(point.name, f"entry:{point.value}")
    return own


def names(room: str) -> list[str]:
    """The names a room offers (``"families"``, ``"codecs"``, ``"judge"``, ...), sorted; imports nothing.

    >>> "diffusion" in names("families")
    True
    """
    return sorted(_found(room))


def lookup(room: str, name: str) -> Any:
    """The class or function that ``name`` stands for; raises RecipeError with the nearest match when unknown."""
    found = _found(room)
    if name not in found:
        raise RecipeError(f"unknown name {name!r} in {room}{nearest(name, found)}")
    where = found[name]
    if where.startswith("entry:"):
        module, _, attribute = where.removeprefix("entry:").partition(":")
        loaded = importlib.import_module(module)
    else:
        loaded, attribute = importlib.import_module(where), ""
    return getattr(loaded, attribute or loaded.__all__[0])
