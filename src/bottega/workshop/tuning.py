"""Before and after: what a training that began with a trained model gained, and what it forgot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bottega.core import Batch, BottegaError, Codec, DataError, Family, Item, RecipeError, Rng, Scores, has
from bottega.data.folders import guess
from bottega.judge._statistics import bootstrap, ratio_interval
from bottega.judge.labels import answer_score
from bottega.workshop.build import find_data, make_codec
from bottega.workshop.recipe import Recipe

if TYPE_CHECKING:
    from bottega.workshop.run import Run

__all__ = ["ANSWERS", "compare", "measured", "onto", "questions", "remembered", "told"]

ANSWERS = 16  # written before and after
MOST_NEW = 96  # tokens of each


def onto(plan: Recipe, start: Run, base: str) -> Recipe:
    """``plan`` for a run of ours to begin with: with its tokens, its family, its weights, and its data as what it knew.

    Raises:
        RecipeError: a run, or a recipe, of something else than texts and conversations.
    """
    mine, theirs = dict(plan.codec), start.recipe.codec
    read = {"text", "chat"}
    if mine["name"] == "text" and theirs["name"] == "chat":
        raise RecipeError(
            f"{base} learned to answer in conversations, and recipe {plan.name!r} reads texts; go on with recipe chat"
        )
    if not {mine["name"], theirs["name"]} <= read or start.spec.cond is not None:
        raise RecipeError(
            f"--base is for texts and conversations: {base} reads {theirs['name']} and recipe {plan.name!r} {mine['name']}; use "
            "recipe text or chat, or set train.start and tables as there"
        )
    for key in ("tokenizer", "vocab"):
        mine.pop(key, None)
        if key in theirs:
            mine[key] = theirs[key]
    if mine["name"] == theirs["name"] and "template" in theirs:
        mine.setdefault("template", theirs["template"])
    mine["length"] = min(int(mine.get("length", 128)), int(getattr(start.model, "sees", start.spec.dims)))
    plan = replace(plan, codec=mine, family=dict(start.recipe.family), train=replace(plan.train, start=base))
    if plan.train.remember:
        return plan
    known = str(start.header["data_argument"] or start.recipe.data.get("name", ""))
    knows = replace(plan, train=replace(plan.train, remember=known))
    try:
        remembered(knows, make_codec(mine))
    except BottegaError:  # moved since then, or in columns of other names
        return plan
    return knows


def measured(
    model: Family, codec: Codec, texts: Mapping[str, Batch], asked: Sequence[Item], *, rows: int, device: torch.device
) -> dict[str, Any]:
    """What a model says of texts, and what it answers: JSON-ready, and ready to be compared.

    Args:
        model: in eval mode, with the weights that count; of a family without likelihood nothing is measured.
        codec: of the model.
        texts: rows of each, by what they are called.
        asked: conversations, the last answer of which is written anew, greedily.
        rows: how many are scored at once.
        device: of the model.

    Returns:
        ``{"texts": {name: {"nats": [...], "tokens": [...]}}, "answers": [...]}``, a number for each row.
    """
    scored: dict[str, dict[str, list[float]]] = {}
    any_model: Any = model
    if not has(model, Scores) or not model.spec.is_text:
        return {}
    with torch.no_grad():
        for name, batch in texts.items():
            parts = batch.to(device).split(max(1, -(-len(batch) // rows)))
            nats = torch.cat([-any_model.log_prob(part, Rng(0, device=device)).double().cpu() for part in parts])
            real = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
            scored[name] = {"nats": nats.tolist(), "tokens": real.flatten(1).sum(1).tolist()}
    return {"texts": scored, "answers": answers(model, codec, asked, device)}


@torch.no_grad()
def answers(model: Family, codec: Any, asked: Sequence[Item], device: torch.device) -> list[str]:
    """What a model answers to the questions of conversations, the likeliest token each time."""
    if not asked:
        return []
    begun, real = codec.prompts(asked)
    made = codec.reply(model, begun, real, Rng.for_rows(range(len(asked)), device), max_new=min(MOST_NEW, codec.length // 2),
                       temperature=0.0)  # fmt: skip
    return [text.strip() for text in codec.strings(made.tolist())]


def questions(codec: Any, held: Sequence[Item]) -> list[Item]:
    """Some held-out conversations whose last answers are written before and after; none where there are no conversations."""
    if not getattr(codec, "answers_only", False):
        return []
    return [held[i] for i in Rng(0).permutation(len(held))[:ANSWERS].tolist()]


def remembered(plan: Recipe, codec: Any) -> list[Item]:
    """The pieces of ``train.remember``: conversations where it holds some and the codec reads them, else texts.

    Raises:
        DataError: nothing there, or nothing that can be read.
    """
    name, bare = plan.train.remember, replace(plan, data={})
    kind = guess(name) if Path(name).exists() else ""
    if getattr(codec, "answers_only", False) and kind != "chat":
        if kind == "table":
            with suppress(DataError):  # of questions and answers; else of texts
                return list(find_data(bare, name, codec).items)
        codec = make_codec({"name": "text"})
    return list(find_data(bare, name, codec).items)


def compare(before: Mapping[str, Any], after: Mapping[str, Any], asked: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Two results of ``measured`` side by side, as the evidence keeps them.

    The interval of a change is that of the difference over the same rows (of the mean logarithm, for perplexities), so
    it can be far from zero where those of before and after overlap.

    Args:
        before: of the start.
        after: of the trained model.
        asked: what was asked, and what was answered in truth.

    Returns:
        ``{"measures": [{"name", "of", "before", "after", "change", "n", "better"}, ...], "answers": [...]}``; ``before``,
        ``after`` and ``change`` are each ``[value, low, high]``, with 95 % intervals (None of a single row). The change of a perplexity is a
        share of it.
    """
    rows: list[dict[str, Any]] = []
    for name, was in before.get("texts", {}).items():
        now = after["texts"][name]
        a, b, tokens = (torch.tensor(v, dtype=torch.float64) for v in (was["nats"], now["nats"], was["tokens"]))
        change = ratio_interval(b - a, tokens)
        rows.append({
            "name": "perplexity", "of": name, "better": "lower", "n": int(tokens.sum()), "rows": len(a),
            "before": _sure([_exp(v) for v in ratio_interval(a, tokens)], len(a)),
            "after": _sure([_exp(v) for v in ratio_interval(b, tokens)], len(a)),
            "change": _sure([_exp(v) - 1 for v in change], len(a)),
        })  # fmt: skip
    written = [
        {"asked": question, "real": real, "before": a, "after": b}
        for (question, real), a, b in zip(asked, before.get("answers", ()), after.get("answers", ()), strict=True)
    ]
    if written:
        f1 = torch.tensor(
            [[answer_score(one["real"], one[when])[1] for when in ("before", "after")] for one in written]
        )
        rows.append({
            "name": "f1", "of": "words of written answers", "better": "higher", "n": len(written), "rows": len(written),
            "before": _sure(bootstrap(f1[:, 0], Rng(0)), len(f1)), "after": _sure(bootstrap(f1[:, 1], Rng(0)), len(f1)),
            "change": _sure(bootstrap(f1[:, 1] - f1[:, 0], Rng(0)), len(f1)),
        })  # fmt: skip
    return {"measures": rows, "answers": written} if rows else {}


def _sure(interval: Sequence[float], rows: int) -> list[float | None]:
    value, low, high = interval
    return [value, low, high] if rows > 1 else [value, None, None]


def _exp(nats: float) -> float:
    return math.exp(min(nats, 700.0))


def told(tuning: Mapping[str, Any]) -> list[str]:
    """A sentence for each measure."""
    out = []
    for row in tuning.get("measures", ()):
        before, after, change = row["before"][0], row["after"][0], row["change"]
        if row["name"] == "perplexity":
            out.append(f"perplexity of {row['of']}: {before:.4g} before, {after:.4g} after ({change[0]:+.1%})")
        else:
            out.append(f"F1 of {row['of']}: {before:.2f} before, {after:.2f} after, of {row['n']}")
    return out
