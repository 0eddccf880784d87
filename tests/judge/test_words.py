"""Judges of texts: sacreBLEU's and rouge-score's own numbers, self-BLEU as nltk has it, planted shuffles told apart."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from bottega.core import Batch, BottegaError, Family, Item, Rng, Spec
from bottega.judge import Case, run_all
from bottega.judge import _run as run_module
from bottega.judge.bleu import bleu, chrf
from bottega.judge.coherence import cut
from bottega.judge.coherence import measure as coherence
from bottega.judge.rouge import rouge
from bottega.judge.self_bleu import measure as self_bleu_of
from bottega.judge.self_bleu import self_bleu

MADE = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REAL = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]


def test_bleu_and_chrf_are_those_of_sacrebleus_readme():
    m = bleu(MADE, REAL)
    assert m.value == pytest.approx(48.53, abs=0.005)
    assert "nrefs:2" in m.note
    assert "tok:13a" in m.note
    assert m.low <= m.value <= m.high
    assert chrf(MADE, REAL).value == pytest.approx(59.73, abs=0.005)
    assert bleu([r[0] for r in REAL], REAL).value == pytest.approx(100)
    assert "tok:none" in bleu(MADE, REAL, tokenize="none").note


def test_sources_may_have_different_numbers_of_references():
    alone = bleu(MADE, [REAL[0][:1], REAL[1], REAL[2][:1]])
    assert "nrefs:var" in alone.note
    assert 0 < alone.value < bleu(MADE, REAL).value
    with pytest.raises(ValueError, match="one text for each"):
        bleu(MADE, REAL[:2])


def test_the_interval_holds_the_score_of_fresh_sources():
    rng = Rng(0)
    words = np.array([f"w{i}" for i in range(30)])

    def corpus(n, rng):
        real = rng.integers(30, n, 8)
        wrong = rng.bernoulli(torch.full((n, 8), 0.2))
        said = torch.where(wrong, rng.integers(30, n, 8), real)
        return [" ".join(words[r]) for r in said.numpy()], [[" ".join(words[r])] for r in real.numpy()]

    truth = bleu(*corpus(5000, rng)).value
    inside = [m.low <= truth <= m.high for m in (bleu(*corpus(100, rng.fork(str(k)))) for k in range(20))]
    assert sum(inside) >= 17


def test_rouge_by_hand():
    r1, r2, rl = rouge(["the cat sat here"], [["the cat was here"]], Rng(0))
    assert (r1.value, r2.value, rl.value) == pytest.approx((0.75, 1 / 3, 0.75))
    swapped = rouge(["here the cat"], [["the cat here"]], Rng(0))
    assert [m.value for m in swapped] == pytest.approx([1, 0.5, 2 / 3])
    best = rouge(["the cat sat here"], [["a dog", "the cat was here"]], Rng(0))
    assert best[0].value == pytest.approx(0.75)
    stem, plain = (rouge(["cats"], [["cat"]], Rng(0), stem=s)[0].value for s in (True, False))
    assert (stem, plain) == (1, 0)


class Copyist(Family):
    """Writes what it was given, token by token, and errs in a share of rows; greedy when asked for."""

    def __init__(self, spec, wrong=0.0):
        super().__init__(spec)
        self.wrong, self.asked = wrong, []

    @classmethod
    def accepts(cls, spec):
        return ""

    def sample(self, n, rng, cond=None, *, temperature=1.0):
        self.asked.append(temperature)
        return torch.where(rng.uniform(n, 1) < self.wrong, (cond + 7) % 26, cond)


def _letters(x):
    return [Item(" ".join(chr(97 + t) * 3 for t in row if t < 26)) for row in x.tolist()]


def _worded(wrong):
    spec = Spec((6,), vocab=27, cond=Spec((6,), vocab=27))
    x = Rng(1).integers(26, 40, 6)
    x = torch.cat([x, x[:5]])
    y = x.clone()
    y[40:, 0] = (y[40:, 0] + 1) % 26  # five sources have a second reference
    held = Batch(y, x)
    return Case("text", spec, held, held, x[:8], x[:8], Copyist(spec, wrong), _letters)


def test_a_model_is_judged_on_each_source_once_at_its_likeliest():
    case = _worded(0.0)
    found, skipped = run_all(case, ["bleu", "rouge"])
    assert not skipped
    by_name = {m.name: m for m in found}
    assert by_name["bleu"].value == pytest.approx(100)
    assert by_name["bleu"].n == 40
    assert "nrefs:var" in by_name["bleu"].note
    assert by_name["rouge_l"].value == 1
    assert case.model.asked == [0.0], "made once, greedily, for all judges"
    worse = {m.name: m.value for m in run_all(_worded(0.5), ["bleu"])[0]}
    assert worse["bleu"] < 70


def test_lead_is_the_first_sentence_of_the_source():
    spec = Spec((4,), vocab=27, cond=Spec((4,), vocab=27))
    say = lambda x: [Item(" ".join(["one", "two.", "three", "four."][t] for t in row)) for row in x.tolist()]  # noqa: E731
    batch = Batch(torch.tensor([[0, 1, 2, 3]]).repeat(2, 1), torch.tensor([[0, 1, 2, 3], [2, 3, 0, 1]]))
    case = Case("text", spec, batch, batch, batch.x, model=Copyist(spec), decode=say)
    by_name = {m.name: m for m in run_all(case, ["rouge"])[0]}
    # "one two." shares 2 of 2 and 4 words with "one two. three four.": F1 2/3; so does "three four."
    assert by_name["rouge_l_lead"].value == pytest.approx(2 / 3)


def test_a_judge_whose_library_is_not_there_is_skipped_and_named(monkeypatch):
    monkeypatch.setattr(run_module, "find_spec", lambda name: None)
    found, skipped = run_all(_worded(0.0), ["bleu", "rouge"])
    assert not found
    assert skipped == {
        "bleu": "needs sacrebleu; pip install 'bottega[text]'",
        "rouge": "needs rouge_score; pip install 'bottega[text]'",
    }
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(BottegaError, match=r"bottega\[text\]"):
        bleu(MADE, REAL)


def test_without_references_there_is_no_bleu():
    case = _worded(0.0)
    case.held = Batch(case.held.x)
    assert "codec.given" in run_all(case, ["bleu"])[1]["bleu"]


def test_self_bleu_is_nltks():
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    rng = Rng(0)
    texts = [[f"w{t}" for t in rng.integers(5, 4 + 3 * (i % 4)).tolist()] for i in range(25)]
    texts.append(["x", "y", "z", "w"])  # shares nothing
    smooth = SmoothingFunction().method1
    real = [sentence_bleu([*texts[:i], *texts[i + 1 :]], t, smoothing_function=smooth) for i, t in enumerate(texts)]
    assert self_bleu(texts).tolist() == pytest.approx(real, abs=1e-9)
    assert real[-1] == 0


def test_self_bleu_sees_a_model_that_repeats_itself():
    spec = Spec((12,), vocab=27)
    train, held = (Batch(Rng(k).integers(26, 60, 12)) for k in (1, 2))

    def judged(x):
        return self_bleu_of(Case("text", spec, train, held, x, decode=_letters))[0]

    fresh = judged(Rng(3).integers(26, 60, 12))
    assert fresh.value == pytest.approx(fresh.ceiling, abs=0.05)
    assert judged(Rng(3).integers(26, 6, 12).repeat(10, 1)).value == pytest.approx(1)
    assert self_bleu_of(Case("text", spec, train, held, held.x[:1], decode=_letters)) == []


# --- coherence ------------------------------------------------------------------------------------------------------

NAMES = [f"name{i}" for i in range(40)]
VERBS = ["met", "saw", "called", "left"]
TOKENS = [*(f" {w}" for w in NAMES + VERBS), ".", ""]  # the last is padding
V = len(TOKENS)


def _chains(n, seed, keep_order=True, sentences=7):
    """Texts in which each sentence takes up the name with which the one before it ended; or the same, shuffled."""
    rng, rows = Rng(seed), []
    for _ in range(n):
        names = rng.permutation(len(NAMES))[: sentences + 1].tolist()
        verbs = rng.integers(len(VERBS), sentences).tolist()
        said = [[a, len(NAMES) + v, b, V - 2] for a, v, b in zip(names, verbs, names[1:], strict=False)]
        if not keep_order:
            said = [said[i] for i in rng.permutation(sentences).tolist()]
        rows.append([t for s in said for t in s])
    return torch.tensor(rows)


def _say(x):
    return [Item("".join(TOKENS[t] for t in row)) for row in x.tolist()]


class Follows(Family):
    """Finds it likely that a sentence begins with the name that ended the last one."""

    bound = "exact"

    @classmethod
    def accepts(cls, spec):
        return ""

    def log_prob(self, batch, rng):
        same = batch.x[:, 4::4] == batch.x[:, 2:-4:4]
        return torch.where(same, -0.1, -5.0).sum(1)


def _coherence(samples, held=None, model=None):
    held = _chains(50, 2) if held is None else held
    case = Case("text", Spec((28,), vocab=V), Batch(_chains(80, 1)), Batch(held), samples, model=model, decode=_say)
    return {m.name: m for m in coherence(case)}


def test_planted_shuffles_are_told_apart():
    own, mixed = (_coherence(_chains(50, 3, keep))["coherence"] for keep in (True, False))
    assert own.low > 0.95
    assert own.ceiling > 0.95
    assert mixed.low < 0.5 < mixed.high
    assert mixed.high < 0.65
    assert own.n == 50


def test_a_model_says_which_order_is_likelier():
    model = Follows(Spec((28,), vocab=V))
    found = _coherence(_chains(20, 3), model=model)["order_told"]
    assert found.low > 0.95
    mixed = _coherence(_chains(20, 3), held=_chains(100, 4, False), model=model)["order_told"]
    assert mixed.low < 0.5 < mixed.high
    model.log_prob = lambda batch, rng: torch.zeros(len(batch))
    assert _coherence(_chains(20, 3), model=model)["order_told"].value == 0.5


def test_short_texts_say_nothing():
    assert _coherence(_chains(20, 3, sentences=3)) == {}
    assert "coherence" not in _coherence(_chains(5, 3))


def test_sentences_are_cut_where_white_space_follows_a_stop():
    assert cut(list("Ab. Cd")) == [[0, 1, 2], [3, 4, 5]]
    assert cut(list("3.14 is pi")) == [list(range(10))]
    assert cut(["He said", ' "', "no", '."', " Then", " left", "."]) == [[0, 1, 2, 3], [4, 5, 6]]
    assert cut(list("a\n\nb\n")) == [[0, 1], [2, 3, 4]]
