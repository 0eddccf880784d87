"""Conversations as models read them: a chat template writes messages with marks between them (Jinja, as Hugging Face has it)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from bottega.core import DataError, Message, nearest

__all__ = ["PLAIN", "ROLES", "ChatTemplate", "Segment", "messages_of"]

ROLES = ("system", "user", "assistant")
PLAIN = (
    "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""``User: ...`` and ``Assistant: ...`` line by line, each answer closed by the end of a text."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a conversation whose tokens are made together.

    Attributes:
        pieces: texts, and the numbers of marks between them.
        kind: ``"given"``, ``"answer"`` (what the model is to write, its end included), or ``"gap"``: blanks between an
            answer and what is given next.
        learned: of an answer, whether it is learned.
    """

    pieces: tuple[str | int, ...]
    kind: Literal["given", "answer", "gap"]
    learned: bool = False


def messages_of(row: Mapping[str, Any], where: str, prompt: str, answer: str) -> list[Message]:
    """The messages of a row: OpenAI's ``{"messages": [{"role", "content"}, ...]}``, or a column of questions and one of answers.

    Args:
        row: an object of JSON lines, or a row of a table.
        where: the file and line, for messages.
        prompt: the column of questions.
        answer: the column of answers.

    Raises:
        DataError: not such a row, an unknown role, an empty message, nobody who answers.
    """
    if "messages" in row:
        said = row["messages"]
        if not isinstance(said, list) or not said:
            raise DataError(f'{where}: messages is {_short(said)}; write a list of {{"role": ..., "content": ...}}')
        out = [_message(one, f"{where}, message {k}") for k, one in enumerate(said, 1)]
    else:
        for column, key in ((prompt, "codec.prompt"), (answer, "codec.answer")):
            if column not in row:
                raise DataError(
                    f"{where}: neither messages nor a column {column!r}{nearest(column, row)}; set {key}, or write "
                    '{"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}'
                )
        pair = (("user", row[prompt], prompt), ("assistant", row[answer], answer))
        out = [_message({"role": role, "content": text}, f"{where}, column {name!r}") for role, text, name in pair]
    if not any(m.role == "assistant" for m in out):
        raise DataError(f"{where}: nobody answers, there is no message of the assistant; leave it out")
    return out


def _message(one: Any, where: str) -> Message:
    if not isinstance(one, Mapping) or "role" not in one:
        raise DataError(f'{where} is {_short(one)}; write {{"role": ..., "content": ...}}')
    role, content = one["role"], one.get("content")
    if role not in ROLES:
        raise DataError(f"{where} is of the role {role!r}; known are {', '.join(ROLES)}: rename it, or leave it out")
    if isinstance(content, list) and all(isinstance(p, Mapping) and p.get("type") == "text" for p in content):
        content = "\n".join(str(p.get("text", "")) for p in content)  # OpenAI's parts of a message
    if not isinstance(content, str):
        raise DataError(f"{where} holds {_short(content)}, not text; leave calls of tools and pictures out")
    if not content.strip():
        raise DataError(f"{where} is empty; write something, or leave it out")
    return Message(role, content.strip(), role == "assistant" and one.get("weight", 1) != 0)


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


