"""A model of ours as a directory that other programs load: Hugging Face ``transformers``, and what reads its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from bottega.core import BottegaError, OutputError

__all__ = ["to_huggingface"]


def to_huggingface(model: Any, codec: Any, folder: Path, note: str = "") -> list[Path]:
    """Write ``config.json``, ``generation_config.json``, ``model.safetensors`` and the tokenizer's files; returns them.

    ``transformers.AutoModelForCausalLM.from_pretrained(folder)`` then has the same logits.

    Args:
        model: a family that has ``to_huggingface``.
        codec: a codec that has ``to_huggingface``.
        folder: is made; must be empty or new.
        note: what goes into the weights file's own metadata.

    Raises:
        BottegaError: the family or the codec has no such form.
        OutputError: the folder holds something, or cannot be written.
    """
    for part, what in ((model, "family"), (codec, "codec")):
        if not hasattr(part, "to_huggingface"):
            raise BottegaError(f"a {type(part).__name__} has no Hugging Face form; only language models ({what} gpt) do")
    config, tensors = model.to_huggingface()
    start = config.get("bos_token_id")
    files = codec.to_huggingface(start if model.begins else None)
    extra = start is not None and start >= codec.spec.vocab
    config |= {"eos_token_id": codec.end, "pad_token_id": codec.end}
    making = {"bos_token_id": start, "eos_token_id": codec.end, "pad_token_id": codec.end}
    files |= {"config.json": config, "generation_config.json": making | ({"suppress_tokens": [start]} if extra else {})}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputError(f"{folder} holds something already; name a new folder with --out")
        save_file(tensors, folder / "model.safetensors", {"format": "pt"} | ({"made_by": note} if note else {}))
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; choose another with --out") from error
    return sorted(folder.iterdir())
