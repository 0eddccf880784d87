"""A model of ours as files that other programs load: a Hugging Face directory, or one GGUF file for llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from bottega.core import BottegaError, OutputError

__all__ = ["to_gguf", "to_huggingface"]


def _written(model: Any, codec: Any) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """``config.json``, weights, and the tokenizer's files by their names."""
    for part, what in ((model, "family"), (codec, "codec")):
        if not hasattr(part, "to_huggingface"):
            raise BottegaError(
                f"a {type(part).__name__} has no Hugging Face form; only language models ({what} gpt) do"
            )
    config, tensors = model.to_huggingface()
    if "decoder_start_token_id" in config:
        start = config["decoder_start_token_id"] if model.begins else None
        return config, tensors, codec.to_huggingface(start, closed=True)
    if not hasattr(model, "begins"):  # an encoder; its marks are its own
        return config, tensors, codec.to_huggingface(None)
    start = config.get("bos_token_id")
    files = codec.to_huggingface(start if model.begins else None)
    return config | {"eos_token_id": codec.end, "pad_token_id": codec.end}, tensors, files


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
    config, tensors, files = _written(model, codec)
    making = {name: config.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    if "decoder_start_token_id" in config:
        making["decoder_start_token_id"] = config["decoder_start_token_id"]
    if more := list(range(codec.spec.vocab, config.get("vocab_size", 0))):  # of the form alone, which must not be made
        making["suppress_tokens"] = more
    files |= {"config.json": config, "generation_config.json": making}
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


# GGUF ----------------------------------------------------------------------------------------------------------------
# llama.cpp's own converter knows tokenizers by a hash of what they make of one text, so it refuses every one that a user
# trained; the file is therefore written here, by the format's own library.


def to_gguf(model: Any, codec: Any, file: Path, note: str = "") -> Path:
    """Write a model as one GGUF file of float32 weights, which llama.cpp loads (and makes smaller: ``llama-quantize``).

    Args:
        model: a family that ``to_huggingface`` writes as a GPT-2, Llama, Mistral or Qwen 2.
        codec: its codec; the tokenizer must be of bytes, byte-level pairs, or ASCII characters.
        file: must be new.
        note: what goes into the file as its description.

    Raises:
        BottegaError: the family or the codec has no such form, or the package ``gguf`` is missing.
        OutputError: the file is there already, or cannot be written.
    """
    try:
        import gguf
    except ImportError:
        raise BottegaError("GGUF needs the package gguf; install it: pip install 'bottega[text]'") from None
    config, tensors, files = _written(model, codec)
    kind = config["model_type"]
    kinds = {"gpt2": "GPT2", "llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2"}
    if kind not in kinds:
        raise BottegaError(f"a {kind} is not written as GGUF by us; use --to hf and llama.cpp's own converter")
    tokens = _tokens(config, files["tokenizer.json"])
    if file.exists():
        raise OutputError(f"{file} is there already; name a new file with --out")
    arch = gguf.MODEL_ARCH[kinds[kind]]
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(part, gguf.MODEL_ARCH_NAMES[arch])
        writer.add_name(file.stem)
        if note:
            writer.add_description(note)
        depth = _settings(writer, config)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens["tokens"])
        writer.add_token_types(tokens["types"])
        writer.add_token_merges(tokens["merges"])
        if config.get("bos_token_id") is not None:
            writer.add_bos_token_id(config["bos_token_id"])
        writer.add_add_bos_token(bool(model.begins and config.get("bos_token_id") is not None))
        writer.add_eos_token_id(codec.end)
        writer.add_pad_token_id(codec.end)
        if template := files["tokenizer_config.json"].get("chat_template"):
            writer.add_chat_template(template)
        names = gguf.get_tensor_name_map(arch, depth)
        for name, weight in tensors.items():
            theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if theirs is None:
                raise BottegaError(f"weight {name!r} has no place in a GGUF file of a {kind}")
            writer.add_tensor(theirs, _turned(name, weight, config).float().contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(file)
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror or error}; choose another with --out") from error
    finally:
        part.unlink(missing_ok=True)
    return file


