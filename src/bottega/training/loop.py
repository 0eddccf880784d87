"""The loop. It plays turns and knows nothing else.

A turn is one player minimising its own loss while the others hold still. Losses are sums over examples; the loop
divides once, by the summed weight over all micro-batches and all ranks, so gradients do not depend on how the batch
was cut. Differential privacy, rewards and distillation replace ``play`` or ``batches``, never this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import torch
from torch import nn

from bottega.core import Batch, DivergedError, Family, Rng, Terms, Turn
from bottega.training.cluster import all_reduce
from bottega.training.ema import Ema
from bottega.training.optim import Optim
from bottega.training.precision import autocast

Watch = Callable[[int, Sequence[tuple[Turn, Terms]]], None]


class Steps(Protocol):
    """What ``play`` needs of an optimiser; any of ``torch.optim`` will do."""

    def zero_grad(self, set_to_none: bool = True) -> None: ...  # noqa: D102
    def step(self) -> object: ...  # noqa: D102


@contextmanager
def only(model: nn.Module, player: str) -> Iterator[list[nn.Parameter]]:
    """Freeze everything but ``player``; yields the parameters that move and thaws the rest afterwards."""
    live = [p for p in model.parameters() if p.requires_grad]
    mine = {id(p) for p in model.get_submodule(player).parameters()}
    for p in live:
        p.requires_grad_(id(p) in mine)
    try:
        yield [p for p in live if id(p) in mine]
    finally:
        for p in live:
            p.requires_grad_(True)


def play(
    model: Family, turn: Turn, batch: Batch, optim: Steps, rng: Rng, *, accum: int = 1, clip: float = 0.0,
    bf16: bool = False,
) -> Terms:  # fmt: skip
    """Play one turn and return its terms, detached, over the whole batch.

    Args:
        model: whose player moves.
        turn: who moves, and by which loss.
        batch: ``(B, ...)`` examples of this rank.
        optim: steps the player's parameters.
        rng: one stream, or one for each row of ``batch``.
        accum: how many micro-batches the batch is cut into.
        clip: largest norm of the gradient; 0 does not clip.
        bf16: run the loss under bfloat16 autocast.

    Raises:
        DivergedError: the loss or its gradient is not finite; nothing has moved, the message names the term.
    """
    with only(model, turn.player) as params:
        optim.zero_grad(set_to_none=True)
        played: list[Terms] = []
        for piece, noise in zip(batch.split(accum), rng.split(accum, len(batch)), strict=True):
            with autocast(bf16, batch.x.device):
                terms = turn.loss(piece, noise)
            terms.total.sum().backward()  # type: ignore[no-untyped-call]
            played.append(Terms({k: v.detach() for k, v in terms.parts.items()}, terms.weight))
        terms = played[0] if len(played) == 1 else _joined(played)
        count = all_reduce(params, terms.count.detach())
        grads = [p.grad for p in params if p.grad is not None]
        torch._foreach_div_(grads, count.to(grads[0].dtype))
        norm = nn.utils.clip_grad_norm_(params, clip or torch.inf)
        if not torch.isfinite(norm + terms.total.sum()):
            bad = [name for name, part in terms.parts.items() if not torch.isfinite(part).all()]
            raise DivergedError(
                f"term {bad[0] if bad else 'gradient'!r} of player {turn.player or 'model'!r} is not finite"
            )
        optim.step()
    return replace(terms, norm=norm.detach())


def _joined(played: list[Terms]) -> Terms:
    parts = {k: torch.cat([t.parts[k] for t in played]) for k in played[0].parts}
    return Terms(
        parts, None if played[0].weight is None else torch.cat([t.weight for t in played if t.weight is not None])
    )


def fit(
    model: Family, batches: Iterator[Batch], optims: Mapping[str, Optim], *, steps: int, rng: Rng, start: int = 0,
    accum: int = 1, clip: float = 1.0, bf16: bool = False, ema: Ema | None = None, watch: Watch | None = None,
    play: Callable[..., Terms] = play,
) -> Family:  # fmt: skip
    """Train ``model`` in place for steps ``start .. steps - 1``, and return it.

    ``optims`` has one optimiser for each player; ``watch(step, [(turn, terms), ...])`` sees every finished step and may
    save or raise. A resumed run passes the saved ``start``, ``rng``, optimisers and a ``batches`` at the saved position.
    """
    turns = model.turns()
    for step in range(start, steps):
        seen = []
        for turn in turns:
            for _ in range(turn.repeat if step % turn.every == 0 else 0):
                optim = optims[turn.player].at(step)
                seen.append((turn, play(model, turn, next(batches), optim, rng, accum=accum, clip=clip, bf16=bf16)))
                if turn.after is not None:
                    turn.after()
        model.settle(step)
        if ema is not None:
            ema.update(model, step)
        if watch is not None:
            watch(step, seen)
    return model
