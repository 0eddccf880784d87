"""What the verbs share: common options, and one way to speak to people and to programs."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bottega.workshop.run import Progress

__all__ = [
    "Device", "Json", "Out", "Quiet", "Seed", "Sets", "knobs", "numbers", "own_place", "settings", "sound_out", "whole_run",
]  # fmt: skip

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, all else on standard error.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no advice, only the result.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of everything random; the same seed, the same result.")]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
Sets = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be given many times.")
]
_DRAWN = {"", ".png", ".svg", ".pdf", ".jpg", ".jpeg"}


class Out:
    """Speaks to people on standard output, or, with ``--json``, to a program there and to people on standard error.

    Args:
        as_json: print one JSON object on standard output.
        quiet: say nothing but results.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet

    def say(self, text: str = "") -> None:
        """A line for people; part of the result, which with ``--json`` a program gets instead."""
        if not (self.as_json and self.quiet):
            print(text, file=sys.stderr if self.as_json else sys.stdout)

    def note(self, text: str) -> None:
        """A line for people that ``--quiet`` leaves out: what is going on, and what to do next."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values for people, one below the other."""
        self.table((), rows)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[int] = ()) -> None:
        """A table for people; columns whose numbers are in ``numeric`` stand to the right."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=bool(columns))
        for i, name in enumerate(columns or [""] * len(rows[0])):
            table.add_column(Text(name), justify="right" if i in numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        if self.as_json and self.quiet:
            return
        file = sys.stderr if self.as_json else sys.stdout
        console = Console(file=file, highlight=False, width=None if file.isatty() else 110)
        with console.capture() as shown:
            console.print(table)
        file.writelines(f"{line.rstrip()}\n" for line in shown.get().splitlines())

    def result(self, value: Mapping[str, Any]) -> None:
        """The one JSON object, when it was asked for."""
        if self.as_json:
            print(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))

    @contextmanager
    def progress(self) -> Iterator[Callable[[Progress], None] | None]:
        """A watch for long work: a bar on a terminal, a few lines elsewhere, nothing (None) under ``--quiet``."""
        if self.quiet:
            yield None
        elif sys.stderr.isatty():
            with _bar() as watch:
                yield watch
        else:
            yield _lines()


def _plain(value: Any) -> Any:
    """Anything as JSON knows it; numbers that are not finite become null."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _losses(losses: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in losses.items())


