"""The checks of what only some families can: scores, codes, features, edits, translations, streams."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from bottega.core import Batch, Block, BottegaError, Family, Rng, Spec
from bottega.testing.cases import Subject, everything
from bottega.testing.checking import changed, check, fits, global_randomness_untouched, label, rows, same, state


def _no_scores(subject: Subject) -> str:
    return "" if subject.facts.bound else "no log_prob"


@check(_no_scores)
def scores_are_sound(subject: Subject) -> None:
    """``log_prob`` is finite, ``(B,)``, row by row, without side effects; an exact one does not depend on ``rng``."""
    model, batch = subject.model().eval(), subject.batch(4)
    if hasattr(model, "score_steps"):  # how near it comes is another check's; here a few steps do as well as many
        model.score_steps = min(int(model.score_steps), 8)
    assert subject.facts.bound in {"exact", "lower", "estimate"}, f"unknown bound {subject.facts.bound!r}"
    before = state(model)
    with torch.no_grad(), global_randomness_untouched("log_prob"):
        scores = model.log_prob(batch, rows(4))
        assert scores.shape == (4,), f"log_prob has shape {tuple(scores.shape)}, not (4,)"
        assert torch.isfinite(scores).all(), "log_prob is not finite"
        for i, one in enumerate(batch.split(4)):
            assert same(model.log_prob(one, rows(1, 10 + i)), scores[i : i + 1]), f"row {i} depends on other rows"
        if subject.facts.bound == "exact":
            assert same(model.log_prob(batch, Rng(99)), scores), "an exact log_prob depends on rng"
        unknown = model.log_prob(replace(batch, cond=None), rows(4))
        assert unknown.shape == (4,), f"log_prob without condition has shape {tuple(unknown.shape)}, not (4,)"
    assert not (what := changed(before, model)), f"log_prob changes {what[0]!r}"


def _no_plane(subject: Subject) -> str:
    if _no_scores(subject) or subject.facts.bound == "estimate":
        return "no bound of log_prob to integrate"
    plane = subject.spec.shape == (2,) and not subject.spec.is_tokens and not subject.spec.blocks
    return "" if plane else "not a plane"


def _probabilities(subject: Subject, model: Family, spec: Spec, x: Tensor, cell: float = 1.0) -> Tensor:
    """exp(log_prob) of each row of ``x`` given the second label, times the size of its ``cell``.

    A bound is averaged over 16 draws, or over four where these leave it far below what could be too much.
    """
    batch = Batch(x, label(spec, len(x)))
    with torch.no_grad():
        if subject.facts.bound == "exact":
            return model.log_prob(batch, Rng(0)).exp() * cell
        found: list[Tensor] = []
        for k in range(16):
            found.append(model.log_prob(batch, Rng(k)))
            p = torch.stack(found).mean(0).exp() * cell
            if k == 3 and p.sum() < 0.5:
                break
        return p


def _total_is_one(subject: Subject, total: float, slack: float) -> None:
    if subject.facts.bound == "exact":
        assert abs(total - 1) <= slack, f"probabilities add up to {total:.5f}, not 1"
    else:
        assert total <= 1.05, f"a lower bound adds up to {total:.4f}, above 1"


def _follows(counts: Tensor, expected: Tensor) -> None:
    """Pearson's chi-squared test; the limit lies 6 standard deviations above the mean."""
    few = expected < 5
    if few.any():
        counts, expected = (torch.cat([t[~few], t[few].sum()[None]]) for t in (counts, expected))
    free = len(counts) - 1
    chi2 = ((counts - expected) ** 2 / expected.clamp_min(1.0)).sum().item()
    assert chi2 <= free + 6 * math.sqrt(2 * free) + 6, f"samples do not follow log_prob: chi2 {chi2:.0f} for {free}"


