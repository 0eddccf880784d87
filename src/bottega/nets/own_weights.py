"""Weights of a published network that a user brings as a safetensors file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from bottega.core import CheckpointError

__all__ = ["read_weights"]


def read_weights(path: str | Path, wanted: Mapping[str, Sequence[int]], network: str) -> tuple[dict[str, Tensor], str]:
    """The ``wanted`` tensors of a file, float32, and the file's SHA-256; what else it holds is left out.

    Args:
        path: a safetensors file, tensors named as in torchvision and of any float kind.
        wanted: the shape of each tensor by its name.
        network: whose weights these are, for messages.

    Raises:
        CheckpointError: no such file, a pickle, damaged, or a tensor is missing or has another shape.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            first = file.read(9)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"cannot read the features {path}: {error.strerror}; give a safetensors file of {network} weights"
        ) from error
    # safetensors: 8 bytes of header length, then "{"; zip archives and pickles begin with these marks
    if first[8:] != b"{" and (first[:2] == b"PK" or first[:1] == b"\x80"):
        ours = path.with_suffix(".safetensors").name
        raise CheckpointError(
            f'the features {path} are a pickle, which can run code when loaded; convert them once: python -c "import torch, '
            f"safetensors.torch as s; s.save_file(torch.load('{path.name}', weights_only=True), '{ours}')\""
        )
    weights: dict[str, Tensor] = {}
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            for name, shape in wanted.items():
                if name not in names:
                    raise CheckpointError(
                        f"the features {path} lack the tensor {name}; give {network} weights named as in torchvision"
                    )
                found = tuple(file.get_slice(name).get_shape())
                if found != tuple(shape):
                    raise CheckpointError(
                        f"in the features {path} the tensor {name} has shape {found}; {network} has {tuple(shape)}"
                    )
                weights[name] = file.get_tensor(name).float()
    except SafetensorError as error:
        raise CheckpointError(
            f"the features {path} are no safetensors file, or damaged ({error}); fetch or convert them again"
        ) from error
    return weights, digest
