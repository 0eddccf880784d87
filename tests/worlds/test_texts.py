"""Made texts and languages: what they say of themselves is true."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from bottega.core import DataError
from bottega.data import _languages, worlds


@pytest.mark.parametrize(
    ("name", "arguments"), [("counting", {}), ("copying", {"longest": 3, "letters": 2}), ("languages", {})]
)
def test_mean_cost_is_the_entropy_and_all_are_members(name, arguments):
    data = worlds.load(name, n=4000, **arguments)
    truth = data.truth
    nats = [-truth["log_prob"](item.value) for item in data.items]
    assert all(truth["is_member"](item.value) for item in data.items)
    if "entropy_nats" in truth:
        assert np.mean(nats) == pytest.approx(truth["entropy_nats"], rel=0.02)
    assert truth["log_prob"]("no such text") == -math.inf
    assert not truth["is_member"]("")


def test_copying_probabilities_sum_to_one():
    truth = worlds.load("copying", n=1, longest=3, letters=2).truth
    words = ["".join(w) for k in (1, 2, 3) for w in itertools.product("ab", repeat=k)]
    p = np.exp([truth["log_prob"](f"{w}={w}") for w in words])
    assert p.sum() == pytest.approx(1)
    assert -(p * np.log(p)).sum() == pytest.approx(truth["entropy_nats"])
    assert truth["log_prob"]("ab=ba") == truth["log_prob"]("abab=abab") == truth["log_prob"]("ab") == -math.inf
    assert truth["rest"]("abba=ab") == "ba"


def test_copying_knows_unseen_words():
    data = worlds.load("copying", n=500, longest=8, letters=3)
    seen = {item.value.partition("=")[0] for item in data.items}
    found = data.truth["unseen"](50, 8)
    assert len(found) == 50
    assert not seen & set(found)
    with pytest.raises(DataError, match="longer"):
        data.truth["unseen"](5, 1)


def test_counting_says_what_follows():
    truth = worlds.load("counting", n=1).truth
    assert truth["rest"]("aaaab") == "bbb"
    assert truth["rest"]("aabb") == ""
    assert truth["begun"][2] == "aaab"
    for text in ("aa", "abb", "aba"):
        with pytest.raises(DataError):
            truth["rest"](text)


def test_hidden_likelihood_is_the_sum_over_paths():
    data = worlds.load("hidden", n=20, length=4)
    truth = data.truth
    for item in data.items:
        total = 0.0
        for path in itertools.product(range(3), repeat=4):
            p = truth["start"][path[0]]
            for a, b in itertools.pairwise(path):
                p *= truth["moves"][a, b]
            total += p * np.prod([truth["letters"][s, "abcde".index(c)] for s, c in zip(path, item.value, strict=True)])
        assert truth["log_prob"](item.value) == pytest.approx(math.log(total))
    every = ["".join(w) for w in itertools.product("abcde", repeat=4)]
    assert sum(math.exp(truth["log_prob"](text)) for text in every) == pytest.approx(1)
    assert truth["log_prob"]("abc") == -math.inf


def test_hidden_paths_are_those_that_were_drawn():
    data = worlds.load("hidden", n=300)
    paths = np.array(data.truth["paths"])
    moves = np.zeros((3, 3))
    np.add.at(moves, (paths[:, :-1].ravel(), paths[:, 1:].ravel()), 1)
    assert np.abs(moves / moves.sum(1, keepdims=True) - data.truth["moves"]).max() < 0.02
    shown = np.array([["abcde".index(c) for c in item.value] for item in data.items])
    seen = np.zeros((3, 5))
    np.add.at(seen, (paths.ravel(), shown.ravel()), 1)
    assert np.abs(seen / seen.sum(1, keepdims=True) - data.truth["letters"]).max() < 0.02


# ---- the pair ----


def test_the_reference_translates_every_sentence():
    data = worlds.load("translation", n=2000)
    assert len({item.cond for item in data.items}) == 2000
    for item in data.items:
        assert data.truth["translate"](item.cond) == item.value
    back = worlds.load("translation", n=200, reverse=True)
    for item in back.items:
        assert _languages.translate(item.value) == item.cond
        assert back.truth["translate"](item.cond) == item.value


def test_unseen_sentences_are_unseen():
    data = worlds.load("translation", n=2000)
    more = data.truth["unseen"](300)
    assert len({item.cond for item in more}) == 300
    assert not {item.cond for item in more} & {item.cond for item in data.items}
    assert all(data.truth["translate"](item.cond) == item.value for item in more)


@pytest.mark.parametrize(
    ("text", "velan"),
    [
        ("the man sees the woman.", "garo lo melan lan vidat."),  # order and case
        ("the men see the woman.", "gari li melan lan vidatur."),  # number of noun, article and verb
        ("the woman saw a red flower yesterday.", "ieri mela la fluran ruban vidil."),  # gender, tense, no "a"
        ("a child looks at two birds in the garden.", "pito jardim ciren duo spekat."),  # two words in one
        ("my grandmother borrowed this book.", "mada sena ma libon kon zu prenil."),  # one word in two, a particle
        ("an old king does not sleep.", "ruvo seno ne dormat."),
    ],
)
def test_the_grammar_of_velan(text, velan):
    assert _languages.translate(text) == velan


@pytest.mark.parametrize(
    "text",
    [
        "the man see the woman.", "the men sees the woman.", "a old king sleeps.", "two book sing.", "the man sleeps",
        "these man sleeps.", "the man sleeps the woman.", "the man sees.", "the man sleeps yesterday.", "",
        "the man looks for the woman.",
    ],
)  # fmt: skip
def test_what_is_no_sentence_has_no_translation(text):
    assert _languages.parse(text) is None
    with pytest.raises(DataError, match="no sentence"):
        _languages.translate(text)


# ---- three languages ----


def test_each_sentence_is_of_its_language_alone():
    data = worlds.load("languages", n=2000)
    truth = data.truth
    for item in data.items:
        of = [language for language in _languages.LANGUAGES if truth["log_prob"](item.value, language) > -math.inf]
        assert of == [item.cond]
        assert truth["identify"](item.value) == item.cond
    a, b, c = (set(truth["lexicons"][language]) for language in _languages.LANGUAGES)
    assert len(a & b & c) == _languages.SHARED
    assert len(a | b | c) == 3 * (_languages.WORDS - _languages.SHARED) + _languages.SHARED
    loan = next(iter(a & b & c))
    assert truth["identify"](f"{loan} {loan} {loan}.") == ""


def test_language_probabilities_sum_to_one():
    """Over all sentences of three words of one language: their share of all lengths."""
    truth = worlds.load("languages", n=1).truth
    words = truth["lexicons"]["arin"]
    total = sum(
        math.exp(truth["log_prob"](f"{a} {b} {c}.", "arin")) for a in words for b in words[:9] for c in words[:9]
    )
    first = [1 / (i + 1) for i in range(9)]
    every = sum(1 / (i + 1) for i in range(80))
    own = [i % 4 != 3 for i in range(80)]
    loan = sum(1 / (i + 1) for i in range(80) if not own[i]) / every
    loan9 = sum(1 / (i + 1) for i in range(9) if not own[i]) / every
    expected = ((sum(first) / every) ** 2 - loan * loan9**2) / (1 - loan**3) / 6
    assert total == pytest.approx(expected)


# ---- texts with slots ----


@pytest.mark.parametrize("task", ["summary", "article", "report"])
def test_news_is_read_back_slot_by_slot(task):
    data = worlds.load("news", n=600, task=task)
    read, slots = data.truth["read"], data.truth["slots"]
    assert {s["kind"] for s in slots} == {"match", "company", "weather"}
    for i, (item, said) in enumerate(zip(data.items, slots, strict=True)):
        found = read(item.value)
        assert found.items() <= said.items()
        assert len(found) >= 5
        assert read(data.truth["articles"][i]) == said
        assert read(data.truth["summaries"][i]).items() <= said.items()
        if task == "report":
            assert data.truth["read_table"](item.cond) == said == found


def test_news_that_is_wrong_is_not_read_as_right():
    truth = worlds.load("news", n=1).truth
    assert truth["read"]("Arlen won 3-1 against Borvik on Monday thanks to Ivo.") == {
        "kind": "match", "winner": "Arlen", "loser": "Borvik", "high": "3", "low": "1", "scorer": "Ivo", "day": "Monday",
    }  # fmt: skip
    assert truth["read"]("Arlen won against Borvik.") is None
    assert truth["read"]("In Arlen there was rain. The people of Borvik saw rain.") is None  # contradicts itself


def test_reviews_are_judged_by_what_they_claim():
    data = worlds.load("reviews", n=2000)
    truth = data.truth
    assert all(truth["sentiment"](item.value) == item.cond for item in data.items)
    assert 0.45 < np.mean([item.cond == "positive" for item in data.items]) < 0.55
    labelled = worlds.load("reviews", n=50, task="label")
    assert [(i.value, i.cond) for i in labelled.items] == [(i.cond, i.value) for i in data.items[:50]]
    for text, right in (
        ("The food was good.", "positive"),
        ("The food was not good at all.", "negative"),
        ("Nobody could call the staff rude.", "positive"),
        ("Although the food was good, the room was awful.", "negative"),
        ("I found the view lovely, even if the bed seemed broken to us.", "positive"),
        ("We had heard that the music was great, but the staff was rude.", "negative"),
        ("It was a Sunday.", ""),
        ("The food was purple.", ""),
        ("The food was good. The room was bad.", ""),
    ):
        assert truth["sentiment"](text) == right, text


def test_a_bag_of_words_does_not_read_reviews():
    """What makes the world worth a model that reads: counts of words fall short of it."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    items = worlds.load("reviews", n=3000).items
    x = CountVectorizer().fit_transform([i.value for i in items])
    y = np.array([i.cond for i in items])
    score = LogisticRegression(max_iter=500).fit(x[:2000], y[:2000]).score(x[2000:], y[2000:])
    assert 0.6 < score < 0.9


