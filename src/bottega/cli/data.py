"""``bottega data``: real data that is already here, and made worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._shared import Json, Out

if TYPE_CHECKING:
    from bottega.data.dataset import Dataset

__all__ = ["data"]

_FEW = 24  # pieces that show what a world is
PANEL, PLACE = "Begin", 2
EXAMPLES = """\
  bottega data                          all data sets, with their licences
  bottega data digits                   one of them: source, licence, truth, the first pieces
  bottega train digits-vae --data digits
"""


def data(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Describe this one.")] = None,
    as_json: Json = False,
) -> None:
    """List the data sets that need no download, or describe one.

    Real data that comes inside the installed packages, and made worlds whose truth is known by construction.
    """
    say = Out(as_json)
    if name is None:
        found = list(_all())
        if not as_json:
            rows = [(d["name"], d["medium"], f"{d['pieces']:,}", d["licence"], d["about"]) for d in found]
            say.table(("data", "medium", "pieces", "licence", "about"), rows, numeric=(2,))
            say.note("\nbottega data NAME says more; bottega train RECIPE --data NAME (or your own path) trains on it.")
        say.result({"data": found})
        return
    from bottega.data.dataset import fingerprint

    chosen = _load(name)
    known = {key: value for key, value in chosen.truth.items() if not callable(value)}
    told = _told(chosen) | {"source": chosen.source, "fingerprint": fingerprint(chosen.items), "truth": known}
    if not as_json:
        say.table(
            ("", ""),
            [(key, f"{value:,}" if isinstance(value, int) else str(value)) for key, value in told.items() if value],
        )
        for item in chosen.items[:3]:
            say.say(f"{item.name}  {_piece(item.value)}" + ("" if item.cond is None else f"  ({item.cond})"))
    say.result(told)


def _all() -> Iterator[dict[str, Any]]:
    """Every data set; one whose library or program is not installed says so in the place of what it is about."""
    from bottega.data import builtin, worlds

    for name in builtin.names():
        yield _or_why(name, "real", lambda name=name: _told(builtin.load(name)))  # type: ignore[misc]
    for name in worlds.names():
        yield _or_why(name, "made", lambda name=name: _few(worlds.world(name)))  # type: ignore[misc]


def _or_why(name: str, kind: str, tell: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from bottega.core.errors import DataError

    try:
        return tell() | {"kind": kind}
    except DataError as error:
        return {"name": name, "medium": "", "pieces": 0, "licence": "", "about": str(error), "kind": kind}


def _few(make: Callable[..., Dataset]) -> dict[str, Any]:
    """Of a made world, from some pieces of it: as a whole it takes seconds to make."""
    usual: int = signature(make).parameters["n"].default
    return _told(make(n=min(_FEW, usual))) | {"pieces": usual}


def _load(name: str) -> Dataset:
    from bottega.core.errors import DataError, nearest
    from bottega.data import builtin, worlds

    if name in builtin.names():
        return builtin.load(name)
    if name in worlds.names():
        return worlds.load(name)
    raise DataError(f"no data called {name!r}{nearest(name, [*builtin.names(), *worlds.names()])}")


def _told(found: Dataset) -> dict[str, Any]:
    return {"name": found.name, "medium": found.medium, "pieces": len(found.items), "licence": found.licence,
            "about": found.about}  # fmt: skip


def _piece(value: Any) -> str:
    if hasattr(value, "shape"):
        return " x ".join(map(str, value.shape))
    text = " ".join(str(value).split())
    return text if len(text) <= 90 else f"{text[:89]}…"
