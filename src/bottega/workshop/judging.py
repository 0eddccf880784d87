"""Judging a run: gather what judges may look at, run those that apply, write evidence, report and card."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bottega.core import Batch, Codec, DataError, Item, RecipeError, Rng, lookup, names
from bottega.core.files import check_place, write_atomically
from bottega.data import builtin, worlds
from bottega.data.dataset import Dataset, fingerprint
from bottega.judge import Case, run_all
from bottega.nets.inception import Inception, load_inception
from bottega.workshop import evidence as ev
from bottega.workshop.build import find_data
from bottega.workshop.run import CHUNK, EVIDENCE, Progress, Run, Tell, blank_evidence
from bottega.workshop.training import divide

CACHE = ".bottega"  # beside the runs, so that runs on the same data are judged by one network, trained once
MOST_TRAIN = 20_000  # training rows that judges look at; more hardly change a distance, and copies of others go unseen
MOST_LINE = 50_000  # tokens of held-out text that a sliding window passes over
MOST_WINDOW = 2048  # tokens of a window where nobody says how many: a model that reads 100,000 would take for ever


def judge_run(
    run: Run,
    data: str | Path | None,
    *,
    only: Sequence[str] | None,
    n: int | None,
    seed: int | None,
    features: str | Path | None,
    out: str | Path | None,
    window: int | None,
    stride: int | None,
    progress: Tell | None,
) -> ev.Evidence:
    """Judge ``run``; see ``Run.judge``, where the defaults are."""
    tell = progress or (lambda _: None)
    slides, where = _slides(run, window, stride), _place(run, out)
    plan = run.recipe
    n = plan.judge.n if n is None else n
    seed = plan.judge.seed if seed is None else seed
    replace(plan.judge, n=n, seed=seed)  # refuses what a recipe may not say either
    only = only if only is not None else [name.strip() for name in plan.judge.only.split(",") if name.strip()] or None
    features = plan.judge.features if features is None else features
    inception = _inception(run, features) if features else None
    for judge in only or ():
        lookup("judge", judge)  # a slip is told before the data is read
    if not run.trained_here and data is None:
        raise DataError(
            f"{run.path} was not trained here, so no data is known that it never saw; name a text of yours with --data FILE"
        )
    if not run.trained_here and (only is None or list(only) == ["likelihood"]):
        return _judge_unseen(run, str(data), seed, slides, where, tell)
    own = run.header["data_argument"]
    if data is None and own and not _is_there(own):
        raise DataError(
            f"{run.path} was trained on --data {own}, which is not there as seen from here; name it with --data, or go back "
            "to the folder you trained from"
        )
    began = time.perf_counter()
    tell(Progress("judge", note="reading the data"))
    dataset = find_data(plan, data if data is not None else own or None, run.codec)
    if data is None and fingerprint(dataset.items) != run.header["fingerprint"]:
        raise DataError(
            f"the data {dataset.name!r} changed since the run was trained; judge against it with --data, or train again"
        )
    case, held_items = case_of(run, dataset, n, seed, tell)
    case.facts |= {"features": inception, **slides}
    evidence = run.evidence if run.trained_here else blank_evidence(run)
    other = "judged against other data than it was trained on"
    evidence.notes = [note for note in evidence.notes if not note.startswith(other)]
    if fingerprint(dataset.items) != run.header["fingerprint"]:
        evidence.notes.append(
            f"{other}, {dataset.name}: 'training examples' in the measures are of these data, so copies of what the run "
            "was trained on were not looked for"
        )
    for judge in only or names("judge"):
        tell(Progress("judge", note=judge))
        found, skipped = run_all(case, [judge])
        evidence.skipped.pop(judge, None)
        evidence.skipped |= skipped
        for measure in found:
            evidence.add(judge, measure)
    evidence.memorisation = {m.name: m.value for m in evidence.measures if m.judge == "memorisation"}
    evidence.cost.judge_seconds = round(time.perf_counter() - began, 1)
    if where is not None:
        _pictures(run, held_items, where, tell)
        _write(where, evidence)
    return evidence


def _judge_unseen(
    run: Run, data: str, seed: int, slides: dict[str, int], where: Path | None, tell: Tell
) -> ev.Evidence:
    """How likely a model of other people finds a text of one's own: all of it, since none was kept back or trained on."""
    began = time.perf_counter()
    tell(Progress("judge", note="reading the data"))
    dataset, codec = find_data(run.recipe, data, run.codec), run.codec
    if not len(dataset.items):
        raise DataError(f"{data} holds no text; give a file with some")
    whole = codec.encode(dataset.items)
    assert whole.mask is not None
    line = whole.x[whole.mask][:-1]  # without the end that the codec sets behind the last text: nobody wrote it
    size = sum(len(str(item.value).encode("utf-8")) for item in dataset.items)
    case = Case(
        medium=codec.medium, spec=run.spec, train=whole.take(slice(0, 0)), held=whole, samples=whole.x[:0], model=run.model,
        decode=codec.decode, seed=seed, device=run.device,
        facts={"line": line, "whole": True, "bytes_per_token": size / len(line), "window": min(MOST_WINDOW, run.spec.dims)}
        | slides,
    )  # fmt: skip
    tell(Progress("judge", note=f"reading {len(line)} tokens"))
    evidence = blank_evidence(run)
    found, evidence.skipped = run_all(case, ["likelihood"])
    for measure in found:
        evidence.add("likelihood", measure)
    evidence.notes.append(
        f"judged by the whole of {dataset.name} ({dataset.source}); whether it was trained on that, nobody here knows"
    )
    evidence.cost.judge_seconds = round(time.perf_counter() - began, 1)
    if where is not None:
        _write(where, evidence)
    return evidence


