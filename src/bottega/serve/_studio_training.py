"""Trainings that the studio starts: ``bottega train`` in a process of its own, stopped as Ctrl-C stops it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bottega.core import BottegaError, RecipeError, lookup, nearest
from bottega.core.files import write_atomically
from bottega.serve._studio_runs import CONSOLE
from bottega.training import checkpoint
from bottega.workshop.recipe import check_arguments, load_recipe, shipped
from bottega.workshop.run import LOG, RECIPE, WEIGHTS
from bottega.workshop.training import optim_table

__all__ = ["Trainings"]

MOST = 1  # at once: two would each take twice as long
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PATHS = ("data.", "codec.run", "train.start", "train.remember", "judge.features")  # settings that may name files


@dataclass
class Trainings:
    """The processes, by the folder of their run."""

    at_work: dict[Path, subprocess.Popen[bytes]] = field(default_factory=dict)

    def running(self, folder: Path) -> bool | None:
        """Whether a training started here is at work on the run; None where none was started here."""
        process = self.at_work.get(folder.resolve())
        return None if process is None else process.poll() is None

    def ended_badly(self, folder: Path) -> bool:
        """Whether the last training started here for this run ended with an error (a stop is none)."""
        process = self.at_work.get(folder.resolve())
        return process is not None and process.poll() not in {None, 0, 130, -signal.SIGINT}

    def start(
        self, recipe: str, place: Path, name: str, *, data: str = "", steps: int | None = None,
        settings: Mapping[str, Any] | None = None, judge: bool = True, here: bool = False,
    ) -> None:  # fmt: skip
        """Train a shipped recipe into a new folder.

        Args:
            recipe: its name.
            place: the folder that runs lie in.
            name: of the new run's folder there.
            data: other data than the recipe's: the name of what is built in, or a path, where ``here``.
            steps: other than the recipe's.
            settings: ``table.key`` to value.
            judge: measure it afterwards.
            here: whether who asks sits at this machine, and may name files of it.

        Raises:
            RecipeError: an unknown recipe or setting, a name that no folder can have, a path from elsewhere.
            BottegaError: another training is at work, or there is a run of that name.
        """
        settings = dict(settings or {})
        if not _NAME.fullmatch(name):
            raise RecipeError(
                f"a run cannot be called {name[:80]!r}; use up to 64 letters, digits, dots, dashes and underscores"
            )
        if recipe not in shipped():
            raise RecipeError(f"no recipe is called {recipe[:80]!r}{nearest(recipe[:80], shipped())}")
        folder = place / name
        if folder.exists() and any(path.name != CONSOLE for path in folder.iterdir()):
            raise BottegaError(f"there is a run called {name} already; choose another name, or resume that one")
        named = [data] if data else []
        named += [str(settings[key]) for key in settings if key.startswith(_PATHS)]
        if not here and (
            path := next((n for n in named if "/" in n or "\\" in n or ".." in n or Path(n).exists()), "")
        ):
            raise RecipeError(f"data {path!r} is a path; files of the server can be named only from the server itself")
        # Mistakes are told now, and not by a process that ends.
        plan = load_recipe(recipe, settings | ({} if steps is None else {"train.steps": steps}))
        family = {k: v for k, v in plan.family.items() if k != "name"}
        check_arguments(lookup("families", plan.family["name"]), family, "family", skip=1)
        optim_table(plan.optim)
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={_said(value)}")]
        more = ["--data", data] if data else []
        more += ["--steps", str(steps)] if steps is not None else []
        self._begin([recipe, *more, *sets, *([] if judge else ["--no-judge"])], folder)

    def resume(self, folder: Path, *, judge: bool = True) -> None:
        """Go on with a run from its last checkpoint.

        Raises:
            BottegaError: it is trained already, nothing says by which recipe, or another training is at work.
        """
        if self.running(folder):
            raise BottegaError(f"{folder.name} is being trained already")
        recipe, data = folder / RECIPE, ""
        if not recipe.is_file():
            raise BottegaError(f"{folder.name} has no {RECIPE}, so that nothing says how to go on")
        if (folder / WEIGHTS).exists():
            header = checkpoint.load(folder / WEIGHTS, prefix="\0")[1]
            if header["stopped"]:
                raise BottegaError(f"{folder.name} is trained already ({header['step']:,} steps)")
            data, name = header["data_argument"], header["recipe"]["name"]
            if _NAME.fullmatch(name):  # a recipe is called as its file, and the pieces are marked with its name
                plan, recipe = recipe.read_bytes(), folder / ".resume" / f"{name}.toml"
                write_atomically(recipe, plan)
        self._begin([str(recipe), *(["--data", data] if data else []), *([] if judge else ["--no-judge"])], folder)

    def stop(self, folder: Path) -> None:
        """Stop it between two steps, with a checkpoint, as Ctrl-C does.

        Raises:
            BottegaError: no training that was started here is at work on it.
        """
        process = self.at_work.get(folder.resolve())
        if process is None or process.poll() is not None:
            raise BottegaError(
                f"no training of {folder.name} was started here; stop it where it was started, with Ctrl-C"
            )
        process.send_signal(signal.SIGINT)
        threading.Thread(target=_insist, args=(process, folder / LOG), daemon=True).start()

    def close(self, seconds: float = 20.0) -> None:
        """Stop all, each with a checkpoint, and wait; what does not end in time is killed."""
        alive = [p for p in self.at_work.values() if p.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGINT)
        for process in alive:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _begin(self, arguments: list[str], folder: Path) -> None:
        busy = [path.name for path, process in self.at_work.items() if process.poll() is None]
        if len(busy) >= MOST:
            raise BottegaError(f"{busy[0]} is being trained; stop it first, or wait until it is done")
        write_atomically(folder / CONSOLE, "")
        with (folder / CONSOLE).open("ab") as console:
            self.at_work[folder.resolve()] = subprocess.Popen(
                [sys.executable, "-m", "bottega", "train", *arguments, "--out", str(folder), "--quiet"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C at the server reaches it through ``close``, once
            )


def _insist(process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask again where the signal was lost, which may happen while libraries are imported: then the log goes on growing.

    One that was heard writes at most one more row; a second signal there would leave the last steps out.
    """
    before = _lines(log)
    while process.poll() is None:
        time.sleep(0.5)
        if _lines(log) > before + 2:
            process.send_signal(signal.SIGINT)
            return


def _lines(log: Path) -> int:
    try:
        return log.read_bytes().count(b"\n")
    except OSError:
        return 0


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
