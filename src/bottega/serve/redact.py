"""Texts for a log: without personal data and secrets, as far as patterns find them.

Telephone and card numbers, accounts, e-mail addresses and the like by the ``personal.*`` rules of the content filter
(``trust/filters.py``), network addresses, birthdays, streets and keys by those of ``_redact.toml``. Names of people in plain
words are not found: who must not have them logged turns the logging of prompts off.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from bottega.trust.filters import Filter, read_rules

__all__ = ["prompt_of", "redacted"]

_MARGIN = 200  # characters behind the end that are looked at, so that what straddles it is found whole


@functools.lru_cache(maxsize=1)
def _filter() -> Filter:
    ours = [rule for rule in Filter().rules if rule.id.startswith("personal.")]
    return Filter([*read_rules(Path(__file__).with_name("_redact.toml")), *ours])


def redacted(text: str, most: int = 1000) -> str:
    """The beginning of a text, what is personal or secret in it replaced by marks.

    Args:
        text: any.
        most: characters that are kept; what is left out is counted at the end.

    >>> redacted("I am ann@example.com, call 030 1234567 or 10.0.0.7")
    'I am [e-mail address], call [telephone number] or [network address]'
    """
    seen = text[: most + _MARGIN].encode("utf-8", "replace").decode()
    clean = _filter().clean(seen)
    if len(text) <= most:
        return clean
    return f"{clean[:most]}… ({len(text):,} characters)"


def prompt_of(body: Any) -> str:
    """What a person said in a request's JSON: ``prompt``, ``input``, ``message``, the last message of a user, a condition.

    >>> prompt_of({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}]})
    'hello'
    """
    if not isinstance(body, dict):
        return ""
    messages = body.get("messages")
    if isinstance(messages, list):
        said = [m.get("content") for m in messages if isinstance(m, dict) and m.get("role") == "user"]
        return _words(said[-1]) if said else ""
    for name in ("prompt", "input", "message", "text", "content", "condition"):
        if name in body:
            return _words(body[name])
    return ""


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _words(value.get("text", ""))
    if isinstance(value, list):
        return "\n".join(filter(None, (_words(one) for one in value[:16])))
    return ""
