"""Claims against a closed corpus: what stands there passes, planted faults are found, the label says so."""

from __future__ import annotations

import json

import pytest

from bottega.cli import main
from bottega.core import DataError, Item
from bottega.data import worlds
from bottega.trust.claims import Corpus, sentences

DOCS = [
    Item(
        "The Halden bridge was opened in 1932 by Maria Kolb. It is 503 metres long and carries two tracks. "
        "Trucks were not allowed on it before 1950.",
        name="bridge.txt",
    ),
    Item(
        "The Lindau ferry stopped in 1960. Its last captain, Otto Brand, wrote a book about the lake.", name="ferry.txt"
    ),
]
CORPUS = Corpus(DOCS)


@pytest.mark.parametrize(
    "claim",
    [
        "The Halden bridge was opened in 1932 by Maria Kolb.",
        "In 1932 Maria Kolb opened the Halden bridge.",
        "The bridge carries two tracks and is 503 metres long.",
        "Otto Brand wrote a book about the lake.",
        "Before 1950, trucks were never allowed on it.",
        "Yes.",
    ],
)
def test_what_stands_there_is_supported(claim):
    found = CORPUS.check(claim)
    assert found.supported, found


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("The Halden bridge was opened in 1923 by Maria Kolb.", "1923 does not stand there"),
        ("The Halden bridge was opened in 1932 by Otto Brand.", "does not stand there"),
        ("Trucks were allowed on it before 1950.", "denies"),
        ("The Halden bridge was not opened in 1932.", "denies"),
        ("Napoleon opened the bridge.", "napoleon does not stand there"),
        ("The bridge carries two tracks, a tramway, a footpath and a canal for small boats.", "% of it stands"),
        ("Zebras graze.", "nothing of it stands"),
    ],
)
def test_planted_faults_are_found(claim, why):
    found = CORPUS.check(claim)
    assert not found.supported
    assert why in found.why


def test_what_it_does_not_see_is_told():
    swapped = Corpus([Item("The mayor of Riga met Anna Holm.", name="a")]).check("Anna Holm of Riga met the mayor.")
    assert swapped.supported, "words are compared, not who did what"
    assert "who did what to whom" in CORPUS.label("Yes.").limits


def test_an_answer_carries_its_label():
    good = CORPUS.label("The ferry stopped in 1960. The bridge is 503 metres long.")
    assert good.source == "ferry.txt; bridge.txt"
    assert good.confidence.startswith("supported (2 of 2 sentences")
    mixed = CORPUS.label("The ferry stopped in 1960. It sank in 1961.")
    assert mixed.confidence.startswith("partly supported (1 of 2")
    assert "'It sank in 1961.'" in mixed.confidence
    none = CORPUS.label("Zebras graze.")
    assert none.source == "none in the corpus"
    assert str(none).startswith("source: none in the corpus\nconfidence: unsupported")
    assert CORPUS.label("").confidence.startswith("unsupported")


def test_the_rate_of_unsupported_claims_on_made_news():
    items = worlds.load("news", n=60, seed=3).items
    corpus = Corpus([Item(str(i.value), name=f"n{k}") for k, i in enumerate(items)])
    own = [s for i in items for s in sentences(str(i.value))]
    kept = corpus.unsupported([" ".join(own[k : k + 3]) for k in range(0, 60, 3)])
    assert kept.value == 0
    assert kept.n >= 50
    changed = ["".join(str((int(c) + 3) % 10) if c.isdigit() else c for c in s) + " In Atlantis." for s in own[:60]]
    wrong = corpus.unsupported(changed)
    assert wrong.low > 0.85


def test_an_empty_corpus_is_refused():
    with pytest.raises(DataError, match="no sentence"):
        Corpus([Item("  ", name="x")])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bridge.md").write_text(
        "# The Halden bridge\n\nThe Halden bridge was opened in 1932 by\nMaria Kolb. It is 503\nmetres long and carries two\ntracks.\n"
    )
    (tmp_path / "sites.csv").write_text("site,manager,rooms,phone\nNordhof,Anna Berg,40,12\nSeehof,Otto Brand,12,40\n")
    (tmp_path / "broken.csv").write_text("a,b\n1\n")
    return tmp_path


def test_a_text_is_checked_against_a_closed_folder(folder, capfd):
    said = ["In 1932 Maria Kolb opened the Halden bridge.", "It is 530 metres long.", "The manager of Nordhof is Anna Berg.",
            "The manager of Nordhof is Otto Brand.", "Nordhof has 12 rooms.", "Nordhof has 40 rooms."]  # fmt: skip
    assert main(["write", "check", " ".join(said), "--from", str(folder), "--json"]) == 2
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert [(s["claim"], s["supported"]) for s in told["sentences"]] == list(zip(said, [True, False, True, False, False, True], strict=True))  # fmt: skip
    assert told["sentences"][2]["source"] == "sites.csv, line 2"
    assert told["sentences"][1]["passage"] == "It is 503 metres long and carries two tracks.", (
        "wrapped lines are one sentence"
    )
    assert told["unsupported"] == 3
    rate = told["unsupported_claims"]
    assert (rate["value"], rate["n"]) == (0.5, 6)
    assert rate["low"] < 0.2 < 0.8 < rate["high"]
    assert "who did what to whom" in told["label"]["limits"]
    assert "left out: " in err
    assert "broken.csv" in told["left_out"]


@pytest.mark.parametrize("size", [300, 900, 5000])
def test_a_text_too_long_for_the_name_of_a_file_is_a_text(size, folder, capfd):
    said = ("The bridge carries two tracks. " * 200)[:size].rpartition(". ")[0] + "."
    assert main(["write", "check", said, "--from", str(folder)]) == 0
    assert "0 of" in capfd.readouterr().out


def test_a_supported_text_passes_and_none_proves_itself(folder, capfd):
    assert main(["write", "check", "The bridge carries two tracks.", "--from", str(folder)]) == 0
    assert "0 of 1 sentences unsupported: 0 % (95 % interval 0 to " in capfd.readouterr().out
    draft = folder / "draft.md"
    draft.write_text("The bridge was sold to Iceland\nin 1999.\n")
    assert main(["write", "check", str(draft), "--from", str(folder)]) == 2
    out, err = capfd.readouterr()
    assert "1 of 1 sentences unsupported: 100 %" in out
    assert "does not prove itself" in err
    (folder / "copy.md").write_text(draft.read_text())  # planted: what the folder says is supported, true or not
    assert main(["write", "check", str(draft), "--from", str(folder)]) == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["A word."], "--table, or a folder with --from"),
        (["A word.", "--table", "a.csv", "--from", "b"], "one at a time"),
        (["A word.", "--from", ".", "--key", "a"], "--key a"),
        (["A word.", "--from", "nowhere"], "there is no nowhere"),
        (["# A heading", "--from", "."], "no sentence to check"),
    ],
)
def test_a_check_that_cannot_be_made(words, why, folder, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["write", "check", *words]) == 2
    assert why in " ".join(capfd.readouterr().err.split())
