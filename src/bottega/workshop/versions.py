"""Versions of a run: the weights it began with are kept beside it, and there is a way back to them, and back again."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bottega.core import BottegaError, CheckpointError, OutputError, RecipeError
from bottega.training import checkpoint

if TYPE_CHECKING:
    from bottega.workshop.run import Run

__all__ = ["Version", "begin", "rollback", "versions"]

FOLDER = "versions"
WEIGHTS, EVIDENCE, RECIPE = "model.safetensors", "evidence.json", "recipe.toml"
FILES = (
    EVIDENCE,
    RECIPE,
    "log.jsonl",
    "report.html",
    "card.md",
    "samples",
    "adapters.safetensors",
    "best.safetensors",
    WEIGHTS,
)
"""What belongs to one version; the weights last, so that a folder never has none. All else in a run's folder stays."""


JUDGED = (EVIDENCE, "report.html", "card.md", "samples")  # what judging writes anew


@dataclass(frozen=True)
class Version:
    """One state of a run.

    Attributes:
        number: from 1, in the order in which they came to be.
        path: the folder that holds it; the run's own for a current one that was not put away yet.
        current: whether it is what the run is now.
        header: of its weights file.
    """

    number: int
    path: Path
    current: bool
    header: dict[str, Any]


def begin(run: Path, start: Run) -> None:
    """Keep what a training begins with: the versions of ``start`` and its weights, so that they do not hang on its folder.

    Args:
        run: the folder of the new run.
        start: where it begins.

    Raises:
        OutputError: no permission, no space.
    """
    with _told(run, "train again"):
        _begin(run, start)


def _begin(run: Path, start: Run) -> None:
    chained = start.path.resolve() != run.resolve() and _is_of(start)
    if chained:
        for kept in _kept(start.path):
            _put_away(run, kept)
    header = dict(start.header)
    plain = replace(start.recipe, train=replace(start.recipe.train, lora=0))  # adapters are merged in what was loaded
    header["recipe"] = plain.to_dict()
    tensors = {f"model.{k}": t for k, t in start.model.state_dict().items()}
    if "inner" in header:
        inner: Any = start.codec
        tensors |= {f"inner.{k}": t for k, t in inner.model.state_dict().items()}
    part = run / FOLDER / ".start.part"
    shutil.rmtree(part, ignore_errors=True)
    checkpoint.save(part / WEIGHTS, tensors, header)
    (part / RECIPE).write_text(plain.to_toml(), encoding="utf-8")
    if chained:
        for name in FILES:
            if not (part / name).exists() and not name.endswith(".safetensors"):
                _copy(start.path / name, part / name)
    _put_away(run, part)
    shutil.rmtree(part)


def _is_of(start: Run) -> bool:
    """Whether the folder that a run was loaded from is the run's: a weights file may lie anywhere."""
    try:
        return _header(start.path) == start.header
    except CheckpointError:
        return False


def versions(run: Path) -> list[Version]:
    """The versions of a run, oldest first; the last may be the run itself, not put away yet. Empty where none was kept.

    Raises:
        CheckpointError: there is no run, or a version's file is damaged.
    """
    if not (run / WEIGHTS).exists():
        raise CheckpointError(f"no run at {run}: there is no {WEIGHTS}; give the folder of a run")
    kept = list(_kept(run))
    now = next((v for v in reversed(kept) if _same(v / WEIGHTS, run / WEIGHTS)), None)
    out = [Version(int(v.name), v, v == now, _header(v)) for v in kept]
    if kept and now is None:
        out.append(Version(int(kept[-1].name) + 1, run, True, _header(run)))
    return out


def rollback(run: Path, to: int = 0) -> Version:
    """Make a run what it was before; what it is now is kept as a version too, so that nothing is lost.

    Whenever it is broken off, the run's folder holds whole weights and every version is whole; the same call completes it.

    Args:
        run: its folder.
        to: the number of a version; 0 is the one before the current one.

    Returns:
        The version that the run is now.

    Raises:
        BottegaError: there is nothing to go back to, or no such version; the training is not over.
        OutputError: no permission, no space; the run is as it was, or whole.
    """
    known = versions(run)
    if not known:
        raise BottegaError(
            f"{run} has nothing to go back to: it did not begin with the weights of another (train --base, train.start)"
        )
    current = next(v for v in known if v.current)
    if not current.header.get("stopped", True):
        raise BottegaError(f"{run} is still being trained; let the same command go on to its end first")
    wanted = to or current.number - 1
    target = next((v for v in known if v.number == wanted), None)
    if target is None and not to:
        raise BottegaError(
            f"{run} has nothing to go back to: it is its first version already; --to N goes to a later one"
        )
    if target is None:
        raise RecipeError(f"{run} has no version {to}; it has {', '.join(str(v.number) for v in known)}")
    if target.current:
        raise RecipeError(f"{run} is version {target.number} already")
    with _told(run, "roll back again"):
        if current.path == run:
            _put_away(run, run)
        elif _judged(run, known):
            for name in JUDGED:
                _replace(run / name, current.path / name)
        for name in FILES:
            _replace(target.path / name, run / name)
    return replace(target, path=run, current=True)


@contextmanager
def _told(run: Path, then: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {error.filename or run}: {error.strerror or error}; free some space and {then}"
        ) from error


def _judged(run: Path, known: list[Version]) -> bool:
    """Whether a run has evidence of its own weights, maybe newer than what was put away.

    A rollback that was broken off has left none, or that of another version.
    """
    others = [v.path / EVIDENCE for v in known if not v.current and (v.path / EVIDENCE).exists()]
    return (run / EVIDENCE).exists() and not any(_same(run / EVIDENCE, other) for other in others)


def _kept(run: Path) -> Iterator[Path]:
    found = [p for p in (run / FOLDER).glob("*") if p.name.isdecimal() and (p / WEIGHTS).exists()]
    yield from sorted(found, key=lambda p: int(p.name))


def _header(folder: Path) -> dict[str, Any]:
    return checkpoint.load(folder / WEIGHTS, prefix="no tensor")[1]


def _same(a: Path, b: Path) -> bool:
    return os.path.samefile(a, b) or filecmp.cmp(a, b, shallow=False)


def _put_away(run: Path, source: Path) -> None:
    """Copy the version that stands in ``source`` behind those of ``run``, unless it is there; it is there whole or not at all."""
    kept = list(_kept(run))
    if any(_same(v / WEIGHTS, source / WEIGHTS) for v in kept):
        return
    number = int(kept[-1].name) + 1 if kept else 1
    part = run / FOLDER / f".{number}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in FILES:
        _copy(source / name, part / name)
    part.rename(run / FOLDER / str(number))


def _copy(source: Path, target: Path) -> None:
    """A copy; of weights, which are never written in place, a second name where the disk can do that."""
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.suffix == ".safetensors" and source.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
    elif source.exists():
        shutil.copy2(source, target)


def _replace(source: Path, target: Path) -> None:
    """What stands at ``target`` becomes what stands at ``source``, or goes where nothing stands there."""
    part = target.with_name(f".{target.name}.part")
    for old in (part, *((target,) if target.is_dir() or not source.exists() else ())):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    if source.exists():
        _copy(source, part)
        part.replace(target)
