"""The runs that the studio shows: found in folders, told as JSON, damaged ones too; nothing of them is loaded but headers."""

from __future__ import annotations

import json
import math
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bottega.core import BottegaError
from bottega.training import checkpoint
from bottega.workshop.evidence import Evidence, MeasurePart
from bottega.workshop.figures import figure_with_unit, interval, title
from bottega.workshop.run import EVIDENCE, LOG, RECIPE, WEIGHTS

__all__ = ["Shelf", "Tail", "finite", "left", "sample_files", "tell"]

BUSY_SECONDS = 20.0  # a log that was written to so lately belongs to a training that goes on somewhere
_SHOWN = {".png", ".txt", ".csv", ".svg", ".gif", ".jpg", ".jpeg", ".webp"}
CONSOLE = "console.log"  # what a training that the studio began says
_NAMES = 200  # letters of a folder's name that is looked up at all


@dataclass(frozen=True)
class Shelf:
    """Folders of runs. A root that is a run itself stands for itself; otherwise its runs are the folders in it.

    Runs are only ever found by the name that ``runs`` gave them, so that no name leads out of the roots.

    Args:
        roots: where runs lie.
    """

    roots: Sequence[Path]

    def runs(self) -> dict[str, Path]:
        """Every run by name, the latest first. A name that comes twice is numbered."""
        found: dict[str, Path] = {}
        folders = sorted(self._folders(), key=_changed, reverse=True)
        for folder in folders:
            name, again = folder.resolve().name, 2
            while name in found:
                name, again = f"{folder.resolve().name}-{again}", again + 1
            found[name] = folder
        return found

    def find(self, name: str) -> Path | None:
        """The folder of a run, or None."""
        return self.runs().get(name) if len(name) <= _NAMES else None

    @property
    def new(self) -> Path | None:
        """Where new runs are put: the first root that is no run itself; None where there is none."""
        return next((root for root in self.roots if not _is_run(root)), None)

    def _folders(self) -> Iterable[Path]:
        seen = set()
        for root in self.roots:
            inside = [root] if _is_run(root) else sorted(root.iterdir()) if root.is_dir() else []
            for folder in inside:
                if folder.resolve() not in seen and not folder.name.startswith(".") and _is_run(folder):
                    seen.add(folder.resolve())
                    yield folder


def _is_run(folder: Path) -> bool:
    try:
        return folder.is_dir() and any((folder / name).is_file() for name in (WEIGHTS, RECIPE, LOG, CONSOLE))
    except OSError:
        return False


def _changed(folder: Path) -> float:
    times = [0.0]
    for name in (LOG, WEIGHTS, RECIPE, CONSOLE):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return max(times)