@check(_no_plane)
def a_density_integrates_to_one(subject: Subject) -> None:
    """On a grid of the plane: exact densities to 1 ± 2 %, lower bounds to no more; samples follow exact ones."""
    model = subject.model().eval()
    sample = model.sample(1000, Rng(1), label(subject.spec, 1000), **subject.knobs(model.sample))
    centre = sample.median(0).values
    half = ((sample - centre).abs().amax(0) * 1.5 + 0.5)[:, None]
    side = 160
    axes = centre[:, None] + half * (torch.arange(side) * 2 + 1 - side) / side
    cells = torch.cartesian_prod(*axes)
    mass = _probabilities(subject, model, subject.spec, cells, (2 * half / side).prod().item())
    _total_is_one(subject, mass.sum().item(), 0.02)
    if subject.facts.bound == "exact":
        cuts = sample.quantile(torch.tensor([1 / 3, 2 / 3]), dim=0)

        def cell(x: Tensor) -> Tensor:
            return torch.stack([torch.bucketize(x[:, k].contiguous(), cuts[:, k].contiguous()) for k in (0, 1)], 1) @ (
                torch.tensor([3, 1])
            )

        counts = torch.bincount(cell(sample), minlength=9).to(mass)
        _follows(counts, 1000 * torch.zeros(9).index_add(0, cell(cells), mass))


def _small(spec: Spec) -> Spec | None:
    """A token Spec of the same kind with few enough examples to list them all."""
    if not spec.is_tokens or (not spec.blocks and spec.is_image and spec.vocab > 2):
        return None
    if not spec.shape:
        return spec
    if spec.blocks:
        return Spec((2,), vocab=5, blocks=(Block("a", "scalar", 0, 2), Block("b", "choice", 2, 3)), cond=spec.cond)
    if spec.is_image:
        return Spec((1, 2, 2), vocab=2, ordinal=True, cond=spec.cond)
    return Spec((3,), vocab=3, ordinal=spec.ordinal, cond=spec.cond)


def _no_small(subject: Subject) -> str:
    if _no_scores(subject) or subject.facts.bound == "estimate":
        return "no bound of log_prob to sum"
    spec = _small(subject.spec)
    if spec is None:
        return "too many examples to list"
    try:
        subject.model(spec=spec)
    except BottegaError as error:
        return f"refuses a small space: {error}"
    return ""


@check(_no_small)
def probabilities_sum_to_one(subject: Subject) -> None:
    """Over every example of a small space: exact ones to 1, lower bounds to no more; samples follow exact ones."""
    spec = _small(subject.spec)
    assert spec is not None
    model = subject.model(spec=spec, shake=0.3 if subject.facts.bound == "exact" else 0.05).eval()
    x = everything(spec)
    p = _probabilities(subject, model, spec, x)
    _total_is_one(subject, p.sum().item(), 1e-4)
    if subject.facts.bound == "exact":
        n = 2000
        sample = model.sample(n, Rng(1), label(spec, n), **subject.knobs(model.sample))
        hits = (sample.reshape(n, -1)[:, None] == x.reshape(len(x), -1)[None]).all(-1)
        assert hits.any(1).all(), "a sample lies outside the space"
        _follows(hits.sum(0).to(p), n * p)


@check(lambda subject: "" if subject.facts.encodes else "no encode")
def codes_are_sound(subject: Subject) -> None:
    """``encode`` is deterministic and row by row, ``decode`` fits the Spec; an exact bijection comes back."""
    model, batch = subject.model().eval(), subject.batch(3)
    latent: Spec = model.latent
    with torch.no_grad(), global_randomness_untouched("encode or decode"):
        z = model.encode(batch)
        fits(z, latent, 3, "the code")
        assert same(model.encode(batch), z), "encode is random"
        assert same(model.encode(batch.take(slice(1, 2))), z[1:2]), "a code depends on other rows"
        x = model.decode(z, batch.cond)
        fits(x, subject.spec, 3, "the decoded code")
        assert same(model.decode(z, batch.cond), x), "decode is random"
        fits(model.decode(z), subject.spec, 3, "the decoded code without condition")
        if subject.facts.bound == "exact" and latent.dims == subject.spec.dims and not latent.is_tokens:
            model, wide = (
                model.double(),
                replace(batch, x=batch.x.double()),
            )  # the map is judged, not float32's rounding
            worst = (model.decode(model.encode(wide), batch.cond) - wide.x).abs().max().item()
            assert worst <= 1e-4, f"decode(encode(x)) is off by {worst:.2g}"


