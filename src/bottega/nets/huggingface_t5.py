"""T5 as Hugging Face writes it (first version, 1.1, Flan, mT5): configurations and names of weights, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bottega.core import CheckpointError, RecipeError
from bottega.nets.huggingface import refuse
from bottega.nets.transformer import Transformer

__all__ = ["KNOWN", "settings_of", "weights_of", "written"]

KNOWN = ("t5", "mt5")
_FEEDS = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gated-gelu": "geglu", "gated-silu": "swiglu"}
# copies that older versions wrote of one embedding, and a table that no layer ever read
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_UNREAD = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``families.seq2seq.Seq2Seq`` has to be to do the arithmetic of this ``config.json``.

    Raises:
        RecipeError: it asks for something that our transformer does not do.
    """
    refuse(config, relative_attention_num_buckets=32, relative_attention_max_distance=128)
    feed = config.get("feed_forward_proj", "relu")
    if feed not in _FEEDS:
        raise RecipeError(
            f"feed_forward_proj is {feed!r}, which our transformer does not do; it does {', '.join(_FEEDS)}"
        )
    # Versions before 5 of transformers say by ``tie_word_embeddings`` what later ones say by a name of its own.
    scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", config["model_type"] == "t5"))
    start = config.get("decoder_start_token_id", config.get("pad_token_id"))
    return {
        "width": config["d_model"], "depth": config["num_layers"], "heads": config["num_heads"],
        "decoder_depth": config.get("num_decoder_layers") or config["num_layers"], "head": config["d_kv"],
        "hidden": config["d_ff"], "eps": config.get("layer_norm_epsilon", 1e-6), "feed": _FEEDS[feed],
        "positions": "relative", "norm": "rms", "tied": bool(scaled), "scaled": bool(scaled),
        "bos": 0 if start is None else start,
    }  # fmt: skip


def _names(body: Transformer, ours: str, theirs: str) -> dict[str, str]:
    """Our names of a stack's weights -> theirs."""
    out = {f"{ours}.relative.bias": f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias"}
    for i, layer in enumerate(body.layers):
        mine, at = f"{ours}.layers.{i}", f"{theirs}.block.{i}.layer"
        parts = [("attention", "SelfAttention")] + ([("memory", "EncDecAttention")] if hasattr(layer, "memory") else [])
        for k, (part, name) in enumerate(parts):
            out |= {f"{mine}.{part}.{x}": f"{at}.{k}.{name}.{x}" for x in "qkvo"}
            out[f"{mine}.before_{part}"] = f"{at}.{k}.layer_norm"
        last = f"{at}.{len(parts)}"
        feed = {"gate": "wi_0", "up": "wi_1"} if layer.feed.gated else {"up": "wi"}
        out |= {f"{mine}.feed.{x}": f"{last}.DenseReluDense.{name}" for x, name in (feed | {"down": "wo"}).items()}
        out[f"{mine}.before_feed"] = f"{last}.layer_norm"
    return {f"{k}.weight": f"{v}.weight" for k, v in (out | {f"{ours}.norm": f"{theirs}.final_layer_norm"}).items()}


def _all_names(encoder: Transformer, decoder: Transformer) -> dict[str, str]:
    stacks = _names(encoder, "encoder.body", "encoder") | _names(decoder, "decoder", "decoder")
    return {"encoder.embed.weight": "shared.weight"} | stacks


def weights_of(
    tensors: Mapping[str, Tensor], encoder: Transformer, decoder: Transformer, tied: bool
) -> dict[str, Tensor]:
    """Weights by our names, float32, of those of a directory.

    Raises:
        CheckpointError: one of them is of no part of a T5.
    """
    theirs = {k: t.float() for k, t in tensors.items() if k not in _COPIES and k != _UNREAD}
    if "shared.weight" not in theirs and _COPIES[0] in tensors:
        theirs["shared.weight"] = tensors[_COPIES[0]].float()
    out = {mine: theirs.pop(name) for mine, name in _all_names(encoder, decoder).items() if name in theirs}
    read_out, embed = theirs.pop("lm_head.weight", None), out.get("encoder.embed.weight")
    if not tied and embed is not None:
        out["read_out.weight"] = embed.clone() if read_out is None else read_out
    elif read_out is not None and embed is not None and not torch.equal(read_out, embed):
        raise CheckpointError(
            "config.json says that it reads out with its embedding (tie_word_embeddings), and lm_head.weight is another; set "
            '"tie_word_embeddings": false there if it is a T5 1.1'
        )
    for name in theirs:
        raise CheckpointError(f"weight {name!r} is of no part of a T5; the directory holds another model")
    return out


def written(
    encoder: Transformer, decoder: Transformer, embed: Tensor, read_out: nn.Linear | None, *, scale: float, start: int,
    end: int, padding: int, length: int,
) -> tuple[dict[str, Any], dict[str, Tensor]]:  # fmt: skip
    """``config.json`` and weights of an encoder and a decoder as a T5.

    Args:
        encoder: of what is given.
        decoder: of what is made.
        embed: of the tokens of both, ``(V, width)``.
        read_out: the decoder's own; None where it reads out with ``embed``.
        scale: what its output is multiplied with before.
        start: the token that the decoder begins with.
        end: the token that closes a text.
        padding: the token that pads.
        length: how many tokens of a text it was made for.

    Raises:
        RecipeError: a T5 has another arithmetic.
    """
    first = decoder.layers[0]
    feeds = {ours: theirs for theirs, ours in _FEEDS.items()}
    if encoder.relative is None or isinstance(decoder.norm, nn.LayerNorm) or encoder.causal:
        raise RecipeError(
            'it can be written as a T5 only, which has family.positions = "relative", norm = "rms" and no waits'
        )
    config = {
        "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True,
        "vocab_size": len(embed), "d_model": decoder.width, "d_kv": decoder.head, "d_ff": first.feed.up.out_features,
        "num_layers": encoder.depth, "num_decoder_layers": decoder.depth, "num_heads": decoder.heads,
        "layer_norm_epsilon": decoder.norm.eps, "feed_forward_proj": feeds[first.feed.kind], "n_positions": length,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        # read by versions before 5 and from 5 on: whether what is read out is scaled, and whether by the embedding
        "scale_decoder_outputs": scale != 1, "tie_word_embeddings": scale != 1, "dropout_rate": 0.0,
        "decoder_start_token_id": start, "pad_token_id": padding, "eos_token_id": end, "dtype": "float32",
    }  # fmt: skip
    ours = {f"encoder.body.{k}": t for k, t in encoder.state_dict().items()}
    ours |= {f"decoder.{k}": t for k, t in decoder.state_dict().items()} | {"encoder.embed.weight": embed}
    out = {theirs: ours[mine] for mine, theirs in _all_names(encoder, decoder).items()}
    if scale == 1:  # with tied weights a T5 scales, so the read-out is written as its own
        own = embed.clone() if read_out is None else read_out.weight
        out["lm_head.weight"] = torch.cat([own, own.new_zeros(len(embed) - len(own), own.shape[1])])
    elif read_out is not None:
        raise RecipeError("family.scaled goes with family.tied in a T5; one of both alone cannot be written")
    return config, {name: t.detach().float().contiguous() for name, t in out.items()}
