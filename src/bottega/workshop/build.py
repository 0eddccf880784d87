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
from bottega.nets.condition import Condition
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


def begin_with(model: Family, start: Family, name: str) -> str:
    """Copy the weights of ``start`` into ``model``, in place; returns a sentence that says what was taken.

    A family with a method ``adopt`` takes what it can use of one of another family. What a model knows of conditions begins anew where these are others (``nets.condition.Condition``), and so do buffers
    that one of the two has not; everything else must agree.

    Args:
        model: of new weights.
        start: a trained model.
        name: of the run that it is from, for messages.

    Raises:
        RecipeError: another family, other examples, or a network of another size.
    """
    if type(start) is not type(model) and (adopt := getattr(model, "adopt", None)) is not None:
        return str(adopt(start, name))
    if type(start) is not type(model):
        raise RecipeError(
            f"train.start is {name}, of family {type(start).__name__} and not {type(model).__name__}; use its recipe"
        )
    if replace(start.spec, cond=None) != replace(model.spec, cond=None):
        raise RecipeError(
            f"train.start is {name}, whose examples are {start.spec}; here they are {model.spec}; set [codec] as there"
        )
    mine, theirs = model.state_dict(), start.state_dict()
    fits = {k for k, v in theirs.items() if k in mine and mine[k].shape == v.shape}
    sizes = [{k: tuple(p.shape) for k, p in m.named_parameters() if not _of_condition(m, k)} for m in (model, start)]
    for key in sorted(sizes[0].keys() | sizes[1].keys()):
        here, there = (s.get(key, "absent") for s in sizes)
        if here != there:
            raise RecipeError(f"train.start is {name}, where {key} is {there} and here {here}; set [family] as there")
    model.load_state_dict({**mine, **{k: theirs[k] for k in fits}})
    anew = len(mine.keys() - fits)
    return f"began with the weights of {name}" + (f"; {anew} of {len(mine)} tensors begin anew" if anew else "")


def _of_condition(model: Family, parameter: str) -> bool:
    path = parameter.split(".")[:-1]
    return any(isinstance(model.get_submodule(".".join(path[:i])), Condition) for i in range(1, len(path) + 1))


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
