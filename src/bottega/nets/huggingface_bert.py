"""BERT, RoBERTa and DistilBERT as Hugging Face writes them: configurations and names of weights, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bottega.core import CheckpointError, RecipeError
from bottega.nets.huggingface import refuse
from bottega.nets.text_encoder import TextEncoder

__all__ = ["KNOWN", "settings_of", "weights_of", "written"]

KNOWN = ("bert", "roberta", "distilbert")
_FEEDS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
_TELLS = ("ForMaskedLM", "ForPreTraining")
# what stands on an encoder for one task, and is not read; buffers of older versions
_OTHER_HEADS = ("pooler.", "cls.seq_relationship.", "classifier.", "pre_classifier.", "qa_outputs.")
_BUFFERS = ("position_ids", "token_type_ids")
_READ_OUTS = ("cls.predictions.decoder.weight", "lm_head.decoder.weight", "vocab_projector.weight")
_BIASES = ("cls.predictions.decoder.bias", "lm_head.decoder.bias")  # copies of the bias


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``families.bert.BERT`` has to be to do the arithmetic of this ``config.json``.

    Raises:
        RecipeError: it asks for something that our transformer does not do.
    """
    kind = config["model_type"]
    refuse(config, position_embedding_type="absolute", add_cross_attention=False, tie_word_embeddings=True)
    named = "activation" if kind == "distilbert" else "hidden_act"
    feed = config.get(named, "gelu")
    if feed not in _FEEDS:
        raise RecipeError(f"{named} is {feed!r}, which our transformer does not do; it does {', '.join(_FEEDS)}")
    small = kind == "distilbert"
    # RoBERTa counts positions from behind that of padding, and needs as many more
    lost = 1 + (config.get("pad_token_id") or 0) if kind == "roberta" else 0
    made = config.get("architectures") or [_TELLS[0]]
    return {
        "width": config["dim" if small else "hidden_size"], "depth": config["n_layers" if small else "num_hidden_layers"],
        "heads": config["n_heads" if small else "num_attention_heads"],
        "hidden": config["hidden_dim" if small else "intermediate_size"],
        "eps": 1e-12 if small else config.get("layer_norm_eps", 1e-12), "feed": _FEEDS[feed], "norm": "layer",
        "order": "post", "positions": "learned", "bias": True, "context": config["max_position_embeddings"] - lost,
        "segments": 0 if small else config.get("type_vocab_size", 2), "normed": True,
        "tells": any(str(name).endswith(_TELLS) for name in made),
    }  # fmt: skip


def _names(kind: str, depth: int) -> dict[str, str]:
    """Our names of an encoder's parts -> theirs."""
    out = {
        "embed": "embeddings.word_embeddings",
        "segment": "embeddings.token_type_embeddings",
        "body.norm": "embeddings.LayerNorm",
    }
    if kind == "distilbert":
        at, parts = "transformer.layer", {
            "attention.q": "attention.q_lin", "attention.k": "attention.k_lin", "attention.v": "attention.v_lin",
            "attention.o": "attention.out_lin", "before_attention": "sa_layer_norm", "feed.up": "ffn.lin1",
            "feed.down": "ffn.lin2", "before_feed": "output_layer_norm",
        }  # fmt: skip
    else:
        at, parts = "encoder.layer", {
            "attention.q": "attention.self.query", "attention.k": "attention.self.key",
            "attention.v": "attention.self.value", "attention.o": "attention.output.dense",
            "before_attention": "attention.output.LayerNorm", "feed.up": "intermediate.dense",
            "feed.down": "output.dense", "before_feed": "output.LayerNorm",
        }  # fmt: skip
    for i in range(depth):
        out |= {f"body.layers.{i}.{mine}": f"{at}.{i}.{name}" for mine, name in parts.items()}
    return out


_HEADS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
}


