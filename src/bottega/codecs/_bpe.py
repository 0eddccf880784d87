"""Byte-level BPE: learned from texts, in pieces that bound its memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["batches", "byte_letters", "pieces_of", "train_bpe"]


def byte_letters() -> dict[str, int]:
    """Which byte each letter of a byte-level token stands for (Radford et al. 2019): printable ones stand for themselves."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + k): b for k, b in enumerate(others)}


def train_bpe(texts: Sequence[str], vocab: int) -> str:
    """A byte-level BPE as JSON. It has no special tokens, so no text can be mistaken for one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator((piece for text in texts for piece in pieces_of(text)), trainer)
    return str(bpe.to_str())


_PIECE = 1 << 18  # characters; a tokeniser takes two hundred bytes of memory for each that it has at hand
_SEAM = re.compile(r"(?<=\S)(?=[ \n\t])")


def pieces_of(text: str) -> list[str]:
    """``text`` cut about every ``_PIECE`` characters where no token lies across: before white space that follows a word."""
    out, first = [], 0
    while len(text) - first > _PIECE and (seam := _SEAM.search(text, first + _PIECE)):
        out.append(text[first : seam.start()])
        first = seam.start()
    return [*out, text[first:]]


def batches(pieces: Sequence[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """``pieces`` in their order, some ``8 * _PIECE`` characters at a time."""
    some: list[tuple[int, str]] = []
    size = 0
    for piece in pieces:
        some.append(piece)
        size += len(piece[1])
        if size >= 8 * _PIECE:
            yield some
            some, size = [], 0
    if some:
        yield some
