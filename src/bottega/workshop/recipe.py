"""Recipes: flat TOML whose keys are constructor arguments and nothing else. Reading one imports no torch."""

from __future__ import annotations

import inspect
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from bottega.core.errors import DataError, RecipeError, nearest

TABLES = ("data", "codec", "family", "optim", "train", "reward", "judge")
# what `[data]` may say of any data, and as what kind; anything else goes to a made world, which checks it
_DATA = {
    "name": str, "held": float, "test": float, "limit": int, "group": bool, "labelled": int, "licence": str, "consent": str,
}  # fmt: skip
_SEEDS = 2**31  # seeds are multiplied and added to, and a generator takes 64 bits
_SHIPPED = Path(__file__).resolve().parent.parent / "recipes"


@dataclass(frozen=True)
class Train:
    """The ``[train]`` table.

    Attributes:
        steps: optimiser steps.
        batch: examples in one step (of each process).
        accum: micro-batches the batch is cut into, for machines with little memory.
        clip: largest norm of the gradient; 0 does not clip.
        precision: ``"fp32"``, ``"bf16"``, or ``"auto"``: bf16 where the processor is fast at it.
        ema: decay of the averaged weights that sampling uses; 0 keeps none.
        seed: of the weights, the order of the data and the noise.
        augment: names of augmentations, comma-separated (``"flip,shift"``); empty for none. Of pictures: flip, shift, crop,
            rotate, brightness; of sound: gain, noise, shift, time_mask, frequency_mask, pitch (see ``data.augment``).
        group_by_length: texts only: batches of texts that are about equally long, so that little of them is padding.
        patience: stop after so many held-out checks without improvement and go back to the best; 0 never stops early.
        checks: how often in a run the held-out loss is looked at.
        monitor: watch a training of several players, and step in when it fails (see ``training.monitor``).
        save_seconds: time between checkpoints.
        sample_every: steps between pictures of samples under ``samples/``; 0 only at the end.
        tensorboard: also write TensorBoard events (extra ``track``).
        start: a trained run of the same family and settings whose weights this training begins with, or the directory of
            a Hugging Face model; empty for new ones.
        lora: rank of low-rank adapters, which alone are trained; 0 trains all weights.
        lora_alpha: their change counts ``lora_alpha / lora`` times.
        remember: with ``start``, what else it knew (a path or a name): what training forgets of it is measured.
    """

    steps: int = 2000
    batch: int = 64
    accum: int = 1
    clip: float = 1.0
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    ema: float = 0.999
    seed: int = 0
    augment: str = ""
    group_by_length: bool = False
    patience: int = 0
    checks: int = 20
    monitor: bool = True
    save_seconds: float = 60.0
    sample_every: int = 0
    tensorboard: bool = False
    start: str = ""
    lora: int = 0
    lora_alpha: float = 16.0
    remember: str = ""

    def __post_init__(self) -> None:
        for name, least in {"steps": 1, "batch": 1, "accum": 1, "checks": 0, "patience": 0, "lora": 0}.items():
            if getattr(self, name) < least:
                raise RecipeError(f"train.{name} is {getattr(self, name)}; it must be at least {least}")
        if not self.lora_alpha > 0:
            raise RecipeError(f"train.lora_alpha is {self.lora_alpha}; it must be above 0, 16 is usual")
        if self.remember and not self.start:
            raise RecipeError(f"train.remember is {self.remember!r}, but there is no train.start that could forget")
        if self.clip < 0:
            raise RecipeError(f"train.clip is {self.clip}; it is the largest norm of the gradient, and 0 does not clip")
        if self.patience and not self.checks:
            raise RecipeError(f"train.patience is {self.patience} but train.checks 0; stopping early needs checks")
        _check_seed("train.seed", self.seed)
        if self.precision not in {"fp32", "bf16", "auto"}:
            raise RecipeError(f"train.precision is {self.precision!r}; use 'fp32', 'bf16' or 'auto'")
        if not 0 <= self.ema < 1:
            raise RecipeError(f"train.ema is {self.ema}; it must lie in [0, 1)")


