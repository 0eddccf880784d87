"""From a recipe to objects: the one place where names become codecs, data and families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bottega.core import Codec, DataError, Family, RecipeError, Rng, Spec, lookup, nearest
from bottega.data import builtin, worlds
from bottega.data.dataset import Dataset
from bottega.workshop.recipe import Recipe, check_arguments

DATA_KEYS = {"name", "held", "test", "limit", "group", "labelled", "licence", "consent"}


def make_codec(table: Mapping[str, Any]) -> Codec:
    """The codec that a ``[codec]`` table describes, not yet fitted.

    Raises:
        RecipeError: an unknown codec, key, or a value of the wrong kind.
    """
    arguments = {k: v for k, v in table.items() if k != "name"}
    make = lookup("codecs", table["name"])
    if table["name"] == "latent":
        return _latent(make, arguments)
    check_arguments(make, arguments, "codec")
    codec: Codec = make(**arguments)
    return codec


def _latent(make: Any, arguments: dict[str, Any]) -> Codec:
    from bottega.workshop.run import load

    if "run" not in arguments:
        raise RecipeError(
            "codec.run is missing; name the run whose codes are to be modelled: codec.run = 'runs/digits-vae'"
        )
    run = load(arguments.pop("run"))
    check_arguments(make, arguments, "codec", skip=2)
    codec: Codec = make(run.codec, run.model, **arguments)
    codec.header = run.header  # type: ignore[attr-defined]  # goes into the new run's file with the weights
    return codec


def make_family(table: Mapping[str, Any], spec: Spec, seed: int, *, teach: bool = True) -> Family:
    """The family that a ``[family]`` table describes, for examples of ``spec``, its weights drawn from ``seed``.

    Where the table names a ``teacher``, a run, the family learns from it first, unless ``teach`` is False: its own
    weights are then to come from a file.

    Raises:
        RecipeError: an unknown family, key, or a value of the wrong kind.
        SpecError: the family cannot model such examples.
    """
    arguments = {k: v for k, v in table.items() if k != "name"}
    make = lookup("families", table["name"])
    check_arguments(make, arguments, "family", skip=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        family: Family = make(spec, **arguments)
    if teach and arguments.get("teacher"):
        from bottega.workshop.run import load

        family.learn_from(load(arguments["teacher"], device="cpu").model)  # type: ignore[operator]
    return family


def find_data(recipe: Recipe, data: str | Path | None, codec: Codec) -> Dataset:
    """The pieces to train on: ``data`` (a path or a name), else what the recipe names.

    Raises:
        DataError: nothing there, unreadable, or of another medium than the codec's.
        RecipeError: an unknown key in ``[data]``.
    """
    name = str(data) if data is not None else str(recipe.data.get("name", ""))
    if not name:
        raise DataError(f"recipe {recipe.name!r} names no data; give your own with --data FOLDER_OR_FILE")
    arguments = {k: v for k, v in recipe.data.items() if k not in DATA_KEYS} if data is None else {}
    found: Dataset
    if name in worlds.names():
        check_arguments(worlds.world(name), arguments, "data")
        found = worlds.load(name, **arguments)
    elif arguments and (name in builtin.names() or Path(name).exists()):
        key = next(iter(arguments))
        raise RecipeError(f"unknown key data.{key}{nearest(key, DATA_KEYS)}")
    elif name in builtin.names():
        found = builtin.load(name)
    elif name.startswith("hub:"):
        from bottega.data import hub

        found = hub.load(name)
    elif Path(name).exists():
        found = _own(Path(name), recipe, codec)
    else:
        known = [*builtin.names(), *worlds.names()]
        raise DataError(f"no data at {name!r}: neither a file or folder nor a built-in name{nearest(name, known)}")
    if found.medium != codec.medium:
        raise DataError(
            f"{name} holds {found.medium} data, but the recipe {recipe.name!r} reads {codec.medium}; choose a recipe for {found.medium}"
        )
    limit = recipe.data.get("limit", 0)
    if not 0 < limit < len(found.items):
        return found
    some = Rng(recipe.train.seed).permutation(len(found.items))[:limit].sort().values  # folders come sorted by class
    return replace(found, items=[found.items[i] for i in some.tolist()])


def _own(path: Path, recipe: Recipe, codec: Codec) -> Dataset:
    items = codec.read(path)
    return Dataset(
        name=path.stem.removesuffix(".csv"),
        medium=codec.medium,  # type: ignore[arg-type]
        items=items,
        licence=str(recipe.data.get("licence", "not stated by its owner")),
        source=path.name,
        about=f"{len(items)} pieces of the user's own",
    )
