"""Number words, Roman numerals and months of English, which those that make sentences and those that say them agree on."""

from __future__ import annotations

__all__ = ["MONTHS", "ONES", "ROMAN", "TENS"]

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
"""0 to 19."""
TENS = ["", "", *["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]]
"""By tens; the first two have no word of their own."""
ROMAN = r"(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
"""A pattern of Roman numerals below 100, the empty one too: put a lookahead before it."""
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
"""In order; not ``calendar``'s, which follow the locale."""
