"""English number words, and what is written in digits: money, dates, times, units, fractions, sums and telephone numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal

from bottega.core.english import MONTHS, ONES, TENS

__all__ = ["EARLY", "STEPS", "Step", "cardinal", "dates", "ordinal"]

Step = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
"""What is looked for, and what is said for it."""

_SCALES = [(10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")]
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth"}  # fmt: skip


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
        return _digits(format(Decimal(n), "f"))  # str() refuses more than 4,300 digits
    for scale, name in _SCALES:
        if n >= scale:
            rest = f" {cardinal(n % scale)}" if n % scale else ""
            return f"{cardinal(n // scale)} {name}{rest}"
    raise AssertionError(n)


def _apart(say: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
    """What is said is no part of the word before or behind: ``Z$5ish`` as ``Z five dollars ish``."""

    def apart(match: re.Match[str]) -> str:
        said, text = say(match), match.string
        before, behind = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        if said == match[0]:
            return said
        return " " * (before.isalnum() and said[:1].isalpha()) + said + " " * (behind.isalnum() and said[-1:].isalpha())

    return apart


def ordinal(n: int) -> str:
    """Which one of many, in words.

    >>> ordinal(21), ordinal(40), ordinal(12)
    ('twenty first', 'fortieth', 'twelfth')
    """
    return _nth(cardinal(n))


def _nth(said: str) -> str:
    """The ordinal of a number in words."""
    *front, last = said.split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*front, last])


def _digits(text: str) -> str:
    return " ".join(ONES[int(d)] for d in text if d.isdecimal())


def _count(text: str) -> str:
    """A whole number as it is written: in words, of more than 15 digits one by one. ``int()`` refuses more than 4,300."""
    digits = text.replace(",", "").lstrip("0")
    return cardinal(int(digits or 0)) if len(digits) <= 15 else _digits(digits)


def _year(n: int) -> str:
    if n % 1000 < 10 or not 1100 <= n < 2100:
        return cardinal(n)
    high, low = divmod(n, 100)
    if not low:
        return f"{cardinal(high)} hundred"
    return f"{cardinal(high)} {_two(low)}"


def _two(n: int) -> str:
    """The last two digits of a year, or the minutes of a time."""
    return f"oh {ONES[n]}" if n < 10 else cardinal(n)


def _decimal(text: str) -> str:
    whole, _, part = text.replace(",", "").partition(".")
    said = _count(whole)
    return f"{said} point {_digits(part)}" if part else said


def _number(match: re.Match[str]) -> str:
    text = match[0]
    digits = text.replace(",", "")
    if digits.isdecimal() and "," not in text and len(digits) == 4 and 1100 <= int(digits) < 2100:
        return _year(int(digits))
    if digits.isdecimal() and len(digits) > 1 and digits[0] == "0" or len(digits) > 15:
        return " ".join(ONES[int(d)] if d.isdecimal() else "point" for d in digits)
    return _decimal(text)


_WHOLE = r"\d{1,3}(?:,\d{3})+|\d+"
_NUMBER = rf"(?:{_WHOLE})(?:\.\d+)?|(?<![\w.])\.\d+"
# What stands before a unit. A long number is read once: not again with fewer digits, nor from each of its groups on.
_WORTH = rf"(?<![\w.])(?<!\d,(?=\d{{3}},\d{{3}}))((?>{_NUMBER}))"

# ---- before the text is brought to one form ----------------------------------------------------------------------------

_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_HIGH = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ"
_POWERS = {"2": "squared", "3": "cubed"}


def _power(match: re.Match[str]) -> str:
    raised = match[1].translate(_RAISED)
    return f" {_POWERS.get(raised, f'to the power of {raised}')} "


def _vulgar(match: re.Match[str]) -> str:
    """``½`` as ``1/2``, apart from a number before it."""
    parts = unicodedata.normalize("NFKC", match[2]).replace("\u2044", "/")
    return f"{match[1]} {parts}" if match[1] else parts


EARLY: list[Step] = [
    (re.compile(r"[™®©]"), ""),
    (re.compile("[\u2032\u02b9]"), "'"),
    (re.compile("[\u2033\u02ba]"), '"'),
    (re.compile("№\\s?"), "number "),
    (re.compile(r"(?<=\d)(\s?)º"), "°"),
    (re.compile("(?<=\\d)[\u00a0\u2009\u202f](?=\\d{3}(?!\\d))"), ""),  # 10 000 with a narrow space
    (re.compile(r"(?:(\d)\s?)?([¼½¾⅐-⅞])"), _vulgar),
    (re.compile(r"(?<=m/s)2\b"), "²"),
    (re.compile(r"(?:(?<=\d)\s?|(?<=g/))([kcm]?m|mi|ft|yd)\^?(?:([²2])|[³3])(?!\w)"), lambda m: f" {'sq' if m[2] else 'cu'} {m[1]}"),
    (re.compile(rf"(?<=[\w)])([{_HIGH}]+)(?!\w)"), _power),
]  # fmt: skip
"""What the compatibility form NFKC would make other things of: fractions, raised digits, primes."""

# ---- money -------------------------------------------------------------------------------------------------------------

_MONEY = {
    "$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", ""), "₹": ("rupee", "paisa"), "¢": ("cent", ""),
    "₩": ("won", ""), "₽": ("rouble", "kopeck"), "₺": ("lira", ""), "₪": ("shekel", ""), "₱": ("peso", ""), "฿": ("baht", ""),
    "₴": ("hryvnia", ""), "₫": ("dong", ""), "₦": ("naira", ""), "₿": ("bitcoin", ""),
    "USD": ("U S dollar", "cent"), "EUR": ("euro", "cent"), "GBP": ("pound", "penny"), "JPY": ("yen", ""), "INR": ("rupee", "paisa"),
    "CHF": ("Swiss franc", ""), "AUD": ("Australian dollar", "cent"), "CAD": ("Canadian dollar", "cent"), "NZD": ("New Zealand dollar", "cent"),
    "HKD": ("Hong Kong dollar", "cent"), "SGD": ("Singapore dollar", "cent"), "TWD": ("Taiwan dollar", "cent"), "CNY": ("yuan", ""), "RMB": ("yuan", ""),
    "KRW": ("won", ""), "SEK": ("Swedish krona", ""), "NOK": ("Norwegian krone", ""), "DKK": ("Danish krone", ""), "PLN": ("zloty", ""),
    "BRL": ("real", ""), "MXN": ("Mexican peso", ""), "ZAR": ("rand", ""), "RUB": ("rouble", "kopeck"), "BTC": ("bitcoin", ""),
}  # fmt: skip
"""By sign and by ISO 4217 code: one of them, and a hundredth of it that is said."""
_DOLLARS = {"US$": "$", "U S$": "$", "AU$": "AUD", "A$": "AUD", "CAN$": "CAD", "CA$": "CAD", "C$": "CAD", "NZ$": "NZD", "HK$": "HKD",
            "SG$": "SGD", "S$": "SGD", "NT$": "TWD", "MX$": "MXN", "R$": "BRL"}  # fmt: skip
_PLURALS = {"penny": "pence", "yen": "yen", "paisa": "paise", "won": "won", "baht": "baht", "dong": "dong", "naira": "naira", "lira": "lira",
            "yuan": "yuan", "krona": "kronor", "krone": "kroner", "real": "reais", "rand": "rand"}  # fmt: skip
_BIG = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "t": "trillion", "tn": "trillion"}  # fmt: skip


def _counted(text: str, one: str) -> str:
    said = _count(text)
    return f"{said} {one if said == 'one' else _many(one)}"


def _many(one: str) -> str:
    """The plural of money."""
    front, blank, last = one.rpartition(" ")
    return front + blank + _PLURALS.get(last, last + "s")


def _money(sign: str, whole: str, part: str, scale: str = "") -> str:
    one, hundredth = _MONEY[_DOLLARS.get(sign, sign)]
    if scale:
        return f"{_decimal(whole + ('.' + part if part else ''))} {_BIG.get(scale.lower(), scale)} {_many(one)}"
    if len(part) > 2 or part.strip("0") and not hundredth:
        return f"{_decimal(whole + '.' + part)} {_many(one)}"
    said = [_counted(whole, one)] if _count(whole) != "zero" or not part else []
    if part and hundredth and int(part):
        said.append(_counted(part.ljust(2, "0"), hundredth))
    return " and ".join(said) or _counted("0", one)


_FORMULA = re.compile(r"(?<!\d)(?<!\d\s)\$(?!\s?[-\u2013]?\.?\d)")


def _in_formula(match: re.Match[str]) -> bool:
    """Whether ``$`` may close a formula of LaTeX, ``$x = 1$``: another one, of no number, stands in what was before."""
    return _FORMULA.search(match.string, max(0, match.start() - 100), match.start()) is not None


def _money_before(match: re.Match[str]) -> str:
    minus, sign, whole, part, scale, code = match.groups()
    if sign == "$" and re.match(r"\w", match.string[match.start() - 1 : match.start()]) and _in_formula(match):
        return match[0]
    return ("minus " if minus else "") + _money(code or sign, whole or "", part or "", scale or "")


def _money_behind(match: re.Match[str]) -> str:
    minus, whole, part, scale, sign = match.groups()
    if sign == "$" and _in_formula(match):
        return match[0]
    return ("minus " if minus else "") + _money(sign, whole or "", part or "", scale or "")


def _range_of_money(sign: str, low: str, high: str, scale: str | None) -> str:
    big = f" {_BIG.get(scale.lower(), scale)}" if scale else ""
    return f"{_decimal(low)} to {_decimal(high)}{big} {_many(_MONEY[_DOLLARS.get(sign, sign)][0])}"


def _with_point(match: re.Match[str]) -> str:
    """``1.234,50`` as ``1234.50``."""
    return match[1].replace(".", "") + "." + match[2]


def _without_gaps(match: re.Match[str]) -> str:
    return re.sub("(?<=\\d)[ ',](?=\\d)", "", match[0])


def _note(match: re.Match[str]) -> str:
    """``a $20 note``: of one thing, its worth stands before it in the singular."""
    article, sign, number, word, letter = match.groups()
    scale = word or _BIG.get((letter or "").lower(), "")
    said = _decimal(number)
    if sign in _DOLLARS:  # an A$5 note
        article = article[0] + ("n " if said.startswith("e") else " ")
    return f"{article}{said}{' ' + scale if scale else ''} {_MONEY[_DOLLARS.get(sign, sign)][0]} "


_SIGN = f"[{''.join(sign for sign in _MONEY if len(sign) == 1)}]"
_CODE = "|".join(sign for sign in _MONEY if len(sign) > 1)
# Before a number. What stands apart from one on either side belongs to the one before it: ``5 € 20 times``.
_CURRENCY = (
    rf"(?:(?<!\w)(?:{'|'.join(map(re.escape, _DOLLARS))})|(?<!\d){_SIGN}(?:(?!\s)|(?<!\d\s.))"
    rf"|(?<!\w)(?:{_CODE})(?=[\s\d.-])(?:(?!\s)|(?<!\d\s...)))"
)
_CURRENCY_BEHIND = rf"(?:{_SIGN}(?!\.?\d|\$)|(?:{_CODE})(?!\w))"
_SCALE = r"(?:\s?(million|billion|trillion|thousand|(?<=\d)(?:[kKmMbB]|mn|bn|tn))\b)?"
_AFTER_A = r"(?!(?:and|or|but|for|per|to|in|on|at|of|by|is|was|more|less|each|a|an|the|if|when|that)\b)"

# ---- dates and times ---------------------------------------------------------------------------------------------------

_SHORT_MONTHS = [m[:3] for m in MONTHS if m != "May"]
_MONTH = "|".join([*MONTHS, *(f"{m}\\." for m in _SHORT_MONTHS), "Sept\\.", *_SHORT_MONTHS, "Sept"])
_DAYS = {"Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
         "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday"}  # fmt: skip
_DAY = "|".join(sorted(_DAYS, key=len, reverse=True))


def _month(text: str) -> str:
    return next((m for m in MONTHS if m.startswith(text[:3])), text)


def _date(match: re.Match[str]) -> str:
    month, day, until, year = match.groups()
    if not 1 <= int(day) <= 31:
        return match[0]
    said = f"{_month(month)} {ordinal(int(day))}" + (f" to {ordinal(int(until))}" if until else "")
    return said + (f", {_year(int(year))}" if year else "")


def _day_before(match: re.Match[str]) -> str:
    the, day, until, month, year = match.groups()
    if not 1 <= int(day) <= 31:
        return match[0]
    said = f"{the or 'the '}{ordinal(int(day))}" + (f" to the {ordinal(int(until))}" if until else "")
    return f"{said} of {_month(month)}" + (f", {_year(int(year))}" if year else "")


def _iso(match: re.Match[str]) -> str:
    year, month, day = (int(part) for part in match.groups())
    return f"{MONTHS[month - 1]} {ordinal(day)}, {_year(year)}" if 1 <= month <= 12 and 1 <= day <= 31 else match[0]


def dates(day_first: bool) -> Step:
    """Dates of three numbers, ``5/6/2021``: month first, or the day. What can only be one of them is that."""

    def say(match: re.Match[str]) -> str:
        one, two, year = int(match[1]), int(match[3]), match[4]
        first = day_first or match[2] == "."  # 5.6.2021 is never American
        month, day = (two, one) if first and two <= 12 or one > 12 else (one, two)
        if not 1 <= month <= 12 or not 1 <= day <= 31:
            return match[0]
        return f"{MONTHS[month - 1]} {ordinal(day)}, {_year(int(year)) if len(year) == 4 else _two(int(year))}"

    return re.compile(r"(?<![\w./])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|(?<=/)\d\d)(?![\w/]|\.\d)"), say


def _decade(match: re.Match[str]) -> str:
    century, ten = match[1], int(match[2])
    if century:
        high = cardinal(int(century))
        if not ten:
            return f"{cardinal(int(century) // 10)} thousands" if int(century) % 10 == 0 else f"{high} hundreds"
        return f"{high} {TENS[ten][:-1]}ies" if ten > 1 else f"{high} tens"
    return f"{TENS[ten][:-1]}ies"


_NO_START = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*day|Eastern|Central|Pacific|[A-Z]{2,5}\b"


def _months_or_years(match: re.Match[str]) -> str:
    """``1939-45``, and ``2021-05`` as ISO 8601 has a month."""
    year, low, behind = int(match[1] + match[2]), int(match[2]), int(match[3])
    if behind <= low and 1 <= behind <= 12:
        return f"{MONTHS[behind - 1]} {_year(year)}"
    return f"{_year(year)} to {_two(behind)}"


def _time(match: re.Match[str]) -> str:
    hour, minute, second, half = match[1], match[2], match[3], match[4] or match[5]
    if max(int(minute or 0), int(second or 0)) > 59 or int(hour) > 24 and minute:  # a score, a ratio
        score = " to ".join(cardinal(int(part)) for part in (hour, minute, second) if part)
        return score + (f" point {_digits(match[6])}" if match[6] else "")
    if int(hour) > 24:
        return match[0]
    small = int(minute or 0)
    said = cardinal(int(hour)) + (f" {_two(small)}" if small else "" if half else " o'clock")
    if second and match[6]:
        said += f" and {_decimal(second + '.' + match[6])} seconds"
    elif second and int(second):
        said += f" and {_counted(second, 'second')}"
    elif match[6]:
        said += f" point {_digits(match[6])}"
    if not half:
        return said
    behind = match.string[match.end() :]
    ends = half.endswith(".") and (not behind.strip() or re.match(rf"[\"')]*\s+(?!{_NO_START})[A-Z]", behind))
    return f"{said} {half[0].lower()} m{'.' if ends else ''}"


# ---- units -------------------------------------------------------------------------------------------------------------

_UNITS = {
    "km": "kilometre", "cm": "centimetre", "mm": "millimetre", "nm": "nanometre", "kg": "kilogram", "kgs": "kilogram", "kms": "kilometre", "mg": "milligram",
    "mph": "mile per hour", "kph": "kilometre per hour", "rpm": "revolution per minute",
    "hz": "hertz", "khz": "kilohertz", "mhz": "megahertz", "ghz": "gigahertz",
    "kb": "kilobyte", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte", "mbps": "megabit per second", "kbit/s": "kilobit per second",
    "mbit/s": "megabit per second", "gbit/s": "gigabit per second", "fps": "frame per second", "bpm": "beat per minute", "mpg": "mile per gallon",
    "ms": "millisecond", "sec": "second", "secs": "second", "min": "minute", "mins": "minute", "hr": "hour", "hrs": "hour",
    "ml": "millilitre", "dl": "decilitre", "cl": "centilitre", "ft": "foot", "yd": "yard", "yds": "yard", "mi": "mile", "lb": "pound", "lbs": "pound",
    "oz": "ounce", "kw": "kilowatt", "kwh": "kilowatt hour", "mah": "milliampere hour", "kj": "kilojoule", "gal": "gallon", "db": "decibel", "kcal": "kilocalorie", "tsp": "teaspoon", "tbsp": "tablespoon", "kpa": "kilopascal", "hpa": "hectopascal",
}  # fmt: skip
# Of one letter, or of another meaning in small or large letters: these as they stand.
_EXACT = {"m": "metre", "g": "gram", "s": "second", "h": "hour", "l": "litre", "L": "litre", "W": "watt", "V": "volt",
          "MW": "megawatt", "GW": "gigawatt", "mA": "milliampere", "\u03a9": "ohm", "k\u03a9": "kilohm", "\u03bcl": "microlitre", "\u03bcm": "micrometre", "\u03bcg": "microgram", "\u03bcs": "microsecond"}  # fmt: skip
_MANY = {"foot": "feet", "square foot": "square feet", "cubic foot": "cubic feet", "hertz": "hertz", "kilohertz": "kilohertz", "megahertz": "megahertz", "gigahertz": "gigahertz"}  # fmt: skip
_COUNTED = "people|users|viewers|listeners|readers|copies|customers|barrels|tonnes|tons|households|homes|jobs|workers|voters|votes|followers|subscribers|children|women|men|patients|cases|deaths|cars|units|shares|downloads|visitors|visits"  # fmt: skip
_UNIT = "|".join(
    [re.escape(u) for u in sorted(_EXACT, key=len, reverse=True)]
    + [f"(?i:{re.escape(u)})" for u in sorted(_UNITS, key=len, reverse=True)]
)
_PER = {"day": "day", "week": "week", "month": "month", "year": "year", "hour": "hour", "person": "person", "d": "day"}


def _named(unit: str) -> str:
    return _EXACT[unit] if unit in _EXACT else _UNITS[unit.lower()]


def _more(name: str) -> str:
    """The plural; of ``mile per hour`` its first part."""
    head, per, rest = name.partition(" per ")
    return _MANY.get(head, head + "s") + per + rest


_ROOM = {"sq": "square ", "cu": "cubic "}


def _unit(match: re.Match[str]) -> str:
    number, between, power, unit, power_below, below = match.groups()
    name = _ROOM.get(power or "", "") + _named(unit)
    if below:
        name += f" per {_ROOM.get(power_below or '', '')}{_PER.get(below) or _named(below)}"
    return f"{_decimal(number)} {name if number == '1' or between == '-' else _more(name)}"


def _hours(match: re.Match[str]) -> str:
    return f"{_counted(match[1], 'hour')} {_counted(match[2], 'minute')}"


_BEHIND_DEGREES = {"C": "Celsius", "F": "Fahrenheit", "K": "Kelvin", "N": "north", "S": "south", "E": "east", "W": "west"}  # fmt: skip
_WAY = "[NS][EW]?|[EW]"


def _behind_degrees(letters: str | None) -> str:
    return "".join(f" {_BEHIND_DEGREES[letter]}" for letter in letters or "")


def _of(number: str, one: str) -> str:
    return f"{_decimal(number)} {one if number == '1' else one + 's'}"


def _degrees(match: re.Match[str]) -> str:
    return _of(match[1], "degree") + _behind_degrees(match[2])


def _angle(match: re.Match[str]) -> str:
    degrees, minutes, seconds, way = match.groups()
    said = f"{_counted(degrees, 'degree')} {_of(minutes, 'minute')}"
    return said + (f" {_of(seconds, 'second')}" if seconds else "") + _behind_degrees(way)


def _feet(match: re.Match[str]) -> str:
    return f"{cardinal(int(match[1]))} foot {_decimal(match[2])}"


def _inches(match: re.Match[str]) -> str:
    """``12"``, unless the mark closes what was quoted."""
    before = match.string[max(0, match.start() - 1000) : match.start()]  # no more: a page of inches is read in time
    opened = max((m.start() for m in re.finditer(r'(?:^|(?<=[\s(]))"(?=\S)', before)), default=-1)
    if opened >= 0 and not re.search(r'(?<=[^\s\d])"', before[opened + 1 :]):
        return match[0]
    one = match[1] == "1" or re.search(r"\b[Aa]n?\s$", before)
    return f"{_decimal(match[1])} {'inch' if one else 'inches'}"


