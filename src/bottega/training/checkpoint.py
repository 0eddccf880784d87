"""One file that holds a run: weights, optimisers, averages, random states, and a JSON header that says what they are.

safetensors, never pickle: loading a file cannot run code. Written beside its place and moved there in one step, so a
crash or a full disk leaves the previous file whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bottega.core import CheckpointError, OutputError, Rng
from bottega.training.ema import Ema
from bottega.training.optim import Optim

FORMAT = 1


def save(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write ``tensors`` and a JSON-ready ``header`` to ``path`` atomically.

    Raises:
        OutputError: no permission, no space; whatever stood at ``path`` is still whole.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {name: t.detach().to("cpu").contiguous() for name, t in tensors.items()}
        save_file(whole, part, {"bottega": json.dumps({"format": FORMAT, **header})})
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OutputError(f"cannot write {path}: {why}; free some space or choose another folder with --out") from error
    finally:
        with suppress(OSError):
            part.unlink()


def load(path: Path, *, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (only those whose name begins with ``prefix``) and the header of a file that ``save`` wrote.

    Raises:
        CheckpointError: no such file, a pickle, truncated, not ours, or written by a newer version.
    """
    try:
        with path.open("rb") as file:
            first = file.read(9)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror}; give the folder of a run, or its model.safetensors"
        ) from error
    # safetensors: 8 bytes of header length (which may look like any of these marks), then "{"
    if first[8:] != b"{" and first[:2] in {b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}:
        raise CheckpointError(
            f"{path} is a pickle, which can run code when loaded; Bottega reads safetensors only, convert it first"
        )
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("bottega", "null"))
            if header is None:
                raise CheckpointError(
                    f"{path} is safetensors but not a run of Bottega; its header has no 'bottega' entry"
                )
            if header["format"] > FORMAT:
                raise CheckpointError(
                    f"{path} has format {header['format']}, this version reads up to {FORMAT}; update bottega "
                    f"(the file was written by {header.get('version', 'a newer version')})"
                )
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}, header  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is truncated or damaged ({error}); resume from an earlier copy or train again"
        ) from error


def pack(model: torch.nn.Module, optims: Mapping[str, Optim], ema: Ema | None, rng: Rng) -> dict[str, Tensor]:
    """Everything that training changes, by name: ``model.*``, ``ema.*``, ``optim.<player>.*``, ``rng.*``."""
    out = {f"model.{k}": v for k, v in model.state_dict().items()}
    if ema is not None:
        out |= {f"ema.{k}": v for k, v in ema.shadow.items()}
    for player, optim in optims.items():
        out |= {f"optim.{player}|{k}": v for k, v in optim.state().items()}
    out |= {f"rng.{i}": s for i, s in enumerate(rng.state())}
    return out


def unpack(
    tensors: Mapping[str, Tensor], model: torch.nn.Module, optims: Mapping[str, Optim], ema: Ema | None, rng: Rng
) -> None:
    """The inverse of ``pack``, in place: training goes on as if it had never stopped.

    Raises:
        CheckpointError: the file holds another model.
    """
    load_weights(model, _under("model.", tensors))
    if ema is not None:
        average = _under("ema.", tensors)
        if average.keys() != ema.shadow.keys():
            raise CheckpointError("the file holds no average of this model's weights; leave train.ema as it was")
        for name, own in ema.shadow.items():  # in place: `update` relies on the order of the model, not of the file
            own.copy_(average[name])
    for player, optim in optims.items():
        optim.load_state(_under(f"optim.{player}|", tensors))
    rng.load_state([tensors[f"rng.{i}"] for i in range(len(rng.streams))])


def load_weights(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put ``weights`` into ``model``; raises CheckpointError naming the first that does not fit."""
    own = model.state_dict()
    for name in sorted(own.keys() ^ weights.keys()):
        raise CheckpointError(
            f"weight {name!r} is {'missing from the file' if name in own else 'unknown to the model'}; the file holds another model, "
            "or one of an older version, to be trained anew"
        )
    for name, t in weights.items():
        if own[name].shape != t.shape:
            raise CheckpointError(
                f"weight {name!r} has shape {tuple(t.shape)}, the model wants {tuple(own[name].shape)}"
            )
    model.load_state_dict(weights)


def sampling_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights to sample with: the average where there is one, else the model's own; buffers are the model's."""
    return {**_under("model.", tensors), **_under("ema.", tensors)}


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, kinds, shapes and bytes, in order of name; equal weights have equal hashes."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        t = weights[name].detach().to("cpu").contiguous()
        digest.update(f"{name} {t.dtype} {tuple(t.shape)}\n".encode())
        digest.update(t.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
