"""Labels judged on models whose faults are known: what is right, what is counted, and whether counting words is beaten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from bottega.codecs.labelled import LabelledCodec
from bottega.core import Family, Item, Rng
from bottega.data import worlds
from bottega.judge import Case, run_all
from bottega.judge._plain_labels import answers_by_words, classes_by_words, spans_by_words
from bottega.judge.labels import answer_score, macro_f1, span_counts


class Knows(Family):
    """Says what it was told about texts; of a share of them something else."""

    def __init__(self, spec, batch, wrong, other):
        super().__init__(spec)
        self.right = {tuple(c): x for c, x in zip(batch.cond.tolist(), batch.x, strict=True)}
        self.wrong, self.other = wrong, other

    @classmethod
    def accepts(cls, spec):
        return ""

    def sample(self, n, rng, cond=None, *, temperature=1.0):
        assert temperature == 0
        lies = rng.uniform(n) < self.wrong
        said = [self.right[tuple(c)] for c in cond.tolist()]
        return torch.stack([self.other(x) if lie else x for x, lie in zip(said, lies.tolist(), strict=True)])


def _judged(codec, train, held, wrong, other):
    codec.fit([*train, *held])
    a, b = codec.encode(train), codec.encode(held)
    case = Case("labels", codec.spec, a, b, b.x[:2], b.cond[:2], Knows(codec.spec, b, wrong, other), codec.decode)
    found, skipped = run_all(case, ["labels"])
    assert not skipped
    return {m.name: m for m in found}


def _lines(n, seed):
    """One word among noise tells the class."""
    rng, out = Rng(seed), []
    for k in rng.integers(4, n).tolist():
        noise = [f"n{t}" for t in rng.integers(30, 5).tolist()]
        out.append(Item(f"class {k}", " ".join([*noise[:2], f"sign{k}", *noise[2:]])))
    return out


def test_macro_f1_is_scikit_learns():
    rng = np.random.default_rng(0)
    true, told = rng.integers(0, 5, 300), rng.integers(0, 6, 300)
    assert macro_f1(true, told) == pytest.approx(f1_score(true, told, average="macro", zero_division=0))
    assert macro_f1(np.array([0, 0]), np.array([0, 0])) == 1


def test_classes():
    codec = LabelledCodec(kind="class", tokenizer="char", length=32)
    train, held = _lines(200, 0), _lines(200, 1)
    best = _judged(codec, train, held, 0.0, lambda x: x)
    assert best["macro_f1"].value == best["class_accuracy"].value == 1
    assert best["macro_f1_plain"].value > 0.9, "one word tells the class: counting finds it"
    worse = _judged(codec, train, held, 0.5, lambda x: (x + 1) % 4)
    assert worse["class_accuracy"].value == pytest.approx(0.5, abs=0.1)
    assert worse["class_accuracy"].low < 0.5 < worse["class_accuracy"].high
    assert worse["macro_f1_gain"].high < 0
    assert "not beaten" in worse["macro_f1_gain"].note
    rng = Rng(0)
    hidden = [Item(f"class {k}", f"w{i}") for i, k in enumerate(rng.integers(2, 160).tolist())]
    gain = _judged(codec, hidden[:80], hidden[80:], 0.0, lambda x: x)["macro_f1_gain"]
    assert gain.low > 0
    assert gain.note.endswith("the baseline is beaten")


def test_spans_are_counted_exactly_and_in_part():
    assert span_counts([(0, 3, "a"), (5, 9, "b")], [(0, 3, "b"), (5, 8, "b")]) == (0, 2, 2, 3, 7, 6)
    codec = LabelledCodec(kind="tags", tokenizer="char", length=24)

    def lines(n, seed):
        rng, out = Rng(seed), []
        for i in range(n):
            name = "".join("abcdefgh"[t] for t in rng.integers(8, 4).tolist())
            out.append(Item([(6, 10, "who")], f"I met {name} today") if i % 4 else Item([], "I met nobody"))
        return out

    train, held = lines(120, 0), lines(120, 1)
    best = _judged(codec, train, held, 0.0, lambda x: x)
    assert best["span_f1"].value == best["span_f1_part"].value == 1
    assert best["span_f1_plain"].value > 0.95, "neighbours tell it: unseen names are found by counting"

    def shorter(x):  # misses the last character
        out = x.clone()
        places = (x > 0).nonzero()[:, 0]
        if len(places):
            out[places[-1]] = 0
        return out

    cut = _judged(codec, train, held, 1.0, shorter)
    assert cut["span_f1"].value == 0
    assert cut["span_f1_part"].value == pytest.approx(2 * 3 / (3 + 4))
    assert cut["span_f1_gain"].high < 0


def test_answers_as_squad_counts_them():
    assert answer_score("a cat", "The cat!") == (1.0, 1.0)
    assert answer_score("the", None) == (1.0, 1.0), "nothing but an article is no answer, as in SQuAD's script"
    assert answer_score("x", None) == (0.0, 0.0)
    assert answer_score("New York City", "York City Hall")[1] == pytest.approx(2 / 3)
    codec = LabelledCodec(kind="span", tokenizer="char", length=80)

    def lines(n, seed):
        rng, out = Rng(seed), []
        for i in range(n):
            a, b = (f"{'ABCDEF'[k]}{k}{j}" for j, k in enumerate(rng.integers(6, 2).tolist()))
            passage = f"The key of {a} is red. The key of {b} is blue."
            start = passage.index("red")
            out.append(Item((start, start + 3), f"Which is the key of {a}?\n{passage}") if i % 5 else
                       Item(None, f"Which is the key of Zed?\n{passage}"))  # fmt: skip
        return out

    train, held = lines(100, 0), lines(60, 1)
    best = _judged(codec, train, held, 0.0, lambda x: x)
    assert best["exact_match"].value == best["answer_f1"].value == best["abstain_f1"].value == 1
    assert "12 of which" in best["exact_match"].note
    silent = _judged(codec, train, held, 1.0, lambda x: torch.zeros_like(x))
    assert silent["exact_match"].value == pytest.approx(0.2)
    assert silent["abstain_f1"].value == pytest.approx(2 * 12 / (12 + 60))


def test_the_plain_baselines_learn_what_words_tell():
    data = worlds.load("reviews", n=400, seed=0).items
    texts, labels = [str(i.value) for i in data], [hash_of(i.cond) for i in data]
    told = classes_by_words(texts[:300], labels[:300], texts[300:])
    assert np.mean(np.array(told) == labels[300:]) > max(np.bincount(labels)) / 400
    assert classes_by_words(["a", "b"], [3, 3], ["c"]) == [3]
    assert spans_by_words(["a b"], [[]], ["a"]) == [[]]
    assert answers_by_words(["who?"], ["nobody"], [None], [("who?", "x")]) == [None]
    asked = [
        ("In which year was it built?", f"It stands on a hill. It was built in {y} by monks.")
        for y in range(1800, 1860)
    ]
    places = [(p.index(str(y)), p.index(str(y)) + 4) for y, (_, p) in zip(range(1800, 1860), asked, strict=True)]
    found = answers_by_words([q for q, _ in asked[:40]], [p for _, p in asked[:40]], places[:40], asked[40:])
    assert np.mean([a == b for a, b in zip(found, places[40:], strict=True)]) > 0.9


def hash_of(cond):
    """A class as a number, the same in every process."""
    return sum(map(ord, str(cond))) % 97
