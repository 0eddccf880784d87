"""Low-rank adapters: a trained model stays as it is, and each of its matrices learns a thin change (Hu et al. 2021).

``W x + (alpha / rank) B A x`` with ``A`` ``(rank, in)`` drawn and ``B`` ``(out, rank)`` zero, so that training begins at
the model itself (arXiv:2106.09685, section 4.1). The layers are those of the library ``peft``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bottega.core import BottegaError, RecipeError

__all__ = ["add", "merge", "tensors"]


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise BottegaError("train.lora needs peft: pip install 'bottega[text]'") from error
    return peft


def add(model: nn.Module, rank: int, alpha: float, seed: int) -> list[str]:
    """Give every hidden matrix of ``model`` an adapter, in place, and freeze all else; returns the matrices' names.

    Args:
        model: a family; its read-outs and embeddings get none.
        rank: of the change.
        alpha: the change is multiplied with ``alpha / rank``.
        seed: of the adapters' first numbers.

    Raises:
        BottegaError: ``peft`` is not installed.
        RecipeError: the model has no such matrix.
    """
    peft = _peft()
    names = [
        name
        for name, part in model.named_modules()
        if (isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D")
        if not getattr(part, "readout", False) and name.rpartition(".")[2] != "lm_head"
    ]
    if not names:
        raise RecipeError(
            f"train.lora is {rank}, but a {type(model).__name__} has no linear layers to adapt; leave it out"
        )
    turned = any(type(model.get_submodule(name)).__name__ == "Conv1D" for name in names)
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=names, fan_in_fan_out=turned
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, model)
    for name, p in model.named_parameters():
        p.requires_grad_("lora_" in name)
    return names


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """The adapters alone, by name."""
    return {name: t for name, t in model.state_dict().items() if "lora_" in name}


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add every change to its matrix, in place; the model is then as one that was trained whole."""
    layer: Any = _peft().tuners.lora.LoraLayer
    for name, part in [(n, p) for n, p in model.named_modules() if isinstance(p, layer)]:
        part.merge()
        above, _, last = name.rpartition(".")
        setattr(model.get_submodule(above), last, part.get_base_layer())
    for p in model.parameters():
        p.requires_grad_(True)
