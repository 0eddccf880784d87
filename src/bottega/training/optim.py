"""Optimisers and schedules, one for each player.

AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101) moves everything, or Muon (Jordan et al. 2024) moves the hidden
matrices and AdamW the rest. AdamW is torch's, fused where torch has it; Muon is torch's with products of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from bottega.core import Family, RecipeError
from bottega.training.muon import Muon

Schedule = Literal["constant", "cosine", "linear", "wsd"]


class Optim:
    """The optimiser of one player. Constructor arguments are the recipe's ``[optim]`` (and ``[optim.player]``) table.

    Args:
        player: the module whose parameters move.
        steps: how long training lasts, for the schedule.
        name: ``"adamw"``, or ``"muon"`` for hidden matrices with AdamW for the rest.
        lr: peak learning rate of AdamW.
        muon_lr: peak learning rate of Muon (its updates have unit scale; 0.02 is usual).
        beta1, beta2: AdamW's averaging; a GAN wants ``beta1 = 0`` or ``0.5``.
        weight_decay: decoupled decay of matrices and kernels; vectors (biases, gains) are never decayed.
        schedule: after warm-up, ``"constant"``; ``"cosine"`` or ``"linear"`` down to ``floor``; or ``"wsd"``, stable and
            then linear over the last ``decay`` of the run (Hu et al. 2024, arXiv:2404.06395).
        warmup: steps of linear rise; a number below 1 is a fraction of ``steps``.
        floor: the last learning rate, as a fraction of the peak.
        decay: the fraction of the run over which ``"wsd"`` falls.

    Attributes:
        scale: multiplies every learning rate; 1 unless a monitor lowered it.

    Raises:
        RecipeError: a value is out of range.
    """

    def __init__(
        self,
        player: nn.Module,
        steps: int,
        *,
        name: Literal["adamw", "muon"] = "adamw",
        lr: float = 1e-3,
        muon_lr: float = 0.02,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.01,
        schedule: Schedule = "cosine",
        warmup: float = 0.02,
        floor: float = 0.0,
        decay: float = 0.2,
    ) -> None:
        if name not in {"adamw", "muon"}:
            raise RecipeError(f"optim.name is {name!r}; use 'adamw' or 'muon'")
        if schedule not in {"constant", "cosine", "linear", "wsd"}:
            raise RecipeError(f"optim.schedule is {schedule!r}; use 'constant', 'cosine', 'linear' or 'wsd'")
        if not lr > 0 or not muon_lr > 0:
            raise RecipeError(f"optim.lr is {lr} and optim.muon_lr {muon_lr}; both must be above 0")
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise RecipeError(f"optim.beta1 is {beta1} and optim.beta2 {beta2}; both must lie in [0, 1)")
        if weight_decay < 0 or warmup < 0:
            raise RecipeError(f"optim.weight_decay is {weight_decay} and warmup {warmup}; neither may be negative")
        if not (0 <= floor <= 1 and 0 <= decay <= 1):
            raise RecipeError(f"optim.floor is {floor} and optim.decay {decay}; both are fractions, in [0, 1]")
        self.steps, self.schedule, self.floor, self.decay = max(1, steps), schedule, floor, decay
        self.warmup = warmup if warmup >= 1 else warmup * steps
        self.scale = 1.0
        self.names = {id(p): n for n, p in player.named_parameters()}
        moving = [p for p in player.parameters() if p.requires_grad]
        matrices = _hidden_matrices(player) if name == "muon" else []
        taken = {id(p) for p in matrices}
        rest = [p for p in moving if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [g for g in groups if g["params"]]
        self.inner: list[tuple[torch.optim.Optimizer, float]] = []
        if groups:
            self.inner.append((torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), fused=_fuses(moving)), lr))
        if matrices:
            muon = Muon(matrices, lr=muon_lr, weight_decay=weight_decay, adjust_lr_fn="original")
            self.inner.append((muon, muon_lr))

    def factor(self, step: int) -> float:
        """What the peak learning rate is multiplied with at ``step`` (counted from 0), in [0, 1]."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        done = min(1.0, (step - self.warmup) / max(1.0, self.steps - self.warmup))
        if self.schedule == "constant":
            fall = 0.0
        elif self.schedule == "cosine":
            fall = 0.5 * (1 - math.cos(math.pi * done))
        elif self.schedule == "linear":
            fall = done
        else:
            fall = max(0.0, 1 - (1 - done) / self.decay) if self.decay > 0 else 0.0
        return 1 - (1 - self.floor) * fall

    def at(self, step: int) -> Self:
        """Set the learning rates for ``step``; returns self."""
        for inner, peak in self.inner:
            for group in inner.param_groups:
                group["lr"] = peak * self.factor(step) * self.scale
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for inner, _ in self.inner:
            inner.zero_grad(set_to_none)

    def step(self) -> None:
        """Move the player."""
        for inner, _ in self.inner:
            inner.step()

    def state(self) -> dict[str, Tensor]:
        """``"parameter/quantity" -> tensor``: everything needed to go on."""
        out: dict[str, Tensor] = {}
        for inner, _ in self.inner:
            for p, quantities in inner.state.items():
                for quantity, value in quantities.items():
                    if value is not None:
                        out[f"{self.names[id(p)]}/{quantity}"] = torch.as_tensor(value)
        return out

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a ``state``.

        Each quantity follows its parameter, also in the order in memory (channels_last): fused kernels pair the numbers
        as they lie. ``step`` lies where torch wants it: beside the parameter for fused kernels, else on the CPU.
        """
        saved: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, quantity = key.rpartition("/")
            saved.setdefault(name, {})[quantity] = value
        for inner, _ in self.inner:
            for group in inner.param_groups:
                for p in group["params"]:
                    if self.names[id(p)] not in saved:
                        inner.state.pop(p, None)  # it had not moved yet
                        continue
                    steps_at = p.device if group.get("fused") else "cpu"
                    inner.state[p] = {
                        k: v.to(steps_at, copy=True) if k == "step" else torch.empty_like(p, dtype=v.dtype).copy_(v)
                        for k, v in saved[self.names[id(p)]].items()
                    }


def _fuses(params: list[nn.Parameter]) -> bool:
    return all(p.device.type in {"cpu", "cuda", "mps"} and p.is_floating_point() for p in params)


def _hidden_matrices(player: nn.Module) -> list[Tensor]:
    """Weights of linear layers, but not of read-outs (``module.readout = True``) and embeddings, which Muon does not suit."""
    return [
        module.weight
        for module in player.modules()
        if isinstance(module, nn.Linear) and not getattr(module, "readout", False)
        if module.weight.requires_grad and min(module.weight.shape) > 1
    ]


def make_optims(model: Family, steps: int, table: Mapping[str, Any]) -> dict[str, Optim]:
    """One optimiser for each player of ``model``, from the recipe's ``[optim]`` and ``[optim.player]`` tables.

    Raises:
        RecipeError: a table names a player that this family does not have.
    """
    players = list(dict.fromkeys(turn.player for turn in model.turns()))
    common = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    special = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    for player in special:
        if player not in players:
            raise RecipeError(
                f"[optim.{player}] names no player of {type(model).__name__}; its players: {', '.join(players) or 'one, unnamed'}"
            )
    return {p: Optim(model.get_submodule(p), steps, **{**common, **special.get(p, {})}) for p in players}
