"""Lighter weights for writing on a processor: a copy of a model whose matrices are packed for its kernels.

A token costs reading every weight once, so fewer bytes are fewer milliseconds. ``benchmarks/generate.py`` measures it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from bottega.core import BottegaError, RecipeError
from bottega.nets.transformer import Layer, TiedReadOut, Transformer

__all__ = ["KINDS", "Kind", "Light", "kinds_here", "lighten", "weight_bytes"]

Kind = Literal["fp32", "bf16", "fp16", "int8"]
KINDS: tuple[Kind, ...] = ("fp32", "bf16", "fp16", "int8")
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
_Model = TypeVar("_Model", bound=nn.Module)


class Light(nn.Module):
    """``x W^T + b``, the matrix packed; for inference only, and in no ``state_dict``. In and out are float32, but see ``keep_bf16``.

    - ``"fp32"``: exact. For one row the matrix lies turned, for more it is packed for oneDNN.
    - ``"bf16"``: matrix and input rounded to bfloat16 (8 bits), products summed in float32 (oneDNN).
    - ``"fp16"``: the matrix rounded to float16 (11 bits), the input as it is (FBGEMM; x86 only).
    - ``"int8"``: the matrix in whole numbers of -127 to 127 with a scale for each output; each input row likewise with a
      scale of its own, so that no row sees another (FBGEMM; x86 only).

    Args:
        weight: ``(out, in)``.
        bias: ``(out,)`` or None.
        kind: see above.
        rows: how many rows it will mostly be given.
        keep_bf16: whether what ``"bf16"`` makes, which is bfloat16, is left so. It takes such numbers in any case.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, kind: Kind, rows: int = 1, keep_bf16: bool = False) -> None:
        super().__init__()
        self.kind, self.rows, self.keep_bf16 = kind, rows, keep_bf16
        self.out_features, self.in_features = weight.shape
        weight = weight.detach().float().contiguous()
        self.bias = None if bias is None else bias.detach().float()
        self.packed: Any
        if kind == "fp32":
            self.packed = (
                weight.t().contiguous() if rows == 1 else torch.ops.mkldnn._reorder_linear_weight(weight, rows)
            )
        elif kind == "bf16":
            # as for eight rows at least: what oneDNN lays out for one takes half as long again at some sizes (AMX)
            self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16(), max(rows, 8))
            self.bias = None if bias is None else bias.detach().bfloat16()
        elif kind == "fp16":
            self.packed = torch.ops.quantized.linear_prepack_fp16(weight, self.bias)
        else:
            scale = weight.abs().amax(1).clamp_min(1e-12) / 127
            with warnings.catch_warnings():  # torch means to replace these tensors, and has no other kernel as fast yet
                warnings.simplefilter("ignore")
                whole = torch._make_per_channel_quantized_tensor(
                    (weight / scale[:, None]).round().to(torch.int8),
                    scale.double(),
                    torch.zeros(len(weight), dtype=torch.long),
                    0,
                )
            self.packed = torch.ops.quantized.linear_prepack(whole, None)
            # without VNNI two products are summed in 16 bits, which 7 bits of input do not overflow
            self.steps = 127 if torch.cpu._is_vnni_supported() else 63

    def bare(self) -> Callable[[Tensor], Tensor]:
        """``forward`` without what a module does around it, for those who call it many thousand times a second."""
        if self.kind == "fp32" and self.rows > 1:
            op, packed, bias = torch.ops.mkldnn._linear_pointwise.default, self.packed, self.bias
            return lambda x: op(x, packed, bias, "none", [], "")
        if self.kind == "bf16":
            op, packed, bias = torch.ops.mkldnn._linear_pointwise.default, self.packed, self.bias
            if self.keep_bf16:
                return lambda x: op(x.bfloat16(), packed, bias, "none", [], "")
            return lambda x: op(x.bfloat16(), packed, bias, "none", [], "").float()
        return self.forward

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in) -> (..., out)``."""
        if self.kind == "fp32":
            if self.rows > 1:
                return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
            flat = x.reshape(-1, self.in_features)
            out = flat @ self.packed if self.bias is None else torch.addmm(self.bias, flat, self.packed)
            return out.view(*x.shape[:-1], self.out_features)
        if self.kind == "bf16":
            out = torch.ops.mkldnn._linear_pointwise(x.bfloat16(), self.packed, self.bias, "none", [], "")
            return out if self.keep_bf16 else out.float()
        if self.kind == "fp16":
            return torch.ops.quantized.linear_dynamic_fp16(x, self.packed)
        size = x.abs().amax(-1, keepdim=True).clamp_min_(1e-12)  # vector_norm takes six times as long
        out = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x / size, 1 / self.steps, self.steps + 1, self.packed
        )
        return out.mul_(size) if self.bias is None else torch.addcmul(self.bias, out, size)


def lighten(model: _Model, kind: Kind, rows: int = 1) -> _Model:
    """A copy of ``model`` for inference whose linear layers and read-out are ``Light``; the model itself stays as it is.

    Queries, keys and values become one matrix, and so do the two halves of a gated feed-forward. With ``"bf16"`` the parts of
    a layer hand each other bfloat16, in which keys and values are kept, too; the stream and its norms stay float32. What is
    no matrix (embeddings, norms) is shared with the model.

    Args:
        model: of any family, on the CPU.
        kind: ``"fp32"`` is exact and only laid out for speed; see ``Light``.
        rows: for how many rows at once it is laid out.

    Raises:
        BottegaError: the processor has no such kernels, or the model is elsewhere.
        RecipeError: no such kind.
    """
    if kind not in KINDS:
        raise RecipeError(f"weights are {kind!r}; use one of {', '.join(KINDS)}")
    if rows < 1:
        raise RecipeError(f"rows is {rows}; it must be at least 1")
    if any(p.device.type != "cpu" for p in model.parameters()):
        raise BottegaError("light weights are for the CPU; load the run with device='cpu'")
    if kind not in (here := kinds_here()):
        raise BottegaError(f"this processor has no kernels for {kind} weights; use one of {', '.join(here)}")
    made = copy.deepcopy(model, {id(t): t for t in (*model.parameters(), *model.buffers())}).eval()

    def pack(*parts: nn.Linear, keep_bf16: bool = False) -> Light:
        bias = None if parts[0].bias is None else torch.cat([p.bias for p in parts])
        return Light(torch.cat([p.weight for p in parts]), bias, kind, rows, keep_bf16)

    for part in made.modules():
        if isinstance(part, Transformer) and kind == "bf16":
            part.cache_dtype = torch.bfloat16
        if isinstance(part, Layer):
            at, feed = part.attention, part.feed
            at.joined = pack(at.q, at.k, at.v, keep_bf16=True)
            at.q = at.k = at.v = nn.Identity()  # type: ignore[assignment]
            at.o = pack(at.o, keep_bf16=True)  # type: ignore[assignment]
            if feed.gated:
                feed.joined = pack(feed.gate, feed.up, keep_bf16=True)
                feed.gate = feed.up = nn.Identity()  # type: ignore[assignment]
            else:
                feed.up = pack(feed.up, keep_bf16=True)  # type: ignore[assignment]
            feed.down = pack(feed.down, keep_bf16=True)  # type: ignore[assignment]
    for part in list(made.modules()):
        for name, child in list(part.named_children()):
            if type(child) is nn.Linear:
                setattr(part, name, pack(child))
            elif isinstance(child, TiedReadOut):
                setattr(part, name, Light(child.weight, None, kind, rows))
    return made


def kinds_here() -> tuple[Kind, ...]:
    """The kinds that this processor has kernels for: bf16 takes AVX512 (or ARM's bfloat16), fp16 and int8 take FBGEMM, so x86."""
    bf16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    fbgemm = "fbgemm" in torch.backends.quantized.supported_engines
    has: dict[Kind, bool] = {"fp32": True, "bf16": bf16, "fp16": fbgemm, "int8": fbgemm}
    return tuple(kind for kind in KINDS if has[kind])


def weight_bytes(model: nn.Module) -> int:
    """How many bytes of packed matrices one token reads."""
    return sum(_BYTES[p.kind] * p.in_features * p.out_features for p in model.modules() if isinstance(p, Light))
