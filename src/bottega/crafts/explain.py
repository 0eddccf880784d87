"""Why a model says what it says: which tokens moved each token, and what every head looked at, as a page.

>>> explain("runs/english", "The statement is true").write("why.html")    # doctest: +SKIP
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bottega.core import Batch, BottegaError, DataError, Explains, RecipeError, Rng, has
from bottega.core.files import write_atomically
from bottega.nets.explain import WAYS
from bottega.workshop.report import templates
from bottega.workshop.run import Progress, Run, knobs_of, load

__all__ = ["Explanation", "explain", "token_strings"]

_ROWS = 32  # places explained at once
_MOST_MAPS = 24_000_000  # numbers in attention maps; above that only the layers' means are kept
_TITLES = {"integrated": "Integrated gradients", "gradient": "Gradient times input"}


@dataclass(frozen=True)
class View:
    """One answer to "what did it look at?": a number for each explained token and each token it could see.

    Attributes:
        title: for people.
        group: ``"gradients"``, or ``"attention"``.
        layer, head: of attention, from 1; 0 for the mean over all.
        parts: ``(explained, tokens)``; nats for gradients, shares for attention.
    """

    title: str
    group: str
    parts: Tensor
    layer: int = 0
    head: int = 0


@dataclass(frozen=True)
class Explanation:
    """What was found of one text.

    Attributes:
        run, weights: who said it.
        tokens: every token's own text; the first ``given`` of them were given, the others are explained one by one.
        given: how many.
        scores: log probability of each explained token, nats.
        gains: how many of them knowing the other tokens brought, beside tokens of which nothing is known.
        views: what was looked at.
        points: of the integral.
    """

    run: str
    weights: str
    tokens: list[str]
    given: int
    scores: list[float]
    gains: list[float]
    views: list[View] = field(repr=False)
    points: int = 32

    @property
    def said(self) -> list[str]:
        """The explained tokens."""
        return self.tokens[self.given :]

    def view(self, title: str) -> View:
        """One of the views; KeyError when there is none of that title."""
        return {view.title: view for view in self.views}[title]

    def causes(self, place: int, k: int = 5, title: str = _TITLES["integrated"]) -> list[tuple[int, str, float]]:
        """The ``k`` tokens that moved an explained one most, either way: number, text and nats."""
        parts = self.view(title).parts[place]
        order = parts.abs().argsort(descending=True)[:k].tolist()
        return [(i, self.tokens[i], parts[i].item()) for i in order if parts[i] != 0]

    def gap(self) -> float:
        """How far the integrated parts are from their sum, the median over tokens, in nats; 0 is exact."""
        parts = self.view(_TITLES["integrated"]).parts.double().sum(1)
        return (parts - torch.tensor(self.gains, dtype=torch.float64)).abs().median().item()

    def write(self, path: Path | str) -> Path:
        """The page, one file that needs nothing else. Raises OutputError."""
        path = Path(path)
        data = {
            "tokens": self.tokens,
            "given": self.given,
            "scores": [round(s, 5) for s in self.scores],
            "gains": [round(g, 5) for g in self.gains],
            "views": [
                {"title": v.title, "group": v.group, "layer": v.layer, "head": v.head, **_packed(v.parts)}
                for v in self.views
            ],
        }
        told = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")  # "</script>" may stand in a text
        write_atomically(path, templates().get_template("explain.html.j2").render(x=self, data=told, gap=self.gap()))
        return path


def _packed(parts: Tensor) -> dict[str, Any]:
    """Rows as bytes -127 .. 127 of each row's largest number."""
    most = parts.abs().amax(1).clamp_min(1e-12)
    rows = (parts / most[:, None] * 127).round().to(torch.int8)
    return {
        "scale": [float(f"{m:.4g}") for m in most.tolist()],
        "rows": base64.b64encode(rows.numpy().tobytes()).decode(),
    }


