"""Tokenisers of other people's models: the ``tokenizer.json`` of a Hugging Face directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError

__all__ = ["Foreign", "is_place", "written"]


def is_place(name: str) -> bool:
    """Whether a tokeniser's name is a path: it has a slash or ends in .json."""
    return "/" in name or "\\" in name or name.endswith(".json")


class Foreign:
    """A tokeniser with a fixed vocabulary, by the library ``tokenizers``.

    Marks such as ``<|endoftext|>`` are never read out of a text: in a text they are letters.

    Tokenisers in the manner of SentencePiece (Llama 2, Mistral v0.1, TinyLlama; Kudo and Richardson 2018, arXiv:1808.06226)
    spell a blank before a text that has none there, so that a word is the same token first as later. ``prefix`` says where:
    ``""`` nowhere, ``"first"`` before the text, ``"always"`` also behind each mark. What stands inside of a text has none.

    Args:
        learned: the content of ``tokenizer.json``.
        end: the number of the mark that ends a text.
        size: how many numbers the model knows; at least as many as the tokeniser has.
        begins: the number of the mark that the tokeniser itself sets before a text; -1 where it sets none.
        template: how the model reads conversations, in Jinja; empty where its directory does not say.
        named: the marks that have a name (``bos_token``, ``mask_token`` ...), as they are spelt.

    Raises:
        DataError: not a tokeniser, or not one of this model.
    """

    def __init__(
        self, learned: str, end: int, size: int, begins: int, template: str = "", named: dict[str, str] | None = None
    ) -> None:
        from tokenizers import Tokenizer

        try:
            self._inner = Tokenizer.from_str(learned)
        except Exception as error:  # the library raises nothing narrower
            raise DataError(f"the tokenizer.json cannot be read ({error}); save it anew with transformers") from error
        self._set_up(self._inner)
        config = json.loads(learned)
        kind = json.dumps(config.get("decoder"))
        self.prefix = _without_prefix(config)
        self._inside = self._inner
        if self.prefix:
            self._inside = Tokenizer.from_str(json.dumps(config))
            self._set_up(self._inside)
        self.learned, self.end, self.size, self.begins = learned, end, size, begins
        self.template, self.named = template, named or {}
        self._letters, self._falls_back, self._words = (
            f'"{part}"' in kind for part in ("ByteLevel", "ByteFallback", "WordPiece")
        )
        self._spelt: list[bytes] = []

    @staticmethod
    def _set_up(inner: Any) -> None:
        inner.no_truncation()
        inner.no_padding()
        inner.encode_special_tokens = True

    @classmethod
    def read(cls, place: Path) -> Foreign:
        """The tokeniser of a directory, or of a ``tokenizer.json`` beside whose model it lies.

        Raises:
            DataError: there is none, nobody says which token ends a text, or the model beside it is another's.
        """
        folder = place if place.is_dir() else place.parent
        file = folder / "tokenizer.json" if place.is_dir() else place
        if not file.exists():
            older = [n for n in ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model") if (folder / n).exists()]
            mend = (
                f"it has {older[0]}, which transformers turns into one: AutoTokenizer.from_pretrained(...).save_pretrained(...)"
                if older
                else "give the directory of a Hugging Face model, or 'bpe', 'char' or 'byte'"
            )
            raise DataError(f"there is no tokenizer.json at {place}; {mend}")
        learned = _text(file)
        made = cls(learned, 0, 0, -1)
        config = _json(folder / "config.json")
        made.end = made._mark("eos_token", folder, config)
        if made.end < 0:  # BERT's texts end with what separates them
            made.end = made._mark("sep_token", folder, config)
        if made.end < 0:
            raise DataError(
                f"{folder} does not say which token ends a text; add its eos_token to {folder / 'tokenizer_config.json'}"
            )
        begin = made._mark("bos_token", folder, config)
        whole = made._inner.encode("a").ids
        made.begins = begin if begin >= 0 and whole[:1] == [begin] else -1
        own = max(made._inner.get_vocab(with_added_tokens=True).values()) + 1
        made.size = int(config.get("vocab_size") or own)
        said = config.get("eos_token_id")
        ends = said if isinstance(said, list) else [said]
        if own > made.size or (said is not None and made.end not in ends):
            why = (
                f"{own} tokens and the model {made.size}"
                if own > made.size
                else f"its end is {made.end}, the model's {said}"
            )
            raise DataError(
                f"the tokenizer at {file} is of another model ({why}); put the model's own tokenizer.json there"
            )
        made.template = _template(folder)
        made.named = {name: mark for name in _NAMED if (mark := _said(folder, name))}
        return made

    def number(self, name: str) -> int:
        """The number of the mark of that name (``mask_token`` ...); -1 where there is none."""
        found = self._inner.token_to_id(self.named[name]) if name in self.named else None
        return -1 if found is None else int(found)

    def _mark(self, name: str, folder: Path, config: dict[str, Any]) -> int:
        """The number of a special token, -1 where none is named."""
        for file in _SETTINGS:
            said = _said(folder, name, file)
            if said and (number := self._inner.token_to_id(said)) is not None:
                return int(number)
        said = config.get(f"{name}_id")
        said = said[0] if isinstance(said, list) and said else said
        return said if isinstance(said, int) else -1

    @property
    def marks(self) -> dict[str, int]:
        """The numbers of its marks by their spelling."""
        return {mark.content: number for number, mark in self._inner.get_added_tokens_decoder().items() if mark.special}

    def spell(self, number: int) -> str:
        """How a mark is spelt."""
        return str(self._inner.id_to_token(number))

    def encode(self, texts: Sequence[str], *, inside: bool = False) -> list[list[int]]:
        """Token numbers, without marks; ``inside`` of a text no blank is spelt before it."""
        inner = self._inside if inside else self._inner
        return [code.ids for code in inner.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts, without marks; bytes that are no UTF-8 become U+FFFD."""
        if self._falls_back and not self._letters:
            # the library gives up a whole run of bytes for one that is no UTF-8, letters among them
            self._spelt = self._spelt or self.spelling({})
            lead = " " if self.prefix else ""
            texts = (b"".join(self._spelt[t] for t in row).decode("utf-8", "replace") for row in rows)
            return [text.removeprefix(lead) for text in texts]
        return list(self._inner.decode_batch([list(row) for row in rows], skip_special_tokens=True))

    def bounds(self, text: str, tokens: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where in ``text`` its first tokens begin and end, in characters; ``text`` may be what they were decoded to."""
        coded = self._inner.encode(text, add_special_tokens=False)
        if coded.ids[: len(tokens)] == list(tokens):
            places = np.array(coded.offsets[: len(tokens)], np.int64).reshape(-1, 2)
            return places[:, 0], places[:, 1]
        # what was decoded is not always coded the same way: a token ends where the text of all up to it does
        ends = np.array([len(t) for t in self.decode([tokens[:k] for k in range(len(tokens) + 1)])], np.int64)
        ends = np.maximum.accumulate(ends).clip(max=len(text))
        return ends[:-1], ends[1:]

    def to_huggingface(self) -> dict[str, dict[str, Any]]:
        """Its files as they are written into a directory."""
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": self._inner.id_to_token(self.end)}
        if self.begins >= 0:
            config["bos_token"] = self._inner.id_to_token(self.begins)
        config |= self.named
        if self.template:
            config["chat_template"] = self.template
        return {"tokenizer.json": json.loads(self.learned), "tokenizer_config.json": config}

    def spelling(self, byte_of: dict[str, int]) -> list[bytes]:
        """The bytes of every token; marks, and numbers that the model has and the tokeniser has not, have none."""
        marks = set(self.marks.values())
        added = {k: mark.content for k, mark in self._inner.get_added_tokens_decoder().items() if not mark.special}
        spell: Callable[[str], bytes] = _part_of_word if self._words else _piece
        if self._letters:
            spell = lambda token: bytes(byte_of[c] for c in token)  # noqa: E731
        out = []
        for number in range(self.size):
            token = None if number in marks else self._inner.id_to_token(number)
            if number in added and spell is not _piece:  # as it stands in texts, not letter by letter (runs of blanks)
                out.append(added[number].encode("utf-8"))
                continue
            out.append(b"" if token is None else spell(token))
        return out


def written(learned: str, kind: str, end: int, start: int | None, closed: bool = False) -> dict[str, dict[str, Any]]:
    """Our own tokenisers in the form of a Hugging Face directory, with marks for the end and the start of a text.

    The start stands before every text where it is named, and the end behind it where texts are ``closed``.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    if kind == "bpe":
        inner = Tokenizer.from_str(learned)
    elif kind == "char":
        inner = Tokenizer(models.BPE({c: k for k, c in enumerate(learned)}, []))
        inner.decoder = decoders.Fuse()
    else:
        letters = bytes_to_letters()
        inner = Tokenizer(models.BPE({letters[k]: k for k in range(256)}, []))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        inner.decoder = decoders.ByteLevel()
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|end|>"}
    marks = {"<|end|>": end}
    if start is not None:
        config["bos_token"] = "<|startoftext|>"
        marks["<|startoftext|>"] = start
    for mark, number in marks.items():
        inner.add_special_tokens([AddedToken(mark, special=True, normalized=False)])
        if inner.token_to_id(mark) != number:
            raise DataError(f"the tokenizer has no room for {mark} at {number}; it cannot be written out")
    if start is not None or closed:
        before = "" if start is None else "<|startoftext|> "
        behind = " <|end|>" if closed else ""
        inner.post_processor = processors.TemplateProcessing(
            single=f"{before}$A{behind}", pair=f"{before}$A $B{behind}", special_tokens=list(marks.items())
        )
    return {"tokenizer.json": json.loads(inner.to_str()), "tokenizer_config.json": config}


def bytes_to_letters() -> dict[int, str]:
    """The letter that stands for each byte in byte-level tokens (Radford et al. 2019): printable ones for themselves."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + k) for k, b in enumerate(others)}


def _piece(token: str) -> bytes:
    """How SentencePiece spells: a low line for a blank, ``<0x0A>`` for a byte."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode("utf-8")


def _without_prefix(config: dict[str, Any]) -> str:
    """Where a ``tokenizer.json`` sets a blank before texts (see ``Foreign``); takes that out of ``config``."""
    where = ""

    def bare(part: Any) -> Any:
        nonlocal where
        if not isinstance(part, dict):
            return part
        if part.get("type") == "Prepend":
            where = "always"
            return None
        if part.get("type") == "Metaspace":
            scheme = part.get("prepend_scheme", "always")  # files before 2024 do not say
            where = where if scheme == "never" else str(scheme)
            return {k: v for k, v in part.items() if k != "add_prefix_space"} | {"prepend_scheme": "never"}
        for name in ("normalizers", "pretokenizers"):
            if isinstance(part.get(name), list):
                return part | {name: [kept for one in part[name] if (kept := bare(one)) is not None]}
        return part

    for name in ("normalizer", "pre_tokenizer"):
        config[name] = bare(config.get(name))
    return where


def _part_of_word(token: str) -> bytes:
    """How WordPiece spells: two signs before what goes on with a word, a blank before any other."""
    return (token[2:] if token.startswith("##") else f" {token}").encode("utf-8")


_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
_NAMED = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


def _said(folder: Path, name: str, file: str = "") -> str:
    """How a directory spells one of its marks; empty where it does not."""
    for place in (file,) if file else _SETTINGS:
        said = _json(folder / place).get(name)
        said = said.get("content") if isinstance(said, dict) else said
        if isinstance(said, str) and said:
            return said
    return ""


def _template(folder: Path) -> str:
    """The chat template of a directory: in a file of its own, or among the tokenizer's settings; the first or ``default``."""
    if (file := folder / "chat_template.jinja").exists():
        return _text(file)
    for place in ("chat_template.json", "tokenizer_config.json"):
        said = _json(folder / place).get("chat_template")
        if isinstance(said, list):  # several, by name
            by_name = {one.get("name"): one.get("template") for one in said if isinstance(one, dict)}
            said = by_name.get("default", next(iter(by_name.values()), None))
        if isinstance(said, str) and said:
            return said
    return ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}; check that it is whole") from error


def _json(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        found = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is not JSON ({error}); fetch the directory again") from error
    return found if isinstance(found, dict) else {}
