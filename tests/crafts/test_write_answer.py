"""Answers from a folder: the fifty built-in questions, spans that are where they are said to be, and no answer where none is."""

from __future__ import annotations

import json

import pytest

from bottega.cli import main
from bottega.core import DataError
from bottega.crafts._town import PAGES, TABLE
from bottega.crafts.write_answer import QUESTIONS, Library, alike, exam, town


@pytest.fixture(scope="module")
def library():
    return town()


def test_at_least_four_fifths_of_the_built_in_questions(library):
    found = exam(library, QUESTIONS)
    assert len(QUESTIONS) == 50
    assert found.exact >= 0.9
    assert found.abstained == 1.0


@pytest.mark.parametrize("question", [q for q, right in QUESTIONS if right])
def test_the_place_that_is_cited_holds_the_answer(question, library):
    said = library.ask(question)
    if said.source.endswith(".csv"):
        row = TABLE.splitlines()[said.start - 1]
        assert said.end > said.start or said.text.split(" ")[0].replace(",", "") in row
    else:
        assert PAGES[said.source][said.start : said.end] == said.text
        assert said.text in said.passage
        assert said.passage in PAGES[said.source]


def test_words_are_not_in_the_order_of_the_source(library):
    """Questions that were not written beside the pages' sentences."""
    asked = [("In which year was the Maritime Academy founded?", "1902"), ("By whom was the lighthouse designed?", "Tobias Ferrand"),
             ("How many pupils does the island's school have?", "seven"), ("How many people live in Gull Point?", "1,240"),
             ("Who manages the Rovers?", None), ("Which district has the fewest schools?", "Gull Point")]  # fmt: skip
    right = [alike(library.ask(q).text, a or "") for q, a in asked]
    assert sum(right) >= 5


def test_no_answer_says_why(library):
    said = library.ask("Who designed the lighthouse of Atlantis?")
    assert said.text == ""
    assert "Atlantis" in said.why
    assert said.confidence == 0


def test_less_is_asked_where_the_threshold_is_lower(library):
    question = "Which colour was the quietest zeppelin painted?"
    assert library.ask(question).text == ""
    assert town(least=0.0).ask(question).text != ""


def test_bad_folders_and_questions(tmp_path, library):
    with pytest.raises(DataError, match="there is no"):
        Library.read(tmp_path / "none")
    with pytest.raises(DataError, match="neither texts nor tables"):
        Library.read(tmp_path)
    with pytest.raises(DataError, match="question is empty"):
        library.ask(" ?")
    (tmp_path / "a.txt").write_bytes(b"Caf\xe9.")
    with pytest.raises(DataError, match="0xe9"):
        Library.read(tmp_path)


def test_the_command(tmp_path, capfd):
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "districts.csv").write_text(TABLE)
    assert main(["write", "answer", "Who designed the lighthouse?", "--from", str(tmp_path), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["text"], told["source"]) == ("Tobias Ferrand", "lighthouse.txt")
    assert main(["write", "answer", "Who is the king of Atlantis?", "--from", str(tmp_path)]) == 3
    assert capfd.readouterr().out == "no answer\n"
    assert main(["write", "answer", "--exam", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["exact"] >= 0.9
