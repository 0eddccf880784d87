"""Directories of other people's language models, as Hugging Face lays them out: config, tokenizer, safetensors."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

import bottega
from bottega.core import BottegaError, CheckpointError, Family, RecipeError, lookup, names
from bottega.workshop.build import make_codec, make_family
from bottega.workshop.recipe import Recipe

__all__ = ["HUB", "fetch", "is_directory", "load_directory", "onto", "tables_of", "weights_of"]

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
HUB = "hub:"
GENERAL = "english"  # what it is asked to remember, where nobody knows what it was trained on
_WANTED = [
    "*.safetensors",
    "*.json",
    "chat_template.jinja",
]  # what is fetched: nothing that can run but a template, in its sandbox


def is_directory(path: Path) -> bool:
    """Whether there is such a directory: it has a ``config.json`` that names a ``model_type``."""
    return (path / CONFIG).is_file() and "model_type" in _config(path)


def fetch(name: str) -> Path:
    """The directory of a language model: a path, or ``hub:owner/name``, which is fetched from Hugging Face.

    Raises:
        BottegaError: no network, no such model, or the library is not installed.
        CheckpointError: no such directory, or one of something else.
    """
    if not name.startswith(HUB):
        path = Path(name)
        if not is_directory(path):
            raise CheckpointError(
                f"{name} is no directory of a Hugging Face model (it has no {CONFIG}) and no run; give one, or {HUB}OWNER/NAME"
            )
        return path
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise BottegaError("a model from the hub needs huggingface_hub: pip install 'bottega[text]'") from error
    try:
        path = Path(snapshot_download(name.removeprefix(HUB), allow_patterns=_WANTED))
    except Exception as error:  # the library and what it is built on raise dozens of kinds
        why = " ".join(str(error).split())[:160]
        raise BottegaError(
            f"cannot fetch {name} ({why}); check the name and the network, or give a directory"
        ) from error
    if not is_directory(path):
        raise CheckpointError(f"{name} is no language model (it has no {CONFIG} that names its kind); give another")
    return path


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path / CONFIG}: {error}; fetch the directory again") from error
    return found if isinstance(found, dict) else {}


def tables_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ``[codec]`` and ``[family]`` tables of a directory: a family that knows its arithmetic, or one that wraps it.

    Raises:
        CheckpointError: a value is missing in ``config.json``.
    """
    config = _config(path)
    known = [f for n in names("families") if config["model_type"] in getattr(f := lookup("families", n), "foreign", ())]
    try:
        family = known[0].settings_of(config) if known else None
    except RecipeError:
        family = None  # a variant with other arithmetic
    except KeyError as error:
        raise CheckpointError(f"{path / CONFIG} lacks {error}; fetch the directory again") from error
    if family is None:
        wraps = next(f for n in names("families") if hasattr(f := lookup("families", n), "wrapping"))
        family = wraps.wrapping(config)
    text = str(path)
    codec = {"name": "text", "tokenizer": text if "/" in text else f"./{text}", "length": int(family["context"])}
    begins = make_codec(codec).fit([]).foreign.begins  # type: ignore[attr-defined]  # what its tokenizer sets before a text
    return codec, family | {"begins": begins >= 0} | ({"bos": begins} if begins >= 0 else {})


def weights_of(path: Path) -> dict[str, Tensor]:
    """All tensors of a directory's safetensors files.

    Raises:
        CheckpointError: only pickles, damaged files, or an index that points elsewhere.
    """
    files = [path / SINGLE]
    if not files[0].exists() and (path / INDEX).exists():
        try:
            listed = sorted(set(json.loads((path / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"cannot read {path / INDEX} ({error!r}); fetch the directory again") from error
        files = [path / str(name) for name in listed]
        if any(file.parent != path for file in files):
            raise CheckpointError(f"{path / INDEX} points outside of {path}; fetch the directory again")
    if not files[0].exists():
        pickles = [f.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for f in sorted(path.glob(pattern))]
        if pickles:
            raise CheckpointError(
                f"{path} has its weights as a pickle only ({pickles[0]}), which can run code when loaded; if you trust it, "
                "convert it with transformers: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(NEW)"
            )
        raise CheckpointError(f"{path} has no weights: there is no {SINGLE}; fetch the directory again")
    out: dict[str, Tensor] = {}
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                out |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is truncated or damaged ({error}); fetch the directory again") from error
    return out


def load_directory(path: Path, name: str = "") -> tuple[Recipe, Any, Family, dict[str, Any]]:
    """Recipe, codec, model and header of a directory, as if it were a run of ours that nobody has seen in training.

    Args:
        path: the directory.
        name: what it is called, where its folder says nothing, as in a cache of the hub.
    """
    called = Path(name or path).resolve().name
    config = _config(path)
    codec_table, family_table = tables_of(path)
    codec = make_codec(codec_table).fit([])
    if config.get("vocab_size") not in (None, codec.spec.vocab):
        raise CheckpointError(
            f"{path / CONFIG} says {config['vocab_size']} tokens and its tokenizer {codec.spec.vocab}"
        )
    model: Any = make_family(family_table, codec.spec, seed=0)
    model.take_weights(weights_of(path), config)
    recipe = Recipe(name=called, codec=codec_table, family=family_table)
    parameters = sum(p.numel() for p in model.parameters())
    header = {
        "version": bottega.__version__, "recipe": recipe.to_dict(), "spec": codec.spec.to_dict(), "codec": codec.state(),
        "step": 0, "stopped": True, "seconds": 0.0, "rows_seen": 0, "fingerprint": "", "data_argument": "",
        "data": {"name": "", "medium": codec.medium, "source": called, "licence": "not stated", "about":
                 f"what {config.get('_name_or_path') or called} was trained on", "rows": 0, "train_rows": 0,
                 "held_rows": 0, "copies_kept_together": 0, "consent": "", "bytes": 0, "file_count": 0, "files": []},
        "conditions": [], "parameters": parameters, "device": "cpu", "threads": torch.get_num_threads(),
        "precision": "fp32", "notes": [f"weights of {called}, a {config['model_type']}; not trained here"],
        "monitor": None, "first_losses": {}, "last_losses": {}, "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    return recipe, codec, model, header


def onto(plan: Recipe, base: str) -> Recipe:
    """``plan`` for the language model that ``base`` names: with its tokenizer, its family, and its weights to begin with.

    Raises:
        RecipeError: a recipe for something else than text, or with another tokenizer.
    """
    path = fetch(base)
    codec, family = tables_of(path)
    mine = {k: v for k, v in plan.codec.items() if k not in {"tokenizer", "vocab"}}
    if mine["name"] not in {codec["name"], "chat"}:
        raise RecipeError(
            f"recipe {plan.name!r} reads {mine['name']}; {base} is a language model, use recipe text or chat"
        )
    asked = str(plan.codec.get("tokenizer", ""))
    if "/" in asked and Path(asked).resolve() != path.resolve():
        raise RecipeError(f"codec.tokenizer is {asked!r}, but {base} has one of its own; leave it out")
    length = min(int(plan.codec.get("length", 128)), codec["length"])
    codec = {**mine, "tokenizer": codec["tokenizer"], "length": length}
    train = replace(plan.train, start=str(path), remember=plan.train.remember or GENERAL)
    return replace(plan, codec=codec, family=family, train=train)
