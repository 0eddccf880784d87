"""Scripted conversations: what a user says, and what the answer must be like; run against a bot with a state of its own."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bottega.core.errors import DataError, OutputError, RecipeError, nearest
from bottega.core.files import write_atomically
from bottega.crafts._chat_shop import FILES
from bottega.crafts.chat import Bot, Reply
from bottega.crafts.chat_folder import BOT, Lines

__all__ = ["Case", "new", "run_scripts"]

_TURN = ("say", "has", "lacks", "route", "intent", "source", "handed_off")


@dataclass(frozen=True)
class Case:
    """One conversation and how it went.

    Attributes:
        name: of it.
        file, line: where it stands.
        faults: what was not as it should be, one line each.
        said: user and bot, in turn.
    """

    name: str
    file: str
    line: int
    faults: list[str]
    said: list[tuple[str, str]]


def new(folder: Path) -> list[Path]:
    """Write the example bot into a folder that is empty or not there; returns its files.

    Raises:
        OutputError: something is there already, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is not empty; name a new folder, so that nothing is overwritten")
    for name, text in FILES.items():
        write_atomically(folder / name, text)
    return [folder / name for name in FILES]


def run_scripts(path: Path, files: list[Path] | None = None, *, clock: datetime | None = None) -> Iterator[Case]:
    """Every conversation of a bot's ``tests/*.toml``, each with a fresh user; yields as they are done.

    Raises:
        DataError: there are none, or one cannot be read.
        RecipeError: one has a key that there is not.
    """
    folder = path if path.is_dir() else path.parent
    files = files or sorted((folder / "tests").glob("*.toml"))
    if not files:
        raise DataError(
            f"there are no scripted conversations in {folder / 'tests'}; bottega chat new writes an example"
        )
    with tempfile.TemporaryDirectory() as state:
        bot = Bot.open(folder / BOT, Path(state) / "state.db", **({"clock": lambda: clock} if clock else {}))
        for file in files:
            for k, (name, line, turns) in enumerate(_read(file)):
                faults, said = [], []
                talk = bot.memory.begin(f"{file.name}-{k}").id
                for turn in turns:
                    made = bot.reply(turn["say"], f"{file.name}-{k}", talk)
                    said.append((turn["say"], made.text))
                    faults += [f"to {turn['say']!r}: {fault}" for fault in _faults(turn, made)]
                yield Case(name, file.name, line, faults, said)


def _read(file: Path) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    try:
        text = file.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    lines = Lines(text)
    for key in table:
        if key != "conversation":
            raise RecipeError(f"{file}, line {lines.of(key)}: there is no key {key!r}; write [[conversation]]")
    for k, one in enumerate(table.get("conversation", [])):
        here = ("conversation", k)
        turns = one.get("turn", [])
        if not turns:
            raise RecipeError(
                f"{file}, line {lines.of('', here)}: the conversation has no turns; write [[conversation.turn]]"
            )
        for j, turn in enumerate(turns):
            for key in turn:
                if key not in _TURN:
                    raise RecipeError(
                        f"{file}, line {lines.of(key, here, ('turn', j))}: there is no key {key!r}{nearest(key, _TURN)}"
                    )
            if not isinstance(turn.get("say"), str):
                raise RecipeError(f"{file}, line {lines.of('', here, ('turn', j))}: the turn says nothing; give it say")
        yield str(one.get("name", f"conversation {k + 1}")), lines.of("", here), turns


def _faults(turn: Mapping[str, Any], made: Reply) -> Iterator[str]:
    for text in _list(turn.get("has", [])):
        if text.lower() not in made.text.lower():
            yield f"{text!r} is not in {made.text!r}"
    for text in _list(turn.get("lacks", [])):
        if text.lower() in made.text.lower():
            yield f"{text!r} is in {made.text!r}"
    for key in ("route", "intent", "handed_off"):
        if key in turn and getattr(made, key) != turn[key]:
            yield f"{key} is {getattr(made, key)!r}, not {turn[key]!r}"
    if "source" in turn and turn["source"] not in made.source:
        yield f"source is {made.source!r}, not {turn['source']!r}"


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
