"""English text as it is said: numbers, dates, times, money and abbreviations as words; and the clauses of a text."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from bottega.codecs._say_numbers import EARLY, STEPS, cardinal, dates, ordinal
from bottega.codecs._say_words import ABBREVIATIONS, ADDRESSES, SPELLED
from bottega.core.english import ONES

__all__ = ["Clause", "cardinal", "clauses", "ordinal", "plain_text", "spoken_text"]

_SIGNS = {"&": " and ", "%": " percent ", "‰": " per thousand ", "+": " plus ", "=": " equals ", "@": " at ", "°": " degrees ", "#": " number ", "§": " section ",
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


_BETWEEN_DIGITS = r"(?<=\d)[.,](?=\d)"  # of a number, and no mark of a sentence
# Marks of other scripts as those that clauses end at, apostrophes as the one that programs of sounds know; emoji's variants are none.
_MARKS = str.maketrans({"।": ".", "॥": ".", "。": ".", "…": ".", "、": ",", "，": ",", "،": ",", "؛": ",", "؟": "?", "？": "?", "！": "!",
                        "’": "'", "\u02bc": "'", "\ufe0e": None, "\ufe0f": None})  # fmt: skip
_IN_WORDS = (
    "'·\u200c\u200d"  # elision, Catalan's raised dot, and what parts and joins letters of Persian and of Indian scripts
)


def plain_text(text: str, *, numbers: bool = True) -> str:
    """Text of another language than English: words as they are written, numbers, and the marks ``. , ? !``; nothing else.

    Args:
        text: as it is written, in any form of Unicode.
        numbers: whether digits stay, for a program that says them.

    >>> plain_text("L’homme (cafe\u0301) paie 3,50 € – d’accord ?"), plain_text("हिन्दी: १२.५", numbers=False)
    ("L'homme café paie 3,50 d'accord ?", 'हिन्दी')
    """
    text = unicodedata.normalize("NFC", text).translate(_MARKS)
    text = re.sub("(?<=\\d)[\u00a0\u2009\u202f](?=\\d{3}(?!\\d))", "", text)  # 10 000 with a narrow space
    if not numbers:
        text = re.sub(rf"\d+(?:{_BETWEEN_DIGITS}\d+)*", " ", text)
    kept = (c if unicodedata.category(c)[0] in "LMN" or c in ".,?!" + _IN_WORDS else " " for c in text)
    return " ".join("".join(kept).split())


class Clause(NamedTuple):
    """Words without a mark between them, and the mark behind: ``,``, ``.``, ``?`` or ``!``."""

    words: tuple[str, ...]
    mark: str


def clauses(text: str) -> list[Clause]:
    """The clauses of a text as ``spoken_text`` or ``plain_text`` writes it, words in small letters; none where there is no word.

    Numbers count as words, with the points and commas in them: espeak-ng says those of other languages than English.

    >>> clauses("Well, is it new?")
    [Clause(words=('well',), mark=','), Clause(words=('is', 'it', 'new'), mark='?')]
    """
    out = []
    for part, mark in re.findall(rf"((?:[^.,?!]|{_BETWEEN_DIGITS})+)([.,?!]|$)", text):
        words = tuple(word for word in part.lower().replace("i\u0307", "i").split() if any(c.isalnum() for c in word))
        if words:
            out.append(Clause(words, mark or "."))
    return out