# ---- fractions, sums, scores -------------------------------------------------------------------------------------------

_PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def _fraction(match: re.Match[str]) -> str:
    whole, top, below, unit = match[1], int(match[2]), int(match[3]), match[4]
    if (top, below) == (24, 7) and not whole:
        return "twenty four seven"
    if (top, below) == (9, 11) and not whole:
        return "nine eleven"
    if not whole and top == below and top in (20, 50):
        return f"{cardinal(top)} {cardinal(below)}"
    if below < 2 or whole and top >= below:
        return match[0]
    if not whole and (top >= below or below in (10, 100) and top > 1):
        return f"{cardinal(top)} out of {cardinal(below)}" + (f" {_more(_named(unit))}" if unit else "")
    one, many = _PARTS.get(below) or (ordinal(below), f"{ordinal(below)}s")
    if whole:
        part = f"a {one}" if top == 1 and one[0] not in "aeiou" else f"{cardinal(top)} {one if top == 1 else many}"
        return f"{cardinal(int(whole))} and {part}" + (f" {_more(_named(unit))}" if unit else "")
    said = f"{cardinal(top)} {one if top == 1 else many}"
    return f"{'half' if said == 'one half' else said + ' of'} a {_named(unit)}" if unit else said


_SUMS = {"+": "plus", "-": "minus", "*": "times", "\u00d7": "times", "x": "times", "/": "divided by", "\u00f7": "divided by", "^": "to the power of"}  # fmt: skip