def token_strings(codec: Any, tokens: Sequence[int]) -> list[str]:
    """Each token's own text, in place: what it adds to the text of those before it; ``∎`` for the end.

    Of a character made of several tokens the last one has it, and the others have nothing.
    """
    out, before, first = [], "", 0
    for i, token in enumerate(tokens):
        if token == codec.end:
            out.append("∎")
            before, first = "", i + 1
            continue
        text = str(codec.decode(torch.tensor([list(tokens[first : i + 1])]))[0].value)
        sure = text.rstrip("\ufffd") if len(text) - len(text.rstrip("\ufffd")) <= 3 and i + 1 < len(tokens) else text
        out.append(sure[len(before) :] if sure.startswith(before) else "")
        before = sure if sure.startswith(before) else before
    return out


def explain(
    run: Run | Path | str,
    text: str,
    *,
    said: str = "",
    more: int = 0,
    points: int = 32,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """Which tokens moved each token of a text.

    Args:
        run: of a model that explains itself (``gpt`` and others).
        text: what is explained; for a model of what is said of a given text (a translation, a label), the given one.
        said: for a model of texts given a text, what it says of ``text``; its likeliest answer by default.
        more: tokens that the model adds to ``text`` first, its likeliest ones, and which are explained, too.
        points: of the integral; more are nearer and slower.
        seed: of what is added.
        progress: told after each few tokens.

    Raises:
        BottegaError: the run makes no text, or its family does not explain itself.
        DataError: nothing to explain, or more tokens than the model reads.
    """
    run = run if isinstance(run, Run) else load(run)
    model: Any = run.model.eval()
    codec: Any = run.codec
    if not has(model, Explains) or codec.medium not in {"text", "labels"}:
        raise BottegaError(
            f"{run.recipe.name} is a {run.recipe.family['name']} of {codec.medium}; what can be explained are texts and labels "
            "of texts, by gpt, bert, seq2seq or reader"
        )
    if more < 0 or points < 1:
        raise RecipeError(f"more={more}, points={points}: more must be at least 0, points at least 1")
    labels = codec.medium == "labels"
    if more and run.spec.given_text:
        raise RecipeError(f"more={more}, but {run.recipe.name} answers a given text; leave it out")
    if more and "max_new" not in knobs_of(model.edit, 3):
        raise RecipeError(f"more={more}, but a {run.recipe.family['name']} adds nothing to a text; leave it out")
    if said and not (run.spec.given_text and not labels):
        raise RecipeError(f"said is {said!r}, but {run.recipe.name} says nothing of a given text; leave it out")
    words = codec.text if labels else codec
    x, cond = _of_pairs(run, text, said) if run.spec.given_text else (_told(run, text, more, seed), None)
    given = [] if cond is None else _heard(cond[0].tolist(), words.end)
    told = x.tolist()
    room = run.spec.dims
    if not told:
        raise DataError("there is no text to explain; give one, or --more N to let the model begin")
    if len(told) > room:
        raise DataError(f"the text has {len(told)} tokens and the model reads {room}; give a shorter one")
    strings = token_strings(words, given)
    strings += _labels(codec, told, strings) if labels else token_strings(codec, told)
    row = torch.full((room,), 0 if labels else codec.end)
    row[: len(told)] = x
    mask = torch.arange(room) < len(told)
    if labels and codec.kind == "tags":
        told = told[: len([t for t in given if t != words.end])]
        strings = strings[: len(given) + len(told)]
    places = torch.arange(len(told))
    cond = torch.full((1,), -1) if cond is None and run.spec.cond is not None else cond
    shape = run.spec.shape
    one = Batch(row.view(1, *shape), cond, mask.view(1, *shape)).to(run.device)
    start = run.spec.cond.dims if run.spec.given_text and run.spec.cond is not None else 0
    columns = torch.cat([torch.arange(len(given)), start + places])
    views, scores, gains = [], [], []
    done = 0
    for by in WAYS:
        parts = []
        for at in places.split(_ROWS):
            many = Batch(*(None if t is None else t.expand(len(at), *t.shape[1:]) for t in (one.x, one.cond, one.mask)))
            found = model.attribute(many, at.to(run.device), by=by, points=points)
            parts.append(found.parts.cpu()[:, columns])
            if by == WAYS[0]:
                scores += found.score.tolist()
                gains += (found.score - found.base).tolist()
            done += len(at)
            if progress is not None:
                progress(Progress("explain", done, len(WAYS) * len(told)))
        views.append(View(_TITLES[by], "gradients", torch.cat(parts)))
    if hasattr(model, "attend"):
        views += _attention(model.attend(one)[0].cpu()[:, :, : len(told)][..., columns])
    return Explanation(run.path.name, run.weights_hash, strings, len(given), scores, gains, views, points)


def _told(run: Run, text: str, more: int, seed: int) -> Tensor:
    """The text's tokens and ``more`` that the model adds, each the likeliest."""
    codec, model = run.codec, run.model
    x: Tensor = codec.encode_prompt(text) if text else torch.zeros(0, dtype=torch.long)  # type: ignore[attr-defined]
    if more:
        rng = Rng.for_rows([seed], run.device)
        prompt = Batch(
            x[None].to(run.device), None if run.spec.cond is None else torch.full((1,), -1, device=run.device)
        )
        keep = torch.ones_like(prompt.x, dtype=torch.bool)
        x = model.edit(prompt, keep, rng, max_new=more, temperature=0.0)[0].cpu()  # type: ignore[operator]
    return x


def _of_pairs(run: Run, text: str, said: str) -> tuple[Tensor, Tensor]:
    """What is said of a given text, as numbers, and the given one as ``cond`` ``(1, S)``."""
    codec: Any = run.codec
    cond = codec.encode_cond([text])
    if said:
        return codec.encode_prompt(said), cond
    made = run.model.sample(1, Rng(0, device=run.device), cond.to(run.device), temperature=0.0)[0].cpu()
    if codec.medium == "labels":
        return made.reshape(-1), cond
    return torch.tensor(_trimmed(made.tolist(), codec.end), dtype=torch.long), cond


def _labels(codec: Any, told: list[int], tokens: list[str]) -> list[str]:
    """What stands for labels on the page: a class by its name, a tag or a span's end with its token."""
    if codec.kind == "class":
        return [codec.names[told[0]]]
    if codec.kind == "span":
        found = [tokens[k].strip() if k < len(tokens) else "" for k in told]
        return [f"from {found[0]!r} ", f"to {found[1]!r}"]
    names = ["–", *(f"{name} {way}" for name in codec.names for way in ("begins", "goes on"))]
    return [f"{token.strip()}: {names[tag]}\n" for token, tag in zip(tokens, told, strict=False)]


def _heard(tokens: list[int], end: int) -> list[int]:
    """A given text with the end that closes it, which a model hears too.

    >>> _heard([3, 9, 4, 9, 9, 9], 9)
    [3, 9, 4, 9]
    """
    last = max((i for i, t in enumerate(tokens) if t != end), default=-1)
    return tokens[: last + 2]


def _trimmed(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


def _attention(maps: Tensor) -> list[View]:
    """Views of ``(layers, heads, explained, tokens)``: the mean, each layer's mean, each head."""
    layers, heads = maps.shape[:2]
    views = [View("Attention, mean of all heads", "attention", maps.mean((0, 1)))]
    for i in range(layers):
        if heads > 1 or maps.numel() > _MOST_MAPS:
            views.append(View(f"Layer {i + 1}, mean of its heads", "attention", maps[i].mean(0), i + 1))
        if maps.numel() <= _MOST_MAPS:
            views += [View(f"Layer {i + 1}, head {k + 1}", "attention", maps[i, k], i + 1, k + 1) for k in range(heads)]
    return views


def surprise(score: float) -> str:
    """A log probability as a share, for people.

    >>> surprise(0.0), surprise(-1.609), surprise(-9.3)
    ('100 %', '20 %', '0.0091 %')
    """
    return f"{100 * math.exp(score):.3g} %" if score > -6 else f"{100 * math.exp(score):.2g} %"