def _slides(run: Run, window: int | None, stride: int | None) -> dict[str, int]:
    """How the window of sliding measures is asked for, checked."""
    if window is None and stride is None:
        return {}
    if not run.spec.is_text or not run.spec.is_sequence:
        raise RecipeError(
            f"window and stride are for texts, and {run.recipe.name} models {run.codec.medium}; leave them out"
        )
    most = run.spec.dims
    if window is not None and not 2 <= window <= most:
        raise RecipeError(f"window is {window}, and the model reads {most} tokens; give 2 to {most}")
    most = window or (most if run.trained_here else min(MOST_WINDOW, most))
    if stride is not None and not 1 <= stride <= most:
        raise RecipeError(f"stride is {stride}, and a window has {most} tokens; give 1 to {most}")
    return {name: value for name, value in (("window", window), ("stride", stride)) if value is not None}


def _place(run: Run, out: str | Path | None) -> Path | None:
    """Where evidence is written: the run's folder, but never that of other people's models unless it is named.

    A folder that is named is made when there is evidence to write, and looked at here.
    """
    if out is None:
        return run.path if run.trained_here else None
    check_place(Path(out), folder=True)
    return Path(out)


def _write(where: Path, evidence: ev.Evidence) -> None:
    from bottega.workshop.card import write_card
    from bottega.workshop.report import write_report

    evidence.write(where / EVIDENCE)
    write_card(where, evidence)
    write_report(where, evidence)


def case_of(
    run: Run, dataset: Dataset, n: int, seed: int, tell: Callable[[Progress], None] = lambda _: None
) -> tuple[Case, Sequence[Item]]:
    """What judges may look at: the data's parts and ``n`` samples of the run; and the held-out pieces themselves."""
    parts = divide(run.recipe, dataset)
    train = rows_of(run.codec, parts.train, MOST_TRAIN, seed)
    held = rows_of(run.codec, parts.held, max(n, 2), seed)
    tell(Progress("judge", note=f"making {n} samples"))
    # what is made of a picture or a text is near to its target: judged on those it trained on, all would look like copies
    cond = mask = None
    if getattr(run.codec, "answers_only", False):
        samples, mask = make_answers(run, parts.held, n, seed, tell)
    else:
        like = held if run.spec.given_picture or run.spec.given_sound or run.spec.given_text else train
        samples, cond = make_samples(run, like, n, seed, tell)
    case = Case(
        medium=run.codec.medium,
        spec=run.spec,
        train=train.to(run.device),
        held=held.to(run.device),
        samples=samples,
        sample_cond=cond,
        sample_mask=mask,
        model=run.model,
        decode=run.codec.decode,
        seed=seed,
        device=run.device,
        facts=_facts(run, dataset.truth, parts.held),
    )
    return case, parts.held


def _is_there(data: str) -> bool:
    return data.startswith("hub:") or data in {*builtin.names(), *worlds.names()} or Path(data).exists()


def rows_of(codec: Codec, items: Sequence[Item], most: int, seed: int) -> Batch:
    """Up to ``most`` encoded rows of ``items``, each part of the data at most once, in a seeded order."""
    if not items:
        raise DataError("no pieces were kept back to judge against; set data.held above 0, or give more data")
    source = codec.source(items, train=False)
    return source.take(Rng(seed).permutation(len(source))[:most])