@dataclass(frozen=True)
class Judging:
    """The ``[judge]`` table.

    Attributes:
        n: samples to judge.
        seed: of those samples and of whatever a judge draws.
        iwae: importance samples for a likelihood bound, where the family offers one.
        only: names of judges, comma-separated; empty for all that apply.
        target: the column a table's usefulness is measured by.
        features: a safetensors file of Inception-v3 weights, by whose features pictures are judged; empty for features
            that are learned here, on the data.
    """

    n: int = 1000
    seed: int = 0
    iwae: int = 100
    only: str = ""
    target: str = ""
    features: str = ""

    def __post_init__(self) -> None:
        if self.n < 2:
            raise RecipeError(f"judge.n is {self.n}; it must be at least 2")
        if self.iwae < 1:
            raise RecipeError(f"judge.iwae is {self.iwae}; it must be at least 1 importance sample")
        _check_seed("judge.seed", self.seed, 0)  # as scikit-learn wants it


def _check_seed(name: str, seed: int, least: int = -_SEEDS) -> None:
    if not least <= seed < _SEEDS:
        raise RecipeError(f"{name} is {seed}; it must lie between {least} and {_SEEDS - 1}")


@dataclass(frozen=True)
class Recipe:
    """A codec, data, a family and training: everything that decides what a run becomes.

    Attributes:
        name: of the recipe, and of its run unless ``--out`` says otherwise.
        about: one sentence.
        data: ``name`` (built in, a made world, ``hub:owner/name`` or a path), ``held`` (share kept back), ``limit``
            (rows at most), ``labelled`` (so many training pieces of each class keep it, the others' is hidden); anything
            else goes to the world.
        codec, family, optim: ``name`` and constructor arguments; ``optim`` may hold a table for each player.
        train, judge: see ``Train`` and ``Judging``.
        reward: how a run went on learning from feedback (``bottega reward``); empty for one that was only trained.
        header: the comment at the head of the file: device, minutes, memory, expected result.
    """

    name: str
    about: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    codec: dict[str, Any] = field(default_factory=dict)
    family: dict[str, Any] = field(default_factory=dict)
    optim: dict[str, Any] = field(default_factory=dict)
    train: Train = field(default_factory=Train)
    judge: Judging = field(default_factory=Judging)
    reward: dict[str, Any] = field(default_factory=dict)
    header: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form, the inverse of ``from_dict``."""
        out = asdict(self)
        out.pop("header")
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], header: str = "") -> Recipe:
        """A recipe from its tables; raises RecipeError naming the unknown key and the nearest known one."""
        known = {"name", "about", *TABLES}
        for key, value in data.items():
            if key not in known:
                raise RecipeError(f"unknown key {key!r} in the recipe{nearest(key, known)}")
            if key in TABLES and not isinstance(value, Mapping):
                raise RecipeError(f"{key} is {value!r}; write it as a table, [{key}]")
        for table in ("codec", "family"):
            if "name" not in data.get(table, {}):
                raise RecipeError(f"the recipe has no {table}.name; add [{table}] with name = ...")
            _check_kind(f"{table}.name", data[table]["name"], str)
        for key, hint in _DATA.items():
            if key in data.get("data", {}):
                _check_kind(f"data.{key}", data["data"][key], hint)
        check_arguments(Train, data.get("train", {}), "train")
        check_arguments(Judging, data.get("judge", {}), "judge")
        return cls(
            name=str(data.get("name", "run")),
            about=str(data.get("about", "")),
            **{t: dict(data.get(t, {})) for t in ("data", "codec", "family", "optim", "reward")},
            train=Train(**data.get("train", {})),
            judge=Judging(**data.get("judge", {})),
            header=header,
        )

    def differs(self, other: Recipe) -> str:
        """The first key whose value decides the weights and differs, as ``table.key: ours, theirs``; empty when none."""
        mine, theirs = self.to_dict(), other.to_dict()
        free = {("train", k) for k in ("save_seconds", "sample_every", "tensorboard")}
        for table in ("data", "codec", "family", "optim", "train", "reward"):
            a, b = mine[table], theirs[table]
            for key in sorted(a.keys() | b.keys()):
                if (table, key) not in free and a.get(key) != b.get(key):
                    return f"{table}.{key} is {a.get(key)!r} now and was {b.get(key)!r}"
        return ""

    def to_toml(self) -> str:
        """The recipe as a file, defaults spelled out."""
        lines = [*(f"# {line}".rstrip() for line in self.header.splitlines()), f"about = {_value(self.about)}"]
        for table in TABLES:
            content = getattr(self, table)
            if table in {"train", "judge"}:
                content = {f.name: getattr(content, f.name) for f in fields(content)}
            flat = {k: v for k, v in content.items() if not isinstance(v, Mapping)}
            if flat:
                lines += ["", f"[{table}]", *(f"{_key(k)} = {_value(v)}" for k, v in flat.items())]
            for k, v in content.items():
                if isinstance(v, Mapping):
                    lines += ["", f"[{table}.{_key(k)}]", *(f"{_key(a)} = {_value(b)}" for a, b in v.items())]
        return "\n".join(lines) + "\n"


def shipped() -> dict[str, Path]:
    """The recipes that come with Bottega: name -> file, sorted by name within each modality."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*/*.toml"))}


