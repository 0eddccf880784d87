"""What a check of the contract is, the table of all, and what several of them ask."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bottega.core import Family, Rng, Spec
from bottega.testing.cases import Subject

__all__ = [
    "CHECKS",
    "Check",
    "changed",
    "check",
    "fits",
    "global_randomness_untouched",
    "label",
    "rows",
    "same",
    "state",
]


@dataclass(frozen=True)
class Check:
    """One check: ``check(subject)`` raises AssertionError, ``check.why_not(subject)`` says why it does not apply.

    Attributes:
        name: what holds when it passes.
        run: the check itself.
        why_not: empty when it applies to a subject; otherwise the reason, for the table.
        once: it looks at the class only, so one kind of Spec is enough.
        fullest: it looks at the loop rather than at the kind of example, so where a family accepts a kind with a class
            condition, the same kind without one says nothing new.
    """

    name: str
    run: Callable[[Subject], None]
    why_not: Callable[[Subject], str]
    once: bool = False
    fullest: bool = False

    def __call__(self, subject: Subject) -> None:
        """Run it; raises AssertionError, saying what is wrong."""
        self.run(subject)


CHECKS: dict[str, Check] = {}


def check(
    why_not: Callable[[Subject], str] = lambda subject: "", once: bool = False, fullest: bool = False
) -> Callable[[Callable[[Subject], None]], Check]:
    """Enter a function in the table as a check; see ``Check`` for what is said of it."""

    def enter(run: Callable[[Subject], None]) -> Check:
        CHECKS[run.__name__] = Check(run.__name__, run, why_not, once, fullest)
        return CHECKS[run.__name__]

    return enter


def same(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two tensors have one shape, one dtype and, to a tolerance, the same numbers."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a, b) or (a.is_floating_point() and torch.allclose(a, b, rtol=tolerance, atol=tolerance))


def state(model: Family) -> dict[str, Tensor]:
    """A copy of what a model remembers."""
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: Family) -> list[str]:
    """The names of what is no longer as it was."""
    now = model.state_dict()
    return [k for k in before.keys() | now.keys() if k not in now or k not in before or not same(before[k], now[k], 0)]


@contextmanager
def global_randomness_untouched(what: str) -> Iterator[None]:
    """AssertionError where what happens within draws from a generator of torch, numpy or Python that belongs to all."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index,union-attr]
    yield
    assert torch.equal(before[0], torch.get_rng_state()), f"{what} draws from torch's global generator; use rng"
    assert (before[1] == np.random.get_state()[1]).all(), f"{what} draws from numpy's global generator; use rng"  # type: ignore[index]
    assert before[2] == random.getstate(), f"{what} draws from Python's global generator; use rng"


def fits(x: Tensor, spec: Spec, n: int, what: str) -> None:
    """AssertionError unless ``x`` is ``n`` pieces of a Spec, without a graph, finite or within the vocabulary."""
    assert tuple(x.shape) == (n, *spec.shape), f"{what} has shape {tuple(x.shape)}, not {(n, *spec.shape)}"
    assert not x.requires_grad, f"{what} carries a graph; decorate with torch.no_grad()"
    if spec.is_tokens:
        assert x.dtype == torch.int64, f"{what} has dtype {x.dtype}, not int64"
        low = torch.tensor([b.start for b in spec.blocks] or 0)
        high = torch.tensor([b.start + b.width for b in spec.blocks] or spec.vocab)
        assert ((x >= low) & (x < high)).all(), f"{what} has tokens out of range"
    else:
        assert x.dtype == torch.float32, f"{what} has dtype {x.dtype}, not float32"
        assert torch.isfinite(x).all(), f"{what} is not finite"


def label(spec: Spec, n: int, which: int = 1) -> Tensor | None:
    """The same condition for each row."""
    if spec.cond is None:
        return None
    if spec.cond.is_tokens:
        return torch.full((n, *spec.cond.shape), which % spec.cond.vocab)
    return torch.full((n, *spec.cond.shape), 0.9 if which else -0.9)


def rows(n: int, first: int = 10) -> Rng:
    """A stream of its own for each of ``n`` rows."""
    return Rng.for_rows(range(first, first + n))
