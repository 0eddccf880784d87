"""What the tasks with words share: reading texts that are named, and giving texts out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from bottega.cli._shared import Out

__all__ = ["apart", "deliver", "given"]

_OPTIONS = {
    "seed": "--seed", "n": "-n", "max_new": "--max-new", "stop": "--stop", "long": "--long", "overflow": "--long slide",
    "device": "--device", "schema": "--schema", "regex": "--regex", "grammar": "--grammar", "choice": "--choice", "choices": "--choice",
    "logprobs": "--logprobs", "draft": "--draft", "weights": "--weights", "model": "--model", "way": "--way", "timeout": "--timeout",
}  # fmt: skip
_INSIDE = ("batch", "keep", "guides", "notes", "rng", "history", "self")


def apart(*lacks: str, **own: str) -> dict[str, str]:
    """Names that ``--set`` refuses in a task that writes with a model, each with how it is told instead.

    Args:
        lacks: options of ``write generate`` that this task does not have.
        **own: options that only this task has.
    """
    out = dict.fromkeys(_INSIDE, "the model is given it, not told")
    out |= {"run": "the run is the first argument"}
    out |= dict.fromkeys(("prompt", "prompts", "text"), "the text is the second argument")
    for name, option in (_OPTIONS | own).items():
        out[name] = (
            f"only write generate has it, as {option}" if name in lacks else f"it has an option of its own, {option}"
        )
    return out


def given(source: str, what: str = "the text") -> str:
    """The text of a file, of standard input (``-``), or the words themselves where no such file is there.

    Raises:
        DataError: nothing in it, not UTF-8, or the name of a file that is missing.
    """
    import re

    from bottega.core import DataError
    from bottega.crafts.write_table import read_text

    if source == "-":
        try:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"standard input is not UTF-8 at byte {error.start}; convert it first") from error
    elif len(source) < 1000 and Path(source).is_file():
        text = read_text(Path(source))
    elif re.fullmatch(r"\S+\.[A-Za-z]\w{0,4}", source):
        raise DataError(f"there is no file {source}; give {what} itself, a UTF-8 file, or - for standard input")
    else:
        text = source
    if not text.strip():
        raise DataError(f"{what} is empty; write at least a word")
    return text


def deliver(say: Out, text: str, out: Path | None, note: Mapping[str, str]) -> Path | None:
    """Print a text, or write it with a note beside it that says what made it; returns its path."""
    from importlib.metadata import version

    from bottega.core import OutputError

    if out is None:
        say.say(text.rstrip("\n"))
        return None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
        beside = out.with_name(f"{out.name}.meta.json")
        mark = {"machine_made": "true", "software": f"bottega {version('bottega')}", **note}
        beside.write_text(json.dumps(mark, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}; choose another place with --out") from error
    say.say(str(out))
    return out
