"""A run: train from a recipe, resume, sample, edit, score, judge. This is the Python surface.

>>> import bottega
>>> run = bottega.train("digits-diffusion", out="runs/digits")      # doctest: +SKIP
>>> run.sample(4, seeds=range(4)).save("pieces/")                   # doctest: +SKIP
>>> bottega.load("runs/digits").judge()                             # doctest: +SKIP
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

import bottega
from bottega.core import (
    Batch,
    BottegaError,
    CheckpointError,
    Classifies,
    Codec,
    DataError,
    Edits,
    Encodes,
    Family,
    Item,
    RecipeError,
    Represents,
    Rng,
    Scores,
    Source,
    Spec,
    Translates,
    has,
    lookup,
    names,
    nearest,
)
from bottega.judge._features import frozen
from bottega.nets.inception import load_inception
from bottega.samplers.texts import Stops, cut, stop_strings
from bottega.shrink.quantise import lighten
from bottega.training import checkpoint, cluster, lora
from bottega.training.precision import pick_device
from bottega.trust.mark import mark
from bottega.workshop import evidence as ev
from bottega.workshop import foreign, tuning
from bottega.workshop.build import make_codec, make_family
from bottega.workshop.pieces import Pieces, speaks
from bottega.workshop.recipe import Recipe, check_arguments, guess, load_recipe

if TYPE_CHECKING:
    from bottega.workshop.compare import Comparison

__all__ = ["Progress", "Run", "compare", "knobs_of", "load", "train"]

WEIGHTS, EVIDENCE, LOG, RECIPE = "model.safetensors", "evidence.json", "log.jsonl", "recipe.toml"
ADAPTERS = "adapters.safetensors"
CHUNK = 250  # rows sampled or scored at once
WATTS_PER_CORE = 15.0  # what a busy server core draws, about; stated beside every estimate


@dataclass(frozen=True)
class Progress:
    """Where long work stands; what progress bars are drawn from.

    Attributes:
        phase: ``"data"``, ``"train"``, ``"sample"`` or ``"judge"``.
        step, steps: done, and in all.
        losses: the latest mean of each term, ``player.term -> value``.
        seconds: spent in this phase.
        rate: steps a second, lately.
        left_seconds: expected.
        note: one line, when something happened.
    """

    phase: str
    step: int = 0
    steps: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    rate: float = 0.0
    left_seconds: float = math.inf
    note: str = ""


Tell = Callable[[Progress], None]


class Run:
    """A trained (or half-trained) model with its codec, recipe and evidence.

    Attributes:
        path: the run's folder, or the folder of a weights file that stands alone.
        recipe: what it was made from.
        codec, model, spec: ready to use; the model holds the averaged weights where there are any.
        header: the JSON header of the weights file.
        weights_hash: SHA-256 of the weights that sampling uses.
    """

    def __init__(self, path: Path, recipe: Recipe, codec: Codec, model: Family, header: dict[str, Any]) -> None:
        self.path, self.recipe, self.codec, self.model, self.header = path, recipe, codec, model, header
        self.spec = model.spec
        self.weights_hash = checkpoint.weights_hash(dict(model.state_dict()))

    @property
    def step(self) -> int:
        """Steps it was trained for."""
        return int(self.header["step"])

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def evidence(self) -> ev.Evidence:
        """What was measured; an empty form when nothing was."""
        path = self.path / EVIDENCE
        return ev.Evidence.read(path) if path.exists() else blank_evidence(self)

    @property
    def trained_here(self) -> bool:
        """Whether it is a run of ours, whose data is known; False for models of other people."""
        return bool(self.header["fingerprint"])

    def lighter(self, kind: Literal["fp32", "bf16", "fp16", "int8"], rows: int = 1) -> Run:
        """The same run with its weights packed for making pieces on this processor, ``rows`` at a time.

        ``shrink.quantise`` says what each kind is; pieces are marked with the hash of the whole weights.

        Raises:
            BottegaError: this processor has no such kernels, or the model is not on it.
        """
        made = copy.copy(self)
        made.model = lighten(self.model, kind, rows)
        return made

    def mark(self, seed: int) -> dict[str, str]:
        """What is written into every piece: machine-made, by which weights, from which seed."""
        return mark(self.weights_hash, seed, recipe=self.recipe.name)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, family={self.recipe.family['name']!r}, step={self.step})"

    def sample(
        self,
        n: int = 16,
        *,
        seeds: Sequence[int] | None = None,
        seed: int = 0,
        cond: Any = None,
        progress: Tell | None = None,
        **knobs: Any,
    ) -> Pieces:
        """Make ``n`` pieces; each belongs to its seed, however many are made at once.

        Args:
            n: how many.
            seeds: one for each piece; otherwise ``seed, seed + 1, ...``.
            seed: the first.
            cond: what to ask for (a class, a caption, a picture file), one for all or a list; None cycles through what is
                known.
            progress: told after every chunk.
            **knobs: of the family's ``sample`` (temperature, guidance, steps, ...).

        Raises:
            RecipeError: an unknown knob or an unknown condition.
        """
        seeds = list(range(seed, seed + n)) if seeds is None else [int(s) for s in seeds]
        if not seeds:
            raise RecipeError("asked for no pieces; n must be at least 1")
        stops, knobs = self._stops(knobs)
        check_knobs(self.model.sample, knobs, skip=3)
        self._check_guidance(knobs)
        if getattr(self.codec, "answers_only", False):
            return self._answers(cond, seeds, stops, knobs, progress)
        known = self._conditions(cond, seeds)
        codes = None if known is None else self.codec.encode_cond(known).to(self.device)
        self.model.eval()
        parts = []
        began = time.perf_counter()
        for first in range(0, len(seeds), CHUNK):
            some = seeds[first : first + CHUNK]
            given = None if codes is None else codes[first : first + CHUNK]
            rng = Rng.for_rows(some, self.device)
            if stops and self._guided:
                parts.append(self._joined(len(some), rng, given, stops, knobs))
            else:
                parts.append(self.model.sample(len(some), rng, given, **knobs).cpu())
            if progress is not None:
                progress(_at("sample", first + len(some), len(seeds), began))
        x = torch.cat(parts)
        items = self.codec.decode(x, None if codes is None else codes.cpu())
        return Pieces(self, [replace(i, value=cut(i.value, stops)) for i in items] if stops else items, seeds, x)

    def _answers(
        self, cond: Any, seeds: Sequence[int], stops: list[str], knobs: dict[str, Any], progress: Tell | None
    ) -> Pieces:
        """Answers to what a user says: ``cond``, a text or a list of texts or conversations, else questions of the training."""
        known: list[Any] = self.header["conditions"]
        if isinstance(cond, list | tuple):
            if len(cond) != len(seeds):
                raise RecipeError(f"{len(cond)} conditions for {len(seeds)} pieces; give one, or one for each")
            known = list(cond)
        elif cond is not None:
            known = [str(cond)]
        asked = [known[s % len(known)] for s in (range(len(seeds)) if isinstance(cond, list | tuple) else seeds)]
        began, parts = time.perf_counter(), []
        for first in range(0, len(seeds), CHUNK):
            rng = Rng.for_rows(seeds[first : first + CHUNK], self.device)
            parts.append(self.reply(asked[first : first + CHUNK], rng, **knobs)[2])
            if progress is not None:
                progress(_at("sample", first + len(parts[-1]), len(seeds), began))
        x = torch.cat(parts)
        codec: Any = self.codec
        texts = [cut(text, stops).strip() for text in codec.strings(x.tolist())]
        items = [Item(codec.answered(one, text)) for one, text in zip(asked, texts, strict=True)]
        return Pieces(self, items, list(seeds), x)

    def reply(
        self, asked: Sequence[str | Item], rng: Rng, *, max_new: int | None = None, **knobs: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What a run of conversations answers: the prompts ``(n, t)``, which of their tokens are real, the answers ``(n, max_new)``.

        Args:
            asked: what a user says, or conversations whose last answer is written anew.
            rng: one stream, or one for each.
            max_new: tokens of an answer at most; half a row by default.
            **knobs: of the family's ``edit``.
        """
        codec: Any = self.codec
        self.model.eval()
        begun, real = codec.prompts(asked)
        knobs = {k: v for k, v in knobs.items() if k != "stop"}
        return begun, real, codec.reply(self.model, begun, real, rng, max_new=max_new or codec.length // 2, **knobs)

    @property
    def _guided(self) -> bool:
        """Whether the family's ``stream`` can be watched over."""
        stream = getattr(self.model, "stream", None)
        return stream is not None and "guides" in inspect.signature(stream).parameters

    def _stops(self, knobs: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """The strings that end texts, and the knobs for the family, which knows of tokens only."""
        codec: Any = self.codec
        stop = knobs.get("stop")
        if stop is None or not hasattr(codec, "spelling") or "stop" not in knobs_of(self.model.sample, 3):
            return [], knobs
        if isinstance(stop, int) and not isinstance(stop, bool):
            if not 0 <= stop <= codec.end:
                raise RecipeError(f"stop is {stop}; the tokens of {self.recipe.name} are 0 to {codec.end}")
            if stop == codec.end:
                return [], knobs
            stop = codec.spelling[stop].decode("utf-8", "replace")
        return stop_strings(stop), {**knobs, "stop": codec.end}

    def _joined(
        self, n: int, rng: Rng, cond: Tensor | None, stops: list[str], knobs: dict[str, Any], **given: Any
    ) -> Tensor:
        model: Any = self.model
        codec: Any = self.codec
        guides = [Stops(stops, codec.spelling)]
        return torch.cat(list(model.stream(n, rng, cond, guides=guides, **given, **knobs)), 1).cpu()

    def _check_guidance(self, knobs: Mapping[str, Any]) -> None:
        if self.spec.cond is None and knobs.get("guidance", 1) != 1:
            raise RecipeError(
                f"guidance is {knobs['guidance']}, but {self.recipe.name} was trained without conditions; leave it out"
            )

    def _conditions(self, cond: Any, seeds: Sequence[int]) -> list[Any] | None:
        if self.spec.cond is None:
            if cond is not None:
                first = next(iter(cond), "") if isinstance(cond, list | tuple) else cond
                raise RecipeError(
                    f"{self.recipe.name} was trained without conditions, so --cond {first!r} means nothing to it; leave it out"
                )
            return None
        if isinstance(cond, list | tuple):
            if len(cond) != len(seeds):
                raise RecipeError(f"{len(cond)} conditions for {len(seeds)} pieces; give one, or one for each")
            return list(cond)
        if cond is not None:
            return [cond] * len(seeds)
        known = self.header["conditions"]  # a seed names its condition too
        if not known:
            raise RecipeError(
                f"{self.recipe.name} makes something of a text, and none is given; say with --cond TEXT of which"
            )
        return [known[s % len(known)] for s in seeds]

    def edit(
        self,
        source: Path | str | Item,
        *,
        mask: Path | None = None,
        n: int = 1,
        seeds: Sequence[int] | None = None,
        seed: int = 0,
        cond: Any = None,
        **knobs: Any,
    ) -> Pieces:
        """Make the missing part of a piece: complete, inpaint or continue it, ``n`` times.

        Args:
            source: a file, or a piece; for text, the beginning; for a table, one row whose empty cells are made.
            mask: a picture whose white parts are made anew; without one, the codec's own idea (the lower half of a
                picture, what follows a text, the empty cells of a row), or all of it under a knob that reworks
                whole pieces (``strength``, ``restore``).
            n: how many versions.
            seeds: one for each; otherwise ``seed, seed + 1, ...``.
            seed: the first.
            cond: what to ask for, as in ``sample``.
            **knobs: of the family's ``edit``.

        Raises:
            BottegaError: the family cannot edit.
        """
        model: Any = self.model
        if not hasattr(self.codec, "start_edit"):
            raise BottegaError(
                f"{self.codec.medium} of the codec {self.recipe.codec['name']} cannot be edited; only pictures, texts and tables can"
            )
        if not has(model, Edits):
            raise BottegaError(f"a {self.recipe.family['name']} cannot edit; use {_with('edit', self.spec)}")
        seeds = list(range(seed, seed + n)) if seeds is None else [int(s) for s in seeds]
        stops, knobs = self._stops(knobs)
        check_knobs(model.edit, knobs, skip=3)
        self._check_guidance(knobs)
        batch, keep = self.codec.start_edit(source, mask)
        if (
            self.codec.medium == "text"
            and batch.x.shape[1] > self.spec.shape[0]
            and "overflow" not in knobs_of(model.edit, 3)
        ):
            raise RecipeError(
                f"the beginning has {int(keep.sum())} tokens, but a row of {self.recipe.name} has {self.spec.shape[0]}; give a "
                "shorter one"
            )
        if self.spec.given_picture and cond is None and batch.cond is None:
            raise RecipeError(f"{self.recipe.name} makes a picture of a picture; say with --cond FILE of which")
        if self.spec.given_text and cond is None and batch.cond is None:
            raise RecipeError(f"{self.recipe.name} makes a text of a text; say with --cond TEXT of which")
        if mask is None and knobs.keys() & model.reworks:
            keep = torch.zeros_like(keep)
        known = None if self.spec.cond is None else self._conditions(cond, seeds)
        codes = None if known is None or cond is None and batch.cond is not None else self.codec.encode_cond(known)
        if codes is None and batch.cond is not None:
            codes = batch.cond.expand(len(seeds), *batch.cond.shape[1:])
        many = Batch(
            batch.x.expand(len(seeds), *batch.x.shape[1:]).to(self.device),
            None if codes is None else codes.to(self.device),
        )
        keep = keep.expand(len(seeds), *keep.shape[1:]).to(self.device)
        self.model.eval()
        rng = Rng.for_rows(seeds, self.device)
        if stops and self._guided:
            x = self._joined(len(seeds), rng, many.cond, stops, knobs, batch=many, keep=keep)
        else:
            x = model.edit(many, keep, rng, **knobs).cpu()
        items = self.codec.decode(x, None if codes is None else codes.cpu())
        if stops:
            begun = self.codec.decode(batch.x[:1, : int(keep[0].sum())])[0].value
            items = [replace(i, value=begun + cut(i.value.removeprefix(begun), stops)) for i in items]
        restore, given = getattr(self.codec, "restore", None), getattr(self.codec, "given", None)
        keep_bytes = getattr(self.codec, "keep_bytes", None)
        if restore is not None:
            items = restore(items, source)
        if keep_bytes is not None:
            items = keep_bytes(items, source, keep[0].cpu())
        drafted = torch.full_like(keep[:1].cpu(), bool(knobs.keys() & model.reworks))  # then all of it is used
        shown = [] if given is None else [given(batch, keep[:1].cpu() | drafted)]
        return Pieces(self, items, seeds, x, shown)

    def translate(
        self, source: Path | str | Item, to: Any, *, n: int = 1, seeds: Sequence[int] | None = None, seed: int = 0,
        **knobs: Any,
    ) -> Pieces:  # fmt: skip
        """Say a piece in another class, ``n`` times.

        Args:
            source: a file, or a piece.
            to: the class.
            n: how many versions; they differ where the family is not deterministic.
            seeds: one for each; otherwise ``seed, seed + 1, ...``.
            seed: the first.
            **knobs: of the family's ``translate``.

        Raises:
            BottegaError: the family cannot translate.
            RecipeError: no such class, or no such knob.
        """
        model: Any = self.model
        if not has(model, Translates):
            raise BottegaError(
                f"a {self.recipe.family['name']} cannot say a piece in another class; use {_with('translate', self.spec)}"
            )
        seeds = list(range(seed, seed + n)) if seeds is None else [int(s) for s in seeds]
        check_knobs(model.translate, knobs, skip=3)
        item = source if isinstance(source, Item) else self.codec.read(source)[0]
        batch = self.codec.encode([Item(item.value, None, item.name)])
        into = self.codec.encode_cond([to]).expand(len(seeds)).to(self.device)
        self.model.eval()
        many = Batch(batch.x.expand(len(seeds), *batch.x.shape[1:]).to(self.device))
        x = model.translate(many, into, Rng.for_rows(seeds, self.device), **knobs).cpu()
        return Pieces(self, self.codec.decode(x, into.cpu()), seeds, x)

    def score(self, sources: Sequence[Path | str], *, seed: int = 0) -> list[dict[str, Any]]:
        """How likely files are under the model: nats, and bits per dimension or per token where that means something.

        Raises:
            BottegaError: the family gives no likelihood.
        """
        if not has(self.model, Scores):
            raise BottegaError(
                f"a {self.recipe.family['name']} gives no likelihood; use {_with('log_prob', self.spec)}"
            )
        out = []
        self.model.eval()
        for source in sources:
            items = self.codec.read(source)
            batch = _all_rows(self.codec.source(items, train=False)).to(self.device)
            nll = -self._log_prob(batch, seed)
            mask = batch.mask
            dims = float(mask.sum()) if mask is not None else float(batch.x[0].numel() * len(batch))
            row: dict[str, Any] = {"name": str(source), "pieces": len(items), "nll_nats": nll.sum().item()}
            row["nats_per_dim"] = row["nll_nats"] / dims
            if self.spec.is_tokens:
                row["bits_per_dim"] = row["nats_per_dim"] / math.log(2)
            row["bound"] = self.model.bound
            out.append(row)
        return out

    def classify(self, sources: Sequence[Path | str]) -> list[dict[str, Any]]:
        """Which class each piece of files is of: ``name``, ``class``, ``probability``, and ``said`` where the data says one.

        Raises:
            BottegaError: the family tells no classes apart.
        """
        model: Any = self.model
        if not has(model, Classifies):
            raise BottegaError(
                f"a {self.recipe.family['name']} tells no classes apart; use {_with('classify', self.spec)}"
            )
        self.model.eval()
        out = []
        for source in sources:
            items = self.codec.read(source)
            if self.spec.given_text:  # the class is the piece itself, and what is known of it the text
                out += self._read_classes(items, source)
                continue
            batch = Batch(self.codec.encode([replace(item, cond=None) for item in items]).x)
            parts = batch.to(self.device).split(math.ceil(len(batch) / CHUNK))
            found = torch.cat([model.classify(part).cpu() for part in parts]).exp().max(1)
            named = self.codec.decode(batch.x, found.indices)
            for item, name, share in zip(items, named, found.values.tolist(), strict=True):
                row = {"name": item.name or str(source), "class": name.cond, "probability": share}
                out.append(row if item.cond is None else row | {"said": str(item.cond)})
        return out

    def _read_classes(self, items: Sequence[Item], source: Path | str) -> list[dict[str, Any]]:
        """The rows of ``classify`` for labels of given texts."""
        model: Any = self.model
        given = self.codec.encode_cond([item.cond for item in items])
        blank = torch.zeros(len(items), dtype=torch.long)
        parts = Batch(blank, given).to(self.device).split(math.ceil(len(items) / CHUNK))
        with torch.no_grad():
            found = torch.cat([model.classify(part).cpu() for part in parts]).exp().max(1)
        named = self.codec.decode(found.indices, given)
        return [
            {"name": item.name or str(source), "class": made.value, "probability": share, "said": str(item.value)}
            for item, made, share in zip(items, named, found.values.tolist(), strict=True)
        ]

    def _log_prob(self, batch: Batch, seed: int) -> Tensor:
        rng = Rng(seed, device=self.device)
        with torch.no_grad():
            parts = [self.model.log_prob(b, rng) for b in batch.split(max(1, math.ceil(len(batch) / CHUNK)))]  # type: ignore[operator]
        return torch.cat(parts).cpu()

    def features(self, pieces: Sequence[Any]) -> Tensor:
        """What the model, as it is, makes of pieces: ``(N, D)`` float32, to learn other things from (a linear probe, say).

        Of a text longer than a row the first row counts. To models of labels, or of texts made of a text, ``pieces`` are the
        texts that are given.

        Raises:
            BottegaError: the family turns no example into numbers.
        """
        model: Any = self.model
        if not has(model, Represents) and (not has(model, Encodes) or model.latent.is_tokens):
            raise BottegaError(
                f"a {self.recipe.family['name']} has no features; use {_with('represent', self.spec)}, or a family with codes"
            )
        self.model.eval()
        out = []
        for first in range(0, len(pieces), CHUNK):
            some = pieces[first : first + CHUNK]
            if self.spec.given_text:
                batch = Batch(torch.zeros(len(some), *self.spec.shape, dtype=torch.long), self.codec.encode_cond(some))
            else:
                rows = [self.codec.encode([piece if isinstance(piece, Item) else Item(piece)]) for piece in some]
                if empty := [i for i, row in enumerate(rows) if not len(row)]:
                    raise DataError(
                        f"piece {first + empty[0] + 1} is empty, so there is nothing to make features of; leave it out"
                    )
                whole = Batch.cat([row.take(slice(0, 1)) for row in rows])
                batch = Batch(whole.x, None, whole.mask)
            with torch.no_grad():
                out.append(frozen(self.model, batch.to(self.device)).float().cpu())
        return torch.cat(out)

    def judge(
        self,
        data: str | Path | None = None,
        *,
        only: Sequence[str] | None = None,
        n: int | None = None,
        seed: int | None = None,
        features: str | Path | None = None,
        out: str | Path | None = None,
        window: int | None = None,
        stride: int | None = None,
        progress: Tell | None = None,
    ) -> ev.Evidence:
        """Measure the run against held-out real data and write ``evidence.json``, ``report.html`` and ``card.md``.

        A language model of other people (a Hugging Face directory) was not trained here, so nothing is held back of ``data``:
        all of it is scored under a sliding window, by judge ``likelihood`` alone unless ``only`` names others. Into its folder
        nothing is written.

        Args:
            data: other data than it was trained on; its held-out part is judged against.
            only: names of judges; None for all that apply.
            n: samples, the recipe's number by default.
            seed: of the samples, the recipe's by default.
            features: a safetensors file of Inception-v3 weights to judge pictures by; the recipe's by default.
            out: a folder to write into instead of the run's own; needed for models of other people if anything is to be kept.
            window: texts: how many tokens the sliding window holds; by default all that the model was trained to read, and
                of models of other people 2048 at most.
            stride: texts: by how many tokens it moves; by default half of it.
            progress: told before every judge.

        Raises:
            DataError: the data is missing, not readable, or not known (a model of other people without ``data``).
            RecipeError: no such judge, or a number out of range.
        """
        from bottega.workshop.judging import judge_run

        return judge_run(
            self,
            data,
            only=only,
            n=n,
            seed=seed,
            features=features,
            out=out,
            window=window,
            stride=stride,
            progress=progress,
        )

    def show(self, path: str | Path | None = None) -> Path:
        """Write the sheet of 16 samples that the run is known by; returns its path."""
        return self.sample(16).show(path or self.path / "samples" / "sheet")


def knobs_of(method: Callable[..., Any], skip: int) -> dict[str, Any]:
    """The settings that a family's method names, with their defaults; its first ``skip`` parameters are not among them."""
    parameters = list(inspect.signature(method).parameters.values())[skip:]
    return {p.name: None if p.default is p.empty else p.default for p in parameters if p.kind is not p.VAR_KEYWORD}


def check_knobs(method: Callable[..., Any], knobs: Mapping[str, Any], skip: int, without: Collection[str] = ()) -> None:
    """Raise RecipeError for a knob that the family's method does not have, or is ``without``, naming the nearest."""
    known = [name for name in knobs_of(method, skip) if name not in without]
    for knob in knobs:
        if knob not in known:
            raise RecipeError(
                f"no knob called {knob!r} here{nearest(knob, known)}"
                if known
                else f"there are no knobs here, so --set {knob} means nothing; leave it out"
            )
    check_arguments(method, knobs, "knob", skip=skip)


def _all_rows(source: Source) -> Batch:
    return source.take(torch.arange(len(source)))


def load(path: str | Path, device: str = "auto") -> Run:
    """A run by its folder or its weights file, which alone is enough; or a language model by its Hugging Face directory.

    Args:
        path: the folder or file; or ``hub:owner/name``, whose directory is fetched from Hugging Face.
        device: ``"auto"``, or as torch names it.

    Raises:
        BottegaError: a name of the hub that cannot be fetched.
        CheckpointError: missing, truncated, a pickle, or newer than this version; the address of an endpoint.
    """
    name = path.as_posix() if isinstance(path, Path) else path
    if name.startswith(("http:/", "https:/")):  # a Path has made one slash of two
        raise CheckpointError(
            f"{name} is an address; here the model itself is needed, its tokens and probabilities, which no endpoint gives: "
            "name a run or a directory"
        )
    path = foreign.fetch(name) if name.startswith(foreign.HUB) else Path(path)
    if path.is_dir() and foreign.is_directory(path):
        recipe, codec, model, header = foreign.load_directory(path, name.removeprefix(foreign.HUB))
        return Run(path, recipe, codec, model.to(pick_device(device)).eval(), header)
    file = path / WEIGHTS if path.is_dir() else path
    if not file.exists():
        raise CheckpointError(
            f"no run at {path}: there is no {WEIGHTS}; train one with bottega train RECIPE --out {path}"
        )
    tensors, header = checkpoint.load(file)
    return revive(file.parent, tensors, header, pick_device(device))


def revive(folder: Path, tensors: dict[str, Tensor], header: dict[str, Any], device: torch.device) -> Run:
    try:
        recipe = Recipe.from_dict(header["recipe"])
        codec = _revive_codec(recipe, header, tensors)
        model = make_family(recipe.family, Spec.from_dict(header["spec"]), seed=0, teach=False)
    except KeyError as error:
        raise CheckpointError(f"{folder / WEIGHTS} lacks {error} in its header; it is not a whole run") from error
    if recipe.train.lora:
        lora.add(model, recipe.train.lora, recipe.train.lora_alpha, 0)
    checkpoint.load_weights(model, checkpoint.sampling_weights(tensors))
    if recipe.train.lora:
        lora.merge(model)
    return Run(folder, recipe, codec, model.to(device).eval(), header)


def _revive_codec(recipe: Recipe, header: dict[str, Any], tensors: dict[str, Tensor]) -> Codec:
    if "inner" not in header:
        return make_codec(recipe.codec).load_state(header["codec"])
    # A model of another model's codes carries that model with it, so that one file is still enough.
    from bottega.core import lookup

    weights = {k.removeprefix("inner."): v for k, v in tensors.items() if k.startswith("inner.")}
    inner = revive(Path(), {f"model.{k}": v for k, v in weights.items()}, header["inner"], torch.device("cpu"))
    arguments = {k: v for k, v in recipe.codec.items() if k not in {"name", "run"}}
    codec: Codec = lookup("codecs", recipe.codec["name"])(inner.codec, inner.model, **arguments)
    return codec.load_state(header["codec"])


def train(
    recipe: str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    *,
    steps: int | None = None,
    set: Mapping[str, Any] | None = None,
    device: str = "auto",
    seed: int | None = None,
    judge: bool = True,
    base: str | None = None,
    progress: Tell | None = None,
) -> Run:
    """Train a recipe, or go on with the run that stands at ``out``; then judge it.

    Args:
        recipe: a shipped name, a TOML file, or a folder or file of one's own (the recipe is then chosen by what it holds).
        data: what to train on instead of what the recipe names: a path, a built-in name, ``hub:owner/name``.
        out: the run's folder; ``runs/<recipe>`` by default.
        steps: short for ``train.steps``.
        seed: short for ``train.seed``.
        set: overrides, ``{"family.size": 64}``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        judge: measure it afterwards.
        base: a language model to begin with: a run of ours, a Hugging Face directory, or ``hub:owner/name``. Its tokenizer
            and family take the place of the recipe's.
        progress: told a few times a second.

    Raises:
        BottegaError: a mistake in the recipe, the data or the place; nothing is half-written.
        DivergedError: a loss stopped being a number; the last checkpoint is whole.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written; the same call goes on.
    """
    from bottega.workshop.training import Training, optim_table

    overrides = dict(set or {})
    overrides |= {f"train.{k}": v for k, v in {"steps": steps, "seed": seed, "start": base}.items() if v is not None}
    if not str(recipe).endswith(".toml") and Path(recipe).exists() and data is None:
        recipe, data = guess(Path(recipe)), recipe
    plan = load_recipe(recipe, overrides)
    if plan.reward:
        raise RecipeError(
            "the recipe has a table [reward], of a run that learned from feedback; begin one with bottega reward RUN"
        )
    if base is None and plan.codec["name"] == "labelled" and foreign.is_directory(Path(plan.train.start or "-")):
        base = plan.train.start  # nobody writes a table of another's settings
    if base is not None:
        there = Path(base)
        own = not foreign.is_directory(there) and (there.is_file() or (there / WEIGHTS).is_file())
        plan = tuning.onto(plan, load(base, device="cpu"), base) if own else foreign.onto(plan, base)
    if judge and plan.data.get("held", 0.1) == 0:
        raise RecipeError("data.held is 0, so nothing is kept back to judge by; set it above 0, or use --no-judge")
    where = (
        Path(out) if out is not None else Path("runs") / (plan.name if data is None else f"{plan.name}-{_slug(data)}")
    )
    optim_table(plan.optim)  # mistakes are told before the data is read, not after
    check_arguments(
        lookup("families", plan.family["name"]), {k: v for k, v in plan.family.items() if k != "name"}, "family", skip=1
    )
    if judge and plan.judge.features:
        load_inception(plan.judge.features)  # a mistake in it is told before training, not after
    training = Training(plan, data, where, pick_device(device), progress or (lambda _: None))
    finished = training.run()
    cluster_rank = training.rank
    if judge and cluster_rank == 0 and not (finished.path / EVIDENCE).exists():
        finished.judge(progress=progress)
    cluster.leave()
    return finished


def _with(method: str, spec: Spec) -> str:
    """Families that have a method, as a hint says them: those for pieces like these, if any."""
    known = {name: lookup("families", name) for name in names("families")}
    able = {name: family for name, family in known.items() if hasattr(family, method)}
    specs = (spec, replace(spec, cond=Spec((), vocab=2)))  # or the same with classes
    fit = [name for name, family in able.items() if not all(family.accepts(s) for s in specs)]
    *most, last = fit or able
    return f"{', '.join(most)} or {last}" if most else last


def _slug(data: str | Path) -> str:
    name = Path(str(data)).name.split(".")[0] or "data"
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def _at(phase: str, done: int, steps: int, began: float) -> Progress:
    seconds = time.perf_counter() - began
    rate = done / max(seconds, 1e-9)
    return Progress(phase, done, steps, seconds=seconds, rate=rate, left_seconds=(steps - done) / rate)


def blank_evidence(run: Run) -> ev.Evidence:
    """The form with everything that training knows and nothing yet measured."""
    h = run.header
    kwh = h["seconds"] * WATTS_PER_CORE * h["threads"] / 3.6e6
    return ev.Evidence(
        run=ev.RunPart(
            name=run.path.name, created=h["created"], bottega=h["version"], commit=_commit(), weights=run.weights_hash,
            step=run.step, seed=run.recipe.train.seed,
        ),
        machine=ev.machine(h["device"]),
        software=ev.software(),
        data=ev.DataPart(**h["data"], fingerprint=h["fingerprint"]),
        recipe=run.recipe.to_dict(),
        cost=ev.CostPart(
            seconds=h["seconds"], steps=run.step, rows_seen=h["rows_seen"], parameters=h["parameters"],
            threads=h["threads"], precision=h["precision"], kwh=round(kwh, 6),
            kwh_assumes=f"{WATTS_PER_CORE:g} W for each of {h['threads']} busy cores; not measured",
        ),
        losses={k: [h["first_losses"].get(k, v), v] for k, v in h["last_losses"].items()},
        notes=h["notes"],
        tuning=h.get("tuning", {}),
        marks={"pieces": "machine-made, weights hash and seed in each file's own metadata", "watermark": "in the sound" if speaks(run) else None, "manifest": None},
    )  # fmt: skip


def _commit() -> str:
    """The commit of the source tree that runs, when it is one; empty for an installed package."""
    import subprocess

    root = Path(bottega.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def compare(runs: Sequence[str | Path | Run], *, force: bool = False, anew: int = 0) -> Comparison:
    """One table for two or more runs on the same data; raises BottegaError when the data differs, unless ``force``.

    ``anew``: pictures only; so many new samples of each run are judged in one feature network.
    """
    from bottega.workshop.compare import compare as build

    return build([run if isinstance(run, Run) else load(run) for run in runs], force=force, anew=anew)