def _sum(match: re.Match[str]) -> str:
    """An equation: what stands between its numbers is no range and no date."""
    said = re.sub(r"\^([23])\b", lambda m: f" {_POWERS[m[1]]}", match[0])
    said = re.sub(r"(?<=[\w)])\s?([-+*\u00d7x/\u00f7^])\s?(?=[\d(]|[A-Za-z]\b)", lambda m: f" {_SUMS[m[1]]} ", said)
    return said.replace("=", " equals ")


_OPERATORS = {"*": "times", "\u00b7": "times", "\u22c5": "times", "\u2219": "times", "**": "to the power of", "^": "to the power of", "<": "less than",
              ">": "more than", "<=": "at most", ">=": "at least", "!=": "is not", "==": "equals", "===": "equals"}  # fmt: skip
# What an operator stands between: a number, a bracket, or a letter that is a word.
_LEFT, _RIGHT = r"(?:(?<=[\d)])|(?<=\b[A-Za-z]))", r"(?=[\d(]|\.\d|[A-Za-z]\b)"


def _operator(match: re.Match[str]) -> str:
    return f" {_OPERATORS[match[2]]} {'minus ' if match[3] else ''}"


def _in_braces(match: re.Match[str]) -> str:
    """``x^{10}`` as ``x^10``, ``2^{n+1}`` as ``2^(n+1)``."""
    return f"^{match[1]}" if re.fullmatch(r"-?\w+", match[1]) else f"^({match[1]})"


