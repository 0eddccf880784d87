"""Labels of texts: a class, tagged spans, or the place of an answer outside; class, tag and place numbers inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.codecs._files import contents, is_archive, json_rows, read_bytes
from bottega.codecs._foreign import is_place
from bottega.codecs._text_files import csv_rows, utf8
from bottega.codecs._text_page import page
from bottega.codecs.text import TextCodec
from bottega.core import Batch, DataError, Item, OutputError, RecipeError, Source, Spec, nearest

__all__ = ["LabelledCodec", "SUFFIXES"]

SUFFIXES = frozenset({".jsonl", ".csv", ".tsv", ".json"})


class LabelledCodec:
    r"""What is known of a piece (``Item.cond``) is a text, and the piece (``Item.value``) a label of it.

    - ``kind="class"``: the name of its class; examples are ``Spec((), vocab=classes)``.
    - ``kind="tags"``: a list of ``(start, end, name)``, spans in characters of the text; examples are a tag for each
      token, ``Spec((length,), vocab=1 + 2 * names)``: outside, or the beginning or the inside of a name's span (BIO,
      Ramshaw & Marcus 1995, arXiv:cmp-lg/9505040).
    - ``kind="span"``: ``(start, end)`` in characters of the passage, or None where it has no answer; the text is
      ``"question\npassage"``. Examples are the first and the last token, ``Spec((2,), vocab=length)``; the first token
      of the row, twice, where there is no answer.

    ``read`` takes ``.csv`` / ``.tsv`` (classes), ``.jsonl`` (all), or ``.json`` as SQuAD has it (spans), each also
    gzipped, or a folder of them.

    Args:
        kind: see above.
        tokenizer: see ``TextCodec``.
        vocab: see ``TextCodec``.
        length: tokens of a text (of question and passage with an end between them).
        column: where the text is (spans: the passage).
        label: where the label is: a class, a list of spans ``[name, start, end]`` or ``[start, end, name]``, or the
            answer's ``[start, end]`` or null.
        question: of ``.jsonl``, where the question is; spans only.
        between: what stands between several classes in one cell; each is a piece then. Empty: a cell is one class.
        long: what to do with texts that are longer than a row: ``"stop"``; ``"cut"`` keeps their beginning; ``"skip"``
            leaves them out; ``"window"`` (spans): a row for each window of the passage, each half over the last.

    Raises:
        RecipeError: an argument has no such value.

    >>> codec = LabelledCodec(kind="tags", tokenizer="char", length=8)
    >>> items = [Item([(3, 6, "who")], "to Ann"), Item([], "hey")]
    >>> codec.fit(items).encode(items).x[0].tolist(), codec.decode(codec.encode(items).x, codec.encode(items).cond)[0].value
    ([0, 0, 0, 1, 2, 2, 0, 0], [(3, 6, 'who')])
    """

    medium = "labels"

    def __init__(
        self,
        *,
        kind: Literal["class", "tags", "span"] = "class",
        tokenizer: str = "bpe",
        vocab: int = 4096,
        length: int = 64,
        column: str = "text",
        label: str = "label",
        question: str = "question",
        between: str = "",
        long: Literal["stop", "cut", "skip", "window"] = "stop",
    ) -> None:
        for name, value, known in (
            ("kind", kind, ("class", "tags", "span")),
            ("long", long, ("stop", "cut", "skip", "window")),
        ):
            if value not in known:
                raise RecipeError(f"codec.{name} is {value!r}{nearest(value, known)}")
        if long == "window" and kind != "span":
            raise RecipeError(f"codec.long is 'window', but codec.kind {kind!r}; only passages are read in windows")
        if between and kind != "class":
            raise RecipeError(
                f"codec.between is {between!r}, but codec.kind {kind!r}; only classes stand several in a cell"
            )
        self.text = TextCodec(tokenizer=tokenizer, vocab=vocab, length=length, unit="item")
        self.kind, self.length, self.column, self.label = kind, length, column, label
        self.question, self.between, self.long = question, between, long
        self.names: list[str] = []
        self.adopted: dict[str, Any] | None = None

    @property
    def classes(self) -> list[str]:
        """The names of the classes; empty for tags and spans."""
        return self.names if self.kind == "class" else []

    # ---- files -> pieces -------------------------------------------------------------------------------------------

    def read(self, source: str | Path) -> list[Item]:
        """Labels with their texts, one for each record (and class), sorted by file name.

        Raises:
            DataError: nothing there, no such column, a label of another kind, a span outside its text.
        """
        source = Path(source)
        if not source.exists():
            raise DataError(f"there is no {source}; give .csv, .tsv, .jsonl or SQuAD's .json")
        if source.is_dir() or is_archive(source):
            files = [(n, f"{source}/{n}", d) for n, d in contents(source, lambda n: _suffix(n) in SUFFIXES)]
        else:
            files = [(source.name, str(source), read_bytes(source))]
        items = [item for name, where, data in sorted(files) for item in self._pieces(name, where, utf8(where, data))]
        if not items:
            raise DataError(f"{source} holds no labelled text; supported: {', '.join(sorted(SUFFIXES))}, also .gz")
        return items

    def _pieces(self, name: str, where: str, text: str) -> list[Item]:
        suffix = _suffix(name)
        if suffix == ".json":
            return self._squad(name, where, text)
        if suffix == ".jsonl":
            broken, other = (
                " is not JSON ({}); write one object on each line",
                ' is {}, not an object; write {{"text": ...}}',
            )
            rows = list(json_rows(text.split("\n"), where, broken=broken, other=other))
        elif suffix in {".csv", ".tsv"} and self.kind == "class":
            rows = csv_rows(text, where, "\t" if suffix == ".tsv" else ",")
        else:
            raise DataError(f"{where} cannot hold {self.kind}; give .jsonl (spans: or SQuAD's .json)")
        out = []
        wanted = (self.column, self.label, *([self.question] if self.kind == "span" else []))
        for number, row in rows:
            for column in wanted:
                if column not in row:
                    raise DataError(
                        f"{where}, line {number}: no column {column!r}{nearest(column, row)}; set codec.column, codec.label"
                    )
            said = row[self.column]
            if not isinstance(said, str) or (self.kind == "span" and not isinstance(row[self.question], str)):
                raise DataError(f"{where}, line {number}: {self.column!r} is not text; name another codec.column")
            if not said.strip():
                continue
            place = f"{name}#{number}"
            if self.kind == "class":
                cell = str(row[self.label])
                each = [part.strip() for part in cell.split(self.between)] if self.between else [cell]
                out += [Item(part, said, place) for part in each if part]
                continue
            try:
                spans = _spans(row[self.label], self.kind, said)
            except ValueError as error:
                raise DataError(f"{where}, line {number}: {self.label!r} is {error}") from error
            given = said if self.kind == "tags" else f"{_line(row[self.question])}\n{said}"
            out.append(Item(spans, given, place))
        return out

    def _squad(self, name: str, where: str, text: str) -> list[Item]:
        """SQuAD's form; questions on one article, in whatever language, are of one group."""
        if self.kind != "span":
            raise DataError(
                f"{where} is one JSON, as SQuAD has it, for codec.kind = 'span'; give .jsonl for {self.kind}"
            )
        out = []
        try:
            for article in json.loads(text)["data"]:
                ids = [qa["id"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
                group = min(ids) if ids else None
                for paragraph in article["paragraphs"]:
                    for qa in paragraph["qas"]:
                        answer = next(iter(qa["answers"]), None)
                        span = None
                        if answer is not None:
                            first = int(answer["answer_start"])
                            span = (first, first + len(answer["text"]))
                            if paragraph["context"][slice(*span)] != answer["text"]:
                                raise DataError(
                                    f"{where}: the answer of {qa['id']} is not where it says; mend answer_start"
                                )
                        out.append(
                            Item(span, f"{_line(qa['question'])}\n{paragraph['context']}", f"{name}#{qa['id']}", group)
                        )
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{where} is not in SQuAD's form: {type(error).__name__} {error}; see codec labelled"
            ) from error
        return out

    # ---- pieces -> examples ----------------------------------------------------------------------------------------

    def adopt(self, table: dict[str, Any], state: dict[str, Any]) -> None:
        """Take the tokens of a codec of texts, so that a model of these texts can be begun with (``train.start``).

        Raises:
            RecipeError: its tokens are of another kind.
        """
        theirs, mine = table.get("tokenizer", "bpe"), self.text.tokenizer
        same = theirs == mine or (
            is_place(theirs) and is_place(mine) and Path(theirs).resolve() == Path(mine).resolve()
        )
        if table["name"] != "text" or not same:
            raise RecipeError(
                f"train.start has a codec {table['name']} of {theirs} tokens, and codec.tokenizer is {mine}; set it as there"
            )
        self.adopted = {**state, "classes": []}

    def fit(self, items: Sequence[Item]) -> Self:
        """Train the tokeniser on the texts (unless it was adopted) and learn the names of the labels.

        Raises:
            DataError: no text, or only one class.
        """
        texts = [Item(_known(item)) for item in items]
        if self.adopted is None:
            self.text.fit(texts)
        else:
            self.text.load_state(self.adopted)
        if self.kind == "class":
            self.names = sorted({str(item.value) for item in items})
            if len(self.names) < 2:
                raise DataError(f"every text is of the class {self.names[0]!r}; give at least two classes")
        elif self.kind == "tags":
            self.names = sorted({name for item in items for _, _, name in item.value})
            if not self.names:
                raise DataError("no text has a span to learn; give codec.label the column of the spans")
        return self._ready()

    def _ready(self) -> Self:
        cond = Spec((self.length,), vocab=self.text.spec.vocab)
        if self.kind == "class":
            self.spec = Spec((), vocab=len(self.names), cond=cond)
        elif self.kind == "tags":
            self.spec = Spec((self.length,), vocab=1 + 2 * len(self.names), cond=cond)
        else:
            self.spec = Spec((2,), vocab=self.length, cond=cond)
        return self

    def encode(self, items: Sequence[Item]) -> Batch:
        """Labels and their texts; a row for each, or for each window. Tags have a mask: False on padding.

        Raises:
            DataError: a text is too long, a class is new.
        """
        known = [_known(item) for item in items]
        if self.kind == "span":
            return self._answers(items, known)
        tokens = self.text.tokens(known)
        fits = [len(t) <= self.length for t in tokens]
        self._check_long(fits, max(map(len, tokens), default=0))
        if self.long == "skip":
            items, known, tokens = (
                [v for v, f in zip(part, fits, strict=True) if f] for part in (items, known, tokens)
            )
        cond = self._padded(tokens)
        if self.kind == "class":
            number = {name: i for i, name in enumerate(self.names)}
            for item in items:
                if str(item.value) not in number:
                    raise DataError(f"a text's label is new: {str(item.value)!r}{nearest(str(item.value), self.names)}")
            return Batch(torch.tensor([number[str(item.value)] for item in items], dtype=torch.long), cond)
        number = {name: i for i, name in enumerate(self.names)}
        x = np.zeros((len(items), self.length), np.int64)
        for row, item, text, part in zip(x, items, known, tokens, strict=True):
            first, last = self.text.bounds(text, part)
            for start, end, name in item.value:
                if name not in number:
                    raise DataError(f"a span's name is new: {name!r}{nearest(name, self.names)}")
                inside = np.flatnonzero((first < end) & (last > start) & (last > first))
                inside = inside[inside < self.length]
                if len(inside):  # with what is white space between
                    row[inside[0] : inside[-1] + 1] = 2 + 2 * number[name]
                    row[inside[0]] = 1 + 2 * number[name]
        real = torch.tensor([min(len(t), self.length) for t in tokens], dtype=torch.long)
        return Batch(torch.from_numpy(x), cond, torch.arange(self.length) < real[:, None])

    def _check_long(self, fits: Sequence[bool], longest: int) -> None:
        if self.long == "stop" and not all(fits):
            others = "'cut', 'skip'" + (" or 'window'" if self.kind == "span" else "")
            raise DataError(
                f"{fits.count(False)} of {len(fits)} texts are longer than a row ({longest} tokens, where {self.length} have "
                f"room); set codec.length, or codec.long = {others}"
            )

    def _padded(self, tokens: Sequence[NDArray[np.int64]]) -> Tensor:
        x = np.full((len(tokens), self.length), self.text.end)
        for row, part in zip(x, tokens, strict=True):
            row[: min(len(part), self.length)] = part[: self.length]
        return torch.from_numpy(x)

    def _answers(self, items: Sequence[Item], known: Sequence[str]) -> Batch:
        cond, x, fits, longest = [], [], [], 0
        for item, said in zip(items, known, strict=True):
            windows, bounds, size = self.windows(said)
            fits.append(len(windows) == 1)
            longest = max(longest, size)
            if self.long == "skip" and len(windows) > 1:
                continue
            for row, (first, last, asked) in list(zip(windows, bounds, strict=True))[
                : None if self.long == "window" else 1
            ]:
                place = (0, 0)
                if item.value is not None:
                    start, end = item.value
                    inside = np.flatnonzero((first < end) & (last > start) & (last > first))
                    if len(inside) and first[inside[0]] <= start and last[inside[-1]] >= end:
                        place = (asked + int(inside[0]), asked + int(inside[-1]))
                cond.append(row)
                x.append(place)
        self._check_long(fits, longest)
        return Batch(torch.tensor(x, dtype=torch.long).view(-1, 2), self._padded(cond))

    def windows(
        self, said: str
    ) -> tuple[list[NDArray[np.int64]], list[tuple[NDArray[np.int64], NDArray[np.int64], int]], int]:
        r"""``"question\npassage"`` as rows of tokens, each with the question and a part of the passage.

        Returns:
            The rows; for each, the characters of the passage at which its tokens begin and end, and where in the row the
            passage begins; and the tokens of all.

        Raises:
            DataError: the question leaves no room for a passage.
        """
        asked, passage = _halves(said)
        question, tokens = self.text.tokens([asked, passage])
        begin, room = len(question) + 1, self.length - len(question) - 1
        if room < 2:
            raise DataError(
                f"a question has {len(question)} tokens and leaves no room in {self.length}; set codec.length"
            )
        first, last = self.text.bounds(passage, tokens)
        starts = list(range(0, max(1, len(tokens) - room // 2), max(1, room // 2))) if len(tokens) > room else [0]
        rows = [np.concatenate([question, [self.text.end], tokens[s : s + room]]) for s in starts]
        return rows, [(first[s : s + room], last[s : s + room], begin) for s in starts], begin + len(tokens)

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """The rows of ``encode``."""
        return self.encode(items)

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        r"""Texts (spans: ``"question\npassage"``) as int64 ``(B, length)``, padded with the end.

        Raises:
            RecipeError: no text, or one that is longer than a row.
        """
        rows = []
        for value in values:
            if not isinstance(value, str) or not value.strip():
                raise RecipeError(f"{value!r} is no text to read; give --cond TEXT")
            try:
                windows = self.windows(value)[0] if self.kind == "span" else [self.text.tokens([value])[0]]
            except DataError as error:
                raise RecipeError(str(error)) from error
            if self.long not in {"cut", "window"} and (len(windows) > 1 or len(windows[0]) > self.length):
                raise RecipeError(f"a text is longer than the {self.length} tokens that are read; give it in parts")
            rows.append(windows[0])
        return self._padded(rows)

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """Labels with the texts that they are of.

        Raises:
            DataError: tags and spans without their texts.
        """
        if cond is None:
            if self.kind != "class":
                raise DataError(f"{self.kind} are places in a text; decode them with their texts")
            return [Item(self.names[k]) for k in x.tolist()]
        out = []
        for label, row in zip(x.tolist(), cond.tolist(), strict=True):
            tokens = self._cut(row)
            if self.kind == "span":
                out.append(self._answer(label, tokens))
                continue
            text = self.text.strings([tokens])[0]
            value = self.names[label] if self.kind == "class" else self._tagged(label, text, tokens)
            out.append(Item(value, text))
        return out

    def _cut(self, row: list[int]) -> list[int]:
        """A row without the ends that fill it."""
        while row and row[-1] == self.text.end:
            row = row[:-1]
        return row

    def tagged(self, tags: Sequence[int], text: str) -> list[tuple[int, int, str]]:
        """The spans that the tags of a text's tokens say, in characters of the text as it is written.

        Args:
            tags: of its tokens, as many as a row has.
            text: what ``encode_cond`` was given.
        """
        return self._tagged(list(tags), text, self.text.tokens([text])[0][: self.length].tolist())

    def _tagged(self, tags: list[int], text: str, tokens: list[int]) -> list[tuple[int, int, str]]:
        first, last = self.text.bounds(text, np.asarray(tokens, np.int64))
        spans: list[list[int]] = []  # start, end, name
        before = 0
        for tag, start, end in zip(tags, first.tolist(), last.tolist(), strict=False):
            name = (tag - 1) // 2
            if tag and (tag % 2 or not before or (before - 1) // 2 != name):
                spans.append([start, end, name])
            elif tag:
                spans[-1][1] = max(spans[-1][1], end)
            before = tag
        return [(s, e, self.names[k]) for s, e, k in spans if e > s]

    def _answer(self, place: list[int], tokens: list[int]) -> Item:
        middle = tokens.index(self.text.end) if self.text.end in tokens else len(tokens)
        asked, passage = self.text.strings([tokens[:middle], tokens[middle + 1 :]])
        said = f"{asked}\n{passage}"
        first, last = self.text.bounds(passage, np.asarray(tokens[middle + 1 :], np.int64))
        a, b = (p - middle - 1 for p in place)
        if not 0 <= a <= b < len(first) or first[a] >= last[b]:
            return Item(None, said)
        return Item((int(first[a]), int(last[b])), said)

    # ---- pieces -> files -------------------------------------------------------------------------------------------

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One text with its label as ``.json``; ``mark`` is a key of it.

        Raises:
            OutputError: the place cannot be written.
        """
        path = path if path.suffix.lower() == ".json" else path.with_name(path.name + ".json")
        content = {"text": item.cond, "label": item.value} | ({} if mark is None else {"mark": mark})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
        return path

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """A page of texts with their labels, as PNG."""
        path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
        return page([self.told(item) for item in items], path)

    def told(self, item: Item) -> Item:
        """A labelled text as one to look at: the class above it, spans in brackets, the answer behind the question."""
        text = _known(item)
        if self.kind == "class":
            return Item(text, item.value)
        if self.kind == "span":
            asked, passage = _halves(text)
            answer = "(no answer)" if item.value is None else passage[slice(*item.value)]
            return Item(passage, f"{asked}  {answer}")
        for start, end, name in sorted(item.value, reverse=True):
            text = f"{text[:start]}[{name}: {text[start:end]}]{text[end:]}"
        return Item(text)

    def state(self) -> dict[str, Any]:
        """The tokeniser and the names of the labels."""
        return {k: v for k, v in self.text.state().items() if k != "classes"} | {"names": self.names}

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``."""
        self.text.load_state({k: v for k, v in state.items() if k != "names"} | {"classes": []})
        self.names = list(state["names"])
        return self._ready()


def _suffix(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


def _line(text: str) -> str:
    """A question in one line."""
    return " ".join(text.split())


def _halves(said: str) -> tuple[str, str]:
    asked, line, passage = said.partition("\n")
    if not line:
        raise DataError(f"{said[:40]!r} has no passage; give the question, a new line and the passage")
    return asked, passage


def _known(item: Item) -> str:
    if not isinstance(item.cond, str):
        raise DataError(f"{item.name or 'a label'} has no text that it is of; give labelled texts")
    return item.cond


def _spans(value: Any, kind: str, text: str) -> Any:
    """Spans as the piece has them; raises ValueError saying what is wrong."""
    if kind == "span":
        if value is None:
            return None
        if not (isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) for v in value)):
            raise ValueError(f"{value!r}; give [start, end] or null")
        return _within(value[0], value[1], text)
    out = []
    if not isinstance(value, list):
        raise ValueError(f"{value!r}, not a list; give [[name, start, end], ...]")
    for part in value:
        numbers = [v for v in part if isinstance(v, int)] if isinstance(part, list) else []
        names = [v for v in part if isinstance(v, str)] if isinstance(part, list) else []
        if len(numbers) != 2 or len(names) != 1:
            raise ValueError(f"{part!r}; give [name, start, end]")
        out.append((*_within(*numbers, text), names[0]))
    return sorted(out)


def _within(start: int, end: int, text: str) -> tuple[int, int]:
    if not 0 <= start < end <= len(text):
        raise ValueError(f"[{start}, {end}), outside a text of {len(text)} characters")
    return start, end
