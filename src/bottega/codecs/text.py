"""Text: UTF-8 files, JSON lines and CSV columns outside; windows or rows of token numbers inside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.codecs._bpe import batches, byte_letters, pieces_of, train_bpe
from bottega.codecs._files import contents, is_archive, json_rows, read_bytes
from bottega.codecs._foreign import Foreign, is_place, written
from bottega.codecs._text_files import csv_rows, suffix_of, unzipped, utf8
from bottega.codecs._text_page import page
from bottega.core import Batch, DataError, Item, OutputError, RecipeError, Rng, Source, Spec, nearest

__all__ = ["TextCodec", "SUFFIXES", "TABLES"]

SUFFIXES = frozenset({".txt", ".md", ".rst", ".py", ".tex", ".abc"})
TABLES = frozenset({".jsonl", ".csv", ".tsv"})


class TextCodec:
    r"""Text as token numbers ``(length,)``, 0 .. vocab - 1; one number is ``end``, which no text contains: the last one.

    ``read`` takes a UTF-8 file, a folder or an archive of ``.txt``, ``.md``, ``.rst``, ``.py``, ``.tex`` or ``.abc``
    files, or ``.jsonl`` / ``.csv`` / ``.tsv`` with the text in one column; each also gzipped. Line ends become ``\n``.
    With ``given``, also files of lines side by side: of ``a.de`` and ``a.en`` line by line one is given and one the text.

    Args:
        tokenizer: ``"bpe"``, byte-pair encoding over bytes trained on the data (Sennrich et al. 2016, arXiv:1508.07909;
            over bytes after Radford et al. 2019), ``"char"``, or ``"byte"``. Bytes and BPE write any Unicode exactly;
            characters only those seen. A path (``"./gpt2"``) is the directory of a Hugging Face model or its
            ``tokenizer.json``: the numbers are that model's, ``end`` its own, and the run keeps a copy.
        vocab: how many different tokens BPE may use, ``end`` included; at least 257. The others need no number.
        length: tokens in a row.
        unit: what a row is. ``"document"``: windows over all documents in a line, with ``end`` after each (random
            offsets in training; one after another in judging). ``"paragraph"``, ``"line"``, ``"item"``: one row for
            each paragraph, line or whole piece, closed by ``end`` and padded; a longer one goes on in the next row.
            ``"pair"``: two lines, each closed by ``end``, and as a class whether they follow each other: ``"next"``, or
            ``"apart"`` where the second is one of elsewhere, which in training is another each time.
        column: of JSON lines and CSV files, where the text is.
        label: a column with a class for each piece, to condition on; empty for none. Not for documents, whose windows
            straddle pieces.
        given: a column (of parallel files: the ending) with a text that is known of each piece, to condition on: what is
            to be translated, the article of a summary. Needs ``unit = "item"``; a list of texts in it is joined by
            blanks, a list in ``column`` (several references) is a piece for each.
        given_length: tokens of a given text; 0 means ``length``. Of other people's tokenizers its end is one of them.
        prefix: with ``given``, what is set before every given text, as T5 wants its task named ("summarize: ").
        long: with ``given``, what to do with texts that are longer than a row: ``"stop"``, ``"cut"`` keeps their
            beginning, ``"skip"`` leaves the pair out.
        on_error: ``"stop"`` at a file that is not UTF-8, or ``"skip"`` it (its message is kept in ``skipped``).

    Raises:
        RecipeError: an argument has no such value.

    >>> codec = TextCodec(tokenizer="byte", length=8, unit="line").fit([Item("hé\nho")])
    >>> batch = codec.encode([Item("hé\nho")])
    >>> batch.x[0].tolist(), batch.mask[0].tolist().count(True), [i.value for i in codec.decode(batch.x)]
    ([104, 195, 169, 256, 256, 256, 256, 256], 4, ['hé', 'ho'])
    """

    medium = "text"
    what, first = "text", SUFFIXES  # what is read, and which files of a mixed folder
    free = frozenset(
        {"length", "unit", "column", "label", "long", "on_error", "given", "given_length", "prefix"}
    )  # what decides nothing about the numbers

    def __init__(
        self,
        *,
        tokenizer: str = "bpe",
        vocab: int = 1024,
        length: int = 128,
        unit: Literal["document", "paragraph", "line", "item", "pair"] = "document",
        column: str = "text",
        label: str = "",
        given: str = "",
        given_length: int = 0,
        prefix: str = "",
        long: Literal["stop", "cut", "skip"] = "stop",
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        for name, value, known in (
            ("tokenizer", tokenizer, ("bpe", "char", "byte")),
            ("unit", unit, ("document", "paragraph", "line", "item", "pair")),
            ("long", long, ("stop", "cut", "skip")),
            ("on_error", on_error, ("stop", "skip")),
        ):
            if value not in known and not (name == "tokenizer" and is_place(value)):
                raise RecipeError(f"codec.{name} is {value!r}{nearest(value, known)}")
        if tokenizer == "bpe" and vocab < 257:
            raise RecipeError(f"codec.vocab is {vocab}; BPE over bytes needs at least 257 (256 bytes and the end)")
        if length < 2:
            raise RecipeError(f"codec.length is {length}; a row needs at least 2 tokens")
        if not column:
            raise RecipeError("codec.column is empty; name the column of .jsonl and .csv files that holds the text")
        if label and unit == "document":
            raise RecipeError(f"codec.label is {label!r}, but windows straddle documents; set codec.unit = 'item'")
        if label and unit == "pair":
            raise RecipeError(f"codec.label is {label!r}, but the class of a pair is whether it follows; leave it out")
        if given and (unit != "item" or label or given == column):
            raise RecipeError(
                f"codec.given is {given!r}; it needs codec.unit = 'item', another codec.column and no codec.label"
            )
        if prefix and not given:
            raise RecipeError(
                f"codec.prefix is {prefix!r}, but no text is given that it could stand before; name codec.given"
            )
        if given_length < 0 or given_length and not given:
            raise RecipeError(f"codec.given_length is {given_length}; it must be at least 0, and codec.given be named")
        self.tokenizer, self.vocab, self.length, self.unit = tokenizer, vocab, length, unit
        self.column, self.label, self.on_error = column, label, on_error
        self.given_column, self.given_length, self.long = (
            given,
            given_length or length,
            long,
        )  # ``given`` is a method elsewhere
        self.prefix = prefix
        self.foreign: Foreign | None = None
        self.classes: list[str] = []
        self.skipped: list[str] = []

    # ---- files -> pieces -------------------------------------------------------------------------------------------

    def read(self, source: str | Path) -> list[Item]:
        """Texts as str, one for each file or record, sorted by file name.

        Raises:
            DataError: nothing there, no text in it, not UTF-8 (with the byte where), no such column, broken JSON.
        """
        source = Path(source)
        self.skipped = []
        if not source.exists():
            raise DataError(f"there is no {source}; give a UTF-8 text file, a folder of them, .jsonl or .csv")
        if self.given_column and (beside := self._beside(source)):
            return [item for pair in beside for item in self._parallel(*pair)]
        items: list[Item] = []
        for name, where, data in self._files(source):
            try:
                items += self._pieces(name, where, data)
            except DataError as error:
                if self.on_error == "stop":
                    raise
                self.skipped.append(str(error))
        items = [item for item in items if item.value.strip()]
        if not items:
            lost = f" ({len(self.skipped)} unreadable)" if self.skipped else ""
            raise DataError(
                f"{source} holds no {self.what}{lost}; supported: {', '.join(sorted(SUFFIXES | TABLES))}, also .gz"
            )
        return items

    def _files(self, source: Path) -> list[tuple[str, str, bytes]]:
        """Name, place and content of what is to be read; of a folder, one kind of files: the first that is there."""
        if not source.is_dir() and not is_archive(source):
            return [(source.name, str(source), read_bytes(source))]
        known = TABLES if self.given_column else SUFFIXES | TABLES
        found = sorted(contents(source, lambda name: suffix_of(name) in known))
        some = [f for f in found if suffix_of(f[0]) in self.first]
        return [(name, f"{source}/{name}", unzipped(source, name, data)) for name, data in some or found]

    def _beside(self, source: Path) -> list[tuple[Path, Path]]:
        """Pairs of files of lines, the text's and the given one's: ``source`` and its neighbour, or those of a folder."""
        ends = (f".{self.column}", f".{self.given_column}")
        files = sorted(source.iterdir()) if source.is_dir() else [source]
        out = {}
        for file in files:
            packed = ".gz" if file.name.endswith(".gz") else ""
            plain = file.name.removesuffix(".gz")
            if not plain.endswith(ends):
                continue
            stem = plain.rpartition(".")[0]
            pair = tuple(
                next((p for z in (packed, "", ".gz") if (p := file.with_name(stem + end + z)).exists()), None)
                for end in ends
            )
            if pair[0] is not None and pair[1] is not None:
                out[stem] = (pair[0], pair[1])
            elif not source.is_dir():
                wanted = stem + ends[0 if plain.endswith(ends[1]) else 1]
                raise DataError(f"{file} has no {wanted} beside it; put it there, or set codec.given and codec.column")
        return list(out.values())

    def _parallel(self, text: Path, given: Path) -> list[Item]:
        sides = []
        for path in (text, given):
            lines = utf8(str(path), read_bytes(path)).split("\n")
            sides.append(lines[:-1] if lines and not lines[-1] else lines)
        if len(sides[0]) != len(sides[1]):
            raise DataError(
                f"{text} has {len(sides[0])} lines and {given.name} {len(sides[1])}; give files whose lines belong together"
            )
        pairs = enumerate(zip(*sides, strict=True), 1)
        return [Item(a, b, f"{text.name}#{i}") for i, (a, b) in pairs if a.strip() and b.strip()]

    def _pieces(self, name: str, where: str, data: bytes) -> list[Item]:
        text = utf8(where, data)
        suffix = suffix_of(name)
        if suffix not in TABLES:
            if self.given_column:
                raise DataError(
                    f"{where} has no column {self.given_column!r}; give .jsonl, .csv or .tsv, or two files of lines that "
                    f"end in .{self.column} and .{self.given_column}"
                )
            return [Item(text, name=name)]
        if suffix == ".jsonl":
            broken = " is not JSON ({}); write one object on each line"
            other = ' is {}, not an object; write {{"text": ...}}'
            rows = list(json_rows(text.split("\n"), where, broken=broken, other=other))
        else:
            rows = csv_rows(text, where, "\t" if suffix == ".tsv" else ",")
        out = []
        for number, row in rows:
            for column in (self.column, self.label, self.given_column):
                if column and column not in row:
                    raise DataError(
                        f"{where}, line {number}: no column {column!r}{nearest(column, row)}; set codec.column"
                    )
            value = row[self.column]
            if self.given_column:
                given, values = row[self.given_column], value if isinstance(value, list) else [value]
                given = " ".join(given) if isinstance(given, list) and all(isinstance(g, str) for g in given) else given
                if not isinstance(given, str) or not all(isinstance(v, str) for v in values):
                    raise DataError(
                        f"{where}, line {number}: {self.column!r} and {self.given_column!r} are not both texts; name other columns"
                    )
                if given.strip():
                    out += [Item(v, given, f"{name}#{number}") for v in values]
                continue
            if not isinstance(value, str):
                raise DataError(
                    f"{where}, line {number}: {self.column!r} is {value!r}, not text; name another codec.column"
                )
            cond = str(row[self.label]) if self.label else None
            out.append(Item(value, cond, f"{name}#{number}"))
        return out

    # ---- pieces -> examples ----------------------------------------------------------------------------------------

    def fit(self, items: Sequence[Item]) -> Self:
        """Train the tokeniser on the pieces and learn the names of their classes; the same data gives the same tokens.

        Raises:
            DataError: no text.
        """
        texts = [item.value for item in items]
        if not any(texts) and not is_place(self.tokenizer):
            raise DataError("there is no text to learn from; give at least one character")
        self._check_unicode(items)
        if self.given_column:
            texts += list(dict.fromkeys(self._given_of(items)))
        learned = ""
        if is_place(self.tokenizer):
            self.foreign = Foreign.read(Path(self.tokenizer))
            learned = self.foreign.learned
        elif self.tokenizer == "bpe":
            learned = train_bpe(texts, self.vocab - 1)
        elif self.tokenizer == "char":
            learned = "".join(sorted(set().union(*texts)))
        labels = {str(i.cond) for i in items if i.cond is not None} if self.unit != "document" else set()
        self.classes = sorted(labels) if len(labels) > 1 and not self.given_column else []
        if self.unit == "pair":
            self.classes = list(PAIR)
        return self._ready(learned)

    def _ready(self, learned: str) -> Self:
        self.learned = learned
        if self.foreign is not None:
            self.end = self.foreign.end
        elif self.tokenizer == "bpe":
            from tokenizers import Tokenizer

            self._bpe = Tokenizer.from_str(learned)
            self.end = self._bpe.get_vocab_size()
        elif self.tokenizer == "char":
            self._codes = np.frombuffer(learned.encode("utf-32-le"), np.uint32)
            self.end = len(self._codes)
        else:
            self.end = 256
        size = self.end + 1 if self.foreign is None else self.foreign.size
        cond = Spec((), vocab=len(self.classes)) if self.classes else None
        if self.given_column:
            cond = Spec((self.given_length,), vocab=size)
        self.spec = Spec((self.length,), vocab=size, cond=cond)
        return self

    def _check_unicode(self, items: Iterable[Item]) -> None:
        for item in items:
            try:
                item.value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{item.name or 'a text'} holds {item.value[error.start]!r}, half a character (a lone surrogate), at "
                    f"position {error.start}; remove it"
                ) from error

    def tokens(self, texts: Sequence[str], *, inside: bool = False) -> list[NDArray[np.int64]]:
        """The token numbers of each text, without ``end``; concatenated pieces of text are not always concatenated tokens.

        ``inside`` says that they stand inside of a text: of tokenisers that spell a blank before a text (``lead``), without
        it.

        Raises:
            DataError: a character that the character tokeniser has not seen.
        """
        if self.foreign is not None:
            return [np.asarray(row, np.int64) for row in self.foreign.encode(texts, inside=inside)]
        if self.tokenizer == "bpe":
            found: list[list[NDArray[np.int64]]] = [[] for _ in texts]
            pieces = [(k, piece) for k, text in enumerate(texts) for piece in pieces_of(text)]
            for some in batches(pieces):
                coded = self._bpe.encode_batch_fast([piece for _, piece in some], add_special_tokens=False)
                for (k, _), code in zip(some, coded, strict=True):
                    found[k].append(np.asarray(code.ids, np.int64))
            return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in found]
        if self.tokenizer == "byte":
            return [np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) for text in texts]
        out = []
        for text in texts:
            codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
            place = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
            strange = np.flatnonzero(self._codes[place] != codes)
            if len(strange):
                c = text[strange[0]]
                raise DataError(
                    f"the character {c!r} (U+{ord(c):04X}) was not in the training text; leave it out, train on text that has "
                    "it, or set codec.tokenizer = 'bpe', which writes any character"
                )
            out.append(place.astype(np.int64))
        return out

    @property
    def lead(self) -> str:
        """What the spelling of a text's first token begins with and the text does not: a blank for SentencePiece, else nothing."""
        return " " if self.foreign is not None and self.foreign.prefix else ""

    @property
    def spelling(self) -> list[bytes]:
        r"""The UTF-8 bytes of every token; a text is its tokens' joined, without ``lead``. ``end`` has none.

        >>> TextCodec(tokenizer="char").fit([Item("öh")]).spelling
        [b'h', b'\xc3\xb6', b'']
        """
        if self.foreign is not None:
            return self.foreign.spelling(byte_letters())
        if self.tokenizer == "byte":
            return [bytes([k]) for k in range(256)] + [b""]
        if self.tokenizer == "char":
            return [c.encode("utf-8") for c in self.learned] + [b""]
        byte_of = byte_letters()
        return [bytes(byte_of[c] for c in self._bpe.id_to_token(k)) for k in range(self.end)] + [b""]

    def strings(self, rows: list[list[int]]) -> list[str]:
        """The text of each row of tokens, none of them ``end``; bytes that are no UTF-8 become U+FFFD."""
        if self.foreign is not None:
            return self.foreign.decode(rows)
        if self.tokenizer == "bpe":
            return list(self._bpe.decode_batch(rows, skip_special_tokens=False))
        if self.tokenizer == "byte":
            return [bytes(row).decode("utf-8", "replace") for row in rows]
        return ["".join(self.learned[k] for k in row) for row in rows]

    def bounds(self, text: str, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where in ``text`` each of its tokens begins and ends, in characters and without white space around it.

        ``tokens`` may be the first ones of the text only. A token that is a part of a character covers the whole of it.
        """
        if self.foreign is not None:
            first, last = self.foreign.bounds(text, tokens.tolist())
        elif self.tokenizer == "char":
            first = np.arange(len(tokens))
            last = first + 1
        else:
            sizes = np.ones(len(tokens), np.int64)
            if self.tokenizer == "bpe":  # a token is spelt with one sign for each byte
                sizes = np.array([len(self._bpe.id_to_token(t)) for t in tokens.tolist()], np.int64)
            ends = np.cumsum(sizes, dtype=np.int64)
            data = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
            begun = np.concatenate([[0], np.cumsum((data & 0xC0) != 0x80)])  # characters that began before each byte
            ends = ends.clip(max=len(data))
            starts = (ends - sizes).clip(0, max(0, len(data) - 1))
            first, last = begun[starts + 1] - 1 if len(data) else starts, begun[ends]
        blank = np.array([c.isspace() for c in text], bool)
        after = np.arange(len(text) + 1)  # the next character from here that is not blank; the last one before here
        before = np.arange(len(text) + 1)
        for i in range(len(text) - 1, -1, -1):
            after[i] = after[i + 1] if blank[i] else i
        for i in range(1, len(text) + 1):
            before[i] = before[i - 1] if blank[i - 1] else i
        return np.minimum(after[first], last), np.maximum(before[last], np.minimum(after[first], last))

    def _stream(self, items: Sequence[Item]) -> NDArray[np.int64]:
        """All documents in a line, ``end`` after each, int64 ``(N,)``."""
        self._check_unicode(items)
        end = np.array([self.end])
        return np.concatenate([part for t in self.tokens([i.value for i in items]) for part in (t, end)] or [end[:0]])

    def _units(self, items: Sequence[Item]) -> tuple[list[str], list[Any]]:
        """The texts of the rows and what is known of each."""
        self._check_unicode(items)
        texts, conds = [], []
        for item in items:
            if self.unit == "item":
                parts = [item.value]
            else:
                parts = (
                    item.value.split("\n")
                    if self.unit == "line"
                    else re.split(r"\n[^\S\n]*\n\s*", item.value.strip("\n"))
                )
            for part in parts:
                if part.strip():
                    texts.append(part)
                    conds.append(item.cond)
        return texts, conds

    def _given_of(self, items: Sequence[Item]) -> list[str]:
        for item in items:
            if not isinstance(item.cond, str):
                raise DataError(
                    f"{item.name or 'a text'} has nothing given; set codec.given to the column that it is in"
                )
        self._check_unicode([Item(item.cond, name=item.name) for item in items])
        return [self.prefix + item.cond for item in items]

    @property
    def given_room(self) -> int:
        """Tokens of a given text that have room; other people's models want its end behind it."""
        return self.given_length - (self.foreign is not None)

    def _padded(self, tokens: Sequence[NDArray[np.int64]], length: int) -> tuple[Tensor, Tensor]:
        """One row for each text, closed where there is room, and how much of it is real."""
        x = np.full((len(tokens), length), self.end)
        for row, part in zip(x, tokens, strict=True):
            row[: min(len(part), length)] = part[:length]
        real = torch.tensor([min(len(part) + 1, length) for part in tokens], dtype=torch.long)
        return torch.from_numpy(x), real

    def _pairs(self, items: Sequence[Item]) -> Batch:
        """A row for each text and the one given with it."""
        self._check_unicode(items)
        sides = [self.tokens([i.value for i in items]), self.tokens(self._given_of(items))]
        most = (self.length - 1, self.given_room)  # a text is closed; a given one that fills its row need not be
        fits = [all(len(t) <= m for t, m in zip(pair, most, strict=True)) for pair in zip(*sides, strict=True)]
        if self.long == "stop" and not all(fits):
            longest = [max(map(len, side)) for side in sides]
            raise DataError(
                f"{fits.count(False)} of {len(items)} pairs are longer than a row (up to {longest[0]} tokens, and {longest[1]} "
                f"given, where {most[0]} and {most[1]} have room); set codec.length and codec.given_length, or codec.long = "
                "'cut' or 'skip'"
            )
        if self.long == "skip":
            sides = [[t for t, fit in zip(side, fits, strict=True) if fit] for side in sides]
        given = [tokens[: self.given_room] for tokens in sides[1]]
        (x, real), (cond, _) = self._padded(sides[0], self.length), self._padded(given, self.given_length)
        mask = torch.arange(self.length) < real[:, None]
        return Batch(x, cond, mask)

    def _rows(self, items: Sequence[Item]) -> Batch:
        if self.given_column:
            return self._pairs(items)
        if self.unit == "pair":
            return _Couples(self, items).encoded()
        texts, known = self._units(items)
        rows, real, conds = [], [], []
        for tokens, cond in zip(self.tokens(texts), known, strict=True):
            closed = np.append(tokens, self.end)
            for first in range(0, len(closed), self.length):
                part = closed[first : first + self.length]
                if first and len(part) == 1:  # only the end is left: a row of its own would teach nothing
                    break
                row = np.full(self.length, self.end)
                row[: len(part)] = part
                rows.append(row)
                real.append(len(part))
                conds.append(cond)
        x = torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, self.length, dtype=torch.long)
        mask = torch.arange(self.length) < torch.tensor(real, dtype=torch.long)[:, None]
        return Batch(x, self._codes_of(conds), mask)

    def _codes_of(self, conds: Sequence[Any]) -> Tensor | None:
        if not self.classes:
            return None
        try:
            return self.encode_cond(conds)
        except RecipeError as error:
            raise DataError(f"a text's label is new: {error}") from error

    def encode(self, items: Sequence[Item]) -> Batch:
        """``(rows, length)`` int64, every part of the text once, and a mask: False where a row is padded after its end."""
        if self.unit != "document":
            return self._rows(items)
        stream = self._stream(items)
        rows = -(-len(stream) // self.length)
        x = np.full(rows * self.length, self.end)
        x[: len(stream)] = stream
        mask = np.arange(rows * self.length) < len(stream)
        return Batch(torch.from_numpy(x.reshape(rows, -1)), None, torch.from_numpy(mask.reshape(rows, -1)))

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """Training on documents: a window at every offset. Otherwise the rows of ``encode``.

        Raises:
            DataError: the documents together are shorter than one window, or no pair has room.
        """
        if train and self.unit == "pair":
            return _Couples(self, items)
        if not train or self.unit != "document":
            rows = self.encode(items)
            if train and self.given_column and not len(rows):
                raise DataError(
                    f"all {len(items)} pairs are longer than a row of {self.length} tokens, {self.given_length} given, so "
                    "codec.long = 'skip' leaves none; set codec.length and codec.given_length"
                )
            return rows
        stream = self._stream(items)
        if len(stream) < self.length:
            raise DataError(
                f"the training text has {len(stream)} tokens, fewer than one window of {self.length}; give more text, or "
                f"--set codec.length={max(2, len(stream) // 2)}"
            )
        return _Windows(torch.from_numpy(stream), self.length)

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """Class names as int64 ``(B,)``; None is -1, unknown. Given texts as ``(B, given_length)``, padded with ``end``.

        Raises:
            RecipeError: a class that was never seen, with the nearest that was; a given text that has no room.
        """
        if self.given_column:
            for value in values:
                if not isinstance(value, str) or not value.strip():
                    raise RecipeError(f"{value!r} is no text to begin from; give --cond TEXT")
            try:
                tokens = self.tokens([self.prefix + value for value in values])
            except DataError as error:
                raise RecipeError(str(error)) from error
            longest = max(map(len, tokens), default=0)
            if longest > self.given_room and self.long != "cut":
                raise RecipeError(
                    f"a given text has {longest} tokens, and {self.given_room} have room; give it in parts, or train with "
                    "a larger codec.given_length"
                )
            return self._padded([part[: self.given_room] for part in tokens], self.given_length)[0]
        if not self.classes:
            raise RecipeError("this codec knows no classes: the data it was fitted on had none")
        number = {name: k for k, name in enumerate(self.classes)}
        for value in values:
            if value is not None and str(value) not in number:
                raise RecipeError(f"unknown class {str(value)!r}{nearest(str(value), self.classes)}")
        return torch.tensor([-1 if v is None else number[str(v)] for v in values], dtype=torch.long)

    def encode_prompt(self, text: str) -> Tensor:
        """The beginning of a text to be continued, int64 ``(tokens,)``, without ``end``."""
        self._check_unicode([Item(text, name="the prompt")])
        return torch.from_numpy(self.tokens([text])[0])

    def encode_inside(self, text: str) -> Tensor:
        """What stands inside of a text, int64 ``(tokens,)``: as ``encode_prompt``, but nothing begins there."""
        self._check_unicode([Item(text, name="the text")])
        return torch.from_numpy(self.tokens([text], inside=True)[0])

    def start_edit(self, source: str | Path | Item, mask: Path | None = None) -> tuple[Batch, Tensor]:
        """A beginning and which tokens to keep: ``(1, length)``, what follows is to be made.

        Args:
            source: the beginning itself, a piece, or a file that holds it. All of it is kept: behind one as long as a
                row or longer there is room for half a row more, if the model takes so much.
            mask: has no meaning for text.

        Raises:
            RecipeError: a mask was given.
        """
        if mask is not None:
            raise RecipeError(
                f"a text is continued from its beginning, so --mask {mask} means nothing to it; leave it out"
            )
        if isinstance(source, Path):
            source = self.read(source)[0]
        begun = self.encode_prompt(source.value if isinstance(source, Item) else source)
        length = self.length if len(begun) < self.length else len(begun) + self.length // 2
        x = torch.full((1, length), self.end)
        x[0, : len(begun)] = begun
        cond = torch.full((1,), -1) if self.classes else None
        if self.given_column and isinstance(source, Item) and source.cond is not None:
            cond = self.encode_cond([source.cond])
        return Batch(x, cond), torch.arange(length)[None] < len(begun)

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """The text of each row up to its first ``end``."""
        rows = [row[: row.index(self.end)] if self.end in row else row for row in x.tolist()]
        if self.given_column and cond is not None:
            given = [row[: row.index(self.end)] if self.end in row else row for row in cond.tolist()]
            known = [text.removeprefix(self.prefix) for text in self.strings(given)]
            return [Item(a, b) for a, b in zip(self.strings(rows), known, strict=True)]
        said = [None] * len(rows) if cond is None or not self.classes else cond.tolist()
        named = [None if k is None or k < 0 else self.classes[k] for k in said]
        if self.unit == "pair":
            return [
                Item("\n".join(self.strings(_parts(row, self.end))), c)
                for row, c in zip(x.tolist(), named, strict=True)
            ]
        return [Item(text, c) for text, c in zip(self.strings(rows), named, strict=True)]

    def bytes_per_token(self, items: Sequence[Item]) -> float:
        """UTF-8 bytes of the texts over the tokens that judge them (ends included): turns nats per token into bits per byte."""
        whole = self.unit == "document" or self.given_column
        texts = [i.value for i in items] if whole else self._units(items)[0]
        batch = self.encode(items)
        assert batch.mask is not None
        return sum(len(t.encode("utf-8")) for t in texts) / max(1, int(batch.mask.sum()))

    # ---- pieces -> files -------------------------------------------------------------------------------------------

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One text as ``.txt``; ``mark`` goes beside it into ``<file>.meta.json``, since plain text has no metadata.

        Raises:
            OutputError: the place cannot be written.
        """
        path = path if path.suffix.lower() in SUFFIXES else path.with_name(path.name + ".txt")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.value.encode("utf-8"))
            if mark is not None:
                beside = path.with_name(path.name + ".meta.json")
                beside.write_text(json.dumps(mark, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
        return path

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """A page with the first few texts, set in a fixed-width face, as PNG."""
        path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
        return page(items, path)

    def state(self) -> dict[str, Any]:
        """The tokeniser itself and the classes."""
        state = {"tokenizer": self.learned, "classes": self.classes}
        if self.foreign is not None:
            state["foreign"] = {k: getattr(self.foreign, k) for k in ("end", "size", "begins", "template", "named")}
        return state

    def to_huggingface(self, start: int | None, *, closed: bool = False) -> dict[str, dict[str, Any]]:
        """``tokenizer.json`` and ``tokenizer_config.json``: the same numbers for the same text.

        Args:
            start: the number of a mark that is to stand before every text; None for none.
            closed: whether the end is to stand behind every text.
        """
        if self.foreign is not None:
            return self.foreign.to_huggingface()
        return written(self.learned, self.tokenizer, self.end, start, closed)

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``."""
        self.classes = list(state["classes"])
        if "foreign" in state:
            self.foreign = Foreign(state["tokenizer"], **state["foreign"])
        return self._ready(state["tokenizer"])


@dataclass(frozen=True)
class _Windows:
    """A window at every offset of a long line of tokens."""

    stream: Tensor
    length: int

    def __len__(self) -> int:
        return len(self.stream) - self.length + 1

    def take(self, rows: Tensor) -> Batch:
        return Batch(self.stream[rows[:, None] + torch.arange(self.length)])


def _parts(row: list[int], end: int) -> list[list[int]]:
    """The runs of tokens between ends."""
    parts: list[list[int]] = [[]]
    for token in row:
        if token != end:
            parts[-1].append(token)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


PAIR = ("apart", "next")  # the classes of a pair


class _Couples:
    """Two lines in a row, the second one that follows or one of elsewhere; each line of the text once as the first."""

    def __init__(self, codec: TextCodec, items: Sequence[Item]) -> None:
        self.codec = codec
        self.lines: list[NDArray[np.int64]] = []
        first = []
        for item in items:
            lines = [line for line in item.value.split("\n") if line.strip()]
            first += [len(self.lines) + i for i in range(len(lines) - 1)]
            self.lines += codec.tokens(lines)
        self.first = torch.tensor(first, dtype=torch.long)
        if len(first) < 2:
            raise DataError("pairs of lines need at least three lines, two of them in one document; give more text")

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: Tensor) -> Batch:
        """Half of them in their order, half apart; always the same."""
        seeds = ((rows * 2654435761) % 2**32).double() / 2**32  # Knuth's multiplicative hash: constants, not randomness
        return self._coupled(rows, seeds < 0.5, ((rows * 40503 + 12345) % 2**31))

    def draw(self, rows: Tensor, rng: Rng) -> Batch:
        """The same, drawn afresh."""
        return self._coupled(rows, rng.uniform(len(rows)) < 0.5, rng.integers(2**31, len(rows)))

    def encoded(self) -> Batch:
        return self.take(torch.arange(len(self)))

    def _coupled(self, rows: Tensor, apart: Tensor, other: Tensor) -> Batch:
        at = self.first[rows]
        away = 2 + other % max(1, len(self.lines) - 2)  # any line but itself and its own next one
        second = torch.where(apart, (at + away) % len(self.lines), at + 1)
        room, end = self.codec.length, [self.codec.end]
        out = []
        for i, j in zip(at.tolist(), second.tolist(), strict=True):
            a, b = self.lines[i], self.lines[j]
            cut = max(room // 2 - 1, room - 2 - len(b))  # the longer line gives way
            out.append(np.concatenate([a[:cut], end, b])[: room - 1])
        x, real = self.codec._padded(out, room)
        return Batch(x, (~apart).long(), torch.arange(room) < real[:, None])