def duration(seconds: float) -> str:
    """``75 -> "1:15"``; hours only where there are some.

    >>> duration(75), duration(3725)
    ('1:15', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[told]}", markup=False),
        console=Console(stderr=True, highlight=False),
        refresh_per_second=5,
    )
    tasks: dict[str, Any] = {}

    def watch(at: Progress) -> None:
        if at.phase not in tasks:
            for before in tasks.values():  # one that did not count its steps is over now
                bar.update(before, total=1, completed=1)
            tasks[at.phase] = bar.add_task(at.phase, total=None, told="")
        told = [f"{at.step}/{at.steps}" if at.steps else "", _losses(at.losses)]
        told += [f"{at.rate:.3g} steps/s"] if at.rate and at.losses else []
        told += [f"{duration(at.left_seconds)} left"] if 0 < at.left_seconds < math.inf else []
        told += [at.note]
        bar.update(tasks[at.phase], completed=at.step, total=at.steps or None, told="  ".join(filter(None, told)))

    with bar:
        yield watch
        for before in tasks.values():
            if not bar.tasks[before].finished and bar.tasks[before].total is None:
                bar.update(before, total=1, completed=1)


def _lines(share: float = 0.25) -> Callable[[Progress], None]:
    """A line at the start of each phase and at every quarter of it; every few seconds where its end is not known."""
    next_at: dict[str, float] = {}
    said = -math.inf

    def watch(at: Progress) -> None:
        nonlocal said
        done = at.step / max(at.steps, 1)
        if done < next_at.get(at.phase, 0.0) and (at.steps or time.monotonic() < said + 5):
            return
        said = time.monotonic()
        next_at[at.phase] = (int(done / share) + 1) * share
        parts = [f"{at.phase} {at.step}/{at.steps}" if at.steps else at.phase, _losses(at.losses), at.note]
        if 0 < at.left_seconds < math.inf:
            parts.append(f"{duration(at.left_seconds)} left")
        print("  ".join(part for part in parts if part), file=sys.stderr)

    return watch


def settings(pairs: Sequence[str], option: str = "--set") -> dict[str, str]:
    """``["a=1", "b.c=x"] -> {"a": "1", "b.c": "x"}``; raises a usage error for anything else."""
    out: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=option)
        out[key.strip()] = value.strip()
    return out


def knobs(pairs: Sequence[str], apart: Mapping[str, str]) -> dict[str, Any]:
    """What ``--set`` says, read; raises a usage error for what is told in another way.

    Args:
        pairs: as they were given.
        apart: names that are no settings here, each with how it is told instead.

    >>> knobs(["top_k=5", "temperature=0.7"], {"seed": "--seed"})
    {'top_k': 5, 'temperature': 0.7}
    """
    from bottega.workshop.recipe import parse_value

    said = settings(pairs)
    for name in said:
        if name in apart:
            raise typer.BadParameter(f"{name} is no setting; {apart[name]}", param_hint="--set")
    return {name: parse_value(value) for name, value in said.items()}


def numbers(text: str, option: str = "--seeds", what: str = "seed", least: int = 0) -> list[int]:
    """Seeds as people write them, or other whole numbers, of which ``least`` is the first.

    >>> numbers("0-3,8"), numbers("7")
    ([0, 1, 2, 3, 8], [7])
    """
    out: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        whole = first.isdecimal() and (not dash or last.isdecimal())
        if not whole or int(first) < least or (dash and int(last) < int(first)):
            raise typer.BadParameter(f"{part.strip()!r} is no {what}; write {least}-15, or 1,5,9", param_hint=option)
        out += range(int(first), int(last) + 1) if dash else [int(first)]
    return out


def whole_run(path: Path) -> Path:
    """The folder of a run, given it or its ``model.safetensors``."""
    return path.parent if path.name == "model.safetensors" else path


def own_place(path: Path, sources: Sequence[Path] = (), option: str = "--out", *, folder: bool = False) -> Path:
    """Where a result goes; asked before the work, so that a place that cannot be written is no work lost.

    Raises:
        OutputError: it is one of the sources, or a file in a folder of them, which nothing is written over, or cannot be written.
    """
    from bottega.core import OutputError
    from bottega.core.files import check_place

    for source in sources:
        inside = path.exists() and source.is_dir() and source.resolve() in path.resolve().parents
        if (
            inside
            or path.resolve() == source.resolve()
            or (path.exists() and source.exists() and path.samefile(source))
        ):
            raise OutputError(f"{path} is what was given; choose another place with {option}")
    check_place(path, folder=folder, option=option)
    return path


def sound_out(out: Path, sources: Sequence[Path] = (), picture: Path | None = None, bits: int = 16) -> Path:
    """``own_place`` of a sound and its picture; returns the name that the sound will have.

    Raises:
        OutputError: as ``own_place``; the sound is of no format that is written, or has no such bits, or the picture is of none.
    """
    from bottega.codecs._sound_files import sound_place
    from bottega.codecs._sound_page import drawn_to
    from bottega.core import OutputError

    path = own_place(sound_place(out, bits), sources)
    if picture is not None:
        if picture.suffix.lower() not in _DRAWN:
            raise OutputError(f"{picture}: pictures are not drawn as {picture.suffix}; let the name of --picture end in .png")  # fmt: skip
        own_place(picture if picture.suffix else drawn_to(picture), [*sources, path], "--picture")
    return path