@check(lambda subject: "" if subject.facts.represents else "no features")
def features_are_sound(subject: Subject) -> None:
    """``(B, D)`` finite numbers, the same when asked again, row by row, not moved by padding nor the same for all."""
    model, batch = subject.model(shake=0.3).eval(), subject.batch(4)
    with torch.no_grad(), global_randomness_untouched("features"):
        z = model.represent(batch)
        fits(z, Spec(tuple(z.shape[1:])), 4, "the features")
        assert z.ndim == 2, f"the features have shape {tuple(z.shape)}, not (4, D)"
        assert same(model.represent(batch), z), "features are random"
        for i, one in enumerate(batch.split(4)):
            assert same(model.represent(one), z[i : i + 1]), "the features of a row depend on other rows"
        if batch.mask is not None:
            other = torch.where(batch.mask, batch.x, (batch.x + 1) % max(2, subject.spec.vocab))
            assert same(model.represent(replace(batch, x=other)), z), "padding changes features"
        assert not same(z[1:], z[:1].expand_as(z[1:])), "all examples have the same features"


@check(lambda subject: "" if subject.facts.edits else "no edit")
def an_edit_keeps_what_it_is_told_to_keep(subject: Subject) -> None:
    """Kept parts come back untouched, the rest fits the Spec and belongs to its seed."""
    model, batch = subject.model().eval(), subject.batch(3)
    knobs = subject.knobs(model.edit)
    keep = Rng(3).uniform(3, *subject.spec.shape) < 0.5
    for mask in (keep, keep[:1], torch.ones_like(keep), torch.zeros_like(keep)):
        with global_randomness_untouched("edit"):
            x = model.edit(batch, mask, rows(3), **knobs)
        fits(x, subject.spec, 3, "the edit")
        assert torch.equal(torch.where(mask, x, batch.x), batch.x), "an edit touches what was to be kept"
    assert same(batch.x, subject.batch(3).x, 0), "an edit writes into the batch"
    x = model.edit(batch, keep, rows(3), **knobs)
    for i, one in enumerate(batch.split(3)):
        alone = model.edit(one, keep[i : i + 1], rows(1, 10 + i), **knobs)
        assert same(alone, x[i : i + 1], 1e-3), f"edited row {i} differs from the same edit alone"


def _no_translation(subject: Subject) -> str:
    if not subject.facts.translates:
        return "no translate"
    return "" if subject.spec.cond is not None and subject.spec.cond.shape == () else "no class to go to"


@check(_no_translation)
def a_translation_goes_where_it_is_told(subject: Subject) -> None:
    """It fits the Spec, leaves what is there already as it is, and each row belongs to itself and its seed."""
    batch = subject.batch(4)
    assert batch.cond is not None
    cond = (batch.cond + torch.tensor([0, 1, 1, 1])) % subject.spec.cond.vocab  # type: ignore[union-attr]
    changed = False
    for shake in (1.0, 0.3, 0.05):  # a translation that is hardly trained may round back to the same level
        model = subject.model(shake=shake).eval()
        with global_randomness_untouched("translate"):
            x = model.translate(batch, cond, rows(4))
        fits(x, subject.spec, 4, "the translation")
        assert torch.equal(x[0], batch.x[0]), "a piece that is of the class already was changed"
        changed = changed or not same(x[1:], batch.x[1:], 0)
    assert changed, "nothing was translated"
    assert same(batch.x, subject.batch(4).x, 0), "translate writes into the batch"
    for i, one in enumerate(batch.split(4)):
        alone = model.translate(one, cond[i : i + 1], rows(1, 10 + i))
        assert same(alone, x[i : i + 1], 1e-3), f"row {i} differs from the same translation alone"
    fits(
        model.translate(replace(batch, cond=None), cond, rows(4)),
        subject.spec,
        4,
        "the translation of unknown classes",
    )


@check(lambda subject: "" if subject.facts.streams else "no stream")
def a_stream_is_the_sample_in_parts(subject: Subject) -> None:
    """More than one part; together they are what ``sample`` returns for the same seeds."""
    model, cond = subject.model().eval(), label(subject.spec, 2)
    parts = list(model.stream(2, rows(2), cond, **subject.knobs(model.stream)))
    assert len(parts) > 1, f"the stream came in {len(parts)} part(s)"
    whole = model.sample(2, rows(2), cond, **subject.knobs(model.sample))
    together = torch.cat([p.reshape(2, -1) for p in parts], 1)
    assert same(together, whole.reshape(2, -1)), "the parts together are not the sample"