def guess(path: Path) -> str:
    """The recipe for a folder, file or table of one's own; raises DataError when it holds nothing we can read."""
    from bottega.data.folders import guess as medium

    found = medium(path)
    if found == "audio":
        raise DataError(
            f"{path} holds sound, for which no recipe is shipped yet; write one with [codec] name = 'audio'"
        )
    known = {
        "image": "pictures",
        "text": "text",
        "table": "table",
        "points": "points",
        "chat": "chat",
        "music": "frames",
    }
    return known[found]


def load_recipe(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A shipped recipe by name or one's own by path, with ``table.key`` overrides as ``--set`` gives them.

    Raises:
        RecipeError: no such recipe, not TOML, an unknown key or a value of the wrong kind.
    """
    path = shipped().get(str(name))
    if path is None:
        path = Path(name)
        if path.suffix != ".toml" or not path.is_file():
            known = nearest(str(name), shipped())
            if str(name).startswith("hub:"):
                known = f"; name it to a recipe: bottega train text --data {name} (or pictures, or table)"
            elif path.suffix or len(path.parts) > 1:
                known = "; give a file or folder that is there, or a name from bottega recipes"
            raise RecipeError(f"no recipe, file or folder called {str(name)!r}{known}")
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error
    tables = {"name": path.stem, **tables}
    for key, value in (overrides or {}).items():
        _set(tables, key, value)
    header = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        header.append(line.lstrip("# ").rstrip())
    return Recipe.from_dict(tables, "\n".join(header))


def _set(tables: dict[str, Any], key: str, value: Any) -> None:
    table, _, rest = key.partition(".")
    if table not in TABLES or not rest:
        raise RecipeError(f"--set {key}: write table.key=value, where the table is one of {', '.join(TABLES)}")
    inner = tables.setdefault(table, {})
    *path, last = rest.split(".")
    for part in path:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {key}: {part} is a value ({inner!r}), not a table; leave out what follows it")
    inner[last] = parse_value(value) if isinstance(value, str) else value


def parse_value(text: str) -> Any:
    """A value as TOML writes it, or the bare text: ``"64" -> 64``, ``"true" -> True``, ``"cosine" -> "cosine"``.

    >>> parse_value("1e-3"), parse_value("[1, 2]"), parse_value("hinge")
    (0.001, [1, 2], 'hinge')
    """
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def check_arguments(make: Callable[..., Any], table: Mapping[str, Any], where: str, skip: int = 0) -> None:
    """Raise RecipeError unless every key of ``table`` is an argument of ``make`` and has the annotated kind.

    Args:
        make: a class or function; its first ``skip`` parameters are not for recipes.
        table: what the recipe says, without ``name``.
        where: the table's name, for the message.
        skip: how many leading parameters are filled by Bottega.
    """
    target = make.__init__ if inspect.isclass(make) else make
    parameters = list(inspect.signature(make).parameters.values())[skip:]
    known = {p.name: p for p in parameters if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}}
    hints = typing.get_type_hints(target)
    for key, value in table.items():
        if key not in known:
            raise RecipeError(f"unknown key {where}.{key}{nearest(key, known)}")
        _check_kind(f"{where}.{key}", value, hints.get(key, Any))


def _check_kind(name: str, value: Any, hint: Any) -> None:
    if not _fits(value, hint):
        raise RecipeError(f"{name} is {value!r}; it must be {_spell(hint)}")


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return any(_fits(value, h) for h in typing.get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in {str, bool}:
        return isinstance(value, hint)
    if origin in {list, tuple} or getattr(origin, "__name__", "") == "Sequence":
        inner = typing.get_args(hint)[:1]
        return isinstance(value, list | tuple) and all(_fits(v, h) for v in value for h in inner)
    return True


def _spell(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    if typing.get_origin(hint) not in {None, typing.Union, types.UnionType}:
        return "a list, each of it " + " or ".join(_spell(h) for h in typing.get_args(hint)[:1])
    words = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
    return words.get(hint, f"a {hint}")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes as JSON does
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)
