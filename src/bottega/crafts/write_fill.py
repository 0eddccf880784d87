"""What is missing in a text, filled in: drafts are drawn, and those come first that make the whole text likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bottega.core import Batch, BottegaError, DataError, Edits, RecipeError, Rng, Scores, has
from bottega.crafts.write import need_beginning
from bottega.workshop.run import Run, check_knobs

__all__ = ["Filled", "fill"]


@dataclass(frozen=True)
class Filled:
    """A text without gaps.

    Attributes:
        text: the whole.
        parts: what was filled in, in order.
        logprob: of the whole text, in nats, by the model (for bert an estimate: each token given all others).
    """

    text: str
    parts: list[str]
    logprob: float


def fill(
    run: Run,
    text: str,
    *,
    blank: str = "___",
    n: int = 1,
    longest: int = 6,
    tries: int = 16,
    seed: int = 0,
    **knobs: Any,
) -> list[Filled]:
    """The ``n`` best ways to fill the gaps of ``text``, best first.

    For every length from 1 token to ``longest``, ``tries`` drafts are drawn from the model; all are scored with all that
    stands around them. So a model that writes from left to right, which draws without seeing what follows, fills in what
    goes with it too, if it is among the drafts.

    Args:
        run: of a model of texts that fills (bert, gpt) and scores.
        text: with ``blank`` where something is missing; several gaps are filled with as many tokens each.
        blank: how a gap is written.
        n: how many to return, all different; fewer where fewer were drawn.
        longest: how many tokens a gap takes at most.
        tries: how many drafts of each length.
        seed: of everything that is drawn.
        **knobs: of the family's ``edit`` (temperature, top_k, ...).

    Raises:
        BottegaError: the run cannot fill or score.
        DataError: there is no gap, or the text is longer than a row.
        RecipeError: a number is out of range.
    """
    model: Any = run.model.eval()
    codec: Any = run.codec
    if codec.medium != "text" or not run.spec.is_sequence or not has(model, Edits) or not has(model, Scores):
        raise BottegaError(f"{run.recipe.name} fills no gaps of texts; use a run of family bert or gpt")
    need_beginning(run)
    if not blank or min(n, longest, tries) < 1:
        raise RecipeError(f"blank={blank!r}, n={n}, longest={longest}, tries={tries}: none may be empty or below 1")
    pieces = text.split(blank)
    if len(pieces) < 2:
        raise DataError(f"there is no gap in the text; write {blank} where something is missing")
    # A gap has the length that is tried, and nothing else ends it.
    check_knobs(model.edit, knobs, skip=3, without=("max_new", "stop", "overflow"))
    # Many tokens begin with the space before a word, so a gap may have to make the space that stands before it.
    bare = [piece.removesuffix(" ") for piece in pieces[:-1]] + pieces[-1:]
    found: dict[str, Filled] = {}
    tried: list[Tensor] = []
    for before in [pieces] if bare == pieces else [pieces, bare]:
        spaces = [piece[len(short) :] for piece, short in zip(pieces[:-1], before[:-1], strict=True)]
        told = [  # only the first piece begins the text
            (codec.encode_inside(piece) if k else codec.encode_prompt(piece))
            if piece
            else torch.zeros(0, dtype=torch.long)
            for k, piece in enumerate(before)
        ]
        if getattr(model, "closes", False):  # it learned from texts with an end, and looks at it
            told[-1] = torch.cat([told[-1], torch.tensor([codec.end])])
        if before is bare and all(map(torch.equal, told, tried)):  # tokens that know of no blanks
            break
        tried = told
        size = sum(map(len, told)) + len(pieces) - 1
        if size > run.spec.shape[0]:
            raise DataError(
                f"the text has {size} tokens with its gaps, a row of the model {run.spec.shape[0]}; shorten it"
            )
        for length in range(1, longest + 1):
            x, keep = _with_gaps(told, length)
            if x.shape[1] > run.spec.shape[0]:
                break
            for one in _drafts(run, x, keep, tries, seed + 1000003 * length, knobs):
                if not all(part.startswith(space) for part, space in zip(one.parts, spaces, strict=True)):
                    continue
                if one.text not in found or found[one.text].logprob < one.logprob:
                    parts = [part.removeprefix(space) for part, space in zip(one.parts, spaces, strict=True)]
                    found[one.text] = Filled(one.text, parts, one.logprob)
    return sorted(found.values(), key=lambda f: -f.logprob)[:n]


def _with_gaps(told: Sequence[Tensor], length: int) -> tuple[Tensor, Tensor]:
    """The tokens with gaps of that length, ``(1, t)``, and which of them stay."""
    gap = torch.zeros(length, dtype=torch.long)
    parts, kept = [told[0]], [torch.ones(len(told[0]), dtype=torch.bool)]
    for piece in told[1:]:
        parts += [gap, piece]
        kept += [torch.zeros(length, dtype=torch.bool), torch.ones(len(piece), dtype=torch.bool)]
    return torch.cat(parts)[None], torch.cat(kept)[None]


@torch.no_grad()
def _drafts(run: Run, x: Tensor, keep: Tensor, tries: int, seed: int, knobs: dict[str, Any]) -> list[Filled]:
    model: Any = run.model
    codec: Any = run.codec
    rows = x.expand(tries, -1).to(run.device)
    seeds = [seed + k for k in range(tries)]
    made = model.edit(Batch(rows), keep.expand(tries, -1).to(run.device), Rng.for_rows(seeds, run.device), **knobs)
    foreign = getattr(codec, "foreign", None)
    marks = [codec.end] if foreign is None else [codec.end, *foreign.marks.values()]
    cuts = torch.isin(made, torch.tensor(marks, device=made.device)) & ~keep.to(made.device)
    made = made[~cuts.any(1)].unique(dim=0)  # an end inside would cut the text
    if not len(made):
        return []
    score = model.log_prob(Batch(made), Rng(seed, device=run.device)).tolist()
    made = made.cpu()
    texts = [item.value for item in codec.decode(made)]
    edges = torch.diff(keep[0].int(), prepend=torch.ones(1, dtype=torch.int32)).nonzero()[:, 0].tolist()
    bounds = [*edges, x.shape[1]]
    gaps = [(bounds[k], bounds[k + 1]) for k in range(0, len(bounds) - 1, 2)]
    spelling: list[bytes] = codec.spelling
    parts = [
        [
            b"".join(spelling[t] for t in row).decode("utf-8", "replace").removeprefix("" if a else codec.lead)
            for row in made[:, a:b].tolist()
        ]
        for a, b in gaps
    ]
    return [
        Filled(text, [part[k] for part in parts], logprob)
        for k, (text, logprob) in enumerate(zip(texts, score, strict=True))
    ]
