"""How likely held-out examples are to the model, with what kind of bound, and against the training examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bottega.core import Batch, Item, Measure, Rng, mean_interval
from bottega.core.measure import Bound
from bottega.judge._case import Case
from bottega.judge._statistics import Z, ratio_interval

__all__ = ["measure", "sliding"]

needs: tuple[str, ...] = ("scores",)
media: tuple[str, ...] = ()

_CHUNK = 64
_TRAIN = 500  # training examples, at most, that are scored to see the gap; no more than held-out ones
_IWAE_DRAWS = 250_000  # importance samples in all
_LOGITS = 2**27  # numbers that a chunk of texts may need for what each place says of every token: half a gibibyte

# a lower bound of log p is an upper bound of its negative
_FLIPPED: dict[str, Bound] = {"exact": "exact", "lower": "upper", "estimate": "estimate", "upper": "lower"}


@torch.no_grad()
def _each(case: Case, score: Callable[[Batch, Rng], Tensor], batch: Batch, label: str) -> Tensor:
    """``score`` of every example ``(N,)`` in float64 on the CPU, with the model in eval mode."""
    assert case.model is not None
    before, rng = case.model.training, case.rng(f"likelihood {label}")
    case.model.eval()
    rows = _CHUNK
    if case.spec.is_text:  # vocabularies of other people's models are large, and so are their windows
        rows = max(1, min(_CHUNK, _LOGITS // (case.spec.vocab * batch.x[0].numel())))
    parts = [score(part.to(case.device), rng).double().cpu() for part in batch.split(math.ceil(len(batch) / rows))]
    case.model.train(before)
    return torch.cat(parts)


def _tokens(batch: Batch) -> Tensor:
    """Real tokens in each row, ``(N,)`` float64."""
    if batch.mask is None:
        return torch.full((len(batch),), float(batch.x[0].numel()), dtype=torch.float64)
    return batch.mask.expand_as(batch.x).flatten(1).sum(1).double().cpu()


def _values(items: Sequence[Item]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(item.value, np.float64) for item in items]))


def _known_nll(case: Case) -> float | None:
    """Mean ``-log p`` of the held-out examples under the truth of a made world, in the model's space; None if unknown."""
    truth = case.facts.get("truth") or {}
    if case.decode is None:
        return None
    if "log_density" in truth and not case.spec.is_tokens:
        d = case.spec.dims
        corners = torch.cat([torch.zeros(1, d), torch.eye(d)]).view(-1, *case.spec.shape)
        back = _values(case.decode(corners)).reshape(d + 1, d)
        volume = torch.linalg.slogdet(back[1:] - back[0]).logabsdet  # decoding points is affine
        return -(truth["log_density"](_values(case.decode(case.held.x))).mean() + volume).item()
    if "log_prob" in truth and case.spec.is_sequence:
        true = [truth["log_prob"](item.value) for item in case.decode(case.held.x)]
        if all(map(math.isfinite, true)):  # rows that are whole sentences, not windows cut anywhere
            return -sum(true) / len(true)
    return None