def test_names_stand_where_they_are_said_to_stand():
    data = worlds.load("names", n=1000)
    bank = {kind: set(names) for kind, names in data.truth["names"].items()}
    kinds = Counter()
    for item in data.items:
        for first, last, kind in item.value:
            assert item.cond[first:last] in bank[kind]
            kinds[kind] += 1
    assert min(kinds[k] for k in ("person", "place", "organisation", "date")) > 200
    assert any(not item.value for item in data.items)
    texts = worlds.load("names", n=1000, task="text")
    assert [i.value for i in texts.items] == [i.cond for i in data.items]


def test_unseen_names_have_no_known_word():
    data = worlds.load("names", n=500)
    known = {word for kind in ("person", "place") for name in data.truth["names"][kind] for word in name.split()}
    spans = 0
    for item in data.truth["unseen"](200):
        for first, last, kind in item.value:
            spans += 1
            if kind in {"person", "place"}:
                assert known.isdisjoint(item.cond[first:last].split())
            else:
                assert item.cond[first:last] not in data.truth["names"][kind]
    assert spans > 200


def test_questions_have_the_answer_that_stands_there():
    data = worlds.load("questions", n=2000)
    none = 0
    for item, asked in zip(data.items, data.truth["asked"], strict=True):
        assert item.cond == f"{asked['question']}\n{asked['passage']}"
        assert data.truth["answer"](asked["question"], asked["passage"]) == asked["answer"]
        if item.value is None:
            none += 1
            assert asked["answer"] is None
        else:
            assert asked["passage"][slice(*item.value)] == asked["answer"]
    assert 0.16 < none / 2000 < 0.24
    texts = worlds.load("questions", n=100, task="text")
    assert [i.value for i in texts.items] == [a["answer"] or "unknown" for a in data.truth["asked"][:100]]


def test_dialogues_ask_for_what_was_told_last():
    data = worlds.load("dialogues", n=2000, talk=3)
    changed = 0
    for item, asked in zip(data.items, data.truth["asked"], strict=True):
        assert item.value == f"{asked['prompt']} {asked['answer']}"
        assert data.truth["answer"](asked["prompt"]) == asked["answer"]
        lines = asked["prompt"].split("\n")[:-2]
        told = lines[len(lines) - 2 * asked["turns"]]
        assert f"{asked['value']}." in told
        changed += "I was wrong" in item.value
    assert 0.15 < changed / 2000 < 0.25
    assert data.truth["answer"]("A: How are you?\nB: Well, thank you.\nA: Where do I live?\nB:") is None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("counting", {"n": 0}), ("copying", {"letters": 27}), ("hidden", {"length": 0}), ("translation", {"n": 0}),
        ("languages", {"n": 0}), ("news", {"task": "poem"}), ("reviews", {"task": "x"}), ("names", {"known": 6000}),
        ("questions", {"unanswerable": 2.0}), ("dialogues", {"facts": 7}),
    ],
)  # fmt: skip
def test_values_that_are_none(name, arguments):
    with pytest.raises(DataError) as error:
        worlds.load(name, **arguments)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