def finite(value: Any) -> Any:
    """The same as JSON can say it: numbers that are not finite become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


# One run ---------------------------------------------------------------------------------------------------------------


def tell(name: str, folder: Path, *, training: bool | None = None, whole: bool = False) -> dict[str, Any]:
    """What the gallery shows of a run, or with ``whole`` what its own page does. Never raises for what is damaged.

    Args:
        name: as ``Shelf`` named it.
        folder: where it lies.
        training: whether a training that this server started is at work on it; None where it started none.
        whole: all measures, notes and the recipe.
    """
    wrong: list[str] = []
    recipe = _recipe(folder, wrong)
    header = _header(folder, wrong)
    evidence = _evidence(folder, wrong)
    recipe = header.get("recipe") or recipe
    steps = _whole_number(_table(recipe, "train").get("steps"))
    step = _whole_number(header.get("step"))
    measures = [_measure(m) for m in evidence.measures] if evidence else []
    best = _told_first(measures)
    out: dict[str, Any] = {
        "name": name,
        "state": _state(folder, header, wrong, training, step, steps),
        "wrong": " ".join(wrong).replace(f"{folder}/", ""),  # where runs lie is the server's own
        "recipe": str(recipe.get("name", "")),
        "about": str(recipe.get("about", "")),
        "family": str(_table(recipe, "family").get("name", "")),
        "medium": str(_table(header, "data").get("medium") or (evidence.data.medium if evidence else "")),
        "data": str(_table(header, "data").get("name") or _table(recipe, "data").get("name", "")),
        "step": step,
        "steps": steps,
        "parameters": _whole_number(header.get("parameters")),
        "seconds": header.get("seconds"),
        "created": header.get("created"),
        "changed": _changed(folder),
        "judged": bool(measures),
        "measures": measures if whole else best,
        "samples": sample_files(folder),
    }
    if whole:
        out |= {
            "tables": {k: v for k, v in recipe.items() if isinstance(v, Mapping)},
            "conditions": _conditions(header),
            "notes": list(evidence.notes if evidence else header.get("notes", ())),
            "skipped": evidence.skipped if evidence else {},
            "licence": str(_table(header, "data").get("licence", "")),
            "rows": [_table(header, "data").get("train_rows"), _table(header, "data").get("held_rows")],
            "weights": evidence.run.weights if evidence else "",
            "console": console(folder),
        }
    plain: dict[str, Any] = finite(out)
    return plain


def _conditions(header: Mapping[str, Any]) -> list[Any] | None:
    """What can be asked for, where people can write it; None where nothing can."""
    known = header.get("conditions") or []
    return [c for c in known if isinstance(c, str | int | float)] or None


def _state(
    folder: Path, header: Mapping[str, Any], wrong: list[str], training: bool | None, step: int, steps: int
) -> str:
    """``training`` (by us), ``watched`` (by somebody else), ``finished``, ``paused``, ``begun`` or ``damaged``."""
    if training:
        return "training"
    if wrong:
        return "damaged"
    done = bool(header) and (bool(header.get("stopped")) or step >= steps > 0)
    if not done and training is None and time.time() - _age(folder / LOG) < BUSY_SECONDS:
        return "watched"
    if done:
        return "finished"
    return "paused" if header else "begun"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tables.get(name)
    return found if isinstance(found, Mapping) else {}


def _whole_number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else 0


def _header(folder: Path, wrong: list[str]) -> dict[str, Any]:
    """The header of the weights, without the weights; empty before the first checkpoint."""
    file = folder / WEIGHTS
    if not file.exists():
        return {}
    try:
        header = checkpoint.load(file, prefix="\0")[1]  # no weight is called so, so that none is read
    except BottegaError as error:
        wrong.append(str(error))
        return {}
    if not isinstance(header, dict) or not isinstance(header.get("recipe"), dict):
        wrong.append(f"{file.name} says nothing of its recipe; it is not a whole run")
        return {}
    return header


def _recipe(folder: Path, wrong: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        wrong.append(f"{RECIPE} cannot be read: {error}")
        return {}


def _evidence(folder: Path, wrong: list[str]) -> Evidence | None:
    path = folder / EVIDENCE
    if not path.exists():
        return None
    try:
        return Evidence.read(path)
    except BottegaError as error:
        wrong.append(str(error))
        return None


def _measure(m: MeasurePart) -> dict[str, Any]:
    return {
        **m.model_dump(include={"judge", "name", "value", "low", "high", "n", "bound", "better", "ceiling", "note"}),
        "title": title(m.name),
        "told": figure_with_unit(m),
        "interval": interval(m.low, m.high),
    }


def _told_first(measures: Sequence[dict[str, Any]], most: int = 3) -> list[dict[str, Any]]:
    """The few that a card has room for: those with an interval and a direction first, in the order of the judges."""
    rank = sorted(measures, key=lambda m: (not m["better"], m["low"] is None))
    return rank[:most]


def sample_files(folder: Path) -> list[dict[str, Any]]:
    """What stands in ``samples/`` to be looked at: ``file``, ``kind`` (sheet, real, beside, step), ``step``, ``changed``."""
    there = folder / "samples"
    out = []
    for path in sorted(there.iterdir()) if there.is_dir() else ():
        if path.suffix.lower() not in _SHOWN or not path.is_file() or path.is_symlink():
            continue
        kind, _, number = path.stem.partition("-")
        if kind not in {"sheet", "real", "beside", "step"}:
            continue
        step = int(number) if kind == "step" and number.isdecimal() else None
        out.append({"file": path.name, "kind": kind, "step": step, "changed": path.stat().st_mtime})
    return out


def console(folder: Path, lines: int = 12) -> str:
    """The last lines that a training, which the studio started, wrote; empty where there is none."""
    try:
        with (folder / CONSOLE).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


# The log ---------------------------------------------------------------------------------------------------------------


@dataclass
class Tail:
    """Follows a ``log.jsonl`` from a place on.

    A training that is resumed cuts its log back to the last checkpoint; then what was read is no longer true, and ``read``
    says so and begins again.

    Attributes:
        path: the log.
        at: bytes read.
    """

    path: Path
    at: int = 0

    def read(self, most: int = 1 << 20) -> tuple[list[dict[str, Any]], bool]:
        """New rows, and whether all earlier ones are to be forgotten. Lines that are no row are left out.

        A last line without its end is left for the next time: it is being written.
        """
        try:
            size = self.path.stat().st_size
        except OSError:
            size = 0
        again = size < self.at
        if again:
            self.at = 0
        if size <= self.at:
            return [], again
        with self.path.open("rb") as file:
            file.seek(self.at)
            block = file.read(most)
        whole = block[: block.rfind(b"\n") + 1]
        self.at += len(whole)
        return [row for line in whole.splitlines() if (row := _row(line))], again


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(row, dict) or "step" not in row:
        return {}
    plain: dict[str, Any] = finite(row)
    return plain


def left(rows: Sequence[Mapping[str, Any]], steps: int) -> tuple[float | None, float | None]:
    """Steps a second lately, and seconds left, from the last rows of a log; None where they do not say.

    >>> left([{"step": 10, "seconds": 1.0}, {"step": 30, "seconds": 3.0}], 50)
    (10.0, 2.0)
    >>> left([{"step": 10, "seconds": 1.0}], 50)
    (None, None)
    """
    timed = [(r["step"], r["seconds"]) for r in rows if isinstance(r.get("seconds"), int | float)][-20:]
    if len(timed) < 2 or timed[-1][1] <= timed[0][1] or timed[-1][0] <= timed[0][0]:
        return None, None
    rate = (timed[-1][0] - timed[0][0]) / (timed[-1][1] - timed[0][1])
    return rate, max(0, steps - timed[-1][0]) / rate