def measure(case: Case) -> list[Measure]:
    """``nll_nats`` of held-out examples, its gap to training examples, and the units that fit the medium.

    Levels: ``bits_per_dim``. Text: ``nll_nats_per_token``, ``perplexity`` (its exponential), ``bits_per_byte`` where
    ``facts["bytes_per_token"]`` is known, and ``perplexity_in_context``: later halves of windows given the earlier
    halves. Where the workshop gives the held-out text in reading order (``facts["line"]``, tokens ``(T,)``), a window slides
    over it by half its length and every token is scored once, with at least half a window before it:
    ``perplexity_sliding`` (after the first window) and ``bits_per_byte_sliding``. Models with ``iwae`` also give ``iwae_nats``
    (Burda et al. 2015, arXiv:1509.00519). ``ceiling`` is the truth, where a made world knows it.

    ``facts["window"]`` and ``facts["stride"]`` set how many tokens the window holds and moves by. With ``facts["whole"]``
    the line is a text that the model never saw, whole: these two measures are all there is, and the first window counts too.
    """
    if case.facts.get("whole"):
        return _whole(case)
    model: Any = case.model
    spec, held = case.spec, case.held
    bound = _FLIPPED[model.bound]
    nll = -_each(case, model.log_prob, held, "held")
    some = case.train.take(
        case.rng("likelihood rows").permutation(len(case.train))[: min(_TRAIN, len(held))].to(case.train.x.device)
    )
    seen = -_each(case, model.log_prob, some, "train")
    value, low, high = mean_interval(nll)
    doubt = float(getattr(model, "doubt", 0.0))  # standard error of a constant that all rows share
    low, high = (value + math.copysign(math.hypot(end - value, Z * doubt), end - value) for end in (low, high))
    known = _known_nll(case)
    shared: dict[str, Any] = {"n": len(held), "seed": case.seed, "better": "lower", "bound": bound}
    base = "of held-out examples" if spec.is_tokens else "of held-out examples; a density, so it may be below zero"
    if doubt:
        base += f"; its normalising constant is itself estimated, with a standard error of {doubt:.2g} nats"
    out = [
        Measure("nll_nats", value, low, high, **shared, ceiling=known, note=base),
        _gap(nll, seen, case.seed),
    ]
    if spec.is_text:
        out += _per_token(case, nll, shared)
    elif spec.is_tokens:
        scale = spec.dims * math.log(2)
        true = None if known is None else known / scale
        out.append(Measure("bits_per_dim", value / scale, low / scale, high / scale, **shared, ceiling=true, note=base))
    if hasattr(model, "iwae"):
        k = int(case.facts.get("iwae", 100))
        part = held.take(slice(0, max(2, _IWAE_DRAWS // k)))
        value, low, high = mean_interval(-_each(case, lambda b, rng: model.iwae(b, rng, k), part, "iwae"))
        note = f"importance-weighted bound with k = {k}; it tightens as k grows"
        out.append(Measure("iwae_nats", value, low, high, **{**shared, "n": len(part)}, ceiling=known, note=note))
    return out


def _gap(nll: Tensor, seen: Tensor, seed: int) -> Measure:
    """Held-out minus training: near zero when what was learned carries over, large when it was learned by heart."""
    gap = (nll.mean() - seen.mean()).item()
    half = Z * math.sqrt(nll.var().item() / len(nll) + seen.var().item() / len(seen)) if len(seen) > 1 else math.inf
    note = f"nats more for held-out than for {len(seen)} training examples; far above zero means learned by heart"
    return Measure("nll_gap_nats", gap, gap - half, gap + half, n=len(nll), seed=seed, better="lower", note=note)


def _per_token(case: Case, nll: Tensor, shared: dict[str, Any]) -> list[Measure]:
    held, model = case.held, case.model
    tokens = _tokens(held)
    value, low, high = ratio_interval(nll, tokens)
    note = f"over {int(tokens.sum())} held-out tokens, each window scored without what came before it"
    out = [
        Measure("nll_nats_per_token", value, low, high, **shared, note=note),
        Measure("perplexity", math.exp(value), math.exp(low), math.exp(min(high, 700.0)), **shared, note=note),
    ]
    if (width := case.facts.get("bytes_per_token")) is not None:
        bits = [v / width / math.log(2) for v in (value, low, high)]
        out.append(Measure("bits_per_byte", *bits, **shared, note=f"{note}; {width:.3f} bytes a token"))
    whole = tokens == case.spec.dims
    if shared["bound"] == "exact" and whole.sum() >= 2 and case.spec.dims >= 2:
        rows = held.take(whole.to(held.x.device))
        early = torch.arange(case.spec.dims, device=held.x.device) < case.spec.dims // 2
        start = Batch(rows.x, rows.cond, early.expand_as(rows.x))
        given = -_each(case, model.log_prob, start, "held")  # type: ignore[union-attr]
        later = torch.full_like(given, case.spec.dims - case.spec.dims // 2)
        value, low, high = ratio_interval(nll[whole] - given, later)
        note = "of the later half of each whole window given its earlier half"
        out.append(
            Measure(
                "perplexity_in_context",
                math.exp(value),
                math.exp(low),
                math.exp(min(high, 700.0)),
                **{**shared, "n": len(rows)},
                note=note,
            )
        )
    if shared["bound"] == "exact" and len(line := case.facts.get("line", ())) > _window(case)[0] >= 2:
        out += _sliding(case, line, shared)
    return out


def _window(case: Case) -> tuple[int, int]:
    """How many tokens a window holds, and by how many it moves."""
    width = int(case.facts.get("window") or case.spec.dims)
    return width, int(case.facts.get("stride") or width // 2)


def sliding(case: Case, line: Tensor, stride: int, width: int = 0) -> tuple[Tensor, Tensor]:
    """Nats of the tokens that each place of a window sliding over a text adds, ``(places,)``, and how many they are.

    The first window is scored whole. Every later one begins ``stride`` tokens further and adds the tokens that the one
    before it did not reach, given all that it holds before them: ``log p(new | old) = log p(old, new) - log p(old)``, so
    that any exact ``log_prob`` will do. The places' sum over their tokens is the usual sliding-window perplexity's
    logarithm. The last place is moved back so far that it ends with the text.

    Args:
        case: its model and Spec.
        line: the text, tokens ``(T,)``, at least a window.
        stride: from 1 to the length of a window; that length gives windows side by side.
        width: tokens of a window; 0 for as many as one example has.
    """
    assert case.model is not None
    width, model = width or case.spec.dims, case.model
    starts = torch.arange(0, len(line) - width + stride, stride)
    old = torch.full_like(starts, width - stride)
    late = len(line) - width
    if starts[-1] > late:  # the last place holds more that is old
        old[-1] += starts[-1] - late
        starts[-1] = late
    old[0] = 0
    at = torch.arange(width)
    x = line.cpu()[starts[:, None] + at]
    whole = -_each(case, model.log_prob, Batch(x), "held")  # type: ignore[operator]
    if old[1:].any():
        before = Batch(x[1:], None, at < old[1:, None])
        whole[1:] += _each(case, model.log_prob, before, "held")  # type: ignore[operator]
    return whole, width - old


def _sliding(case: Case, line: Tensor, shared: dict[str, Any]) -> list[Measure]:
    width, stride = _window(case)
    nats, tokens = (
        t[1:].double() for t in sliding(case, line, stride, width)
    )  # all with a part of a window before them
    value, low, high = ratio_interval(nats, tokens)
    note = (
        f"over {int(tokens.sum())} held-out tokens in reading order, each given at least the {width - stride} before it"
    )
    shared = {**shared, "n": len(nats)}
    ends = [math.exp(min(v, 700.0)) for v in (value, low, high)]
    out = [Measure("perplexity_sliding", *ends, **shared, note=note)]
    if (width := case.facts.get("bytes_per_token")) is not None:
        bits = [v / width / math.log(2) for v in (value, low, high)]
        out.append(Measure("bits_per_byte_sliding", *bits, **shared, note=f"{note}; {width:.3f} bytes a token"))
    return out


def _whole(case: Case) -> list[Measure]:
    """Of a text that the model never saw, every token of it once; ``n`` counts windows, as in ``_sliding``."""
    model: Any = case.model
    line: Tensor = case.facts["line"]
    window, stride = _window(case)
    nats, tokens = sliding(case, line, min(stride, len(line)), min(window, len(line)))
    value, low, high = ratio_interval(nats, tokens.double())
    before = f", each behind the first window of {window} given at least the {window - stride} before it"
    note = f"over all {len(line)} tokens in reading order{before if len(line) > window else ', in one window'}"
    shared: dict[str, Any] = {"n": len(nats), "seed": case.seed, "better": "lower", "bound": _FLIPPED[model.bound]}
    sure = math.isfinite(low)  # one window has no interval
    width = case.facts["bytes_per_token"]
    ends = [math.exp(min(v, 700.0)) for v in (value, low, high)]
    bits = [v / width / math.log(2) for v in (value, low, high)]
    out = []
    for name, (middle, *interval), more in (
        ("perplexity_sliding", ends, ""),
        ("bits_per_byte_sliding", bits, f"; {len(line) * width:.0f} bytes"),
    ):
        between = dict(zip(("low", "high"), interval, strict=True)) if sure else {}
        out.append(Measure(name, middle, **between, **shared, note=note + more))
    return out
