"""Directories of other people's language models, as Hugging Face lays them out: config, tokenizer, safetensors."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

import bottega
from bottega.core import BottegaError, CheckpointError, DataError, Family, RecipeError, lookup, names
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
        CheckpointError: a value is missing in ``config.json``, or it asks for what neither family does.
        DataError: its tokenizer is another model's.
    """
    config = _config(path)
    every: list[Any] = [lookup("families", name) for name in names("families")]
    native: dict[str, Any] = {kind: f for f in every for kind in getattr(f, "foreign", ())}
    known: Any = native.get(config["model_type"])
    if known is None and (what := _not_causal(config)):
        raise CheckpointError(
            f"{path} holds a model of kind {config['model_type']!r}, {what}; it is not read here, those that are: "
            f"{', '.join(sorted(kind for kind, f in native.items() if hasattr(f, 'reads')))}, and causal models"
        )
    if hasattr(known, "reads") and config.get("is_decoder"):
        known = None  # layers of a BERT, say, that see only what is before them
    causal = not hasattr(known, "reads")
    try:
        family = None if known is None else known.settings_of(config)
    except RecipeError as error:
        if not causal:
            raise CheckpointError(f"{path / CONFIG}: {error}; give another model of this kind") from error
        family = None  # a variant with other arithmetic
    except KeyError as error:
        raise CheckpointError(f"{path / CONFIG} lacks {error}; fetch the directory again") from error
    if family is None:
        family = next(f for f in every if hasattr(f, "wrapping")).wrapping(config)
    text = str(path)
    codec: dict[str, Any] = {"name": "text", "tokenizer": text if "/" in text else f"./{text}"}
    codec |= {"length": int(family["context"])} if causal else known.reads(config)
    tokens = make_codec(codec).fit([]).foreign  # type: ignore[attr-defined]
    if not causal:
        _check_padding(path, config, tokens)
        return codec, family | known.marked(tokens)
    begins = tokens.begins  # what its tokenizer sets before a text
    return codec, family | {"begins": begins >= 0} | ({"bos": begins} if begins >= 0 else {})


def _not_causal(config: Mapping[str, Any]) -> str:
    """What a model is that ``transformers`` would read as a causal one too, and make nonsense of; empty for causal ones."""
    made = config.get("architectures") or []
    if config.get("is_encoder_decoder"):
        return "of an encoder and a decoder"
    return "which fills masks" if any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in made) else ""


def _check_padding(path: Path, config: Mapping[str, Any], tokens: Any) -> None:
    """Raise DataError where tokenizer and model pad with different tokens."""
    said, own = config.get("pad_token_id"), tokens.number("pad_token")
    if said is not None and own >= 0 and said != own:
        raise DataError(
            f"the tokenizer of {path} is of another model (it pads with {own}, the model with {said}); put the model's own "
            "tokenizer.json there"
        )


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
                f"convert it with transformers: {_class_of(path)}.from_pretrained(DIR).save_pretrained(NEW)"
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


def _class_of(path: Path) -> str:
    """The class of ``transformers`` that reads a directory, as it says itself."""
    made = _config(path).get("architectures") if (path / CONFIG).is_file() else None
    return str(made[0]) if isinstance(made, list) and made else "AutoModelForCausalLM"


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
    make = lookup("families", family["name"])
    allowed: dict[str, str] = getattr(make, "bases", {"text": family["name"], "chat": family["name"]})
    if mine["name"] not in allowed:
        raise RecipeError(
            f"recipe {plan.name!r} reads {mine['name']}; {base} is a language model ({family['name']}), use recipe "
            f"{' or '.join('classes' if name == 'labelled' else name for name in allowed)}"
        )
    if "given" in codec:
        if not mine.get("given"):
            raise RecipeError(
                f"{base} makes a text of a text, and recipe {plan.name!r} names none that is given; set codec.given and "
                "codec.column to the two columns of your data"
            )
        wide = mine.get("given_length") or mine.get("length", 128)
        mine |= {"unit": "item", "given_length": min(int(wide), codec["given_length"])}
    elif mine.get("given"):
        raise RecipeError(
            f"codec.given is {mine['given']!r}, but {base} makes no text of a text; give a T5, or leave it out"
        )
    causal = not hasattr(make, "bases")
    if mine["name"] == "text" and family.get("tells") is False:
        raise RecipeError(
            f"{base} is an encoder alone and tells no tokens; use recipe classes, spans or answers: a reader begins with it"
        )
    if allowed[mine["name"]] != family["name"]:  # another family that begins with its weights
        takes = inspect.signature(lookup("families", allowed[mine["name"]])).parameters
        family = {k: v for k, v in family.items() if k in takes} | {"name": allowed[mine["name"]]}
    if plan.family.get("name") == family["name"]:  # what a training decides, and no weight
        free = getattr(lookup("families", family["name"]), "free", ())
        family |= {k: v for k, v in plan.family.items() if k in free}
    asked = str(plan.codec.get("tokenizer", ""))
    if "/" in asked and Path(asked).resolve() != path.resolve():
        raise RecipeError(f"codec.tokenizer is {asked!r}, but {base} has one of its own; leave it out")
    length = min(int(plan.codec.get("length", 128)), codec["length"])
    codec = {**mine, "tokenizer": codec["tokenizer"], "length": length}
    general = GENERAL if causal else ""
    train = replace(plan.train, start=str(path), remember=plan.train.remember or general)
    return replace(plan, codec=codec, family=family, train=train)
