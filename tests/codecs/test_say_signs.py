"""Money, times, degrees, units and operators, wherever their signs stand: a table of how each is said."""

from __future__ import annotations

import re
import time

import pytest

from bottega.codecs._say import spoken_text


@pytest.mark.parametrize(("text", "said"), [
    # the sign before, behind, with a minus on either side of it
    ("$5, £5, €5, ¥5, ₹5, ¢50", "five dollars, five pounds, five euros, five yen, five rupees, fifty cents"),
    ("5$, 5£, 5 €, 5¥, 5 ₹, 50¢, 50 ¢", "five dollars, five pounds, five euros, five yen, five rupees, fifty cents, fifty cents"),
    ("₩500, ₽5, ₺5, ₪5, ₱5, ₿0.005", "five hundred won, five roubles, five lira, five shekels, five pesos, zero point zero zero five bitcoins"),
    ("-$5, $-5, \u2212$5, $\u22125, +$5", "minus five dollars, minus five dollars, minus five dollars, minus five dollars, plus five dollars"),
    ("-5$, -5 €, \u22125€, -¢5, £-1.50", "minus five dollars, minus five euros, minus five euros, minus five cents, minus one pound and fifty pence"),
    ("(5$) \"$5\" 5$! 5€. $, $$$", "five dollars, five dollars, five dollars! five euros."),
    # whose dollars, and codes
    ("A$5, C$5, NZ$5, HK$5, S$1, R$5", "five Australian dollars, five Canadian dollars, five New Zealand dollars, five Hong Kong dollars, one Singapore dollar, five reais"),
    ("US$5, U.S.$5, US $5, AU$5, -A$5, $A5", "five dollars, five dollars, U S five dollars, five Australian dollars, minus five Australian dollars, five Australian dollars"),
    ("an A$5 note, an A$8 note", "a five Australian dollar note, an eight Australian dollar note"),
    ("$5USD, $5 USD, USD 5, USD5, 5 USD, 5USD", ", ".join(["five U S dollars"] * 6)),
    ("$5.50 CAD, 5EUR, GBP5, CHF 5, 5 SEK", "five Canadian dollars and fifty cents, five euros, five pounds, five Swiss francs, five Swedish kronor"),
    ("5M USD, USD 5 million, $5 million USD", ", ".join(["five million U S dollars"] * 3)),
    ("Z$5, costs$5, $5ish, £5.50p", "Z five dollars, costs five dollars, five dollars ish, five pounds and fifty pence"),
    ("I use EUR. Ke$ha", "I use E U R. Ke ha"),
    # points, commas and gaps in the number
    ("$1 234, $1 234.50, 1 234 €, CHF 1'000", "one thousand two hundred thirty four dollars, one thousand two hundred thirty four dollars and fifty cents, one thousand two hundred thirty four euros, one thousand Swiss francs"),
    ("€1.234,50, 5,00 €, 1 234,50 €, 1.000 €", "one thousand two hundred thirty four euros and fifty cents, five euros, one thousand two hundred thirty four euros and fifty cents, one thousand euros"),
    ("₹1,00,000, $1,234,567", "one hundred thousand rupees, one million two hundred thirty four thousand five hundred sixty seven dollars"),
    (".50$, $.50, 5.5$, ¥5.50, 5.5¢", "fifty cents, fifty cents, five dollars and fifty cents, five point five zero yen, five point five cents"),
    ("$1 or 234, in 2021 $5", "one dollar or two hundred thirty four, in twenty twenty one five dollars"),
    # from to, for each, about
    ("$5-10, 5-10$, 5\u201310 €, €5-€10, 5€-10€, 5-10 USD", "five to ten dollars, five to ten dollars, five to ten euros, five euros to ten euros, five euros to ten euros, five to ten U S dollars"),
    ("5 $ or 10 $, $5 -$5", "five dollars or ten dollars, five dollars minus five dollars"),
    ("5€/kg, A$5/day, 5¢/lb, a $5-million deal", "five euros per kilogram, five Australian dollars per day, five cents per pound, a five million dollar deal"),
    ("~$5, <$5, > $5", "about five dollars, less than five dollars, more than five dollars"),
    ("where $\\gamma=1$ and $\\pm$3 hold", "where gamma equals one and pm three hold"),  # of LaTeX
    # times
    ("1:00:00, 12:00:00, 7:00:00 pm", "one o'clock, twelve o'clock, seven p m"),
    ("10:05:00, 1:00:01, 7:05:30 pm", "ten oh five, one o'clock and one second, seven oh five and thirty seconds p m"),
    ("12:30:45.5, 1:00:00.5, 12:30.5", "twelve thirty and forty five point five seconds, one o'clock and zero point five seconds, twelve thirty point five"),
    ("7.30pm, 7.30 p.m., 19:00h, 19:30 hrs", "seven thirty p m, seven thirty p m, nineteen o'clock, nineteen thirty"),
    ("12:60:30, 99:30.5, 30pm", "twelve to sixty to thirty, ninety nine to thirty point five, thirty pm"),
    ("2021-05-06T12:30Z", "May sixth, twenty twenty one, twelve thirty U T C"),
    # degrees and units
    ("45°N, 45° W, 45°C, 45.5°S, 300°K", "forty five degrees north, forty five degrees west, forty five degrees Celsius, forty five point five degrees south, three hundred degrees Kelvin"),
    ("45°NE, 1°E, 45°12.5'N", "forty five degrees north east, one degree east, forty five degrees twelve point five minutes north"),
    ("5 kgs, 5kms, 5 m/s2, 5 kg/m\u00b3, 1 kg/m3", "five kilograms, five kilometres, five metres per second squared, five kilograms per cubic metre, one kilogram per cubic metre"),
    ("5 mA, 5 k\u03a9, 60 fps, 1 mpg, 5\u2030", "five milliamperes, five kilohms, sixty frames per second, one mile per gallon, five per thousand"),
    ("5 cm x 3 cm, 5x3", "five centimetres by three centimetres, five by three"),
    # operators
    ("2^n, x^n, e^x, 2^-n, 2^10, x^2", "two to the power of n, x to the power of n, e to the power of x, two to the power of minus n, two to the power of ten, x squared"),
    ("2^(n+1), 2^{10}, x^{-1}", "two to the power of, n plus one, two to the power of ten, x to the power of minus one"),
    ("5*3, 5 * 3, a*b, 2*x, 5\u22c53, 5\u00b73, 5**3", "five times three, five times three, a times b, two times x, five times three, five times three, five to the power of three"),
    ("*note* and **5** and 5* hotels", "note and five and five hotels"),
    ("5<3, 5 > 3, x<-3, a < b, <5 kg, >18", "five less than three, five more than three, x less than minus three, a less than b, less than five kilograms, more than eighteen"),
    ("a<=b, 5 >= 3, x != y, a==b, 5 == 5", "a at most b, five at least three, x is not y, a equals b, five equals five"),
    ("5~10, ~ 5", "five to ten, about five"),
    ("thanks <3, a <b> c, 1->2", "thanks three, a b c, one two"),  # no comparisons
])  # fmt: skip
def test_signs_are_said_wherever_they_stand(text, said):
    assert spoken_text(text) == said


@pytest.mark.parametrize(
    "part",
    [
        " 234",
        ".234",
        ",00",
        ",234",
        "'234",
        "5$",
        "$5",
        "5 € ",
        "USD",
        "A$",
        "$ ",
        "5*",
        "x^",
        "^{",
        "5<",
        "5°",
        "12:30:45.",
        "-5€-",
        "1-1€",
    ],
)
@pytest.mark.parametrize(("before", "behind"), [("", ""), ("$1", "€"), ("€1.", "50 USD")])
def test_the_time_of_many_signs_grows_no_faster_than_they_do(before, part, behind):
    text = before + part * 2000 + behind
    began = time.process_time()
    said = spoken_text(text)
    assert time.process_time() - began < 10
    assert not re.search(r"\d", said)
