"""From what a caller says to the tokens that a model reads, and from its text back to an answer or a call of a tool."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bottega.core import DataError, Message, lookup
from bottega.samplers.constrain import Form, json_schema
from bottega.workshop.run import Run

__all__ = ["Wording", "call_schema", "tool_text"]


def tool_text(tools: Sequence[dict[str, Any]]) -> str:
    """What a model is told of the functions that it may call, each ``{"name", "description", "parameters"}``."""
    lines = [json.dumps(tool, ensure_ascii=False) for tool in tools]
    how = 'To call one, answer with nothing but JSON: {"name": ..., "arguments": {...}}'
    return "\n".join(["You can call these functions:", *lines, how])


def call_schema(tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a call of one of some functions."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool["name"]}, "arguments": tool.get("parameters") or {"type": "object"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


class Wording:
    """How one run is asked: beginnings of texts, and conversations by its own chat template, or the plain one.

    Args:
        run: that writes texts.

    Attributes:
        kind: ``"own"`` where the model's directory or codec has a template, ``"plain"`` where it was trained on texts only.
        end: the token that ends a text.
        closes: the token that ends an answer.
        stops: strings that end an answer of a model that does not close its own.
    """

    def __init__(self, run: Run) -> None:
        codec: Any = run.codec
        self.codec, self.answers = codec, bool(getattr(codec, "answers_only", False))
        self.end: int = codec.end
        self.spelling: list[bytes] = codec.spelling
        self.vocab = len(self.spelling)
        if self.answers:
            self.chat = codec
        else:
            settings = {k: v for k, v in run.recipe.codec.items() if k in ("tokenizer", "vocab", "length")}
            settings["length"] = max(8, int(settings.get("length", 256)))
            self.chat = lookup("codecs", "chat")(**settings).load_state(codec.state())
        foreign = getattr(codec, "foreign", None)
        own = self.answers or bool(foreign is not None and foreign.template)
        self.kind = "own" if own else "plain"
        self.closes: int = self.chat.end
        self.stops: list[str] = [] if own else ["\nUser:", "\nAssistant:", "\nSystem:"]

    def beginning(self, prompt: str | Sequence[int]) -> list[int]:
        """The tokens of the beginning of a text.

        Raises:
            DataError: characters, or numbers of tokens, that the model does not know.
        """
        if not isinstance(prompt, str):
            for token in prompt:
                if not 0 <= token < self.vocab:
                    raise DataError(f"token {token} is not known; the tokens of this model are 0 to {self.vocab - 1}")
            return list(prompt)
        if not prompt and not self.answers:
            return []
        out: list[int] = self.codec.encode_prompt(prompt).tolist()
        return out

    def conversation(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a conversation with an answer opened behind it."""
        out: list[int] = self.chat.encode_prompt(list(messages)).tolist()
        return out

    def plain(self, messages: Sequence[Message]) -> Any:
        """A conversation for models whose engine takes texts."""
        if self.answers:
            return list(messages)
        lines = [f"{m.role.capitalize()}: {m.content}" for m in messages]
        return "\n".join([*lines, "Assistant:"])

    def form(self, schema: dict[str, Any], end: int, most: int) -> Form:
        """Keeps one text within JSON that a schema allows."""
        return Form(json_schema(schema), self.spelling, end, most)

    def spelt(self, token: int) -> tuple[str, list[int]]:
        """A token as a text, and its bytes."""
        data = self.spelling[token]
        return data.decode("utf-8", "replace"), list(data)

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        try:
            return (
                len(self.codec.encode_prompt(text))
                if text and not self.answers
                else len(self.chat.plain.encode_prompt(text))
                if text
                else 0
            )
        except DataError:
            return 0
