"""What a family is tried on: tiny Specs of every kind, random examples of them, and the subject of a check."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from bottega.core import (
    Batch,
    Block,
    BottegaError,
    Edits,
    Encodes,
    Family,
    Represents,
    Rng,
    Scores,
    Spec,
    Streams,
    Terms,
    Translates,
    has,
)  # fmt: skip
from bottega.core import lookup as _lookup
from bottega.core import names as _names
from bottega.training import loop

__all__ = ["Registered", "Subject", "everything", "examples", "specs", "subjects"]

_LABEL = Spec((), vocab=3)
_READ = Spec((5,), vocab=11)


def specs() -> dict[str, Spec]:
    """A tiny Spec of every kind that a codec makes, by name, each without and with a class condition.

    Two pictures more are known by a picture: of their own size, and of half of it (super-resolution). Five more are
    known by a text: a text of the same tokens and one of others, a class, a tag for each token, and a span.

    >>> [str(s) for name, s in specs().items() if name.startswith("points")]
    ['(2,) real numbers', '(2,) real numbers, given () whole numbers in [0, 3)']
    """
    mixed = (Block("age", "scalar", 0, 1), Block("job", "choice", 1, 3), Block("pay", "mixture", 4, 3))
    tokens = (Block("age", "scalar", 0, 3), Block("job", "choice", 3, 4), Block("pay", "choice", 7, 2))
    plain = {
        "points": Spec((2,)),
        "image": Spec((1, 8, 8)),
        "colour": Spec((3, 8, 8)),
        "binary": Spec((1, 8, 8), vocab=2, ordinal=True),
        "levels": Spec((1, 8, 8), vocab=17, ordinal=True),
        "text": Spec((8,), vocab=11),
        "table": Spec((7,), blocks=mixed),
        "table_tokens": Spec((3,), vocab=9, blocks=tokens),
        "wave": Spec((1, 24)),
        "sound": Spec((24,), vocab=11, ordinal=True),
    }
    out = {
        name + suffix: replace(spec, cond=cond)
        for name, spec in plain.items()
        for suffix, cond in (("", None), ("_class", _LABEL))
    }
    return out | {
        "colour_picture": Spec((3, 8, 8), cond=Spec((1, 8, 8))),
        "colour_half": Spec((3, 8, 8), cond=Spec((3, 4, 4))),
        "wave_wave": Spec((1, 24), cond=Spec((1, 24))),
        "sound_text": Spec((1, 8, 6), cond=_READ),
        "text_text": Spec((8,), vocab=11, cond=Spec((6,), vocab=11)),
        "text_other": Spec((8,), vocab=7, cond=Spec((6,), vocab=11)),
        "class_text": Spec((), vocab=3, cond=_READ),
        "tags_text": Spec((5,), vocab=3, cond=_READ),
        "span_text": Spec((2,), vocab=5, cond=_READ),
    }


def examples(spec: Spec, n: int, rng: Rng) -> Batch:
    """``n`` random examples that are valid for ``spec``; plain token sequences come ragged, with a mask.

    Args:
        spec: what one example is.
        n: how many.
        rng: where they come from; one stream.
    """
    if spec.blocks and spec.is_tokens:
        x = torch.stack([b.start + rng.integers(b.width, n) for b in spec.blocks], 1)
    elif spec.blocks:
        x = torch.zeros(n, *spec.shape)
        for b in spec.blocks:
            numbers = 0 if b.kind == "choice" else 1
            x[:, b.start : b.start + numbers] = rng.uniform(n, numbers) * 1.8 - 0.9
            if b.kind != "scalar":
                at = b.start + numbers + rng.integers(b.width - numbers, n)
                x[torch.arange(n), at] = 1.0
    elif spec.is_tokens:
        x = rng.integers(spec.vocab, n, *spec.shape)
    else:
        x = rng.uniform(n, *spec.shape) * 1.8 - 0.9
    mask = None
    if spec.is_text:
        length = 2 + rng.integers(spec.shape[0] - 1, n)
        length[:1] = spec.shape[0]
        mask = torch.arange(spec.shape[0]) < length[:, None]
        x = torch.where(mask, x, 0)
    return Batch(x, None if spec.cond is None else examples(spec.cond, n, rng).x, mask)


def everything(spec: Spec) -> Tensor:
    """Every example of a small token Spec, ``(how many, *spec.shape)``."""
    ranges = (
        [range(b.start, b.start + b.width) for b in spec.blocks] if spec.blocks else [range(spec.vocab)] * spec.dims
    )
    return torch.tensor(list(product(*ranges))).view(-1, *spec.shape)


@dataclass(frozen=True)
class Registered:
    """A registered family at its smallest, with settings: ``Registered("vae", {"beta": 4.0})(spec)``."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(self, spec: Spec) -> Family:
        """The family for ``spec``; ``size`` is the settings', or the family's ``contract_size``, or 8."""
        family = _lookup("families", self.name)
        model: Family = family(spec, **{"size": getattr(family, "contract_size", 8), **self.settings})
        return model


