"""What the tasks with words share: reading texts that are named, and giving texts out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._shared import Out, whole_run

if TYPE_CHECKING:
    from bottega.crafts.endpoint import Endpoint
    from bottega.trust.filters import Blocked, Hit
    from bottega.workshop.run import Run

__all__ = [
    "FilterLog",
    "FilterWith",
    "Filtered",
    "Model",
    "Screen",
    "Timeout",
    "Way",
    "apart",
    "deliver",
    "given",
    "is_file",
    "left_out",
    "writer",
]

Model = Annotated[str, typer.Option("--model", metavar="NAME", help="Which model of an endpoint.")]
Way = Annotated[str, typer.Option("--way", metavar="HOW", help="How an endpoint is asked: chat, or completions.")]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", help="How long to wait for an endpoint, each of four times."),
]
Filtered = Annotated[
    bool,
    typer.Option(
        "--filter",
        help="Hold back what the content filter blocks, in the prompt and in what is written; personal data is replaced.",
    ),
]
FilterWith = Annotated[
    list[Path],
    typer.Option(
        "--filter-with",
        metavar="FILE",
        help="Filter by these too: a .toml of rules, or the .safetensors of a scorer; may be given many times.",
    ),
]
FilterLog = Annotated[Path | None, typer.Option("--filter-log", metavar="FILE", help="Note there which rule was met when, without the text.")]  # fmt: skip

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


def writer(
    source: str, model: str = "", way: str = "chat", timeout: float = 60.0, device: str = "auto"
) -> Run | Endpoint:
    """What writes, as ``crafts.write.writer`` has it; a run may be named by its ``model.safetensors``."""
    from bottega.crafts.endpoint import is_address
    from bottega.crafts.write import writer as of

    place = source if is_address(source) else whole_run(Path(source))
    return of(place, model=model, way=way, timeout=timeout, device=device)  # type: ignore[arg-type]


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
    elif is_file(source):
        text = read_text(Path(source))
    elif re.fullmatch(r"\S+\.[A-Za-z]\w{0,4}", source):
        raise DataError(f"there is no file {source}; give {what} itself, a UTF-8 file, or - for standard input")
    else:
        text = source
    if not text.strip():
        raise DataError(f"{what} is empty; write at least a word")
    return text


def is_file(source: str) -> bool:
    """Whether an argument that may be a file or the words themselves is a file; of words too long for a name it is not."""
    return source != "-" and os.path.isfile(source)  # Path.is_file raises where a name is too long


def left_out(files: Mapping[str, str]) -> None:
    """Name files that could not be read, on standard error even with ``--quiet``: what they hold was not looked at."""
    for why in files.values():
        print(f"left out: {why}", file=sys.stderr)


def deliver(say: Out, text: str, out: Path | None, note: Mapping[str, str]) -> Path | None:
    """Print a text, or write it with a note beside it that says what made it; returns its path.

    Each of the two files is written whole or not at all.
    """
    from importlib.metadata import version

    from bottega.core.files import check_place, write_atomically

    if out is None:
        say.say(text.rstrip("\n"))
        return None
    check_place(out)
    write_atomically(out, text if text.endswith("\n") else f"{text}\n")
    mark = {"machine_made": "true", "software": f"bottega {version('bottega')}", **note}
    write_atomically(out.with_name(f"{out.name}.meta.json"), json.dumps(mark, indent=1, ensure_ascii=False) + "\n")
    say.say(str(out))
    return out


class Screen:
    """Prompts and texts on their way through the content filter; without one, all pass as they are.

    Args:
        say: tells of rules that were met.
        on: whether there is a filter; files or a log ask for one too.
        files: rules and scorers beside ours.
        log: where each hit is noted.
    """

    def __init__(self, say: Out, on: bool, files: Sequence[Path], log: Path | None) -> None:
        from bottega.trust.filters import Filter

        self.say, self.filter = say, Filter.of(files, log) if on or files or log is not None else None
        self.blocked: list[Blocked] = []
        self.met: list[list[str]] = []

    def prompt(self, text: str) -> str:
        """The prompt as the model may read it; raises Blocked."""
        if self.filter is None:
            return text
        hits: list[Hit] = []
        text = self.filter.clean(text, what="the prompt", warned=hits)
        self._tell("the prompt", hits)
        return text

    def texts(self, before: str, texts: Sequence[str]) -> list[str | None]:
        """Each text as it may be shown, None where it may not."""
        from bottega.trust.filters import Blocked

        if self.filter is None:
            return list(texts)
        out: list[str | None] = []
        for number, text in enumerate(texts, 1):
            hits: list[Hit] = []
            what = f"text {number}" if len(texts) > 1 else "the text"
            try:
                out.append(self.filter.clean(text, before=before, what=what, warned=hits))
                self._tell(what, hits)
            except Blocked as error:
                out.append(None)
                self.blocked.append(error)
                hits = error.hits
            self.met.append(list(dict.fromkeys(hit.rule for hit in hits)))
        return out

    def _tell(self, what: str, hits: Sequence[Hit]) -> None:
        if self.filter is not None and hits:
            rules = ", ".join(dict.fromkeys(f"{hit.rule} ({hit.action})" for hit in hits))
            self.say.note(f"{what} meets {rules}: {self.filter.about(hits)}")

    def about(self) -> dict[str, Any]:
        """For the JSON of a result: the rules that each text met."""
        return {} if self.filter is None else {"rules": self.met}

    def close(self) -> None:
        """Raise for what was blocked, once all else is shown."""
        from bottega.core import BottegaError

        if len(self.blocked) == 1:
            raise self.blocked[0]
        if self.blocked:
            raise BottegaError("; ".join(map(str, self.blocked)))
