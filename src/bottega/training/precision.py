"""Number formats: bfloat16 where the processor multiplies it fast, and the device to use."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from bottega.core import BottegaError


def bf16_is_fast(device: torch.device | str) -> bool:
    """Whether bfloat16 matrix products are in hardware: AMX or AVX512-BF16 on a CPU, compute capability 8 on a GPU."""
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def use_bf16(precision: str, device: torch.device | str) -> bool:
    """Whether ``precision`` (``"fp32"``, ``"bf16"`` or ``"auto"``) means bfloat16 autocast on this device.

    Raises:
        BottegaError: the name is unknown.
    """
    if precision not in {"fp32", "bf16", "auto"}:
        raise BottegaError(f"train.precision is {precision!r}; use 'fp32', 'bf16' or 'auto'")
    return precision == "bf16" or (precision == "auto" and bf16_is_fast(device))


def autocast(bf16: bool, device: torch.device) -> AbstractContextManager[object]:
    """Bfloat16 autocast, or nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else nullcontext()


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``"auto"`` is CUDA where there is one, else MPS, else the CPU.

    Raises:
        BottegaError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BottegaError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:1 or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise BottegaError(
            f"this machine has no {device.type!r} device that torch can use; leave --device out, or use --device cpu"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BottegaError(f"there is no {name!r}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    return device
