"""Does the generator copy its training examples? Judged against real examples that nobody could have copied."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.core import Measure, mean_interval
from bottega.judge._case import Case
from bottega.judge._features import Which, about_features, features_of, words
from bottega.judge._statistics import auc, nearest, wilson

__all__ = ["measure", "copied_runs", "copied", "near_copies"]

needs: tuple[str, ...] = ("samples", "features")
media: tuple[str, ...] = ()

_QUANTILE = 0.05
_EXACT = 1 / 128  # root mean square per number, of [-1, 1]: one grey level of 256
_EXACT_SOUND = 1 / 40  # the same of spectra, of which 2 are 80 dB: one decibel
_RUNS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)


def measure(case: Case) -> list[Measure]:
    """Each number beside the same of held-out examples: what is as near to the training set without having seen it.

    ``memorised_share``: samples that are near-exact copies. ``closer_share``: samples closer to the training set than
    all but 5 % of held-out examples are; 0.05 is innocent, more is suspicious. ``memorisation_auc``: the chance that a
    sample is closer than a held-out example; 0.5 is innocent, 1 is copying. (The three-sample view of Meehan et al.
    2020, arXiv:2004.05675.) Bland samples, averages of many examples, are also close without being copies: then
    ``closer_share`` is high and ``memorised_share`` is not.
    """
    if case.spec.is_text:
        return _text(case)
    out = [near_copies(case)]
    train = features_of(case, "train")
    near = {which: nearest(features_of(case, which), train)[:, 0] for which in ("held", "samples")}
    about = about_features(case)
    return out + _closeness(-near["samples"], -near["held"], case, f"distance in {about}", about)


def near_copies(case: Case) -> Measure:
    """``memorised_share`` of anything but text, alone: it needs no features."""
    return _memorised(copied(case, "samples"), copied(case, "held"), case, _rule(case))


def copied(case: Case, which: Which) -> Tensor:
    """Which rows, of anything but text, are near-exact copies of training examples: ``(N,)`` bool."""
    return _copies(case, _vectors(case, "train"), _vectors(case, which))


def _vectors(case: Case, which: Which) -> Tensor:
    """Where copies are looked for: pixels and coordinates as they are, spectra of sounds, standardised columns; ``(N, D)``."""
    if case.spec.blocks:
        return features_of(case, which)
    if case.view is not case.spec:  # a sound moved by one sample is a copy, too
        return torch.cat([case.look(part).cpu() for part in words(case, which).split(256)]).double().flatten(1)
    return case.spec.as_real(words(case, which)).double().flatten(1).cpu()


def _rule(case: Case) -> str:
    if case.view.is_image:
        level = "a grey level" if case.view is case.spec else "a decibel"
        return f"the nearest training example is at a third of the distance of the second nearest, or equal to {level}"
    return "equal to a training example" + (" to a grey level of 256" if not case.spec.blocks else " in every column")


def _copies(case: Case, train: Tensor, x: Tensor) -> Tensor:
    """Which rows of ``x`` ``(N, D)`` are near-exact copies, ``(N,)`` bool.

    Pictures are also copies when one training example is three times nearer than any other (Yoon et al. 2023,
    "Diffusion probabilistic models generalize when they fail to memorize"); in few dimensions that happens by chance.
    """
    gap = nearest(x, train, 2) if len(train) > 1 else nearest(x, train).expand(-1, 2)
    if case.spec.blocks:
        return gap[:, 0] < 1e-3
    if not case.view.is_image:
        return gap[:, 0] < 1e-4 * train.std()
    exact = gap[:, 0] <= (_EXACT if case.view is case.spec else _EXACT_SOUND) * x.shape[1] ** 0.5
    return exact | (gap[:, 0] < gap[:, 1] / 3)


def _memorised(made: Tensor, held: Tensor, case: Case, rule: str) -> Measure:
    share, n = made.double().mean().item(), len(made)
    low, high = wilson(share, n)
    best = held.double().mean().item()
    note = f"share of near-exact copies ({rule}), looked for among {len(case.train)} training examples; in the ceiling {len(held)} held-out examples"
    return Measure("memorised_share", share, low, high, n=n, seed=case.seed, better="lower", ceiling=best, note=note)


def _closeness(made: Tensor, held: Tensor, case: Case, what: str, features: str = "") -> list[Measure]:
    """From how close each sample and each held-out example is to the training set (higher is closer)."""
    edge = torch.quantile(held, 1 - _QUANTILE)
    share = (made > edge).double().mean().item()
    n = len(made)
    low, high = wilson(share, n * len(held) / (n + len(held)))  # the edge is uncertain, too
    area, area_low, area_high = auc(made, held)
    note = f"{what}; against {len(held)} held-out examples and {len(case.train)} training examples"
    return [
        Measure(
            "closer_share",
            share,
            low,
            high,
            n=n,
            seed=case.seed,
            better="lower",
            ceiling=(held > edge).double().mean().item(),
            features=features,
            note=f"share of samples closer to the training set than 95 % of held-out examples: {note}",
        ),
        Measure(
            "memorisation_auc",
            area,
            area_low,
            area_high,
            n=n,
            seed=case.seed,
            better="lower",
            ceiling=0.5,
            features=features,
            note=f"chance that a sample is closer to the training set than a held-out example; 0.5 is innocent: {note}",
        ),
    ]


# --- text -----------------------------------------------------------------------------------------------------------


def _codes(x: NDArray[np.int64], order: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """A 64-bit hash of each n-gram of rows ``(N, L)``, and which n-grams hold no padding; both ``(N, L - order + 1)``."""
    count = x.shape[1] - order + 1
    mixed = (x.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    code = np.zeros((len(x), count), np.uint64)
    for i in range(order):
        code = code * np.uint64(0x100000001B3) + mixed[:, i : i + count]
    real = np.concatenate([np.zeros((len(x), 1), np.int64), (x >= 0).cumsum(1)], 1)
    return code, real[:, order:] - real[:, :count] == order


def copied_runs(x: Tensor, train: Tensor) -> Tensor:
    """How long a run of tokens of the training rows begins at each token: ``(N, L), (M, K) -> (N, L)``, padding -1.

    Lengths are rounded down to 1, 2, 3, 4, 6, 8, 12, 16, 24, ...; runs are looked for anywhere in any row.

    >>> copied_runs(torch.tensor([[9, 5, 6, 7]]), torch.tensor([[4, 5, 6, 7, 8]])).tolist()
    [[0, 3, 2, 1]]
    """
    made, real = x.cpu().numpy().astype(np.int64), train.cpu().numpy().astype(np.int64)
    runs = np.zeros(made.shape, np.int64)
    for order in _RUNS:
        if order > min(made.shape[1], real.shape[1]):
            break
        code, whole = _codes(real, order)
        known = np.unique(code[whole])
        code, whole = _codes(made, order)
        seen = np.isin(code, known) & whole
        if not seen.any():
            break
        runs[:, : seen.shape[1]][seen] = order
    return torch.from_numpy(runs)


def _text(case: Case) -> list[Measure]:
    train = words(case, "train")
    runs, length = {}, {}
    for which in ("held", "samples"):
        x = words(case, which)
        runs[which] = copied_runs(x, train).double()
        length[which] = (x >= 0).sum(1).double().cpu().clamp_min(1)
    longest = {which: run.max(1).values for which, run in runs.items()}
    mean = {which: run.sum(1) / length[which] for which, run in runs.items()}
    half = {which: longest[which] >= length[which] / 2 for which in runs}
    rule = "a run of at least half of the text stands in the training text"
    value, low, high = mean_interval(longest["samples"])
    run = Measure(
        "longest_copied_run",
        value,
        low,
        high,
        n=len(case.samples),
        seed=case.seed,
        better="lower",
        ceiling=longest["held"].mean().item(),
        note="mean over samples of the longest run of tokens that also stands in the training text",
    )
    what = "mean length of the copied run that begins at a token"
    return [
        _memorised(half["samples"], half["held"], case, rule),
        run,
        *_closeness(mean["samples"], mean["held"], case, what),
    ]
