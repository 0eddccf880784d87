"""Flows and languages, without a bot."""

from __future__ import annotations

from datetime import datetime

import pytest

from bottega.crafts.chat_folder import Flow, Step
from bottega.crafts.chat_router import fill, fillable, language_of, read, walk

NOW = datetime(2026, 3, 11, 10)
BOOK = Flow("book", (
    Step("who", ask="Your name?", slot="name", kind="name"), Step("n", ask="How many?", slot="n", kind="number"),
    Step("when", ask="When?", slot="when", kind="date"), Step("big", say="A large table.", when={"n": "8"}), Step("done", say="Booked for {name}."),
))  # fmt: skip


def test_a_flow_from_its_beginning_to_its_end():
    at = walk(BOOK, None, {}, "book a table tomorrow", NOW)
    assert (at.lines, at.step, at.slots) == (["Your name?"], 0, {"when": "Thursday 12 March 2026"})
    at = walk(BOOK, 0, at.slots, "my name is Ada", NOW)
    assert (at.lines, at.step) == (["How many?"], 1)
    assert walk(BOOK, 1, at.slots, "some", NOW).refused
    assert walk(BOOK, 1, at.slots, "we are 4", NOW).lines == ["Booked for Ada."]
    assert walk(BOOK, 1, at.slots, "8", NOW).lines == ["A large table.", "Booked for Ada."]


@pytest.mark.parametrize(
    ("step", "text", "right"),
    [
        (Step("a", kind="email"), "it is ann@example.com.", "ann@example.com"), (Step("a", kind="email"), "ann at home", ""),
        (Step("a", pattern=r"FM\\d{4}".replace("\\\\", "\\")), "the order fm1234", "FM1234"), (Step("a", kind="choice", choices=("red", "not like it")), "I don't like it", "not like it"),
        (Step("a", kind="choice", choices=("red", "blue")), "red or blue", ""), (Step("a", kind="number"), "about 3,5", "3,5"), (Step("a", kind="text"), " anything ", "anything"),
    ],
)  # fmt: skip
def test_what_answers_a_question(step, text, right):
    assert read(step, text, NOW, whole=True) == right


def test_blanks_and_languages():
    assert fillable("{a} {b}", {"a": "1"}) is False
    assert fill("Dear {a}. Hello.", {}) == "Hello."
    texts = {
        "en": "where is the order that I made",
        "de": "wo ist die Bestellung",
        "fr": "où est ma commande",
        "es": "dónde está mi pedido",
        "it": "dove è il mio ordine",
    }
    assert {code: language_of(text) for code, text in texts.items()} == {code: code for code in texts}
    assert language_of("wo ist sie", ("en", "fr")) == "en"
