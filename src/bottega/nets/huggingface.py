"""GPT-2, Llama, Mistral and Qwen 2 as Hugging Face writes them: configurations and names of weights, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bottega.core import CheckpointError, RecipeError
from bottega.nets.transformer import Transformer

__all__ = ["KNOWN", "checked", "refuse", "settings_of", "weights_of", "written"]

KNOWN = ("gpt2", "llama", "mistral", "qwen2")
_FEEDS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
_IGNORED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")  # buffers of older versions


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``families.gpt.GPT`` has to be to do the arithmetic of this ``config.json``.

    Raises:
        RecipeError: it asks for something that our transformer does not do.
    """
    kind = config.get("model_type")
    if kind not in KNOWN:
        raise RecipeError(f"model_type is {kind!r}; known: {', '.join(KNOWN)}")
    bos = config.get("bos_token_id")
    if bos is None:  # Qwen has none; as GPT-2's, its documents stand one behind the other with an end between them
        bos = config.get("eos_token_id", -1)
    bos = bos[0] if isinstance(bos, list) else bos
    if kind == "gpt2":
        refuse(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
        feed = config.get("activation_function", "gelu_new")
        if feed not in _FEEDS:
            raise RecipeError(f"activation_function is {feed!r}, which our transformer does not do")
        return {
            "width": config["n_embd"], "depth": config["n_layer"], "heads": config["n_head"],
            "hidden": config.get("n_inner") or 4 * config["n_embd"], "eps": config.get("layer_norm_epsilon", 1e-5),
            "context": config["n_positions"], "norm": "layer", "feed": _FEEDS[feed], "positions": "learned", "bias": True,
            "tied": config.get("tie_word_embeddings", True), "bos": bos, "begins": False,
        }  # fmt: skip
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise RecipeError(f"its rotary positions are {rope}, which our transformer does not do")
    refuse(config, hidden_act="silu", use_sliding_window=False, mlp_bias=False, attention_bias=False)
    sees = config["max_position_embeddings"]
    if kind == "mistral" and config.get("sliding_window"):
        sees = min(sees, config["sliding_window"])
    heads = config["num_attention_heads"]
    return {
        "width": config["hidden_size"], "depth": config["num_hidden_layers"], "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads, "hidden": config["intermediate_size"],
        "head": config.get("head_dim") or config["hidden_size"] // heads, "eps": config.get("rms_norm_eps", 1e-6),
        "theta": float(rope.get("rope_theta", config.get("rope_theta", 10000.0))), "context": sees,
        "qkv_bias": kind == "qwen2", "tied": config.get("tie_word_embeddings", False), "bos": bos,
        "begins": kind != "qwen2",
    }  # fmt: skip


def refuse(config: Mapping[str, Any], **wanted: Any) -> None:
    """Raise RecipeError where a configuration says anything else than what is ``wanted``, which is also what silence means."""
    for name, value in wanted.items():
        if config.get(name, value) not in (value, None):
            raise RecipeError(f"{name} is {config[name]!r}, which our transformer does not do")


def _names(kind: str) -> dict[str, str]:
    """Our name of a layer's part -> theirs."""
    if kind == "gpt2":
        return {"before_attention": "ln_1", "attention.o": "attn.c_proj", "before_feed": "ln_2",
                "feed.up": "mlp.c_fc", "feed.down": "mlp.c_proj"}  # fmt: skip
    return {
        "before_attention": "input_layernorm", "before_feed": "post_attention_layernorm",
        **{f"attention.{x}": f"self_attn.{x}_proj" for x in "qkvo"},
        **{f"feed.{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")},
    }  # fmt: skip


def weights_of(tensors: Mapping[str, Tensor], config: Mapping[str, Any], depth: int) -> dict[str, Tensor]:
    """Weights by our names, float32, of those of a directory."""
    kind = str(config["model_type"])
    top = {"gpt2": "transformer.", "llama": "model.", "mistral": "model.", "qwen2": "model."}[kind]
    theirs = {k.removeprefix(top): t.float() for k, t in tensors.items() if not k.endswith(_IGNORED)}
    out: dict[str, Tensor] = {}

    def move(mine: str, name: str, *, turned: bool = False) -> None:
        for part in ("weight", "bias"):
            if f"{name}.{part}" in theirs:
                t = theirs.pop(f"{name}.{part}")
                out[f"{mine}.{part}"] = t.t().contiguous() if turned and t.ndim == 2 else t

    gpt2 = kind == "gpt2"
    move("embed", "wte" if gpt2 else "embed_tokens")
    if gpt2 and "wpe.weight" in theirs:
        out["body.place"] = theirs.pop("wpe.weight")
    for i in range(depth):
        at = f"h.{i}" if gpt2 else f"layers.{i}"
        for mine, name in _names(kind).items():
            move(f"body.layers.{i}.{mine}", f"{at}.{name}", turned=gpt2)
        if gpt2:  # queries, keys and values in one matrix, which is (in, out)
            for part in ("weight", "bias"):
                if (joined := theirs.pop(f"{at}.attn.c_attn.{part}", None)) is not None:
                    for x, piece in zip("qkv", joined.chunk(3, -1), strict=True):
                        turned = piece.t() if part == "weight" else piece
                        out[f"body.layers.{i}.attention.{x}.{part}"] = turned.contiguous()
    move("body.norm", "ln_f" if gpt2 else "norm")
    if config.get("tie_word_embeddings", gpt2):
        theirs.pop("lm_head.weight", None)
    else:
        move("read_out", "lm_head")
    for name in theirs:
        raise CheckpointError(f"weight {name!r} is of no part of a {kind}; the directory holds another model")
    return out


