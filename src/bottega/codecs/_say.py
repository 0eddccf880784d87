"""English text as it is said: numbers, dates, times, money and abbreviations as words; and the clauses of a text."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from bottega.core.english import MONTHS, ONES, TENS

__all__ = ["Clause", "cardinal", "clauses", "ordinal", "spoken_text"]

_SCALES = [(10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")]
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth"}  # fmt: skip
_MONTH = "|".join([*MONTHS, *(f"{m[:3]}\\." for m in MONTHS if m != "May"), "Sept\\."])
_SHORT = {
    "dr": "doctor", "mr": "mister", "mrs": "missus", "ms": "miz", "prof": "professor", "st": "saint", "jr": "junior",
    "sr": "senior", "vs": "versus", "etc": "et cetera", "no": "number", "vol": "volume", "ch": "chapter", "fig": "figure",
    "approx": "approximately", "dept": "department", "gen": "general", "capt": "captain", "col": "colonel", "lt": "lieutenant",
    "rev": "reverend", "hon": "honourable",
}  # fmt: skip
_UNITS = {
    "km": "kilometre", "m": "metre", "cm": "centimetre", "mm": "millimetre", "kg": "kilogram", "g": "gram", "mg": "milligram",
    "km/h": "kilometre per hour", "mph": "mile per hour", "hz": "hertz", "khz": "kilohertz", "mb": "megabyte",
    "gb": "gigabyte", "ms": "millisecond", "s": "second", "h": "hour", "min": "minute", "l": "litre", "ml": "millilitre",
    "ft": "foot", "lb": "pound", "oz": "ounce",
}  # fmt: skip
_MANY = {"foot": "feet", "hertz": "hertz", "kilohertz": "kilohertz", "kilometre per hour": "kilometres per hour", "mile per hour": "miles per hour"}  # fmt: skip
_MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "")}
_SIGNS = {"&": " and ", "%": " percent", "+": " plus ", "=": " equals ", "@": " at ", "°": " degrees ", "#": " number ", "§": " section ", "×": " times "}  # fmt: skip
_PLURALS = {"penny": "pence", "yen": "yen"}


def cardinal(n: int) -> str:
    """A whole number in words, British in nothing but its spelling.

    >>> cardinal(1234), cardinal(-7), cardinal(20)
    ('one thousand two hundred thirty four', 'minus seven', 'twenty')
    """
    if n < 0:
        return f"minus {cardinal(-n)}"
    if n < 20:
        return ONES[n]
    if n < 100:
        return f"{TENS[n // 10]} {ONES[n % 10]}" if n % 10 else TENS[n // 10]
    if n >= 10**15:
        return " ".join(ONES[int(d)] for d in str(n))
    for scale, name in _SCALES:
        if n >= scale:
            rest = f" {cardinal(n % scale)}" if n % scale else ""
            return f"{cardinal(n // scale)} {name}{rest}"
    raise AssertionError(n)


def ordinal(n: int) -> str:
    """Which one of many, in words.

    >>> ordinal(21), ordinal(40), ordinal(12)
    ('twenty first', 'fortieth', 'twelfth')
    """
    *front, last = cardinal(n).split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*front, last])


def _year(n: int) -> str:
    if n % 1000 < 10 or not 1100 <= n < 2100:
        return cardinal(n)
    high, low = divmod(n, 100)
    if not low:
        return f"{cardinal(high)} hundred"
    return f"{cardinal(high)} {'oh ' if low < 10 else ''}{cardinal(low)}"


def _decimal(text: str) -> str:
    whole, _, part = text.replace(",", "").partition(".")
    said = cardinal(int(whole or 0))
    return f"{said} point {' '.join(ONES[int(d)] for d in part)}" if part else said


def _counted(n: int, one: str) -> str:
    return f"{cardinal(n)} {one if n == 1 else _PLURALS.get(one, one + 's')}"


def _money(match: re.Match[str]) -> str:
    sign, whole, part, scale = match.groups()
    one, hundredth = _MONEY[sign]
    n = int(whole.replace(",", ""))
    if scale:
        return f"{_decimal(whole + ('.' + part if part else ''))} {scale} {_PLURALS.get(one, one + 's')}"
    said = [_counted(n, one)] if n or not part else []
    if part and hundredth and (cents := int(part.ljust(2, "0")[:2])):
        said.append(_counted(cents, hundredth))
    return " and ".join(said) or _counted(0, one)


def _date(match: re.Match[str]) -> str:
    month, day, year = match.groups()
    name = next((m for m in MONTHS if m.startswith(month[:3])), month)
    return f"{name} {ordinal(int(day))}" + (f", {_year(int(year))}" if year else "")


def _iso(match: re.Match[str]) -> str:
    year, month, day = (int(part) for part in match.groups())
    return f"{MONTHS[month - 1]} {ordinal(day)}, {_year(year)}" if 1 <= month <= 12 and 1 <= day <= 31 else match[0]


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match[1]), int(match[2]), match[3]
    if hour > 24 or minute > 59:
        return f"{cardinal(hour)} {cardinal(minute)}"
    said = cardinal(hour) + (f" {'oh ' if minute < 10 else ''}{cardinal(minute)}" if minute else "" if half else " o'clock")  # fmt: skip
    return said + (f" {half[0].lower()} m" if half else "")


def _unit(match: re.Match[str]) -> str:
    number, unit = match.groups()
    name = _UNITS[unit.lower()]
    return f"{_decimal(number)} {name if number == '1' else _MANY.get(name, name + 's')}"


def _number(match: re.Match[str]) -> str:
    text = match[0]
    digits = text.replace(",", "")
    if digits.isdecimal() and "," not in text and len(digits) == 4 and 1100 <= int(digits) < 2100:
        return _year(int(digits))
    if digits.isdecimal() and len(digits) > 1 and digits[0] == "0" or len(digits) > 15:
        return " ".join(ONES[int(d)] if d.isdecimal() else "point" for d in digits)
    return _decimal(text)


_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_STEPS: list[tuple[re.Pattern[str], object]] = [
    (re.compile(r"([$£€¥])\s?(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?(?:\s(million|billion|trillion|thousand))?"), _money),
    (re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b"), _iso),
    (re.compile(rf"\b({_MONTH})\s(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s(\d{{4}})\b)?"), _date),
    (re.compile(r"\b(\d{1,2}):(\d{2})(?:\s?([ap]\.?m\b\.?))?", re.IGNORECASE), _time),
    (re.compile(r"(?<=\d)\s?[-–]\s?(?=\d)"), " to "),
    (re.compile(r"\be\.g\.,?", re.IGNORECASE), "for example"),
    (re.compile(r"\bi\.e\.,?", re.IGNORECASE), "that is"),
    (re.compile(r"\b([A-Za-z]{2,6})\.(?=\s|$)"), lambda m: _SHORT.get(m[1].lower(), m[0]) if m[1].lower() != "no" else m[0]),
    (re.compile(r"\bNo\.\s(?=\d)"), "number "),
    (re.compile(rf"(?<![\w.])({_NUMBER})\s?({'|'.join(map(re.escape, sorted(_UNITS, key=len, reverse=True)))})\b", re.IGNORECASE), _unit),
    (re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE), lambda m: ordinal(int(m[1])) if len(m[1]) < 15 else m[0]),
    (re.compile(r"(?<![\w-])-(?=\d)"), "minus "),
    (re.compile(_NUMBER), _number),
    (re.compile(r"\b([A-Z]{2,5})(?:s\b|\b)"), lambda m: " ".join(m[1]) if not re.search("[AEIOUY]", m[1]) else m[0]),
]  # fmt: skip


def spoken_text(text: str) -> str:
    """English as it is said: what is written in digits, signs and abbreviations as words; ``. , ? !`` and letters stay.

    >>> spoken_text("Dr. Smith paid $3.50 on May 5th, 2021 at 7:05.")
    'doctor Smith paid three dollars and fifty cents on May fifth, twenty twenty one at seven oh five.'
    >>> spoken_text("Between 3-4 kg, i.e. 8%: the 21st No. 7")
    'Between three to four kilograms, that is eight percent, the twenty first number seven'
    """
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'")
    text = text.replace("…", ".").replace("—", ", ").replace(" – ", ", ").replace(" - ", ", ").replace("--", ", ")
    for pattern, change in _STEPS:
        text = pattern.sub(change, text)  # type: ignore[arg-type]
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

    >>> clauses("Well, is it new?")
    [Clause(words=('well',), mark=','), Clause(words=('is', 'it', 'new'), mark='?')]
    """
    out = []
    for part, mark in re.findall(r"([^.,?!]+)([.,?!]|$)", text):
        words = tuple(word for word in part.lower().split() if any(c.isalpha() for c in word))
        if words:
            out.append(Clause(words, mark or "."))
    return out
