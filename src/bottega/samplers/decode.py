"""The one way in for families that make tokens from left to right: drawing, searching or drafting, as knobs ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from bottega.core import RecipeError, Rng, passes_on
from bottega.samplers.beam import search
from bottega.samplers.speculative import Draft, Lookup, speculate
from bottega.samplers.steps import Step, Takes
from bottega.samplers.tokens import Guide, Notes, generate

__all__ = ["decode"]


@passes_on(generate)
@torch.no_grad()
def decode(
    step: Step,
    given: Tensor,
    keep: Tensor,
    rng: Rng,
    lengths: Tensor | None = None,
    guides: Sequence[Guide] = (),
    notes: Notes | None = None,
    draft: Draft | None = None,
    *,
    overflow: Literal["error", "slide"] = "error",
    beams: int = 1,
    beam_groups: int = 1,
    diversity: float = 0.5,
    length_penalty: float = 1.0,
    lookup: int = 0,
    drafts: int = 5,
    **knobs: Any,
) -> Iterator[Tensor]:
    """Make ``(n, length)`` tokens from left to right; yields what is new, ``(n, t)`` at a time.

    Args:
        step: the model. ``samplers.steps.CachedStep`` can all that is asked here; a plain function can be drawn from.
        given: ``(n, length)`` tokens, of which those are used that ``keep`` names.
        keep: ``(n, length)`` bool; kept positions are forced.
        rng: one number for each row and position.
        lengths: see ``samplers.tokens.generate``.
        guides: see there.
        notes: see there.
        draft: guesses tokens, so that the model needs fewer steps for the same ones; see ``samplers.speculative``.
        overflow: what becomes of a beginning that is longer than the model sees: ``"error"``, or ``"slide"``: it goes on
            from the later half.
        beams: more than 1 searches for the likeliest text with so many beams instead of drawing one; rows that begin
            alike are the best, the second best and so on. See ``samplers.beam``.
        beam_groups: in how many groups that avoid each other.
        diversity: what a group pays for a token that an earlier one chose, in nats.
        length_penalty: beams are compared by log-probability over length to this power.
        lookup: above 0, drafts are what followed the last tokens before, so many of them at most.
        drafts: how many tokens to guess at most.
        **knobs: those of ``samplers.tokens.generate``.

    Raises:
        RecipeError: a knob is out of range, or two do not go together.
    """
    if overflow not in ("error", "slide"):
        raise RecipeError(f"overflow is {overflow!r}; it is 'error' or 'slide'")
    if beams < 1 or lookup < 0:
        raise RecipeError(f"beams={beams}, lookup={lookup}: beams must be at least 1, lookup at least 0")
    n, width = given.shape
    open_columns = (~keep).any(0).nonzero()
    start = int(open_columns[0]) if len(open_columns) else width
    longest = start if lengths is None else int(lengths.max()) if n else 0
    room = step.room() if hasattr(step, "room") else None
    if room is not None and longest > room and overflow == "error" and start < width:
        raise RecipeError(
            f"the beginning has {longest} tokens, but this model sees {room} at most; give a shorter one, or "
            "--set overflow=slide, which goes on from its later half"
        )
    draft = Lookup(lookup) if lookup else draft
    if beams == 1 and draft is None:
        yield from generate(step, given, keep, rng, lengths, guides, notes, **knobs)
        return
    if not bool((keep == keep[:1]).all()) or bool(keep[:, start:].any()):
        raise RecipeError("beams and drafts go on from a beginning; with holes to fill, leave them out")
    if beams > 1 and draft is not None:
        raise RecipeError("beams are no draws, so there is nothing to draft; leave out beams, or lookup")
    prompt = given[:, :start]
    if lengths is not None:
        prompt = prompt.masked_fill(torch.arange(start, device=given.device) >= lengths[:, None], -1)
    if start:
        yield given[:, :start]
    if start == width:
        return
    if draft is None:
        settings = {"beam_groups": beam_groups, "diversity": diversity, "length_penalty": length_penalty}
        yield _beams(step, prompt, width - start, guides, notes, {"beams": beams, **settings}, knobs)
        return
    u = rng.uniform(n, width)
    at = (torch.full((n,), start, device=given.device) if lengths is None else lengths)[:, None]
    u = u.gather(1, at + torch.arange(width - start, device=given.device))
    yield from speculate(step, draft, prompt, width - start, u, guides, notes, drafts=drafts, **knobs)


def _beams(
    step: Any, prompt: Tensor, more: int, guides: Sequence[Guide], notes: Notes | None, settings: dict[str, Any],
    knobs: dict[str, Any],
) -> Tensor:  # fmt: skip
    """``(n, more)``: what a search found; rows that begin alike share it out."""
    if not isinstance(step, Takes):
        raise RecipeError("this model cannot go on with rows in another order, so it has no beams; leave them out")
    drawn = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    for name, plain in drawn.items():
        if knobs.pop(name, plain) not in (plain, 0 if name == "temperature" else plain):
            raise RecipeError(f"beams are no draws, so {name} means nothing to them; leave it out")
    alike = step.alike(prompt) if hasattr(step, "alike") else _same(prompt)
    firsts = [int((alike == k).nonzero()[0]) for k in range(int(alike.max()) + 1)]
    most = int(torch.bincount(alike).max())
    if most > settings["beams"]:
        raise RecipeError(f"{most} versions of one beginning need at least as many beams, not {settings['beams']}")
    rows = torch.tensor(firsts, device=prompt.device)
    step.take(rows)
    top = None if notes is None else notes.top
    found = search(step, prompt[rows], more, guides, top, **settings, **knobs)
    fill = knobs.get("stop") or 0
    out = torch.full((len(prompt), more), fill, dtype=torch.long, device=prompt.device)
    if notes is not None:
        notes.begin(len(prompt))
    given_out = [0] * len(firsts)
    for i, k in enumerate(alike.tolist()):
        # groups may end with the same text, which is one version, not two
        ranked = list({tuple(f.tokens): f for f in sorted(found[k], key=lambda f: -f.score)}.values())
        best = ranked[min(given_out[k], len(ranked) - 1)]
        given_out[k] += 1
        out[i, : len(best.tokens)] = torch.tensor(best.tokens, device=prompt.device)
        if notes is not None:
            notes.tokens[i], notes.logprobs[i], notes.likeliest[i] = best.tokens, best.logprobs, best.likeliest
            ended = best.tokens[-1:] == [knobs.get("stop")]
            notes.finish[i] = "end" if ended else "length" if len(best.tokens) == more else guides[0].why
    return out


def _same(rows: Tensor) -> Tensor:
    """A number for each row ``(n, t)``, the same for those that are equal, in order of appearance."""
    known: dict[tuple[float, ...], int] = {}
    return torch.tensor([known.setdefault(tuple(row), len(known)) for row in rows.tolist()], device=rows.device)