def make_samples(
    run: Run, like: Batch, n: int, seed: int, tell: Callable[[Progress], None]
) -> tuple[Tensor, Tensor | None]:
    """``n`` samples under the conditions of randomly drawn rows of ``like``."""
    cond = None
    if run.spec.cond is not None and like.cond is not None:
        cond = like.cond[Rng(seed).integers(len(like), n)].to(run.device)
    rng = Rng(seed, device=run.device).fork("judged samples")
    run.model.eval()
    parts = []
    for first in range(0, n, CHUNK):
        many = min(CHUNK, n - first)
        parts.append(run.model.sample(many, rng, None if cond is None else cond[first : first + many]))
        tell(Progress("judge", note=f"made {first + many} of {n} samples"))
    return torch.cat(parts), cond


def make_answers(
    run: Run, held: Sequence[Item], n: int, seed: int, tell: Callable[[Progress], None]
) -> tuple[Tensor, Tensor]:
    """``n`` answers to held-out conversations, each behind what was asked in a row ``(n, *spec.shape)``; and which tokens they are."""
    which = Rng(seed).integers(len(held), n).tolist()
    rng = Rng(seed, device=run.device).fork("judged samples")
    codec: Any = run.codec
    x = torch.full((n, *run.spec.shape), codec.end)
    mask = torch.zeros_like(x, dtype=torch.bool)
    for first in range(0, n, CHUNK):
        some = [held[i] for i in which[first : first + CHUNK]]
        for i, (begun, real, made) in enumerate(zip(*run.reply(some, rng), strict=True), first):
            answer = made[: int((made != codec.end).sum()) + 1]  # its end included
            row = torch.cat([begun[real], answer])[-x.shape[1] :]
            x[i, : len(row)] = row
            mask[i, len(row) - len(answer) : len(row)] = True
        tell(Progress("judge", note=f"made {first + len(some)} of {n} answers"))
    return x.to(run.device), mask.to(run.device)


def _facts(run: Run, truth: dict[str, Any], held: Sequence[Item]) -> dict[str, Any]:
    codec: Any = getattr(run.codec, "inner", run.codec)
    facts: dict[str, Any] = {"truth": truth, "iwae": run.recipe.judge.iwae}
    if run.trained_here:  # nothing is left beside the models of other people, as in the cache of the hub
        facts["cache_dir"] = run.path.parent / CACHE
    facts["fingerprint"] = run.header["fingerprint"]
    facts["coded"] = hasattr(run.codec, "inner")
    target = run.recipe.judge.target or getattr(codec, "target", "")
    if target:
        facts["target"] = target
    if getattr(codec, "classes", None):
        facts["classes"] = list(codec.classes)
    if hasattr(codec, "layout"):
        facts["speech"] = codec.layout()
    if codec.medium == "audio" and not facts["coded"] and not run.spec.is_image:
        facts["heard"] = codec.heard
    if hasattr(codec, "bytes_per_token"):
        facts["bytes_per_token"] = codec.bytes_per_token(held)
    if getattr(codec, "unit", "") == "document":
        windows = codec.encode(held)
        facts["line"] = windows.x[windows.mask][:MOST_LINE]
    return facts


def _inception(run: Run, path: str | Path) -> Inception:
    """The feature network of a file, for a run that makes pictures."""
    spec = run.spec
    if run.codec.medium != "image" or hasattr(run.codec, "inner") or not spec.is_image or spec.shape[0] not in {1, 3}:
        raise RecipeError(
            f"features {str(path)!r} are for pictures of 1 or 3 channels, and {run.recipe.name} models {run.codec.medium} "
            f"examples of shape {spec.shape} by the codec {run.recipe.codec['name']!r}; leave the features out"
        )
    return load_inception(path).to(run.device)


def _pictures(run: Run, held: Sequence[Item], where: Path, tell: Callable[[Progress], None]) -> None:
    """The sheet of samples and, to look at beside it, as many real pieces that the model never saw."""
    tell(Progress("judge", note="drawing the sheets"))
    n = 200 if hasattr(run.codec, "write_all") else 36
    real = [held[i] for i in Rng(0).permutation(len(held))[:n].tolist()]
    given = run.spec.given_picture or run.spec.given_sound or hasattr(run.codec, "layout")
    if getattr(run.codec, "answers_only", False):
        made = run.sample(len(real), cond=real)
    else:
        made = run.sample(16, cond=real[:16]) if hasattr(run.codec, "layout") else run.sample(16 if given else n)
    made.show(where / "samples" / "sheet")
    if given:
        real = real[:12]
        made = run.sample(len(real), cond=real)
        codec: Any = getattr(run.codec, "inner", run.codec)
        codec.show_beside(made.items, real, where / "samples" / "beside")
    run.codec.show(real, where / "samples" / "real")
    for name, items in (("sheet", made.items), ("real", real)):  # words are shown as words, not as a picture of them
        words = [item.value[:800].strip() for item in items if isinstance(item.value, str)]
        if words:
            write_atomically(where / "samples" / f"{name}.txt", "\n\n* * *\n\n".join(words) + "\n")