def _settings(writer: Any, config: dict[str, Any]) -> int:
    """Enter the sizes of a network; returns its number of layers."""
    old = config["model_type"] == "gpt2"

    def get(llama: str, gpt2: str) -> Any:
        return config[gpt2 if old else llama]

    width, heads = get("hidden_size", "n_embd"), get("num_attention_heads", "n_head")
    depth: int = get("num_hidden_layers", "n_layer")
    writer.add_block_count(depth)
    writer.add_context_length(get("max_position_embeddings", "n_positions"))
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(get("intermediate_size", "n_inner") or 4 * width)
    writer.add_head_count(heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(0)  # every weight in float32
    if old:
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return depth
    head = config.get("head_dim") or width // heads
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = config.get("rope_parameters") or {}
    writer.add_rope_freq_base(float(rope.get("rope_theta", config.get("rope_theta", 10000.0))))
    writer.add_rope_dimension_count(head)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if config["model_type"] == "mistral" and config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    return depth


def _turned(name: str, weight: Tensor, config: dict[str, Any]) -> Tensor:
    """A weight as llama.cpp keeps it: GPT-2's products as ``(out, in)``; Llama's rotated pairs of numbers side by side."""
    if config["model_type"] == "gpt2":
        products = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
        return weight.t() if name.endswith(products) else weight
    if config["model_type"] == "qwen2" or not name.endswith(("q_proj.weight", "k_proj.weight")):
        return weight
    heads = config["num_attention_heads"]
    n = heads if "q_proj" in name else config.get("num_key_value_heads") or heads
    return weight.view(n, 2, len(weight) // n // 2, -1).transpose(1, 2).reshape(weight.shape)


def _tokens(config: dict[str, Any], tokenizer: dict[str, Any]) -> dict[str, list[Any]]:
    """Spelling and type of every token, in GPT-2's letters for bytes, and the merges of pairs."""
    from gguf import TokenType

    own, before = tokenizer["model"], json.dumps(tokenizer.get("pre_tokenizer"))
    spelt = {number: token for token, number in own.get("vocab", {}).items()} if own.get("type") == "BPE" else {}
    if '"ByteLevel"' not in before and not own.get("merges"):  # characters, each a token
        for number, token in spelt.items():
            if len(token.encode()) > 1:
                raise BottegaError(
                    f"the character {token!r} takes more than a byte, which a GGUF tokenizer of characters cannot say; "
                    'train with codec.tokenizer = "bpe" or "byte"'
                )
            code = ord(token)  # what GPT-2 cannot print stands from 256 on: 33 control characters and blanks, then DEL
            spelt[number] = token if 33 <= code <= 126 else chr(256 + min(code, 33))
    elif not spelt or tokenizer.get("normalizer") or not _as_gpt2(tokenizer.get("pre_tokenizer"), own):
        raise BottegaError("its tokenizer is not one of GPT-2's kind; use --to hf and llama.cpp's own converter")
    marks = {one["id"]: one["content"] for one in tokenizer.get("added_tokens", []) if one["special"]}
    spelt |= {one["id"]: one["content"] for one in tokenizer.get("added_tokens", [])}
    numbers = range(config["vocab_size"])
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in own.get("merges", [])]
    return {
        "tokens": [spelt.get(k, f"<unused-{k}>") for k in numbers],
        "types": [
            TokenType.CONTROL if k in marks else TokenType.NORMAL if k in spelt else TokenType.UNUSED for k in numbers
        ],
        "merges": merges or ["\u00ff \u00fe"],  # llama.cpp wants one; these two bytes stand in no text
    }


def _as_gpt2(before: Any, own: dict[str, Any]) -> bool:
    """Whether a text is cut before pairs are merged as GPT-2 does, or nothing is ever merged."""
    if not isinstance(before, dict) or before.get("type") != "ByteLevel" or before.get("add_prefix_space"):
        return False
    return bool(before.get("use_regex", True)) or not own.get("merges")