def weights_of(tensors: Mapping[str, Tensor], config: Mapping[str, Any], depth: int, tells: bool) -> dict[str, Tensor]:
    """Weights by our names, float32, of those of a directory; heads of other tasks are left out.

    Args:
        tensors: of the directory.
        config: its ``config.json``.
        depth: layers.
        tells: whether it has a head that tells tokens.

    Raises:
        CheckpointError: one of them is of no part of such a model, or it reads out with a matrix of its own.
    """
    kind = str(config["model_type"])
    theirs: dict[str, Tensor] = {}
    for name, t in tensors.items():
        name = name.removeprefix(f"{kind}.").replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        if not name.startswith(_OTHER_HEADS) and not name.endswith(_BUFFERS):
            theirs[name] = t.float()
    out: dict[str, Tensor] = {}

    def move(mine: str, name: str) -> None:
        for part in ("weight", "bias"):
            if f"{name}.{part}" in theirs:
                out[f"{mine}.{part}"] = theirs.pop(f"{name}.{part}")

    for mine, name in _names(kind, depth).items():
        move(f"encoder.{mine}", name)
    place = theirs.pop("embeddings.position_embeddings.weight", None)
    if place is not None:
        out["encoder.body.place"] = place[len(place) - settings_of(config)["context"] :]
    turn, norm, bias = _HEADS[kind]
    for name in _READ_OUTS:
        read_out = theirs.pop(name, None)
        if read_out is not None and not torch.equal(read_out, out.get("encoder.embed.weight", read_out)):
            raise CheckpointError(
                f"{name} is not the embedding, with which a {kind} reads out; give another model of this kind"
            )
    for name in _BIASES:
        copy = theirs.pop(name, None)
        if copy is not None:
            theirs.setdefault(bias, copy)
    if tells:
        move("turn", turn)
        move("turn_norm", norm)
        if bias in theirs:
            out["out_bias"] = theirs.pop(bias)
    for name in theirs:
        raise CheckpointError(f"weight {name!r} is of no part of a {kind}; the directory holds another model")
    return out


def written(
    encoder: TextEncoder, turn: tuple[nn.Linear, nn.LayerNorm, Tensor] | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``config.json`` and weights of an encoder as a BERT, whose arithmetic RoBERTa's and DistilBERT's is too.

    Args:
        encoder: the encoder.
        turn: the head that tells tokens: the layer, the norm and the bias of the read-out; None for an encoder alone.

    Raises:
        RecipeError: a BERT has another arithmetic.
    """
    body = encoder.body
    feed = body.layers[0].feed
    feeds = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
    if (
        body.order != "post"
        or not isinstance(body.norm, nn.LayerNorm)
        or not hasattr(body, "place")
        or feed.kind not in feeds
    ):
        raise RecipeError(
            'it can be written as a BERT only, which has family.norm = "layer", order = "post", positions = "learned" and '
            'feed = "gelu", "gelu_tanh" or "relu"'
        )
    if body.head * body.heads != body.width:
        raise RecipeError("a BERT's heads fill its width; leave out family.head")
    kinds = 2 if encoder.segment is None else encoder.segment.num_embeddings
    config = {
        "model_type": "bert", "architectures": ["BertModel" if turn is None else "BertForMaskedLM"],
        "vocab_size": encoder.embed.num_embeddings, "hidden_size": body.width, "num_hidden_layers": body.depth,
        "num_attention_heads": body.heads, "intermediate_size": feed.up.out_features, "hidden_act": feeds[feed.kind],
        "layer_norm_eps": body.norm.eps, "max_position_embeddings": len(body.place), "type_vocab_size": kinds,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": encoder.nothing,
        "tie_word_embeddings": True, "dtype": "float32",
    }  # fmt: skip
    ours = dict(encoder.state_dict())
    ours.setdefault("segment.weight", ours["embed.weight"].new_zeros(kinds, body.width))
    top = "" if turn is None else "bert."
    out = {f"{top}embeddings.position_embeddings.weight": ours["body.place"]}
    for mine, name in _names("bert", body.depth).items():
        for part in ("weight", "bias"):
            if f"{mine}.{part}" in ours:
                out[f"{top}{name}.{part}"] = ours[f"{mine}.{part}"]
            elif part == "bias" and "embeddings" not in name:  # a layer of ours without one
                out[f"{top}{name}.bias"] = ours[f"{mine}.weight"].new_zeros(len(ours[f"{mine}.weight"]))
    if turn is not None:
        dense, norm, bias = turn
        for name, part in (("dense", dense), ("LayerNorm", norm)):
            out |= {f"cls.predictions.transform.{name}.{k}": t for k, t in part.named_parameters()}
        out["cls.predictions.bias"] = bias
    return config, {name: t.detach().float().contiguous() for name, t in out.items()}