def checked(found: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``found``, which has each of ``own`` in its shape; raises CheckpointError naming the first that has not."""
    for name, t in own.items():
        if name not in found:
            raise CheckpointError(f"the directory lacks the weights for {name!r}; fetch it again")
        if found[name].shape != t.shape:
            raise CheckpointError(
                f"the weights for {name!r} are {tuple(found[name].shape)} and config.json says {tuple(t.shape)}; "
                "the directory holds another model"
            )
    return found


def written(
    body: Transformer, embed: Tensor, read_out: nn.Module, vocab: int, length: int, start: int | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``config.json`` and weights of a causal model, as GPT-2, Llama or Qwen 2.

    Where the start is a vector of its own it becomes one token more, which is never to be made; the logits of the others
    are equal.

    Raises:
        RecipeError: neither of them has this arithmetic.
    """
    first = body.layers[0]
    norm, feed = first.before_attention, first.feed
    biases = [first.attention.q.bias is not None, first.attention.o.bias is not None]
    old = isinstance(norm, nn.LayerNorm)
    if old:
        if feed.gated or body.rotates or not hasattr(body, "place") or biases != [True, True]:
            raise RecipeError('with family.norm = "layer" it can be written as a GPT-2 only, which has positions = "learned",'
                              ' feed = "gelu_tanh" and bias = true')  # fmt: skip
    elif feed.kind != "swiglu" or not body.rotates or biases[1]:
        raise RecipeError(
            'with family.norm = "rms" it can be written as a Llama or Qwen 2 only, which have feed = "swiglu", '
            'positions = "rotary" and no bias'
        )
    kind = "gpt2" if old else "qwen2" if biases[0] else "llama"
    tied = not isinstance(read_out, nn.Linear)
    config: dict[str, Any] = {
        "model_type": kind, "vocab_size": len(embed), "bos_token_id": vocab if start is None else start,
        "tie_word_embeddings": tied, "dtype": "float32",
    }  # fmt: skip
    if old:
        feeds = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu"}
        config |= {
            "architectures": ["GPT2LMHeadModel"], "n_embd": body.width, "n_layer": body.depth, "n_head": body.heads,
            "n_inner": feed.up.out_features, "n_positions": len(body.place), "layer_norm_epsilon": norm.eps,
            "activation_function": feeds[feed.kind], "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        }  # fmt: skip
        if body.head * body.heads != body.width:
            raise RecipeError("a GPT-2's heads fill its width; leave out family.head")
    else:
        theta = body.rotary.theta
        config |= {
            "architectures": ["Qwen2ForCausalLM" if biases[0] else "LlamaForCausalLM"], "hidden_size": body.width,
            "num_hidden_layers": body.depth, "num_attention_heads": body.heads, "num_key_value_heads": body.kv_heads,
            "head_dim": body.head, "intermediate_size": feed.up.out_features, "rms_norm_eps": norm.eps,
            "max_position_embeddings": length, "hidden_act": "silu", "rope_theta": theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        }  # fmt: skip
        if biases[0] and body.head * body.heads != body.width:
            raise RecipeError("a Qwen 2's heads fill its width; leave out family.head")
    top = "transformer." if old else "model."
    out = {top + ("wte" if old else "embed_tokens") + ".weight": embed}
    if old:
        out[f"{top}wpe.weight"] = body.place

    def move(name: str, part: nn.Module) -> None:
        for key, t in part.named_parameters(recurse=False):
            turned = old and t.ndim == 2
            out[f"{top}{name}.{key}"] = t.t() if turned else t

    for i, layer in enumerate(body.layers):
        at = f"h.{i}" if old else f"layers.{i}"
        for mine, name in _names(kind).items():
            move(f"{at}.{name}", layer.get_submodule(mine))
        if old:
            three = [getattr(layer.attention, x) for x in "qkv"]
            out[f"{top}{at}.attn.c_attn.weight"] = torch.cat([x.weight.t() for x in three], 1)
            out[f"{top}{at}.attn.c_attn.bias"] = torch.cat([x.bias for x in three])
    move("ln_f" if old else "norm", body.norm)
    if isinstance(read_out, nn.Linear):
        more = read_out.weight.new_zeros(len(embed) - vocab, body.width)
        out["lm_head.weight"] = torch.cat([read_out.weight, more])
    return config, {name: t.detach().float().contiguous() for name, t in out.items()}
