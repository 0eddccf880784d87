"""Conversations: who said what, and a text of it to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Message:
    """What one of them said.

    Attributes:
        role: ``"system"``, ``"user"`` or ``"assistant"``.
        content: the text.
        learned: False for an answer that is only read (OpenAI's ``"weight": 0``).
    """

    role: str
    content: str
    learned: bool = True


class Conversation(str):
    r"""Messages, as a text: all that shows, splits or compares texts takes it as one.

    Args:
        messages: at least one of them by the assistant.
        text: how it is shown; ``User: ...`` and ``Assistant: ...`` line by line where none is given.

    >>> Conversation([Message("user", "Hi"), Message("assistant", "Ho")]).split("\n")
    ['User: Hi', 'Assistant: Ho']
    """

    messages: tuple[Message, ...]

    def __new__(cls, messages: Sequence[Message], text: str = "") -> Self:
        """Put the text together, where it is not given."""
        made = super().__new__(cls, text or "\n".join(f"{m.role.capitalize()}: {m.content}" for m in messages))
        made.messages = tuple(messages)
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Message, ...], str]]:
        """So that copies keep their messages."""
        return type(self), (self.messages, str(self))
