"""English text as it is said: numbers, dates, times, money and abbreviations as words; and the clauses of a text."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from bottega.codecs._say_numbers import EARLY, STEPS, cardinal, dates, ordinal
from bottega.codecs._say_words import ABBREVIATIONS, ADDRESSES, SPELLED
from bottega.core.english import ONES

__all__ = ["Clause", "cardinal", "clauses", "ordinal", "spoken_text"]

_SIGNS = {"&": " and ", "%": " percent ", "+": " plus ", "=": " equals ", "@": " at ", "°": " degrees ", "#": " number ", "§": " section ",
          "×": " times ", "÷": " divided by ", "±": " plus or minus ", "≈": " about ", "≠": " is not ", "≤": " at most ", "≥": " at least ",
          "√": " the root of ", "∞": " infinity ", "→": " to ", "−": " minus "}  # fmt: skip


def spoken_text(text: str, *, day_first: bool = False) -> str:
    """English as it is said: what is written in digits, signs and abbreviations as words; ``. , ? !`` and letters stay.

    Args:
        text: as it is written.
        day_first: ``5/6/2021`` is June 5th, and not May 6th; what can only be one of them is that.

    >>> spoken_text("Dr. Smith paid $3.50 on May 5th, 2021 at 7:05.")
    'doctor Smith paid three dollars and fifty cents on May fifth, twenty twenty one at seven oh five.'
    >>> spoken_text("Between 3-4 kg, i.e. 8%: the 21st No. 7")
    'Between three to four kilograms, that is eight percent, the twenty first number seven'
    """
    for pattern, change in EARLY:
        text = pattern.sub(change, text)
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'").replace("…", ".")
    for pattern, change in [*ADDRESSES, *ABBREVIATIONS, dates(day_first), *STEPS, *SPELLED]:
        text = pattern.sub(change, text)
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    text = re.sub(r"[:;()\[\]{}\"“”«»]+", ",", text)
    text = re.sub(r"[^\w\s.,?!']|_", " ", text)
    text = re.sub(r"\d", lambda m: f" {ONES[unicodedata.digit(m[0], 0)]} ", text)
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\s*([.,?!])(?:\s*[.,?!])*", r"\1", text)  # of several marks the first one counts
    return re.sub(r"([.,?!])(?=\w)", r"\1 ", text).strip(" ,")


class Clause(NamedTuple):
    """Words without a mark between them, and the mark behind: ``,``, ``.``, ``?`` or ``!``."""

    words: tuple[str, ...]
    mark: str


def clauses(text: str) -> list[Clause]:
    """The clauses of a text as ``spoken_text`` writes it, words in small letters; none where there is no word.

    Numbers count as words: espeak-ng says those of other languages than English.

    >>> clauses("Well, is it new?")
    [Clause(words=('well',), mark=','), Clause(words=('is', 'it', 'new'), mark='?')]
    """
    out = []
    for part, mark in re.findall(r"([^.,?!]+)([.,?!]|$)", text):
        words = tuple(word for word in part.lower().split() if any(c.isalnum() for c in word))
        if words:
            out.append(Clause(words, mark or "."))
    return out
