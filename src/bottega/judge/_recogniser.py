"""An independent classifier of real examples, trained by the house: the eye of ``recognise`` and ``inception_score``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from bottega.core import Rng
from bottega.judge._case import Case
from bottega.judge._features import features, shift
from bottega.judge._nets import ConvNet, fit, kept, steps_for

__all__ = ["Recogniser", "recogniser", "train_convnet"]


@dataclass(frozen=True)
class Recogniser:
    """Says which class an example is, or that it is none.

    Attributes:
        probs: examples ``(N, *spec.shape)`` to probabilities ``(N, classes + 1)``, float64 on the CPU; the last is of
            "none of these" (always 0 where the medium has no way to show what is none: text, points, tables).
        accuracy: on held-out examples with a known class.
        held: the number of those.
    """

    probs: Callable[[Tensor], Tensor]
    accuracy: float
    held: int


def recogniser(case: Case) -> Recogniser:
    """Trained on the labelled training examples; once for a case."""
    if "recogniser" not in case.cache:
        assert case.train.cond is not None
        assert case.spec.cond is not None
        known = case.train.cond >= 0
        x, y, classes = case.train.x[known], case.train.cond[known], case.spec.cond.vocab
        probs = (_pictures if case.view.is_image else _vectors)(case, x, y, classes)
        right, held = torch.zeros(0), 0
        if case.held.cond is not None:
            known = case.held.cond >= 0
            right = (probs(case.held.x[known]).argmax(1) == case.held.cond[known].cpu()).double()
            held = len(right)
        case.cache["recogniser"] = Recogniser(probs, right.mean().item() if held else float("nan"), held)
    return case.cache["recogniser"]


def _nothing(x: Tensor, labels: Tensor, rng: Rng) -> Tensor:
    """Pictures of no class: strong noise, pixels from everywhere, two classes on top of each other, noise alone."""
    other = rng.permutation(len(x))
    blend = torch.where((labels == labels[other])[:, None, None, None], x.roll(x.shape[2] // 2, 2), x + x[other])
    ways = (
        x + rng.normal(*x.shape) * (0.8 + rng.uniform(len(x), 1, 1, 1)),
        x.flatten()[rng.integers(x.numel(), *x.shape)],
        blend / 2,
        rng.uniform(*x.shape) * 2 - 1,
    )
    return torch.stack(ways)[rng.integers(len(ways), len(x)), torch.arange(len(x), device=x.device)].clamp(-1, 1)


def train_convnet(
    net: nn.Module, x: Tensor, y: Tensor, classes: int, rng: Rng, steps: int, batch: int = 64, *, sideways: bool = False
) -> None:
    """Teach a ConvNet with ``classes + 1`` outputs to name pictures ``(N, C, H, W)`` and to refuse what is none."""

    def loss(rng: Rng) -> Tensor:
        rows = rng.integers(len(x), min(batch, len(x)))
        still = rng.uniform(len(rows), 1, 1, 1) < 0.5
        real, labels = torch.where(still, x[rows], shift(x[rows], rng, sideways=sideways)), y[rows]
        odd = rng.permutation(len(rows))[: max(2, len(rows) // 4)]
        none = _nothing(real[odd], labels[odd], rng)
        target = torch.cat([labels, torch.full((len(none),), classes, device=x.device)])
        return F.cross_entropy(net(torch.cat([real, none]), rng), target)

    fit(net, loss, rng, steps)


def _pictures(case: Case, x: Tensor, y: Tensor, classes: int) -> Callable[[Tensor], Tensor]:
    shape = case.view.shape
    real, labels = case.look(x.to(case.device)), y.to(case.device)
    steps = steps_for(len(real), shape, 64)
    net = kept(
        case,
        "recogniser_net",
        lambda: ConvNet(shape, classes + 1, dropout=0.3),
        lambda net, rng: train_convnet(net, real, labels, classes, rng, steps, sideways=case.still),
    )

    @torch.no_grad()
    def probs(pictures: Tensor) -> Tensor:
        parts = [net(case.look(part.to(case.device))).double().softmax(1).cpu() for part in pictures.split(512)]
        return torch.cat(parts)

    return probs


def _vectors(case: Case, x: Tensor, y: Tensor, classes: int) -> Callable[[Tensor], Tensor]:
    if case.spec.is_sequence and not case.spec.blocks:
        model = LogisticRegression(max_iter=500)
    else:
        model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    model.fit(features(case, x).numpy(), y.cpu().numpy())

    def probs(examples: Tensor) -> Tensor:
        out = np.zeros((len(examples), classes + 1))
        out[:, model.classes_] = model.predict_proba(features(case, examples).numpy())
        return torch.from_numpy(out)

    return probs