class ChatTemplate:
    """Writes a conversation as a model is to read it, and tells what of it are answers.

    The template runs in Jinja's sandbox and sees placeholders instead of what was said, so that neither can a message be
    taken for a mark, nor a template change what was said.

    Args:
        source: the template.
        marks: the number of each mark by its spelling.
        named: what the template may call by name, ``bos_token`` and so on.
        end: the mark that closes an answer where the template closes it with none.

    Raises:
        DataError: not a template, or one that does not write what was said.
    """

    def __init__(self, source: str, marks: Mapping[str, int], named: Mapping[str, str], end: int) -> None:
        self.marks, self.named, self.end = dict(marks), dict(named), end
        try:
            self._render = _compiled(source)
        except Exception as error:  # Jinja's errors, and those of what a template does when it is read
            raise DataError(
                f"the chat template cannot be read ({_line(error)}); set codec.template = 'plain'"
            ) from error
        self._mark = re.compile("|".join(map(re.escape, sorted(self.marks, key=len, reverse=True))) or r"(?!)")
        self.closing: int | None = None
        probe = self.segments([Message("user", "a"), Message("assistant", "b")])
        last = next(s for s in probe if s.kind == "answer").pieces[-1]
        self.closing = last if isinstance(last, int) else end

    def segments(
        self, messages: Sequence[Message], where: str = "the conversation", *, ask: bool = False
    ) -> list[Segment]:
        """A conversation in its segments, which joined are what the model reads.

        Args:
            messages: what was said; what follows the last answer is left out, unless ``ask``.
            where: it comes from, for messages.
            ask: open an answer of the assistant at the end.

        Raises:
            DataError: the template refuses such messages (two of a role in a row, say).
        """
        if not ask:
            last = max(k for k, m in enumerate(messages) if m.role == "assistant")
            messages = messages[: last + 1]
        whole = self._written(messages, where, ask=ask)
        out: list[Segment] = []
        at = 0
        for k, message in enumerate(messages):
            here = _PLACE.format(k)
            if whole.count(here) != 1:
                raise DataError(
                    f"the chat template does not write what the {message.role} says as it is said ({where}); set "
                    "codec.template = 'plain'"
                )
            if message.role != "assistant":
                continue
            opened = self._written(messages[:k], where, ask=True)
            first = len(opened) if whole.startswith(opened) else whole.index(here)
            last = whole.index(here) + len(here)
            mark = self._mark.match(whole, re.compile(r"\s*").match(whole, last).end())  # type: ignore[union-attr]
            if mark and self.closing is not None and self.marks[mark[0]] != self.closing:
                mark = None  # it opens the next turn
            answer = self._pieces(whole[first : mark.end() if mark else last], messages)
            if mark:
                last = mark.end()
            else:
                answer = (*answer, self.end)
            out += self._given(whole[at:first], messages)
            out.append(Segment(answer, "answer", message.learned))
            at = last
        if ask:
            out += self._given(whole[at:], messages)
        return out

    def _given(self, text: str, messages: Sequence[Message]) -> list[Segment]:
        """Blanks in front are a segment of their own: they still belong to the answer before."""
        blank = len(text) - len(text.lstrip())
        parts: tuple[tuple[str, Literal["gap", "given"]], ...] = ((text[:blank], "gap"), (text[blank:], "given"))
        return [Segment(self._pieces(part, messages), kind) for part, kind in parts if part]

    def _written(self, messages: Sequence[Message], where: str, *, ask: bool) -> str:
        said = [{"role": m.role, "content": _PLACE.format(k)} for k, m in enumerate(messages)]
        try:
            return self._render(messages=said, add_generation_prompt=ask, **self.named)
        except Exception as error:  # what a template raises, and what Jinja and Python do in it
            raise DataError(
                f"the chat template does not take {where} ({_line(error)}); mend it, or set codec.template = 'plain'"
            ) from error

    def _pieces(self, text: str, messages: Sequence[Message]) -> tuple[str | int, ...]:
        """Text with its marks as numbers and what was said in its place, where all that looks like a mark is letters."""
        out: list[str | int] = []

        def add(piece: str) -> None:
            if piece and out and isinstance(out[-1], str):
                out[-1] += piece
            elif piece:
                out.append(piece)

        for k, part in enumerate(re.split(_PLACES, text)):
            if k % 2:
                add(messages[int(part)].content)
                continue
            at = 0
            for mark in self._mark.finditer(part):
                add(part[at : mark.start()])
                out.append(self.marks[mark[0]])
                at = mark.end()
            add(part[at:])
        return tuple(out)


_PLACE, _PLACES = "\x02{}\x03", "\x02(\\d+)\x03"  # control characters, which no template writes


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


@lru_cache(maxsize=8)
def _compiled(source: str) -> Any:
    """The template as ``transformers`` runs it: sandboxed, without blank lines of tags, with its few helpers."""
    from jinja2 import TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """``{% generation %}``, which marks answers there: we find them ourselves."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    class Notes(Namespace):
        """A namespace without names that reach into Python."""

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise TemplateError(f"a template may not set {name!r}")
            super().__setitem__(name, value)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def as_json(value: Any, indent: int | None = None, **more: Any) -> str:
        return json.dumps(value, ensure_ascii=bool(more.get("ensure_ascii")), indent=indent)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    made.filters["tojson"] = as_json
    made.globals = {
        "range": made.globals["range"], "dict": lambda **names: dict(names), "namespace": Notes, "raise_exception": refuse,
    }  # fmt: skip  # no clock: what is learned must be the same tomorrow, when training goes on
    return made.from_string(source).render
