"""Claims against a closed corpus: what stands there passes, planted faults are found, the label says so."""

from __future__ import annotations

import pytest

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
