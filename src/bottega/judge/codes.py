"""What a model's codes are good for: which of them are in use, what they cost, and what a few labels learn from them."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from bottega.core import Batch, Measure, mean_interval
from bottega.judge._case import Case
from bottega.judge._features import frozen

__all__ = ["measure", "COLLAPSED", "equal_error_rate", "probe"]

needs: tuple[str, ...] = ("represents",)
media: tuple[str, ...] = ("image", "points", "table", "text")

COLLAPSED = 0.1  # of the code numbers; fewer in use are a collapse of the posterior
_BUCKETS = 2048  # of counted tokens
_CHUNK, _LABELS, _DRAWS, _MOST, _PAIRED = 128, 100, 5, 2000, 1000


@torch.no_grad()
def _codes(case: Case, batch: Batch) -> Tensor:
    """Codes without what is known of each example, which would give its class away: ``(N, D)`` float64, on the CPU."""
    model: Any = case.model
    parts = Batch(batch.x, None, batch.mask).split(math.ceil(len(batch) / _CHUNK))
    return torch.cat([frozen(model, part.to(case.device)).double().cpu() for part in parts])


def _raw(case: Case, batch: Batch) -> Tensor:
    """The examples themselves as rows ``(N, D)`` float64: numbers, or for texts how often each token occurs."""
    if not case.spec.is_text:
        return case.spec.as_real(batch.x).flatten(1).double().cpu()
    x = batch.x.cpu() % _BUCKETS
    real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(batch.x.shape).cpu()
    counts = torch.zeros(len(x), min(case.spec.vocab, _BUCKETS), dtype=torch.float64)
    return counts.scatter_add(1, x, real.double())


def probe(train: Tensor, labels: Tensor, held: Tensor, answers: Tensor) -> float:
    """Accuracy of a logistic regression on standardised rows, ``(N, D)``."""
    # a constant column has no scale; scikit-learn leaves it alone
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        line.fit(train.numpy(), labels.numpy())
    return float((line.predict(held.numpy()) == answers.numpy()).mean())


def equal_error_rate(x: Tensor, labels: Tensor) -> float:
    """Of verification, "are these two of one class?", by cosine of standardised rows ``(N, D)``, over all pairs.

    At the threshold where as many pairs of one class are refused as pairs of two classes are accepted, that share; 0.5 is
    guessing. NaN where all pairs are of one kind.
    """
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-12)
    x = F.normalize(x, dim=1)
    first, second = torch.triu_indices(len(x), len(x), 1)
    same = (labels[first] == labels[second]).numpy()
    if same.all() or not same.any():
        return math.nan
    accepted, found, _ = roc_curve(same, (x @ x.T)[first, second].numpy())
    at = int(np.abs(accepted - (1 - found)).argmin())
    return float((accepted[at] + 1 - found[at]) / 2)


def measure(case: Case) -> list[Measure]:
    """Active units, rate and distortion, and a linear probe on 100 labels beside the same on the raw numbers.

    ``active_units`` is the share of code numbers whose posterior mean varies by more than 0.01 (Burda et al. 2015,
    arXiv:1509.00519, section 5.2), for models that say so; under a tenth its note names the collapse and the mend.
    ``code_perplexity`` of discrete codes is the exponential of the entropy of those in use. ``rate_nats`` and
    ``distortion_nats`` add up to minus the bound. ``probe_accuracy`` is of a logistic regression on the codes of 100
    labelled training examples, read on held-out ones; its ceiling is the same probe on the examples themselves, of texts on
    how often each token occurs. Texts have this measure alone: of models with features (``Represents``), whose classes are known.
    ``verification_eer`` is the `equal_error_rate` of held-out pairs by their codes, beside that by the examples.
    """
    model: Any = case.model
    if case.spec.is_text:
        before = model.training
        model.eval()
        found = _probes(case) if case.labelled else []
        model.train(before)
        return found
    n, out = len(case.held), []
    shared: dict[str, Any] = {"n": n, "seed": case.seed}
    before = model.training
    model.eval()
    if hasattr(model, "active_units"):
        out.append(_active(model.active_units(case.held.to(case.device)).cpu(), shared))
    if model.latent.is_tokens:
        note = f"of {model.latent.vocab} codes; 1 is a codebook of which one code is in use"
        value = _perplexity(_codes(case, case.held).long(), model.latent.vocab)
        out.append(Measure("code_perplexity", value, better="higher", note=note, **shared))
    if hasattr(model, "rate_distortion"):
        rng = case.rng("codes")
        parts = [model.rate_distortion(p.to(case.device), rng) for p in case.held.split(math.ceil(n / _CHUNK))]
        for name, each, note in (
            ("rate_nats", torch.cat([rate for rate, _ in parts]), "what a code costs"),
            (
                "distortion_nats",
                torch.cat([left for _, left in parts]),
                "what is left to say of an example given its code",
            ),
        ):
            value, low, high = mean_interval(each.double().cpu())
            out.append(Measure(name, value, low, high, note=note, **shared))
    if case.labelled and not model.latent.is_tokens:
        out += _probes(case)
    model.train(before)
    return out


def _perplexity(codes: Tensor, vocab: int) -> float:
    """``exp`` of the entropy of how often each code is said."""
    share = torch.bincount(codes.flatten(), minlength=vocab).double()
    share = share / share.sum()
    return math.exp(-torch.xlogy(share, share).sum().item())


def _active(units: Tensor, shared: dict[str, Any]) -> Measure:
    share = units.double().mean().item()
    note = f"{int(units.sum())} of {len(units)} code numbers are in use"
    if share < COLLAPSED:
        note += "; the posterior has collapsed: lower family.beta, set family.free_bits, or use fewer code numbers (family.latent)"
    return Measure("active_units", share, note=note, **shared)


def _probes(case: Case) -> list[Measure]:
    assert case.train.cond is not None
    assert case.held.cond is not None
    known, asked = (case.train.cond >= 0).cpu(), (case.held.cond >= 0).cpu()
    train, held = case.train.take(known.to(case.train.x.device)), case.held.take(asked.to(case.held.x.device))
    rng = case.rng("probe")
    train = train.take(rng.permutation(len(train))[: max(_MOST, _LABELS)].to(train.x.device))
    assert train.cond is not None
    assert held.cond is not None
    labels, answers = train.cond.cpu(), held.cond.cpu()
    codes = _codes(case, train), _codes(case, held)
    raw = _raw(case, train), _raw(case, held)
    found: list[list[float]] = []
    for _ in range(_DRAWS):
        some = rng.permutation(len(train))[:_LABELS].cpu()
        if len(labels[some].unique()) < 2:
            continue
        found.append([probe(a[some], labels[some], b, answers) for a, b in (codes, raw)])
    if not found:
        return []
    ours, pixels = torch.tensor(found).double().T
    value, low, high = mean_interval(ours)
    note = f"of a linear probe on {min(_LABELS, len(train))} labels, mean of {len(found)} draws of them; the ceiling is that of {'counted tokens' if case.spec.is_text else 'the raw numbers'}"
    told = Measure("probe_accuracy", value, max(0.0, low), min(1.0, high), n=len(held), seed=case.seed, better="higher",
                   ceiling=pixels.mean().item(), note=note)  # fmt: skip
    return [told] if case.spec.is_text else [told, *_verified(codes[1], raw[1], answers, case.seed)]


def _verified(codes: Tensor, raw: Tensor, labels: Tensor, seed: int) -> list[Measure]:
    """On the first rows; the held-out part has no order."""
    by_codes, by_numbers = (equal_error_rate(x[:_PAIRED], labels[:_PAIRED]) for x in (codes, raw))
    if math.isnan(by_codes):
        return []
    n = min(_PAIRED, len(labels))
    note = "share of pairs wrongly called of one class, or of two, by the angle between codes; the ceiling is by the raw numbers"
    return [Measure("verification_eer", by_codes, n=n, seed=seed, better="lower", ceiling=by_numbers, note=note)]
