"""Conversations: logs of messages outside; rows of token numbers inside, of which the answers are what is learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.codecs._chat import PLAIN, ROLES, ChatTemplate, Segment, messages_of
from bottega.codecs._files import json_rows
from bottega.codecs._foreign import Foreign
from bottega.codecs._text_files import csv_rows, suffix_of, utf8
from bottega.codecs.text import TABLES, TextCodec
from bottega.core import Batch, Conversation, DataError, Item, Message, RecipeError, Rng, Source, nearest

__all__ = ["ChatCodec"]

_END = "<|end|>"  # how the plain template calls our own end of a text


class ChatCodec(TextCodec):
    r"""Conversations as token numbers ``(length,)``; ``mask`` is True on the answers' tokens, which alone are learned.

    ``read`` takes JSON lines of OpenAI's form, ``{"messages": [{"role": "user", "content": "..."}, ...]}``, or ``.jsonl``,
    ``.csv`` and ``.tsv`` files with a column of questions and one of answers; each also gzipped, in a folder or an archive.
    Roles are system, user and assistant; what follows the last answer is left out. An answer with ``"weight": 0`` is read
    and not learned.

    A conversation is written by the chat template of the model's directory where it has one, else by the plain one:
    ``User: ...`` and ``Assistant: ...`` line by line, each answer closed by ``end``. Prompt and answer are cut into tokens
    apart, as they are when the model is asked. ``end`` is the mark that closes an answer.

    A conversation longer than a row is cut into several: each answer is learned once, and has up to half a row of what
    was said before it in front.

    Args:
        tokenizer: as in codec ``text``.
        vocab: as in codec ``text``.
        length: tokens in a row.
        prompt: of files without messages, the column of questions.
        answer: and that of answers.
        template: ``"own"`` is the directory's where it has one; ``"plain"`` is ours.
        long: what to do with an answer that has no room in a row: ``"stop"``, ``"cut"`` keeps its beginning, ``"skip"``
            does not learn it.
        on_error: ``"stop"`` at a line that holds no conversation, or ``"skip"`` it (its message is kept in ``skipped``).

    Raises:
        RecipeError: an argument has no such value.

    >>> codec = ChatCodec(tokenizer="char", length=24)
    >>> talk = Conversation([Message("user", "Hi"), Message("assistant", "Ho")])
    >>> batch = codec.fit([Item(talk)]).encode([Item(talk)])
    >>> "".join(codec.strings([batch.x[0][batch.mask[0]].tolist()[:-1]])), int(batch.x[0][batch.mask[0]][-1]) == codec.end
    (' Ho', True)
    """

    what, first = "conversations", TABLES
    free = frozenset({"length", "prompt", "answer", "long", "on_error"})
    answers_only = True

    def __init__(
        self,
        *,
        tokenizer: str = "bpe",
        vocab: int = 1024,
        length: int = 256,
        prompt: str = "prompt",
        answer: str = "answer",
        template: Literal["own", "plain"] = "own",
        long: Literal["stop", "cut", "skip"] = "stop",
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        super().__init__(tokenizer=tokenizer, vocab=vocab, length=length, unit="item", long=long, on_error=on_error)
        if template not in ("own", "plain"):
            raise RecipeError(f"codec.template is {template!r}{nearest(template, ('own', 'plain'))}")
        if not prompt or not answer or prompt == answer:
            raise RecipeError(f"codec.prompt is {prompt!r} and codec.answer {answer!r}; name two columns")
        if length < 8:
            raise RecipeError(f"codec.length is {length}; a question and its answer need at least 8 tokens")
        self.prompt, self.answer, self.template = prompt, answer, template
        self.adopted: dict[str, Any] | None = None

    # ---- files -> pieces -------------------------------------------------------------------------------------------

    def _pieces(self, name: str, where: str, data: bytes) -> list[Item]:
        """Conversations of a table; a file of plain text is one text, which can be scored but not learned from."""
        suffix = suffix_of(name)
        if suffix not in TABLES:
            return super()._pieces(name, where, data)
        out = []
        for number, make in self._rows_of(utf8(where, data), where, suffix):
            try:
                out += [Item(Conversation(messages), None, f"{name}#{number}") for messages in make]
            except DataError as error:
                if self.on_error == "stop":
                    raise
                self.skipped.append(str(error))
        return out

    def _rows_of(self, text: str, where: str, suffix: str) -> Iterator[tuple[int, Iterator[list[Message]]]]:
        """Line number of each row, and its messages once they are asked for."""

        def said(rows: Any) -> Iterator[list[Message]]:
            for number, row in rows:
                yield messages_of(row, f"{where}, line {number}", self.prompt, self.answer)

        if suffix != ".jsonl":
            for number, row in csv_rows(text, where, "\t" if suffix == ".tsv" else ","):
                yield number, said([(number, row)])
            return
        told = {"broken": " is not JSON ({}); write one conversation on each line, or leave it out",
                "other": ' is {}, not an object; write {{"messages": [...]}}'}  # fmt: skip
        for number, line in enumerate(text.split("\n"), 1):
            yield number, said(json_rows([line], where, first=number, **told))

    # ---- pieces -> examples ----------------------------------------------------------------------------------------

    def adopt(self, table: dict[str, Any], state: dict[str, Any]) -> None:
        """Take the tokens of a codec of texts, so that a model of these texts can be begun with (``train.start``).

        Raises:
            RecipeError: its tokens are of another kind.
        """
        theirs = table.get("tokenizer", "bpe")
        if table["name"] != "text" or theirs != self.tokenizer:
            raise RecipeError(
                f"train.start has a codec {table['name']} of {theirs} tokens, and codec.tokenizer is {self.tokenizer}; set it as "
                "there"
            )
        self.adopted = state

    def fit(self, items: Sequence[Item]) -> Self:
        """Train the tokeniser on what was said (unless it was adopted), and look whether the template takes all of it.

        Raises:
            DataError: no conversations among the items, or some that the template refuses.
        """
        for item in items:
            if not isinstance(item.value, Conversation):
                raise DataError(
                    f"{item.name or 'a piece'} is a text and no conversation; train it by recipe text, or write JSON lines of "
                    '{"messages": [...]}'
                )
        if self.adopted is not None:
            self.load_state(self.adopted)
        else:
            super().fit(items)
        for item in items:
            self._segments(item.value.messages, item.name)
        return self

    def _ready(self, learned: str) -> Self:
        super()._ready(learned)
        own: Foreign | None = self.foreign
        if own is None:
            self.chat = ChatTemplate(PLAIN, {_END: self.end}, {"eos_token": _END}, self.end)
        elif own.template and self.template == "own":
            self.chat = ChatTemplate(own.template, own.marks, own.named, self.end)
        else:
            end = own.spell(own.end)
            self.chat = ChatTemplate(PLAIN, {end: own.end}, {"eos_token": end}, self.end)
        self.end = self.chat.closing
        return self

    @cached_property
    def plain(self) -> TextCodec:
        """The codec of texts that are no conversations, with the same tokens."""
        made = TextCodec(tokenizer=self.tokenizer, vocab=self.vocab, length=self.length)
        return made.load_state(self.state())

    def _segments(self, messages: Sequence[Message], where: str, *, ask: bool = False) -> list[Segment]:
        return self.chat.segments(messages, where or "the conversation", ask=ask)

    def _numbers(self, segments: Sequence[Segment]) -> list[NDArray[np.int64]]:
        """The tokens of each segment; a start that the model sets itself is left out at the beginning."""
        pieces = [piece for s in segments for piece in s.pieces]
        # some tokenisers begin a text behind each mark; what follows on a text is inside of it
        always = self.foreign is not None and self.foreign.prefix == "always"
        opens = [k == 0 or (always and not isinstance(pieces[k - 1], str)) for k in range(len(pieces))]
        texts = [(piece, first) for piece, first in zip(pieces, opens, strict=True) if isinstance(piece, str)]
        begun = iter(self.tokens([piece for piece, first in texts if first]))
        inside = iter(self.tokens([piece for piece, first in texts if not first], inside=True))
        coded = iter([next(begun if first else inside) for _, first in texts])
        out = []
        for segment in segments:
            parts = [next(coded) if isinstance(p, str) else np.array([p], np.int64) for p in segment.pieces]
            out.append(np.concatenate([np.zeros(0, np.int64), *parts]))
        if self.foreign is not None and out and len(out[0]) and out[0][0] == self.foreign.begins:
            out[0] = out[0][1:]
        return out

    def encode(self, items: Sequence[Item]) -> Batch:
        """``(rows, length)`` int64, and a mask: True on the tokens of answers, each in one row.

        Texts that are no conversations are encoded as codec ``text`` does, all of them real.

        Raises:
            DataError: an answer without room, where ``long`` is ``"stop"``; some are conversations and some are not.
        """
        talks = [isinstance(item.value, Conversation) for item in items]
        if not all(talks):
            if any(talks):
                raise DataError("some pieces are conversations and some are texts; give one kind")
            return self.plain.encode(items)
        self._check_unicode(items)
        rows, masks = [], []
        for item in items:
            for row, mask in self._windows(item):
                rows.append(row)
                masks.append(mask)
        x = np.stack(rows) if rows else np.zeros((0, self.length), np.int64)
        mask = np.stack(masks) if masks else np.zeros((0, self.length), bool)
        return Batch(torch.from_numpy(x), None, torch.from_numpy(mask))

    def _windows(self, item: Item) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """The rows of a conversation, ``(length,)`` each, and which of their tokens are learned."""
        segments = self._segments(item.value.messages, item.name)
        numbers = self._numbers(segments)
        ends = np.cumsum([len(n) for n in numbers])
        spans = [(int(e) - len(n), int(e)) for n, e in zip(numbers, ends, strict=True)]
        whole = np.concatenate(numbers)
        starts = [a for (a, _), s in zip(spans, segments, strict=True) if s.kind == "given"] or [0]
        answers = [span for span, s in zip(spans, segments, strict=True) if s.kind == "answer" and s.learned]
        first = done = 0
        while done < len(answers):
            a, b = answers[done]
            if (
                b - first > self.length
            ):  # begin later: with up to half a row of what was said before, from a turn's beginning on
                b = min(b, a + self.length - 1)
                near = [s for s in starts if s <= a and b - s <= self.length and a - s <= self.length // 2]
                first = near[0] if near else max(a - self.length // 2, b - self.length, 0)
                if b < answers[done][1] and self.long != "cut":
                    if self.long == "stop":
                        raise DataError(
                            f"{item.name or 'a conversation'} has an answer of {answers[done][1] - a} tokens, and {self.length - 1} have "
                            "room; set codec.length, or codec.long = 'cut' or 'skip'"
                        )
                    done += 1
                    continue
            last = first + self.length
            row, mask = np.full(self.length, self.end), np.zeros(self.length, bool)
            part = whole[first:last]
            row[: len(part)] = part
            began = done
            while done < len(answers) and (answers[done][1] <= last or done == began):
                a, b = answers[done]
                mask[a - first : b - first] = True
                done += 1
            yield row, mask

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """The rows of ``encode``; of plain texts, what codec ``text`` gives."""
        if items and not isinstance(items[0].value, Conversation):
            return self.plain.source(items, train=train)
        return self.encode(items)

    def bytes_per_token(self, items: Sequence[Item]) -> float:
        """UTF-8 bytes of the answers over the tokens that judge them, ends included."""
        batch = self.encode(items)
        assert batch.mask is not None
        said = [row[mask].tolist() for row, mask in zip(batch.x, batch.mask, strict=True)]
        texts = self.strings([[t for t in row if t != self.end] for row in said])
        return sum(len(t.encode("utf-8")) for t in texts) / max(1, int(batch.mask.sum()))

    def answered(self, asked: str | Item, text: str) -> Conversation:
        """What was asked, with an answer to it."""
        before = [Message("user", asked)] if isinstance(asked, str) else self.asked(asked)[0]
        return Conversation([*before, Message("assistant", text)])

    def asked(self, item: Item) -> tuple[list[Message], str]:
        """What stands before the last answer of a conversation, and that answer."""
        messages = list(item.value.messages)
        last = max(k for k, m in enumerate(messages) if m.role == "assistant")
        return messages[:last], messages[last].content

    def prompts(self, asked: Sequence[str | Item]) -> tuple[Tensor, Tensor]:
        """What a user says, or stands before the last answer of a conversation, and an answer opened: ``(n, t)``, what is real.

        Of what is longer than a row the end is kept, so that half a row is left.
        """
        rows = []
        for one in asked:
            row = self.encode_prompt(one if isinstance(one, str) else self.asked(one)[0])
            rows.append(row if len(row) < self.length else row[-(self.length // 2) :])
        x = torch.full((len(rows), max(map(len, rows))), self.end)
        for i, row in enumerate(rows):
            x[i, : len(row)] = row
        return x, torch.arange(x.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]

    def reply(self, model: Any, begun: Tensor, real: Tensor, rng: Rng, *, max_new: int, **knobs: Any) -> Tensor:
        """What a model answers to ``prompts``, ``(n, max_new)``, ``end`` behind each answer."""
        keep = torch.ones_like(real, device=rng.device)
        batch = Batch(begun.to(rng.device), None, None if bool(real.all()) else real.to(rng.device))
        made = model.edit(batch, keep, rng, max_new=max_new, stop=self.end, **knobs)[:, begun.shape[1] :].cpu()
        over = ((made == self.end).cumsum(1) - (made == self.end).long()) > 0
        return made.masked_fill(over, self.end)

    def encode_prompt(self, text: str | Sequence[Message]) -> Tensor:
        """What a user says (or a whole conversation) with an answer opened behind it, int64 ``(tokens,)``.

        Raises:
            DataError: nothing is said, or it is not the user's turn that is answered.
        """
        messages = [Message("user", text.strip())] if isinstance(text, str) else list(text)
        if not messages or not messages[-1].content.strip():
            raise DataError("nothing is said that could be answered; write at least a word")
        if messages[-1].role == ROLES[-1]:
            raise DataError("the last message is the assistant's; end with what the user says")
        self._check_unicode([Item(m.content, name="a message") for m in messages])
        return torch.from_numpy(np.concatenate(self._numbers(self._segments(messages, "the prompt", ask=True))))

    def start_edit(self, source: str | Path | Item, mask: Path | None = None) -> tuple[Batch, Tensor]:
        """A question, or a conversation without its last answer, and room for the answer: as in codec ``text``."""
        if isinstance(source, Path):
            source = self.read(source)[0]
        if isinstance(source, Item) and isinstance(source.value, Conversation):
            begun = self.encode_prompt(self.asked(source)[0])
            length = max(self.length, len(begun) + self.length // 2)
            x = torch.full((1, length), self.end)
            x[0, : len(begun)] = begun
            return Batch(x), torch.arange(length)[None] < len(begun)
        return super().start_edit(source, mask)

    def strings(self, rows: list[list[int]]) -> list[str]:
        """The text of each row of tokens; marks have none."""
        return super().strings([[t for t in row if t != self.end] for row in rows])

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """The text of each row, with those of all turns, up to its padding."""
        return [Item(text) for text in self.strings(x.tolist())]

    def to_huggingface(self, start: int | None, *, closed: bool = False) -> dict[str, dict[str, Any]]:
        """As of codec ``text``, with the template by which it was taught."""
        files = super().to_huggingface(start, closed=closed)
        settings = files["tokenizer_config.json"]
        if self.foreign is not None:
            settings["eos_token"] = self.foreign.spell(self.end)
        if "chat_template" not in settings or self.template == "plain":
            settings["chat_template"] = PLAIN
        return files
