"""Long rows of digits are said digit by digit, at once, whatever stands around them."""

from __future__ import annotations

import re
import time

import pytest

from bottega.codecs._say import cardinal, ordinal, spoken_text
from bottega.core.english import ONES

LONG = 5000  # digits; Python's int() and str() refuse more than 4,300
ROW = ("1234567890" * LONG)[:LONG]
GROUPED = "1" + ",234" * (LONG // 3)


def digits(text):
    return " ".join(ONES[int(c)] for c in text if c.isdecimal())


@pytest.mark.parametrize(("text", "said"), [
    ("{row}", "{said}"),
    ("-{row}", "minus {said}"),
    ("3.{row}", "three point {said}"),
    (".{row}", "point {said}"),
    ("{row}.{row}", "{said} point {said}"),
    ("{grouped}", "{parts}"),
    ("{grouped}.{row}", "{parts} point {said}"),
    ("{grouped} km", "{parts} kilometres"),
    ("{row} km, 1.{row} kg", "{said} kilometres, one point {said} kilograms"),
    ("a {row}-km run", "a {said} kilometre run"),
    ("{row}\u00b0C", "{said} degrees Celsius"),
    ("{row}\u00b0{row}'{row}\"", "{said} degrees {said} minutes {said} seconds"),
    ("{row}h 20m", "{said} hours twenty minutes"),
    ("${row}, {row}\u00a2, {grouped} \u20ac", "{said} dollars, {said} cents, {parts} euros"),
    ("${row}.50", "{said} dollars and fifty cents"),
    ("$1.{row}", "one point {said} dollars"),
    ("${row} million, ${row}-${row}", "{said} million dollars, {said} dollars to {said} dollars"),
    ("{row}$, A${row}, {row} USD, $-{row}, ${row}p", "{said} dollars, {said} Australian dollars, {said} U S dollars, minus {said} dollars, {said} dollars p"),
    ("{row}-{row}€, €{row},50, {row},50 €", "{said} to {said} euros, {said} euros and fifty cents, {said} euros and fifty cents"),
    ("12:30:45.{row}, {row}*{row}, x^-{row}, {row}<{row}", "twelve thirty and forty five point {said} seconds, {said} times {said}, x to the power of minus {said}, {said} less than {said}"),
    ("a ${row} note", "a {said} dollar note"),
    ("{row}th, {grouped}th", "{said}th, {parts}th"),
    ("v{row}.{row}, 1.{row}.2", "version {said} point {said}, one point {said} point two"),
    ("{row}e12, 2^{row}, 2^-{row}", "{said} times ten to the power of twelve, two to the power of {said}, two to the power of minus {said}"),
    ("{row}M people", "{said} million people"),
    ("{row}%, {row} + {row} = {row}", "{said} percent, {said} plus {said} equals {said}"),
    ("call {row}", "call {said}"),
    ("12:30.{row}", "twelve thirty point {said}"),
    ("x{high}", "x to the power of {said}"),
])  # fmt: skip
def test_a_row_of_thousands_of_digits_is_said_one_by_one(text, said):
    high = ROW.translate(str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"))
    assert spoken_text(text.format(row=ROW, grouped=GROUPED, high=high)) == said.format(
        said=digits(ROW), parts=digits(GROUPED)
    )


@pytest.mark.parametrize("text", [
    GROUPED * 4, f"{GROUPED * 4}.{ROW}", ROW * 4, "-".join(ROW * 2), "/".join(ROW * 2), "+".join(ROW * 2), ".".join(ROW * 2), ":".join(ROW * 2),
    ",".join(ROW * 2), "1\" " * LONG, "\"1\" " * LONG, "-1" * LONG, "1,000 000 " * (LONG // 4), "\u0663" * LONG,
])  # fmt: skip
def test_the_time_of_a_long_row_grows_no_faster_than_the_row(text):
    """A pattern that reads the rest anew from each digit needs minutes here."""
    began = time.process_time()
    said = spoken_text(text)
    assert time.process_time() - began < 10
    assert not re.search(r"\d", said)


def test_python_numbers_of_thousands_of_digits_are_counted():
    assert cardinal(10**LONG) == digits("1" + "0" * LONG)
    assert cardinal(-(10**LONG)) == f"minus {digits('1' + '0' * LONG)}"
    assert ordinal(10**LONG) == f"{digits('1' + '0' * LONG)}th"
    assert cardinal(10**15 - 1).startswith("nine hundred ninety nine trillion")


@pytest.mark.parametrize(("text", "said"), [
    ("000000000000000000000005 km", "five kilometres"),  # long, and small
    ("$0000000000000000000001", "one dollar"),
    ("2^1000, x^2, x^-2, 10^3, 2^0.5", "two to the power of one thousand, x squared, x to the power of minus two, ten cubed, two to the power of zero point five"),
    ("999,999,999,999,999 kg", "nine hundred ninety nine trillion nine hundred ninety nine billion nine hundred ninety nine million nine hundred ninety nine thousand nine hundred ninety nine kilograms"),
    ("3,5 km, 2021,345 km", "three, five kilometres, twenty twenty one, three hundred forty five kilometres"),
    ("1234567890123456th", "one two three four five six seven eight nine zero one two three four five sixth"),
    ("0.50 kg, $0.05, $0", "zero point five zero kilograms, five cents, zero dollars"),
])  # fmt: skip
def test_what_is_long_or_small_keeps_its_words(text, said):
    assert spoken_text(text) == said
