"""Speakers whose memory is known: one that reads all, one that forgets, one that contradicts itself, one that is silent."""

from __future__ import annotations

import re

import pytest

from bottega.core import BottegaError, RecipeError
from bottega.crafts.recall import recall, said_values
from bottega.data import worlds

ANSWER = worlds.load("dialogues", n=1).truth["answer"]
VALUES = worlds.load("dialogues", n=1).truth["values"]


def perfect(conversations):
    return [f" {ANSWER(text)}" for text in conversations]


def forgetful(lines):
    """Reads the last ``lines`` lines; guesses a red cat otherwise."""

    def speak(conversations):
        cut = ["\n".join(text.split("\n")[-lines:]) for text in conversations]
        return [ANSWER(text) or "It is a red cat in Rome on Monday, 7." for text in cut]

    return speak


def test_a_perfect_memory_recalls_all_and_never_wavers():
    for row in recall(perfect, (0, 3, 20), n=20):
        assert row.recalled.value == 1
        assert row.contradicted.value == row.wavered.value == row.silent == 0
        assert row.recalled.low < 1
        assert row.wavered.n == 20


def test_changed_facts_count_as_they_were_told_last():
    assert recall(perfect, (2,), n=40, changes=1.0)[0].recalled.value == 1

    def stubborn(conversations):  # believes what it heard first
        return [ANSWER(re.sub(r"A: I was wrong\. .*\nB: I see\.\n", "", text)) for text in conversations]

    row = recall(stubborn, (2,), n=40, changes=1.0)[0]
    assert row.recalled.value == 0
    assert row.contradicted.value == 1
    assert row.wavered.value == 0, "it is wrong, but it does not change its mind"


def test_recall_falls_where_the_memory_ends():
    # the question is 2 lines, the facts 6, each turn of talk 2: 16 lines reach over 4 turns of talk
    found = {row.turns: row.recalled.value for row in recall(forgetful(16), (0, 4, 8, 16), n=60)}
    assert found[0] == found[4] == 1
    assert found[8] < 0.3
    assert found[16] < 0.3
    rows = {row.turns: row for row in recall(forgetful(16), (4, 16), n=60)}
    assert rows[16].contradicted.value > 0.2 > rows[4].contradicted.value


def test_contradicting_oneself_is_counted_apart():
    asked = []

    def fickle(conversations):
        asked.append(conversations)
        if len(asked) % 2:
            return perfect(conversations)
        out = []
        for text, true in zip(conversations, perfect(conversations), strict=True):
            kind = next(k for k, of in VALUES.items() if said_values(true, of) and _asks(text, k))
            other = next(v for v in VALUES[kind] if v not in said_values(true, VALUES[kind]))
            out.append(f"It is {other}.")
        return out

    row = recall(fickle, (1,), n=15)[0]
    assert row.recalled.value == 1
    assert row.wavered.value == 1
    first, second = asked
    for a, b in zip(first, second, strict=True):
        assert b.startswith(a + " "), "the second question stands in the same conversation, behind the first answer"
        assert b.split("\n")[-2:] == a.split("\n")[-2:]
        assert len(b.split("\n")) == len(a.split("\n")) + 4


def _asks(text, kind):
    said = {"name": "name", "town": "live", "pet": "pet", "colour": "colour", "day": "day", "number": "number"}
    return said[kind] in text.split("\n")[-2]


def test_silence_is_neither():
    row = recall(lambda texts: ["" for _ in texts], (2,), n=10)[0]
    assert row.silent == 1
    assert row.recalled.value == row.contradicted.value == 0
    assert row.wavered.n == 0
    assert "none" in row.wavered.note


def test_names_are_whole_words_of_the_first_line():
    assert said_values("The catalogue.", ("cat",)) == set()
    assert said_values(" 12\nA: 7", ("7", "12", "2")) == {"12"}
    assert said_values("MONDAY", ("Monday",)) == {"Monday"}


def test_mistakes_are_told():
    with pytest.raises(RecipeError, match="at least one"):
        recall(perfect, ())
    with pytest.raises(BottegaError, match="one is wanted for each"):
        recall(lambda texts: [], (1,), n=3)
