"""The content filter at the door: what is asked for, and what goes out, by the rules of ``trust/filters.py``.

Rules are told by their ids. The bot has its own door (a crisis gets its safe text, not an error), so its routes are not here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bottega.trust.filters import Blocked, Filter, Hit

__all__ = ["Content", "StreamCleaner"]

ROUTES = frozenset({
    "/v1/completions", "/v1/chat/completions", "/v1/images/generations", "/v1/audio/speech", "/v1/pieces", "/v1/pieces/edit",
})  # fmt: skip
_TEXTS = 100_000  # characters that are looked at
_FIELDS = ("prompt", "input", "messages", "condition", "suffix", "instructions", "piece")


def _strings(value: Any, deep: int = 0) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif deep < 8 and isinstance(value, dict):
        for name, one in value.items():
            if name not in ("url", "data", "b64_json", "role", "type"):  # pictures and sounds as letters
                yield from _strings(one, deep + 1)
    elif deep < 8 and isinstance(value, list):
        for one in value:
            yield from _strings(one, deep + 1)


class Content:
    """A filter for a server.

    Args:
        files: rules and scorers beside ours.
        clean_out: whether what models write is looked at too.
    """

    def __init__(self, files: Sequence[Path] = (), *, clean_out: bool = True) -> None:
        self.filter, self.clean_out = Filter.of(files), clean_out

    def ask(self, body: Any) -> list[Hit]:
        """What is met in a request's JSON, when nothing of it blocks; raises Blocked."""
        if not isinstance(body, dict):
            return []
        text = "\n".join(t for name in _FIELDS if name in body for t in _strings(body[name]))[:_TEXTS]
        hits = self.filter.check(text)
        if blocking := [hit for hit in hits if hit.action == "block"]:
            raise Blocked("the prompt", blocking, self.filter.about(blocking))
        return hits

    def answer(self, body: bytes) -> tuple[bytes, list[str]]:
        """The JSON of a completion, cleaned: personal data by marks, what is blocked left out with finish_reason ``content_filter``.

        Returns:
            The JSON, and the ids of the rules that were met.
        """
        try:
            said = json.loads(body)
            choices = said.get("choices", []) if isinstance(said, dict) else []
        except ValueError:
            return body, []
        met: list[str] = []
        changed = False
        for choice in choices if isinstance(choices, list) else []:
            place, name = _place(choice)
            if place is None or not isinstance(place.get(name), str):
                continue
            text, rules, blocked = self.cleaned(place[name])
            met += rules
            if text != place[name]:
                place[name], changed = text, True
            if blocked:
                choice["finish_reason"], changed = "content_filter", True
                choice.pop("logprobs", None)
        out = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() if changed else body
        return out, list(dict.fromkeys(met))

    def cleaned(self, text: str, before: str = "") -> tuple[str, list[str], bool]:
        """A text as it may go out, the rules that it met, and whether it is blocked (it is empty then)."""
        hits: list[Hit] = []
        try:
            text = self.filter.clean(text, before=before, warned=hits)
        except Blocked as error:
            return "", [hit.rule for hit in error.hits], True
        return text, [hit.rule for hit in hits], False


def _place(choice: Any) -> tuple[dict[str, Any] | None, str]:
    """Where the text of a choice stands: of a completion, a message, or a piece of a stream."""
    if not isinstance(choice, dict):
        return None, ""
    for name in ("message", "delta"):
        if isinstance(choice.get(name), dict):
            return choice[name], "content"
    return choice, "text"


class StreamCleaner:
    """Cleans a stream of server-sent events as it passes.

    Text is let go up to the last blank behind a word without digits, so that an address or a number that is still being
    written is seen whole: a word late, not a sentence. What is blocked ends the choice with ``content_filter``.
    """

    def __init__(self, content: Content) -> None:
        self.content, self.met = content, list[str]()
        self._bytes = b""
        self._held: dict[int, str] = {}
        self._sent: dict[int, str] = {}
        self._ended: set[int] = set()

    def feed(self, data: bytes, last: bool = False) -> bytes:
        """What of the stream may go on now."""
        self._bytes += data
        *events, self._bytes = re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", self._bytes)
        if last and self._bytes:
            events.append(self._bytes)
            self._bytes = b""
        return b"".join(self._event(event) for event in events)

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(b"data: {"):
            return event
        try:
            said = json.loads(event[6:])
        except ValueError:
            return event
        choices = said.get("choices") if isinstance(said, dict) else None
        if not isinstance(choices, list) or not choices:
            return event
        kept = []
        for choice in choices:
            index = choice.get("index", 0) if isinstance(choice, dict) else 0
            if index in self._ended:
                continue
            place, name = _place(choice)
            if place is not None and (isinstance(place.get(name), str) or choice.get("finish_reason")):
                self._pass(index, choice, place, name)
            kept.append(choice)
        if not kept:
            return b""
        said["choices"] = kept
        return b"data: " + json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"

    def _pass(self, index: int, choice: dict[str, Any], place: dict[str, Any], name: str) -> None:
        text = self._held.get(index, "") + (place.get(name) or "")
        ends = bool(choice.get("finish_reason"))
        cut = len(text) if ends else _safe(text)
        ready, self._held[index] = text[:cut], text[cut:]
        before = self._sent.get(index, "")
        clean, rules, blocked = self.content.cleaned(ready, before) if ready else ("", [], False)
        self.met += [rule for rule in rules if rule not in self.met]
        self._sent[index] = (before + ready)[-400:]
        if clean or isinstance(place.get(name), str):
            place[name] = clean
        if blocked:
            choice["finish_reason"] = "content_filter"
            self._ended.add(index)


_WORD = re.compile(r"\S+")


def _safe(text: str) -> int:
    """How much of a text that is still being written can be looked at: up to the last word, and before numbers that go on.

    >>> _safe("call me at 030 12"), _safe("one two thr"), _safe("one two ")
    (11, 8, 4)
    """
    words = list(_WORD.finditer(text))
    at = len(words) - 1
    while at > 0 and any(c.isdigit() for c in words[at - 1][0]) and len(text) - words[at - 1].start() < 60:
        at -= 1
    return words[at].start() if words else 0