def _scientific(match: re.Match[str]) -> str:
    return f"{_decimal(match[1])} times ten to the power of {cardinal(int(match[2]))}"


def _to_the(match: re.Match[str]) -> str:
    minus, number = match.groups()
    power = f"to the power of {'minus ' if minus else ''}{_decimal(number)}"
    return f" {_POWERS.get(match[0][1:], power)} "


def _millions(match: re.Match[str]) -> str:
    return match[0] if match[0] == "3M" else f"{_decimal(match[1])} {_BIG[(match[2] or match[3]).lower()]}"


def _version(match: re.Match[str]) -> str:
    parts = match[2].split(".")
    dot = " dot " if len(parts) == 4 else " point "
    said = dot.join(_digits(p) if len(p) > 1 and p[0] == "0" else _count(p) for p in parts)
    return f"{match[1]}ersion {said}" if match[1] else said


def _spelled(match: re.Match[str]) -> str:
    """Digit by digit, with a short stop between groups."""
    groups = re.findall(r"\d+", match[0])
    return ("plus " if match[0].startswith("+") else "") + ", ".join(_digits(group) for group in groups)


def _called(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[3])
    if len(digits) < 5 and digits not in {"911", "999", "112", "111", "311", "411", "101"}:
        return match[0]
    return match[1] + match[2] + ", ".join(_digits(group) for group in re.findall(r"\d+", match[3]))


