"""Labels against the truth: figures worked out by hand."""

import pytest
import torch

from bottega.core import Batch, Item, Spec
from bottega.judge import Case
from bottega.judge.reading import measure

TEXT = Spec((6,), vocab=9)


class Says:
    """A model whose likeliest labels are given."""

    def __init__(self, made):
        self.made, self.at = made, 0

    def eval(self):
        return self

    def sample(self, n, rng, cond=None, *, temperature=1.0):
        assert temperature == 0
        self.at += n
        return self.made[self.at - n : self.at]


def case(spec, want, got, decode=None):
    cond = torch.zeros(len(want), 6, dtype=torch.long)
    held = Batch(want, cond)
    return Case("labels", spec, held, held, want[:0], model=Says(got), decode=decode)


def test_classes():
    want, got = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 0, 2])
    found = {m.name: m for m in measure(case(Spec((), vocab=4, cond=TEXT), want, got))}
    assert found["class_accuracy"].value == pytest.approx(4 / 6)
    assert found["macro_f1"].value == pytest.approx((4 / 6 + 2 / 4 + 1) / 3)  # class 3 is in no text


def test_tags():
    spans = {0: [], 1: [(0, 2, "a")], 2: [(0, 2, "b")], 3: [(0, 2, "a"), (3, 5, "b")]}

    def decode(x, cond):
        return [Item(spans[int(row[0])]) for row in x]

    want, got = (torch.tensor(k)[:, None].expand(-1, 6) for k in ([1, 1, 3, 0], [1, 2, 1, 3]))
    (found,) = measure(case(Spec((6,), vocab=5, cond=TEXT), want, got, decode))
    assert found.value == pytest.approx(2 * 2 / (5 + 4))


def test_answers():
    def decode(x, cond):
        return [Item((a, b + 1) if b else None) for a, b in x.tolist()]

    want = torch.tensor([[1, 2], [1, 2], [0, 0], [0, 0]])
    got = torch.tensor([[1, 2], [2, 5], [0, 0], [1, 2]])
    found = {m.name: m.value for m in measure(case(Spec((2,), vocab=6, cond=TEXT), want, got, decode))}
    assert found["exact_match"] == 0.5
    assert found["answer_f1"] == pytest.approx((1 + 2 * 1 / (2 + 4) + 1 + 0) / 4)
