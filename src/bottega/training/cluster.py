"""Several processes: who we are, the same weights everywhere to begin with, and the explicit sum of gradients."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET = 1 << 24  # numbers reduced in one call: 64 MiB of float32


def join(timeout_seconds: float = 600.0) -> tuple[int, int]:
    """Join the group that ``torchrun`` set up in the environment; returns ``(rank, world)``, ``(0, 1)`` when alone."""
    if dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return 0, 1
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    return dist.get_rank(), dist.get_world_size()


@torch.no_grad()
def share(model: nn.Module) -> None:
    """Give every rank the weights and buffers of rank 0."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for tensor in [*model.parameters(), *model.buffers()]:
            dist.broadcast(tensor, 0)


def all_reduce(params: Sequence[nn.Parameter], count: Tensor) -> Tensor:
    """Sum gradients over ranks, in place, and return the summed ``count``; a gradient nobody has stays None."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return count
    head = torch.stack([count.float(), *(count.new_full((), float(p.grad is not None)).float() for p in params)])
    dist.all_reduce(head)
    mine = [p for p, have in zip(params, head[1:].tolist(), strict=True) if have]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in mine])
    for bucket in torch.split(flat, BUCKET):
        dist.all_reduce(bucket)
    for p, grad in zip(mine, torch.split(flat, [p.numel() for p in mine]), strict=True):
        p.grad = torch.empty_like(p).copy_(grad.view_as(p))  # as the parameter lies in memory, for fused optimisers
    return head[0]


def most(*values: float) -> list[float]:
    """Each of ``values`` at its greatest over ranks, on every rank; also where all wait for the slowest.

    What only one process can know (a signal, its clock) becomes something on which all act at the same step.
    """
    out = torch.tensor(values, dtype=torch.float64)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(out, dist.ReduceOp.MAX)
    return [float(v) for v in out.tolist()]


def gather(state: Tensor) -> list[Tensor]:
    """``state`` of every rank, in their order, on every rank; all have one shape and kind."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return [state]
    own = state.to("cpu").contiguous()
    out = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(out, own)
    return out


def leave() -> None:
    """Leave the group, if any."""
    if dist.is_initialized():
        dist.destroy_process_group()