_TERM = r"(?:\d[\d,.]*\d|\d|[A-Za-z]\b|\([^()=]{1,20}\))(?:\^\d)?"
_OPERATOR = r"\s?[-+*\u00d7x/\u00f7]\s?"

STEPS: list[Step] = [
    # telephone numbers and other rows of digits
    (re.compile(r"(?<![\w+])\+\d{1,3}(?:[\s.-]?\(?\d{1,5}\)?){2,6}(?!\w)"), _spelled),
    (re.compile(r"(?<![\w.-])(?:1[-.\s])?(?:\(\d{3}\)\s?|\d{3}[-.\s])\d{3}[-.\s]\d{4}(?![\w-])"), _spelled),
    (re.compile(r"(?<![\w.-])\(?0\d{2,4}\)?[\s-]\d{3,4}(?:[\s-]?\d{3,4})?(?![\w-])|(?<![\w.-])555-\d{4}(?![\w-])"), _spelled),
    (re.compile(r"\b((?i:call|phone|telephone|tel|dial|fax|text|ring|mobile|cell))(\W{1,2}(?:(?:us|me|him|her|them|is|at|on|number)\W{1,2})*)(\d[\d\s-]*\d)(?!\w|[,.]\d)"), _called),
    (re.compile(r"(?<=ISBN )[\d-]{10,17}\b|(?<![\w-])\d{4}(?P<by>[ -])\d{4}(?P=by)\d{4}(?P=by)\d{4}(?![\w-])"), _spelled),
    (re.compile(r"(?<![\w.,])(\d{1,3}) (000(?: 000)*)(?![\w,]|\.\d)"), lambda m: m[1] + m[2].replace(" ", "")),
    # sums
    (re.compile(rf"(?<![\w.,'])-?{_TERM}(?:{_OPERATOR}{_TERM}){{1,50}}+\s?=\s?-?{_TERM}(?:{_OPERATOR}{_TERM})*(?![\w'])"), _sum),
    (re.compile(rf"{_WORTH}[eE]([+-]?\d{{1,3}})(?![\w.])"), _scientific),
    (re.compile(r"\^\{([^{}]{1,20})\}"), _in_braces),
    (re.compile(r"(?<=[\w)])\^(-?)(\d+(?:\.\d+)?)(?!\w)"), _to_the),
    (re.compile("\u2212"), "-"),
    (re.compile(rf"{_LEFT}(\s?)(\*\*?|\^|[\u22c5\u2219]|[<>!]=|===?)\1(-?){_RIGHT}"), _operator),
    (re.compile(rf"(?<=[\d)])(\s?)([\u00b7<>])\1(-?){_RIGHT}"), _operator),
    (re.compile(rf"{_LEFT}(\s?)([<>])\1(-?)(?=\.?\d)"), _operator),
    (re.compile(rf"{_LEFT}(\s)([<>])\1(-?){_RIGHT}"), _operator),
    (re.compile(rf"(?:^|(?<=[\s(]))(?!<3(?!\.?\d|%))([<>])(?={_SIGN}?\.?\d)"), lambda m: "less than " if m[1] == "<" else "more than "),
    # dashes: between numbers, and between words
    (re.compile(f"(?:(?<=\\d)|(?<=\\d{_SIGN}))\\s[-\u2013]\\s(?={_SIGN}?\\d)"), "-"),
    (re.compile("\\s?\u2014\\s?(?!\\d)|(?<!\\d)\\s?\u2014|\\s[-\u2013]\\s|--"), ", "),
    (re.compile(rf"(?<=\d)\s?~\s?(?={_SIGN}?\d)"), " to "),
    (re.compile(rf"(?<![\w.,])~\s?(?={_SIGN}?\.?\d)"), "about "),
    (re.compile(rf"\s<\s(?=[\d-]|{_SIGN})"), " less than "),
    (re.compile(rf"\s>\s(?=[\d-]|{_SIGN})"), " more than "),
    # money: as it is written elsewhere, brought to one form
    (re.compile(r"\bRs\.?\s?(?=\d)"), "₹"),
    (re.compile(rf"{_CURRENCY}\s?(?:\d{{1,3}}(?:[ ']\d{{3}})+|\d\d?(?:,\d\d)+,\d{{3}})(?!\d|,\d{{3}})"), _without_gaps),
    (re.compile(rf"(?<![\w.,])(?<!\d )\d{{1,3}}(?:[ ']\d{{3}})+(?=(?:[.,]\d\d)?\s?{_CURRENCY_BEHIND})"), _without_gaps),
    (re.compile(rf"({_CURRENCY}\s?(?:\d{{1,3}}(?:\.\d{{3}})+|\d+)),(\d\d)(?!\w|[.,]\d)"), _with_point),
    (re.compile(rf"(?<![\w.,])(\d{{1,3}}(?:\.\d{{3}})+|\d+),(\d\d)(?=\s?{_CURRENCY_BEHIND})"), _with_point),
    (re.compile(r"(?<![\w.,])(?!0)\d{1,3}(?:\.\d{3})+(?=\s?€(?!\.?\d))"), lambda m: m[0].replace(".", "")),
    (re.compile(rf"\$({'|'.join(name[:-1] for name in _DOLLARS)})(?=\d)"), r"\1$"),
    (re.compile(rf"(?:(?<=[\dkmn])|(?<=\d{_SIGN}))(\s?)[-\u2013]\1(?={_SIGN}\d)|(?<=\d{_SIGN})(\s?)[-\u2013]\2(?=\d)"), " to "),
    (re.compile(rf"({_CURRENCY})\s?[-\u2013](?=\.?\d)"), r"-\1"),
    # money
    (re.compile(rf"(\b[Aa]n?\s)({_CURRENCY})((?:{_WHOLE})(?:\.\d+)?)(?:[\s-](million|billion|trillion|thousand)|([kKmMbB]|mn|bn|tn))?[\s-]{_AFTER_A}(?=[a-z]{{3,}})"), _note),
    (re.compile(rf"({_CURRENCY})\s?((?:{_WHOLE})(?:\.\d+)?)\s?[-\u2013]\s?((?:{_WHOLE})(?:\.\d+)?){_SCALE}(?![\w.]*\d)"), lambda m: _range_of_money(m[1], m[2], m[3], m[4])),
    (re.compile(rf"(?<![\w.,-])((?:{_WHOLE})(?:\.\d+)?)\s?[-\u2013]\s?((?:{_WHOLE})(?:\.\d+)?){_SCALE}\s?({_CURRENCY_BEHIND})"), lambda m: _range_of_money(m[4], m[1], m[2], m[3])),
    (re.compile(rf"(?<![\d.,])(?:(?<!\w)([-\u2013]))?({_CURRENCY})\s?({_WHOLE})?(?:\.(\d+))?(?<=\d)(?:(?<=\.\d\d)p\b)?{_SCALE}(?:\s?({_CODE})\b)?"), _money_before),
    (re.compile(rf"(?<![\w.,])(?:(?<!\w)([-\u2013]))?({_WHOLE})?(?:\.(\d+))?(?<=\d){_SCALE}\s?({_CURRENCY_BEHIND})"), _money_behind),
    (re.compile(rf"\b(dollars?|euros?|pounds?|pence|cents?|yen|rupees?)\s?/\s?({'|'.join(_PER)}|{_UNIT})(?!\w)"), lambda m: f"{m[1]} per {_PER.get(m[2]) or _named(m[2])}"),
    # dates, years
    (re.compile(rf"\b({_DAY})\.?\s?[-\u2013]\s?({_DAY})\b\.?"), lambda m: f"{_DAYS[m[1]]} to {_DAYS[m[2]]}"),
    (re.compile(rf"\b({_DAY})\.(?=,?\s(?:[A-Z]|\d))"), lambda m: _DAYS[m[1]]),
    (re.compile(r"(?<=\b\d{4}-\d\d-\d\d)T(?=\d\d:?\d\d)"), ", "),
    (re.compile(r"(?<=:\d\d)Z\b"), " UTC"),
    (re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b"), _iso),
    (re.compile(rf"\b({_MONTH})\s(\d{{1,2}})(?:st|nd|rd|th)?(?:\s?[-\u2013]\s?(\d{{1,2}})(?:st|nd|rd|th)?)?(?![\w:%]|[.,]\d)(?:,?\s(\d{{4}})\b)?"), _date),
    (re.compile(rf"(?<![\w.,:$])([Tt]he\s)?(\d{{1,2}})(?:st|nd|rd|th)?(?:\s?[-\u2013]\s?(\d{{1,2}})(?:st|nd|rd|th)?)?\s(?:of\s)?({_MONTH})(?!\w)(?:,?\s(\d{{4}})\b)?"), _day_before),
    (re.compile(r"\b(Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec)\.(?=\s)|\b(Mar|Jun|Jul)\.(?=\s\d)"), lambda m: _month(m[0])),
    (re.compile(r"\b(1[1-9]|20)(\d\d)[-\u2013](\d\d)(?![-\u2013/]?\w)"), _months_or_years),
    (re.compile(r"\b1000'?s\b"), "thousands"),
    (re.compile(r"(?<![\w.,])(1\d|20)(\d)0'?s\b"), _decade),
    (re.compile(r"(?<!\w)'()([2-9])0s\b"), _decade),
    (re.compile(r"\b((?i:the|her|his|their|my|our|your|early|mid|late|and|or)[\s-])([2-9])0'?s\b"), lambda m: f"{m[1]}{TENS[int(m[2])][:-1]}ies"),
    (re.compile(r"\b100'?s\b"), "hundreds"),
    (re.compile(r"(?<![\w'])'(\d\d)(?![\w'])"), lambda m: _two(int(m[1]))),
    # what a line of numbers means: part of, from to, below zero
    (re.compile(rf"(?<![\w/.,])(?:(\d{{1,3}})[\s-])?(\d{{1,2}})/(\d{{1,3}})(?![\w/]|\.\d)(?:\s?({_UNIT})(?![\w'/]))?"), _fraction),
    (re.compile(r"(?<=[\d%°])\s?[-\u2013]\s?(?=\d)|(?<=\d)\s?\u2014\s?(?=\d)|(?<=[ap]m)\s?[-\u2013]\s?(?=\d)|(?<=[ap]\.m\.)\s?[-\u2013]\s?(?=\d)", re.IGNORECASE), " to "),
    (re.compile(r"(?<![\d.:,])(\d{1,2})\.([0-5]\d)(?=\s?[ap]\.?m\b)", re.IGNORECASE), r"\1:\2"),
    (re.compile(r"(?<![\d:])(\d{1,2})(?::(\d{2})(?::(\d{2}))?(?!\d)(?:\s?([ap]\.?m\b\.?))?|\s?([ap]\.?m\b\.?))(?:(?<=:\d\d)\.(\d+))?(?:(?<=\d)\s?h(?:rs?)?\b)?", re.IGNORECASE), _time),
    (re.compile(r"(?<=\d)\s?:\s?(?=\d)"), " to "),
    (re.compile(r"(?<![\w-])[-\u2013](?=\.?\d)"), "minus "),
    # units
    (re.compile(r"(?<=\d)(\s?(?:mm|cm|km|m|ft|in))?\s?x\s?(?=\d)"), r"\1 by "),
    (re.compile(r"(?<![\w.])(\d{1,2})\s?ft\.?\s(\d{1,2})\s?in\b\.?"), _feet),
    (re.compile(rf"(?<!\w)(\d+)°\s?(\d+(?:\.\d+)?)'(?:\s?(\d+(?:\.\d+)?)\")?(?:\s?({_WAY})\b)?"), _angle),
    (re.compile(r"(?<![\w.])(\d{1,2})'\s?(\d{1,2}(?:\.\d+)?)(?:\"|''|(?!\w))"), _feet),
    (re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\"(?!\w)"), _inches),
    (re.compile(rf"{_WORTH}\s?°(?:\s?([CFK]|{_WAY})\b)?"), _degrees),
    (re.compile(r"(?<!\w)(\d+)\s?h\s?(\d{1,2})\s?(?:m|min)?\b"), _hours),
    (re.compile(rf"{_WORTH}(?:\s?(M|bn|mn|tn)|\s?(m)(?=\s(?:{_COUNTED})\b))(?![\w'])"), _millions),
    (re.compile(rf"{_WORTH}(\s?|-)(?:(sq|cu)\s)?({_UNIT})(?:/\s?(?:(sq|cu)\s)?({'|'.join(_PER)}|{_UNIT}))?(?![\w'/])(?:\.(?=\s[a-z]|\s\d+\soz))?"), _unit),
    (re.compile(rf"(?<![\w.,])({_WHOLE})(?:st|nd|rd|th)\b", re.IGNORECASE), lambda m: _nth(_count(m[1]))),
    (re.compile(r"\b([vV])(?:\.|er\.?|ersion)?\s?(\d+(?:\.\d+)+)(?!\w|\.\d)"), _version),
    (re.compile(r"(?<![\w.])()(\d+(?:\.\d+){2,})(?!\w|\.\d)"), _version),
    (re.compile(r"(?<![\w.])(\d+)x(?=\s[a-z])"), r"\1 times"),
    (re.compile(r"\b([A-Z]{2,3})(?=\d)|(?<=\d)([A-Z]{2,3})\b"), lambda m: f" {' '.join(m[0])} "),
    (re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"), " "),
    (re.compile(_NUMBER), _number),
]  # fmt: skip
STEPS = [(pattern, change if isinstance(change, str) else _apart(change)) for pattern, change in STEPS]
"""In the order in which they are tried; what is said by one is not digits any more to those behind it."""