@dataclass(frozen=True)
class Facts:
    """What a model says of itself."""

    coupled: str
    bound: str
    encodes: bool
    edits: bool
    streams: bool
    translates: bool
    represents: bool


@dataclass(frozen=True)
class Subject:
    """What the checks look at: how to make a model, and what it is to model.

    Attributes:
        make: a family class, or anything that turns a Spec into a model.
        spec: what one example is.
        name: for reports.
        data: ``(spec, n, rng) -> Batch``, valid examples.
        play: plays a turn; another than the loop's own for those who replace it (differential privacy).
    """

    make: Callable[[Spec], Family]
    spec: Spec
    name: str = ""
    data: Callable[[Spec, int, Rng], Batch] = examples
    play: Callable[..., Terms] = loop.play

    def model(self, seed: int = 0, spec: Spec | None = None, shake: float = 0.05) -> Family:
        """A new model, the same for the same ``seed``, all weights moved a little (layers that start at 0, too)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.make(spec or self.spec)
            with torch.no_grad():
                for p in model.parameters():
                    if (
                        p.requires_grad
                    ):  # a kernel sums over its area: moved in full, rounding is what a deep flow would show
                        area = p[0, 0].numel() if p.ndim > 2 else 1
                        p.add_(shake / area**0.5 * torch.randn_like(p))
        return model

    def batch(self, n: int, seed: int = 1, spec: Spec | None = None) -> Batch:
        """``n`` examples, the same for the same ``seed``."""
        return self.data(spec or self.spec, n, Rng(seed))

    def gradients(self, rows: slice = slice(0, 7), accum: int = 1) -> list[list[Tensor | None]]:
        """What ``play`` leaves in ``grad`` for some of 7 rows, for each turn and parameter."""
        out = []
        model, batch = self.model(), self.batch(7).take(rows)
        for turn in model.turns():
            params = list(model.get_submodule(turn.player).parameters())
            noise = Rng.for_rows(range(7)[rows])
            self.play(model, turn, batch, torch.optim.SGD(params, lr=0.0), noise, accum=accum)
            out.append([None if p.grad is None else p.grad.clone() for p in params])
            model.zero_grad(set_to_none=True)
        return out

    @cached_property
    def facts(self) -> Facts:
        """What a model made here says of itself."""
        model = self.model()
        return Facts(
            model.coupled,
            getattr(model, "bound", "") if has(model, Scores) else "",
            has(model, Encodes),
            has(model, Edits),
            has(model, Streams),
            has(model, Translates),
            has(model, Represents),
        )

    @staticmethod
    def knobs(method: Callable[..., Any], **wanted: Any) -> dict[str, Any]:
        """Those of ``wanted`` that ``method`` has, and few ``steps`` where it has them: checks need not wait."""
        known = inspect.signature(method).parameters
        return {k: v for k, v in {"steps": 3, **wanted}.items() if k in known}


def subjects(families: Sequence[str] | None = None) -> list[Subject]:
    """Every registered family on every kind of Spec that it accepts.

    A family may declare ``variants: ClassVar[dict[str, dict]]``, settings that must keep the contract too; each is
    tried on the first kind of Spec that it can model. ``contract_size: ClassVar[int]`` is the smallest size that has all
    of its parts, where that is not 8. A family that takes points takes a sound for one more row of numbers, about which
    the points have said it all; unless it has networks of sound (``hears``).
    """
    out = []
    for name in families if families is not None else _names("families"):
        family = _lookup("families", name)
        accepted = {kind: spec for kind, spec in specs().items() if not family.accepts(spec)}
        if not family.hears:
            accepted = {
                kind: spec for kind, spec in accepted.items() if kind.partition("_")[0] not in {"wave", "sound"}
            }
        out += [Subject(Registered(name), spec, f"{name}-{kind}") for kind, spec in accepted.items()]
        for variant, settings in getattr(family, "variants", {}).items():
            make = Registered(name, dict(settings))
            for kind, spec in accepted.items():
                subject = Subject(make, spec, f"{name}-{kind}-{variant}")
                try:
                    subject.model()
                except BottegaError:
                    continue
                out.append(subject)
                break
            else:
                raise AssertionError(f"{name}: no kind of Spec suits the variant {variant!r} {settings}")
    return out
